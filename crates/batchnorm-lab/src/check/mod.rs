//! How accurate the kernels are: on random problems, against the reference in f64.
//!
//! Reading order:
//!
//! 1. [`Problem`]: what is computed, of a tensor of which form, with which data; drawn by seed and number;
//! 2. [`Subject`]: a backend under test; [`subjects`] are the CPU's, one for each instruction set;
//! 3. `data`, `run`: the tensors of a problem, and what a backend makes of them;
//! 4. `judge`: how far off that is, and how far off it may be;
//! 5. [`carry_out`]: problem after problem; [`Outcome`]: a row for each kernel.
//!
//! ```
//! use batchnorm_lab::check::{Limit, carry_out, subjects};
//!
//! let outcome = carry_out(&subjects(), 1, Limit::Problems(2), &mut |_| true)?;
//! assert!(outcome.is_good());
//! # Ok::<(), batchnorm_lab::check::CheckError>(())
//! ```

mod carry;
mod data;
mod judge;
mod outcome;
mod problem;
mod run;
mod subject;

pub use carry::{CheckError, Limit, Progress, carry_out};
pub use outcome::{Failure, Outcome, Row};
pub use problem::{Activation, Location, Problem, Work};
pub use subject::{Subject, subjects};
