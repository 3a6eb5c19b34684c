//! Functions that a model brings along: nodes under one name.

use super::Result;
use super::fields::Fields;
use super::node::Node;
use super::source::{Source, Span};
use crate::onnx::fields::function as field;

/// A function of the model, called as an operator of its domain.
#[derive(Clone, Debug)]
pub struct Function {
    pub(super) name: String,
    pub(super) domain: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) nodes: Vec<Node>,
    /// Its message.
    pub(super) origin: Span,
    /// Something was added or removed.
    pub(super) edited: bool,
    /// Fields that are copied: their places and bytes.
    pub(super) others: Vec<(usize, Span)>,
}

impl Function {
    /// The operator's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// What it takes.
    pub fn inputs(&self) -> &[String] {
        &self.inputs
    }

    /// What it makes.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// Its nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Its nodes, to be changed.
    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// Adds a node after another one, or before all.
    pub fn insert_after(&mut self, index: Option<usize>, mut node: Node) {
        node.place = index.map_or(0, |index| self.nodes[index].place);
        self.nodes.insert(index.map_or(0, |index| index + 1), node);
        self.edited = true;
    }

    /// Removes a node. Nobody may use its values any more.
    pub fn remove_node(&mut self, index: usize) -> Node {
        self.edited = true;
        self.nodes.remove(index)
    }

    pub(super) fn is_changed(&self) -> bool {
        self.edited || self.nodes.iter().any(Node::is_changed)
    }

    pub(super) fn parse(source: &Source, span: &Span) -> Result<Self> {
        let mut function = Self {
            name: String::new(),
            domain: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            nodes: Vec::new(),
            origin: span.clone(),
            edited: false,
            others: Vec::new(),
        };
        for (place, located) in Fields::new(source, span).enumerate() {
            let located = located?;
            match located.number {
                field::NODE => function.nodes.push(Node::parse(source, &located.bytes()?, place, 1)?),
                number => {
                    match number {
                        field::NAME => function.name = located.text(source)?,
                        field::DOMAIN => function.domain = located.text(source)?,
                        field::INPUT => function.inputs.push(located.text(source)?),
                        field::OUTPUT => function.outputs.push(located.text(source)?),
                        _ => {}
                    }
                    function.others.push((place, located.span));
                }
            }
        }
        Ok(function)
    }
}
