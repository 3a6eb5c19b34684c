//! Samples in the form in which a model's runtime takes them.

use std::error::Error;

use batchnorm_model::onnx::document::{Document, ElementType};
use batchnorm_model::recalibrate::{self, Batch};
use batchnorm_model::runtime::{Array, ArrayValues};
use half::{bf16, f16};

use super::{ChannelSummary, Element, InputSpec, InputsError, NamedArray, SampleBatch, Samples};

/// What a model takes. Tensors that it stores are no inputs, even where it lists them as such.
///
/// # Errors
///
/// If an input is not of numbers, or the model does not say how many dimensions it has.
pub fn input_specs(document: &Document) -> Result<Vec<InputSpec>, InputsError> {
    let graph = document.graph();
    let given = graph.inputs().iter().filter(|input| graph.initializer(input.name()).is_none());
    given
        .map(|input| {
            let name = input.name();
            let problem = |found: &str| InputsError::Settings {
                problem: format!(
                    "the model's input `{name}` {found}, expected a tensor of numbers whose first axis is the batch"
                ),
            };
            let element = match input.element() {
                Some(ElementType::Float) => Element::F32,
                Some(ElementType::Float16) => Element::F16,
                Some(ElementType::Bfloat16) => Element::Bf16,
                Some(ElementType::Double) => Element::F64,
                Some(ElementType::Uint8) => Element::U8,
                Some(ElementType::Int8) => Element::I8,
                Some(ElementType::Uint16) => Element::U16,
                Some(ElementType::Int16) => Element::I16,
                Some(ElementType::Uint32) => Element::U32,
                Some(ElementType::Int32) => Element::I32,
                Some(ElementType::Uint64) => Element::U64,
                Some(ElementType::Int64) => Element::I64,
                Some(ElementType::Bool) => Element::Bool,
                Some(other) => return Err(problem(&format!("takes {other}"))),
                None => return Err(problem("does not say of what type it is")),
            };
            let extents = input.extents().ok_or_else(|| problem("does not say how many dimensions it has"))?;
            let length = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
            let dims: Vec<Option<usize>> = extents.iter().map(|extent| extent.fixed().map(length)).collect();
            Ok(InputSpec::new(name, element, &dims))
        })
        .collect()
}

/// An array of the type that an input takes. Whole numbers are exact, or were refused when they were read.
///
/// # Errors
///
/// If the dimensions are not those of the values.
pub fn array(spec: &InputSpec, NamedArray { dims, values, .. }: NamedArray) -> Result<Array, InputsError> {
    fn each<T>(values: &[f32], number: impl Fn(f32) -> T) -> Vec<T> {
        values.iter().map(|&value| number(value)).collect()
    }
    let values: ArrayValues = match spec.element {
        Element::F32 => values.into(),
        Element::F16 => each(&values, f16::from_f32).into(),
        Element::Bf16 => each(&values, bf16::from_f32).into(),
        Element::F64 => each(&values, f64::from).into(),
        Element::U8 => each(&values, |value| value as u8).into(),
        Element::I8 => each(&values, |value| value as i8).into(),
        Element::U16 => each(&values, |value| value as u16).into(),
        Element::I16 => each(&values, |value| value as i16).into(),
        Element::U32 => each(&values, |value| value as u32).into(),
        Element::I32 => each(&values, |value| value as i32).into(),
        Element::U64 => each(&values, |value| value as u64).into(),
        Element::I64 => each(&values, |value| value as i64).into(),
        Element::Bool => each(&values, |value| value != 0.0).into(),
    };
    Array::new(dims, values).map_err(|error| InputsError::Settings { problem: error.to_string() })
}

/// Samples for recalibrating a model: as many as there are, or as were asked for.
#[derive(Debug)]
pub struct ModelSamples {
    samples: Samples,
    count: u64,
    labelled: bool,
    summary: Vec<ChannelSummary>,
}

impl ModelSamples {
    /// Looks at the first of so many samples.
    ///
    /// # Errors
    ///
    /// If there is no end to the samples, or the first ones cannot be read.
    pub fn new(mut samples: Samples, batch_size: usize) -> Result<Self, InputsError> {
        let endless = || InputsError::Settings {
            problem: "there is no end to random samples; say how many with `--samples`".to_owned(),
        };
        let count = samples.len().ok_or_else(endless)?;
        let first = samples.batch(0, batch_size.max(1))?;
        let (labelled, summary) = (first.labels.is_some(), samples.summary(&first));
        Ok(Self { samples, count, labelled, summary })
    }

    /// What the first batch looks like, channel for channel.
    pub fn summary(&self) -> &[ChannelSummary] {
        &self.summary
    }

    /// What looks wrong about it, in words.
    pub fn warnings(&self) -> Vec<String> {
        self.samples.warnings(&self.summary)
    }
}

impl recalibrate::Samples for ModelSamples {
    fn len(&self) -> u64 {
        self.count
    }

    fn labelled(&self) -> bool {
        self.labelled
    }

    fn batch(&mut self, first: u64, count: usize) -> Result<Batch, Box<dyn Error + Send + Sync>> {
        let SampleBatch { inputs, labels } = self.samples.batch(first, count)?;
        let named = self.samples.inputs().iter().zip(inputs);
        let inputs = named.map(|(spec, input)| Ok((spec.name.clone(), array(spec, input)?)));
        Ok(Batch { inputs: inputs.collect::<Result<_, InputsError>>()?, labels })
    }

    fn fingerprint(&mut self) -> Result<String, Box<dyn Error + Send + Sync>> {
        Ok(self.samples.fingerprint()?)
    }
}
