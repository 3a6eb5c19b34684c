//! Whether a folded model still computes the same: both run on the same samples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use batchnorm_model::fold::{Difference, Options, fold, verify};
use batchnorm_model::onnx::document::{Document, DocumentError};
use batchnorm_model::runtime::{Array, ModelSource, Runtime, RuntimeError};

use super::feed::{FeedError, single, specs};
use crate::data::Access;
use crate::inputs::{self, Images, InputsError, Samples, array};
use crate::saved::SavedModelError;

/// So many versions of the folded model are moved by the bound of its rounding.
const DISTURBED: u64 = 2;
/// The most samples run at once.
const BATCH: u64 = 8;

/// Why a folded model could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A runtime cannot run it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// No samples can be had.
    #[error(transparent)]
    Inputs(Box<InputsError>),
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

impl From<InputsError> for CheckError {
    fn from(error: InputsError) -> Self {
        Self::Inputs(error.into())
    }
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
    let (wanted, singles) = specs(&original, shapes)?;
    let metadata: BTreeMap<String, String> = original.metadata().iter().cloned().collect();
    let given = inputs::Options { model_images: Images::of_metadata(model, &metadata)?, ..given.clone() };
    let mut runs = Vec::new();
    let mut push = |mut given: Vec<(String, Array)>| -> Result<(), CheckError> {
        for input in &singles {
            given.push((input.name.clone(), single(input, runs.len())?));
        }
        runs.push(given);
        Ok(())
    };
    if wanted.is_empty() {
        push(Vec::new())?;
        push(Vec::new())?;
    } else {
        let mut samples = Samples::open(data, &wanted, &given, access)?;
        let fixed = wanted.iter().find_map(|input| input.dims.first().copied().flatten());
        let count = samples.len().unwrap_or(BATCH);
        // At least two runs, where there are samples for them: an input that is one number has two values.
        let size = fixed.unwrap_or((count / 2).clamp(1, BATCH) as usize);
        let mut first = 0;
        while first == 0 || first + size as u64 <= count {
            let batch = samples.batch(first, size)?;
            if batch.len() < size {
                break;
            }
            let named = wanted
                .iter()
                .zip(batch.inputs)
                .map(|(input, values)| Ok((input.name.clone(), array(input, values)?)));
            push(named.collect::<Result<_, InputsError>>()?)?;
            first += size as u64;
        }
    }
    let mut disturbed = Vec::new();
    for seed in 0..DISTURBED {
        let mut document = original.clone();
        fold(&mut document, &Options { disturbed: Some(seed), ..options.clone() })?;
        disturbed.push(document);
    }
    if !folded.has_external_data() {
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
