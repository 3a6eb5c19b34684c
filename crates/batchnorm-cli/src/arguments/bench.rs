//! `batchnorm bench`.

use batchnorm_lab::bench::{Dtype, Extents, Layout, Op};
use clap::Args;

use super::names;

pub const ABOUT: &str = "\
Time the engine's kernels, beside the roof of this machine and beside the reference.

The roof is a plain copy of the same size (of a backward pass: two reads and a write), with ordinary or streaming stores, \
whichever is faster. Kernel and copies take turns in the same rounds, on the same memory, on threads of their own; times are medians. GB/s count \
what must at least be moved: x and y, or x, dy and dx. `share` is the roof's time over the kernel's, `ceiling` the share that the kernel's own \
traffic allows (100 % if it moves nothing twice), `reference` how many times as long the f64 reference takes.

Without --shape or --shapes: the problems of `small` and `resnet50`, in about a minute. Problems that the program carries: resnet50, small, odd \
(oneDNN's), 2d, regressions.";

pub const EXAMPLES: &str = "\
Examples:
  batchnorm bench --shape 32x64x56x56 --op forward --layout channels-first
  batchnorm bench --shapes resnet50 --layout channels-first,channels-last
  batchnorm bench --shapes odd,mine.txt --dtype f32,bf16 --threads 1,2
  batchnorm bench --shape 64x64x725x725 --in-place --no-reference      more than 2^31 elements
  batchnorm bench --shape 1x4x1048576 --explain                        which kernel runs, and why
  batchnorm bench --json > mine.jsonl                                  a line for each time

A file has a shape a line: batch x channels x spatial extents, in this order whatever the layout. `#` begins a comment. After the
shape a line may say op=, dtype= and layout= for itself: 32x64x56x56 op=forward,eval layout=channels-last";

#[derive(Args, Debug)]
pub struct BenchArguments {
    /// Shapes: batch x channels x spatial extents, as in 32x64x56x56, whatever the layout
    #[arg(long, value_name = "SHAPE", value_delimiter = ',')]
    pub shape: Vec<Extents>,

    /// Files of shapes, or names of those that the program carries [default, without --shape: small,resnet50]
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub shapes: Vec<String>,

    /// Operations [default: all; of --in-place forward,eval]
    #[arg(long, value_delimiter = ',', value_parser = names(Op::ALL, Op::name))]
    pub op: Vec<Op>,

    /// Types of the elements
    #[arg(long, value_delimiter = ',', default_value = Dtype::F32.name(), value_parser = names(Dtype::ALL, Dtype::name))]
    pub dtype: Vec<Dtype>,

    /// Layouts in memory
    #[arg(
        long,
        value_delimiter = ',',
        default_value = Layout::ChannelsFirst.name(),
        value_parser = names(Layout::ALL, Layout::name)
    )]
    pub layout: Vec<Layout>,

    /// Numbers of threads [default: one thread for each core]
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', allow_negative_numbers = true)]
    pub threads: Vec<usize>,

    /// Write outputs over inputs, which takes half the memory
    #[arg(long)]
    pub in_place: bool,

    /// Seconds for each row, beside preparations; at least seven rounds
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3, allow_negative_numbers = true)]
    pub seconds: f64,

    /// Leave the reference out; where it would take longer than about two seconds, it is left out anyway
    #[arg(long)]
    pub no_reference: bool,

    /// Print which kernel runs, and why; time nothing
    #[arg(long)]
    pub explain: bool,

    /// Print a line of JSON for each time instead of a table
    #[arg(long)]
    pub json: bool,

    /// Show no progress; there is none anyway unless the standard error is a terminal
    #[arg(long)]
    pub no_progress: bool,
}
