//! New statistics put into a model.

use std::sync::Arc;

use super::RecalibrateError;
use super::selection::{Layer, Slot};
use crate::onnx::document::{Document, Extent, Node, Tensor, ValueInfo};
use crate::onnx::layers::{Home, Scope};

type Result<T, E = RecalibrateError> = std::result::Result<T, E>;

/// What was found out about a layer's input.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Estimate {
    /// The values per channel that it is of.
    pub(super) count: u64,
    pub(super) mean: Vec<f64>,
    /// The population's variance: biased, as ONNX has it.
    pub(super) variance: Vec<f64>,
}

/// Puts a layer's new statistics into a model whose nodes are still those of the original.
pub(super) fn put(document: &mut Document, layer: &Layer, new: &Estimate) -> Result<()> {
    let slots = [("mean", &layer.mean, &new.mean), ("variance", &layer.variance, &new.variance)];
    for (statistic, slot, values) in slots {
        let too_large = values.iter().position(|&value| !slot.element.round(value).is_finite());
        if let Some(channel) = too_large {
            return Err(RecalibrateError::Overflow {
                layer: layer.name.clone(),
                channel,
                statistic,
                value: values[channel],
                element: slot.element.to_string(),
            });
        }
        let dims = [values.len() as u64];
        let old_format = document.ir_version() < 4;
        let graph = document.graph_mut();
        graph.replace_initializer(Tensor::made(&slot.name, &dims, slot.element, Arc::new(values.clone())));
        if slot.is_fresh() {
            graph.node_mut(layer.node).set_input(slot.input, &slot.name);
            // Before IR version 4 each stored tensor is an input, too.
            if old_format {
                let extents = Some(vec![Extent::Fixed(dims[0])]);
                graph.add_input(ValueInfo::new(&slot.name, slot.element, extents));
            }
        }
    }
    Ok(())
}

/// Removes what only the old statistics needed.
pub(super) fn clean(document: &mut Document, layers: &[Layer]) {
    let fresh = layers.iter().flat_map(|layer| [&layer.mean, &layer.variance]).filter(|slot| slot.is_fresh());
    let mut open: Vec<String> = fresh.map(|slot: &Slot| slot.old.clone()).collect();
    while let Some(name) = open.pop() {
        let scope = Scope::new(document, &Home::default());
        if !scope.consumers(&name).is_empty() || scope.is_output(&name) {
            continue;
        }
        match scope.producer(&name) {
            Some((index, _)) if is_loose(&scope, &document.graph().nodes()[index]) => {
                let graph = document.graph_mut();
                open.extend(graph.remove_node(index).inputs().iter().filter(|name| !name.is_empty()).cloned());
                graph.remove_value(&name);
            }
            // From IR version 4 on a stored tensor that is an input may be given by a caller, who would miss it.
            None if document.ir_version() >= 4
                && document.graph().inputs().iter().any(|i| i.name() == name) => {}
            None if document.graph().initializer(&name).is_some() => {
                document.graph_mut().remove_initializer(&name);
            }
            _ => {}
        }
    }
}

/// Whether nobody uses anything that a node makes.
fn is_loose(scope: &Scope<'_>, node: &Node) -> bool {
    node.outputs()
        .iter()
        .all(|name| name.is_empty() || (scope.consumers(name).is_empty() && !scope.is_output(name)))
}

/// Old statistics that stand for so many samples, and new ones of so many, in one.
///
/// ```text
/// mean = (N mean_old + n mean_new) / (N + n),    variance = (N variance_old + n variance_new) / (N + n)
/// ```
pub(super) fn blend(layer: &Layer, new: &Estimate, old: f64, samples: f64) -> Result<Estimate> {
    let (of_old, of_new) = (old / (old + samples), samples / (old + samples));
    let row = |olds: &[f64], news: &[f64]| -> Result<Vec<f64>> {
        let one = |(channel, (&old, &new)): (usize, (&f64, &f64))| {
            let layer = || layer.name.clone();
            let known = old.is_finite().then_some(of_old * old + of_new * new);
            known.ok_or_else(|| RecalibrateError::OldStatistics { layer: layer(), channel })
        };
        olds.iter().zip(news).enumerate().map(one).collect()
    };
    let mean = row(&layer.old_mean, &new.mean)?;
    let variance = row(&layer.old_variance, &new.variance)?;
    Ok(Estimate { count: new.count, mean, variance })
}
