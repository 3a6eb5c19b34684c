//! Checkpoints: the named tensors of a network, without the network.

mod safetensors;

pub use self::safetensors::{NamedTensor, Tensors, Values};
