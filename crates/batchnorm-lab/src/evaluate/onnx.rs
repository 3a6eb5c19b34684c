//! ONNX models, run by tract.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use batchnorm_model::onnx::wire::Reader;
use tract_onnx::prelude::*;

use crate::feed::Batch;
use crate::saved::{Description, SavedModelError, in_words};

/// Fields of ModelProto and StringStringEntryProto.
const METADATA_PROPS: u32 = 14;
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// An ONNX model that says, in its metadata, what it takes and gives.
pub struct OnnxModel {
    /// What it says.
    pub description: Description,
    model: InferenceModel,
    /// Planned for so many images at once.
    plans: BTreeMap<usize, Arc<TypedRunnableModel>>,
}

/// Why an ONNX model cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file is no ONNX model.
    #[error("`{path}` is not an ONNX model: {found}")]
    NotOnnx {
        /// The file.
        path: String,
        /// What was found.
        found: String,
    },
    /// Its metadata do not say what is needed.
    #[error(transparent)]
    Metadata(#[from] SavedModelError),
    /// It cannot be run.
    #[error("`{path}` cannot be run on images of {dims}: {reason}")]
    Run {
        /// The file.
        path: String,
        /// The images' dimensions.
        dims: String,
        /// What tract said.
        reason: String,
    },
    /// Its output is not one row of logits per image.
    #[error("`{path}` must have an output of {expected:?} for {} images, found {found:?}", .expected[0])]
    Output {
        /// The file.
        path: String,
        /// Images and classes.
        expected: [usize; 2],
        /// The shape found.
        found: Vec<usize>,
    },
}

impl OnnxModel {
    /// Reads a model from the contents of a file.
    ///
    /// # Errors
    ///
    /// If it is none, or its metadata lack what [`Description`] holds.
    pub fn new(path: &Path, bytes: &[u8]) -> Result<Self, OnnxError> {
        let name = path.display().to_string();
        let bad = |found: String| OnnxError::NotOnnx { path: name.clone(), found };
        let metadata = metadata(bytes).map_err(|error| bad(error.to_string()))?;
        let description = Description::read(path, &metadata)?;
        // tract 0.23 panics on a node whose input nobody gives.
        let read = || tract_onnx::onnx().model_for_read(&mut std::io::Cursor::new(bytes));
        let model = std::panic::catch_unwind(read)
            .map_err(|_| bad("its nodes do not fit together; the file was cut off or changed".to_owned()))?
            .map_err(|error| bad(format!("{error:#}")))?;
        Ok(Self { description, model, plans: BTreeMap::new() })
    }

    /// A row of logits for each image.
    ///
    /// # Errors
    ///
    /// If tract cannot run the model, or it gives something else.
    pub fn logits(&mut self, path: &Path, batch: &Batch) -> Result<Vec<f32>, OnnxError> {
        let images = batch.labels().len();
        let [channels, height, width] = self.description.architecture.dims;
        let shape = [images, channels, height, width];
        let fail = |error: TractError| OnnxError::Run {
            path: path.display().to_string(),
            dims: in_words([channels, height, width]),
            reason: format!("{error:#}"),
        };
        let plan = match self.plans.get(&images) {
            Some(plan) => plan.clone(),
            None => {
                let plan = plan(self.model.clone(), shape).map_err(fail)?;
                self.plans.insert(images, plan.clone());
                plan
            }
        };
        let x = Tensor::from_shape(&shape, batch.pixels()).map_err(fail)?;
        let outputs = plan.run(tvec!(x.into())).map_err(fail)?;
        let expected = [images, self.description.architecture.classes];
        let wrong = |found: &[usize]| OnnxError::Output {
            path: path.display().to_string(),
            expected,
            found: found.to_vec(),
        };
        let output = outputs.first().ok_or_else(|| wrong(&[]))?;
        if output.shape() != expected {
            return Err(wrong(output.shape()));
        }
        let view = output.to_plain_array_view::<f32>().map_err(fail)?;
        Ok(view.iter().copied().collect())
    }
}

fn plan(model: InferenceModel, shape: [usize; 4]) -> TractResult<Arc<TypedRunnableModel>> {
    model.with_input_fact(0, f32::fact(shape).into())?.into_optimized()?.into_runnable()
}

/// The model's metadata, by key.
fn metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, batchnorm_model::WireError> {
    let mut metadata = BTreeMap::new();
    for field in Reader::new(bytes) {
        let field = field?;
        if field.number != METADATA_PROPS {
            continue;
        }
        let (mut key, mut value) = (String::new(), String::new());
        for entry in field.message()? {
            let entry = entry?;
            match entry.number {
                KEY => entry.text()?.clone_into(&mut key),
                VALUE => entry.text()?.clone_into(&mut value),
                _ => {}
            }
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}
