//! Every case of folding: a model each, made by `benches/peers/fold_cases.py`, with what is to come out of it.
//!
//! Here they are run in tract, which knows not all of their operators and types; `benches/peers/fold.py` runs all of them in
//! ONNX Runtime.

mod between;
mod cases;
mod files;
mod hostile;
