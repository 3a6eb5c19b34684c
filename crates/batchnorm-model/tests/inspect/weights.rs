//! The convolution or product before a layer: its bias, and what folding makes of its weights.

use batchnorm::Momentum;
use batchnorm_model::inspect::Inspection;
use batchnorm_model::onnx::document::Document;
use batchnorm_model::onnx::{Dim, Graph, Normalization};

use crate::models::Attribute::{Float, Int};
use crate::models::Model;

/// A healthy layer of two channels after `c`.
fn after(op: &str, inputs: &[&str], attributes: &[crate::models::Attribute<'_>]) -> Model {
    Model::healthy("bn", "c", "y").node(op, "map", inputs, &["c"], attributes)
}

#[test]
fn a_bias_right_before_the_layer_is_redundant() {
    let bias = |model: Model| model.tensor("b", &[2], &[0.5, 0.25]);
    let conv = after("Conv", &["x", "w", "b"], &[]).tensor("w", &[2, 1, 1, 1], &[1.0; 2]);
    assert_eq!(bias(conv.clone()).finding("redundant-bias").facts, "`b` of Conv map");
    let zeros = conv.tensor("b", &[2], &[0.0; 2]).finding("redundant-bias").facts;
    assert_eq!(zeros, "`b` of Conv map: all zeros");
    let gemm = after("Gemm", &["x", "w", "b"], &[]).tensor("w", &[3, 2], &[1.0; 6]);
    assert_eq!(bias(gemm).finding("redundant-bias").facts, "`b` of Gemm map");
    let added = Model::healthy("bn", "c", "y")
        .node("MatMul", "map", &["x", "w"], &["m"], &[])
        .node("Add", "plus", &["b", "m"], &["c"], &[])
        .tensor("w", &[3, 2], &[1.0; 6]);
    assert_eq!(bias(added).finding("redundant-bias").facts, "`b`, which plus adds to MatMul map");
}

#[test]
fn what_is_no_bias_of_channels_is_not_redundant() {
    let none = |model: Model| {
        let codes = model.codes();
        assert!(codes.iter().all(|(code, _)| *code != "redundant-bias"), "{codes:?}");
    };
    none(after("Conv", &["x", "w"], &[]).tensor("w", &[2, 1, 1, 1], &[1.0; 2]));
    // Of a row's own: one for each sample.
    none(after("Gemm", &["x", "w", "b"], &[]).tensor("w", &[3, 2], &[1.0; 6]).tensor("b", &[4, 2], &[1.0; 8]));
    // Of positions: it stays after the mean is taken out.
    let added = Model::healthy("bn", "c", "y")
        .node("Conv", "map", &["x", "w"], &["m"], &[])
        .node("Add", "plus", &["m", "b"], &["c"], &[])
        .tensor("w", &[2, 1, 1, 1], &[1.0; 2]);
    none(added.clone().tensor("b", &[1, 2, 1, 3], &[1.0; 6]));
    assert_eq!(added.tensor("b", &[2, 1, 1], &[1.0; 2]).finding("redundant-bias").channels, [0; 0]);
    // Somebody else uses the convolution's output, bias and all.
    let used = after("Conv", &["x", "w", "b"], &[])
        .tensor("w", &[2, 1, 1, 1], &[1.0; 2])
        .tensor("b", &[2], &[1.0; 2])
        .node("Relu", "other", &["c"], &["o"], &[]);
    none(used);
    // Something stands between.
    none(
        Model::healthy("bn", "c", "y")
            .node("Conv", "map", &["x", "w", "b"], &["m"], &[])
            .node("Relu", "relu", &["m"], &["c"], &[])
            .tensor("w", &[2, 1, 1, 1], &[1.0; 2])
            .tensor("b", &[2], &[1.0; 2]),
    );
}

#[test]
fn a_product_of_sequences_has_its_columns_on_another_axis() {
    let product = |dims: &[Dim<'_>]| {
        let mut graph = Graph::new("net");
        let x = graph.input("x", dims);
        let w = graph.tensor("w", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let b = graph.tensor("b", &[2], &[0.5, 0.25]);
        let h = graph.node("MatMul", "map", &[&x, &w], &[]);
        let h = graph.add("plus", &h, &b);
        let [gamma, beta] =
            [("gamma", 1.0), ("beta", 0.0)].map(|(name, value)| graph.tensor(name, &[2], &[value; 2]));
        let [mean, variance] =
            [("mean", 0.5), ("variance", 2.0)].map(|(name, value)| graph.tensor(name, &[2], &[value; 2]));
        let layer = Normalization {
            gamma: &gamma,
            beta: &beta,
            mean: &mean,
            variance: &variance,
            eps: 1e-5,
            momentum: Momentum::of_old(0.9),
        };
        let y = graph.batch_normalization("bn", &h, &layer);
        graph.output("y", &y, dims);
        let inspection = Inspection::of(&Document::from_bytes(graph.to_bytes().unwrap()).unwrap()).unwrap();
        let layer = &inspection.layers[0];
        (layer.folded_weights.is_some(), layer.findings.len())
    };
    // As many places as columns: nothing but the rank tells.
    let [batch, two] = [Dim::Symbol("batch"), Dim::Fixed(2)];
    assert_eq!(product(&[batch, two]), (true, 1));
    assert_eq!(product(&[batch, two, two]), (false, 0));
}

/// Scales of 2 and 0.5, exactly: eps is 0.
fn scaled(op: &str, weight: (&[i64], &[f32]), attributes: &[crate::models::Attribute<'_>]) -> Option<Vec<f64>> {
    let model = Model::new(15)
        .parameters("bn", &[-2.0, 1.0], &[0.0; 2], &[0.5; 2], &[1.0, 4.0])
        .layer("bn", "c", &["y"], &[Float("epsilon", 0.0)])
        .tensor("w", weight.0, weight.1)
        .node(op, "map", &["x", "w"], &["c"], attributes);
    let layer = model.only();
    assert_eq!(layer.scale, Some(vec![-2.0, 0.5]));
    layer.folded_weights
}

#[test]
fn folded_weights_belong_to_the_channels_of_each_operators_order() {
    // The largest by channel, worked out by hand: 3 and 40 before folding.
    let folded = Some(vec![6.0, 20.0]);
    assert_eq!(scaled("Conv", (&[2, 1, 2], &[1.0, -3.0, 40.0, 2.0]), &[]), folded);
    assert_eq!(scaled("ConvTranspose", (&[2, 2, 1], &[1.0, -40.0, 3.0, 2.0]), &[]), folded);
    // Two groups of one input and one output each.
    let groups = [Int("group", 2)];
    assert_eq!(scaled("ConvTranspose", (&[2, 1, 2], &[1.0, 3.0, -40.0, 2.0]), &groups), folded);
    // Two groups of two inputs.
    let weights = [1.0, 3.0, -40.0, 2.0];
    assert_eq!(scaled("ConvTranspose", (&[4, 1, 1], &weights), &groups), folded);
    assert_eq!(scaled("Gemm", (&[2, 2], &[1.0, -40.0, 3.0, 2.0]), &[]), folded);
    assert_eq!(scaled("Gemm", (&[2, 2], &[1.0, -3.0, 40.0, 2.0]), &[Int("transB", 1)]), folded);
    assert_eq!(scaled("Gemm", (&[1, 2], &[1.5, 20.0]), &[Float("alpha", 2.0)]), folded);
    assert_eq!(scaled("MatMul", (&[2, 2], &[1.0, -40.0, 3.0, 2.0]), &[]), folded);
    // A product along another axis, a weight of other channels, one without elements.
    assert_eq!(scaled("MatMul", (&[2, 3], &[1.0; 6]), &[]), None);
    assert_eq!(scaled("Conv", (&[2, 0, 1], &[]), &[]), None);
}

/// Five channels with these largest weights, and a scale of 1.
fn channels(weights: &[f32; 5], bias: &[f32; 5]) -> Model {
    Model::new(15)
        .parameters("bn", &[1.0; 5], &[0.0; 5], &[0.5; 5], &[1.0; 5])
        .layer("bn", "c", &["y"], &[Float("epsilon", 0.0)])
        .tensor("w", &[5, 1, 1, 1], weights)
        .tensor("b", &[5], bias)
        .node("Conv", "map", &["x", "w", "b"], &["c"], &[])
}

fn codes(model: &Model) -> Vec<(&'static str, Vec<usize>)> {
    let mut codes = model.codes();
    codes.retain(|(code, _)| !["redundant-bias", "suspicious-eps"].contains(code));
    codes
}

#[test]
fn weights_that_differ_much_among_channels_are_told() {
    let zeros = [0.0; 5];
    // 16 times the median is the limit.
    assert_eq!(codes(&channels(&[1.0, 1.0, 1.0, 0.1, 16.0], &zeros)), []);
    let wide = channels(&[1.0, 1.0, 1.0, 0.1, -20.0], &zeros);
    assert_eq!(codes(&wide), [("wide-scales", vec![4])]);
    assert_eq!(wide.finding("wide-scales").found(), "1 channel (4), up to 20, 20 times the median of 1");
}

#[test]
fn what_half_precision_cannot_hold_is_told() {
    let ones = [1.0; 5];
    // Where all are large, none is beside the others.
    assert_eq!(codes(&channels(&[65504.0; 5], &ones)), []);
    assert_eq!(codes(&channels(&[65505.0; 5], &ones)), [("fp16-overflow", vec![0, 1, 2, 3, 4])]);
    // b' = b - mean = 70000 - 0.5.
    assert_eq!(codes(&channels(&[1.0; 5], &[0.0, 70000.0, 0.0, 0.0, 0.0])), [("fp16-overflow", vec![1])]);
    // 2^-14, and half of it.
    let [normal, half] = [1.0 / 16384.0, 1.0 / 32768.0];
    assert_eq!(codes(&channels(&[normal; 5], &ones)), []);
    assert_eq!(codes(&channels(&[normal, normal, half, normal, 0.0], &ones)), [("fp16-underflow", vec![2])]);
}

#[test]
fn without_weights_the_scale_is_what_may_overflow() {
    let scale = |gamma: f32| {
        Model::new(15)
            .parameters("bn", &[gamma, 1.0], &[0.0; 2], &[0.5; 2], &[1.0; 2])
            .layer("bn", "x", &["y"], &[])
            .codes()
    };
    assert_eq!(scale(1000.0), []);
    assert_eq!(scale(70000.0), [("fp16-overflow", vec![0])]);
}
