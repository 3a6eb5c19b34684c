//! The layers of an ONNX model.

use std::collections::HashMap;

use super::finding::{Finding, Severity};
use super::layer::{Layer, Neighbour, Values};
use super::map::{LinearMap, Weights, of_sizes};
use super::numbers::{of_eps, of_momentum, of_values};
use crate::onnx::document::{AttributeValue, Document, DocumentError, ElementType};
use crate::onnx::layers::{self, BatchNormalization, Home, Meaning, Mode, Parameter, Scope};

/// The first version of the format in which a stored tensor that is an input as well may be replaced by a caller.
const OVERRIDABLE: i64 = 4;
/// So many numbers of parameters are kept for all layers together: a constant of a few bytes may claim any number.
const KEPT: u64 = 1 << 25;
/// What is right instead of the shapes that were found.
const SHAPES: &str =
    "each parameter should have one number for each channel, and nothing else: export the model anew";

pub(super) fn layers(document: &Document) -> Result<Vec<Layer>, DocumentError> {
    let found = layers::find(document)?;
    let users = Users::of(&found);
    let mut reader = Reader { document, users, weights: Weights::new(), left: KEPT };
    let mut scope: Option<Scope<'_>> = None;
    let mut layers = Vec::new();
    for (index, layer) in found.iter().enumerate() {
        // Most follow another layer of the same graph.
        let here = match scope.take().filter(|scope| *scope.home() == layer.home) {
            Some(scope) => scope,
            None => Scope::new(document, &layer.home),
        };
        layers.push(reader.layer(index, layer, &here)?);
        scope = Some(here);
    }
    Ok(layers)
}

/// The layers that use each stored tensor as a parameter.
struct Users(HashMap<(Home, String), Vec<(usize, String)>>);

impl Users {
    fn of(layers: &[BatchNormalization]) -> Self {
        let mut users = HashMap::<_, Vec<(usize, String)>>::new();
        for (index, layer) in layers.iter().enumerate() {
            for (_, parameter) in parameters(layer) {
                let stored = parameter.constant().and_then(|constant| constant.stored.clone());
                let Some(stored) = stored else { continue };
                let users = users.entry(stored).or_default();
                if users.last().is_none_or(|(last, _)| *last != index) {
                    users.push((index, layer.name.clone()));
                }
            }
        }
        Self(users)
    }

    /// Another layer that uses a parameter of this one.
    fn other(&self, index: usize, parameter: &Parameter) -> Option<&str> {
        let users = self.0.get(parameter.constant()?.stored.as_ref()?)?;
        users.iter().find(|(user, _)| *user != index).map(|(_, name)| name.as_str())
    }
}

fn parameters(layer: &BatchNormalization) -> [(&'static str, &Parameter); 4] {
    [("gamma", &layer.gamma), ("beta", &layer.beta), ("mean", &layer.mean), ("variance", &layer.variance)]
}

struct Reader<'d> {
    document: &'d Document,
    users: Users,
    weights: Weights,
    left: u64,
}

impl<'d> Reader<'d> {
    fn layer(
        &mut self,
        index: usize,
        found: &BatchNormalization,
        scope: &Scope<'d>,
    ) -> Result<Layer, DocumentError> {
        let mut findings = self.of_parameters(index, found);
        let (values, too_many) = self.values(found)?;
        findings.extend(too_many);
        let training = found.mode == Mode::Training;
        findings.extend(of_eps(found.eps));
        findings.extend(of_momentum(found.momentum, training));
        findings.extend(of_mode(found));
        findings.extend(of_values(&values, found.eps, None, smallest_normal(&found.variance)));
        let channels = found.channels().and_then(|channels| usize::try_from(channels).ok());
        let affine = values.affine(found.eps);
        let mut layer = Layer {
            name: found.name.clone(),
            inside: inside(self.document, &found.home),
            channels,
            producer: producer(scope, &found.x),
            consumers: consumers(scope, &found.y),
            mode: Some(found.mode),
            eps: Some(found.eps),
            eps_given: found.eps_given,
            momentum: Some(found.momentum),
            batches: None,
            mean_in_sigmas: values.mean_in_sigmas(found.eps),
            values,
            scale: None,
            folded_weights: None,
            findings,
            fold: None,
        };
        let map = LinearMap::before(self.document, scope, found)?;
        if let (Some(map), Some(channels)) = (&map, channels) {
            layer.findings.extend(map.redundant_bias(channels)?);
            layer.findings.extend(other_channels(map, channels));
        }
        if let Some((scale, mut shift)) = affine {
            if let Some(map) = &map {
                let largest = map.largest_weights(scale.len(), &mut self.weights)?;
                let folded = |largest: Vec<f64>| largest.iter().zip(&scale).map(|(w, s)| w * s.abs()).collect();
                layer.folded_weights = largest.map(folded);
                for ((shift, scale), bias) in shift.iter_mut().zip(&scale).zip(map.biases(scale.len())?) {
                    *shift += scale * bias;
                }
            }
            layer.scale = Some(scale);
            layer.findings.extend(of_sizes(&layer, &shift));
        }
        layer.sort_findings();
        Ok(layer)
    }

    /// The numbers, and a finding where they are too many to be looked at.
    fn values(&mut self, layer: &BatchNormalization) -> Result<(Values, Option<Finding>), DocumentError> {
        let constants = parameters(layer).map(|(_, parameter)| parameter.constant());
        let count =
            constants.into_iter().flatten().fold(0_u64, |sum, constant| sum.saturating_add(constant.len()));
        let Some(left) = self.left.checked_sub(count) else {
            let words = "the parameters are more numbers than are looked at: no network has as many";
            let finding = Finding::new("not-read", Severity::Warning, format!("{count} numbers"), words);
            return Ok((Values::default(), Some(finding)));
        };
        self.left = left;
        let values = Values {
            gamma: layer.gamma.numbers()?,
            beta: layer.beta.numbers()?,
            mean: layer.mean.numbers()?,
            variance: layer.variance.numbers()?,
        };
        Ok((values, None))
    }

    /// What is remarkable about where the parameters are and what shape they have.
    fn of_parameters(&self, index: usize, layer: &BatchNormalization) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |code, severity, those: &[String], words: &str| {
            if !those.is_empty() {
                findings.push(Finding::new(code, severity, those.join(", "), words));
            }
        };
        let all = parameters(layer);
        let those = |tell: &dyn Fn(&'static str, &Parameter) -> Option<String>| -> Vec<String> {
            all.iter().filter_map(|(what, parameter)| tell(what, parameter)).collect()
        };
        let missing =
            those(&|what, parameter| matches!(parameter, Parameter::Missing).then(|| what.to_owned()));
        let words = "the operator takes five inputs, and no runtime can go on without: export the model anew";
        find("missing-parameters", Severity::Error, &missing, words);
        let runtime = those(&|what, parameter| match parameter {
            Parameter::Runtime(name) => Some(format!("{what} (`{name}`)")),
            _ => None,
        });
        let words = "these are computed or given when the model runs, so that nothing can be said of them here and the \
                     layer cannot be folded: export with constant parameters, or fold constants first";
        find("runtime-parameters", Severity::Note, &runtime, words);
        find("parameter-shapes", Severity::Error, &shapes(layer), SHAPES);
        let shared =
            those(&|what, parameter| Some(format!("{what} with {}", self.users.other(index, parameter)?)));
        let words = "one stored tensor is a parameter of several layers: whoever changes it for one changes it for all; \
                     `batchnorm recalibrate` and `fold` give each its own";
        find("shared-parameters", Severity::Note, &shared, words);
        let replaceable = those(&|what, parameter| {
            let constant = parameter.constant()?;
            (constant.overridable && self.document.ir_version() >= OVERRIDABLE).then(|| what.to_owned())
        });
        let words = "these are inputs of the model as well, so that a caller may give others: folding would take that away; \
                     export without `keep_initializers_as_inputs`";
        find("overridable-parameters", Severity::Note, &replaceable, words);
        findings
    }
}

/// What is wrong with the shapes of the parameters.
fn shapes(layer: &BatchNormalization) -> Vec<String> {
    let known = || {
        parameters(layer).into_iter().filter_map(|(what, parameter)| Some((what, &parameter.constant()?.dims)))
    };
    let mut lengths = known().map(|(_, dims)| dims);
    let first = lengths.next();
    let ranks = !layer.spatial || known().all(|(_, dims)| dims.len() == 1);
    if ranks && lengths.all(|dims| Some(dims) == first) {
        return Vec::new();
    }
    known().map(|(what, dims)| format!("{what} {dims:?}")).collect()
}

fn other_channels(map: &LinearMap<'_>, channels: usize) -> Option<Finding> {
    let makes = map.channels().filter(|&makes| makes != channels as u64)?;
    let facts = format!("{} makes {makes} channels, the layer has {channels}", map.title());
    Some(Finding::new("parameter-shapes", Severity::Error, facts, SHAPES))
}

fn of_mode(layer: &BatchNormalization) -> Vec<Finding> {
    let mut findings = Vec::new();
    if layer.mode == Mode::Training {
        let facts = if layer.extra_outputs_used { "its new statistics are used" } else { "" };
        let words = "the layer takes the statistics of the batch, so that an output depends on what else is in the batch: \
                     `batchnorm convert --to-inference`, or export in evaluation mode";
        findings.push(Finding::new("training-mode", Severity::Warning, facts, words));
    }
    if !layer.spatial {
        let words = "`spatial` is 0: by the definition each position has statistics of its own, MXNet wrote it and meant \
                     channels, and runtimes disagree; export with operator set 9 or later";
        findings.push(Finding::new("not-spatial", Severity::Warning, "", words));
    }
    findings
}

/// The smallest normal number of the type that a parameter is stored in.
fn smallest_normal(parameter: &Parameter) -> f64 {
    match parameter.constant().map(|constant| constant.element) {
        Some(ElementType::Float16) => half::f16::MIN_POSITIVE.to_f64(),
        Some(ElementType::Double) => f64::MIN_POSITIVE,
        _ => f64::from(f32::MIN_POSITIVE),
    }
}

fn producer(scope: &Scope<'_>, x: &str) -> Option<Neighbour> {
    if let Some((index, _)) = scope.producer(x) {
        return Some(node(scope, index));
    }
    match scope.meaning(x) {
        Meaning::Node { node, .. } => {
            Some(Neighbour::Node { op: node.op().to_owned(), name: node.title().to_owned() })
        }
        Meaning::Input => Some(Neighbour::Input(x.to_owned())),
        Meaning::Initializer { .. } => Some(Neighbour::Tensor(x.to_owned())),
        Meaning::Unknown => None,
    }
}

fn consumers(scope: &Scope<'_>, y: &str) -> Vec<Neighbour> {
    let mut indices: Vec<usize> = scope.consumers(y).iter().map(|&(index, _)| index).collect();
    indices.sort_unstable();
    indices.dedup();
    let mut consumers: Vec<Neighbour> = indices.into_iter().map(|index| node(scope, index)).collect();
    if scope.is_output(y) {
        consumers.push(Neighbour::Output(y.to_owned()));
    }
    consumers
}

fn node(scope: &Scope<'_>, index: usize) -> Neighbour {
    let node = &scope.nodes()[index];
    Neighbour::Node { op: node.op().to_owned(), name: node.title().to_owned() }
}

/// The way to a graph that is not the model's own.
fn inside(document: &Document, home: &Home) -> Option<String> {
    if home.is_main() {
        return None;
    }
    let mut way = Vec::new();
    let mut nodes = document.graph().nodes();
    if let Some(function) = home.function.and_then(|index| document.functions().nth(index)) {
        way.push(format!("function {}", function.name()));
        nodes = function.nodes();
    }
    for &(node, attribute) in &home.steps {
        let Some(node) = nodes.get(node) else { break };
        let Some(attribute) = node.attributes().get(attribute) else { break };
        way.push(format!("{} of {} {}", attribute.name(), node.op(), node.title()));
        let AttributeValue::Graph(graph) = attribute.value() else { break };
        nodes = graph.nodes();
    }
    Some(way.join(", "))
}
