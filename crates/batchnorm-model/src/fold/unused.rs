//! Constants that nobody uses any more.

use crate::onnx::document::{Document, Graph, Node};
use crate::onnx::layers::Home;

/// Operators whose result depends on nothing but their inputs: without users they can go.
const OF_CONSTANTS: [&str; 9] = [
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

/// How often a value is used in a graph and those inside it, as an input or an output.
pub(super) fn uses(graph: &Graph, name: &str) -> usize {
    let outputs = graph.outputs().iter().filter(|output| output.name() == name).count();
    outputs + uses_by(graph.nodes(), name)
}

fn uses_by(nodes: &[Node], name: &str) -> usize {
    nodes
        .iter()
        .map(|node| {
            let inputs = node.inputs().iter().filter(|input| *input == name).count();
            inputs + node.graphs().map(|(_, graph)| uses(graph, name)).sum::<usize>()
        })
        .sum()
}

/// Removes those of some values that are constants and that nobody uses, and what they alone were made of.
pub(super) fn remove(document: &mut Document, home: &Home, names: Vec<String>) {
    let mut names = names;
    while let Some(name) = names.pop() {
        if name.is_empty() {
            continue;
        }
        for depth in (0..=home.steps.len()).rev() {
            let level = Home { function: home.function, steps: home.steps[..depth].to_vec() };
            if let Some((producer, _)) =
                level.nodes(document).iter().enumerate().find(|(_, node)| node.output(0) == Some(&name))
            {
                let node = &level.nodes(document)[producer];
                let constant =
                    OF_CONSTANTS.contains(&node.op()) && node.domain().is_empty() && node.outputs().len() == 1;
                if constant && uses_at(document, &level, &name) == 0 {
                    names.extend(node.inputs().iter().cloned());
                    match (level.function, level.steps.is_empty()) {
                        (Some(function), true) => drop(document.function_mut(function).remove_node(producer)),
                        _ => drop(level.graph_mut(document).map(|graph| {
                            graph.remove_value(&name);
                            graph.remove_node(producer)
                        })),
                    }
                }
                break;
            }
            let stored = level.graph(document).is_some_and(|graph| graph.initializer(&name).is_some());
            if stored {
                if uses_at(document, &level, &name) == 0
                    && let Some(graph) = level.graph_mut(document)
                {
                    graph.remove_initializer(&name);
                }
                break;
            }
        }
    }
}

fn uses_at(document: &Document, home: &Home, name: &str) -> usize {
    match home.graph(document) {
        Some(graph) => uses(graph, name),
        None => {
            let function = home.function.and_then(|index| document.functions().nth(index));
            let outputs = function
                .map_or(0, |function| function.outputs().iter().filter(|&output| output == name).count());
            outputs + uses_by(home.nodes(document), name)
        }
    }
}
