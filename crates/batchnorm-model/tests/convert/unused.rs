//! What a change leaves without use.

use batchnorm_model::onnx::layers::{Home, remove_unused};

use crate::models::{Model, Value, ops, written};

const MAIN: Home = Home { function: None, steps: Vec::new() };

/// w goes through two operators to `Conv`; the second one's output is used elsewhere if `used`.
fn chain(used: bool) -> Model {
    let mut model = Model::new(8, 17);
    model.node("Identity", &["w"], &["same"], &[]);
    model.node("Cast", &["same"], &["typed"], &[("to", Value::Int(1))]);
    model.node("Relu", &["x"], &["y"], &[]);
    if used {
        model.node("Neg", &["same"], &["z"], &[]);
    }
    model.tensor("w", &[2], &[1.0, 2.0]);
    model.tensor("alone", &[1], &[1.0]);
    model.input("x", &[1, 2]);
    model.output("y", &[1, 2]);
    model.value("typed", &[2]);
    model
}

fn remove(model: &Model, name: &str) -> (Vec<String>, Vec<String>, usize) {
    let mut document = model.document();
    let removed = remove_unused(&mut document, &[(MAIN, name.to_owned())]);
    let written = written(&document);
    let left = ops(written.graph().nodes()).into_iter().map(str::to_owned).collect();
    (removed, left, written.graph().initializers().len())
}

#[test]
fn a_constant_goes_with_all_it_was_made_from() {
    let (removed, left, tensors) = remove(&chain(false), "typed");
    assert_eq!(removed, ["typed", "same", "w"]);
    assert_eq!((left, tensors), (vec!["Relu".to_owned()], 1));
}

#[test]
fn what_somebody_uses_stays() {
    let (removed, left, tensors) = remove(&chain(true), "typed");
    assert_eq!(removed, ["typed"]);
    assert_eq!((left, tensors), (vec!["Identity".to_owned(), "Relu".to_owned(), "Neg".to_owned()], 2));
    assert_eq!(remove(&chain(true), "same").0, [""; 0]);
    assert_eq!(remove(&chain(true), "w").0, [""; 0]);
}

#[test]
fn what_is_no_constant_stays() {
    assert_eq!(remove(&chain(true), "z").0, [""; 0]);
    assert_eq!(remove(&chain(true), "x").0, [""; 0]);
    assert_eq!(remove(&chain(true), "nothing of this name").0, [""; 0]);
}

#[test]
fn outputs_and_inputs_stay() {
    let mut model = chain(false);
    model.output("alone", &[1]);
    assert_eq!(remove(&model, "alone").0, [""; 0]);
    // From IR version 4 on a caller may give it.
    let mut model = chain(false);
    model.input("alone", &[1]);
    assert_eq!(remove(&model, "alone").0, [""; 0]);
    // Before, every stored tensor is listed, and would be asked for.
    let mut model = Model::new(3, 9);
    model.tensor("alone", &[1], &[1.0]);
    model.node("Relu", &["x"], &["y"], &[]);
    model.input("x", &[1]);
    model.output("y", &[1]);
    let mut document = model.document();
    assert_eq!(remove_unused(&mut document, &[(MAIN, "alone".to_owned())]), ["alone"]);
    assert_eq!(written(&document).graph().inputs().len(), 1);
}

#[test]
fn a_use_in_a_graph_inside_a_node_is_one() {
    let mut inner = Model::new(8, 17);
    inner.node("Neg", &["typed"], &["inner"], &[]);
    inner.output("inner", &[2]);
    let mut model = chain(false);
    let branches = [("then_branch", Value::Graph(&inner)), ("else_branch", Value::Graph(&inner))];
    model.node("If", &["which"], &["z"], &branches);
    assert_eq!(remove(&model, "typed").0, [""; 0]);
}
