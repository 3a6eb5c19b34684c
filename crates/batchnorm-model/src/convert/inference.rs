//! A model that was exported for training, made one for inference.

use std::collections::HashSet;

use super::dropout;
use super::report::{Change, Place, Refusal, Refused, Report, User, What};
use crate::onnx::document::{AttributeValue, Document, DocumentError, Graph, Node};
use crate::onnx::layers::{BatchNormalization, Home, Mode, Scope, homes, remove_unused};

/// How far a conversion goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InferenceOptions {
    /// Outputs of the model that no node makes at inference (updated statistics, masks) are taken from its outputs, as long
    /// as others are left.
    pub drop_outputs: bool,
}

/// Turns every batch-norm layer in training form into one for inference, and removes every Dropout.
///
/// | operator set | training form | what changes |
/// |---|---|---|
/// | 1 to 6 | `is_test` is not 1 | `is_test = 1`, outputs beyond the first dropped |
/// | 7 to 13 | outputs beyond the first | they are dropped |
/// | 14 on | `training_mode` is not 0 | `training_mode` is removed, outputs beyond the first dropped |
///
/// Eps, momentum and all else of the layers stay. A layer whose outputs beyond the first are used stays as it is, with a
/// [`Refusal::ExtraOutputsUsed`]; so does a Dropout whose mask is. Outputs of the graph are such a use: the caller asked for
/// them, and [`InferenceOptions::drop_outputs`] takes them away. Where a Dropout's output is one of the graph's, an
/// `Identity` takes its place. Graphs inside nodes and the model's functions are converted as well. Of the constants that
/// are left without use, a Dropout's ratio for one, nothing remains.
///
/// A model without such nodes stays what it was, byte for byte.
///
/// ```
/// use batchnorm_model::convert::{InferenceOptions, to_inference};
/// use batchnorm_model::onnx::document::Document;
/// use batchnorm_model::onnx::{Dim, Graph};
///
/// let mut graph = Graph::new("net");
/// let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(3)]);
/// let kept = graph.node("Dropout", "dropout", &[&x], &[]);
/// let y = graph.node("Relu", "relu", &[&kept], &[]);
/// graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(3)]);
///
/// let mut document = Document::from_bytes(graph.to_bytes()?)?;
/// let report = to_inference(&mut document, InferenceOptions::default())?;
/// assert_eq!(report.changes[0].what.code(), "dropout-removed");
/// assert_eq!(document.graph().nodes()[0].inputs(), ["x"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// None at present: what the nodes say is known since the document was read.
pub fn to_inference(document: &mut Document, options: InferenceOptions) -> Result<Report, DocumentError> {
    let mut report = Report::default();
    let plan = plan(document, options, &mut report);
    let mut gone: HashSet<&str> = HashSet::new();
    for step in &plan {
        gone.extend(step.dropped.iter().filter(|_| step.home.is_main()).map(String::as_str));
    }
    if options.drop_outputs && document.graph().outputs().iter().any(|output| gone.contains(output.name())) {
        let outputs = document.graph().outputs().iter().filter(|output| !gone.contains(output.name()));
        let outputs = outputs.cloned().collect();
        document.graph_mut().set_outputs(outputs);
    }
    let (mut removed, mut unused) = (Vec::new(), Vec::new());
    for step in plan {
        let what = match step.layer {
            true => {
                layer_to_inference(document, &step);
                What::Inference { dropped: step.dropped }
            }
            false => {
                unused.extend(dropout::constants(document, &step.home, step.node));
                let gone = dropout::pass_by(document, &step.home, step.node);
                removed.extend(gone.then(|| (step.home.clone(), step.node)));
                if gone { What::DropoutRemoved } else { What::DropoutReplaced }
            }
        };
        report.changes.push(Change { place: step.place, what });
    }
    report.removed = removed_nodes_and_constants(document, removed, &mut unused);
    Ok(report)
}

/// A node that is to change.
struct Step {
    home: Home,
    node: usize,
    place: Place,
    /// A batch-norm layer, or else a Dropout.
    layer: bool,
    /// Outputs beyond the first.
    dropped: Vec<String>,
}

fn plan(document: &Document, options: InferenceOptions, report: &mut Report) -> Vec<Step> {
    let mut steps = Vec::new();
    let droppable = if options.drop_outputs { droppable_outputs(document) } else { HashSet::new() };
    for home in homes(document) {
        let nodes = home.nodes(document);
        let concerned = |node: &Node| BatchNormalization::is(node) || dropout::is(node);
        if !nodes.iter().any(concerned) {
            continue;
        }
        let scope = Scope::new(document, &home);
        for (index, node) in nodes.iter().enumerate() {
            let layer = BatchNormalization::is(node) && is_training_form(document.opset(), node);
            // What has no input or output is no valid node: there is nothing to pass on.
            let dropout = dropout::is(node) && node.input(0).is_some() && node.output(0).is_some();
            if !layer && !dropout {
                continue;
            }
            let place = Place::of(document, &home, node);
            let dropped: Vec<String> =
                node.outputs().iter().skip(1).filter(|name| !name.is_empty()).cloned().collect();
            let used = dropped.iter().find_map(|output| {
                let user = user(&scope, output)?;
                let allowed = user == User::Output && home.is_main() && droppable.contains(output.as_str());
                (!allowed).then(|| Refusal::ExtraOutputsUsed { output: output.clone(), user })
            });
            match used {
                Some(refusal) => report.refused.push(Refused { place, refusal }),
                None => steps.push(Step { home: home.clone(), node: index, place, layer, dropped }),
            }
        }
    }
    steps
}

/// Whether a layer says, or may be understood to say, that it trains.
fn is_training_form(opset: i64, node: &Node) -> bool {
    let extra = node.outputs().iter().skip(1).any(|name| !name.is_empty());
    let says = match opset {
        ..7 => node.int("is_test") != Some(1),
        7..14 => false,
        // A function's parameter may turn out to be anything.
        _ => !matches!(node.attribute("training_mode"), None | Some(AttributeValue::Int(0))),
    };
    extra || says || Mode::of(opset, node) == Mode::Training
}

fn user(scope: &Scope<'_>, value: &str) -> Option<User> {
    let node =
        scope.consumers(value).first().map(|&(node, _)| User::Node(scope.nodes()[node].title().to_owned()));
    node.or_else(|| scope.is_output(value).then_some(User::Output))
}

/// Outputs of the model that no node makes at inference. None if there are no others: a graph has outputs.
fn droppable_outputs(document: &Document) -> HashSet<&str> {
    let graph: &Graph = document.graph();
    let concerned = graph.nodes().iter().filter(|node| BatchNormalization::is(node) || dropout::is(node));
    let extra: HashSet<&str> =
        concerned.flat_map(|node| node.outputs().iter().skip(1)).map(String::as_str).collect();
    let (gone, left): (HashSet<&str>, HashSet<&str>) =
        graph.outputs().iter().map(|output| output.name()).partition(|name| extra.contains(name));
    if left.is_empty() { HashSet::new() } else { gone }
}

fn layer_to_inference(document: &mut Document, step: &Step) {
    let opset = document.opset();
    if let Some(node) = step.home.nodes_mut(document).and_then(|nodes| nodes.get_mut(step.node)) {
        if node.outputs().len() > 1 {
            node.set_outputs(node.outputs()[..1].to_vec());
        }
        match opset {
            ..7 => node.set_attribute("is_test", AttributeValue::Int(1)),
            _ => node.remove_attribute("training_mode"),
        }
    }
    if let Some(graph) = step.home.graph_mut(document) {
        step.dropped.iter().for_each(|name| graph.remove_value(name));
    }
}

/// Removes nodes by their places, then what they alone had used.
fn removed_nodes_and_constants(
    document: &mut Document,
    mut nodes: Vec<(Home, usize)>,
    unused: &mut [(Home, String)],
) -> Vec<String> {
    // The innermost first, and the last first: the places of the others stay. Graphs inside later nodes move.
    nodes.sort_by_key(|(home, index)| std::cmp::Reverse((home.steps.len(), *index)));
    for (home, index) in nodes {
        home.remove_node(document, index);
        unused.iter_mut().for_each(|(inner, _)| inner.follow(&home, index, -1));
    }
    remove_unused(document, unused)
}
