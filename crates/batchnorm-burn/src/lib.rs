//! Batch normalization for [Burn](burn), computed by the [`batchnorm`] engine.
//!
//! ```text
//! y = gamma (x - mean) / sqrt(variance + eps) + beta            per channel
//! ```
//!
//! Source: S. Ioffe and C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
//! Covariate Shift", 2015, arXiv 1502.03167.
//!
//! [`BatchNorm`] goes where `burn::nn::BatchNorm` goes. A network moves over by its imports:
//!
//! ```
//! // use burn::nn::{BatchNorm, BatchNormConfig};
//! use batchnorm_burn::{BatchNorm, BatchNormConfig};
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Distribution, Tensor, activation};
//!
//! #[derive(Module, Debug)]
//! struct Network {
//!     linear: Linear,
//!     norm: BatchNorm,
//! }
//!
//! let device = Device::flex().autodiff();
//! let network = Network {
//!     linear: LinearConfig::new(10, 4).with_bias(false).init(&device),
//!     norm: BatchNormConfig::new(4).init(&device),
//! };
//! let x = Tensor::<2>::random([32, 10], Distribution::Default, &device);
//! let y = activation::relu(network.norm.forward(network.linear.forward(x)));
//! let gradients = y.sum().backward();
//! assert!(network.linear.weight.grad(&gradients).is_some());
//! ```
//!
//! # What differs from Burn's layer
//!
//! - The running variance is PyTorch's, the unbiased one, unless the settings say otherwise:
//!   `.with_settings(batchnorm::BatchNormConfig::burn())` is Burn's convention. [`BatchNorm`] converts from and to
//!   `burn::nn::BatchNorm` ([`From`], [`TryFrom`]).
//! - `gamma` and `beta` are options, for there are layers without.
//! - Forward and backward pass are the engine's, one node of the graph; batch statistics are f64.
//! - Running statistics are current as soon as `forward` returns; a batch with NaN does not enter them, and
//!   [`BatchNorm::last_update`] says so.
//! - Shapes and settings that cannot be are typed errors of [`BatchNorm::try_forward`] and
//!   [`BatchNormConfig::try_init`].
//! - One value per channel in training is an error, as in PyTorch; a policy of the settings allows it.
//!
//! # Reading order
//!
//! 1. [`BatchNormConfig`] and [`BatchNorm`]: the layer, its clones and its records.
//! 2. [`Activation`]: a ReLU without another sweep.
//! 3. The variants: [`BatchNorm::try_with_variant`], [`BatchNorm::try_forward_masked`], [`Inference`],
//!    [`BatchNorm::with_exchange`]; [`BatchNormBank`] for domains, parts and classes.
//! 4. [`networks`]: what works on a whole network: switches, summary, recalibration, guards, converters.
//! 5. `pytorch` (feature `store`): files under PyTorch's names.
//! 6. [`ops`]: the operation, for who brings another backend.
//!
//! # Limits
//!
//! The backend is Flex, plain or under autodiff, with tensors of f32 and f64. The backward pass is not differentiable
//! once more: Burn's graph is of first order.
//!
//! # Features
//!
//! - `store`: adapters for the stores of `burn-store`.
#![forbid(unsafe_code)]

mod activation;
mod autodiff;
mod bank;
mod config;
mod error;
mod flex;
mod layer;
mod module;
pub mod networks;
pub mod ops;
mod pass;
#[cfg(feature = "store")]
pub mod pytorch;
mod running;
mod statistics;
mod stock;
mod values;
mod variants;

pub use activation::{Activation, Keep};
pub use bank::{BatchNormBank, BatchNormBankConfig, parts};
pub use config::BatchNormConfig;
pub use error::Error;
pub use layer::BatchNorm;
pub use running::Statistics;
pub use variants::Inference;
