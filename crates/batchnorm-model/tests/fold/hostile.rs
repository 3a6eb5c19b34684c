//! Files of a few bytes that stand for more than a machine can do.

use std::time::{Duration, Instant};

use batchnorm::Momentum;
use batchnorm_model::fold::{Options, Outcome, Verdict, fold};
use batchnorm_model::onnx::document::Document;
use batchnorm_model::onnx::layers::{Home, Scope};
use batchnorm_model::onnx::{Attribute, Dim, Graph, Normalization, Value};

/// What is refused is refused at once; a busy machine may take a while.
const AT_ONCE: Duration = Duration::from_secs(30);

/// A stored tensor of integers, and a constant of this shape made of a number.
fn filled(graph: &mut Graph, name: &str, dims: &[i64]) -> Value {
    let shape = graph.tensor_i64(&format!("{name}_shape"), &[dims.len()], dims);
    graph.node("ConstantOfShape", name, &[&shape], &[])
}

/// A layer of two channels.
fn layer(graph: &mut Graph, x: &Value) -> Value {
    let [gamma, beta, mean, variance] =
        [1.5, 0.25, -1.0, 4.0].map(|value: f32| graph.tensor(&format!("row of {value}"), &[2], &[value; 2]));
    let numbers = Normalization {
        gamma: &gamma,
        beta: &beta,
        mean: &mean,
        variance: &variance,
        eps: 0.5,
        momentum: Momentum::of_new(0.1),
    };
    graph.batch_normalization("bn", x, &numbers)
}

/// The graph with an output that says it has two positions along each axis.
fn document(graph: Graph, y: &Value) -> Document {
    with_positions(graph, y, 2)
}

fn with_positions(mut graph: Graph, y: &Value, positions: usize) -> Document {
    graph.output("y", y, &[1, 1, positions, positions].map(Dim::Fixed));
    Document::from_bytes(graph.to_bytes().unwrap()).unwrap()
}

fn folded(mut document: Document) -> (Document, Outcome) {
    let started = Instant::now();
    let options = Options { exact_borders: true, ..Options::default() };
    let mut outcomes = fold(&mut document, &options).unwrap();
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    assert_eq!(outcomes.len(), 1);
    (document, outcomes.remove(0))
}

#[track_caller]
fn refused(document: Document, expected: &str) {
    let outcome = folded(document).1;
    let Verdict::Refused(refusal) = &outcome.verdict else { panic!("{outcome:?}") };
    assert_eq!(refusal.code, expected, "{refusal}");
}

#[test]
fn a_weight_that_is_made_of_one_number_is_not_gone_through_for_ever() {
    for dims in [[2, 1, 1 << 30, 1 << 20], [2, 1, i64::MAX, i64::MAX], [2, 1, -1, 1]] {
        let mut graph = Graph::new("net");
        let x = graph.input("x", &[Dim::Fixed(1), Dim::Fixed(1), Dim::Symbol("h"), Dim::Symbol("w")]);
        let weight = filled(&mut graph, "weight", &dims);
        let h = graph.node("Conv", "conv", &[&x, &weight], &[]);
        let y = layer(&mut graph, &h);
        refused(document(graph, &y), "runtime-weight");
    }
}

#[test]
fn lengths_of_nothing_are_not_multiplied() {
    for op in ["Flatten", "Transpose", "Reshape"] {
        let mut graph = Graph::new("net");
        let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(3)]);
        let nothing = filled(&mut graph, "nothing", &[0, i64::MAX, i64::MAX]);
        let rest = graph.tensor_i64("rest", &[1], &[-1]);
        let inputs = if op == "Reshape" { vec![&nothing, &rest] } else { vec![&nothing] };
        let weight = graph.node(op, "weight", &inputs, &[]);
        let h = graph.node("MatMul", "product", &[&x, &weight], &[]);
        let y = layer(&mut graph, &h);
        let (_, outcome) = folded(document(graph, &y));
        assert!(matches!(outcome.verdict, Verdict::Refused(_)), "{outcome:?}");
    }
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[1, 1, 4, 4].map(Dim::Fixed));
    let weight = graph.tensor("weight", &[2, 1, 1, 1], &[1.0, 2.0]);
    let h = graph.node("Conv", "conv", &[&x, &weight], &[]);
    let nothing = filled(&mut graph, "nothing", &[0, 2, i64::MAX, i64::MAX]);
    let h = graph.node("Add", "sum", &[&h, &nothing], &[]);
    let y = layer(&mut graph, &h);
    refused(document(graph, &y), "large-constant");
}

#[test]
fn a_value_that_is_its_own_shape_again_and_again_is_given_up() {
    let mut graph = Graph::new("net");
    let mut value = graph.tensor_i64("one", &[1], &[1]);
    for number in 0..60 {
        value = graph.node("Reshape", &format!("reshape {number}"), &[&value, &value], &[]);
    }
    let document = document(graph, &value);
    let scope = Scope::new(&document, &Home::default());
    let started = Instant::now();
    assert!(scope.constant(document.storage(), "reshape 58").unwrap().is_none());
    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    let third = scope.constant(document.storage(), "reshape 2").unwrap().unwrap();
    assert_eq!(third.all().unwrap(), [1.0]);
}

#[test]
fn a_long_way_between_layer_and_map_is_refused() {
    for op in ["Identity", "Add"] {
        let mut graph = Graph::new("net");
        let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(1)]);
        let weight = graph.tensor("weight", &[1, 2], &[1.0, 2.0]);
        let one = graph.tensor("one", &[2], &[1.0, 1.0]);
        let mut h = graph.node("MatMul", "product", &[&x, &weight], &[]);
        for number in 0..10_000 {
            let inputs = if op == "Add" { vec![&h, &one] } else { vec![&h] };
            h = graph.node(op, &format!("step {number}"), &inputs, &[]);
        }
        let y = layer(&mut graph, &h);
        let (_, outcome) = folded(document(graph, &y));
        assert!(matches!(outcome.verdict, Verdict::Refused(_)), "{outcome:?}");
    }
}

#[test]
fn pads_and_strides_that_are_none_break_nothing() {
    let (least, most) = (i64::MIN, i64::MAX);
    let text = |text: &str| Attribute::Text(text.to_owned());
    for attributes in [
        vec![("pads", Attribute::Ints(vec![least; 4]))],
        vec![("pads", Attribute::Ints(vec![most; 4]))],
        vec![("pads", Attribute::Ints(vec![1; 4])), ("strides", Attribute::Ints(vec![most; 2]))],
        vec![("pads", Attribute::Ints(vec![1; 4])), ("strides", Attribute::Ints(vec![least; 2]))],
        vec![("pads", Attribute::Ints(vec![1; 4])), ("dilations", Attribute::Ints(vec![most; 2]))],
        vec![("auto_pad", text("SAME_UPPER")), ("strides", Attribute::Ints(vec![most; 2]))],
    ] {
        let mut graph = Graph::new("net");
        let x = graph.input("x", &[Dim::Fixed(1), Dim::Fixed(2), Dim::Fixed(4), Dim::Fixed(4)]);
        let h = layer(&mut graph, &x);
        let weight = graph.tensor("weight", &[1, 2, 3, 3], &[1.0; 18]);
        let y = graph.node("Conv", "y", &[&h, &weight], &attributes);
        let (document, _) = folded(document(graph, &y));
        document.to_bytes().unwrap();
    }
}

#[test]
fn a_bias_for_rows_without_end_is_refused() {
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(1)]);
    let weight = graph.tensor("weight", &[1, 2], &[1.0, 2.0]);
    let bias = filled(&mut graph, "bias", &[1 << 24, 1]);
    let h = graph.node("Gemm", "product", &[&x, &weight, &bias], &[]);
    let y = layer(&mut graph, &h);
    refused(document(graph, &y), "large-constant");
}

#[test]
fn a_constant_image_of_more_additions_than_anybody_waits_for_is_refused() {
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[Dim::Fixed(1), Dim::Fixed(2), Dim::Fixed(3000), Dim::Fixed(3000)]);
    let h = layer(&mut graph, &x);
    let weight = filled(&mut graph, "weight", &[1, 2, 2001, 2001]);
    let y = graph.node("Conv", "y", &[&h, &weight], &[("pads", Attribute::Ints(vec![1000; 4]))]);
    refused(with_positions(graph, &y, 3000), "large-constant");
}
