//! What an operator is told besides its inputs.

use super::fields::Fields;
use super::graph::Graph;
use super::source::{Source, Span};
use super::tensor::Tensor;
use super::{DocumentError, Result};
use crate::onnx::fields::attribute as field;

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum AttributeValue {
    /// A number.
    Float(f32),
    /// A signed integer.
    Int(i64),
    /// Text, or other bytes.
    Text(Vec<u8>),
    /// A stored tensor.
    Tensor(Box<Tensor>),
    /// A graph: a branch, or a loop's body.
    Graph(Box<Graph>),
    /// Several numbers.
    Floats(Vec<f32>),
    /// Several signed integers.
    Ints(Vec<i64>),
    /// A parameter of the function that the node is part of.
    Parameter(String),
    /// Anything else: copied, never read.
    Other,
}

/// An attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    pub(super) name: String,
    pub(super) value: AttributeValue,
    /// Its message, as long as it is what the file has.
    pub(super) origin: Option<Span>,
}

impl Attribute {
    /// An attribute that is new.
    pub fn new(name: &str, value: AttributeValue) -> Self {
        Self { name: name.to_owned(), value, origin: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its value.
    pub fn value(&self) -> &AttributeValue {
        &self.value
    }

    pub(super) fn is_changed(&self) -> bool {
        match &self.value {
            AttributeValue::Graph(graph) => self.origin.is_none() || graph.is_changed(),
            _ => self.origin.is_none(),
        }
    }

    pub(super) fn parse(source: &Source, span: &Span, depth: usize) -> Result<Self> {
        let (mut name, mut kind, mut value) = (String::new(), None, AttributeValue::Other);
        let (mut ints, mut floats, mut numbers) = (Vec::new(), Vec::new(), (None, None));
        for located in Fields::new(source, span) {
            let located = located?;
            match located.number {
                field::NAME => name = located.text(source)?,
                field::FLOAT => numbers.0 = Some(located.float()?),
                field::INT => numbers.1 = Some(located.int()?),
                field::TEXT => value = AttributeValue::Text(source.read(&located.bytes()?)?),
                field::TENSOR => {
                    value = AttributeValue::Tensor(Tensor::parse(source, &located.bytes()?, 0)?.into());
                }
                field::GRAPH => {
                    value = AttributeValue::Graph(Graph::parse(source, &located.bytes()?, depth + 1)?.into())
                }
                field::FLOATS => match located.bytes() {
                    Ok(span) => {
                        floats.extend(
                            source.read(&span)?.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)),
                        );
                    }
                    Err(_) => floats.push(located.float()?),
                },
                field::INTS => located.ints(source, &mut ints)?,
                field::TYPE => kind = Some(located.int()?),
                field::REFERENCE => value = AttributeValue::Parameter(located.text(source)?),
                _ => {}
            }
        }
        // The first versions of ONNX had no field for the type: what is there tells.
        if !matches!(value, AttributeValue::Parameter(_)) {
            value = match (kind, numbers) {
                (Some(1), _) => AttributeValue::Float(numbers.0.unwrap_or(0.0)),
                (Some(2), _) => AttributeValue::Int(numbers.1.unwrap_or(0)),
                (Some(3), _) if matches!(value, AttributeValue::Other) => AttributeValue::Text(Vec::new()),
                (Some(6), _) => AttributeValue::Floats(floats),
                (Some(7), _) => AttributeValue::Ints(ints),
                (None | Some(0), (Some(number), None)) => AttributeValue::Float(number),
                (None | Some(0), (None, Some(number))) => AttributeValue::Int(number),
                (None | Some(0), _) if !ints.is_empty() => AttributeValue::Ints(ints),
                (None | Some(0), _) if !floats.is_empty() => AttributeValue::Floats(floats),
                _ => value,
            };
        }
        Ok(Self { name, value, origin: Some(span.clone()) })
    }
}

/// Where graphs are nested deeper than this, somebody means harm.
pub(super) const DEPTH: usize = 64;

pub(super) fn check_depth(span: &Span, depth: usize) -> Result<()> {
    if depth > DEPTH {
        return Err(DocumentError::Nested { offset: span.start, limit: DEPTH });
    }
    Ok(())
}
