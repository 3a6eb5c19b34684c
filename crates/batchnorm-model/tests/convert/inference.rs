//! Training exports become models for inference.

use batchnorm_model::convert::{InferenceOptions, Refusal, Report, User, What, to_inference};
use batchnorm_model::onnx::document::Document;
use batchnorm_model::onnx::layers::{self, Mode};

use crate::models::{Model, Value, inputs, ops, parameters, written};

const DIMS: [i64; 2] = [1, 2];

/// x, a layer with such outputs and attributes, a Relu to y.
fn layer(opset: i64, extra: &[&str], attributes: &[(&str, Value<'_>)]) -> Model {
    let mut model = Model::new(if opset < 9 { 3 } else { 8 }, opset);
    let names = parameters("bn");
    let outputs: Vec<&str> = ["h"].iter().chain(extra).copied().collect();
    model.node("BatchNormalization", &inputs("x", &names), &outputs, attributes);
    model.node("Relu", &["h"], &["y"], &[]);
    model.layer("bn");
    model.input("x", &DIMS);
    model.output("y", &DIMS);
    extra.iter().for_each(|name| model.value(name, &[2]));
    model
}

fn convert(document: &mut Document) -> Report {
    to_inference(document, InferenceOptions::default()).unwrap()
}

#[test]
fn training_forms_of_all_operator_sets_become_inference() {
    let momentum = || ("momentum", Value::Float(0.25));
    for (opset, extra, attributes, expected) in [
        (1, &["m", "v", "sm", "sv"][..], vec![momentum()], Some(1)),
        (6, &["m", "v", "sm", "sv"], vec![momentum(), ("is_test", Value::Int(0))], Some(1)),
        (6, &[], vec![momentum(), ("is_test", Value::Int(0))], Some(1)),
        (7, &["m", "v", "sm", "sv"], vec![momentum()], None),
        (13, &["m", "v"], vec![momentum()], None),
        (14, &["m", "v"], vec![momentum(), ("training_mode", Value::Int(1))], None),
        (17, &[], vec![momentum(), ("training_mode", Value::Int(1))], None),
    ] {
        let mut document = layer(opset, extra, &attributes).document();
        let report = convert(&mut document);
        assert_eq!((report.changes.len(), report.refused.len()), (1, 0), "{opset}");
        let dropped = extra.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(report.changes[0].what, What::Inference { dropped }, "{opset}");
        let written = written(&document);
        let node = &written.graph().nodes()[0];
        assert_eq!(node.outputs(), ["h"], "{opset}");
        assert_eq!((node.int("is_test"), node.int("training_mode")), (expected, None), "{opset}");
        assert_eq!(node.float("momentum"), Some(0.25));
        assert!(written.graph().values().is_empty(), "{opset}: what was said of the outputs is left");
        assert_eq!(layers::find(&written).unwrap()[0].mode, Mode::Inference);
        assert_eq!(written.graph().initializers().len(), 4);
        // Once is enough.
        assert_eq!(convert(&mut document), Report::default());
    }
}

#[test]
fn a_model_for_inference_stays_what_it_was_byte_for_byte() {
    for (opset, attributes) in [
        (6, vec![("is_test", Value::Int(1))]),
        (9, vec![]),
        (14, vec![("training_mode", Value::Int(0))]),
        (17, vec![("momentum", Value::Float(0.5))]),
    ] {
        let model = layer(opset, &[], &attributes);
        let mut document = model.document();
        assert_eq!(convert(&mut document), Report::default());
        assert!(!document.is_changed());
        assert_eq!(document.to_bytes().unwrap(), model.bytes());
    }
}

#[test]
fn extra_outputs_that_are_used_are_refused_with_who_uses_them() {
    let training = || [("training_mode", Value::Int(1))];
    let mut taken = layer(14, &["m", "v"], &training());
    taken.node("Identity", &["v"], &["copied"], &[]);
    let mut document = taken.document();
    let report = convert(&mut document);
    assert!(report.changes.is_empty() && !document.is_changed());
    let expected = Refusal::ExtraOutputsUsed { output: "v".to_owned(), user: User::Node("copied".to_owned()) };
    assert_eq!(report.refused[0].refusal, expected);
    assert_eq!(report.refused[0].refusal.code(), "extra-outputs-used");
    assert_eq!(report.refused[0].place.node, "h");

    // An output of the graph is a use: somebody asked for it.
    let mut output = layer(14, &["m", "v"], &training());
    output.output("m", &[2]);
    let mut document = output.document();
    let report = convert(&mut document);
    let expected = Refusal::ExtraOutputsUsed { output: "m".to_owned(), user: User::Output };
    assert_eq!((report.changes.len(), &report.refused[0].refusal), (0, &expected));
    assert!(expected.to_string().contains("--drop-outputs"), "{expected}");

    // Unless it may go.
    let report = to_inference(&mut document, InferenceOptions { drop_outputs: true }).unwrap();
    assert_eq!((report.changes.len(), report.refused.len()), (1, 0));
    let written = written(&document);
    let outputs: Vec<&str> = written.graph().outputs().iter().map(|output| output.name()).collect();
    assert_eq!(outputs, ["y"]);
    assert_eq!(written.graph().nodes()[0].outputs(), ["h"]);
}

#[test]
fn the_last_outputs_of_a_model_stay() {
    let mut model = Model::new(8, 14);
    let names = parameters("bn");
    let outputs = ["h", "m", "v"];
    let training = [("training_mode", Value::Int(1))];
    model.node("BatchNormalization", &inputs("x", &names), &outputs, &training);
    model.layer("bn");
    model.input("x", &DIMS);
    model.output("m", &[2]);
    let mut document = model.document();
    let report = to_inference(&mut document, InferenceOptions { drop_outputs: true }).unwrap();
    assert_eq!(report.refused[0].refusal.code(), "extra-outputs-used");
    assert!(!document.is_changed());
}

/// x -> Dropout -> Relu -> y, with a ratio and, from operator set 12 on, a training mode.
fn dropout(ir: i64, opset: i64) -> Model {
    let mut model = Model::new(ir, opset);
    let constants: &[&str] = if opset >= 12 { &["x", "ratio", "training"] } else { &["x"] };
    model.node("Dropout", constants, &["d", "mask"], &[]);
    model.node("Relu", &["d"], &["y"], &[]);
    if opset >= 12 {
        model.tensor("ratio", &[], &[0.5]);
        model.truth("training", true);
    }
    // Nobody used it before either.
    model.tensor("unused", &[1], &[1.0]);
    model.input("x", &DIMS);
    model.output("y", &DIMS);
    model.value("d", &DIMS);
    model.value("mask", &DIMS);
    model
}

#[test]
fn a_dropout_goes_with_its_constants_and_nothing_else_does() {
    for (ir, opset) in [(3, 6), (3, 9), (8, 12), (8, 17), (3, 13)] {
        let mut document = dropout(ir, opset).document();
        let report = convert(&mut document);
        assert_eq!(report.changes[0].what, What::DropoutRemoved);
        let written = written(&document);
        assert_eq!(ops(written.graph().nodes()), ["Relu"]);
        assert_eq!(written.graph().nodes()[0].inputs(), ["x"]);
        assert!(written.graph().values().is_empty());
        let tensors: Vec<&str> = written.graph().initializers().iter().map(|tensor| tensor.name()).collect();
        assert_eq!(tensors, ["unused"], "IR {ir}, operator set {opset}");
        let inputs: Vec<&str> = written.graph().inputs().iter().map(|input| input.name()).collect();
        assert_eq!(inputs, if ir <= 3 { vec!["unused", "x"] } else { vec!["x"] });
        let removed = if opset >= 12 { vec!["ratio", "training"] } else { vec![] };
        assert_eq!(report.removed, removed);
    }
}

#[test]
fn a_dropout_whose_mask_is_used_is_refused() {
    let mut model = dropout(8, 13);
    model.node("Identity", &["mask"], &["seen"], &[]);
    let mut document = model.document();
    let report = convert(&mut document);
    let expected = Refusal::ExtraOutputsUsed { output: "mask".to_owned(), user: User::Node("seen".to_owned()) };
    assert_eq!((report.changes.len(), &report.refused[0].refusal), (0, &expected));
    assert!(!document.is_changed());
}

#[test]
fn a_dropout_that_makes_an_output_becomes_an_identity() {
    let mut model = Model::new(8, 13);
    model.node("Relu", &["x"], &["h"], &[]);
    model.node("Dropout", &["h", "ratio"], &["first"], &[("seed", Value::Int(7))]);
    model.node("Dropout", &["first", "ratio"], &["y"], &[("seed", Value::Int(8))]);
    model.tensor("ratio", &[], &[0.5]);
    model.input("x", &DIMS);
    model.output("y", &DIMS);
    let mut document = model.document();
    let report = convert(&mut document);
    let whats: Vec<&str> = report.changes.iter().map(|change| change.what.code()).collect();
    assert_eq!(whats, ["dropout-removed", "dropout-replaced"]);
    let written = written(&document);
    let nodes = written.graph().nodes();
    assert_eq!(ops(nodes), ["Relu", "Identity"]);
    assert_eq!((nodes[1].inputs(), nodes[1].outputs()), (&["h".to_owned()][..], &["y".to_owned()][..]));
    assert!(nodes[1].attributes().is_empty() && written.graph().initializers().is_empty());
}

#[test]
fn how_a_model_is_trained_is_kept_with_the_tensors_it_may_name() {
    let mut model = dropout(8, 13);
    model.training_info();
    let mut document = model.document();
    let report = convert(&mut document);
    assert_eq!((report.changes.len(), report.removed.len()), (1, 0));
    let bytes = document.to_bytes().unwrap();
    assert!(bytes.windows(14).any(|window| window == b"initialization"));
    assert!(Document::from_bytes(bytes).unwrap().graph().initializer("ratio").is_some());
}
