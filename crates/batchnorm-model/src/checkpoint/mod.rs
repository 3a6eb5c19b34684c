//! Checkpoints: the named tensors of a network, without the network.
//!
//! [`Tensors`] is a small file in memory, in and out. [`Archive`] opens files of any producer and any size.

mod archive;
mod dtype;
mod error;
mod header;
mod pytorch;
mod safetensors;
mod shards;

pub use self::archive::{Archive, Format, TensorEntry};
pub use self::dtype::Dtype;
pub use self::error::ArchiveError;
pub use self::safetensors::{NamedTensor, Tensors, Values};
