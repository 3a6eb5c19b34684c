//! Small models of any operator set and IR version, written field by field.

use batchnorm_model::onnx::document::{Document, Node};
use batchnorm_model::onnx::wire::Writer;

/// The fields of a graph or a function, as far as the tests need them.
#[derive(Clone, Default)]
pub struct Model {
    pub ir: i64,
    pub opset: i64,
    graph: Writer,
    others: Writer,
}

/// The value of an attribute.
pub enum Value<'a> {
    Int(i64),
    Float(f32),
    Graph(&'a Model),
    /// A tensor of f32, of one axis.
    Tensor(&'a [f32]),
}

impl Model {
    pub fn new(ir: i64, opset: i64) -> Self {
        Self { ir, opset, ..Self::default() }
    }

    pub fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Value<'_>)]) {
        self.graph.message(1, |writer| node(writer, op, inputs, outputs, attributes));
    }

    /// A stored tensor of f32; up to IR version 3 an input as well.
    pub fn tensor(&mut self, name: &str, dims: &[i64], values: &[f32]) {
        self.graph.message(5, |tensor| {
            dims.iter().for_each(|&dim| tensor.int64(1, dim));
            tensor.int64(2, 1);
            tensor.text(8, name);
            tensor.bytes(9, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
        });
        if self.ir <= 3 {
            self.input(name, dims);
        }
    }

    /// A truth value.
    pub fn truth(&mut self, name: &str, value: bool) {
        self.graph.message(5, |tensor| {
            tensor.int64(2, 9);
            tensor.text(8, name);
            tensor.bytes(9, &[u8::from(value)]);
        });
    }

    /// Gamma, beta, mean and variance of two channels, under names that begin with this.
    pub fn layer(&mut self, name: &str) {
        for (what, values) in
            [("gamma", [1.0, 2.0]), ("beta", [0.0, 1.0]), ("mean", [3.0, 0.5]), ("variance", [4.0, 0.25])]
        {
            self.tensor(&format!("{name}_{what}"), &[2], &values);
        }
    }

    fn port(&mut self, number: u32, name: &str, dims: &[i64]) {
        self.graph.message(number, |port| value(port, name, dims));
    }

    pub fn input(&mut self, name: &str, dims: &[i64]) {
        self.port(11, name, dims);
    }

    pub fn output(&mut self, name: &str, dims: &[i64]) {
        self.port(12, name, dims);
    }

    pub fn value(&mut self, name: &str, dims: &[i64]) {
        self.port(13, name, dims);
    }

    /// A function of domain `here`, whose nodes are written by `write`.
    pub fn function(&mut self, name: &str, inputs: &[&str], outputs: &[&str], nodes: &[NodeOf<'_>]) {
        let opset = self.opset;
        self.others.message(25, |function| {
            function.text(1, name);
            inputs.iter().for_each(|input| function.text(4, input));
            outputs.iter().for_each(|output| function.text(5, output));
            for (op, inputs, outputs, attributes) in nodes {
                function.message(7, |writer| node(writer, op, inputs, outputs, attributes));
            }
            function.message(9, |import| import.int64(2, opset));
            function.text(10, "here");
        });
    }

    /// `training_info`, of which nothing is understood.
    pub fn training_info(&mut self) {
        self.others.message(20, |info| info.message(1, |graph| graph.text(2, "initialization")));
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut model = Writer::new();
        model.int64(1, self.ir);
        model.bytes(7, &self.graph.clone().into_bytes());
        model.message(8, |import| import.int64(2, self.opset));
        model.raw(&self.others.clone().into_bytes());
        model.into_bytes()
    }

    pub fn document(&self) -> Document {
        Document::from_bytes(self.bytes()).unwrap()
    }
}

/// An operator, its inputs, outputs and attributes.
pub type NodeOf<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [(&'a str, Value<'a>)]);

fn node(writer: &mut Writer, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Value<'_>)]) {
    inputs.iter().for_each(|input| writer.text(1, input));
    outputs.iter().for_each(|output| writer.text(2, output));
    writer.text(4, op);
    for (name, value) in attributes {
        writer.message(5, |attribute| {
            attribute.text(1, name);
            let kind = match value {
                Value::Int(value) => {
                    attribute.int64(3, *value);
                    2
                }
                Value::Float(value) => {
                    attribute.float(2, *value);
                    1
                }
                Value::Graph(graph) => {
                    attribute.bytes(6, &graph.graph.clone().into_bytes());
                    5
                }
                Value::Tensor(values) => {
                    attribute.message(5, |tensor| {
                        tensor.int64(1, values.len() as i64);
                        tensor.int64(2, 1);
                        tensor
                            .bytes(9, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>());
                    });
                    4
                }
            };
            attribute.int64(20, kind);
        });
    }
    // Of ONNX itself unless the name says whose.
    if op.starts_with("Our") {
        writer.text(7, "here");
    }
}

fn value(port: &mut Writer, name: &str, dims: &[i64]) {
    port.text(1, name);
    port.message(2, |kind| {
        kind.message(1, |tensor| {
            tensor.int64(1, 1);
            tensor.message(2, |shape| {
                dims.iter().for_each(|&dim| shape.message(1, |axis| axis.int64(1, dim)));
            });
        });
    });
}

/// A layer's inputs: x and its parameters.
pub fn inputs<'a>(x: &'a str, all: &'a [String]) -> Vec<&'a str> {
    std::iter::once(x).chain(all.iter().map(String::as_str)).collect()
}

/// The names of a layer's parameters.
pub fn parameters(name: &str) -> Vec<String> {
    ["gamma", "beta", "mean", "variance"].iter().map(|what| format!("{name}_{what}")).collect()
}

pub fn ops(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().map(Node::op).collect()
}

/// What the document would be if it were read again.
pub fn written(document: &Document) -> Document {
    Document::from_bytes(document.to_bytes().unwrap()).unwrap()
}
