//! Additions of and multiplications by constants around a layer.

use std::sync::Arc;

use batchnorm::fold::{Affine, Rounding};

use super::plan::New;
use super::refusal::Refusal;
use super::weights::{engine_type, fits};
use super::{Attempt, Folder};
use crate::onnx::document::Node;
use crate::onnx::layers::Constant;

/// Constants of more elements are not computed with.
const LIMIT: u64 = 1 << 24;

/// A node that adds or multiplies, with the operand that is a constant.
pub(super) struct WithConstant {
    /// Which input the constant is.
    pub(super) input: usize,
    pub(super) constant: Constant,
    /// The other operand.
    pub(super) other: String,
    /// The constant's shape beside the value's: as many axes.
    dims: Vec<u64>,
}

impl Folder<'_, '_> {
    /// The constant operand of an `Add`, `Sub`, `Mul` or `Div`, beside a value of known rank.
    pub(super) fn with_constant(&self, node: &Node, rank: usize) -> Attempt<Option<WithConstant>> {
        if !matches!(node.op(), "Add" | "Sub" | "Mul" | "Div") {
            return Ok(None);
        }
        for input in [1, 0] {
            let Some(name) = node.input(input) else { continue };
            let Some(constant) = self.constant(name)?.filter(|constant| constant.element.is_float()) else {
                continue;
            };
            let other = node.input(1 - input).unwrap_or_default().to_owned();
            let length = constant.dims.len();
            if length > rank || constant.len() > LIMIT {
                return Ok(None);
            }
            // Before operator set 7 the second operand may say where its axes begin.
            let first = match node.int("axis").filter(|_| self.document.opset() < 7) {
                Some(axis) if axis >= 0 && axis as usize + length <= rank => axis as usize,
                Some(_) => return Ok(None),
                None => rank - length,
            };
            let mut dims = vec![1; rank];
            dims[first..first + length].copy_from_slice(&constant.dims);
            return Ok(Some(WithConstant { input, constant, other, dims }));
        }
        Ok(None)
    }

    /// What a node with a constant makes of each channel, if it treats all of a channel's values the same.
    pub(super) fn per_channel(
        &self,
        node: &Node,
        with: &WithConstant,
        axis: usize,
        channels: usize,
    ) -> Attempt<Option<Affine>> {
        let along = with.dims.get(axis).copied().unwrap_or(0);
        let others = with.dims.iter().enumerate().all(|(index, &dim)| index == axis || dim == 1);
        if !others || along != 1 && along != channels as u64 {
            return Ok(None);
        }
        let mut values = with.constant.all()?;
        values.resize(channels, values[0]);
        let (zeros, ones) = (vec![0.0; channels], vec![1.0; channels]);
        let negative = |values: Vec<f64>| -> Vec<f64> { values.into_iter().map(|value| -value).collect() };
        let (scale, shift) = match (node.op(), with.input) {
            ("Add", _) => (ones, values),
            ("Sub", 1) => (ones, negative(values)),
            ("Sub", _) => (negative(ones), values),
            ("Mul", _) => (values, zeros),
            ("Div", 1) => (values.into_iter().map(|value| 1.0 / value).collect(), zeros),
            _ => return Ok(None),
        };
        Ok(Some(Affine::of(scale, shift).map_err(Refusal::from)?))
    }

    /// The constant of an addition before a layer, with the layer applied to it: `K' = s K + t`; for `K - x` and `x - K` so
    /// that the operator may stay.
    pub(super) fn constant_through(
        &self,
        node: &Node,
        with: &WithConstant,
        axis: usize,
        affine: &Affine,
    ) -> Attempt<New> {
        let channels = affine.channels() as u64;
        let mut dims = with.dims.clone();
        let along = dims[axis];
        if along != 1 && along != channels {
            let found = format!(
                "the constant of `{}` has {along} channels where the layer has {channels}",
                node.title()
            );
            return Err(Refusal::new("shapes-differ", found).into());
        }
        dims[axis] = channels;
        let product = |dims: &[u64]| {
            dims.iter().try_fold(1_u64, |size, &dim| size.checked_mul(dim)).filter(|&size| size <= LIMIT)
        };
        let (Some(size), Some(inner)) = (product(&dims), product(&dims[axis + 1..])) else {
            let found = format!("the constant of `{}` is too large to be computed with", node.title());
            return Err(Refusal::new("large-constant", found).into());
        };
        let old = with.constant.all()?;
        // x - K is x + (-K): what is subtracted takes the shift with the other sign.
        let subtracted = node.op() == "Sub" && with.input == 1;
        let new: Vec<f64> = (0..size)
            .map(|index| {
                let channel = (index / inner % channels) as usize;
                let from = if along == 1 { index / (inner * channels) * inner + index % inner } else { index };
                let shift = affine.shift()[channel];
                affine.scale()[channel] * old[from as usize] + if subtracted { -shift } else { shift }
            })
            .collect();
        let element = with.constant.element;
        fits(element, &new).map_err(Refusal::from)?;
        let bound = Rounding::of(engine_type(element)).relative(1, affine.roundings());
        Ok(New { dims, element, values: self.moved(Arc::new(new), bound) })
    }
}
