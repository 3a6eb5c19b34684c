//! Graphs inside nodes, and functions of the model.

use batchnorm_model::convert::{InferenceOptions, freeze, to_inference};
use batchnorm_model::onnx::document::{AttributeValue, Document};
use batchnorm_model::onnx::layers::{self, Home, Mode};

use crate::models::{Model, NodeOf, Value, inputs, ops, parameters, written};

const DIMS: [i64; 2] = [1, 2];
const TRAINING: (&str, Value<'_>) = ("training_mode", Value::Int(1));

/// A branch that drops out a value of the graph around it and normalizes it.
fn branch(x: &str, prefix: &str) -> Model {
    let mut branch = Model::new(8, 17);
    let (kept, y) = (format!("{prefix}_kept"), format!("{prefix}_y"));
    let names = parameters("bn");
    branch.node("Constant", &[], &["ratio"], &[("value", Value::Tensor(&[0.5]))]);
    branch.node("Dropout", &[x, "ratio", "training"], &[&kept], &[]);
    branch.node("BatchNormalization", &inputs(&kept, &names), &[&y, "m", "v"], &[TRAINING]);
    branch.output(&y, &DIMS);
    branch
}

/// x -> Dropout -> If, whose branches see what is around them.
fn with_branches() -> Model {
    let mut model = Model::new(8, 17);
    model.node("Dropout", &["x"], &["d"], &[]);
    let (then, other) = (branch("d", "then"), branch("x", "else"));
    let branches = [("then_branch", Value::Graph(&then)), ("else_branch", Value::Graph(&other))];
    model.node("If", &["which"], &["y"], &branches);
    model.layer("bn");
    model.truth("training", true);
    model.truth("which", true);
    model.input("x", &DIMS);
    model.output("y", &DIMS);
    model
}

fn branches(document: &Document, node: usize) -> Vec<(Vec<String>, Vec<String>)> {
    let node = &document.graph().nodes()[node];
    node.graphs()
        .map(|(_, graph)| {
            let ops = graph.nodes().iter().map(|node| node.op().to_owned()).collect();
            (ops, graph.nodes().last().unwrap().inputs().to_vec())
        })
        .collect()
}

#[test]
fn branches_are_converted_and_see_what_is_left_around_them() {
    let mut document = with_branches().document();
    let report = to_inference(&mut document, InferenceOptions::default()).unwrap();
    assert_eq!((report.changes.len(), report.refused.len()), (5, 0));
    assert_eq!(report.changes[1].place.graph, "then_branch of If y");
    let written = written(&document);
    assert_eq!(ops(written.graph().nodes()), ["If"]);
    for (ops, last) in branches(&written, 0) {
        assert_eq!(ops, ["BatchNormalization"]);
        assert_eq!(last[0], "x");
    }
    let found = layers::find(&written).unwrap();
    assert!(found.len() == 2 && found.iter().all(|layer| layer.mode == Mode::Inference));
    // Both branches had used it; nobody does any more.
    assert!(
        written.graph().initializer("training").is_none() && written.graph().initializer("which").is_some()
    );

    let report = freeze(&mut document).unwrap();
    assert_eq!((report.changes.len(), report.refused.len()), (2, 0), "{:?}", report.refused);
    let written = self::written(&document);
    for (ops, _) in branches(&written, 0) {
        assert_eq!(ops, ["Constant", "Constant", "Mul", "Add"]);
    }
    assert!(written.graph().initializer("bn_gamma").is_none(), "{:?}", report.removed);
}

#[test]
fn a_body_with_its_own_value_of_that_name_keeps_it() {
    // The branch has a value named as what the Dropout takes: it must not be taken for it.
    let mut model = Model::new(8, 17);
    model.node("Relu", &["x"], &["h"], &[]);
    model.node("Dropout", &["h"], &["d"], &[]);
    let mut inner = Model::new(8, 17);
    inner.node("Neg", &["x"], &["h"], &[]);
    inner.node("Add", &["h", "d"], &["sum"], &[]);
    inner.output("sum", &DIMS);
    let branches = [("then_branch", Value::Graph(&inner)), ("else_branch", Value::Graph(&inner))];
    model.node("If", &["which"], &["y"], &branches);
    model.input("which", &[]);
    model.input("x", &DIMS);
    model.output("y", &DIMS);
    let mut document = model.document();
    to_inference(&mut document, InferenceOptions::default()).unwrap();
    let written = written(&document);
    assert_eq!(ops(written.graph().nodes()), ["Relu", "Identity", "If"]);
    assert_eq!(self::branches(&written, 2)[0].1, ["h", "d"]);
}

#[test]
fn functions_are_converted() {
    let mut model = Model::new(8, 17);
    let names = ["x", "gamma", "beta", "mean", "variance"];
    let nodes: [NodeOf<'_>; 3] = [
        ("Dropout", &["x"], &["d"], &[]),
        ("BatchNormalization", &["d", "gamma", "beta", "mean", "variance"], &["n", "m", "v"], &[TRAINING]),
        ("Dropout", &["n"], &["y"], &[]),
    ];
    model.function("OurBlock", &names, &["y"], &nodes);
    let all = parameters("bn");
    model.node("OurBlock", &inputs("x", &all), &["y"], &[]);
    model.layer("bn");
    model.input("x", &DIMS);
    model.output("y", &DIMS);
    let mut document = model.document();
    let report = to_inference(&mut document, InferenceOptions::default()).unwrap();
    assert_eq!(report.changes[0].place.graph, "function OurBlock");
    let written = written(&document);
    let home = Home { function: Some(0), steps: Vec::new() };
    let nodes = home.nodes(&written);
    assert_eq!(ops(nodes), ["BatchNormalization", "Identity"]);
    assert_eq!((nodes[0].inputs()[0].as_str(), nodes[0].outputs().len()), ("x", 1));

    // What the only caller gives is known, its type and axes as well.
    let report = freeze(&mut document).unwrap();
    assert!(report.refused.is_empty(), "{:?}", report.refused);
    let written = self::written(&document);
    assert_eq!(ops(home.nodes(&written)), ["Constant", "Constant", "Mul", "Add", "Identity"]);
}

#[test]
fn a_function_that_is_called_twice_has_no_numbers_of_its_own() {
    let mut model = Model::new(8, 17);
    let names = ["x", "gamma", "beta", "mean", "variance"];
    let nodes: [NodeOf<'_>; 1] = [("BatchNormalization", &names, &["y"], &[])];
    model.function("OurBlock", &names, &["y"], &nodes);
    let all = parameters("bn");
    model.node("OurBlock", &inputs("x", &all), &["h"], &[]);
    model.node("OurBlock", &inputs("h", &all), &["y"], &[]);
    model.layer("bn");
    model.input("x", &DIMS);
    model.output("y", &DIMS);
    let mut document = model.document();
    assert_eq!(freeze(&mut document).unwrap().refused[0].refusal.code(), "not-constant");
    assert!(!document.is_changed());
}

#[test]
fn a_function_with_its_own_constants_is_frozen_where_it_tells_type_and_axes() {
    // Called twice, so that nothing is known of x.
    for (op, expected) in [("Gemm", None), ("Relu", Some("unknown-type"))] {
        let mut model = Model::new(8, 17);
        let nodes: [NodeOf<'_>; 4] = [
            ("Constant", &[], &["one"], &[("value", Value::Tensor(&[1.0, 4.0]))]),
            (op, &["x", "one"], &["h"], &[]),
            (
                "BatchNormalization",
                &["h", "one", "one", "one", "one"],
                &["n"],
                &[("epsilon", Value::Float(0.0))],
            ),
            ("Neg", &["n"], &["y"], &[]),
        ];
        model.function("OurBlock", &["x"], &["y"], &nodes);
        // Values of other shapes under the same names are the graph's, not the function's.
        model.node("OurBlock", &["x"], &["h"], &[]);
        model.node("OurBlock", &["h"], &["y"], &[]);
        model.input("x", &[1, 2, 3, 3]);
        model.value("h", &[1, 2, 3, 3]);
        model.output("y", &[1, 2, 3, 3]);
        let mut document = model.document();
        let report = freeze(&mut document).unwrap();
        assert_eq!(report.refused.first().map(|refused| refused.refusal.code()), expected);
        if expected.is_none() {
            let written = written(&document);
            let nodes = Home { function: Some(0), steps: Vec::new() }.nodes(&written);
            assert_eq!(ops(nodes), ["Constant", "Gemm", "Constant", "Constant", "Mul", "Add", "Neg"]);
            let made: Vec<&str> = nodes[2..4].iter().filter_map(|node| node.output(0)).collect();
            assert!(
                made.contains(&nodes[4].inputs()[1].as_str()) && made.contains(&nodes[5].inputs()[1].as_str())
            );
            let Some(AttributeValue::Tensor(scale)) = nodes[2].attribute("value") else { panic!("no tensor") };
            assert_eq!(scale.dims(), [2]);
        }
    }
}
