//! Checkpoints: the named tensors of a network, without the network.
//!
//! [`Tensors`] is a small file in memory, in and out. [`Archive`] opens files of any producer and any size; [`Layer`] tells of
//! the batch-norm layers in one, [`FoldPlan`] folds them into the maps before them, [`Conversion`] gives them other names.

mod archive;
mod dtype;
mod error;
mod fold;
mod guess;
mod header;
mod layers;
mod maps;
mod names;
mod output;
mod pattern;
mod pytorch;
mod rename;
mod safetensors;
mod shards;

pub use self::archive::{Archive, Format, TensorEntry};
pub use self::dtype::Dtype;
pub use self::error::ArchiveError;
pub use self::fold::{FoldOptions, FoldPlan, FoldedPair, PairReport, Refusal};
pub use self::guess::Guess;
pub use self::layers::{EPS_KEY, Layer, Remark};
pub use self::names::{Convention, LayerTensors};
pub use self::output::RewriteError;
pub use self::pattern::{Pair, Pattern, PatternError};
pub use self::rename::{Conversion, ConversionOptions, ConversionReport, Unconverted};
pub use self::safetensors::{NamedTensor, Tensors, Values};
