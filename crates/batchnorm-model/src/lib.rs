//! Model files with batch normalization in them: ONNX and safetensors.
//!
//! No framework is behind this crate: tensors are names, shapes and plain vectors. What it writes appears under its
//! name whole or not at all.
//!
//! # Quick start
//!
//! ```
//! use batchnorm::Momentum;
//! use batchnorm_model::checkpoint::{NamedTensor, Tensors, Values};
//! use batchnorm_model::onnx::{Dim, Graph, Normalization};
//!
//! // A checkpoint: named tensors and a little text.
//! let mut tensors = Tensors::default();
//! tensors.tensors.push(NamedTensor::new("bn.running_mean", [2], vec![0.5_f32, -1.0]));
//! tensors.tensors.push(NamedTensor::new("bn.num_batches_tracked", [], vec![100_i64]));
//! tensors.metadata.insert("format".to_owned(), "pt".to_owned());
//! let read = Tensors::from_bytes(&tensors.to_bytes()?)?;
//! assert_eq!(read.get("bn.num_batches_tracked").unwrap().values, Values::I64(vec![100]));
//!
//! // A model that a runtime can run.
//! let mut graph = Graph::new("bn");
//! let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(2)]);
//! let ones = graph.tensor("ones", &[2], &[1.0, 1.0]);
//! let zeros = graph.tensor("zeros", &[2], &[0.0, 0.0]);
//! let normalization = Normalization {
//!     gamma: &ones,
//!     beta: &zeros,
//!     mean: &zeros,
//!     variance: &ones,
//!     eps: 1e-5,
//!     momentum: Momentum::of_new(0.1),
//! };
//! let y = graph.batch_normalization("bn", &x, &normalization);
//! graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(2)]);
//! let bytes = graph.to_bytes()?;
//! # assert!(!bytes.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reading order
//!
//! 1. [`checkpoint::Tensors`]: a safetensors file, in and out. [`checkpoint::Archive`]: a checkpoint of any producer and
//!    size; [`checkpoint::Layer`], [`checkpoint::FoldPlan`] and [`checkpoint::Conversion`] are what can be done with it.
//! 2. [`onnx::Graph`]: builds an ONNX model node by node; [`onnx::Window`] and [`onnx::Normalization`] are what its
//!    operators take.
//! 3. [`onnx::wire`]: protobuf's wire format, as fields that can be copied byte for byte.
//! 4. [`inspect`]: what is wrong with the batch-norm layers of a model.
//! 5. [`mod@file`]: how a file appears whole.
//! 6. [`FileError`], with [`CheckpointError`], [`GraphError`] or [`WireError`] as its cause.

#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod convert;
mod error;
pub mod file;
pub mod fold;
pub mod inspect;
pub mod onnx;
mod pattern;
pub mod recalibrate;
pub mod runtime;

pub use error::{CheckpointError, FileError, GraphError, WireError};
