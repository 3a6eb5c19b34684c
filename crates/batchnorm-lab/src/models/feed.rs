//! Samples as a runtime takes them.

use batchnorm_model::runtime::{Array, ArrayValues, ElementType, Port, RuntimeError};
use half::{bf16, f16};

use crate::inputs::{Element, InputSpec, SampleBatch};

/// Positions along an axis of an image whose length the model leaves open.
const POSITIONS: usize = 224;
/// The length of any other axis that it leaves open.
const LENGTH: usize = 16;

/// An input that is a single number has no samples: every other run is given 0, the others 1.
pub fn single(port: &Port, run: usize) -> Option<Result<Array, FeedError>> {
    if port.dims.as_deref() != Some(&[]) {
        return None;
    }
    let value = if run.is_multiple_of(2) { 1.0 } else { 0.0 };
    let values = typed(vec![value], port.element);
    Some(Array::new([], values).map_err(FeedError::from))
}

/// Why samples cannot be made for a model's input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The model does not say what it takes.
    #[error(
        "the model does not say {what} of its input `{input}`; say its shape with `--shape {input}=1x3x224x224`"
    )]
    Unsaid {
        /// The input.
        input: String,
        /// The type, or the number of axes.
        what: &'static str,
    },
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
    /// An element type that samples are not made of.
    #[error("the model's input `{input}` holds {element}, which no samples are made of")]
    Element {
        /// The input.
        input: String,
        /// The type.
        element: String,
    },
    /// An array is not what its dimensions say.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

/// What a model's inputs take, but for those that are [`single`] numbers; axes of open length as `shapes` say, or of a length that is usual.
///
/// # Errors
///
/// If the model says too little of an input, or `shapes` names another.
pub fn specs(ports: &[Port], shapes: &[(String, Vec<usize>)]) -> Result<Vec<InputSpec>, FeedError> {
    for (input, dims) in shapes {
        if !ports.iter().any(|port| port.name == *input) {
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            let found = format!("the model has no such input; it has {}", names.join(", "));
            return Err(FeedError::Shape { input: input.clone(), shape: in_words(dims), found });
        }
    }
    let sampled = ports.iter().filter(|port| port.dims.as_deref() != Some(&[]));
    sampled.map(|port| spec(port, shapes)).collect()
}

fn spec(port: &Port, shapes: &[(String, Vec<usize>)]) -> Result<InputSpec, FeedError> {
    let unsaid = |what| FeedError::Unsaid { input: port.name.clone(), what };
    let element = element(port.element.ok_or_else(|| unsaid("the type"))?).ok_or_else(|| {
        FeedError::Element { input: port.name.clone(), element: format!("{:?}", port.element) }
    })?;
    let given = shapes.iter().find(|(name, _)| *name == port.name).map(|(_, dims)| dims);
    let dims: Vec<Option<usize>> = match (&port.dims, given) {
        (None, None) => return Err(unsaid("the number of axes")),
        (said, Some(given)) => {
            let wrong =
                |found: String| FeedError::Shape { input: port.name.clone(), shape: in_words(given), found };
            if let Some(said) = said {
                let fits = said.len() == given.len()
                    && said.iter().zip(given).all(|(said, given)| said.is_none_or(|said| said == *given));
                if !fits {
                    let said: Vec<String> =
                        said.iter().map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string())).collect();
                    return Err(wrong(format!("the model takes {}", said.join("x"))));
                }
            }
            given.iter().enumerate().map(|(axis, &dim)| if axis == 0 { None } else { Some(dim) }).collect()
        }
        (Some(said), None) => {
            let images = said.len() >= 4;
            let usual = |axis: usize| if images && axis >= 2 { POSITIONS } else { LENGTH };
            said.iter()
                .enumerate()
                .map(|(axis, dim)| if axis == 0 { *dim } else { Some(dim.unwrap_or(usual(axis))) })
                .collect()
        }
    };
    Ok(InputSpec::new(port.name.clone(), element, &dims))
}

fn in_words(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
}

fn element(element: ElementType) -> Option<Element> {
    Some(match element {
        ElementType::F32 => Element::F32,
        ElementType::F64 => Element::F64,
        ElementType::F16 => Element::F16,
        ElementType::Bf16 => Element::Bf16,
        ElementType::I64 => Element::I64,
        ElementType::I32 => Element::I32,
        ElementType::I16 => Element::I16,
        ElementType::I8 => Element::I8,
        ElementType::U64 => Element::U64,
        ElementType::U32 => Element::U32,
        ElementType::U16 => Element::U16,
        ElementType::U8 => Element::U8,
        ElementType::Bool => Element::Bool,
        _ => return None,
    })
}

/// A batch as named arrays of the inputs' types.
///
/// # Errors
///
/// If an array is not what its dimensions say.
pub fn arrays(batch: SampleBatch, ports: &[Port]) -> Result<Vec<(String, Array)>, FeedError> {
    let array = |input: crate::inputs::NamedArray| {
        let element = ports.iter().find(|port| port.name == input.name).and_then(|port| port.element);
        let values = typed(input.values, element);
        Ok((input.name, Array::new(input.dims, values)?))
    };
    batch.inputs.into_iter().map(array).collect()
}

/// Numbers of an input's type.
fn typed(values: Vec<f32>, element: Option<ElementType>) -> ArrayValues {
    match element {
        Some(ElementType::F64) => each(&values, f64::from).into(),
        Some(ElementType::F16) => each(&values, f16::from_f32).into(),
        Some(ElementType::Bf16) => each(&values, bf16::from_f32).into(),
        Some(ElementType::I64) => each(&values, |value| value as i64).into(),
        Some(ElementType::I32) => each(&values, |value| value as i32).into(),
        Some(ElementType::I16) => each(&values, |value| value as i16).into(),
        Some(ElementType::I8) => each(&values, |value| value as i8).into(),
        Some(ElementType::U64) => each(&values, |value| value as u64).into(),
        Some(ElementType::U32) => each(&values, |value| value as u32).into(),
        Some(ElementType::U16) => each(&values, |value| value as u16).into(),
        Some(ElementType::U8) => each(&values, |value| value as u8).into(),
        Some(ElementType::Bool) => each(&values, |value| value != 0.0).into(),
        _ => values.into(),
    }
}

fn each<T>(values: &[f32], change: impl Fn(f32) -> T) -> Vec<T> {
    values.iter().map(|&value| change(value)).collect()
}
