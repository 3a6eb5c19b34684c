//! Nodes: an operator with the names of what goes in and comes out.

use super::Result;
use super::attribute::{Attribute, AttributeValue};
use super::fields::Fields;
use super::graph::Graph;
use super::source::{Source, Span};
use crate::onnx::fields::node as field;

/// A node of a graph.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) name: String,
    pub(super) op: String,
    pub(super) domain: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) attributes: Vec<Attribute>,
    /// Its message, as long as it is what the file has.
    pub(super) origin: Option<Span>,
    /// Fields that are copied: notes, the domain, and what nobody knows.
    pub(super) others: Vec<Span>,
    pub(super) place: usize,
}

impl Node {
    /// A node of the default domain. An empty name among inputs or outputs leaves one out.
    pub fn new(op: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            name: name.to_owned(),
            op: op.to_owned(),
            domain: String::new(),
            inputs: owned(inputs),
            outputs: owned(outputs),
            attributes: Vec::new(),
            origin: None,
            others: Vec::new(),
            place: 0,
        }
    }

    /// Its name; often empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name, or that of its first output where it has none.
    pub fn title(&self) -> &str {
        let output = || self.outputs.iter().find(|name| !name.is_empty()).map_or("", String::as_str);
        if self.name.is_empty() { output() } else { &self.name }
    }

    /// The operator.
    pub fn op(&self) -> &str {
        &self.op
    }

    /// Whose operator it is; empty for ONNX itself.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether it is this operator of ONNX itself.
    pub fn is(&self, op: &str) -> bool {
        self.op == op && (self.domain.is_empty() || self.domain == "ai.onnx")
    }

    /// The values it takes; an empty name is an input left out.
    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// An input that is there.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.inputs.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The values it makes; an empty name is an output left out.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// An output that is there.
    pub fn output(&self, index: usize) -> Option<&str> {
        self.outputs.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Its attributes.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }

    /// A signed integer among its attributes.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.attribute(name) {
            Some(AttributeValue::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// A number among its attributes.
    pub fn float(&self, name: &str) -> Option<f32> {
        match self.attribute(name) {
            Some(AttributeValue::Float(value)) => Some(*value),
            _ => None,
        }
    }

    /// Signed integers among its attributes.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attribute(name) {
            Some(AttributeValue::Ints(values)) => Some(values),
            _ => None,
        }
    }

    /// Text among its attributes.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attribute(name) {
            Some(AttributeValue::Text(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The graphs among its attributes: branches and bodies.
    pub fn graphs(&self) -> impl Iterator<Item = (&str, &Graph)> {
        self.attributes.iter().filter_map(|attribute| match &attribute.value {
            AttributeValue::Graph(graph) => Some((attribute.name.as_str(), &**graph)),
            _ => None,
        })
    }

    /// The graphs among its attributes, to be changed.
    pub fn graphs_mut(&mut self) -> impl Iterator<Item = &mut Graph> {
        self.attributes.iter_mut().filter_map(|attribute| match &mut attribute.value {
            AttributeValue::Graph(graph) => Some(&mut **graph),
            _ => None,
        })
    }

    /// The graph that one of its attributes is, to be changed.
    pub fn graph_mut(&mut self, attribute: usize) -> Option<&mut Graph> {
        match &mut self.attributes.get_mut(attribute)?.value {
            AttributeValue::Graph(graph) => Some(graph),
            _ => None,
        }
    }

    /// Makes it another operator of its domain, with the same inputs and outputs.
    pub fn set_op(&mut self, op: &str) {
        op.clone_into(&mut self.op);
        self.origin = None;
    }

    /// Gives it other inputs.
    pub fn set_inputs(&mut self, inputs: Vec<String>) {
        self.inputs = inputs;
        self.origin = None;
    }

    /// Gives it another input. Those before it that are not there are left out.
    pub fn set_input(&mut self, index: usize, name: &str) {
        if self.inputs.len() <= index {
            self.inputs.resize(index + 1, String::new());
        }
        name.clone_into(&mut self.inputs[index]);
        self.origin = None;
    }

    /// Gives it other outputs.
    pub fn set_outputs(&mut self, outputs: Vec<String>) {
        self.outputs = outputs;
        self.origin = None;
    }

    /// Sets an attribute, whether it has it or not.
    pub fn set_attribute(&mut self, name: &str, value: AttributeValue) {
        let new = Attribute::new(name, value);
        match self.attributes.iter_mut().find(|attribute| attribute.name == name) {
            Some(attribute) => *attribute = new,
            None => self.attributes.push(new),
        }
        self.origin = None;
    }

    /// Takes an attribute away, so that the operator's default holds.
    pub fn remove_attribute(&mut self, name: &str) {
        let before = self.attributes.len();
        self.attributes.retain(|attribute| attribute.name != name);
        if self.attributes.len() != before {
            self.origin = None;
        }
    }

    pub(super) fn is_changed(&self) -> bool {
        self.origin.is_none() || self.attributes.iter().any(Attribute::is_changed)
    }

    pub(super) fn parse(source: &Source, span: &Span, place: usize, depth: usize) -> Result<Self> {
        let mut node = Self::new("", "", &[], &[]);
        (node.origin, node.place) = (Some(span.clone()), place);
        for located in Fields::new(source, span) {
            let located = located?;
            match located.number {
                field::INPUT => node.inputs.push(located.text(source)?),
                field::OUTPUT => node.outputs.push(located.text(source)?),
                field::NAME => node.name = located.text(source)?,
                field::OP_TYPE => node.op = located.text(source)?,
                field::ATTRIBUTE => node.attributes.push(Attribute::parse(source, &located.bytes()?, depth)?),
                number => {
                    if number == field::DOMAIN {
                        node.domain = located.text(source)?;
                    }
                    node.others.push(located.span);
                }
            }
        }
        Ok(node)
    }
}
