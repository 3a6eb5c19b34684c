//! Any model file, told by its contents.

use std::path::Path;

use super::{Absence, Inspection, ModelFormat, checkpoint};
use crate::checkpoint::{Archive, ArchiveError, Format};
use crate::onnx::document::{Document, DocumentError};

/// Why a model cannot be inspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// It is no ONNX model, or a damaged one.
    #[error("`{path}` has not the beginning of a checkpoint, and cannot be read as an ONNX model")]
    Onnx {
        /// The file.
        path: String,
        /// What was wrong.
        source: DocumentError,
    },
    /// It is a checkpoint that cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] ArchiveError),
}

impl Inspection {
    /// Looks at all batch-norm layers of a file: an ONNX model, a safetensors file, the index of several, or a file by
    /// `torch.save`. Its contents tell which, not its name. For ONNX models with what folding says of each layer.
    ///
    /// `eps` is that of a checkpoint, which rarely says its own; without it, the default of the library whose names it has.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is none of these.
    pub fn open(path: &Path, eps: Option<f64>) -> Result<Self, InspectError> {
        match Format::of(path)? {
            Some(_) => Ok(Self::of_checkpoint(&Archive::open(path)?, eps)?),
            None => Self::open_onnx(path)
                .map_err(|source| InspectError::Onnx { path: path.display().to_string(), source }),
        }
    }

    fn open_onnx(path: &Path) -> Result<Self, DocumentError> {
        let document = Document::open(path)?;
        Self::of(&document)?.judged(&document)
    }

    /// Looks at all batch-norm layers of a checkpoint. `eps` as in [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// If a tensor of a layer cannot be read.
    pub fn of_checkpoint(archive: &Archive, eps: Option<f64>) -> Result<Self, ArchiveError> {
        let layers = checkpoint::layers(archive, eps)?;
        Ok(Self {
            format: match archive.format() {
                Format::Sharded => ModelFormat::Sharded,
                Format::PyTorch => ModelFormat::PyTorch,
                _ => ModelFormat::Safetensors,
            },
            opset: None,
            ir_version: None,
            absence: layers.is_empty().then(Absence::of_checkpoint),
            layers,
        })
    }
}
