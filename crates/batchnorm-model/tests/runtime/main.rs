//! Models run by tract and by ONNX Runtime: against plain loops, against each other, and what they refuse.
//!
//! ONNX Runtime is tested where `BATCHNORM_TEST_ONNXRUNTIME` names its library, or a folder that has it.
#![cfg(any(feature = "tract", feature = "onnxruntime"))]

#[cfg(feature = "onnxruntime")]
mod by_onnx_runtime;
#[cfg(feature = "tract")]
mod by_tract;
#[path = "../onnx/loops.rs"]
#[allow(dead_code)]
mod loops;
// Each runtime uses its part.
#[allow(dead_code)]
mod models;
mod refusals;
