//! Batch normalization on the CPU: accurate, deterministic, and usable from plain slices.
//!
//! ```text
//! mean = sum(x) / n,    variance = sum((x - mean)^2) / n          over the batch, per channel
//! y    = gamma (x - mean) / sqrt(variance + eps) + beta
//! ```
//!
//! Source: S. Ioffe and C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
//! Internal Covariate Shift", 2015, arXiv 1502.03167.
//!
//! # Quick start
//!
//! ```
//! use batchnorm::{BatchNorm, BatchNormConfig, Shape, Wanted};
//!
//! // 8 images of 3 channels and 5 x 5 pixels, around a mean of 10 000.
//! let shape = Shape::channels_first(&[8, 3, 5, 5])?;
//! let x: Vec<f32> = (0..shape.len()).map(|i| 1e4 + (i * 7 % 11) as f32).collect();
//! let mut layer = BatchNorm::<f32>::new(3, BatchNormConfig::pytorch())?;
//!
//! let mut y = vec![0.0; shape.len()];
//! let forward = layer.forward_train(shape, &x, &mut y)?;
//!
//! let dy = vec![1.0; shape.len()];
//! let mut dx = vec![0.0; shape.len()];
//! let gradients = layer.backward(&forward.saved, &x, &dy, Some(&mut dx), Wanted::ALL)?;
//! assert_eq!(gradients.beta.unwrap(), [200.0; 3]);
//!
//! layer.forward_eval(shape, &x, &mut y)?;
//! # Ok::<(), batchnorm::Error>(())
//! ```
//!
//! # Reading order
//!
//! 1. [`BatchNormConfig`]: what momentum, running variance and eps mean, with a preset per library.
//! 2. [`Shape`], [`View`]: any rank and channel axis as (outer, channels, inner).
//! 3. [`Moments`]: count, mean and M2 as a monoid.
//! 4. [`Kernels`]: the four primitives that carry everything; [`Reference`] defines them, [`Cpu`] is fast.
//! 5. [`passes`]: training, evaluation and backward over slices, without state.
//! 6. [`RunningStatistics`] and [`Population`]: what evaluation normalizes with.
//! 7. [`BatchNorm`]: a layer that holds all of it; [`Names`]: its state under PyTorch's and Keras's names.
//! 8. The variants: [`Variant`] names them; a [`passes::Plan`] with its [`Partition`] and [`passes::Statistics`] is what
//!    [`passes::forward`] carries out, over a [`Mask`] and among the ranks of an [`Exchange`] if there are any.
//! 9. [`MicroBatches`], [`double_backward()`], [`decay`], [`health`], [`fold`]: around the layer.
//!
//! Every equation, convention and policy on one page: [`semantics`].
//!
//! # Features
//!
//! - `serde`: the configuration and [`Moments`] serialize and deserialize.

mod coefficients;
mod config;
mod cpu;
mod double_backward;
mod element;
mod error;
mod exchange;
pub mod fold;
pub mod health;
mod inference;
mod kernels;
mod layer;
mod microbatches;
mod moments;
pub mod passes;
mod population;
mod reference;
mod running;
mod scratch;
#[doc = include_str!("../semantics.md")]
pub mod semantics {}
mod shape;
mod state;
mod variants;

pub use coefficients::{Coefficients, GradientMeans, GradientSums, Parameters};
pub use config::{BatchNormConfig, Momentum, Policy, RunningVariance, Warning};
pub use cpu::roof;
pub use cpu::{Candidate, Cpu, CpuOn, ElementType, InstructionSet, Operation, Problem};
pub use double_backward::{DoubleBackward, double_backward};
pub use element::{Element, Real};
pub use error::Error;
pub use exchange::{Alone, Exchange, Threads};
pub use half::{bf16, f16};
pub use inference::Inference;
pub use kernels::{Epilogue, Gate, Kernels};
pub use layer::{BatchNorm, Forward};
pub use microbatches::{MicroBatches, MicroGradients, WholeBatch, WholeGradients};
pub use moments::Moments;
pub use passes::{Gradients, Saved, Wanted};
pub use population::{Pooling, Population};
pub use reference::Reference;
pub use running::{RunningStatistics, RunningUpdate};
pub use shape::{Mask, Shape, View, ViewMut};
pub use state::{Names, StateValue};
pub use variants::{
    Banks, Blend, Correction, Partition, RenormLimits, RenormSchedule, Spread, Tracked, UnknownVariant,
    Variant, decay,
};
