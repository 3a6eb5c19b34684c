//! Changing the nodes of any graph of a document, and finding names that are free.

use std::collections::HashSet;

use super::scope::Home;
use crate::onnx::document::{AttributeValue, Document, Graph, Node};

/// Every graph of a document: its own, those inside nodes where the node is, functions at the end.
pub fn homes(document: &Document) -> Vec<Home> {
    let mut homes = Vec::new();
    with_inner(document, Home::default(), &mut homes);
    for function in 0..document.functions().len() {
        with_inner(document, Home { function: Some(function), steps: Vec::new() }, &mut homes);
    }
    homes
}

fn with_inner(document: &Document, home: Home, homes: &mut Vec<Home>) {
    let nodes = home.nodes(document);
    homes.push(home.clone());
    for (index, node) in nodes.iter().enumerate() {
        for (attribute, value) in node.attributes().iter().enumerate() {
            if matches!(value.value(), AttributeValue::Graph(_)) {
                with_inner(document, home.inside(index, attribute), homes);
            }
        }
    }
}

impl Home {
    /// Adds a node after another one, or before all. The homes inside later nodes move.
    pub fn insert_after(&self, document: &mut Document, index: Option<usize>, node: Node) {
        match self.function.filter(|_| self.steps.is_empty()) {
            Some(function) => document.function_mut(function).insert_after(index, node),
            None => {
                if let Some(graph) = self.graph_mut(document) {
                    graph.insert_after(index, node);
                }
            }
        }
    }

    /// Removes a node, whose values nobody may use any more, with what is said of them. The homes inside later nodes move.
    pub fn remove_node(&self, document: &mut Document, index: usize) {
        match self.function.filter(|_| self.steps.is_empty()) {
            Some(function) => drop(document.function_mut(function).remove_node(index)),
            None => {
                if let Some(graph) = self.graph_mut(document) {
                    let node = graph.remove_node(index);
                    node.outputs().iter().for_each(|name| graph.remove_value(name));
                }
            }
        }
    }

    /// Keeps pointing to the same graph after so many nodes were added to one around it at or behind an index, or, of a
    /// negative number, removed.
    pub(crate) fn follow(&mut self, around: &Self, index: usize, added: isize) {
        let depth = around.steps.len();
        let inside = self.function == around.function && self.steps.starts_with(&around.steps);
        if let Some(step) = self.steps.get_mut(depth).filter(|step| inside && step.0 > index) {
            step.0 = step.0.saturating_add_signed(added);
        }
    }

    /// The graph in words: empty for the model's own, else from the outermost inwards.
    pub fn title(&self, document: &Document) -> String {
        let function = self.function.and_then(|index| document.functions().nth(index));
        let mut parts: Vec<String> =
            function.map(|function| format!("function {}", function.name())).into_iter().collect();
        let mut around = Self { function: self.function, steps: Vec::new() };
        for &(node, attribute) in &self.steps {
            if let Some(node) = around.nodes(document).get(node) {
                let branch = node.attributes().get(attribute).map_or("", |attribute| attribute.name());
                parts.push(format!("{branch} of {} {}", node.op(), node.title()));
            }
            around = around.inside(node, attribute);
        }
        parts.join(", ")
    }
}

/// The names that a document uses, and new ones beside them.
#[derive(Clone, Debug)]
pub struct FreshNames(HashSet<String>);

impl FreshNames {
    /// All names of values and nodes, in all graphs.
    pub fn new(document: &Document) -> Self {
        let mut names = HashSet::new();
        of_graph(document.graph(), &mut names);
        for function in document.functions() {
            names.extend(function.inputs().iter().chain(function.outputs()).cloned());
            of_nodes(function.nodes(), &mut names);
        }
        Self(names)
    }

    /// A name that nothing had: `wanted`, with a number behind it if need be. It is taken from then on.
    pub fn make(&mut self, wanted: &str) -> String {
        let numbered = (2_u64..).map(|number| format!("{wanted}_{number}"));
        let name = std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !self.0.contains(name));
        let name = name.unwrap_or_default();
        self.0.insert(name.clone());
        name
    }
}

fn of_graph(graph: &Graph, names: &mut HashSet<String>) {
    names.extend(graph.initializers().iter().map(|tensor| tensor.name().to_owned()));
    let values = [graph.inputs(), graph.outputs(), graph.values()];
    names.extend(values.into_iter().flatten().map(|value| value.name().to_owned()));
    of_nodes(graph.nodes(), names);
}

fn of_nodes(nodes: &[Node], names: &mut HashSet<String>) {
    for node in nodes {
        names.insert(node.name().to_owned());
        names.extend(node.inputs().iter().chain(node.outputs()).cloned());
        node.graphs().for_each(|(_, graph)| of_graph(graph, names));
    }
}
