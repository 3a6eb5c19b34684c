//! ONNX models in another form: a training export made one for inference, and layers as plain arithmetic for runtimes that
//! have no batch normalization.
//!
//! [`to_inference`] changes what only training needs, [`freeze`] replaces the layers; both leave every other byte as it
//! was, tell what they did node by node in a [`Report`], and refuse a node with a reason rather than change what the model
//! computes. How the model says it is trained (`training_info`) is kept as it is.
//!
//! Checkpoints have conversions of their own: other libraries' names, layers without a counter.

mod dropout;
mod element;
mod freeze;
mod inference;
mod report;

pub use freeze::freeze;
pub use inference::{InferenceOptions, to_inference};
pub use report::{Change, Place, Refusal, Refused, Report, User, What};
