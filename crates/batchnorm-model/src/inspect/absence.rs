//! Why a model has no batch-norm layers.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::onnx::document::{Document, Node};

/// What a model without batch-norm layers has instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Absence {
    /// Convolutions, transposed ones among them.
    pub convolutions: usize,
    /// Convolutions with a bias.
    pub biased: usize,
    /// Other kinds of normalization, by their operators.
    pub others: BTreeMap<String, usize>,
    /// It is a checkpoint: there are no operators in it.
    pub checkpoint: bool,
}

impl Absence {
    /// Counts the operators of a model, those of its branches, bodies and functions too.
    pub(super) fn of(document: &Document) -> Self {
        let mut absence = Self::default();
        absence.count(document.graph().nodes());
        for function in document.functions() {
            absence.count(function.nodes());
        }
        absence
    }

    pub(super) fn of_checkpoint() -> Self {
        Self { checkpoint: true, ..Self::default() }
    }

    fn count(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node.op() {
                "Conv" | "ConvTranspose" | "FusedConv" => {
                    self.convolutions += 1;
                    self.biased += usize::from(node.input(2).is_some());
                }
                "QLinearConv" => {
                    self.convolutions += 1;
                    self.biased += usize::from(node.input(8).is_some());
                }
                op if op.ends_with("Normalization") || op == "LRN" => {
                    *self.others.entry(op.to_owned()).or_default() += 1;
                }
                _ => {}
            }
            node.graphs().for_each(|(_, graph)| self.count(graph.nodes()));
        }
    }

    /// Whether it looks as if an exporter had folded the layers.
    pub fn folded(&self) -> bool {
        self.biased > 0 && self.others.is_empty()
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { convolutions, biased, .. } = self;
        if self.checkpoint {
            return f.write_str(
                "no batch-norm layers: no name has a running mean and a running variance of one length; a file of weights \
                 alone, or of a network without batch normalization",
            );
        }
        let others: Vec<String> = self.others.iter().map(|(op, count)| format!("{count} {op}")).collect();
        match (biased, convolutions) {
            _ if !others.is_empty() => {
                write!(f, "no batch-norm layers: it normalizes by {}", others.join(", "))
            }
            (0, 0) => f.write_str("no batch-norm layers, and no convolutions either: nothing to look at"),
            (0, _) => write!(
                f,
                "no batch-norm layers, and none of {convolutions} convolutions has a bias that one could have been folded \
                 into: the network was built without"
            ),
            _ => write!(
                f,
                "no batch-norm layers: the exporter folded them, or the network was built without; {biased} of \
                 {convolutions} convolutions have a bias. PyTorch's exporter folds in evaluation mode: to keep the layers, \
                 export with `training=torch.onnx.TrainingMode.PRESERVE` and `do_constant_folding=False`, or inspect the \
                 checkpoint"
            ),
        }
    }
}
