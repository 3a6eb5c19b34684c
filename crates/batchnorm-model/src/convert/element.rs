//! The type of values, from what the model says of them and from the operators that make them: exporters often say it of
//! inputs and outputs alone.

use std::collections::HashMap;

use crate::onnx::document::{AttributeValue, Document, ElementType, Node};
use crate::onnx::layers::{Home, Meaning, Scope};

/// Operators one after the other are followed so far.
const DEPTH: usize = 256;

/// Looks up the values of one graph.
pub(super) struct Elements<'d> {
    document: &'d Document,
    found: HashMap<String, Option<ElementType>>,
}

impl<'d> Elements<'d> {
    pub(super) fn new(document: &'d Document) -> Self {
        Self { document, found: HashMap::new() }
    }

    /// The type of a value of a scope, or that of one which has the same.
    pub(super) fn of(&mut self, scope: &Scope<'d>, name: &str, same: &str) -> Option<ElementType> {
        self.find(scope, name, DEPTH).or_else(|| said(self.document, scope.home(), same))
    }

    fn find(&mut self, scope: &Scope<'d>, name: &str, depth: usize) -> Option<ElementType> {
        if let Some((caller, given)) = scope.given(name).filter(|_| depth > 0) {
            // Names of another graph: what is known here does not hold there.
            return Elements::new(self.document).find(caller, given, depth - 1);
        }
        let said = said(self.document, scope.home(), name);
        if said.is_some() || depth == 0 {
            return said;
        }
        if let Some(&found) = self.found.get(name) {
            return found;
        }
        // Nobody comes back here, should the graph be a circle.
        self.found.insert(name.to_owned(), None);
        let made = match scope.meaning(name) {
            Meaning::Initializer { tensor, .. } => Some(tensor.element()),
            Meaning::Node { node, output: 0 } => self.made(scope, node, depth - 1),
            Meaning::Node { .. } | Meaning::Input | Meaning::Unknown => None,
        };
        self.found.insert(name.to_owned(), made);
        made
    }

    fn made(&mut self, scope: &Scope<'d>, node: &Node, depth: usize) -> Option<ElementType> {
        if !node.domain().is_empty() && node.domain() != "ai.onnx" {
            return None;
        }
        match node.op() {
            // All of their inputs, those that are numbers and not shapes, have the type of the output.
            "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min"
            | "Sum" | "Concat" | "PRelu" => node
                .inputs()
                .iter()
                .filter(|name| !name.is_empty())
                .find_map(|name| self.find(scope, name, depth)),
            "Relu"
            | "LeakyRelu"
            | "Sigmoid"
            | "Tanh"
            | "Elu"
            | "Selu"
            | "Celu"
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
            | "Flatten"
            | "Reshape"
            | "Squeeze"
            | "Unsqueeze" => self.find(scope, node.input(0)?, depth),
            "Constant" => match node.attribute("value") {
                Some(AttributeValue::Tensor(tensor)) => Some(tensor.element()),
                _ => None,
            },
            "Cast" => node.int("to").map(ElementType::from_number),
            _ => None,
        }
    }
}

/// What a graph says of a value, or one around it.
fn said(document: &Document, home: &Home, name: &str) -> Option<ElementType> {
    (0..=home.steps.len()).rev().find_map(|depth| {
        let around = Home { function: home.function, steps: home.steps[..depth].to_vec() };
        around.graph(document)?.value(name)?.element()
    })
}
