//! Graphs: nodes, stored tensors, inputs and outputs; and how they are changed.

use super::Result;
use super::attribute::check_depth;
use super::fields::Fields;
use super::node::Node;
use super::source::{Source, Span};
use super::tensor::Tensor;
use super::value::ValueInfo;
use crate::onnx::fields::graph as field;

/// A graph: the model's own, a branch, or a loop's body.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(super) name: String,
    pub(super) nodes: Vec<Node>,
    pub(super) initializers: Vec<Tensor>,
    pub(super) inputs: Vec<ValueInfo>,
    pub(super) outputs: Vec<ValueInfo>,
    pub(super) values: Vec<ValueInfo>,
    /// Its message.
    pub(super) origin: Span,
    /// Something was added or removed.
    pub(super) edited: bool,
    /// Fields that are copied: their places and bytes.
    pub(super) others: Vec<(usize, Span)>,
}

impl Graph {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its nodes, each after those whose values it takes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A node, to be changed.
    pub fn node_mut(&mut self, index: usize) -> &mut Node {
        &mut self.nodes[index]
    }

    /// All nodes, to be changed.
    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// Its stored tensors.
    pub fn initializers(&self) -> &[Tensor] {
        &self.initializers
    }

    /// A stored tensor.
    pub fn initializer(&self, name: &str) -> Option<&Tensor> {
        self.initializers.iter().find(|tensor| tensor.name() == name)
    }

    /// Its inputs. Up to IR version 3 the stored tensors are among them.
    pub fn inputs(&self) -> &[ValueInfo] {
        &self.inputs
    }

    /// Its outputs.
    pub fn outputs(&self) -> &[ValueInfo] {
        &self.outputs
    }

    /// What it says of values between.
    pub fn values(&self) -> &[ValueInfo] {
        &self.values
    }

    /// What it says of a value, wherever it does.
    pub fn value(&self, name: &str) -> Option<&ValueInfo> {
        [&self.values, &self.inputs, &self.outputs].into_iter().flatten().find(|value| value.name() == name)
    }

    /// The node that makes a value, and which of its outputs it is.
    pub fn producer(&self, name: &str) -> Option<(usize, usize)> {
        self.nodes.iter().enumerate().find_map(|(index, node)| {
            let output = node.outputs().iter().position(|output| output == name)?;
            (!name.is_empty()).then_some((index, output))
        })
    }

    /// Whether a value is one of its outputs.
    pub fn is_output(&self, name: &str) -> bool {
        self.outputs.iter().any(|output| output.name() == name)
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

    /// Adds a stored tensor.
    pub fn add_initializer(&mut self, mut tensor: Tensor) {
        tensor.place = self.initializers.last().map_or(usize::MAX, |last| last.place);
        self.initializers.push(tensor);
        self.edited = true;
    }

    /// Replaces a stored tensor by another of its name, in its place; adds it where there is none.
    pub fn replace_initializer(&mut self, mut tensor: Tensor) {
        match self.initializers.iter_mut().find(|old| old.name() == tensor.name()) {
            Some(old) => {
                tensor.place = old.place;
                *old = tensor;
                self.edited = true;
            }
            None => self.add_initializer(tensor),
        }
    }

    /// Removes a stored tensor, and what the graph says of it as an input or value.
    pub fn remove_initializer(&mut self, name: &str) {
        self.initializers.retain(|tensor| tensor.name() != name);
        self.inputs.retain(|input| input.name() != name);
        self.values.retain(|value| value.name() != name);
        self.edited = true;
    }

    /// Adds an input.
    pub fn add_input(&mut self, mut input: ValueInfo) {
        input.place = self.inputs.last().map_or(usize::MAX, |last| last.place);
        self.inputs.push(input);
        self.edited = true;
    }

    /// Gives it other outputs.
    pub fn set_outputs(&mut self, outputs: Vec<ValueInfo>) {
        let place = self.outputs.first().map_or(usize::MAX, |first| first.place);
        self.outputs = outputs;
        for output in &mut self.outputs {
            output.place = place;
        }
        self.edited = true;
    }

    /// Forgets what is said of a value between.
    pub fn remove_value(&mut self, name: &str) {
        let before = self.values.len();
        self.values.retain(|value| value.name() != name);
        self.edited |= self.values.len() != before;
    }

    pub(super) fn is_changed(&self) -> bool {
        self.edited
            || self.nodes.iter().any(Node::is_changed)
            || self.initializers.iter().any(|tensor| tensor.origin.is_none())
    }

    pub(super) fn parse(source: &Source, span: &Span, depth: usize) -> Result<Self> {
        check_depth(span, depth)?;
        let mut graph = Self {
            name: String::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            values: Vec::new(),
            origin: span.clone(),
            edited: false,
            others: Vec::new(),
        };
        for (place, located) in Fields::new(source, span).enumerate() {
            let located = located?;
            match located.number {
                field::NODE => graph.nodes.push(Node::parse(source, &located.bytes()?, place, depth)?),
                field::INITIALIZER => graph.initializers.push(Tensor::parse(source, &located.bytes()?, place)?),
                field::INPUT => graph.inputs.push(ValueInfo::parse(source, &located.bytes()?, place)?),
                field::OUTPUT => graph.outputs.push(ValueInfo::parse(source, &located.bytes()?, place)?),
                field::VALUE_INFO => graph.values.push(ValueInfo::parse(source, &located.bytes()?, place)?),
                number => {
                    if number == field::NAME {
                        graph.name = located.text(source)?;
                    }
                    graph.others.push((place, located.span));
                }
            }
        }
        Ok(graph)
    }
}
