//! What is to be changed of a graph so that a layer goes away: collected first, done when all of it is known to be
//! possible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::onnx::document::{
    AttributeValue, Document, ElementType, Extent, Graph, Made, Node, Tensor, ValueInfo,
};
use crate::onnx::layers::{FreshNames, Home, remove_unused};

/// Up to this version of the format, stored tensors are inputs as well.
const INPUTS_TOO: i64 = 3;

/// A constant that is new.
#[derive(Clone, Debug)]
pub(super) struct New {
    pub(super) dims: Vec<u64>,
    pub(super) element: ElementType,
    pub(super) values: Arc<dyn Made>,
}

/// One change. Nodes are named by their index before any change.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// A new constant as an input, in the place of what was there.
    Constant { node: usize, input: usize, new: New },
    /// Another value as an input.
    Input { node: usize, input: usize, value: String },
    /// An attribute.
    Attribute { node: usize, name: &'static str, value: AttributeValue },
    /// Another operator.
    Operator { node: usize, op: &'static str },
    /// A node's first output under another name.
    Output { node: usize, name: String },
    /// The addition of a constant to a node's first output.
    Add { node: usize, new: New },
    /// The node goes away.
    Remove { node: usize },
}

/// All changes that one layer takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    pub(super) edits: Vec<Edit>,
    /// The maps that take the layer in, by name.
    pub(super) into: Vec<String>,
    /// The largest bound of a map's outputs relative to what they are added up from.
    pub(super) bound: f64,
    /// Weights that became 0.
    pub(super) flushed: u64,
}

impl Plan {
    pub(super) fn push(&mut self, edit: Edit) {
        self.edits.push(edit);
    }

    /// Changes the document. The nodes' names of values stay what they were but for the layer's own input.
    pub(super) fn apply(self, document: &mut Document, home: &Home) {
        let mut names = FreshNames::new(document);
        let old_style = document.opset() < 7;
        let (mut removed, mut added) = (BTreeSet::new(), BTreeMap::new());
        let mut unused: Vec<String> = Vec::new();
        for edit in &self.edits {
            if let Edit::Remove { node } = edit {
                unused.extend(home.nodes(document)[*node].inputs().iter().cloned());
            }
        }
        // Constants of functions: before all nodes, in the end.
        let mut constants: Vec<(String, New)> = Vec::new();
        for edit in self.edits {
            match edit {
                Edit::Constant { node, input, new } => {
                    let (old, title) = {
                        let nodes = home.nodes(document);
                        (nodes[node].input(input).map(str::to_owned), nodes[node].title().to_owned())
                    };
                    let name = put(document, home, &mut names, &mut constants, old.as_deref(), &title, new);
                    if let Some(old) = old {
                        unused.push(old);
                    }
                    with_node(document, home, node, |node| node.set_input(input, &name));
                }
                Edit::Input { node, input, value } => {
                    with_node(document, home, node, |node| node.set_input(input, &value));
                }
                Edit::Attribute { node, name, value } => {
                    with_node(document, home, node, |node| node.set_attribute(name, value));
                }
                Edit::Operator { node, op } => with_node(document, home, node, |node| node.set_op(op)),
                Edit::Output { node, name } => {
                    let mut old = String::new();
                    with_node(document, home, node, |node| {
                        let mut outputs = node.outputs().to_vec();
                        if let Some(first) = outputs.first_mut() {
                            old = std::mem::replace(first, name);
                        }
                        node.set_outputs(outputs);
                    });
                    if let Some(graph) = home.graph_mut(document) {
                        graph.remove_value(&old);
                    }
                }
                Edit::Add { node, new } => {
                    added.insert(node, new);
                }
                Edit::Remove { node } => {
                    removed.insert(node);
                }
            }
        }
        // From the back, so that the indices before stay right.
        let last = home.nodes(document).len();
        for index in (0..last).rev() {
            if let Some(new) = added.remove(&index) {
                let (y, title) = {
                    let node = &home.nodes(document)[index];
                    (node.output(0).unwrap_or_default().to_owned(), node.title().to_owned())
                };
                let sum = names.make(&format!("{y}_unshifted"));
                let shift = put(document, home, &mut names, &mut constants, None, &title, new);
                let mut add = Node::new("Add", &names.make(&format!("{title}_shift")), &[&sum, &shift], &[&y]);
                if old_style {
                    add.set_attribute("broadcast", AttributeValue::Int(1));
                }
                with_node(document, home, index, |node| {
                    let mut outputs = node.outputs().to_vec();
                    outputs[0] = sum;
                    node.set_outputs(outputs);
                });
                home.insert_after(document, Some(index), add);
            }
            if removed.contains(&index) {
                match (home.function, home.steps.is_empty()) {
                    (Some(function), true) => drop(document.function_mut(function).remove_node(index)),
                    _ => drop(home.graph_mut(document).map(|graph| graph.remove_node(index))),
                }
            }
        }
        for (name, new) in constants.into_iter().rev() {
            let mut node = Node::new("Constant", &names.make(&name), &[], &[&name]);
            let tensor = Tensor::made("", &new.dims, new.element, new.values);
            node.set_attribute("value", AttributeValue::Tensor(tensor.into()));
            home.insert_after(document, None, node);
        }
        let unused: Vec<(Home, String)> = unused.into_iter().map(|name| (home.clone(), name)).collect();
        remove_unused(document, &unused);
    }
}

fn with_node(document: &mut Document, home: &Home, index: usize, change: impl FnOnce(&mut Node)) {
    if let Some(node) = home.nodes_mut(document).and_then(|nodes| nodes.get_mut(index)) {
        change(node);
    }
}

/// Stores a constant, and says under which name: the old one if nobody else uses it.
fn put(
    document: &mut Document,
    home: &Home,
    names: &mut FreshNames,
    constants: &mut Vec<(String, New)>,
    old: Option<&str>,
    title: &str,
    new: New,
) -> String {
    if home.function.is_some() {
        let name = names.make(&old.map_or(format!("{title}_bias"), |old| format!("{old}_folded")));
        constants.push((name.clone(), new));
        return name;
    }
    if let Some(old) = old {
        for depth in (0..=home.steps.len()).rev() {
            let level = Home { function: None, steps: home.steps[..depth].to_vec() };
            let stored = level.graph(document).and_then(|graph| graph.initializer(old));
            let Some(tensor) = stored else { continue };
            let same = tensor.dims() == new.dims && tensor.element() == new.element;
            let graph = level.graph(document);
            if same && graph.is_some_and(|graph| uses(graph, old) == 1) {
                if let Some(graph) = level.graph_mut(document) {
                    graph.replace_initializer(Tensor::made(old, &new.dims, new.element, new.values));
                }
                return old.to_owned();
            }
            break;
        }
    }
    let name = names.make(&old.map_or(format!("{title}_bias"), |old| format!("{old}_folded")));
    let ir_version = document.ir_version();
    let graph = document.graph_mut();
    if ir_version <= INPUTS_TOO {
        let extents = new.dims.iter().map(|&dim| Extent::Fixed(dim)).collect();
        graph.add_input(ValueInfo::new(&name, new.element, Some(extents)));
    }
    graph.add_initializer(Tensor::made(&name, &new.dims, new.element, new.values));
    name
}

/// How often a value is used in a graph and those inside it, as an input or an output.
fn uses(graph: &Graph, name: &str) -> usize {
    let outputs = graph.outputs().iter().filter(|output| output.name() == name).count();
    let by = |node: &Node| {
        let inputs = node.inputs().iter().filter(|input| *input == name).count();
        inputs + node.graphs().map(|(_, graph)| uses(graph, name)).sum::<usize>()
    };
    outputs + graph.nodes().iter().map(by).sum::<usize>()
}
