//! `batchnorm convert`.

use std::path::PathBuf;

use batchnorm_model::checkpoint::Convention;
use clap::{Args, ValueEnum};

pub const ABOUT: &str = "\
Convert a trained model: for inference, with frozen layers, or under another library's names.

--to-inference makes an ONNX model that was exported for training one for inference: batch-norm layers take the stored statistics, \
their other outputs go, and so does every Dropout. A layer whose other outputs are used stays as it is, with a code and a reason.

--frozen replaces the batch-norm layers of an ONNX model by Mul and Add, for runtimes that have no such operator. It costs precision where \
a mean is large against its deviation, which folding (`batchnorm fold`) does not: prefer that where it is possible. Of a checkpoint, it drops \
the layers' counters and writes their eps into the metadata.

--names renames the batch-norm layers of a checkpoint.

All else stays in the file byte for byte; with nothing to convert, the output is a copy. How an ONNX model says it is trained \
(`training_info`) is kept.";

pub const EXAMPLES: &str = "\
Examples:
  batchnorm convert training.onnx -o model.onnx --to-inference
  batchnorm convert model.onnx -o plain.onnx --to-inference --frozen
  batchnorm convert weights.pth -o weights.safetensors --names keras
  batchnorm convert weights.safetensors --in-place --frozen --eps 2e-5

Exit codes: 0 if all was converted, 1 if a layer stays as it is, 2 for unreadable input.";

#[derive(Args, Debug)]
pub struct ConvertArguments {
    /// The model: an ONNX file, or a checkpoint (.safetensors, its index, .pth, .pt)
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,

    /// The file to write; of a checkpoint, a safetensors file
    #[arg(short, long, value_name = "FILE", required_unless_present = "in_place")]
    pub out: Option<PathBuf>,

    /// Write to the model's own file
    #[arg(long, conflicts_with = "out")]
    pub in_place: bool,

    /// Of an ONNX model: make it one for inference
    #[arg(long)]
    pub to_inference: bool,

    /// Take updated statistics and masks from the model's outputs, which it does not have at inference
    #[arg(long, requires = "to_inference")]
    pub drop_outputs: bool,

    /// Freeze the layers
    #[arg(long)]
    pub frozen: bool,

    /// Of a checkpoint: whose names the layers get
    #[arg(long, value_name = "LIBRARY")]
    pub names: Option<Library>,

    /// Of a checkpoint that is frozen: the layers' eps, where the file does not say it
    #[arg(long, value_name = "EPS", requires = "frozen", allow_negative_numbers = true)]
    pub eps: Option<f64>,

    /// Print a JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// A library whose names a checkpoint may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Library {
    /// weight, bias, running_mean, running_var, num_batches_tracked
    #[value(name = "pytorch")]
    PyTorch,
    /// gamma, beta, moving_mean, moving_variance
    Keras,
    /// gamma, beta, running_mean, running_var, num_batches_tracked
    Burn,
}

impl From<Library> for Convention {
    fn from(library: Library) -> Self {
        match library {
            Library::PyTorch => Self::PyTorch,
            Library::Keras => Self::Keras,
            Library::Burn => Self::Burn,
        }
    }
}
