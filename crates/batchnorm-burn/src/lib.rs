//! Batch normalization for [Burn](burn), computed by the [`batchnorm`] engine.
#![forbid(unsafe_code)]

mod autodiff;
mod config;
mod error;
mod flex;
mod layer;
mod module;
pub mod ops;
#[cfg(feature = "store")]
pub mod pytorch;
mod running;
mod stock;

pub use config::BatchNormConfig;
pub use error::Error;
pub use layer::BatchNorm;
pub use running::Statistics;
