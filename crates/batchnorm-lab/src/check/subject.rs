//! Backends under test.

use batchnorm::{CpuOn, InstructionSet, Kernels};

/// A backend under test.
pub struct Subject {
    /// What tells it from the others: the instruction set.
    pub name: String,
    /// For tensors of f32.
    pub f32: Box<dyn Kernels<f32>>,
    /// For tensors of f64.
    pub f64: Box<dyn Kernels<f64>>,
}

impl Subject {
    /// A backend for both types.
    pub fn new<K>(name: impl Into<String>, kernels: K) -> Self
    where
        K: Kernels<f32> + Kernels<f64> + Clone + 'static,
    {
        Self { name: name.into(), f32: Box::new(kernels.clone()), f64: Box::new(kernels) }
    }
}

/// The CPU's kernels on every instruction set that this machine has, best first.
pub fn subjects() -> Vec<Subject> {
    let on = |set| Some(Subject::new(format!("{set}"), CpuOn::new(set)?));
    InstructionSet::available().filter_map(on).collect()
}
