//! One row of the table: an operation on a tensor, on so many threads.

use std::fmt;

use batchnorm::{Candidate, ElementType, Operation, Problem, Shape};

use super::{BenchError, Extents, Line};
use crate::names::named;

named! {
    /// What is computed.
    pub enum Op, "operation" {
        /// A training pass, with the update of the running statistics.
        Forward = "forward",
        /// The gradients of x, gamma and beta.
        Backward = "backward",
        /// Evaluation by running statistics, with coefficients computed beforehand.
        Eval = "eval",
    }
}

named! {
    /// The type of the tensors' elements.
    pub enum Dtype, "type" {
        /// 32-bit floats.
        F32 = "f32",
        /// 64-bit floats.
        F64 = "f64",
        /// 16-bit floats of f32's range and 8 bits of precision; parameters and statistics are f32.
        Bf16 = "bf16",
        /// 16-bit floats of IEEE 754, up to 65504 and with 11 bits of precision; parameters and statistics are f32.
        F16 = "f16",
    }
}

named! {
    /// How a tensor lies in memory.
    pub enum Layout, "layout" {
        /// Batch, channels, spatial extents.
        ChannelsFirst = "channels-first",
        /// Batch, spatial extents, channels.
        ChannelsLast = "channels-last",
    }
}

impl Layout {
    /// The name as JSON has it.
    pub const fn snake(self) -> &'static str {
        match self {
            Self::ChannelsFirst => "channels_first",
            Self::ChannelsLast => "channels_last",
        }
    }
}

impl From<Op> for Operation {
    fn from(op: Op) -> Self {
        match op {
            Op::Forward => Self::Forward,
            Op::Backward => Self::Backward,
            Op::Eval => Self::Evaluation,
        }
    }
}

impl From<Dtype> for ElementType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F64 => Self::F64,
            Dtype::Bf16 => Self::Bf16,
            Dtype::F16 => Self::F16,
        }
    }
}

/// An operation on a tensor, on so many threads.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The tensor's extents.
    pub extents: Extents,
    /// What is computed.
    pub op: Op,
    /// The elements' type.
    pub dtype: Dtype,
    /// How the tensor lies in memory.
    pub layout: Layout,
    /// The threads of the pool.
    pub threads: usize,
    /// Whether the output overwrites the input.
    pub in_place: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { extents, op, dtype, layout, threads, in_place } = self;
        let in_place = if *in_place { " in place" } else { "" };
        let plural = if *threads == 1 { "" } else { "s" };
        write!(f, "{op}{in_place} of {extents} {dtype} {layout} on {threads} thread{plural}")
    }
}

impl Case {
    /// The tensor's shape, as batch normalization sees it.
    pub fn shape(&self) -> Shape {
        self.extents.shape(self.layout)
    }

    /// The problem, as the engine's choice of a kernel sees it.
    pub fn problem(&self) -> Problem {
        Problem {
            operation: self.op.into(),
            shape: self.shape(),
            element: self.dtype.into(),
            masked: false,
            threads: self.threads,
        }
    }

    /// All kernels for it, best first, and why they run or do not.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.problem().candidates()
    }

    /// The bytes of one tensor.
    pub fn tensor_bytes(&self) -> u64 {
        self.extents.elements() as u64 * ElementType::from(self.dtype).bytes() as u64
    }

    /// How often a tensor must at least be moved between memory and processor.
    pub const fn least_moves(&self) -> f64 {
        match self.op {
            Op::Forward | Op::Eval => 2.0,
            Op::Backward => 3.0,
        }
    }

    /// The share of the roof that the kernel's own traffic allows: 1 if it moves nothing twice.
    pub fn ceiling(&self) -> f64 {
        let (reads, writes) = self.problem().traffic();
        self.least_moves() / (reads + writes)
    }
}

/// What was asked for, of every problem.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Operations.
    pub ops: Vec<Op>,
    /// Types of elements.
    pub dtypes: Vec<Dtype>,
    /// Layouts.
    pub layouts: Vec<Layout>,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Whether outputs overwrite inputs.
    pub in_place: bool,
}

impl Request {
    /// The rows for these problems: problem by problem, all operations, types, layouts and numbers of threads. What a
    /// problem's line says of itself has precedence.
    ///
    /// # Errors
    ///
    /// [`BenchError::NoBackwardInPlace`].
    pub fn cases(&self, lines: &[Line]) -> Result<Vec<Case>, BenchError> {
        let mut cases = Vec::new();
        for line in lines {
            for &op in line.ops.as_ref().unwrap_or(&self.ops) {
                if op == Op::Backward && self.in_place {
                    return Err(BenchError::NoBackwardInPlace { extents: line.extents.clone() });
                }
                for &dtype in line.dtypes.as_ref().unwrap_or(&self.dtypes) {
                    for &layout in line.layouts.as_ref().unwrap_or(&self.layouts) {
                        cases.extend(self.threads.iter().map(|&threads| Case {
                            extents: line.extents.clone(),
                            op,
                            dtype,
                            layout,
                            threads,
                            in_place: self.in_place,
                        }));
                    }
                }
            }
        }
        Ok(cases)
    }
}
