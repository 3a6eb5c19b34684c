//! Backends under test.

use batchnorm::{CpuOn, InstructionSet, Kernels, bf16, f16};

/// A backend under test.
pub struct Subject {
    /// What tells it from the others: the instruction set.
    pub name: String,
    /// For tensors of f32.
    pub f32: Box<dyn Kernels<f32>>,
    /// For tensors of f64.
    pub f64: Box<dyn Kernels<f64>>,
    /// For tensors of bf16.
    pub bf16: Box<dyn Kernels<bf16>>,
    /// For tensors of f16.
    pub f16: Box<dyn Kernels<f16>>,
}

impl Subject {
    /// A backend for all types.
    pub fn new<K>(name: impl Into<String>, kernels: K) -> Self
    where
        K: Kernels<f32> + Kernels<f64> + Kernels<bf16> + Kernels<f16> + Clone + 'static,
    {
        Self {
            name: name.into(),
            f32: Box::new(kernels.clone()),
            f64: Box::new(kernels.clone()),
            bf16: Box::new(kernels.clone()),
            f16: Box::new(kernels),
        }
    }
}

/// The CPU's kernels on every instruction set that this machine has, best first.
pub fn subjects() -> Vec<Subject> {
    let on = |set| Some(Subject::new(format!("{set}"), CpuOn::new(set)?));
    InstructionSet::available().filter_map(on).collect()
}
