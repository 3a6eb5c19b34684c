//! `batchnorm fold`.

use std::path::PathBuf;

use batchnorm_model::checkpoint::{Pair, Pattern};
use clap::Args;

use super::DataArguments;

pub const ABOUT: &str = "\
Fold batch-norm layers into the weights around them.

At inference a batch-norm layer is y = s x + t per channel, with s = gamma / sqrt(variance + eps) and t = beta - mean s, and a convolution, \
transposed convolution or matrix product before or after it can take s and t into its weight and bias: the same outputs with fewer operators. \
Layers that cannot be folded stay as they are, each with a code and a reason.

The arithmetic is f64, rounded once to the weights' type. Then both models are run on the same inputs, and every output's difference is \
held against a bound on what rounding can do to it; where it does not hold, no file is written. All that is not folded stays in the file \
byte for byte.

A checkpoint (safetensors, PyTorch) has no graph: name the layers to be folded with --pair.";

pub const EXAMPLES: &str = "\
Examples:
  batchnorm fold model.onnx -o folded.onnx
  batchnorm fold model.onnx -o folded.onnx --data images/ --preset imagenet
  batchnorm fold model.onnx --in-place --runtime /usr/lib/libonnxruntime.so
  batchnorm fold weights.safetensors -o folded.safetensors --pair 'conv*=bn*' --eps 2e-5

Exit codes: 0 if the folded model computes the same, 1 if it does not, or no runtime can run it, 2 for unreadable input.";

#[derive(Args, Debug)]
pub struct FoldArguments {
    /// The model: an ONNX file, or a checkpoint (.safetensors, its index, .pth, .pt)
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,

    /// The file to write
    #[arg(short, long, value_name = "FILE", required_unless_present_any = ["in_place", "dry_run"])]
    pub out: Option<PathBuf>,

    /// Write to the model's own file
    #[arg(long, conflicts_with = "out")]
    pub in_place: bool,

    /// Only tell what would be folded
    #[arg(long, conflicts_with_all = ["out", "in_place"])]
    pub dry_run: bool,

    /// Compare the models on these samples instead of random numbers: npy, npz, idx, images, ONNX tensors, or a data set's name
    #[arg(long, value_name = "DATA", default_value = "random")]
    pub data: PathBuf,

    /// The samples to compare the models on
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    pub samples: u64,

    /// An input's shape, where the model leaves axes open: `x=1x3x224x224`
    #[arg(long, value_name = "NAME=DIMS", value_parser = shape)]
    pub shape: Vec<(String, Vec<usize>)>,

    /// What was done to images in training: imagenet, cifar10, mnist
    #[arg(long, value_name = "PRESET")]
    pub preset: Option<batchnorm_lab::inputs::Preset>,

    /// The seed of random samples
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// ONNX Runtime's library, or a folder that has it, to run the models in [default: tract, which is part of the program]
    #[arg(long, value_name = "PATH")]
    pub runtime: Option<PathBuf>,

    /// Do not run the models
    #[arg(long)]
    pub no_verify: bool,

    /// Fold stored tensors, too, that a caller of the model may override
    #[arg(long)]
    pub overridable: bool,

    /// Fold into padded convolutions, too, that come after a layer, by adding a constant image of their output's size
    #[arg(long)]
    pub exact_borders: bool,

    /// Of a checkpoint: a map and the layer behind it; `*` stands for parts of names
    #[arg(long, value_name = "MAP=LAYER")]
    pub pair: Vec<Pair>,

    /// Of a checkpoint: the layers' eps, which it does not say unless its metadata do
    #[arg(long, value_name = "EPS")]
    pub eps: Option<f64>,

    /// Of a checkpoint: maps that are transposed convolutions
    #[arg(long, value_name = "NAME")]
    pub transposed: Vec<Pattern>,

    /// Print a JSON document instead of a table
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub access: DataArguments,
}

/// `x=1x3x224x224`.
fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let wrong = || format!("expected an input's name and its dimensions, `x=1x3x224x224`, found `{text}`");
    let (name, dims) = text.rsplit_once('=').ok_or_else(wrong)?;
    let dims: Result<Vec<usize>, _> = dims.split('x').map(str::parse).collect();
    match dims {
        Ok(dims) if !name.is_empty() && dims.iter().all(|&dim| dim > 0) => Ok((name.to_owned(), dims)),
        _ => Err(wrong()),
    }
}
