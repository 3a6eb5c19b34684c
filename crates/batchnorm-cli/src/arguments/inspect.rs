//! `batchnorm inspect`.

use std::path::PathBuf;

use clap::Args;

pub const ABOUT: &str = "\
Look at every batch-norm layer of a trained model, and tell what is wrong.

Reads ONNX models of any operator set, safetensors files (and the index of several), and PyTorch's .pth and .pt files, of which no code is run; the \
contents tell which it is. For each layer: what it stands between, its mode, eps and numbers, what was found, and whether it can be folded into the \
convolution or product beside it. Nothing is changed.

Findings have codes that stay the same, and three severities: an error makes outputs wrong or impossible, a warning is rarely meant, a note is good to \
know. A checkpoint has no graph: what comes before a layer is guessed by its name, and shown with a question mark.";

pub const EXAMPLES: &str = "\
Examples:
  batchnorm inspect model.onnx
  batchnorm inspect model.onnx --findings              only layers that something was found in
  batchnorm inspect model.onnx --layers 'layer1*'
  batchnorm inspect model.onnx --html model.html       a page with histograms of each layer
  batchnorm inspect model.onnx --json | jq '.layers[] | {name, fold}'
  batchnorm inspect resnet50.pth --eps 2e-5
  batchnorm inspect model.onnx --strict                exit code 1 for an error or a warning

Exit codes: 0 if the model could be read, whatever was found; with --strict 1 for an error or a
warning among the layers that are shown; 2 if it could not be read.";

#[derive(Args, Debug)]
pub struct InspectArguments {
    /// The model: ONNX, safetensors, the index of several safetensors files, or a file by torch.save
    pub model: PathBuf,

    /// Only layers whose names are like this; `*` stands for any letters
    #[arg(long, value_name = "PATTERN")]
    pub layers: Option<String>,

    /// Only layers that something was found in
    #[arg(long)]
    pub findings: bool,

    /// eps of a checkpoint's layers, which it rarely says [default: that of the library whose names it has]
    #[arg(long, value_name = "EPS", allow_negative_numbers = true)]
    pub eps: Option<f64>,

    /// Write a page with histograms of each layer
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Print a JSON document instead of a table
    #[arg(long)]
    pub json: bool,

    /// Exit with code 1 if there is an error or a warning
    #[arg(long)]
    pub strict: bool,
}
