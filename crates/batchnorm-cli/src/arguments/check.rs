//! `batchnorm check`.

use clap::Args;

pub const ABOUT: &str = "\
Check every kernel that this machine can run against the reference in f64.

Random problems: shapes about the widths of vectors and blocks, both layouts, f32 and f64, data about 0 and about a million deviations from it, \
of all sizes; training, backward, evaluation, in place, with and without activations, masks and alignment; every instruction set, on one thread and on several, \
which must all give the same bits. For each kernel: the error that is the largest part of its bound. The bounds are derived from the roundings \
of the arithmetic; for f32 outputs and gradients it is 2e-7, relative RMS.

The same seed gives the same problems, as many as there is time for.";

pub const EXAMPLES: &str = "\
Examples:
  batchnorm check                           ten seconds
  batchnorm check --seconds 600 --seed 7    other problems, and more of them
  batchnorm check --seed 7 --problem 123    one of them again

Exit codes: 0 if every error is within its bound, 1 if not.";

#[derive(Args, Debug)]
pub struct CheckArguments {
    /// Seconds to go on for; every operation, type and layout is tried at least once
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, allow_negative_numbers = true)]
    pub seconds: f64,

    /// The seed of the problems
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    pub seed: u64,

    /// Check the problem of this number only
    #[arg(long, value_name = "NUMBER", conflicts_with = "seconds", allow_negative_numbers = true)]
    pub problem: Option<u64>,

    /// Print a line of JSON for each row instead of a table
    #[arg(long)]
    pub json: bool,

    /// Show no progress; there is none anyway unless the standard error is a terminal
    #[arg(long)]
    pub no_progress: bool,
}
