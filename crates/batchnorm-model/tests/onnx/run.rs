//! Models run by tract, against plain loops.

use batchnorm::Momentum;
use batchnorm_model::onnx::{Dim, Graph, Normalization, Value, Window};
use tract_onnx::prelude::*;

use crate::loops::Images;

/// Numbers between -1 and 1 that look random and are the same each time.
pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

pub const EPS: f64 = 1e-3;
const CLASSES: usize = 3;
/// Channels, height and width of the input.
const INPUT: [usize; 3] = [4, 6, 5];

/// A tensor in the graph and its values for the loops.
pub fn tensor(graph: &mut Graph, name: &str, shape: &[usize], values: Vec<f32>) -> (Value, Vec<f64>) {
    (graph.tensor(name, shape, &values), wide(&values))
}

/// Gamma, beta, mean and variance of a layer, with one gamma of either sign and one variance near eps.
fn layer(graph: &mut Graph, name: &str, channels: usize, seed: u64) -> ([Value; 4], [Vec<f64>; 4]) {
    let mut variance: Vec<f32> = numbers(channels, seed + 3).iter().map(|v| 0.2 + v * v).collect();
    variance[0] = 0.002;
    let tensors = [
        ("weight", numbers(channels, seed)),
        ("bias", numbers(channels, seed + 1)),
        ("running_mean", numbers(channels, seed + 2)),
        ("running_var", variance),
    ]
    .map(|(part, values)| tensor(graph, &format!("{name}.{part}"), &[channels], values));
    (tensors.each_ref().map(|(value, _)| value.clone()), tensors.each_ref().map(|(_, wide)| wide.clone()))
}

pub fn normalization([gamma, beta, mean, variance]: &[Value; 4]) -> Normalization<'_> {
    Normalization { gamma, beta, mean, variance, eps: EPS, momentum: Momentum::of_new(0.1) }
}

pub fn input(graph: &mut Graph) -> Value {
    let [channels, height, width] = INPUT.map(Dim::Fixed);
    graph.input("x", &[Dim::Symbol("batch"), channels, height, width])
}

pub fn logits(graph: &mut Graph, value: &Value) {
    graph.output("logits", value, &[Dim::Symbol("batch"), Dim::Fixed(CLASSES)]);
}

/// Conv, batch norm, ReLU and a linear map; with what it computes, in loops.
pub fn small() -> (Graph, impl Fn(&Images) -> Vec<f64>) {
    let window = Window { kernel: [3, 2], strides: [2, 1], pads: [1, 0, 1, 1] };
    let mut graph = Graph::new("small");
    let x = input(&mut graph);
    let (weight, wide_weight) = tensor(&mut graph, "conv.weight", &[6, 4, 3, 2], numbers(6 * 4 * 3 * 2, 1));
    let z = graph.conv("conv", &x, &weight, None, &window, 1);
    let (values, wide_layer) = layer(&mut graph, "bn", 6, 2);
    let y = graph.batch_normalization("bn", &z, &normalization(&values));
    let y = graph.relu("relu", &y);
    let y = graph.flatten("flatten", &y);
    let (weight, wide_fc) = tensor(&mut graph, "fc.weight", &[CLASSES, 6 * 3 * 5], numbers(CLASSES * 90, 10));
    let (bias, wide_bias) = tensor(&mut graph, "fc.bias", &[CLASSES], numbers(CLASSES, 11));
    let y = graph.gemm("fc", &y, &weight, Some(&bias));
    logits(&mut graph, &y);
    let wide_weight = Images::new([6, 4, 3, 2], wide_weight);
    (graph, move |x: &Images| {
        x.conv(&wide_weight, None, &window, 1)
            .normalize(&wide_layer, EPS)
            .map(|z| z.max(0.0))
            .gemm(&wide_fc, &wide_bias)
    })
}

/// Every operator once, joined as in residual and inception networks; with what it computes, in loops.
fn all_operators() -> (Graph, impl Fn(&Images) -> Vec<f64>) {
    let (pool, even) = (Window::square(3, 1, 1), Window::square(2, 2, 0));
    let depthwise = Window::square(3, 1, 1);
    let mut graph = Graph::new("all");
    let x = input(&mut graph);
    let (weight, wide_weight) = tensor(&mut graph, "conv.weight", &[4, 1, 3, 3], numbers(36, 20));
    let (bias, wide_bias) = tensor(&mut graph, "conv.bias", &[4], numbers(4, 21));
    let a = graph.conv("conv", &x, &weight, Some(&bias), &depthwise, 4);
    let sum = graph.add("residual", &a, &x);
    let (values, wide_layer) = layer(&mut graph, "bn", 4, 22);
    let y = graph.batch_normalization("bn", &sum, &normalization(&values));
    let branches = [
        graph.relu("relu", &y),
        graph.sigmoid("sigmoid", &y),
        graph.tanh("tanh", &y),
        graph.max_pool("max", &y, &pool),
        graph.average_pool("mean", &y, &pool, true),
        graph.average_pool("inner_mean", &y, &pool, false),
    ];
    let joined = graph.concat("concat", &branches.each_ref(), 1);
    let halved = graph.max_pool("halved", &joined, &even);
    let pooled = graph.global_average_pool("pooled", &halved);
    let rows = graph.flatten("flatten", &pooled);
    let (weight, wide_fc) = tensor(&mut graph, "fc.weight", &[CLASSES, 24], numbers(CLASSES * 24, 30));
    let (bias, wide_fc_bias) = tensor(&mut graph, "fc.bias", &[CLASSES], numbers(CLASSES, 31));
    let y = graph.gemm("fc", &rows, &weight, Some(&bias));
    logits(&mut graph, &y);
    let wide_weight = Images::new([4, 1, 3, 3], wide_weight);
    (graph, move |x: &Images| {
        let y = x.conv(&wide_weight, Some(&wide_bias), &depthwise, 4).add(x).normalize(&wide_layer, EPS);
        let branches = [
            y.map(|z| z.max(0.0)),
            y.map(|z| 1.0 / (1.0 + (-z).exp())),
            y.map(f64::tanh),
            y.max_pool(&pool),
            y.average_pool(&pool, true),
            y.average_pool(&pool, false),
        ];
        Images::concat(&branches.each_ref()).max_pool(&even).global_average_pool().gemm(&wide_fc, &wide_fc_bias)
    })
}

/// Runs a model in tract, read and optimized once, at several batch sizes.
#[track_caller]
fn agrees(graph: &Graph, expected: impl Fn(&Images) -> Vec<f64>) {
    let bytes = graph.to_bytes().unwrap();
    let model = tract_onnx::onnx().model_for_read(&mut &bytes[..]).unwrap();
    let runnable = model.into_optimized().unwrap().into_runnable().unwrap();
    let [channels, height, width] = INPUT;
    for batch in [1, 3] {
        let dims = [batch, channels, height, width];
        let x = numbers(dims.iter().product(), 40 + batch as u64);
        let outputs = runnable.run(tvec!(Tensor::from_shape(&dims, &x).unwrap().into())).unwrap();
        let found = outputs[0].to_plain_array_view::<f32>().unwrap();
        assert_eq!(found.shape(), [batch, CLASSES]);
        let expected = expected(&Images::new(dims, wide(&x)));
        // f32 rounds each of at most 100 additions by up to 6e-8 of the sum; roundings go either way, and ten times
        // one of them, 6e-7, is what is left of the largest logit's digits.
        let tolerance = 1e-6 * expected.iter().fold(0.0, |largest: f64, logit| largest.max(logit.abs()));
        for (found, expected) in found.iter().zip(expected) {
            let error = (f64::from(*found) - expected).abs();
            assert!(error < tolerance, "batch {batch}: {found} is not {expected}");
        }
    }
}

#[test]
fn tract_computes_what_loops_compute_at_any_batch_size() {
    let (graph, expected) = small();
    agrees(&graph, expected);
}

#[test]
fn every_operator_means_the_same_to_tract_and_to_loops() {
    let (graph, expected) = all_operators();
    agrees(&graph, expected);
}
