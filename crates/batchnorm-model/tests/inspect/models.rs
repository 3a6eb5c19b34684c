//! Models made for one finding each.

use batchnorm_model::inspect::{Finding, Inspection, Layer};
use batchnorm_model::onnx::document::Document;
use batchnorm_model::onnx::wire::Writer;

/// A model written field by field, so that it can be wrong in any way.
#[derive(Clone)]
pub struct Model {
    pub opset: i64,
    pub ir_version: i64,
    nodes: Vec<Writer>,
    tensors: Vec<Writer>,
    inputs: Vec<String>,
}

/// What an operator is told.
#[derive(Clone)]
pub enum Attribute<'a> {
    Float(&'a str, f32),
    Int(&'a str, i64),
    Graph(&'a str, &'a Model),
}

use Attribute::{Float, Int};

impl Model {
    pub fn new(opset: i64) -> Self {
        let inputs = vec!["x".to_owned()];
        Self { opset, ir_version: 8, nodes: Vec::new(), tensors: Vec::new(), inputs }
    }

    pub fn tensor(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push(tensor(name, dims, 1, &bytes));
        self
    }

    pub fn half_tensor(mut self, name: &str, dims: &[i64], values: &[u16]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensors.push(tensor(name, dims, 10, &bytes));
        self
    }

    pub fn also_input(mut self, name: &str) -> Self {
        self.inputs.push(name.to_owned());
        self
    }

    pub fn node(
        mut self,
        op: &str,
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[Attribute<'_>],
    ) -> Self {
        self.nodes.push(node(op, name, inputs, outputs, attributes));
        self
    }

    /// Four parameters of two channels, `<name>.gamma` and so on.
    pub fn parameters(self, name: &str, gamma: &[f32], beta: &[f32], mean: &[f32], variance: &[f32]) -> Self {
        [("gamma", gamma), ("beta", beta), ("mean", mean), ("variance", variance)]
            .into_iter()
            .fold(self, |model, (what, values)| {
                model.tensor(&format!("{name}.{what}"), &[values.len() as i64], values)
            })
    }

    /// A layer with the parameters of its name.
    pub fn layer(self, name: &str, x: &str, outputs: &[&str], attributes: &[Attribute<'_>]) -> Self {
        let [gamma, beta, mean, variance] =
            ["gamma", "beta", "mean", "variance"].map(|what| format!("{name}.{what}"));
        self.node("BatchNormalization", name, &[x, &gamma, &beta, &mean, &variance], outputs, attributes)
    }

    /// A healthy layer of two channels, from `x` to `y`.
    pub fn healthy(name: &str, x: &str, y: &str) -> Self {
        Self::new(15).healthy_layer(name, x, y)
    }

    pub fn healthy_layer(self, name: &str, x: &str, y: &str) -> Self {
        self.parameters(name, &[1.0, 0.5], &[0.0, 0.25], &[0.5, -1.0], &[1.0, 2.0]).layer(name, x, &[y], &[])
    }

    fn graph(&self, writer: &mut Writer) {
        self.nodes.iter().for_each(|node| writer.bytes(1, &node.clone().into_bytes()));
        writer.text(2, "net");
        self.tensors.iter().for_each(|tensor| writer.bytes(5, &tensor.clone().into_bytes()));
        self.inputs.iter().for_each(|name| writer.message(11, |port| port.text(1, name)));
        writer.message(12, |port| port.text(1, "y"));
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut model = Writer::new();
        model.int64(1, self.ir_version);
        model.message(7, |writer| self.graph(writer));
        model.message(8, |opset| opset.int64(2, self.opset));
        model.into_bytes()
    }

    pub fn inspect(&self) -> Inspection {
        Inspection::of(&Document::from_bytes(self.bytes()).unwrap()).unwrap()
    }

    /// Its only layer.
    #[track_caller]
    pub fn only(&self) -> Layer {
        let mut layers = self.inspect().layers;
        assert_eq!(layers.len(), 1);
        layers.remove(0)
    }

    /// Code and channels of each finding of the only layer.
    #[track_caller]
    pub fn codes(&self) -> Vec<(&'static str, Vec<usize>)> {
        self.only().findings.iter().map(|finding| (finding.code, finding.channels.clone())).collect()
    }

    #[track_caller]
    pub fn finding(&self, code: &str) -> Finding {
        let layer = self.only();
        let found = layer.findings.iter().find(|finding| finding.code == code);
        found.unwrap_or_else(|| panic!("{code} is not in {:?}", layer.findings)).clone()
    }
}

fn tensor(name: &str, dims: &[i64], element: i64, bytes: &[u8]) -> Writer {
    let mut tensor = Writer::new();
    dims.iter().for_each(|&dim| tensor.int64(1, dim));
    tensor.int64(2, element);
    tensor.text(8, name);
    tensor.bytes(9, bytes);
    tensor
}

fn node(op: &str, name: &str, inputs: &[&str], outputs: &[&str], attributes: &[Attribute<'_>]) -> Writer {
    let mut node = Writer::new();
    inputs.iter().for_each(|input| node.text(1, input));
    outputs.iter().for_each(|output| node.text(2, output));
    node.text(3, name);
    node.text(4, op);
    for attribute in attributes {
        node.message(5, |writer| match attribute {
            Float(name, value) => {
                writer.text(1, name);
                writer.float(2, *value);
                writer.int64(20, 1);
            }
            Int(name, value) => {
                writer.text(1, name);
                writer.int64(3, *value);
                writer.int64(20, 2);
            }
            Attribute::Graph(name, model) => {
                writer.text(1, name);
                writer.message(6, |graph| model.graph(graph));
                writer.int64(20, 5);
            }
        });
    }
    node
}

/// A model whose only layer has these means and variances.
pub fn statistics(mean: &[f32], variance: &[f32]) -> Model {
    let channels = mean.len();
    Model::new(15).parameters("bn", &vec![1.0; channels], &vec![0.0; channels], mean, variance).layer(
        "bn",
        "x",
        &["y"],
        &[],
    )
}

/// A model whose only layer has these attributes.
pub fn attributes(opset: i64, outputs: &[&str], attributes: &[Attribute<'_>]) -> Model {
    Model::new(opset)
        .parameters("bn", &[1.0, 0.5], &[0.0, 0.25], &[0.5, -1.0], &[1.0, 2.0])
        .layer("bn", "x", outputs, attributes)
}
