//! What a graph says of its inputs, outputs and some values between: type and shape.

use super::Result;
use super::element::ElementType;
use super::fields::Fields;
use super::source::{Source, Span};
use crate::onnx::fields::{types, value_info as field};

/// The length of an axis, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This length.
    Fixed(u64),
    /// Any; the same wherever the symbol is the same.
    Symbol(String),
    /// Any.
    Unknown,
}

impl Extent {
    /// The length, where it is fixed.
    pub fn fixed(&self) -> Option<u64> {
        match self {
            Self::Fixed(length) => Some(*length),
            _ => None,
        }
    }
}

/// A value's name, type and shape.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    pub(super) name: String,
    pub(super) element: Option<ElementType>,
    pub(super) extents: Option<Vec<Extent>>,
    /// Its message, as long as it is what the file has.
    pub(super) origin: Option<Span>,
    pub(super) place: usize,
}

impl ValueInfo {
    /// A tensor; without extents of any shape.
    pub fn new(name: &str, element: ElementType, extents: Option<Vec<Extent>>) -> Self {
        Self { name: name.to_owned(), element: Some(element), extents, origin: None, place: 0 }
    }

    /// The value's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of its elements, if it is a tensor and that is said.
    pub fn element(&self) -> Option<ElementType> {
        self.element
    }

    /// The lengths of its axes, if their number is known.
    pub fn extents(&self) -> Option<&[Extent]> {
        self.extents.as_deref()
    }

    pub(super) fn parse(source: &Source, span: &Span, place: usize) -> Result<Self> {
        let (name, origin) = (String::new(), Some(span.clone()));
        let mut value = Self { name, element: None, extents: None, origin, place };
        for located in Fields::new(source, span) {
            let located = located?;
            match located.number {
                field::NAME => value.name = located.text(source)?,
                field::TYPE => value.read_type(source, &located.bytes()?)?,
                _ => {}
            }
        }
        Ok(value)
    }

    fn read_type(&mut self, source: &Source, span: &Span) -> Result<()> {
        for located in Fields::new(source, span) {
            let located = located?;
            if located.number != types::TENSOR {
                continue;
            }
            for located in Fields::new(source, &located.bytes()?) {
                let located = located?;
                match located.number {
                    types::ELEMENT => self.element = Some(ElementType::from_number(located.int()?)),
                    types::SHAPE => self.extents = Some(shape(source, &located.bytes()?)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn shape(source: &Source, span: &Span) -> Result<Vec<Extent>> {
    let mut extents = Vec::new();
    for located in Fields::new(source, span) {
        let located = located?;
        if located.number != types::DIM {
            continue;
        }
        let mut extent = Extent::Unknown;
        for located in Fields::new(source, &located.bytes()?) {
            let located = located?;
            match located.number {
                // Old exporters write 0 or -1 for what they do not know.
                types::DIM_VALUE => match u64::try_from(located.int()?) {
                    Ok(length) if length > 0 => extent = Extent::Fixed(length),
                    _ => {}
                },
                types::DIM_SYMBOL => extent = Extent::Symbol(located.text(source)?),
                _ => {}
            }
        }
        extents.push(extent);
    }
    Ok(extents)
}
