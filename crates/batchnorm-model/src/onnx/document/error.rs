//! What can be wrong with a model that is read, changed and written.

use std::io;
use std::path::PathBuf;

use crate::{FileError, WireError};

/// What was wrong with an ONNX model, found or to be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// The system does not let a file be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is written cannot be passed on.
    #[error("cannot write the model")]
    Output(#[source] io::Error),
    /// It does not have the parts of an ONNX model.
    #[error("expected an ONNX model, found {found}; is it another kind of file, or cut off?")]
    NotOnnx {
        /// What is there instead.
        found: String,
    },
    /// Its bytes are no protobuf.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Graphs inside graphs, too many of them.
    #[error("byte {offset}: graphs are nested more than {limit} deep; the file is damaged, or made to do harm")]
    Nested {
        /// Where the innermost one begins.
        offset: u64,
        /// How deep they may be.
        limit: usize,
    },
    /// A stored tensor is not what its entry says.
    #[error("tensor `{tensor}`: {found}; the file was cut off or changed, or needs to be exported anew")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What was wrong.
        found: String,
    },
    /// A tensor's values have a type that cannot be computed with.
    #[error("tensor `{tensor}` holds {found}, expected numbers; nothing can be computed from it")]
    ElementType {
        /// Its name.
        tensor: String,
        /// The type in the file.
        found: String,
    },
    /// A tensor's values are in a file of their own that must not be read, or cannot be.
    #[error("tensor `{tensor}` is stored in `{location}`: {found}; {way_out}")]
    External {
        /// Its name.
        tensor: String,
        /// The file, as the model names it.
        location: String,
        /// What was wrong.
        found: String,
        /// What to do about it.
        way_out: &'static str,
    },
    /// The model is larger than a protobuf message can be.
    #[error(
        "the model would take {found} bytes, and a protobuf message has at most {limit}; store its tensors as external data"
    )]
    TooLarge {
        /// The bytes it takes.
        found: u64,
        /// The most there can be.
        limit: u64,
    },
}
