//! What stands around a layer, and where its parameters are.

use batchnorm_model::inspect::{Neighbour, Severity};
use batchnorm_model::onnx::layers::Mode;

use crate::models::Attribute::{Graph, Int};
use crate::models::Model;

fn node(op: &str, name: &str) -> Neighbour {
    Neighbour::Node { op: op.to_owned(), name: name.to_owned() }
}

#[test]
fn producer_and_consumers_are_named() {
    let model = Model::new(15)
        .node("Relu", "before", &["x"], &["h"], &[])
        .healthy_layer("bn", "h", "y")
        .node("Mul", "square", &["y", "y"], &["s"], &[])
        .node("Tanh", "", &["y"], &["t"], &[]);
    let layer = model.only();
    assert_eq!(layer.producer, Some(node("Relu", "before")));
    // A nameless node has its output's name; y is an output of the graph as well.
    let expected = [node("Mul", "square"), node("Tanh", "t"), Neighbour::Output("y".to_owned())];
    assert_eq!(layer.consumers, expected);
    assert_eq!((layer.inside, layer.mode, layer.channels), (None, Some(Mode::Inference), Some(2)));
    assert_eq!((layer.eps_given, layer.batches), (false, None));
    assert_eq!(Model::healthy("bn", "x", "y").only().producer, Some(Neighbour::Input("x".to_owned())));
}

#[test]
fn a_layer_inside_a_branch_says_where_it_is() {
    let branch = Model::healthy("inner", "h", "b");
    let model = Model::new(15).node("Relu", "before", &["x"], &["h"], &[]).node(
        "If",
        "choice",
        &["x"],
        &["y"],
        &[Graph("then_branch", &branch)],
    );
    let layer = model.only();
    assert_eq!(layer.inside.as_deref(), Some("then_branch of If choice"));
    assert_eq!(layer.producer, Some(node("Relu", "before")));
}

#[test]
fn a_tensor_of_two_layers_is_shared() {
    let model = Model::healthy("a", "x", "h").node(
        "BatchNormalization",
        "b",
        &["h", "a.gamma", "a.beta", "a.mean", "a.variance"],
        &["y"],
        &[],
    );
    let layers = model.inspect().layers;
    let facts: Vec<&str> = layers.iter().map(|layer| layer.findings[0].facts.as_str()).collect();
    assert_eq!(facts[0], "gamma with b, beta with b, mean with b, variance with b");
    assert!(facts[1].starts_with("gamma with a"));
    assert!(layers.iter().all(|layer| layer.findings[0].code == "shared-parameters"));
    // Twice in one layer is not.
    let alone = Model::healthy("a", "x", "h").node(
        "BatchNormalization",
        "b",
        &["h", "one", "one", "one", "one"],
        &["y"],
        &[],
    );
    assert!(
        alone.tensor("one", &[2], &[1.0; 2]).inspect().layers.iter().all(|layer| layer.findings.is_empty())
    );
}

#[test]
fn parameters_that_are_computed_missing_or_replaceable_are_told() {
    let with = |variance: &str| {
        let model = Model::new(15).parameters("bn", &[1.0; 2], &[0.0; 2], &[0.5; 2], &[1.0; 2]);
        model.node("BatchNormalization", "bn", &["x", "bn.gamma", "bn.beta", "bn.mean", variance], &["y"], &[])
    };
    let runtime = with("computed").node("Abs", "abs", &["x"], &["computed"], &[]);
    assert_eq!(runtime.codes(), [("runtime-parameters", vec![])]);
    assert_eq!(runtime.finding("runtime-parameters").facts, "variance (`computed`)");
    let missing = with("");
    assert_eq!(missing.finding("missing-parameters").severity, Severity::Error);
    let mut replaceable = with("bn.variance").also_input("bn.variance");
    assert_eq!(replaceable.codes(), [("overridable-parameters", vec![])]);
    // Up to IR version 3 every tensor is an input, which says nothing.
    replaceable.ir_version = 3;
    assert_eq!(replaceable.codes(), []);
}

#[test]
fn parameters_of_other_shapes_are_errors() {
    let with = |dims: &[i64], values: &[f32]| {
        Model::new(15)
            .tensor("bn.gamma", dims, values)
            .tensor("bn.beta", &[2], &[0.0; 2])
            .tensor("bn.mean", &[2], &[0.5; 2])
            .tensor("bn.variance", &[2], &[1.0; 2])
            .layer("bn", "x", &["y"], &[])
    };
    for (dims, values) in [(&[3][..], &[1.0; 3][..]), (&[2, 1], &[1.0; 2]), (&[], &[1.0])] {
        let found = with(dims, values).finding("parameter-shapes");
        assert_eq!(found.severity, Severity::Error);
        assert!(found.facts.contains(&format!("gamma {dims:?}")), "{}", found.facts);
    }
    assert_eq!(with(&[2], &[1.0; 2]).codes(), []);
}

#[test]
fn a_convolution_of_other_channels_is_an_error() {
    let of = |outputs: usize| {
        Model::healthy("bn", "c", "y").tensor("w", &[outputs as i64, 1, 1, 1], &vec![1.0; outputs]).node(
            "Conv",
            "conv",
            &["x", "w"],
            &["c"],
            &[],
        )
    };
    assert_eq!(of(2).codes(), []);
    assert_eq!(of(3).finding("parameter-shapes").facts, "conv makes 3 channels, the layer has 2");
    // Two groups of one output make two channels.
    let transposed = Model::healthy("bn", "c", "y").tensor("w", &[4, 1, 1, 1], &[1.0; 4]).node(
        "ConvTranspose",
        "up",
        &["x", "w"],
        &["c"],
        &[Int("group", 2)],
    );
    assert_eq!(transposed.codes(), []);
}

#[test]
fn a_constant_that_claims_more_numbers_than_there_are_is_not_read() {
    let huge = |model: Model, what: &str| {
        let shape = format!("{what}.shape");
        model.node("ConstantOfShape", &format!("make {what}"), &[&shape], &[what], &[])
    };
    // The shape is an int64 tensor, written as an operator's: 2^40 numbers of a few bytes.
    let mut model = Model::new(15);
    for what in ["bn.gamma", "bn.beta", "bn.mean", "bn.variance"] {
        model = model
            .node("Constant", what, &[], &[&format!("{what}.shape")], &[Int("value_int", 1 << 40)])
            .tensor("unused", &[1], &[0.0]);
        model = huge(model, what);
    }
    let found = model.layer("bn", "x", &["y"], &[]).codes();
    assert!(found.iter().any(|(code, _)| ["not-read", "runtime-parameters"].contains(code)), "{found:?}");
}
