//! Operators between a layer and a map that let the layer pass, and where its channels are on their other side.

use batchnorm::fold::Affine;

use super::axes::{Reshaping, reshaped};
use super::refusal::Refusal;
use super::{Attempt, Folder};
use crate::onnx::document::Node;
use crate::onnx::layers::axis as counted;

/// Which way a layer is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From an operator's output to its input.
    Up,
    /// From an operator's input to its output.
    Down,
}

/// Operators that bend: what is linear on one side of them is not on the other.
const ACTIVATIONS: [&str; 17] = [
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Elu",
    "Selu",
    "Celu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Swish",
    "Mish",
    "Tanh",
    "Clip",
    "Softplus",
    "Softsign",
    "Gelu",
    "Softmax",
];

impl Folder<'_, '_> {
    /// A layer on the other side of an operator that has one input and one output that matter.
    pub(super) fn past(&self, node: &Node, axis: usize, affine: Affine, way: Way) -> Attempt<(usize, Affine)> {
        match node.op() {
            "Identity" => Ok((axis, affine)),
            "Dropout" => self.past_dropout(node).map(|()| (axis, affine)),
            "AveragePool" => past_average(node, self.document.opset(), &affine).map(|()| (axis, affine)),
            "GlobalAveragePool" if axis == 1 => Ok((axis, affine)),
            "MaxPool" | "GlobalMaxPool" => self.past_maximum(node, &affine).map(|()| (axis, affine)),
            "ReduceMean" => self.past_mean(node, axis, way).map(|axis| (axis, affine)),
            "Transpose" => {
                let to = match (node.ints("perm"), way) {
                    (Some(order), Way::Up) => order.get(axis).and_then(|&one| counted(one, order.len())),
                    (Some(order), Way::Down) => {
                        order.iter().position(|&one| counted(one, order.len()) == Some(axis))
                    }
                    (None, _) => {
                        let rank =
                            self.shapes.of(node.input(0).unwrap_or_default()).map(|lengths| lengths.len());
                        rank.and_then(|rank| rank.checked_sub(axis + 1))
                    }
                };
                to.map(|to| (to, affine)).ok_or_else(|| self.unknown_shape(node.title()).into())
            }
            "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" => self.past_shape(node, axis, &affine, way),
            op if ACTIVATIONS.contains(&op) => Err(Refusal::new(
                "activation-between",
                format!("the activation `{}` ({op}) is between the layer and a linear map", node.title()),
            )
            .into()),
            op => Err(Refusal::new(
                "operator-between",
                format!(
                    "`{}` ({op}) is between the layer and a linear map, and does not let it pass",
                    node.title()
                ),
            )
            .into()),
        }
    }

    fn past_dropout(&self, node: &Node) -> Attempt<()> {
        let trains = match self.document.opset() {
            ..7 => node.int("is_test").unwrap_or(0) == 0,
            7..12 => false,
            _ => match node.input(2) {
                None => false,
                Some(mode) => match self.constant(mode)? {
                    Some(constant) => constant.all()?.iter().any(|&value| value != 0.0),
                    None => true,
                },
            },
        };
        if trains {
            return Err(Refusal::new(
                "training-dropout",
                format!(
                    "`{}` drops values at random, as in training; convert the model to inference first (`batchnorm convert \
                     --to-inference`)",
                    node.title()
                ),
            )
            .into());
        }
        Ok(())
    }

    fn past_maximum(&self, node: &Node, affine: &Affine) -> Attempt<()> {
        let negative = affine.scale().iter().filter(|&&scale| scale < 0.0).count();
        if negative > 0 {
            return Err(Refusal::new(
                "negative-scale",
                format!(
                    "`{}` ({}) is between the layer and a linear map, and {negative} channels have a negative gamma, which turns \
                     maxima into minima",
                    node.title(),
                    node.op()
                ),
            )
            .into());
        }
        let indices = node.output(1);
        let used =
            indices.is_some_and(|name| !self.scope.consumers(name).is_empty() || self.scope.is_output(name));
        if used && affine.scale().contains(&0.0) {
            return Err(Refusal::new(
                "indices-used",
                format!(
                    "`{}` says where its maxima are, and a gamma of 0 would make all values of a channel equal",
                    node.title()
                ),
            )
            .into());
        }
        Ok(())
    }

    /// An average over axes that are not the layer's.
    fn past_mean(&self, node: &Node, axis: usize, way: Way) -> Attempt<usize> {
        let refused = || {
            Refusal::new(
                "operator-between",
                format!(
                    "`{}` (ReduceMean) averages over the layer's channels, or over axes that are not known",
                    node.title()
                ),
            )
        };
        let x = node.input(0).unwrap_or_default();
        let rank = self.shapes.of(x).ok_or_else(|| self.unknown_shape(x))?.len();
        let axes = match node.input(1) {
            Some(name) => self.scope.constant_ints(self.document.storage(), name)?,
            None => node.ints("axes").map(<[i64]>::to_vec),
        };
        let mut gone: Vec<usize> = axes
            .ok_or_else(refused)?
            .iter()
            .map(|&one| counted(one, rank))
            .collect::<Option<_>>()
            .ok_or_else(refused)?;
        gone.sort_unstable();
        if gone.is_empty() {
            return Err(refused().into());
        }
        if node.int("keepdims").unwrap_or(1) != 0 {
            return if gone.contains(&axis) { Err(refused().into()) } else { Ok(axis) };
        }
        let kept: Vec<usize> = (0..rank).filter(|index| !gone.contains(index)).collect();
        let to = match way {
            Way::Up => kept.get(axis).copied(),
            Way::Down => kept.iter().position(|&index| index == axis),
        };
        to.ok_or_else(|| refused().into())
    }

    fn past_shape(&self, node: &Node, axis: usize, affine: &Affine, way: Way) -> Attempt<(usize, Affine)> {
        let lengths = |name: Option<&str>| {
            let name = name.unwrap_or_default();
            self.shapes.of(name).ok_or_else(|| self.unknown_shape(name))
        };
        let (x, y) = (lengths(node.input(0))?, lengths(node.output(0))?);
        let (from, to) = if way == Way::Up { (y, x) } else { (x, y) };
        reshaped(affine, axis, &from, &to).map_err(|reason| {
            match reason {
                Reshaping::Unknown => self.unknown_shape(node.title()),
                Reshaping::Mixed => Refusal::new(
                    "not-constant-per-channel",
                    format!(
                        "`{}` ({}) changes the shape between the layer and a linear map, whose channels would need one scale and \
                         shift each, and have several",
                        node.title(),
                        node.op()
                    ),
                ),
            }
            .into()
        })
    }

    pub(super) fn unknown_shape(&self, name: &str) -> Refusal {
        Refusal::new(
            "unknown-shape",
            format!(
                "the shape around `{name}` is not known, so that it cannot be proven that the channels stay together; export \
                 with fixed sizes, or run shape inference over the model"
            ),
        )
    }
}

/// An average that counts zeros around the borders weakens a shift there.
fn past_average(node: &Node, opset: i64, affine: &Affine) -> Attempt<()> {
    let none = node.ints("pads").is_none_or(|pads| pads.iter().all(|&pad| pad == 0));
    let padded = match node.text("auto_pad").unwrap_or("NOTSET") {
        "SAME_UPPER" | "SAME_LOWER" => true,
        "VALID" => false,
        _ => !none,
    };
    let partial = padded || node.int("ceil_mode").unwrap_or(0) != 0;
    // Before operator set 7 padding was never counted.
    let counted = opset >= 7 && node.int("count_include_pad").unwrap_or(0) != 0;
    if partial && counted && !affine.is_pure_scale() {
        return Err(Refusal::new(
            "counted-padding",
            format!(
                "`{}` (AveragePool) counts padding, so that a shift before it is not the same shift after it",
                node.title()
            ),
        )
        .into());
    }
    Ok(())
}
