//! Models recalibrated on small data, against plain loops in f64.
//!
//! ONNX Runtime is tested where `BATCHNORM_TEST_ONNXRUNTIME` names its library, or a folder that has it.
#![cfg(feature = "tract")]

mod by_batch;
mod forms;
#[path = "../onnx/loops.rs"]
#[allow(dead_code)]
mod loops;
mod models;
mod refusals;
mod resuming;
mod sequential;
