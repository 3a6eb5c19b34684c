//! Batch-norm layers as a multiplication and an addition.

use std::sync::Arc;

use batchnorm::fold::{Affine, FoldError, Storable, store};
use batchnorm::health::Numbers;
use batchnorm::{bf16, f16};

use super::element::Elements;
use super::report::{Change, Place, Refusal, Refused, Report, User, What};
use crate::onnx::document::{
    AttributeValue, Document, DocumentError, ElementType, Extent, Node, Tensor, ValueInfo,
};
use crate::onnx::layers::{
    BatchNormalization, FreshNames, Home, Mode, Parameter, Scope, Shapes, find, remove_unused,
};

/// Replaces every batch-norm layer by `Mul` and `Add` of constants, for runtimes that have no `BatchNormalization`.
///
/// ```text
/// y = s x + t,    s = gamma / sqrt(variance + eps),    t = beta - mean s
/// ```
///
/// s and t are computed in f64 and rounded to the type of x once; numbers below that type's smallest normal one become 0.
///
/// **What it costs.** This is the uncentred form: a layer subtracts the mean before it scales, and this after. The product
/// `s x` is rounded while the mean is still in it, so that the error of y is about the rounding unit times
/// `|mean| / sqrt(variance + eps)` where that is large, instead of times `|y|`: of f32's 24 bits as many are lost as that
/// ratio has, and of f16's 11 likewise. `fold`, which puts s and t into the weights before the layer, costs neither that nor
/// two more passes over the tensor: prefer it where a layer can be folded.
///
/// A layer that trains is refused ([`to_inference`](super::to_inference) comes first), and so is one whose numbers are not
/// stored with the model, whose input has an unknown number of axes or type, or whose s or t the type cannot hold. The
/// constants of the layer go with it where nobody else uses them.
///
/// ```
/// use batchnorm::Momentum;
/// use batchnorm_model::convert::freeze;
/// use batchnorm_model::onnx::document::{Document, Node};
/// use batchnorm_model::onnx::{Dim, Graph, Normalization};
///
/// let mut graph = Graph::new("bn");
/// let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(2)]);
/// let (mean, variance) = (graph.tensor("mean", &[2], &[3.0, 0.0]), graph.tensor("variance", &[2], &[4.0, 1.0]));
/// let (gamma, beta) = (graph.tensor("gamma", &[2], &[1.0, 2.0]), graph.tensor("beta", &[2], &[0.0, 1.0]));
/// let momentum = Momentum::of_old(0.5);
/// let layer = Normalization { gamma: &gamma, beta: &beta, mean: &mean, variance: &variance, eps: 0.0, momentum };
/// let y = graph.batch_normalization("bn", &x, &layer);
/// graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(2)]);
///
/// let mut document = Document::from_bytes(graph.to_bytes()?)?;
/// freeze(&mut document)?;
/// let ops: Vec<&str> = document.graph().nodes().iter().map(Node::op).collect();
/// assert_eq!(ops, ["Mul", "Add"]);
/// let constants = document.graph().initializers();
/// assert_eq!(document.storage().values(&constants[0])?, [0.5, 2.0]);
/// assert_eq!(document.storage().values(&constants[1])?, [-1.5, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If a stored tensor of a layer is damaged, or must not be read.
pub fn freeze(document: &mut Document) -> Result<Report, DocumentError> {
    let mut report = Report::default();
    let mut steps = Vec::new();
    for layer in find(document)? {
        let node = &layer.home.nodes(document)[layer.node];
        if layer.x.is_empty() || layer.y.is_empty() {
            // No valid node.
            continue;
        }
        let place = Place::of(document, &layer.home, node);
        match step(document, &layer)? {
            Ok(step) => {
                let what = What::Frozen { channels: step.scale.len() as u64, flushed: step.flushed };
                report.changes.push(Change { place, what });
                steps.push(step);
            }
            Err(refusal) => report.refused.push(Refused { place, refusal }),
        }
    }
    let mut names = FreshNames::new(document);
    let mut unused: Vec<(Home, String)> = Vec::new();
    for step in &steps {
        let node = &step.home.nodes(document)[step.node];
        let parameters = node.inputs().iter().skip(1).filter(|name| !name.is_empty());
        unused.extend(parameters.map(|name| (step.home.clone(), name.clone())));
    }
    // The innermost first, and the last first: the places of the others stay.
    steps.sort_by_key(|step| std::cmp::Reverse((step.home.steps.len(), step.node)));
    for step in steps {
        step.carry_out(document, &mut names, &mut unused);
    }
    report.removed = remove_unused(document, &unused);
    Ok(report)
}

/// A layer that is replaced.
struct Step {
    home: Home,
    node: usize,
    element: ElementType,
    /// The shape of the constants.
    dims: Vec<u64>,
    /// Operators before set 7 are told along which axis.
    told_axis: bool,
    scale: Vec<f64>,
    shift: Vec<f64>,
    flushed: u64,
}

fn step(document: &Document, layer: &BatchNormalization) -> Result<Result<Step, Refusal>, DocumentError> {
    let scope = Scope::new(document, &layer.home);
    let node = &scope.nodes()[layer.node];
    if layer.mode == Mode::Training {
        return Ok(Err(Refusal::Training));
    }
    if let Some(output) = node.outputs().iter().skip(1).find(|name| !name.is_empty())
        && layer.extra_outputs_used
    {
        let user = scope.consumers(output).first();
        let user = user.map_or(User::Output, |&(user, _)| User::Node(scope.nodes()[user].title().to_owned()));
        return Ok(Err(Refusal::ExtraOutputsUsed { output: output.clone(), user }));
    }
    if !matches!(node.attribute("epsilon"), None | Some(AttributeValue::Float(_))) {
        return Ok(Err(Refusal::NotConstant { what: "eps" }));
    }
    let parameters =
        [("scale", &layer.gamma), ("shift", &layer.beta), ("mean", &layer.mean), ("variance", &layer.variance)];
    let mut numbers = Vec::new();
    for (what, parameter) in parameters {
        match given(document, what, parameter)? {
            Ok(given) => numbers.push(given),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    let given = Numbers {
        gamma: Some(&numbers[0][..]),
        beta: Some(&numbers[1]),
        ..Numbers::new(&numbers[2][..], &numbers[3], layer.eps)
    };
    // Before operator set 15 the scale has the type of x.
    let of_scale = layer.gamma.constant().map(|gamma| gamma.element).filter(|_| document.opset() < 15);
    let element = match Elements::new(document).of(&scope, &layer.x, &layer.y).or(of_scale) {
        Some(element) if element.is_float() => element,
        found => return Ok(Err(Refusal::UnknownType { found })),
    };
    let channels = numbers[0].len() as u64;
    let told_axis = document.opset() < 7;
    let shapes = Shapes::new(document, &scope);
    let dims = match shapes.of(&layer.x).or_else(|| shapes.of(&layer.y)).map(|lengths| lengths.len()) {
        _ if told_axis => vec![channels],
        // Behind the channels there is an axis of length 1 for each of x.
        Some(rank) if rank >= 2 => std::iter::once(channels).chain(std::iter::repeat_n(1, rank - 2)).collect(),
        _ => return Ok(Err(Refusal::UnknownRank)),
    };
    let affine = Affine::new(&given)
        .and_then(|affine| Ok((rounded(element, affine.scale())?, rounded(element, affine.shift())?)));
    Ok(match affine {
        Ok(((scale, scales), (shift, shifts))) => Ok(Step {
            home: layer.home.clone(),
            node: layer.node,
            element,
            dims,
            told_axis,
            scale,
            shift,
            flushed: scales + shifts,
        }),
        Err(error) => Err(Refusal::Numbers(error)),
    })
}

fn given(
    document: &Document,
    what: &'static str,
    parameter: &Parameter,
) -> Result<Result<Vec<f64>, Refusal>, DocumentError> {
    if let Some(constant) = parameter.constant()
        // Up to IR version 3 every stored tensor is listed as an input, and nobody means it.
        && (constant.overridable && document.ir_version() > 3)
    {
        let tensor = constant.stored.as_ref().map_or(what, |(_, name)| name).to_owned();
        return Ok(Err(Refusal::Overridable { tensor }));
    }
    if parameter.constant().is_some_and(|constant| constant.dims.len() > 1) {
        return Ok(Err(Refusal::NotSpatial));
    }
    Ok(parameter.numbers()?.ok_or(Refusal::NotConstant { what }))
}

/// Numbers as a type holds them, and how many became 0.
fn rounded(element: ElementType, values: &[f64]) -> Result<(Vec<f64>, u64), FoldError> {
    fn to<E: Storable + Default + Copy + Into<f64>>(values: &[f64]) -> Result<(Vec<f64>, u64), FoldError> {
        let mut stored = vec![E::default(); values.len()];
        let flushed = store(values, &mut stored)?.flushed;
        Ok((stored.into_iter().map(Into::into).collect(), flushed))
    }
    match element {
        ElementType::Double => to::<f64>(values),
        ElementType::Float16 => to::<f16>(values),
        ElementType::Bfloat16 => to::<bf16>(values),
        _ => to::<f32>(values),
    }
}

impl Step {
    fn carry_out(self, document: &mut Document, names: &mut FreshNames, unused: &mut [(Home, String)]) {
        let Some(node) = self.home.nodes(document).get(self.node) else { return };
        let (title, y) = (node.title().to_owned(), node.outputs()[0].clone());
        let x = node.inputs()[0].clone();
        let name = |names: &mut FreshNames, what: &str| names.make(&format!("{title}_{what}"));
        let (scale, shift) = (name(names, "scale"), name(names, "shift"));
        let scaled = name(names, "scaled");
        let mut add = Node::new("Add", &name(names, "add"), &[&scaled, &shift], &[&y]);
        let Some(nodes) = self.home.nodes_mut(document) else { return };
        let mul = &mut nodes[self.node];
        let attributes: Vec<String> = mul.attributes().iter().map(|one| one.name().to_owned()).collect();
        attributes.iter().for_each(|name| mul.remove_attribute(name));
        mul.set_op("Mul");
        mul.set_inputs(vec![x, scale.clone()]);
        let extra: Vec<String> = mul.outputs().iter().skip(1).cloned().collect();
        mul.set_outputs(vec![scaled]);
        if self.told_axis {
            for node in [&mut *mul, &mut add] {
                node.set_attribute("broadcast", AttributeValue::Int(1));
                node.set_attribute("axis", AttributeValue::Int(1));
            }
        }
        self.home.insert_after(document, Some(self.node), add);
        let mut added = 1;
        if let Some(graph) = self.home.graph_mut(document) {
            extra.iter().for_each(|name| graph.remove_value(name));
        }
        let tensors = [(scale, self.scale), (shift, self.shift)];
        for (name, values) in tensors {
            let tensor = Tensor::made(&name, &self.dims, self.element, Arc::new(values));
            if self.home.is_main() {
                if document.ir_version() <= 3 {
                    let extents = self.dims.iter().map(|&dim| Extent::Fixed(dim)).collect();
                    document.graph_mut().add_input(ValueInfo::new(&name, self.element, Some(extents)));
                }
                document.graph_mut().add_initializer(tensor);
            } else {
                // A function has no stored tensors, and before IR version 4 those of a body are inputs of it.
                let mut constant = Node::new("Constant", &name, &[], &[&name]);
                constant.set_attribute("value", AttributeValue::Tensor(tensor.renamed("").into()));
                self.home.insert_after(document, self.node.checked_sub(1), constant);
                added += 1;
            }
        }
        unused.iter_mut().for_each(|(home, _)| home.follow(&self.home, self.node, added));
    }
}
