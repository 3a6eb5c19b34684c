//! Which layers are recalibrated, and which of them in one pass.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Finding, RecalibrateError};
use crate::onnx::document::{AttributeValue, Document, ElementType, Graph, Node};
use crate::onnx::layers::{BatchNormalization, Home, Mode, Parameter, Scope, find};
use crate::pattern;

type Result<T, E = RecalibrateError> = std::result::Result<T, E>;

/// Where a layer keeps one of its statistics, and where the new one goes.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Which of the node's inputs it is.
    pub(super) input: usize,
    /// The value there now.
    pub(super) old: String,
    /// The stored tensor for the new one: the old one, unless others use that or it is no stored tensor.
    pub(super) name: String,
    /// The type it is kept in.
    pub(super) element: ElementType,
}

impl Slot {
    /// Whether the new statistic gets a tensor of its own.
    pub(super) fn is_fresh(&self) -> bool {
        self.old != self.name
    }
}

/// A layer to be recalibrated.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) name: String,
    /// Its index among the main graph's nodes.
    pub(super) node: usize,
    pub(super) x: String,
    pub(super) channels: usize,
    pub(super) eps: f64,
    /// The type of its scale; before operator set 15 that of its input as well.
    pub(super) element: ElementType,
    pub(super) spatial: bool,
    pub(super) old_mean: Vec<f64>,
    pub(super) old_variance: Vec<f64>,
    pub(super) mean: Slot,
    pub(super) variance: Slot,
}

/// The layers, and what was noticed about them.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) layers: Vec<Layer>,
    /// Indices of layers that are measured in one pass, in the order of the passes.
    pub(super) groups: Vec<Vec<usize>>,
    pub(super) findings: Vec<Finding>,
}

impl Selection {
    pub(super) fn new(document: &Document, patterns: &[String]) -> Result<Self> {
        let all = find(document)?;
        for pattern in patterns {
            if !all.iter().any(|layer| pattern::matches(pattern, &layer.name)) {
                let layers = all.iter().map(|layer| layer.name.clone()).collect();
                return Err(RecalibrateError::NoMatch { pattern: pattern.clone(), layers });
            }
        }
        let wanted = |layer: &&BatchNormalization| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern::matches(pattern, &layer.name))
        };
        let scope = Scope::new(document, &Home::default());
        let mut names = all_names(document);
        let (mut layers, mut findings) = (Vec::new(), Vec::new());
        for layer in all.iter().filter(wanted) {
            let finding = |code, message: String| Finding { code, layer: layer.name.clone(), message };
            if !layer.home.is_main() {
                let place = if layer.home.function.is_some() { "a function" } else { "a branch or loop" };
                let message =
                    format!("inside {place} of the model, whose values cannot be seen; left as it is");
                findings.push(finding("nested", message));
                continue;
            }
            if !layer.spatial && layer.mean.constant().is_some_and(|mean| mean.dims.len() != 1) {
                let message = "has statistics for each position (spatial = 0); left as it is".to_owned();
                findings.push(finding("per-position", message));
                continue;
            }
            if layer.mode == Mode::Training {
                let message = "in training mode, in which it does not use the statistics that it keeps; \
                               `batchnorm convert --to-inference` makes it use them"
                    .to_owned();
                findings.push(finding("training-mode", message));
            }
            let new = one(layer, &scope, document.graph(), &mut names)?;
            if new.mean.is_fresh() || new.variance.is_fresh() {
                let message =
                    "kept statistics that others use or that a node makes; it gets its own".to_owned();
                findings.push(finding("shared-statistics", message));
            }
            let overridable = |parameter: &Parameter| parameter.constant().is_some_and(|one| one.overridable);
            if document.ir_version() >= 4 && (overridable(&layer.mean) || overridable(&layer.variance)) {
                let message = "a caller may give other statistics when the model runs".to_owned();
                findings.push(finding("overridable-statistics", message));
            }
            layers.push(new);
        }
        if layers.is_empty() {
            let reasons = findings.iter().map(|finding| format!("`{}` {}", finding.layer, finding.message));
            return Err(RecalibrateError::NoLayers { reasons: reasons.collect() });
        }
        let groups = groups(document.graph(), &layers);
        Ok(Self { layers, groups, findings })
    }
}

fn one(
    layer: &BatchNormalization,
    scope: &Scope<'_>,
    graph: &Graph,
    names: &mut HashSet<String>,
) -> Result<Layer> {
    let node = &graph.nodes()[layer.node];
    let numbers = |parameter: &Parameter, statistic: &'static str| -> Result<Vec<f64>> {
        let missing = |value: &str| RecalibrateError::RuntimeStatistics {
            layer: layer.name.clone(),
            statistic,
            value: value.to_owned(),
        };
        match parameter {
            Parameter::Runtime(value) => Err(missing(value)),
            Parameter::Missing => Err(missing("")),
            Parameter::Constant(constant) => parameter.numbers()?.ok_or_else(|| RecalibrateError::Channels {
                layer: layer.name.clone(),
                what: statistic,
                channels: constant.dims.first().map_or(1, |&dim| dim as usize),
                found: format!("the shape {:?}", constant.dims),
            }),
        }
    };
    let old_mean = numbers(&layer.mean, "mean")?;
    let old_variance = numbers(&layer.variance, "variance")?;
    if old_mean.len() != old_variance.len() {
        return Err(RecalibrateError::Channels {
            layer: layer.name.clone(),
            what: "mean",
            channels: old_mean.len(),
            found: format!("a variance of {}", old_variance.len()),
        });
    }
    let mut slot = |parameter: &Parameter, input: usize, statistic: &str| {
        let old = node.input(input).unwrap_or_default().to_owned();
        let constant = parameter.constant();
        let stored = constant.is_some_and(|constant| {
            constant.stored.as_ref().is_some_and(|(home, name)| home.is_main() && *name == old)
        });
        let alone = stored && scope.consumers(&old).len() == 1 && !scope.is_output(&old);
        let name = if alone { old.clone() } else { fresh(&format!("{}.{statistic}", layer.name), names) };
        let element = constant.map_or(ElementType::Float, |constant| constant.element);
        Slot { input, old, name, element: if element.is_float() { element } else { ElementType::Float } }
    };
    let (mean, variance) = (slot(&layer.mean, 3, "running_mean"), slot(&layer.variance, 4, "running_var"));
    let element = layer.gamma.constant().or(layer.beta.constant()).map_or(mean.element, |gamma| gamma.element);
    Ok(Layer {
        name: layer.name.clone(),
        node: layer.node,
        x: layer.x.clone(),
        channels: old_mean.len(),
        eps: layer.eps,
        element,
        spatial: layer.spatial,
        old_mean,
        old_variance,
        mean,
        variance,
    })
}

/// A name that nothing has.
pub(super) fn fresh(wish: &str, names: &mut HashSet<String>) -> String {
    let numbered = (1_u32..).map(|number| format!("{wish}.{number}"));
    let name = std::iter::once(wish.to_owned()).chain(numbered).find(|name| !names.contains(name));
    let name = name.unwrap_or_default();
    names.insert(name.clone());
    name
}

/// Every name of a value, wherever in the model.
pub(super) fn all_names(document: &Document) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut graphs = vec![document.graph()];
    while let Some(graph) = graphs.pop() {
        names.extend(graph.initializers().iter().map(|tensor| tensor.name().to_owned()));
        for values in [graph.inputs(), graph.outputs(), graph.values()] {
            names.extend(values.iter().map(|value| value.name().to_owned()));
        }
        for node in graph.nodes() {
            names.extend(node.inputs().iter().chain(node.outputs()).cloned());
            names.insert(node.name().to_owned());
            graphs.extend(node.graphs().map(|(_, graph)| graph));
        }
    }
    names
}

/// The names that a node takes, and those that the graphs inside it take from around it. A name more does no harm.
pub(super) fn taken(node: &Node) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut nodes = vec![node];
    while let Some(node) = nodes.pop() {
        names.extend(node.inputs().iter().map(String::as_str).filter(|name| !name.is_empty()));
        for attribute in node.attributes() {
            if let AttributeValue::Graph(graph) = attribute.value() {
                nodes.extend(graph.nodes());
                names.extend(graph.outputs().iter().map(|output| output.name()));
            }
        }
    }
    names
}

/// Layers with no path between them, by how many layers lie before them.
fn groups(graph: &Graph, layers: &[Layer]) -> Vec<Vec<usize>> {
    let by_node: HashMap<usize, usize> =
        layers.iter().enumerate().map(|(index, layer)| (layer.node, index)).collect();
    // How many layers lie before a value, on the path with the most of them.
    let mut depths: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        let mut depth = taken(node).iter().filter_map(|name| depths.get(name)).max().copied().unwrap_or(0);
        if let Some(&layer) = by_node.get(&index) {
            if groups.len() <= depth {
                groups.resize(depth + 1, Vec::new());
            }
            groups[depth].push(layer);
            depth += 1;
        }
        for output in node.outputs().iter().filter(|name| !name.is_empty()) {
            depths.insert(output, depth);
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}
