//! Folding a layer into what comes after it.

use batchnorm::fold::Affine;

use super::between::Way;
use super::refusal::Refusal;
use super::{Attempt, Folder};

impl Folder<'_, '_> {
    /// Makes all that take a value take the layer of it: `s value + t`, channels along an axis. What they take is changed by
    /// the caller.
    pub(super) fn downwards(&mut self, value: &str, axis: usize, affine: &Affine) -> Attempt<()> {
        if self.scope.is_output(value) {
            return Err(Refusal::new(
                "is-output",
                format!("`{value}` is an output of the graph: what comes after it cannot stand for the layer"),
            )
            .into());
        }
        let consumers = self.scope.consumers(value).to_vec();
        if consumers.is_empty() {
            return Err(Refusal::new("no-linear-map", format!("nothing takes `{value}`")).into());
        }
        for (index, input) in &consumers {
            let node = self.scope.nodes()[*index].clone();
            let title = node.title();
            let twice = consumers.iter().filter(|(other, _)| other == index).count() > 1;
            let own = node.domain().is_empty() || node.domain() == "ai.onnx";
            if *input >= node.inputs().len() || twice || *input != 0 || !own {
                return Err(Refusal::new(
                    "operator-between",
                    format!(
                        "`{title}` ({}) takes the layer's values, and has no weight that could take the layer in",
                        node.op()
                    ),
                )
                .into());
            }
            match node.op() {
                "Conv" | "ConvTranspose" | "Gemm" | "MatMul" => {
                    self.fold_into_map_after(*index, axis, affine)?
                }
                _ => {
                    let (axis, affine) = self.past(&node, axis, affine.clone(), Way::Down)?;
                    let y = node.output(0).unwrap_or_default();
                    self.further(|folder| folder.downwards(y, axis, &affine))?;
                }
            }
        }
        Ok(())
    }
}
