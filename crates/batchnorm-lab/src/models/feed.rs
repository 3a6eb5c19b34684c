//! What a model takes, where it leaves something open.

use batchnorm_model::onnx::document::Document;
use batchnorm_model::runtime::Array;

use crate::inputs::{InputSpec, InputsError, NamedArray, array, input_specs};

/// Positions along an axis of an image whose length the model leaves open.
const POSITIONS: usize = 224;
/// The length of any other axis that it leaves open.
const LENGTH: usize = 16;

/// Why a model's input cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The model says too little of an input, or takes what no samples are made of.
    #[error(transparent)]
    Inputs(Box<InputsError>),
    /// A shape was given for an input that the model does not have, or that it does not take.
    #[error("`--shape {input}={shape}`: {found}")]
    Shape {
        /// The input.
        input: String,
        /// The shape given.
        shape: String,
        /// What is wrong with it.
        found: String,
    },
}

impl From<InputsError> for FeedError {
    fn from(error: InputsError) -> Self {
        Self::Inputs(error.into())
    }
}

/// What a model's inputs take: those with samples, whose axes of open length are as `shapes` say or of a length that is
/// usual; and those that are a single number.
///
/// # Errors
///
/// If the model says too little of an input, or `shapes` names another.
pub fn specs(
    document: &Document,
    shapes: &[(String, Vec<usize>)],
) -> Result<(Vec<InputSpec>, Vec<InputSpec>), FeedError> {
    let inputs = input_specs(document)?;
    for (input, dims) in shapes {
        if !inputs.iter().any(|known| known.name == *input) {
            let names: Vec<&str> = inputs.iter().map(|known| known.name.as_str()).collect();
            let found = format!("the model has no such input; it has {}", names.join(", "));
            return Err(FeedError::Shape { input: input.clone(), shape: in_words(dims), found });
        }
    }
    let (singles, sampled): (Vec<_>, Vec<_>) = inputs.into_iter().partition(|input| input.dims.is_empty());
    let sampled = sampled.into_iter().map(|input| closed(input, shapes)).collect::<Result<_, _>>()?;
    Ok((sampled, singles))
}

fn closed(input: InputSpec, shapes: &[(String, Vec<usize>)]) -> Result<InputSpec, FeedError> {
    let given = shapes.iter().find(|(name, _)| *name == input.name).map(|(_, dims)| dims);
    let images = input.dims.len() >= 4;
    let dims: Vec<Option<usize>> = match given {
        Some(given) => {
            let fits = |(said, given): (&Option<usize>, &usize)| said.is_none_or(|said| said == *given);
            if input.dims.len() != given.len() || !input.dims.iter().zip(given).all(fits) {
                let said = input.dims.iter().map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string()));
                let found = format!("the model takes {}", said.collect::<Vec<_>>().join("x"));
                return Err(FeedError::Shape { input: input.name, shape: in_words(given), found });
            }
            // The batch is as large as it is.
            let open = input.dims[0];
            given.iter().enumerate().map(|(axis, &dim)| if axis == 0 { open } else { Some(dim) }).collect()
        }
        None => {
            let usual = |axis: usize| if images && axis >= 2 { POSITIONS } else { LENGTH };
            let dims = input.dims.iter().enumerate();
            dims.map(|(axis, dim)| if axis == 0 { *dim } else { Some(dim.unwrap_or(usual(axis))) }).collect()
        }
    };
    Ok(InputSpec::new(input.name, input.element, &dims))
}

/// An input that is a single number has no samples: every other run is given 1, the others 0.
///
/// # Errors
///
/// As [`array`].
pub fn single(input: &InputSpec, run: usize) -> Result<Array, FeedError> {
    let value = if run.is_multiple_of(2) { 1.0 } else { 0.0 };
    let (name, dims) = (input.name.clone(), Vec::new());
    Ok(array(input, NamedArray { name, dims, values: vec![value] })?)
}

fn in_words(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}
