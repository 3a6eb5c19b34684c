//! The command line.

mod bench;
mod check;
mod claims;
mod convert;
mod evaluate;
mod fold;
mod inspect;
mod recalibrate;
mod samples;
mod train;

pub use bench::BenchArguments;
pub use check::CheckArguments;
pub use claims::{ClaimsArguments, ClaimsCommand, ReportArguments, RunArguments};
pub use convert::ConvertArguments;
pub use evaluate::EvaluateArguments;
pub use fold::FoldArguments;
pub use inspect::InspectArguments;
pub use recalibrate::RecalibrateArguments;
pub use train::TrainArguments;

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

const ABOUT: &str = "\
Batch normalization: train with and without it and see the difference, put its claims to the test, and inspect, recalibrate and \
fold the layers of trained models.";

const EXAMPLES: &str = "\
Examples:
  batchnorm train                      the paper's Figure 1 on the embedded digits, in seconds
  batchnorm train --data mnist --network lenet
  batchnorm train --compare none,batch,ghost:16,group:10
  batchnorm train --resume runs/X      go on after an interruption
  batchnorm evaluate runs/X/batch_norm.safetensors --data mnist
  batchnorm claims run all --quick     every claim made for batch normalization, with a verdict
  batchnorm inspect model.onnx         what is wrong with a trained model's batch-norm layers
  batchnorm recalibrate model.onnx --data images/ -o new.onnx    its statistics anew, on data
  batchnorm fold model.onnx -o folded.onnx                       the same outputs without the layers
  batchnorm convert training.onnx -o model.onnx --to-inference
  batchnorm bench --shape 32x64x56x56  how fast the kernels are, beside a plain copy
  batchnorm check                      whether the kernels compute what they should on this machine
  batchnorm train --help               all options";

const EXIT_CODES: &str = "\
Exit codes:
  0    done, even if one of several networks diverged: that is a result
  1    the answer is bad news: every network diverged, a model's outputs are not finite, a kernel is wrong,
       `inspect --strict` found an error or a warning, a folded model could not be shown to compute the same
  2    wrong options, unreadable input, or a folder that cannot be used
  130  interrupted by Ctrl-C or a signal to end; what was measured is kept";

#[derive(Debug, Parser)]
#[command(name = "batchnorm", version, about = ABOUT, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train networks that differ in their normalization, and compare them
    #[command(long_about = train::ABOUT, after_help = train::EXAMPLES)]
    Train(Box<TrainArguments>),
    /// Score a saved model on test images, or ask it about images
    #[command(long_about = evaluate::ABOUT, after_help = evaluate::EXAMPLES)]
    Evaluate(Box<EvaluateArguments>),
    /// Put the claims made for batch normalization to the test
    #[command(long_about = claims::ABOUT, after_help = claims::EXAMPLES)]
    Claims(Box<ClaimsArguments>),
    /// Look at the batch-norm layers of a trained model, and tell what is wrong
    #[command(long_about = inspect::ABOUT, after_help = inspect::EXAMPLES)]
    Inspect(InspectArguments),
    /// Estimate the statistics of a model's batch-norm layers anew, on data
    #[command(long_about = recalibrate::ABOUT, after_help = recalibrate::EXAMPLES)]
    Recalibrate(Box<RecalibrateArguments>),
    /// Fold batch-norm layers of a trained model into the weights around them
    #[command(long_about = fold::ABOUT, after_help = fold::EXAMPLES)]
    Fold(Box<FoldArguments>),
    /// Convert a trained model: for inference, with frozen layers, or under another library's names
    #[command(long_about = convert::ABOUT, after_help = convert::EXAMPLES)]
    Convert(Box<ConvertArguments>),
    /// Time the kernels, beside the roof of this machine
    #[command(long_about = bench::ABOUT, after_help = bench::EXAMPLES)]
    Bench(Box<BenchArguments>),
    /// Check the kernels of this machine against the reference
    #[command(long_about = check::ABOUT, after_help = check::EXAMPLES)]
    Check(CheckArguments),
}

/// Where data sets are kept, and whether they may be downloaded.
#[derive(Args, Debug)]
pub struct DataArguments {
    /// Folder that downloaded data sets are kept in [default: batchnorm in the user's cache folder]
    #[arg(long, value_name = "DIR", env = "BATCHNORM_CACHE")]
    pub cache: Option<PathBuf>,

    /// Download nothing
    #[arg(long)]
    pub offline: bool,
}

/// Parses one of the lab's names; clap lists the others where there is no such name.
fn names<T>(all: &'static [T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + FromStr + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|&choice| name(choice)))
        .map(|found| found.parse().ok().expect("the lab knows its own names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
