//! How fast the kernels are: each beside the roof of the machine, and beside the reference.
//!
//! Reading order:
//!
//! 1. [`Extents`]: batch, channels and spatial extents, whatever the layout;
//! 2. [`Case`]: one row of the table; [`Request`] makes rows of what was asked for, [`read`] of a file of problems;
//! 3. [`measure`]: the kernel, a plain copy of the same size and the reference, in turns, on the same memory;
//! 4. [`Measured`]: times, and what follows from them; [`Record`]: the same as lines of JSON.
//!
//! ```
//! use batchnorm_lab::bench::{Case, Dtype, Effort, Layout, Op, measure};
//!
//! let case = Case {
//!     extents: "4x32x8x8".parse()?,
//!     op: Op::Forward,
//!     dtype: Dtype::F32,
//!     layout: Layout::ChannelsFirst,
//!     threads: 1,
//!     in_place: false,
//! };
//! let measured = measure(&case, &Effort { seconds: 0.01, reference: true })?;
//! println!("{} us, {:.2} of the roof", measured.time.median * 1e6, measured.share());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod case;
mod extents;
mod files;
mod measure;
mod memory;
mod pass;
mod record;
mod timing;

pub use batchnorm::Candidate;
pub use case::{Case, Dtype, Layout, Op, Request};
pub use extents::{Extents, ExtentsError};
pub use files::{BUILT_IN, FilesError, Line, read};
pub use measure::{Effort, Measured, Roof, measure};
pub use record::{Explanation, Record};
pub use timing::Timing;

/// Why there is no time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A backward pass that overwrites its input.
    #[error(
        "expected operations that can be in place, found a backward pass for {extents}, which reads its input after \
         the output is known; ask for `forward,eval`"
    )]
    NoBackwardInPlace {
        /// The problem.
        extents: Extents,
    },
    /// The problem does not fit.
    #[error(
        "{case} needs {} of memory, and {} are free; take a smaller batch{}",
        size(*needed),
        size(*available),
        if case.in_place || case.op == Op::Backward { "" } else { ", or `--in-place`, which needs half of it" }
    )]
    Memory {
        /// The problem.
        case: Case,
        /// The bytes of its tensors.
        needed: u64,
        /// The bytes that the system says it has.
        available: u64,
    },
    /// The system gave no memory.
    #[error("the system gave no {} of memory for a tensor", size(*bytes))]
    NoMemory {
        /// The tensor's size.
        bytes: u64,
        /// The cause.
        source: std::io::Error,
    },
    /// The threads could not be started.
    #[error("{threads} threads could not be started; ask for fewer")]
    Threads {
        /// How many.
        threads: usize,
        /// The cause.
        source: rayon::ThreadPoolBuildError,
    },
    /// The engine refuses the problem.
    #[error("{case} cannot be computed")]
    Engine {
        /// The problem.
        case: Case,
        /// The cause.
        source: batchnorm::Error,
    },
}

/// `1.5 GiB`.
fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    match mebibytes {
        1024.0.. => format!("{:.1} GiB", mebibytes / 1024.0),
        _ => format!("{mebibytes:.1} MiB"),
    }
}
