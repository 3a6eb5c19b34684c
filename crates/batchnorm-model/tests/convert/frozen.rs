//! Layers become a multiplication and an addition.

use batchnorm_model::convert::{Refusal, Report, freeze};
use batchnorm_model::onnx::document::{Document, ElementType};

use crate::models::{Model, Value, inputs, ops, parameters, written};

/// x -> Conv -> BatchNormalization -> Relu -> y, without a word on the values between.
fn network(ir: i64, opset: i64, attributes: &[(&str, Value<'_>)]) -> Model {
    let mut model = Model::new(ir, opset);
    let names = parameters("bn");
    model.node("Conv", &["x", "w"], &["h"], &[]);
    model.node("BatchNormalization", &inputs("h", &names), &["n"], attributes);
    model.node("Relu", &["n"], &["y"], &[]);
    model.tensor("w", &[2, 1, 1, 1], &[1.0, -1.0]);
    model.layer("bn");
    model.input("x", &[1, 1, 2, 2]);
    model.output("y", &[1, 2, 2, 2]);
    model
}

fn frozen(model: &Model) -> (Document, Report) {
    let mut document = model.document();
    let report = freeze(&mut document).unwrap();
    (written(&document), report)
}

#[test]
fn scale_and_shift_are_those_of_the_layer() {
    for (ir, opset, dims) in [(3, 6, &[2][..]), (3, 7, &[2, 1, 1]), (8, 14, &[2, 1, 1]), (8, 17, &[2, 1, 1])] {
        let attributes = [("epsilon", Value::Float(0.0)), ("is_test", Value::Int(1))];
        let attributes = if opset < 7 { &attributes[..] } else { &attributes[..1] };
        let (document, report) = frozen(&network(ir, opset, attributes));
        assert!(report.refused.is_empty(), "{opset}: {:?}", report.refused);
        let nodes = document.graph().nodes();
        assert_eq!(ops(nodes), ["Conv", "Mul", "Add", "Relu"]);
        assert_eq!((nodes[1].inputs()[0].as_str(), nodes[2].outputs()), ("h", &["n".to_owned()][..]));
        // gamma / sqrt(variance) and beta - mean gamma / sqrt(variance), exact in f32.
        for (node, expected) in [(1, [0.5, 4.0]), (2, [-1.5, -1.0])] {
            let constant = document.graph().initializer(&nodes[node].inputs()[1]).unwrap();
            assert_eq!((constant.dims(), constant.element()), (dims, ElementType::Float));
            assert_eq!(document.storage().values(constant).unwrap(), expected);
            let listed = document.graph().inputs().iter().any(|input| input.name() == constant.name());
            assert_eq!(listed, ir <= 3, "a stored tensor is listed as an input up to IR version 3");
        }
        let (axis, broadcast) = (nodes[1].int("axis"), nodes[2].int("broadcast"));
        assert_eq!((axis, broadcast), if opset < 7 { (Some(1), Some(1)) } else { (None, None) });
        assert!(nodes[1].attribute("epsilon").is_none());
        assert_eq!(report.removed, parameters("bn"));
        assert_eq!(document.graph().initializers().len(), 3);
    }
}

#[test]
fn a_missing_eps_is_the_operators() {
    let (document, _) = frozen(&network(8, 17, &[]));
    let scale = document.graph().initializer(&document.graph().nodes()[1].inputs()[1]).unwrap();
    let expected = 1.0 / (4.0 + 1e-5_f64).sqrt();
    // Rounded to f32 once.
    assert_eq!(document.storage().values(scale).unwrap()[0], f64::from(expected as f32));
}

#[test]
fn what_is_no_scale_and_shift_is_refused() {
    let code = |model: &Model| {
        let mut document = model.document();
        let report = freeze(&mut document).unwrap();
        assert!(!document.is_changed() && report.changes.is_empty());
        report.refused[0].refusal.code()
    };
    assert_eq!(code(&network(8, 14, &[("training_mode", Value::Int(1))])), "training-mode");

    // A caller may give another mean.
    let mut model = network(8, 14, &[]);
    model.input("bn_mean", &[2]);
    assert_eq!(code(&model), "overridable");

    let one = |values: [f32; 4], dims: &[i64]| {
        let mut model = Model::new(8, 9);
        model.node("BatchNormalization", &["x", "gamma", "beta", "mean", "variance"], &["y"], &[]);
        for (name, value) in ["gamma", "beta", "mean", "variance"].into_iter().zip(values) {
            model.tensor(name, &[1], &[value]);
        }
        model.input("x", dims);
        model.output("y", dims);
        model
    };
    assert_eq!(code(&one([1.0, 0.0, 0.0, -1.0], &[1, 1])), "bad-numbers");
    assert_eq!(code(&one([1.0, f32::NAN, 0.0, 1.0], &[1, 1])), "bad-numbers");
    assert_eq!(code(&one([f32::MAX, 0.0, f32::MAX, 1.0], &[1, 1])), "overflow");
    assert_eq!(code(&one([1.0, 0.0, 0.0, 1.0], &[1])), "unknown-rank");

    let mut model = Model::new(8, 17);
    model.node("BatchNormalization", &["x", "x", "x", "x", "x"], &["y"], &[]);
    model.input("x", &[2, 2]);
    model.output("y", &[2, 2]);
    let mut document = model.document();
    let refusal = freeze(&mut document).unwrap().refused.remove(0).refusal;
    assert_eq!(refusal, Refusal::NotConstant { what: "scale" });
}

#[test]
fn parameters_that_others_use_stay() {
    let mut model = network(8, 17, &[]);
    model.node("Neg", &["bn_beta"], &["other"], &[]);
    let (document, report) = frozen(&model);
    assert_eq!(report.removed, ["bn_gamma", "bn_mean", "bn_variance"]);
    assert!(document.graph().initializer("bn_beta").is_some());
}

#[test]
fn names_that_are_taken_are_left_alone() {
    let mut model = network(8, 17, &[]);
    model.node("Neg", &["y"], &["n_scale"], &[]);
    let (document, _) = frozen(&model);
    assert_eq!(document.graph().nodes()[1].inputs()[1], "n_scale_2");
}
