//! The type and the number of axes of values, from what the model says of them and from the operators that make them:
//! exporters often say it of inputs and outputs alone.

use std::collections::HashMap;

use crate::onnx::document::{AttributeValue, Document, ElementType, Node, ValueInfo};
use crate::onnx::layers::{Home, Meaning, Scope};

/// Operators one after the other are followed so far.
const DEPTH: usize = 256;

/// What is known of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    pub element: Option<ElementType>,
    pub rank: Option<usize>,
}

impl Kind {
    fn or(self, other: Self) -> Self {
        Self { element: self.element.or(other.element), rank: self.rank.or(other.rank) }
    }

    fn is_known(self) -> bool {
        self.element.is_some() && self.rank.is_some()
    }

    fn said(value: &ValueInfo) -> Self {
        Self { element: value.element(), rank: value.extents().map(<[_]>::len) }
    }
}

/// Looks up the values of one graph.
pub(super) struct Kinds<'s, 'd> {
    scope: &'s Scope<'d>,
    document: &'d Document,
    said: HashMap<&'d str, Kind>,
    found: HashMap<String, Kind>,
}

impl<'s, 'd> Kinds<'s, 'd> {
    pub(super) fn new(document: &'d Document, scope: &'s Scope<'d>) -> Self {
        let (home, mut said) = (scope.home(), HashMap::new());
        // From the outermost graph inwards: the innermost has the last word.
        for depth in 0..=home.steps.len() {
            let around = Home { function: home.function, steps: home.steps[..depth].to_vec() };
            if let Some(graph) = around.graph(document) {
                let values = [graph.outputs(), graph.inputs(), graph.values()];
                said.extend(values.into_iter().flatten().map(|value| (value.name(), Kind::said(value))));
            }
        }
        Self { scope, document, said, found: HashMap::new() }
    }

    /// What is known of a value, or of one that has the same type and shape.
    pub(super) fn of(&mut self, name: &str, same: &str) -> Kind {
        let said = self.said.get(same).copied().unwrap_or_default();
        self.find(name, DEPTH).or(said)
    }

    fn find(&mut self, name: &str, depth: usize) -> Kind {
        let said = self.said.get(name).copied().unwrap_or_default();
        if said.is_known() || depth == 0 {
            return said;
        }
        if let Some(&found) = self.found.get(name) {
            return found;
        }
        // Nobody comes back here, should the graph be a circle.
        self.found.insert(name.to_owned(), said);
        let made = match self.scope.meaning(name) {
            Meaning::Initializer { tensor, .. } => {
                Kind { element: Some(tensor.element()), rank: Some(tensor.dims().len()) }
            }
            Meaning::Node { node, output: 0 } => self.made(node, depth - 1),
            Meaning::Node { .. } | Meaning::Input | Meaning::Unknown => Kind::default(),
        };
        let kind = said.or(made);
        self.found.insert(name.to_owned(), kind);
        kind
    }

    fn made(&mut self, node: &Node, depth: usize) -> Kind {
        if !node.domain().is_empty() && node.domain() != "ai.onnx" {
            return Kind::default();
        }
        let mut input = |index: usize| node.input(index).map_or(Kind::default(), |name| self.find(name, depth));
        match node.op() {
            "Relu"
            | "LeakyRelu"
            | "Sigmoid"
            | "Tanh"
            | "Elu"
            | "Selu"
            | "Celu"
            | "PRelu"
            | "Clip"
            | "HardSigmoid"
            | "HardSwish"
            | "Softplus"
            | "Softsign"
            | "Erf"
            | "Gelu"
            | "Mish"
            | "Identity"
            | "Dropout"
            | "BatchNormalization"
            | "InstanceNormalization"
            | "LRN"
            | "Softmax"
            | "LogSoftmax"
            | "MaxPool"
            | "AveragePool"
            | "LpPool"
            | "GlobalAveragePool"
            | "GlobalMaxPool"
            | "Pad"
            | "Transpose"
            | "DepthToSpace"
            | "SpaceToDepth"
            | "Resize"
            | "Upsample"
            | "Slice"
            | "Neg"
            | "Abs"
            | "Sqrt"
            | "Exp"
            | "Concat" => input(0),
            // A weight has as many axes as what it is applied to.
            "Conv" | "ConvTranspose" => input(1).or(input(0)),
            "Gemm" => Kind { rank: Some(2), ..input(1).or(input(0)) },
            "Flatten" => Kind { rank: Some(2), ..input(0) },
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Sum" => {
                let all: Vec<Kind> = (0..node.inputs().len()).map(input).collect();
                let rank = all.iter().map(|kind| kind.rank).reduce(|a, b| Some(a?.max(b?)));
                Kind { element: all.iter().find_map(|kind| kind.element), rank: rank.flatten() }
            }
            "MatMul" => {
                let (a, b) = (input(0), input(1));
                let rank = a.rank.zip(b.rank).filter(|&(a, b)| a >= 2 && b >= 2).map(|(a, b)| a.max(b));
                Kind { rank, ..a.or(b) }
            }
            "Constant" => match node.attribute("value") {
                Some(AttributeValue::Tensor(tensor)) => {
                    Kind { element: Some(tensor.element()), rank: Some(tensor.dims().len()) }
                }
                _ => Kind::default(),
            },
            "Cast" => Kind { element: node.int("to").map(ElementType::from_number), ..input(0) },
            "Reshape" => {
                let element = input(0).element;
                let shape = node.input(1).and_then(|shape| {
                    self.scope.constant(self.document.storage(), shape).ok().flatten().map(|shape| shape.len())
                });
                let rank = shape.map(|length| length as usize).or_else(|| node.ints("shape").map(<[i64]>::len));
                Kind { element, rank }
            }
            _ => Kind::default(),
        }
    }
}
