//! Builds an ONNX model node by node and writes it.
//!
//! What is written: IR version 8, operator set 17 of the default domain, tensors as raw little-endian data and only in
//! `initializer` (as inputs they could be overridden by whoever runs the model).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::fields::{attribute, entry, graph, model, node, opset, tensor, types, value_info};
use super::wire::Writer;
use crate::{FileError, GraphError, file};

const IR_VERSION: i64 = 8;
const OPSET_VERSION: i64 = 17;
const PRODUCER: &str = "batchnorm";
/// The most bytes that a protobuf message can have: its lengths are signed 32-bit integers.
const MESSAGE_LIMIT: u64 = i32::MAX as u64;

/// A type of elements, by its number in `TensorProto.DataType`.
#[derive(Clone, Copy, Debug)]
enum Element {
    Float = 1,
    Int64 = 7,
}

/// A type of attributes, by its number in `AttributeProto.AttributeType`.
#[derive(Clone, Copy, Debug)]
enum AttributeType {
    Float = 1,
    Int = 2,
    Text = 3,
    Ints = 7,
}

/// A tensor that flows through a graph: an input, a stored tensor or what a node computes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    name: String,
}

impl Value {
    /// The name under which the graph's methods made it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// One axis of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim<'a> {
    /// Any length; the same wherever the symbol is the same.
    Symbol(&'a str),
    /// This length.
    Fixed(usize),
}

/// What an operator is told besides its inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A signed integer.
    Int(i64),
    /// A number.
    Float(f32),
    /// Several signed integers.
    Ints(Vec<i64>),
    /// Text.
    Text(String),
}

/// An ONNX model under construction: one graph, its tensors, and notes about it.
///
/// Inputs, tensors and nodes are added in the order of the computation; each method returns the [`Value`] that later
/// ones take. What is wrong with the graph, [`to_bytes`](Self::to_bytes) says: the first thing that was.
///
/// The operators of networks have methods of their own ([`conv`](Self::conv), [`gemm`](Self::gemm),
/// [`batch_normalization`](Self::batch_normalization), ...); [`node`](Self::node) adds any other.
///
/// ```
/// use batchnorm_model::onnx::{Attribute, Dim, Graph};
///
/// // y = max(x, 0) w, for any number of rows.
/// let mut graph = Graph::new("net");
/// let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(3)]);
/// let w = graph.tensor("w", &[3, 1], &[0.5, -1.0, 2.0]);
/// let positive = graph.node("Relu", "relu", &[&x], &[]);
/// let y = graph.node("Gemm", "product", &[&positive, &w], &[("alpha", Attribute::Float(1.0))]);
/// graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(1)]);
/// graph.metadata("written_for", "an example");
/// let model = graph.to_bytes()?;
/// # assert!(model.len() > 100);
/// # Ok::<(), batchnorm_model::GraphError>(())
/// ```
///
/// Source: <https://onnx.ai/onnx/repo-docs/IR.html>.
#[derive(Clone, Debug)]
pub struct Graph {
    name: String,
    inputs: Vec<Port>,
    tensors: Vec<Tensor>,
    nodes: Vec<Node>,
    outputs: Vec<(Value, Port)>,
    metadata: Vec<(String, String)>,
    /// The names of all values, outputs included.
    values: BTreeSet<String>,
    /// The first thing that was wrong.
    problem: Option<GraphError>,
}

/// An input or output of the graph.
#[derive(Clone, Debug)]
struct Port {
    name: String,
    /// Lengths or symbols.
    dims: Vec<Result<i64, String>>,
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    element: Element,
    dims: Vec<i64>,
    data: Vec<u8>,
}

/// It computes one value, of its own name.
#[derive(Clone, Debug)]
struct Node {
    op: String,
    name: String,
    inputs: Vec<String>,
    attributes: Vec<(String, Attribute)>,
}

impl Graph {
    /// A graph without inputs, nodes or outputs.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            inputs: Vec::new(),
            tensors: Vec::new(),
            nodes: Vec::new(),
            outputs: Vec::new(),
            metadata: Vec::new(),
            values: BTreeSet::new(),
            problem: None,
        }
    }

    /// Adds an f32 input.
    pub fn input(&mut self, name: &str, dims: &[Dim<'_>]) -> Value {
        let value = self.value("an input", name);
        let port = self.port(name, dims);
        self.inputs.push(port);
        value
    }

    /// Adds a stored f32 tensor: weights, or statistics. No dimensions make a scalar.
    pub fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.stored(name, Element::Float, shape, values.len(), data)
    }

    /// Adds a stored i64 tensor: the shape that `Reshape` takes, say.
    pub fn tensor_i64(&mut self, name: &str, shape: &[usize], values: &[i64]) -> Value {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.stored(name, Element::Int64, shape, values.len(), data)
    }

    /// Adds a node with one output: operator `op` of the default domain's operator set 17, applied to `inputs`.
    ///
    /// Neither the number of inputs nor the attributes are checked against the operator's definition.
    pub fn node(&mut self, op: &str, name: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        for input in inputs {
            self.check_known(input, name);
        }
        let value = self.value("a node", name);
        self.nodes.push(Node {
            op: op.to_owned(),
            name: name.to_owned(),
            inputs: inputs.iter().map(|input| input.name.clone()).collect(),
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        });
        value
    }

    /// Makes a value an f32 output under the given name.
    pub fn output(&mut self, name: &str, value: &Value, dims: &[Dim<'_>]) {
        self.check_known(value, name);
        // A node may have the name of the output that it computes.
        if name != value.name || self.outputs.iter().any(|(_, port)| port.name == name) {
            self.value("an output", name);
        }
        let port = self.port(name, dims);
        self.outputs.push((value.clone(), port));
    }

    /// Adds a note to the model: any text under a key of its own.
    pub fn metadata(&mut self, key: &str, value: &str) {
        if self.metadata.iter().any(|(known, _)| known == key) {
            self.refuse(GraphError::DuplicateMetadata { key: key.to_owned() });
        }
        self.metadata.push((key.to_owned(), value.to_owned()));
    }

    /// The model as the bytes of an ONNX file. The same graph gives the same bytes.
    ///
    /// # Errors
    ///
    /// If a name is empty or used twice, a tensor's shape is not that of its values, a value of another graph was
    /// used, there is no output, or the model is larger than 2 GiB.
    pub fn to_bytes(&self) -> Result<Vec<u8>, GraphError> {
        self.encode(MESSAGE_LIMIT)
    }

    /// Writes the model to a file, which appears whole or not at all.
    ///
    /// # Errors
    ///
    /// As [`to_bytes`](Self::to_bytes), and if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let bytes = self
            .to_bytes()
            .map_err(|source| FileError::Graph { path: path.to_owned(), source: source.into() })?;
        file::write(path, &bytes)
    }

    /// Keeps what is wrong, if it is the first.
    pub(super) fn refuse(&mut self, problem: GraphError) {
        self.problem.get_or_insert(problem);
    }

    fn value(&mut self, what: &'static str, name: &str) -> Value {
        if name.is_empty() {
            // To ONNX, an input left out.
            self.refuse(GraphError::EmptyName { what });
        } else if !self.values.insert(name.to_owned()) {
            self.refuse(GraphError::DuplicateName { name: name.to_owned() });
        }
        Value { name: name.to_owned() }
    }

    fn check_known(&mut self, value: &Value, used_by: &str) {
        if !self.values.contains(&value.name) {
            let value = value.name.clone();
            self.refuse(GraphError::UnknownValue { value, used_by: used_by.to_owned() });
        }
    }

    /// A size as ONNX stores it.
    pub(super) fn size(&mut self, name: &str, found: usize) -> i64 {
        i64::try_from(found).unwrap_or_else(|_| {
            self.refuse(GraphError::SizeTooLarge { name: name.to_owned(), found });
            i64::MAX
        })
    }

    fn port(&mut self, name: &str, dims: &[Dim<'_>]) -> Port {
        let dims = dims
            .iter()
            .map(|dim| match dim {
                Dim::Symbol(symbol) => Err((*symbol).to_owned()),
                Dim::Fixed(length) => Ok(self.size(name, *length)),
            })
            .collect();
        Port { name: name.to_owned(), dims }
    }

    fn stored(&mut self, name: &str, element: Element, shape: &[usize], found: usize, data: Vec<u8>) -> Value {
        let expected = shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length));
        if expected != Some(found) {
            let (tensor, shape) = (name.to_owned(), shape.to_vec());
            self.refuse(GraphError::TensorLength { tensor, shape, found });
        }
        let value = self.value("a tensor", name);
        let dims = shape.iter().map(|&length| self.size(name, length)).collect();
        self.tensors.push(Tensor { name: name.to_owned(), element, dims, data });
        value
    }

    fn encode(&self, limit: u64) -> Result<Vec<u8>, GraphError> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if self.outputs.is_empty() {
            return Err(GraphError::NoOutputs);
        }
        // Before anything is copied.
        let data = self.tensors.iter().map(|tensor| tensor.data.len() as u64).sum();
        let fits = |found| if found <= limit { Ok(()) } else { Err(GraphError::TooLarge { found, limit }) };
        fits(data)?;
        let mut writer = Writer::new();
        writer.int64(model::IR_VERSION, IR_VERSION);
        writer.text(model::PRODUCER_NAME, PRODUCER);
        writer.text(model::PRODUCER_VERSION, env!("CARGO_PKG_VERSION"));
        writer.message(model::GRAPH, |writer| self.write_graph(writer));
        writer.message(model::OPSET_IMPORT, |writer| {
            writer.text(opset::DOMAIN, "");
            writer.int64(opset::VERSION, OPSET_VERSION);
        });
        for (key, value) in &self.metadata {
            writer.message(model::METADATA_PROPS, |writer| {
                writer.text(entry::KEY, key);
                writer.text(entry::VALUE, value);
            });
        }
        fits(writer.len() as u64)?;
        Ok(writer.into_bytes())
    }

    fn write_graph(&self, writer: &mut Writer) {
        // A value has one name, so what a node computes takes that of its output. Inputs and tensors keep theirs, and
        // so does what is several outputs or has the output's name already: those are copied where names differ.
        let mut renamed: BTreeMap<&str, &str> = BTreeMap::new();
        for (value, port) in &self.outputs {
            let computed = self.nodes.iter().any(|node| node.name == value.name);
            if computed && (port.name == value.name || !renamed.contains_key(value.name())) {
                renamed.insert(&value.name, &port.name);
            }
        }
        let exported = |name: &str| renamed.get(name).copied().unwrap_or(name).to_owned();
        let copies: Vec<Node> = self
            .outputs
            .iter()
            .filter(|(value, port)| exported(&value.name) != port.name)
            .map(|(value, port)| Node {
                op: "Identity".to_owned(),
                name: port.name.clone(),
                inputs: vec![value.name.clone()],
                attributes: Vec::new(),
            })
            .collect();
        for node in self.nodes.iter().chain(&copies) {
            writer.message(graph::NODE, |writer| node.write(writer, &exported));
        }
        writer.text(graph::NAME, &self.name);
        for tensor in &self.tensors {
            writer.message(graph::INITIALIZER, |writer| tensor.write(writer));
        }
        for port in &self.inputs {
            writer.message(graph::INPUT, |writer| port.write(writer));
        }
        for (_, port) in &self.outputs {
            writer.message(graph::OUTPUT, |writer| port.write(writer));
        }
    }
}

impl Port {
    fn write(&self, writer: &mut Writer) {
        writer.text(value_info::NAME, &self.name);
        writer.message(value_info::TYPE, |writer| {
            writer.message(types::TENSOR, |writer| {
                writer.int64(types::ELEMENT, Element::Float as i64);
                writer.message(types::SHAPE, |writer| {
                    for dim in &self.dims {
                        writer.message(types::DIM, |writer| match dim {
                            Ok(length) => writer.int64(types::DIM_VALUE, *length),
                            Err(symbol) => writer.text(types::DIM_SYMBOL, symbol),
                        });
                    }
                });
            });
        });
    }
}

impl Tensor {
    fn write(&self, writer: &mut Writer) {
        for &length in &self.dims {
            writer.int64(tensor::DIMS, length);
        }
        writer.int64(tensor::DATA_TYPE, self.element as i64);
        writer.text(tensor::NAME, &self.name);
        writer.bytes(tensor::RAW_DATA, &self.data);
    }
}

impl Node {
    /// `exported` gives each value the name that it has in the file.
    fn write(&self, writer: &mut Writer, exported: &impl Fn(&str) -> String) {
        for input in &self.inputs {
            writer.text(node::INPUT, &exported(input));
        }
        writer.text(node::OUTPUT, &exported(&self.name));
        writer.text(node::NAME, &self.name);
        writer.text(node::OP_TYPE, &self.op);
        for (name, value) in &self.attributes {
            writer.message(node::ATTRIBUTE, |writer| {
                writer.text(attribute::NAME, name);
                value.write(writer);
            });
        }
    }
}

impl Attribute {
    fn write(&self, writer: &mut Writer) {
        let kind = match self {
            Self::Float(value) => {
                writer.float(attribute::FLOAT, *value);
                AttributeType::Float
            }
            Self::Int(value) => {
                writer.int64(attribute::INT, *value);
                AttributeType::Int
            }
            Self::Text(value) => {
                writer.text(attribute::TEXT, value);
                AttributeType::Text
            }
            Self::Ints(values) => {
                for &value in values {
                    writer.int64(attribute::INTS, value);
                }
                AttributeType::Ints
            }
        };
        writer.int64(attribute::TYPE, kind as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_beyond_protobufs_limit_is_refused() {
        let mut graph = Graph::new("net");
        let w = graph.tensor("w", &[100], &[0.0; 100]);
        let y = graph.relu("relu", &w);
        graph.output("y", &y, &[Dim::Fixed(100)]);
        let whole = graph.to_bytes().unwrap().len() as u64;
        assert!(graph.encode(whole).is_ok());
        // Too large with names and all, and by its tensors alone.
        let refused =
            |limit, found| assert_eq!(graph.encode(limit), Err(GraphError::TooLarge { found, limit }));
        refused(whole - 1, whole);
        refused(399, 400);
    }
}
