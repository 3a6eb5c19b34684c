//! The linear map right before a layer: whether its bias is redundant, and how large its weights become by folding.

use std::collections::HashMap;

use super::finding::{Finding, Severity};
use super::layer::Layer;
use super::numbers::short;
use crate::onnx::document::{Document, DocumentError, Node, Storage};
use crate::onnx::layers::{BatchNormalization, Constant, Home, Scope, Shapes};

/// Beyond this times the median, the median channel has fewer than 8 of the 127 steps that int8 has for the largest weight
/// where a tensor has one scale: 127 / 16.
const WIDE: f64 = 16.0;
/// The largest number of f16.
const F16_LARGEST: f64 = 65504.0;
/// The smallest normal number of f16, 2^-14: below it digits are lost, and many runtimes take 0.
const F16_NORMAL: f64 = 1.0 / (1u32 << 14) as f64;
/// So many elements are read at once.
const CHUNK: usize = 1 << 15;
/// So many elements are computed at most that no file holds: a constant of a few bytes may claim any number.
const COMPUTED: u64 = 1 << 30;

/// A convolution or product, and what it adds.
pub(super) struct LinearMap<'d> {
    node: &'d Node,
    weight: Option<Constant>,
    /// The constant bias, or the name of one that is computed.
    bias: Option<Bias>,
}

struct Bias {
    values: Option<Constant>,
    name: String,
    /// The node that adds it, where that is not the map.
    added_by: Option<String>,
}

impl<'d> LinearMap<'d> {
    /// The map right before a layer, with or without an addition between, if nobody else uses its output.
    pub(super) fn before(
        document: &'d Document,
        scope: &Scope<'d>,
        layer: &BatchNormalization,
    ) -> Result<Option<Self>, DocumentError> {
        let storage = document.storage();
        let Some(last) = own_producer(scope, &layer.x) else { return Ok(None) };
        let (node, mut bias) = match last.op() {
            "Conv" | "ConvTranspose" | "Gemm" | "MatMul" => (last, None),
            "Add" if last.inputs().len() == 2 => {
                let Some((node, bias)) = addition(storage, scope, last)? else { return Ok(None) };
                (node, Some(bias))
            }
            _ => return Ok(None),
        };
        // Of more axes than two, a product's columns are not the layer's channels.
        let rows = || Shapes::new(document, scope).of(&layer.x).is_none_or(|lengths| lengths.len() == 2);
        if node.op() == "MatMul" && !rows() {
            return Ok(None);
        }
        let weight = match node.input(1) {
            Some(name) => scope.constant(storage, name)?,
            None => None,
        };
        if bias.is_none()
            && let Some(name) = node.input(2).filter(|_| node.op() != "MatMul")
        {
            let values = scope.constant(storage, name)?;
            bias = Some(Bias { values, name: name.to_owned(), added_by: None });
        }
        Ok(Some(Self { node, weight, bias }))
    }

    /// The number of channels that it makes, where that is not the length of a row of anything.
    pub(super) fn channels(&self) -> Option<u64> {
        let dims = &self.weight.as_ref()?.dims;
        match self.node.op() {
            "Conv" => dims.first().copied(),
            "ConvTranspose" => dims.get(1)?.checked_mul(self.groups()?),
            _ => None,
        }
    }

    pub(super) fn title(&self) -> &str {
        self.node.title()
    }

    fn groups(&self) -> Option<u64> {
        u64::try_from(self.node.int("group").unwrap_or(1)).ok().filter(|&groups| groups > 0)
    }

    /// Whether its bias is one for each channel: the layer's mean takes it out.
    pub(super) fn redundant_bias(&self, channels: usize) -> Result<Option<Finding>, DocumentError> {
        let Some(bias) = &self.bias else { return Ok(None) };
        if !self.is_per_channel(bias, channels as u64) {
            return Ok(None);
        }
        let of = match &bias.added_by {
            Some(add) => format!("`{}`, which {add} adds to {} {}", bias.name, self.node.op(), self.title()),
            None => format!("`{}` of {} {}", bias.name, self.node.op(), self.title()),
        };
        let zeros = match &bias.values {
            Some(values) if values.len() <= channels as u64 => values.all()?.iter().all(|&value| value == 0.0),
            _ => false,
        };
        let facts = if zeros { format!("{of}: all zeros") } else { of };
        let words = "the bias before the layer is taken out by the layer's mean: in training it learns nothing. Leave it \
                     out of the network (`bias=False`); folding removes one of the two";
        Ok(Some(Finding::new("redundant-bias", Severity::Note, facts, words)))
    }

    /// Its bias for each channel; nothing where it has none, or one that is not for each channel or not known.
    pub(super) fn biases(&self, channels: usize) -> Result<Vec<f64>, DocumentError> {
        let values = self.bias.as_ref().filter(|bias| self.is_per_channel(bias, channels as u64));
        match values.and_then(|bias| bias.values.as_ref()) {
            Some(values) if values.len() == channels as u64 => values.all(),
            _ => Ok(Vec::new()),
        }
    }

    fn is_per_channel(&self, bias: &Bias, channels: u64) -> bool {
        let convolution = matches!(self.node.op(), "Conv" | "ConvTranspose");
        let Some(values) = &bias.values else { return convolution && bias.added_by.is_none() };
        let rank = match (&self.weight, convolution) {
            (Some(weight), true) => weight.dims.len(),
            (None, true) => return bias.added_by.is_none(),
            (_, false) => 2,
        };
        if convolution && bias.added_by.is_none() {
            return true;
        }
        let dims = &values.dims;
        // Of rows, the axis of the channels is the last; the bias may have one number for all.
        let Some(missing) = rank.checked_sub(dims.len()) else { return false };
        dims.iter()
            .enumerate()
            .all(|(axis, &length)| length == 1 || (axis + missing == 1 && length == channels))
    }

    /// The largest size of the weights of each channel, before folding; `None` if they are not constant, or not one row for
    /// each channel.
    pub(super) fn largest_weights(
        &self,
        channels: usize,
        known: &mut Weights,
    ) -> Result<Option<Vec<f64>>, DocumentError> {
        let Some(weight) = &self.weight else { return Ok(None) };
        if !weight.element.is_float() {
            return Ok(None);
        }
        let Some(order) = self.order(&weight.dims) else { return Ok(None) };
        if order.channels() != Some(channels as u64) {
            return Ok(None);
        }
        let alpha = match self.node.op() {
            "Gemm" => f64::from(self.node.float("alpha").unwrap_or(1.0)).abs(),
            _ => 1.0,
        };
        let largest = known.largest(weight, order, channels)?;
        Ok(largest.map(|largest| largest.into_iter().map(|weight| weight * alpha).collect()))
    }

    fn order(&self, dims: &[u64]) -> Option<Order> {
        let product = |dims: &[u64]| dims.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
        let outputs_first =
            |dims: &[u64]| Some(Order { run: product(&dims[1..])?, outputs: dims[0], inputs: 1, groups: 1 });
        let order = match (self.node.op(), dims) {
            ("Conv", [_, _, _, ..]) => outputs_first(dims)?,
            ("ConvTranspose", [inputs, outputs, rest @ ..]) if !rest.is_empty() => {
                let groups = self.groups().filter(|groups| inputs.is_multiple_of(*groups))?;
                Order { run: product(rest)?, outputs: *outputs, inputs: inputs / groups, groups }
            }
            ("Gemm", [_, _]) if self.node.int("transB").unwrap_or(0) != 0 => outputs_first(dims)?,
            ("Gemm" | "MatMul", &[inputs, outputs]) => Order { run: 1, outputs, inputs, groups: 1 },
            _ => return None,
        };
        (product(dims)? > 0).then_some(order)
    }
}

/// The node of this very graph that makes a value which nobody else uses.
fn own_producer<'d>(scope: &Scope<'d>, name: &str) -> Option<&'d Node> {
    let (index, output) = scope.producer(name)?;
    let alone = output == 0 && scope.consumers(name).len() == 1 && !scope.is_output(name);
    let node = &scope.nodes()[index];
    (alone && node.is(node.op())).then_some(node)
}

/// A map and the constant that is added to it.
fn addition<'d>(
    storage: &Storage,
    scope: &Scope<'d>,
    add: &'d Node,
) -> Result<Option<(&'d Node, Bias)>, DocumentError> {
    for (map, other) in [(0, 1), (1, 0)] {
        let (Some(map), Some(name)) = (add.input(map), add.input(other)) else { continue };
        let Some(node) = own_producer(scope, map) else { continue };
        // One of two biases is enough to be told.
        if !matches!(node.op(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul") {
            continue;
        }
        if let Some(values) = scope.constant(storage, name)? {
            let added_by = Some(add.title().to_owned());
            return Ok(Some((node, Bias { values: Some(values), name: name.to_owned(), added_by })));
        }
    }
    Ok(None)
}

/// The order of a weight's elements: for each group, inputs, outputs, and a run of elements of one input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Order {
    run: u64,
    /// Of each group.
    outputs: u64,
    inputs: u64,
    groups: u64,
}

impl Order {
    fn channels(self) -> Option<u64> {
        self.outputs.checked_mul(self.groups)
    }

    /// The output that a run belongs to.
    fn channel(self, run: u64) -> u64 {
        let (row, output) = (run / self.outputs, run % self.outputs);
        row / self.inputs * self.outputs + output
    }
}

/// The weights that were gone through, so that each is read once.
#[derive(Debug)]
pub(super) struct Weights {
    seen: HashMap<(Home, String, Order), Vec<f64>>,
    computed: u64,
}

impl Weights {
    pub(super) fn new() -> Self {
        Self { seen: HashMap::new(), computed: COMPUTED }
    }

    fn largest(
        &mut self,
        weight: &Constant,
        order: Order,
        channels: usize,
    ) -> Result<Option<Vec<f64>>, DocumentError> {
        let key = weight.stored.as_ref().map(|(home, name)| (home.clone(), name.clone(), order));
        if let Some(known) = key.as_ref().and_then(|key| self.seen.get(key)) {
            return Ok(Some(known.clone()));
        }
        if key.is_none() {
            let Some(left) = self.computed.checked_sub(weight.len()) else { return Ok(None) };
            self.computed = left;
        }
        let mut largest = vec![0.0_f64; channels];
        let mut part = vec![0.0; CHUNK.min(weight.len() as usize)];
        let mut first = 0;
        while first < weight.len() {
            let length = (weight.len() - first).min(CHUNK as u64) as usize;
            weight.values.read(first, &mut part[..length])?;
            let mut rest = &part[..length];
            let mut index = first;
            while !rest.is_empty() {
                let left = order.run - index % order.run;
                let (run, after) = rest.split_at(rest.len().min(left as usize));
                let channel = &mut largest[order.channel(index / order.run) as usize];
                *channel = run.iter().fold(*channel, |largest, weight| largest.max(weight.abs()));
                (index, rest) = (index + run.len() as u64, after);
            }
            first += length as u64;
        }
        if let Some(key) = key {
            self.seen.insert(key, largest.clone());
        }
        Ok(Some(largest))
    }
}

/// What the sizes of the folded weights and biases mean for types of fewer bits. Without weights, the scale stands for them.
pub(super) fn of_sizes(layer: &Layer, biases: &[f64]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |code, severity, channels: Vec<usize>, facts: String, words: &str| {
        if !channels.is_empty() {
            findings.push(Finding::new(code, severity, facts, words).of(channels));
        }
    };
    let weights = layer.folded_weights.as_ref().or(layer.scale.as_ref());
    let sizes: Vec<f64> = weights.into_iter().flatten().map(|size| size.abs()).collect();
    let those =
        |is: &dyn Fn(usize) -> bool| (0..sizes.len()).filter(|&channel| is(channel)).collect::<Vec<_>>();
    let bias = |channel: usize| biases.get(channel).map_or(0.0, |bias| bias.abs());
    // Infinity is told of the numbers that it comes from.
    let beyond = |size: f64| size.is_finite() && size > F16_LARGEST;
    let overflow = those(&|channel| beyond(sizes[channel]) || beyond(bias(channel)));
    let most = overflow.iter().map(|&channel| sizes[channel].max(bias(channel))).fold(0.0, f64::max);
    find(
        "fp16-overflow",
        Severity::Warning,
        overflow,
        format!("up to {}", short(most)),
        "folded weights or biases are beyond f16's 65504: they become infinite in half precision. Look for a variance near \
         0; keep the layer in f32 or bf16",
    );
    if layer.folded_weights.is_none() {
        return findings;
    }
    let tiny = those(&|channel| sizes[channel] > 0.0 && sizes[channel] < F16_NORMAL);
    find(
        "fp16-underflow",
        Severity::Note,
        tiny,
        String::new(),
        "all folded weights of a channel are below f16's smallest normal number, 2^-14: in half precision they lose digits, \
         or are 0; keep the layer in f32 or bf16",
    );
    let mut sorted: Vec<f64> = sizes.iter().copied().filter(|size| size.is_finite() && *size > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(&median), Some(&largest)) = (sorted.get(sorted.len() / 2), sorted.last()) else {
        return findings;
    };
    let facts =
        format!("up to {}, {} times the median of {}", short(largest), short(largest / median), short(median));
    find(
        "wide-scales",
        Severity::Note,
        those(&|channel| sizes[channel].is_finite() && sizes[channel] > WIDE * median),
        facts,
        "these channels' folded weights are more than 16 times those of the median channel, which int8 with one scale for \
         the tensor would leave fewer than 8 of its 127 steps: quantize by channel, or equalize the channels before",
    );
    findings
}
