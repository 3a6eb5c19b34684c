//! Stored tensors: what a model says of them. Their values stay where they are until they are asked for.

use std::fmt;
use std::sync::Arc;

use super::element::ElementType;
use super::fields::{Fields, Held};
use super::source::{Source, Span};
use super::{DocumentError, Result};
use crate::onnx::fields::tensor as field;

/// Values that are computed when they are needed: the scaled weights of a convolution, say, read from the file as they
/// are written.
pub trait Made: fmt::Debug + Send + Sync {
    /// Fills `out` with the elements from `first` on.
    ///
    /// # Errors
    ///
    /// If what they are made of cannot be read.
    fn read(&self, first: u64, out: &mut [f64]) -> Result<()>;
}

/// Values in memory.
impl Made for Vec<f64> {
    fn read(&self, first: u64, out: &mut [f64]) -> Result<()> {
        out.copy_from_slice(&self[first as usize..][..out.len()]);
        Ok(())
    }
}

/// Where a tensor's values are in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The file, relative to the model's folder.
    pub location: String,
    /// The first byte.
    pub offset: u64,
    /// How many bytes; to the file's end where it is not said.
    pub length: Option<u64>,
}

/// Where a tensor's values are.
#[derive(Clone, Debug)]
pub enum Payload {
    /// Little-endian bytes of the file.
    Raw(Span),
    /// Fields of the file, one number each or packed.
    Typed {
        /// The field's number, which depends on the type.
        number: u32,
        /// From the first to the last of them; others may lie between.
        span: Span,
    },
    /// Another file.
    External(External),
    /// Little-endian bytes that are not in the file yet.
    Bytes(Arc<[u8]>),
    /// Numbers that are computed when they are written.
    Made(Arc<dyn Made>),
    /// Nowhere: it has no elements, or the file is wrong.
    Missing,
}

/// A stored tensor.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub(super) name: String,
    dims: Vec<u64>,
    element: ElementType,
    payload: Payload,
    /// Its message, as long as it is what the file has.
    pub(super) origin: Option<Span>,
    /// Fields without meaning here.
    pub(super) others: Vec<Span>,
    pub(super) place: usize,
}

impl Tensor {
    /// Numbers that are computed when they are written, and rounded to the type once.
    pub fn made(name: &str, dims: &[u64], element: ElementType, values: Arc<dyn Made>) -> Self {
        Self::with(name, dims, element, Payload::Made(values))
    }

    /// Signed integers: a shape, say.
    pub fn ints(name: &str, dims: &[u64], values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self::with(name, dims, ElementType::Int64, Payload::Bytes(bytes))
    }

    fn with(name: &str, dims: &[u64], element: ElementType, payload: Payload) -> Self {
        let (name, dims) = (name.to_owned(), dims.to_vec());
        Self { name, dims, element, payload, origin: None, others: Vec::new(), place: 0 }
    }

    /// Its name; empty where it is an attribute's value.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The lengths of its axes; none for a scalar.
    pub fn dims(&self) -> &[u64] {
        &self.dims
    }

    /// The type of its elements.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Where its values are.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// How many elements it has.
    ///
    /// # Errors
    ///
    /// If that is more than can be counted.
    pub fn elements(&self) -> Result<u64> {
        self.dims
            .iter()
            .try_fold(1_u64, |product, &dim| product.checked_mul(dim))
            .filter(|&elements| elements <= i64::MAX as u64 / 8)
            .ok_or_else(|| self.bad(format!("the shape {:?} has too many elements", self.dims)))
    }

    /// The same tensor under another name.
    pub fn renamed(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self.origin = None;
        self
    }

    pub(super) fn moved_to(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self.origin = None;
        self
    }

    pub(super) fn bad(&self, found: String) -> DocumentError {
        DocumentError::Tensor { tensor: self.name.clone(), found }
    }

    pub(super) fn parse(source: &Source, span: &Span, place: usize) -> Result<Self> {
        let mut tensor = Self::with("", &[], ElementType::Other(0), Payload::Missing);
        (tensor.origin, tensor.place) = (Some(span.clone()), place);
        let (mut dims, mut entries, mut external) = (Vec::new(), Vec::new(), false);
        // How many fields of numbers, and the last one's bytes: one that is packed is as good as raw data.
        let (mut numbers, mut packed) = (0, None);
        for located in Fields::new(source, span) {
            let located = located?;
            match located.number {
                field::DIMS => located.ints(source, &mut dims)?,
                field::DATA_TYPE => tensor.element = ElementType::from_number(located.int()?),
                field::NAME => tensor.name = located.text(source)?,
                field::RAW_DATA => tensor.payload = Payload::Raw(located.bytes()?),
                number @ (field::FLOAT_DATA
                | field::INT32_DATA
                | field::INT64_DATA
                | field::DOUBLE_DATA
                | field::UINT64_DATA) => {
                    numbers += 1;
                    packed = match located.held {
                        Held::Bytes(span) if matches!(number, field::FLOAT_DATA | field::DOUBLE_DATA) => {
                            Some(span)
                        }
                        _ => None,
                    };
                    let span = match &tensor.payload {
                        Payload::Typed { span, .. } => span.start..located.span.end,
                        _ => located.span,
                    };
                    tensor.payload = Payload::Typed { number, span };
                }
                field::EXTERNAL_DATA => entries.push(entry(source, &located.bytes()?)?),
                field::DATA_LOCATION => external = located.int()? == 1,
                _ => tensor.others.push(located.span),
            }
        }
        if let (1, Some(span)) = (numbers, packed) {
            tensor.payload = Payload::Raw(span);
        }
        tensor.dims = dims
            .iter()
            .map(|&dim| u64::try_from(dim).map_err(|_| tensor.bad(format!("an axis has the length {dim}"))))
            .collect::<Result<_>>()?;
        if external {
            tensor.payload = Payload::External(tensor.external(&entries)?);
        }
        Ok(tensor)
    }

    fn external(&self, entries: &[(String, String)]) -> Result<External> {
        let mut external = External { location: String::new(), offset: 0, length: None };
        for (key, value) in entries {
            let number = || {
                value
                    .parse()
                    .map_err(|_| self.bad(format!("its external data have the {key} `{value}`, no number")))
            };
            match key.as_str() {
                "location" => value.clone_into(&mut external.location),
                "offset" => external.offset = number()?,
                "length" => external.length = Some(number()?),
                _ => {}
            }
        }
        Ok(external)
    }
}

/// A key and its value.
pub(super) fn entry(source: &Source, span: &Span) -> Result<(String, String)> {
    let (mut key, mut value) = (String::new(), String::new());
    for located in Fields::new(source, span) {
        let located = located?;
        match located.number {
            1 => key = located.text(source)?,
            2 => value = located.text(source)?,
            _ => {}
        }
    }
    Ok((key, value))
}
