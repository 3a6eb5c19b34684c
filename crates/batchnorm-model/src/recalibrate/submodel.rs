//! Models that compute values from inside another model, and nothing else.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::RecalibrateError;
use super::selection::{Layer, all_names, fresh, taken};
use crate::onnx::document::{AttributeValue, Document, ElementType, Extent, Graph, Node, Tensor, ValueInfo};
use crate::onnx::layers::BatchNormalization;
use crate::runtime::{ModelSource, Runtime, Session};

type Result<T, E = RecalibrateError> = std::result::Result<T, E>;

/// Operators that take nearly all of a model's time.
const HEAVY: [&str; 9] =
    ["Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "QLinearConv", "ConvInteger", "Einsum"];

/// A model on its way to compute some inner values.
pub(super) struct SubModel {
    document: Document,
    folder: Option<PathBuf>,
    names: HashSet<String>,
    /// Outputs that layers in inference do not have, each with its layer.
    gone: HashMap<String, String>,
    outputs: Vec<ValueInfo>,
}

/// Which values a model is to give, in what form.
pub(super) enum Tap<'a> {
    /// Its elements, as f64 where the layer keeps such and else as f32.
    Values(&'a str, ElementType),
    /// The lengths of its axes.
    Shape(&'a str),
}

impl SubModel {
    /// The model with all layers in inference, and without dropout.
    pub(super) fn new(document: &Document, layers: &[Layer]) -> Self {
        let mut document = document.clone();
        let folder = document.storage().model().path().map(|path| {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_owned()
        });
        let (names, opset) = (all_names(&document), document.opset());
        let mut gone = HashMap::new();
        in_inference(document.graph_mut(), opset, &mut gone);
        // tract does not know the attribute; statistics of rank 1 mean what they mean without it.
        for layer in layers.iter().filter(|layer| !layer.spatial) {
            document.graph_mut().node_mut(layer.node).remove_attribute("spatial");
        }
        Self { document, folder, names, gone, outputs: Vec::new() }
    }

    pub(super) fn document_mut(&mut self) -> &mut Document {
        &mut self.document
    }

    pub(super) fn opset(&self) -> i64 {
        self.document.opset()
    }

    /// Whether a value is an output of a layer that it does not have in inference.
    pub(super) fn is_gone(&self, name: &str) -> bool {
        self.gone.contains_key(name)
    }

    /// A name that nothing has.
    pub(super) fn fresh(&mut self, wish: &str) -> String {
        fresh(wish, &mut self.names)
    }

    /// Adds a stored tensor.
    pub(super) fn store(&mut self, tensor: Tensor) {
        // Before IR version 4 each stored tensor is an input, too.
        let input = (self.document.ir_version() < 4).then(|| {
            let extents = tensor.dims().iter().map(|&dim| Extent::Fixed(dim)).collect();
            ValueInfo::new(tensor.name(), tensor.element(), Some(extents))
        });
        let graph = self.document.graph_mut();
        graph.add_initializer(tensor);
        input.into_iter().for_each(|input| graph.add_input(input));
    }

    /// Makes a value an output. Outputs come in the order of these calls.
    pub(super) fn tap(&mut self, tap: &Tap<'_>) {
        let (value, node, element) = match tap {
            Tap::Shape(value) => (*value, Node::new("Shape", "", &[], &[]), ElementType::Int64),
            Tap::Values(value, element) if self.opset() < 6 => {
                (*value, Node::new("Identity", "", &[], &[]), *element)
            }
            Tap::Values(value, element) => {
                let to = if *element == ElementType::Double { *element } else { ElementType::Float };
                let mut cast = Node::new("Cast", "", &[], &[]);
                cast.set_attribute("to", AttributeValue::Int(to.number()));
                (*value, cast, to)
            }
        };
        let output = self.fresh(&format!("{value}.tap"));
        let mut node = node;
        node.set_inputs(vec![value.to_owned()]);
        node.set_outputs(vec![output.clone()]);
        let graph = self.document.graph_mut();
        let last = graph.nodes().len().checked_sub(1);
        graph.insert_after(last, node);
        self.outputs.push(ValueInfo::new(&output, element, None));
    }

    /// Leaves out what no output needs.
    fn prune(&mut self) -> Result<()> {
        let outputs = self.outputs.clone();
        let graph = self.document.graph_mut();
        graph.set_outputs(outputs);
        let mut makers: HashMap<&str, usize> = HashMap::new();
        for (index, node) in graph.nodes().iter().enumerate() {
            makers.extend(node.outputs().iter().map(|name| (name.as_str(), index)));
        }
        let mut needed: HashSet<String> = HashSet::new();
        let mut kept = vec![false; graph.nodes().len()];
        let mut open: Vec<&str> = graph.outputs().iter().map(ValueInfo::name).collect();
        while let Some(name) = open.pop() {
            if !needed.insert(name.to_owned()) {
                continue;
            }
            match (makers.get(name), self.gone.get(name)) {
                (Some(&index), _) if !kept[index] => {
                    kept[index] = true;
                    open.extend(taken(&graph.nodes()[index]));
                }
                (None, Some(layer)) => {
                    let (layer, output) = (layer.clone(), name.to_owned());
                    return Err(RecalibrateError::ExtraOutputs { layer, output });
                }
                _ => {}
            }
        }
        for index in (0..kept.len()).rev().filter(|&index| !kept[index]) {
            graph.remove_node(index);
        }
        let unused = |name: &&str| !needed.contains(*name);
        let tensors: Vec<&str> =
            graph.initializers().iter().map(|tensor| tensor.name()).filter(unused).collect();
        let values: Vec<&str> = graph.values().iter().map(ValueInfo::name).filter(unused).collect();
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let (tensors, values) = (owned(tensors), owned(values));
        tensors.iter().for_each(|name| graph.remove_initializer(name));
        values.iter().for_each(|name| graph.remove_value(name));
        Ok(())
    }

    /// The model in a runtime, and about how much of the whole model's work it does.
    pub(super) fn load(mut self, runtime: &dyn Runtime) -> Result<Box<dyn Session>> {
        self.prune()?;
        let bytes = self.document.to_bytes()?;
        let folder = self.folder.as_deref();
        Ok(runtime.load(ModelSource::Bytes { bytes: &bytes, folder })?)
    }

    /// About how much work the model does, in some unit.
    pub(super) fn weight(mut self) -> Result<u64> {
        self.prune()?;
        let nodes = self.document.graph().nodes();
        Ok(1 + 8 * nodes.iter().filter(|node| HEAVY.contains(&node.op())).count() as u64)
    }
}

/// Takes layers out of training mode and dropout out of effect, in a graph and those inside it.
fn in_inference(graph: &mut Graph, opset: i64, gone: &mut HashMap<String, String>) {
    for node in graph.nodes_mut() {
        if BatchNormalization::is(node) {
            let extra = node.outputs().iter().skip(1).filter(|name| !name.is_empty());
            gone.extend(extra.map(|name| (name.clone(), node.title().to_owned())).collect::<Vec<_>>());
            if node.outputs().len() > 1 {
                let first = node.outputs()[0].clone();
                node.set_outputs(vec![first]);
            }
            node.remove_attribute("training_mode");
            if opset < 7 && node.int("is_test") != Some(1) {
                node.set_attribute("is_test", AttributeValue::Int(1));
            }
        } else if node.is("Dropout") {
            if opset < 7 && node.int("is_test") != Some(1) {
                node.set_attribute("is_test", AttributeValue::Int(1));
            }
            if node.input(2).is_some() {
                let inputs = node.inputs()[..2].to_vec();
                node.set_inputs(inputs);
            }
        }
        for graph in node.graphs_mut() {
            in_inference(graph, opset, gone);
        }
    }
}
