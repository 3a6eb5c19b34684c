//! Which graph a name is looked up in: graphs inside nodes see the values of those around them.

use std::collections::HashMap;

use crate::onnx::document::{AttributeValue, Document, Function, Graph, Node, Tensor};

/// Which graph of a document: its own, one inside a node (a branch, a body), or a function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Home {
    /// The function, by its index; `None` for the model's own graph.
    pub function: Option<usize>,
    /// From there inwards: a node's index, and which of its attributes the graph is.
    pub steps: Vec<(usize, usize)>,
}

impl Home {
    /// The graph inside a node of this one.
    pub fn inside(&self, node: usize, attribute: usize) -> Self {
        let mut steps = self.steps.clone();
        steps.push((node, attribute));
        Self { function: self.function, steps }
    }

    /// Whether it is the model's own graph.
    pub fn is_main(&self) -> bool {
        self.function.is_none() && self.steps.is_empty()
    }

    /// Its nodes.
    pub fn nodes<'d>(&self, document: &'d Document) -> &'d [Node] {
        match self.function.and_then(|index| document.functions().nth(index)) {
            Some(function) if self.steps.is_empty() => function.nodes(),
            _ => self.graph(document).map_or(&[], Graph::nodes),
        }
    }

    /// Its graph; a function has none.
    pub fn graph<'d>(&self, document: &'d Document) -> Option<&'d Graph> {
        let (mut nodes, mut graph) = match self.function {
            Some(index) => (document.functions().nth(index)?.nodes(), None),
            None => (document.graph().nodes(), Some(document.graph())),
        };
        for &(node, attribute) in &self.steps {
            let AttributeValue::Graph(inner) = nodes.get(node)?.attributes().get(attribute)?.value() else {
                return None;
            };
            (nodes, graph) = (inner.nodes(), Some(&**inner));
        }
        graph
    }

    /// Its nodes, to be changed.
    pub fn nodes_mut<'d>(&self, document: &'d mut Document) -> Option<&'d mut [Node]> {
        if self.steps.is_empty() {
            return Some(match self.function {
                Some(index) => document.function_mut(index).nodes_mut(),
                None => document.graph_mut().nodes_mut(),
            });
        }
        self.graph_mut(document).map(Graph::nodes_mut)
    }

    /// Its graph, to be changed; a function has none.
    pub fn graph_mut<'d>(&self, document: &'d mut Document) -> Option<&'d mut Graph> {
        let Some((&(first, attribute), rest)) = self.steps.split_first() else {
            return self.function.is_none().then(|| document.graph_mut());
        };
        let nodes = match self.function {
            Some(index) => document.function_mut(index).nodes_mut(),
            None => document.graph_mut().nodes_mut(),
        };
        let mut graph = nodes.get_mut(first)?.graph_mut(attribute)?;
        for &(node, attribute) in rest {
            graph = graph.nodes_mut().get_mut(node)?.graph_mut(attribute)?;
        }
        Some(graph)
    }
}

/// The names of a graph, and those of the graphs around it.
#[derive(Clone, Debug)]
pub struct Scope<'d> {
    /// From the outermost graph to the innermost.
    levels: Vec<Level<'d>>,
    /// Of a function that is called once: where from, and what its inputs are there.
    caller: Option<Box<(Scope<'d>, HashMap<&'d str, &'d str>)>>,
}

#[derive(Clone, Debug)]
struct Level<'d> {
    home: Home,
    nodes: &'d [Node],
    producers: HashMap<&'d str, (usize, usize)>,
    initializers: HashMap<&'d str, &'d Tensor>,
    /// What a caller gives.
    inputs: Vec<&'d str>,
    outputs: Vec<&'d str>,
    consumers: HashMap<&'d str, Vec<(usize, usize)>>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Meaning<'d> {
    /// A stored tensor, which a caller may replace if it is an input as well.
    Initializer { tensor: &'d Tensor, home: Home, input: bool },
    /// What a node makes.
    Node { node: &'d Node, output: usize },
    /// What a caller gives.
    Input,
    /// Nothing that is known.
    Unknown,
}

impl<'d> Scope<'d> {
    /// The names of a graph of a document. Those of a function that is called once are what the call gives.
    pub fn new(document: &'d Document, home: &Home) -> Self {
        Self::within(document, home, CALLS)
    }

    fn within(document: &'d Document, home: &Home, calls: usize) -> Self {
        let function = home.function.filter(|_| calls > 0).and_then(|index| document.functions().nth(index));
        let caller = function.and_then(|function| {
            let mut found = callers(document, function);
            let (home, node) = found.pop().filter(|_| found.is_empty())?;
            let node = home.nodes(document).get(node)?;
            let given = node.inputs().iter().map(String::as_str);
            let names = function.inputs().iter().map(String::as_str).zip(given).collect();
            Some(Box::new((Self::within(document, &home, calls - 1), names)))
        });
        let mut levels = Vec::new();
        for depth in 0..=home.steps.len() {
            let outer = Home { function: home.function, steps: home.steps[..depth].to_vec() };
            levels.push(Level::new(document, outer));
        }
        Self { levels, caller }
    }

    fn innermost(&self) -> &Level<'d> {
        &self.levels[self.levels.len() - 1]
    }

    /// Its nodes.
    pub fn nodes(&self) -> &'d [Node] {
        self.innermost().nodes
    }

    /// The graph itself.
    pub fn home(&self) -> &Home {
        &self.innermost().home
    }

    /// The node of this very graph that makes a value, and which of its outputs it is.
    pub fn producer(&self, name: &str) -> Option<(usize, usize)> {
        self.innermost().producers.get(name).copied()
    }

    /// The nodes of this very graph that take a value, and as which of their inputs. A graph inside a node that uses it
    /// counts as an input past its last.
    pub fn consumers(&self, name: &str) -> &[(usize, usize)] {
        self.innermost().consumers.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a value is an output of this very graph.
    pub fn is_output(&self, name: &str) -> bool {
        self.innermost().outputs.contains(&name)
    }

    pub(crate) fn meaning(&self, name: &str) -> Meaning<'d> {
        for level in self.levels.iter().rev() {
            if let Some(&tensor) = level.initializers.get(name) {
                let (home, input) = (level.home.clone(), level.inputs.contains(&name));
                return Meaning::Initializer { tensor, home, input };
            }
            if let Some(&(node, output)) = level.producers.get(name) {
                return Meaning::Node { node: &level.nodes[node], output };
            }
            if level.inputs.contains(&name) {
                return Meaning::Input;
            }
        }
        Meaning::Unknown
    }

    /// What an input of a function that is called once is, where it is called.
    pub(crate) fn given(&self, name: &str) -> Option<(&Self, &'d str)> {
        let (scope, names) = self.caller.as_deref()?;
        let given = names.get(name)?;
        let inner = |level: &Level<'_>| level.producers.contains_key(name) || level.inputs.contains(&name);
        (!self.levels[1..].iter().any(inner)).then_some((scope, given))
    }
}

impl<'d> Level<'d> {
    fn new(document: &'d Document, home: Home) -> Self {
        let nodes = home.nodes(document);
        let (mut producers, mut consumers) = (HashMap::new(), HashMap::<&str, Vec<(usize, usize)>>::new());
        for (index, node) in nodes.iter().enumerate() {
            for (output, name) in node.outputs().iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                producers.insert(name.as_str(), (index, output));
            }
            for (input, name) in node.inputs().iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                consumers.entry(name.as_str()).or_default().push((index, input));
            }
            for (_, inner) in node.graphs() {
                each_outer_name(inner, &mut |name| {
                    consumers.entry(name).or_default().push((index, node.inputs().len()));
                });
            }
        }
        let graph = home.graph(document);
        let function = home.function.filter(|_| home.steps.is_empty());
        let function = function.and_then(|index| document.functions().nth(index));
        let (initializers, inputs, outputs) = match (graph, function) {
            (_, Some(function)) => (
                HashMap::new(),
                function.inputs().iter().map(String::as_str).collect(),
                function.outputs().iter().map(String::as_str).collect(),
            ),
            (Some(graph), None) => (
                graph.initializers().iter().map(|tensor| (tensor.name(), tensor)).collect(),
                graph.inputs().iter().map(|input| input.name()).collect(),
                graph.outputs().iter().map(|output| output.name()).collect(),
            ),
            (None, None) => Default::default(),
        };
        Self { home, nodes, producers, initializers, inputs, outputs, consumers }
    }
}

/// Functions that call functions are followed so far.
const CALLS: usize = 16;

/// Where a function is called: graphs and their nodes.
pub(crate) fn callers(document: &Document, function: &Function) -> Vec<(Home, usize)> {
    fn inside(document: &Document, home: &Home, function: &Function, found: &mut Vec<(Home, usize)>) {
        for (index, node) in home.nodes(document).iter().enumerate() {
            if node.op() == function.name() && node.domain() == function.domain() {
                found.push((home.clone(), index));
            }
            for (attribute, value) in node.attributes().iter().enumerate() {
                if matches!(value.value(), AttributeValue::Graph(_)) {
                    inside(document, &home.inside(index, attribute), function, found);
                }
            }
        }
    }
    let mut found = Vec::new();
    inside(document, &Home::default(), function, &mut found);
    for index in 0..document.functions().len() {
        inside(document, &Home { function: Some(index), steps: Vec::new() }, function, &mut found);
    }
    found
}

/// The names that a graph takes from around it; and some of its own, which does no harm: names are used once.
fn each_outer_name<'d>(graph: &'d Graph, visit: &mut dyn FnMut(&'d str)) {
    for node in graph.nodes() {
        node.inputs().iter().filter(|name| !name.is_empty()).for_each(|name| visit(name));
        for (_, inner) in node.graphs() {
            each_outer_name(inner, visit);
        }
    }
    graph.outputs().iter().for_each(|output| visit(output.name()));
}
