//! Constants that a change has left without anybody who uses them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::scope::Home;
use crate::onnx::document::{Document, Graph, Node};

/// Operators that only make constants of constants: a node of these goes with the last who used it.
const CONSTANT: [&str; 9] = [
    "Constant",
    "ConstantOfShape",
    "Identity",
    "Cast",
    "Unsqueeze",
    "Squeeze",
    "Reshape",
    "Flatten",
    "Transpose",
];

/// Removes what some values were made from, as far as nobody uses it any more: stored tensors, and nodes that make
/// constants of them. Returns the names of the values that are gone.
///
/// `values` are those that a change has taken a use from, each with the graph in which it was used. Nothing else is
/// looked at: what was unused before stays. A stored tensor stays, too, if it is an output, a caller may give another
/// value for it (it is an input as well, from IR version 4 on), or the model says how it is trained.
pub fn remove_unused(document: &mut Document, values: &[(Home, String)]) -> Vec<String> {
    let mut search = Search { document, homes: BTreeMap::new(), nodes: BTreeSet::new(), tensors: Vec::new() };
    let mut names = Vec::new();
    let mut queue: Vec<(Home, String)> = values.iter().rev().cloned().collect();
    while let Some((home, name)) = queue.pop() {
        queue.extend(search.remove(&home, &name, &mut names));
    }
    let Search { nodes, tensors, .. } = search;
    for (home, name) in tensors {
        if let Some(graph) = home.graph_mut(document) {
            graph.remove_initializer(&name);
        }
    }
    // The innermost first, and the last first: the places of the others stay.
    let mut nodes: Vec<(Home, usize)> = nodes.into_iter().collect();
    nodes.sort_by_key(|(home, index)| std::cmp::Reverse((home.steps.len(), *index)));
    for (home, index) in nodes {
        home.remove_node(document, index);
    }
    names
}

/// Where a value comes from.
#[derive(Clone, Copy)]
enum Origin {
    Tensor { input: bool },
    Node(usize),
    Caller,
}

/// The values of a graph: where they come from, and how often they are used in it and in the graphs inside.
struct Values<'d> {
    origins: HashMap<&'d str, Origin>,
    uses: HashMap<&'d str, usize>,
}

struct Search<'d> {
    document: &'d Document,
    homes: BTreeMap<Home, Values<'d>>,
    nodes: BTreeSet<(Home, usize)>,
    tensors: Vec<(Home, String)>,
}

impl Search<'_> {
    /// Marks what makes a value, if nobody uses it; returns what that used.
    fn remove(&mut self, home: &Home, name: &str, names: &mut Vec<String>) -> Vec<(Home, String)> {
        let Some((home, origin)) = self.origin(home, name) else { return Vec::new() };
        if self.uses(&home, name) > 0 {
            return Vec::new();
        }
        match origin {
            Origin::Caller => Vec::new(),
            Origin::Tensor { input } => {
                let (main, document) = (home.is_main(), self.document);
                let kept =
                    input && !(main && document.ir_version() <= 3) || main && document.has_training_info();
                if !kept {
                    names.push(name.to_owned());
                    self.homes.get_mut(&home).map(|values| values.origins.remove(name));
                    self.tensors.push((home, name.to_owned()));
                }
                Vec::new()
            }
            Origin::Node(index) => {
                let node = &home.nodes(self.document)[index];
                let constant = CONSTANT.iter().any(|op| node.is(op));
                if !constant || node.outputs().iter().any(|output| self.uses(&home, output) > 0) {
                    return Vec::new();
                }
                if !self.nodes.insert((home.clone(), index)) {
                    return Vec::new();
                }
                names.push(name.to_owned());
                for depth in 0..=home.steps.len() {
                    let around = Home { function: home.function, steps: home.steps[..depth].to_vec() };
                    if let Some(values) = self.homes.get_mut(&around) {
                        node.inputs().iter().for_each(|input| {
                            values.uses.entry(input).and_modify(|uses| *uses = uses.saturating_sub(1));
                        });
                    }
                }
                node.inputs()
                    .iter()
                    .filter(|input| !input.is_empty())
                    .map(|input| (home.clone(), input.clone()))
                    .collect()
            }
        }
    }

    /// The graph that has a value, and where it comes from.
    fn origin(&mut self, home: &Home, name: &str) -> Option<(Home, Origin)> {
        (0..=home.steps.len()).rev().find_map(|depth| {
            let around = Home { function: home.function, steps: home.steps[..depth].to_vec() };
            let origin = *self.values(&around).origins.get(name)?;
            Some((around, origin))
        })
    }

    fn uses(&mut self, home: &Home, name: &str) -> usize {
        self.values(home).uses.get(name).copied().unwrap_or(0)
    }

    fn values(&mut self, home: &Home) -> &Values<'_> {
        let (document, removed) = (self.document, &self.nodes);
        self.homes.entry(home.clone()).or_insert_with(|| Values::new(document, home, removed))
    }
}

impl<'d> Values<'d> {
    fn new(document: &'d Document, home: &Home, removed: &BTreeSet<(Home, usize)>) -> Self {
        let (mut origins, mut uses) = (HashMap::new(), HashMap::new());
        let nodes = home.nodes(document);
        for (index, node) in nodes.iter().enumerate() {
            origins.extend(node.outputs().iter().map(|output| (output.as_str(), Origin::Node(index))));
        }
        let function = home.function.filter(|_| home.steps.is_empty());
        if let Some(function) = function.and_then(|index| document.functions().nth(index)) {
            origins.extend(function.inputs().iter().map(|input| (input.as_str(), Origin::Caller)));
            function.outputs().iter().for_each(|output| *uses.entry(output.as_str()).or_default() += 1);
        }
        if let Some(graph) = home.graph(document) {
            origins.extend(graph.inputs().iter().map(|input| (input.name(), Origin::Caller)));
            for tensor in graph.initializers() {
                let input = matches!(origins.get(tensor.name()), Some(Origin::Caller));
                origins.insert(tensor.name(), Origin::Tensor { input });
            }
            graph.outputs().iter().for_each(|output| *uses.entry(output.name()).or_default() += 1);
        }
        count(nodes, &mut uses);
        // What was removed of this graph and of those inside it, before anybody asked.
        let inside =
            removed.iter().filter(|(of, _)| of.function == home.function && of.steps.starts_with(&home.steps));
        for (of, index) in inside {
            for input in of.nodes(document)[*index].inputs() {
                uses.entry(input.as_str()).and_modify(|uses| *uses = uses.saturating_sub(1));
            }
        }
        Self { origins, uses }
    }
}

fn count<'d>(nodes: &'d [Node], uses: &mut HashMap<&'d str, usize>) {
    for node in nodes {
        node.inputs().iter().for_each(|input| *uses.entry(input).or_default() += 1);
        node.graphs().for_each(|(_, graph)| count_graph(graph, uses));
    }
}

fn count_graph<'d>(graph: &'d Graph, uses: &mut HashMap<&'d str, usize>) {
    count(graph.nodes(), uses);
    graph.outputs().iter().for_each(|output| *uses.entry(output.name()).or_default() += 1);
}
