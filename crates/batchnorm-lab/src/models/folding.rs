//! Whether a folded model still computes the same: both run on the same samples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use batchnorm_model::fold::{Difference, Options, fold, verify};
use batchnorm_model::onnx::document::{Document, DocumentError, Payload};
use batchnorm_model::runtime::{ModelSource, Runtime, RuntimeError};

use super::feed::{FeedError, arrays, specs};
use crate::data::Access;
use crate::inputs::{self, Images, InputsError, Samples};
use crate::saved::SavedModelError;

/// So many versions of the folded model are moved by the bound of its rounding.
const DISTURBED: u64 = 2;
/// The most samples run at once.
const BATCH: usize = 8;

/// Why a folded model could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A runtime cannot run it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// No samples can be had.
    #[error(transparent)]
    Inputs(#[from] InputsError),
    /// Samples are not what the model takes.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The model cannot be read or written.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// What the model says of its images is unreadable.
    #[error(transparent)]
    Saved(#[from] SavedModelError),
    /// No temporary folder.
    #[error("cannot write to `{}`", .folder.display())]
    Temporary {
        /// Where it was to be.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs a model and its folded form on `samples` samples of `data`, and compares all outputs.
///
/// Of a model with data beside it, copies are written to a temporary folder inside `folder`.
///
/// # Errors
///
/// If the runtime cannot run the model, or there are no such samples.
#[allow(clippy::too_many_arguments)]
pub fn check_folding(
    runtime: &dyn Runtime,
    model: &Path,
    folded: &Document,
    options: &Options,
    data: &Path,
    given: &inputs::Options,
    shapes: &[(String, Vec<usize>)],
    folder: &Path,
    access: &mut Access<'_>,
) -> Result<Vec<Difference>, CheckError> {
    let original = Document::open(model)?;
    let session = runtime.load(ModelSource::Path(model))?;
    let ports = session.inputs().to_vec();
    drop(session);
    let wanted = specs(&ports, shapes)?;
    let metadata: BTreeMap<String, String> = original.metadata().iter().cloned().collect();
    let given = inputs::Options { model_images: Images::of_metadata(model, &metadata)?, ..given.clone() };
    let mut samples = Samples::open(data, &wanted, &given, access)?;
    let fixed = wanted.iter().find_map(|input| input.dims.first().copied().flatten());
    let count = samples.len().unwrap_or(BATCH as u64);
    let size = fixed.unwrap_or(BATCH.min(count as usize));
    let mut runs = Vec::new();
    let mut first = 0;
    while first + size as u64 <= count.max(size as u64) {
        let batch = samples.batch(first, size)?;
        if batch.len() < size {
            break;
        }
        runs.push(arrays(batch, &ports)?);
        first += size as u64;
    }
    let mut disturbed = Vec::new();
    for seed in 0..DISTURBED {
        let mut document = original.clone();
        fold(&mut document, &Options { disturbed: Some(seed), ..options.clone() })?;
        disturbed.push(document);
    }
    if !beside(folded) {
        let bytes = folded.to_bytes()?;
        let others: Vec<Vec<u8>> = disturbed.iter().map(Document::to_bytes).collect::<Result<_, _>>()?;
        let others: Vec<ModelSource<'_>> =
            others.iter().map(|bytes| ModelSource::from(bytes.as_slice())).collect();
        return Ok(verify(runtime, ModelSource::Path(model), bytes.as_slice().into(), &others, &runs)?);
    }
    let failed = |source| CheckError::Temporary { folder: folder.to_owned(), source };
    let temporary = tempfile::Builder::new().prefix(".batchnorm-").tempdir_in(folder).map_err(failed)?;
    let mut paths = Vec::new();
    for (index, document) in std::iter::once(folded).chain(&disturbed).enumerate() {
        let inner = temporary.path().join(index.to_string());
        std::fs::create_dir(&inner).map_err(failed)?;
        let path = inner.join("model.onnx");
        document.save(&path)?;
        paths.push(path);
    }
    let others: Vec<ModelSource<'_>> = paths[1..].iter().map(|path| ModelSource::Path(path)).collect();
    Ok(verify(runtime, ModelSource::Path(model), ModelSource::Path(&paths[0]), &others, &runs)?)
}

/// Whether a model keeps tensors in files beside it.
fn beside(document: &Document) -> bool {
    document.graph().initializers().iter().any(|tensor| matches!(tensor.payload(), Payload::External(_)))
}
