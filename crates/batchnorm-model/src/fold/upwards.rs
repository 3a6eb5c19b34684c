//! Folding a layer into what comes before it.

use std::sync::Arc;

use batchnorm::fold::{Affine, Rounding};

use super::between::Way;
use super::plan::{Edit, New};
use super::refusal::Refusal;
use super::weights::{engine_type, fits};
use super::{Attempt, Folder};
use crate::onnx::document::ElementType;
use crate::onnx::layers::{BatchNormalization, Meaning, axis as counted};

impl Folder<'_, '_> {
    /// Makes what computes a value compute the layer of it as well: `s value + t`, channels along an axis.
    pub(super) fn upwards(&mut self, value: &str, axis: usize, affine: Affine, user: &str) -> Attempt<()> {
        let Some((index, output)) = self.scope.producer(value) else {
            return Err(self.no_producer(value).into());
        };
        let node = self.scope.nodes()[index].clone();
        let title = node.title();
        if self.scope.is_output(value) {
            return Err(Refusal::new(
                "is-output",
                format!("`{value}`, which `{user}` takes, is an output of the graph as well: it must stay what it is"),
            )
            .into());
        }
        let users = self.scope.consumers(value).len();
        if users > 1 {
            return Err(Refusal::new(
                "used-twice",
                format!("`{value}`, which `{user}` takes, is used {users} times: others need it as it is"),
            )
            .into());
        }
        if output != 0 || !(node.domain().is_empty() || node.domain() == "ai.onnx") {
            return Err(Refusal::new(
                "operator-between",
                format!(
                    "`{title}` ({}) is between the layer and a linear map, and does not let it pass",
                    node.op()
                ),
            )
            .into());
        }
        match node.op() {
            "Conv" | "ConvTranspose" | "Gemm" | "MatMul" => self.fold_into_map_before(index, axis, &affine),
            "BatchNormalization" => self.fold_into_layer_before(index, axis, &affine),
            "Add" | "Sub" | "Mul" | "Div" => self.upwards_past_constant(index, axis, &affine),
            "Concat" => self.upwards_past_joint(index, axis, &affine),
            _ => {
                let (axis, affine) = self.past(&node, axis, affine, Way::Up)?;
                let x = node.input(0).unwrap_or_default();
                self.further(|folder| folder.upwards(x, axis, affine, title))
            }
        }
    }

    fn no_producer(&self, value: &str) -> Refusal {
        let code = "no-linear-map";
        match self.scope.meaning(value) {
            Meaning::Input if self.scope.home().is_main() => Refusal::new(
                code,
                format!("`{value}` is an input of the model: no linear map comes before the layer"),
            ),
            Meaning::Initializer { .. } => Refusal::new(
                code,
                format!("`{value}` is a stored tensor: no linear map comes before the layer"),
            ),
            _ => Refusal::new(
                "other-graph",
                format!(
                    "`{value}` comes from another graph, where others may use it: no linear map of this graph comes before"
                ),
            ),
        }
    }

    fn fold_into_layer_before(&mut self, index: usize, axis: usize, affine: &Affine) -> Attempt<()> {
        let layer = BatchNormalization::new(self.document, self.scope, index)?;
        let before = self.affine(&layer)?;
        if axis != 1 || before.channels() != affine.channels() {
            let found = format!("`{}` before the layer has its channels along another axis", layer.name);
            return Err(Refusal::new("axis-mismatch", found).into());
        }
        // gamma' = s gamma, beta' = s beta + t.
        let channels = affine.channels();
        let gamma = layer.gamma.numbers()?.unwrap_or_else(|| vec![1.0; channels]);
        let beta = layer.beta.numbers()?.unwrap_or_else(|| vec![0.0; channels]);
        let element = layer.gamma.constant().map_or(ElementType::Float, |gamma| gamma.element);
        let gamma: Vec<f64> = gamma.iter().zip(affine.scale()).map(|(gamma, scale)| gamma * scale).collect();
        let beta: Vec<f64> = (0..channels)
            .map(|channel| affine.scale()[channel] * beta[channel] + affine.shift()[channel])
            .collect();
        let bound = Rounding::of(engine_type(element)).relative(1, affine.roundings());
        for (input, values) in [(1, gamma), (2, beta)] {
            self.plan.flushed += fits(element, &values).map_err(Refusal::from)?;
            let values = self.moved(Arc::new(values), bound);
            let new = New { dims: vec![channels as u64], element, values };
            self.plan.push(Edit::Constant { node: index, input, new });
        }
        self.plan.bound = self.plan.bound.max(bound);
        self.plan.into.push(layer.name);
        Ok(())
    }

    fn upwards_past_constant(&mut self, index: usize, axis: usize, affine: &Affine) -> Attempt<()> {
        let node = self.scope.nodes()[index].clone();
        let y = node.output(0).unwrap_or_default();
        let rank = self.shapes.of(y).ok_or_else(|| self.unknown_shape(y))?.len();
        let Some(with) = self.with_constant(&node, rank)? else {
            return Err(Refusal::new(
                "runtime-addend",
                format!(
                    "`{}` ({}) between the layer and a linear map has no operand that is a constant",
                    node.title(),
                    node.op()
                ),
            )
            .into());
        };
        if axis >= rank {
            return Err(self.unknown_shape(y).into());
        }
        match node.op() {
            "Add" | "Sub" => {
                let new = self.constant_through(&node, &with, axis, affine)?;
                // Only the scale goes further.
                let zeros = vec![0.0; affine.channels()];
                let scale = Affine::of(affine.scale().to_vec(), zeros).map_err(Refusal::from)?;
                self.plan.push(Edit::Constant { node: index, input: with.input, new });
                self.further(|folder| folder.upwards(&with.other, axis, scale, node.title()))
            }
            _ => {
                let Some(factor) = self.per_channel(&node, &with, axis, affine.channels())? else {
                    return Err(Refusal::new(
                        "operator-between",
                        format!(
                            "`{}` ({}) between the layer and a linear map multiplies by more than one number a channel",
                            node.title(),
                            node.op()
                        ),
                    )
                    .into());
                };
                let both = factor.then(affine).map_err(Refusal::from)?;
                // The operand's value takes the product's place, which may be another product's that was taken away.
                let named = |edit: &Edit| matches!(edit, Edit::Output { node, .. } if *node == index);
                let name =
                    match self.plan.edits.iter().position(named).map(|place| self.plan.edits.remove(place)) {
                        Some(Edit::Output { name, .. }) => name,
                        _ => y.to_owned(),
                    };
                self.rename_producer(&with.other, &name)?;
                self.plan.push(Edit::Remove { node: index });
                self.further(|folder| folder.upwards(&with.other, axis, both, node.title()))
            }
        }
    }

    /// A layer behind a joint: each part takes its own channels.
    fn upwards_past_joint(&mut self, index: usize, axis: usize, affine: &Affine) -> Attempt<()> {
        let node = self.scope.nodes()[index].clone();
        let y = node.output(0).unwrap_or_default();
        let rank = self.shapes.of(y).ok_or_else(|| self.unknown_shape(y))?.len();
        let along = node.int("axis").and_then(|axis| counted(axis, rank));
        let along = along.ok_or_else(|| self.unknown_shape(y))?;
        let mut first = 0;
        for input in node.inputs() {
            let part = if along == axis {
                let length =
                    self.shapes.of(input).and_then(|lengths| usize::try_from((*lengths.get(axis)?)?).ok());
                let length = length.ok_or_else(|| self.unknown_shape(input))?;
                let part = affine.slice(first..first.saturating_add(length));
                first = first.saturating_add(length);
                part.ok_or_else(|| {
                    Refusal::new(
                        "shapes-differ",
                        format!("the parts of `{}` are more than the layer's channels", node.title()),
                    )
                })?
            } else {
                affine.clone()
            };
            self.further(|folder| folder.upwards(input, axis, part, node.title()))?;
        }
        Ok(())
    }

    /// Gives the value that a node makes another name.
    pub(super) fn rename_producer(&mut self, value: &str, name: &str) -> Attempt<()> {
        match self.scope.producer(value) {
            Some((node, 0)) => {
                self.plan.push(Edit::Output { node, name: name.to_owned() });
                Ok(())
            }
            _ => Err(self.no_producer(value).into()),
        }
    }
}
