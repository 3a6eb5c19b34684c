//! Linear maps by the names and shapes of their tensors.

use super::{Archive, Convention};

/// A linear map in a checkpoint: something with a weight of two to five axes.
#[derive(Clone, Debug)]
pub(super) struct LinearMap {
    /// What its tensors' names begin with, without the last dot or slash.
    pub name: String,
    pub weight: String,
    pub bias: Option<String>,
    /// The name that its bias has, or would have.
    pub bias_name: String,
    pub shape: Vec<usize>,
    axes: Axes,
}

/// Where the outputs are, by whose names the weight has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axes {
    /// `[outputs, inputs, kernel..]`.
    OutputsFirst,
    /// `[inputs, outputs]`: Burn's linear layer.
    Matrix,
    /// `[kernel.., inputs, outputs]`: Keras and Flax.
    OutputsLast,
}

/// How a weight is read: a file does not tell a transposed convolution from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As a convolution or a matrix.
    AsNamed,
    /// As a transposed convolution, `[inputs, outputs / groups, kernel..]`.
    Transposed,
}

/// The name of the weight of Keras's and Flax's maps.
const KERNEL: &str = "kernel";
const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
/// Axes of a weight: a matrix has two, a convolution over three axes five.
const RANKS: std::ops::RangeInclusive<usize> = 2..=5;

/// The linear map of this name, if there is one.
pub(super) fn find(archive: &Archive, name: &str, convention: Convention) -> Option<LinearMap> {
    // A file that is one map has no names before the last part.
    let joined = if name.is_empty() {
        vec![String::new()]
    } else {
        ['.', '/'].map(|separator| format!("{name}{separator}")).to_vec()
    };
    joined.iter().find_map(|start| {
        [(WEIGHT, ""), (KERNEL, ""), (KERNEL, ":0")].into_iter().find_map(|(last, suffix)| {
            let entry = archive.entry(&format!("{start}{last}{suffix}"))?;
            if !RANKS.contains(&entry.shape.len()) {
                return None;
            }
            let bias_name = format!("{start}{BIAS}{suffix}");
            let axes = match convention {
                _ if last == KERNEL => Axes::OutputsLast,
                Convention::Burn if entry.shape.len() == 2 => Axes::Matrix,
                _ => Axes::OutputsFirst,
            };
            Some(LinearMap {
                name: name.to_owned(),
                weight: entry.name.clone(),
                bias: archive.entry(&bias_name).map(|bias| bias.name.clone()),
                bias_name,
                shape: entry.shape.clone(),
                axes,
            })
        })
    })
}

impl LinearMap {
    /// The number of outputs when it is read in this order; of a transposed convolution, those of one group. `None` where it
    /// cannot be read so.
    pub fn outputs(&self, order: Order) -> Option<usize> {
        let shape = &self.shape;
        match order {
            Order::AsNamed => match self.axes {
                Axes::OutputsFirst => shape.first().copied(),
                Axes::Matrix | Axes::OutputsLast => shape.last().copied(),
            },
            // A matrix is never one.
            Order::Transposed if shape.len() > 2 && self.axes != Axes::OutputsLast => shape.get(1).copied(),
            Order::Transposed => None,
        }
    }

    /// Whether its weight begins with the outputs, as PyTorch's convolutions and matrices do.
    pub fn outputs_first(&self) -> bool {
        self.axes == Axes::OutputsFirst
    }
}
