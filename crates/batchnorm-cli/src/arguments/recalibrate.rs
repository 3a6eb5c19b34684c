//! `batchnorm recalibrate`.

use std::path::PathBuf;

use batchnorm_model::recalibrate::{Method, Options};
use clap::{ArgGroup, Args};

use super::samples::SampleArguments;
use super::{DataArguments, names};

pub const ABOUT: &str = "\
Estimate the population statistics of an ONNX model's batch-norm layers anew, on data.

The default method is exact: layer by layer in the model's order, each layer's input is taken with all layers before it \
already recalibrated, and pooled over all samples and positions. That is a pass over the data for each layer behind \
another, through the part of the model before it. Nothing but the statistics changes in the file.";

pub const EXAMPLES: &str = "\
Examples:
  batchnorm recalibrate model.onnx --data samples.npz -o new.onnx
  batchnorm recalibrate model.onnx --data photos/ --preset imagenet --samples 5000 --shuffle 1 -o new.onnx
  batchnorm recalibrate model.onnx --data mnist --brightness 0.3 --dry-run      how far the statistics are off
  batchnorm recalibrate model.onnx --data target.npy --blend 1000 -o new.onnx   the old ones count as 1000 samples
  batchnorm recalibrate model.onnx --data samples.npz --method precise --batch-size 256 -o new.onnx
  batchnorm recalibrate model.onnx --data samples.npz --layers '*bn3*' --in-place

Interrupted by Ctrl-C, it leaves OUT.partial, from which the same command goes on, to the same bits.";

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("written").required(true).args(["out", "in_place", "dry_run"]))]
pub struct RecalibrateArguments {
    /// The model: an ONNX file
    pub model: PathBuf,

    #[command(flatten)]
    pub samples: SampleArguments,

    /// The file to write
    #[arg(short, long)]
    pub out: Option<PathBuf>,

    /// Replace the model's own file
    #[arg(long)]
    pub in_place: bool,

    /// Only report how far the new statistics are from the old ones
    #[arg(long)]
    pub dry_run: bool,

    /// How statistics are estimated: exactly, or in one pass as others do (`precise`) or as the paper does (`algorithm2`)
    #[arg(long, default_value = Method::Sequential.name(), value_parser = names(Method::ALL, Method::name))]
    pub method: Method,

    /// Blend the old statistics in, as if they were of so many samples
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub blend: Option<f64>,

    /// Only layers with such names: `*` is any letters, `?` one; several with commas
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub layers: Vec<String>,

    /// Samples at once; decides the result of `precise` and `algorithm2`. A model's fixed batch size comes first
    #[arg(long, value_name = "NUMBER", default_value_t = Options::BATCH_SIZE)]
    pub batch_size: usize,

    /// Do not measure the accuracy before and after, which takes a pass each where there are labels
    #[arg(long)]
    pub no_accuracy: bool,

    /// Run the model in ONNX Runtime: its library, or a folder with it [default: tract, which is part of the program]
    #[arg(long, value_name = "PATH")]
    pub runtime: Option<PathBuf>,

    /// Print a JSON document instead of text
    #[arg(long)]
    pub json: bool,

    /// Show no progress; there is none anyway unless the standard error is a terminal
    #[arg(long)]
    pub no_progress: bool,

    #[command(flatten)]
    pub access: DataArguments,
}

impl RecalibrateArguments {
    /// What the library makes of them.
    pub fn options(&self) -> Options {
        Options {
            method: self.method,
            blend: self.blend,
            layers: self.layers.clone(),
            batch_size: self.batch_size,
            accuracy: !self.no_accuracy,
        }
    }

    /// The file to write, if one is to be written.
    pub fn target(&self) -> Option<&PathBuf> {
        if self.dry_run { None } else { self.out.as_ref().or(Some(&self.model)) }
    }
}
