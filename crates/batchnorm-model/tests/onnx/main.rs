//! ONNX models: what is written is read field by field, run by tract, and compared with plain loops; real files
//! come back byte for byte.

mod fields;
mod loops;
mod real;
mod run;
