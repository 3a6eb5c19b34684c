//! `BatchNormalization`, in all of its versions, as one meaning.
//!
//! | operator set | what it says |
//! |---|---|
//! | 1 to 6 | `is_test`; `spatial`; 1 to 5 outputs |
//! | 7, 8 | no `is_test`: it trains if outputs beyond the first are there; `spatial` |
//! | 9 to 13 | no `spatial` any more |
//! | 14 on | `training_mode`; 1 or 3 outputs; in 15, types of their own for parameters and statistics |
//!
//! Source: <https://onnx.ai/onnx/operators/onnx__BatchNormalization.html>.

use batchnorm::BatchNormConfig;

use super::constant::Constant;
use super::scope::{Home, Scope};
use crate::onnx::document::{Document, DocumentError, Node};

/// Whether a layer takes the statistics of the batch or the stored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The stored ones.
    Inference,
    /// The batch's.
    Training,
}

impl Mode {
    /// What a node of an operator set does.
    pub fn of(opset: i64, node: &Node) -> Self {
        let extra = node.outputs().iter().skip(1).any(|name| !name.is_empty());
        let training = match opset {
            ..7 => node.int("is_test").unwrap_or(0) == 0,
            7..14 => extra,
            _ => node.int("training_mode").unwrap_or(0) != 0,
        };
        if training { Self::Training } else { Self::Inference }
    }
}

/// One of the four rows of numbers of a layer.
#[derive(Clone, Debug)]
pub enum Parameter {
    /// It is in the model.
    Constant(Constant),
    /// It is computed, or given by a caller, under this name.
    Runtime(String),
    /// It is left out.
    Missing,
}

impl Parameter {
    /// The constant, if it is one.
    pub fn constant(&self) -> Option<&Constant> {
        match self {
            Self::Constant(constant) => Some(constant),
            _ => None,
        }
    }

    /// Its numbers, if it is a constant of rank 1.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn numbers(&self) -> Result<Option<Vec<f64>>, DocumentError> {
        self.constant().filter(|constant| constant.dims.len() == 1).map(Constant::all).transpose()
    }
}

/// A batch-norm layer of a model.
#[derive(Clone, Debug)]
pub struct BatchNormalization {
    /// The graph it is in.
    pub home: Home,
    /// Its index among the graph's nodes.
    pub node: usize,
    /// Its name, or that of its output.
    pub name: String,
    /// The value it normalizes.
    pub x: String,
    /// The value it makes.
    pub y: String,
    /// What is added to the variance; ONNX's default where the node does not say.
    pub eps: f64,
    /// Whether the node says its eps.
    pub eps_given: bool,
    /// The weight of the old statistics in an update; ONNX's default where the node does not say.
    pub momentum: f64,
    /// Whether it takes the statistics of the batch.
    pub mode: Mode,
    /// Whether a channel's positions share their statistics, as they should; before operator set 9 they may not.
    pub spatial: bool,
    /// Outputs beyond the first that somebody uses.
    pub extra_outputs_used: bool,
    /// The scale.
    pub gamma: Parameter,
    /// The shift.
    pub beta: Parameter,
    /// The running mean.
    pub mean: Parameter,
    /// The running variance, of the population.
    pub variance: Parameter,
}

impl BatchNormalization {
    /// The number of channels, as far as the parameters tell.
    pub fn channels(&self) -> Option<u64> {
        [&self.variance, &self.mean, &self.gamma, &self.beta].into_iter().find_map(|parameter| {
            parameter.constant().filter(|constant| constant.dims.len() == 1).map(Constant::len)
        })
    }

    /// Whether a node is a batch-norm layer.
    pub fn is(node: &Node) -> bool {
        node.is("BatchNormalization")
    }

    /// The layer that a node of a scope is.
    ///
    /// # Errors
    ///
    /// If a stored tensor of it is damaged, or must not be read.
    pub fn new(document: &Document, scope: &Scope<'_>, index: usize) -> Result<Self, DocumentError> {
        let node = &scope.nodes()[index];
        let opset = document.opset();
        let parameter = |input: usize| -> Result<Parameter, DocumentError> {
            let Some(name) = node.input(input) else { return Ok(Parameter::Missing) };
            Ok(match scope.constant(document.storage(), name)? {
                Some(constant) => Parameter::Constant(constant),
                None => Parameter::Runtime(name.to_owned()),
            })
        };
        let extra = || node.outputs().iter().skip(1).filter(|name| !name.is_empty());
        let defaults = BatchNormConfig::onnx();
        Ok(Self {
            home: scope.home().clone(),
            node: index,
            name: node.title().to_owned(),
            x: node.input(0).unwrap_or_default().to_owned(),
            y: node.output(0).unwrap_or_default().to_owned(),
            eps: node.float("epsilon").map_or(defaults.eps, f64::from),
            eps_given: node.float("epsilon").is_some(),
            momentum: node.float("momentum").map_or(defaults.momentum.weights(1).0, f64::from),
            mode: Mode::of(opset, node),
            spatial: opset >= 9 || node.int("spatial").unwrap_or(1) != 0,
            extra_outputs_used: extra().any(|name| !scope.consumers(name).is_empty() || scope.is_output(name)),
            gamma: parameter(1)?,
            beta: parameter(2)?,
            mean: parameter(3)?,
            variance: parameter(4)?,
        })
    }
}

/// All batch-norm layers of a model, in the order of its nodes; those of graphs inside nodes where the node is, those of
/// functions at the end.
///
/// # Errors
///
/// If a stored tensor of one is damaged, or must not be read.
pub fn find(document: &Document) -> Result<Vec<BatchNormalization>, DocumentError> {
    let mut layers = Vec::new();
    inside(document, &Home::default(), &mut layers)?;
    for function in 0..document.functions().len() {
        inside(document, &Home { function: Some(function), steps: Vec::new() }, &mut layers)?;
    }
    Ok(layers)
}

fn inside(document: &Document, home: &Home, layers: &mut Vec<BatchNormalization>) -> Result<(), DocumentError> {
    let nodes = home.nodes(document);
    let any = nodes.iter().any(BatchNormalization::is);
    let scope = any.then(|| Scope::new(document, home));
    for (index, node) in nodes.iter().enumerate() {
        if let (true, Some(scope)) = (BatchNormalization::is(node), &scope) {
            layers.push(BatchNormalization::new(document, scope, index)?);
        }
        for (attribute, value) in node.attributes().iter().enumerate() {
            if matches!(value.value(), crate::onnx::document::AttributeValue::Graph(_)) {
                inside(document, &home.inside(index, attribute), layers)?;
            }
        }
    }
    Ok(())
}
