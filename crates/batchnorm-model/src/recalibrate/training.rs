//! Layers that normalize by the batch, put together from simple operators: no runtime is to be trusted with training
//! mode.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RecalibrateError;
use super::selection::Layer;
use super::submodel::{SubModel, Tap};
use crate::onnx::document::{AttributeValue, ElementType, Node, Tensor};

type Result<T, E = RecalibrateError> = std::result::Result<T, E>;

/// Operators take their axes as an input from here on.
const AXES_ARE_AN_INPUT: i64 = 18;
/// `CastLike` is there from here on, and so are layers whose scale has another type than their input.
const CAST_LIKE: i64 = 15;
/// Operands are broadcast as in NumPy from here on.
const BROADCAST: i64 = 7;

/// Makes layers normalize by the batch, and makes the mean and the biased variance of each an output, in that order.
///
/// ```text
/// mean = ReduceMean(x)    d = x - mean    variance = ReduceMean(d d)    y = d / Sqrt(variance + eps) gamma + beta
/// ```
///
/// `ranks` are those of the layers' inputs. Nodes change their places: nothing that counts them can be done to the model
/// afterwards.
pub(super) fn by_the_batch(model: &mut SubModel, layers: &[Layer], ranks: &[usize]) -> Result<()> {
    let opset = model.opset();
    if opset < BROADCAST {
        return Err(RecalibrateError::OldOperators { found: opset });
    }
    let mut parts = Parts { opset, constants: BTreeMap::new() };
    let mut statistics = vec![[String::new(), String::new()]; layers.len()];
    // From the last one on, so that the places of those before stay.
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(layers[index].node));
    for index in order {
        let (nodes, tapped) = parts.layer(model, &layers[index], ranks[index]);
        let at = layers[index].node;
        let graph = model.document_mut().graph_mut();
        graph.remove_node(at);
        for node in nodes.into_iter().rev() {
            graph.insert_after(at.checked_sub(1), node);
        }
        statistics[index] = tapped;
    }
    for (layer, names) in layers.iter().zip(&statistics) {
        for name in names {
            model.tap(&Tap::Values(name, layer.element));
        }
    }
    Ok(())
}

struct Parts {
    opset: i64,
    /// Axes and shapes, by their numbers.
    constants: BTreeMap<Vec<i64>, String>,
}

impl Parts {
    fn layer(&mut self, model: &mut SubModel, layer: &Layer, rank: usize) -> (Vec<Node>, [String; 2]) {
        let old = model.document_mut().graph().nodes()[layer.node].clone();
        let value = |index: usize| old.inputs().get(index).cloned().unwrap_or_default();
        let (x, gamma, beta) = (value(0), value(1), value(2));
        let y = old.outputs().first().cloned().unwrap_or_default();
        let mut name = |part: &str| model.fresh(&format!("{}.{part}", layer.name));
        let [mean, centred, squares, variance, guarded, deviation, normalized, row, scaled, shift] = [
            "mean",
            "centred",
            "squares",
            "variance",
            "guarded",
            "deviation",
            "normalized",
            "scale",
            "scaled",
            "shift",
        ]
        .map(&mut name);
        let [eps, cast_eps, cast_gamma, cast_beta] =
            ["eps", "eps_cast", "scale_cast", "shift_cast"].map(&mut name);
        let axes: Vec<i64> = (0..rank as i64).filter(|&axis| axis != 1).collect();
        let shape: Vec<i64> = (0..rank).map(|axis| if axis == 1 { -1 } else { 1 }).collect();
        let shape = self.constant(model, &shape);
        let axes_input = (self.opset >= AXES_ARE_AN_INPUT).then(|| self.constant(model, &axes));

        let element = if self.opset < CAST_LIKE { layer.element } else { ElementType::Float };
        model.store(Tensor::made(&eps, &[], element, Arc::new(vec![layer.eps])));

        let mut nodes = Vec::new();
        let mut node = |op: &str, inputs: &[&str], output: &str| {
            nodes.push(Node::new(op, "", inputs, &[output]));
        };
        // The type of the input, which need not be that of the parameters.
        let cast = self.opset >= CAST_LIKE;
        if cast {
            node("CastLike", &[&eps, &x], &cast_eps);
            node("CastLike", &[&gamma, &x], &cast_gamma);
            node("CastLike", &[&beta, &x], &cast_beta);
        }
        let [eps, gamma, beta] =
            if cast { [&cast_eps, &cast_gamma, &cast_beta] } else { [&eps, &gamma, &beta] };
        let mean_over_positions = |of: &str, output: &str| {
            let mut inputs = vec![of];
            inputs.extend(axes_input.as_deref());
            let mut node = Node::new("ReduceMean", "", &inputs, &[output]);
            if axes_input.is_none() {
                node.set_attribute("axes", AttributeValue::Ints(axes.clone()));
            }
            node
        };
        nodes.push(mean_over_positions(&x, &mean));
        nodes.push(Node::new("Sub", "", &[&x, &mean], &[&centred]));
        nodes.push(Node::new("Mul", "", &[&centred, &centred], &[&squares]));
        nodes.push(mean_over_positions(&squares, &variance));
        let mut node = |op: &str, inputs: &[&str], output: &str| {
            nodes.push(Node::new(op, "", inputs, &[output]));
        };
        node("Add", &[&variance, eps], &guarded);
        node("Sqrt", &[&guarded], &deviation);
        node("Div", &[&centred, &deviation], &normalized);
        node("Reshape", &[gamma, &shape], &row);
        node("Mul", &[&normalized, &row], &scaled);
        node("Reshape", &[beta, &shape], &shift);
        node("Add", &[&scaled, &shift], &y);
        (nodes, [mean, variance])
    }

    /// The name of some integers that are stored.
    fn constant(&mut self, model: &mut SubModel, numbers: &[i64]) -> String {
        if let Some(name) = self.constants.get(numbers) {
            return name.clone();
        }
        let name = model.fresh("recalibrate.numbers");
        let tensor = Tensor::ints(&name, &[numbers.len() as u64], numbers);
        model.store(tensor);
        self.constants.insert(numbers.to_vec(), name.clone());
        name
    }
}
