//! Findings about numbers, eps, momentum and mode.

use batchnorm_model::inspect::Severity;

use crate::models::Attribute::{Float, Int};
use crate::models::{Model, attributes, statistics};

#[test]
fn a_healthy_layer_has_no_findings() {
    let inspection = Model::healthy("bn", "x", "y").inspect();
    assert_eq!(inspection.layers[0].findings, []);
    assert!(!inspection.is_wrong());
}

#[test]
fn every_variance_that_is_none_is_told_once_with_its_channels() {
    // The third is f32's smallest number, the fifth below ten times eps.
    let model = statistics(&[0.5; 6], &[f32::NAN, -1e-6, f32::from_bits(1), 0.0, 9e-5, 1.0]);
    let expected = [
        ("non-finite-statistics", vec![0]),
        ("negative-variance", vec![1]),
        ("zero-variance", vec![3]),
        ("variance-near-eps", vec![4]),
        ("subnormal-variance", vec![2]),
    ];
    assert_eq!(model.codes(), expected);
    assert!(model.finding("negative-variance").message().starts_with("1 channel (1): the running variance"));
}

#[test]
fn subnormal_is_by_the_type_that_the_variance_is_stored_in() {
    // In f16 the largest subnormal and the smallest normal number, 2^-14; f32 has room for both.
    let halves = |bits: &[u16]| {
        Model::new(15)
            .tensor("bn.gamma", &[2], &[1.0; 2])
            .tensor("bn.beta", &[2], &[0.0; 2])
            .tensor("bn.mean", &[2], &[0.5; 2])
            .half_tensor("bn.variance", &[2], bits)
            .layer("bn", "x", &["y"], &[])
    };
    let found = halves(&[0x03ff, 0x3c00]).codes();
    assert_eq!(found, [("subnormal-variance", vec![0])]);
    assert_eq!(halves(&[0x0400, 0x3c00]).codes(), [("variance-near-eps", vec![0])]);
}

#[test]
fn statistics_of_0_and_1_throughout_were_never_trained() {
    let found = statistics(&[0.0; 3], &[1.0; 3]).finding("never-trained");
    assert_eq!((found.severity, found.channels.len()), (Severity::Warning, 0));
    // One channel that moved is enough.
    assert_eq!(statistics(&[0.0, 0.0, 1e-9], &[1.0; 3]).codes(), []);
    assert_eq!(statistics(&[0.0; 3], &[1.0, 1.0, 0.99]).codes(), []);
}

#[test]
fn dead_channels_and_large_means_are_told() {
    let layer = |gamma: &[f32], mean: &[f32]| {
        Model::new(15).parameters("bn", gamma, &[0.0; 2], mean, &[1.0; 2]).layer("bn", "x", &["y"], &[])
    };
    assert_eq!(layer(&[1.0, 0.0], &[0.5; 2]).codes(), [("dead-channels", vec![1])]);
    assert_eq!(layer(&[1.0, -0.5], &[0.5, 5000.0]).codes(), [("large-mean", vec![1])]);
    assert_eq!(layer(&[f32::NAN, 1.0], &[0.5; 2]).codes(), [("non-finite-parameters", vec![0])]);
}

#[test]
fn an_eps_is_suspicious_where_no_library_is_near() {
    let of = |eps: f32| attributes(15, &["y"], &[Float("epsilon", eps)]);
    for usual in [1e-3, 1e-5, 1.001e-5, 1e-6, 2e-5, 1e-2] {
        assert_eq!(of(usual).codes(), [], "{usual}");
    }
    for (strange, severity) in [
        (0.0, Severity::Warning),
        (1e-12, Severity::Warning),
        (0.1, Severity::Warning),
        (-1e-5, Severity::Error),
        (f32::NAN, Severity::Error),
    ] {
        let found = of(strange).finding("suspicious-eps");
        assert_eq!(found.severity, severity, "{strange}");
    }
    let message = of(0.1).finding("suspicious-eps").message();
    assert!(message.starts_with("eps 0.1: libraries have 1e-5 to 0.001"), "{message}");
}

#[test]
fn a_variance_of_zero_without_eps_is_an_error() {
    let with = |eps: f32| {
        let model = Model::new(15).parameters("bn", &[1.0; 2], &[0.0; 2], &[0.5; 2], &[0.0, 1.0]);
        model.layer("bn", "x", &["y"], &[Float("epsilon", eps)]).finding("zero-variance").severity
    };
    assert_eq!([with(0.0), with(1e-5)], [Severity::Error, Severity::Warning]);
}

#[test]
fn a_momentum_that_looks_like_pytorchs_is_told() {
    let of = |momentum: f32| attributes(15, &["y"], &[Float("momentum", momentum)]);
    for usual in [0.9, 0.99, 0.5, 0.9997] {
        assert_eq!(of(usual).codes(), [], "{usual}");
    }
    for (strange, word) in
        [(0.1, "PyTorch"), (1.0, "never changes"), (0.0, "latest"), (1.5, "diverge"), (f32::NAN, "number")]
    {
        let found = of(strange).finding("suspicious-momentum");
        assert!(found.severity == Severity::Note && found.words.contains(word), "{strange} {found:?}");
    }
    // It matters to training.
    let training = attributes(15, &["y", "m", "v"], &[Float("momentum", 0.1), Int("training_mode", 1)]);
    assert_eq!(training.finding("suspicious-momentum").severity, Severity::Warning);
}

#[test]
fn training_is_told_in_all_versions_of_the_operator() {
    let three = &["y", "m", "v"][..];
    let five = &["y", "m", "v", "sm", "sv"][..];
    for (opset, outputs, told, trains) in [
        (15, three, vec![Int("training_mode", 1)], true),
        (15, &["y"][..], vec![], false),
        (9, five, vec![], true),
        (9, &["y"], vec![], false),
        (7, five, vec![], true),
        (6, five, vec![Int("is_test", 0)], true),
        (6, &["y"], vec![Int("is_test", 1)], false),
        (1, &["y"], vec![Int("is_test", 1), Int("spatial", 1)], false),
    ] {
        let codes = attributes(opset, outputs, &told).codes();
        let expected = if trains { vec![("training-mode", vec![])] } else { vec![] };
        assert_eq!(codes, expected, "opset {opset}, {} outputs", outputs.len());
    }
}

#[test]
fn statistics_for_each_position_are_told() {
    let model = attributes(8, &["y"], &[Int("spatial", 0)]);
    assert_eq!(model.codes(), [("not-spatial", vec![])]);
    // From 9 on the attribute has no meaning.
    assert_eq!(attributes(9, &["y"], &[Int("spatial", 0)]).codes(), []);
}
