//! Model files with batch normalization in them: ONNX and safetensors.

#![forbid(unsafe_code)]
