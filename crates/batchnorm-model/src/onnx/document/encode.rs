//! A changed model as bytes: what was not changed is copied from where it came, field by field.
//!
//! A message's length comes before it, so every message is gone through twice: counted, then written. Counting reads no
//! tensor.

use std::io::Write;

use batchnorm::fold::round as to;
use half::{bf16, f16};

use super::attribute::{Attribute, AttributeValue};
use super::element::ElementType;
use super::function::Function;
use super::graph::Graph;
use super::node::Node;
use super::source::Span;
use super::storage::Storage;
use super::tensor::{Made, Payload, Tensor};
use super::value::{Extent, ValueInfo};
use super::{DocumentError, Result};
use crate::onnx::fields::{attribute, entry, function, graph, node, tensor, types, value_info};
use crate::onnx::wire::Writer;

/// So many numbers are computed and written at once.
const CHUNK: usize = 1 << 15;

/// Takes the bytes of a message, or counts them.
pub(super) struct Encoder<'a> {
    storage: &'a Storage,
    out: Option<&'a mut dyn Write>,
    length: u64,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(storage: &'a Storage, out: &'a mut dyn Write) -> Self {
        Self { storage, out: Some(out), length: 0 }
    }

    /// How many bytes `write` would write.
    pub(super) fn count(
        storage: &'a Storage,
        write: impl FnOnce(&mut Encoder<'_>) -> Result<()>,
    ) -> Result<u64> {
        let mut counter = Encoder { storage, out: None, length: 0 };
        write(&mut counter)?;
        Ok(counter.length)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.length += bytes.len() as u64;
        self.out.as_mut().map_or(Ok(()), |out| out.write_all(bytes).map_err(DocumentError::Output))
    }

    /// Fields of a few bytes.
    fn fields(&mut self, write: impl FnOnce(&mut Writer)) -> Result<()> {
        let mut writer = Writer::new();
        write(&mut writer);
        self.bytes(&writer.into_bytes())
    }

    pub(super) fn copy(&mut self, span: &Span) -> Result<()> {
        self.length += span.end - span.start;
        match &mut self.out {
            Some(out) => self.storage.model().copy(span, *out),
            None => Ok(()),
        }
    }

    /// The tag and length of a field that holds so many bytes.
    fn head(&mut self, number: u32, length: u64) -> Result<()> {
        let mut head = Writer::new();
        head.varint(number, length);
        let mut head = head.into_bytes();
        // A length instead of a number: the lowest bits of the tag, which is in the first byte.
        head[0] = head[0] & !7 | 2;
        self.bytes(&head)
    }

    /// A field that is a message.
    pub(super) fn message(
        &mut self,
        number: u32,
        write: impl Fn(&mut Encoder<'_>) -> Result<()>,
    ) -> Result<()> {
        let length = Encoder::count(self.storage, &write)?;
        self.head(number, length)?;
        if self.out.is_none() {
            self.length += length;
            return Ok(());
        }
        write(self)
    }

    /// A message that is as it was, or `write`s itself anew.
    fn kept_or(
        &mut self,
        number: u32,
        origin: Option<&Span>,
        write: impl Fn(&mut Encoder<'_>) -> Result<()>,
    ) -> Result<()> {
        match origin {
            Some(span) => self.message(number, |encoder| encoder.copy(span)),
            None => self.message(number, write),
        }
    }

    /// The numbers of a tensor in its type.
    pub(super) fn numbers(&mut self, tensor: &Tensor, made: &dyn Made) -> Result<()> {
        let (count, element) = (tensor.elements()?, tensor.element());
        let length = count * element.bytes().unwrap_or(0);
        let Some(out) = &mut self.out else {
            self.length += length;
            return Ok(());
        };
        let mut numbers = vec![0.0; CHUNK.min(count as usize)];
        let mut bytes = Vec::new();
        let mut first = 0;
        while first < count {
            let numbers = &mut numbers[..(count - first).min(CHUNK as u64) as usize];
            made.read(first, numbers)?;
            bytes.clear();
            round(element, numbers, &mut bytes);
            out.write_all(&bytes).map_err(DocumentError::Output)?;
            first += numbers.len() as u64;
        }
        self.length += length;
        Ok(())
    }
}

/// Numbers as little-endian bytes, rounded to the type once; what it has no normal number for becomes 0.
fn round(element: ElementType, numbers: &[f64], bytes: &mut Vec<u8>) {
    match element {
        ElementType::Double => bytes.extend(numbers.iter().flat_map(|&number| to::<f64>(number).to_le_bytes())),
        // Exact: the number is one of the type already. `half` alone would round twice, by way of f32.
        ElementType::Float16 => {
            bytes.extend(numbers.iter().flat_map(|&number| f16::from_f64(to::<f16>(number)).to_le_bytes()));
        }
        ElementType::Bfloat16 => {
            bytes.extend(numbers.iter().flat_map(|&number| bf16::from_f64(to::<bf16>(number)).to_le_bytes()));
        }
        _ => bytes.extend(numbers.iter().flat_map(|&number| (to::<f32>(number) as f32).to_le_bytes())),
    }
}

/// Parts of a message in the order of their places.
type Part<'a> = (usize, Box<dyn Fn(&mut Encoder<'_>) -> Result<()> + 'a>);

fn in_order(encoder: &mut Encoder<'_>, mut parts: Vec<Part<'_>>) -> Result<()> {
    parts.sort_by_key(|(place, _)| *place);
    parts.iter().try_for_each(|(_, part)| part(encoder))
}

pub(super) fn write_graph(encoder: &mut Encoder<'_>, graph: &Graph) -> Result<()> {
    if !graph.is_changed() {
        return encoder.copy(&graph.origin);
    }
    let mut parts: Vec<Part<'_>> = Vec::new();
    for node in &graph.nodes {
        parts.push((node.place, Box::new(move |encoder| field_node(encoder, graph::NODE, node))));
    }
    for (place, span) in &graph.others {
        parts.push((*place, Box::new(move |encoder| encoder.copy(span))));
    }
    for tensor in &graph.initializers {
        parts.push((tensor.place, Box::new(move |encoder| field_tensor(encoder, graph::INITIALIZER, tensor))));
    }
    let ports =
        [(graph::INPUT, &graph.inputs), (graph::OUTPUT, &graph.outputs), (graph::VALUE_INFO, &graph.values)];
    for (number, values) in ports {
        for value in values {
            parts.push((value.place, Box::new(move |encoder| field_value(encoder, number, value))));
        }
    }
    in_order(encoder, parts)
}

pub(super) fn write_function(encoder: &mut Encoder<'_>, function: &Function) -> Result<()> {
    if !function.is_changed() {
        return encoder.copy(&function.origin);
    }
    let mut parts: Vec<Part<'_>> = Vec::new();
    for node in &function.nodes {
        parts.push((node.place, Box::new(move |encoder| field_node(encoder, function::NODE, node))));
    }
    for (place, span) in &function.others {
        parts.push((*place, Box::new(move |encoder| encoder.copy(span))));
    }
    in_order(encoder, parts)
}

fn field_node(encoder: &mut Encoder<'_>, number: u32, node: &Node) -> Result<()> {
    let origin = node.origin.as_ref().filter(|_| !node.is_changed());
    encoder.kept_or(number, origin, |encoder| {
        encoder.fields(|writer| {
            node.inputs.iter().for_each(|name| writer.text(node::INPUT, name));
            node.outputs.iter().for_each(|name| writer.text(node::OUTPUT, name));
            if !node.name.is_empty() {
                writer.text(node::NAME, &node.name);
            }
            writer.text(node::OP_TYPE, &node.op);
        })?;
        for attribute in &node.attributes {
            field_attribute(encoder, attribute)?;
        }
        node.others.iter().try_for_each(|span| encoder.copy(span))
    })
}

/// Numbers of `AttributeProto.AttributeType`.
mod kind {
    pub(super) const FLOAT: i64 = 1;
    pub(super) const INT: i64 = 2;
    pub(super) const STRING: i64 = 3;
    pub(super) const TENSOR: i64 = 4;
    pub(super) const GRAPH: i64 = 5;
    pub(super) const FLOATS: i64 = 6;
    pub(super) const INTS: i64 = 7;
}

fn field_attribute(encoder: &mut Encoder<'_>, attribute: &Attribute) -> Result<()> {
    let origin = attribute.origin.as_ref().filter(|_| !attribute.is_changed());
    encoder.kept_or(node::ATTRIBUTE, origin, |encoder| {
        encoder.fields(|writer| writer.text(attribute::NAME, &attribute.name))?;
        let kind = match &attribute.value {
            AttributeValue::Float(value) => {
                encoder.fields(|writer| writer.float(attribute::FLOAT, *value))?;
                kind::FLOAT
            }
            AttributeValue::Int(value) => {
                encoder.fields(|writer| writer.int64(attribute::INT, *value))?;
                kind::INT
            }
            AttributeValue::Text(bytes) => {
                encoder.fields(|writer| writer.bytes(attribute::TEXT, bytes))?;
                kind::STRING
            }
            AttributeValue::Tensor(tensor) => {
                field_tensor(encoder, attribute::TENSOR, tensor)?;
                kind::TENSOR
            }
            AttributeValue::Graph(graph) => {
                encoder.message(attribute::GRAPH, |encoder| write_graph(encoder, graph))?;
                kind::GRAPH
            }
            AttributeValue::Floats(values) => {
                encoder
                    .fields(|writer| values.iter().for_each(|&value| writer.float(attribute::FLOATS, value)))?;
                kind::FLOATS
            }
            AttributeValue::Ints(values) => {
                encoder
                    .fields(|writer| values.iter().for_each(|&value| writer.int64(attribute::INTS, value)))?;
                kind::INTS
            }
            // Only ever copied.
            AttributeValue::Parameter(_) | AttributeValue::Other => return Ok(()),
        };
        encoder.fields(|writer| writer.int64(attribute::TYPE, kind))
    })
}

fn field_tensor(encoder: &mut Encoder<'_>, number: u32, tensor: &Tensor) -> Result<()> {
    encoder.kept_or(number, tensor.origin.as_ref(), |encoder| {
        encoder.fields(|writer| {
            tensor.dims().iter().for_each(|&dim| writer.varint(tensor::DIMS, dim));
            writer.int64(tensor::DATA_TYPE, tensor.element().number());
            if !tensor.name().is_empty() {
                writer.text(tensor::NAME, tensor.name());
            }
        })?;
        match tensor.payload() {
            Payload::Raw(span) => encoder.message(tensor::RAW_DATA, |encoder| encoder.copy(span))?,
            Payload::Bytes(bytes) => encoder.message(tensor::RAW_DATA, |encoder| encoder.bytes(bytes))?,
            Payload::Made(made) => {
                encoder.message(tensor::RAW_DATA, |encoder| encoder.numbers(tensor, &**made))?;
            }
            Payload::Typed { span, .. } => encoder.copy(span)?,
            Payload::External(external) => encoder.fields(|writer| {
                let mut pair = |key: &str, value: &str| {
                    writer.message(tensor::EXTERNAL_DATA, |writer| {
                        writer.text(entry::KEY, key);
                        writer.text(entry::VALUE, value);
                    });
                };
                pair("location", &external.location);
                pair("offset", &external.offset.to_string());
                if let Some(length) = external.length {
                    pair("length", &length.to_string());
                }
                writer.int64(tensor::DATA_LOCATION, 1);
            })?,
            Payload::Missing => {}
        }
        tensor.others.iter().try_for_each(|span| encoder.copy(span))
    })
}

fn field_value(encoder: &mut Encoder<'_>, number: u32, value: &ValueInfo) -> Result<()> {
    encoder.kept_or(number, value.origin.as_ref(), |encoder| {
        encoder.fields(|writer| {
            writer.text(value_info::NAME, &value.name);
            let Some(element) = value.element else { return };
            writer.message(value_info::TYPE, |writer| {
                writer.message(types::TENSOR, |writer| {
                    writer.int64(types::ELEMENT, element.number());
                    let Some(extents) = &value.extents else { return };
                    writer.message(types::SHAPE, |writer| {
                        for extent in extents {
                            writer.message(types::DIM, |writer| match extent {
                                Extent::Fixed(length) => writer.varint(types::DIM_VALUE, *length),
                                Extent::Symbol(symbol) => writer.text(types::DIM_SYMBOL, symbol),
                                Extent::Unknown => {}
                            });
                        }
                    });
                });
            });
        })
    })
}
