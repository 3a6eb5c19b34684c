//! `Dropout`, which passes its input on at inference.
//!
//! | operator set | what it says |
//! |---|---|
//! | 1 to 6 | attributes `is_test` and `ratio` |
//! | 7 to 11 | attribute `ratio`: it never drops anything |
//! | 12 on | inputs `ratio` and `training_mode` |
//!
//! In all of them it has a mask as its second output, if anybody wants it.
//!
//! Source: <https://onnx.ai/onnx/operators/onnx__Dropout.html>.

use crate::onnx::document::{Document, Graph, Node};
use crate::onnx::layers::Home;

pub(super) fn is(node: &Node) -> bool {
    node.is("Dropout")
}

/// The values that a Dropout takes besides what it passes on.
pub(super) fn constants(document: &Document, home: &Home, index: usize) -> Vec<(Home, String)> {
    let inputs = home.nodes(document).get(index).map_or(&[][..], Node::inputs);
    inputs.iter().skip(1).filter(|name| !name.is_empty()).map(|name| (home.clone(), name.clone())).collect()
}

/// Makes everybody who takes a Dropout's output take its input; then the node can go. Where the output's name is needed,
/// the node becomes an Identity and stays.
pub(super) fn pass_by(document: &mut Document, home: &Home, index: usize) -> bool {
    let node = &home.nodes(document)[index];
    let (Some(from), Some(to)) = (node.output(0), node.input(0)) else { return false };
    let (from, to) = (from.to_owned(), to.to_owned());
    let mask = node.output(1).map(str::to_owned);
    let function = home.function.filter(|_| home.steps.is_empty());
    let function = function.and_then(|index| document.functions().nth(index));
    let output = match function {
        Some(function) => function.outputs().contains(&from),
        None => home.graph(document).is_some_and(|graph| graph.is_output(&from)),
    };
    let free = !output && from != to && home.nodes(document).iter().all(|node| can_rename(node, &from, &to));
    if let (Some(mask), Some(graph)) = (mask, home.graph_mut(document)) {
        graph.remove_value(&mask);
    }
    let Some(nodes) = home.nodes_mut(document) else { return false };
    if free {
        nodes.iter_mut().for_each(|node| rename(node, &from, &to));
        return true;
    }
    let node = &mut nodes[index];
    let attributes: Vec<String> = node.attributes().iter().map(|one| one.name().to_owned()).collect();
    attributes.iter().for_each(|name| node.remove_attribute(name));
    node.set_op("Identity");
    node.set_inputs(vec![to]);
    node.set_outputs(vec![from]);
    false
}

/// Whether the graphs inside a node can take another value: the new name must not mean something else there, and the old
/// one must not be handed out as it is.
fn can_rename(node: &Node, from: &str, to: &str) -> bool {
    node.graphs().all(|(_, graph)| {
        let in_the_way = graph.is_output(from) || defines(graph, to) && uses(graph, from);
        let inside = || graph.nodes().iter().all(|node| can_rename(node, from, to));
        defines(graph, from) || !in_the_way && inside()
    })
}

fn rename(node: &mut Node, from: &str, to: &str) {
    if node.inputs().iter().any(|input| input == from) {
        let renamed = |input: &String| if input == from { to.to_owned() } else { input.clone() };
        node.set_inputs(node.inputs().iter().map(renamed).collect());
    }
    for graph in node.graphs_mut() {
        if !defines(graph, from) {
            graph.nodes_mut().iter_mut().for_each(|node| rename(node, from, to));
        }
    }
}

fn defines(graph: &Graph, name: &str) -> bool {
    graph.producer(name).is_some()
        || graph.initializer(name).is_some()
        || graph.inputs().iter().any(|input| input.name() == name)
}

fn uses(graph: &Graph, name: &str) -> bool {
    graph.is_output(name)
        || graph.nodes().iter().any(|node| {
            node.inputs().iter().any(|input| input == name) || node.graphs().any(|(_, graph)| uses(graph, name))
        })
}
