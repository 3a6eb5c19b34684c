//! Constants between a convolution and a layer, on either side of their operators, one after the other.

use batchnorm::Momentum;
use batchnorm_model::fold::{Inputs, Options, fold, verify};
use batchnorm_model::onnx::document::{Document, Node};
use batchnorm_model::onnx::{Dim, Graph, Normalization, Value};
use batchnorm_model::runtime::{Array, Tract};

/// `x` of 2 channels, a map to 3, what `between` makes of it, a layer.
fn model(between: impl FnOnce(&mut Graph, &Value) -> Value) -> Vec<u8> {
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(2), Dim::Fixed(4), Dim::Fixed(4)]);
    let w = graph.tensor("w", &[3, 2, 1, 1], &[0.5, -1.0, 2.0, 0.25, -0.75, 1.5]);
    let h = graph.node("Conv", "conv", &[&x, &w], &[]);
    let h = between(&mut graph, &h);
    let mut tensor = |name, values: [f32; 3]| graph.tensor(name, &[3], &values);
    let (gamma, beta) = (tensor("gamma", [1.5, -0.5, 2.0]), tensor("beta", [0.5, 1.0, -2.0]));
    let (mean, variance) = (tensor("mean", [0.25, -1.0, 3.0]), tensor("variance", [2.0, 0.5, 1.0]));
    let numbers = Normalization {
        gamma: &gamma,
        beta: &beta,
        mean: &mean,
        variance: &variance,
        eps: 1e-5,
        momentum: Momentum::of_new(0.1),
    };
    let y = graph.batch_normalization("bn", &h, &numbers);
    graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(3), Dim::Fixed(4), Dim::Fixed(4)]);
    graph.to_bytes().unwrap()
}

/// Folds the model's only layer, checks what is left and that it computes the same.
fn check(bytes: &[u8], left: &[&str]) {
    let folded = |disturbed| {
        let mut document = Document::from_bytes(bytes.to_vec()).unwrap();
        fold(&mut document, &Options { disturbed, ..Options::default() }).unwrap();
        document
    };
    let document = folded(None);
    let ops: Vec<&str> = document.graph().nodes().iter().map(Node::op).collect();
    assert_eq!(ops, left);
    let after = document.to_bytes().unwrap();
    let moved: Vec<Vec<u8>> = (0..2).map(|seed| folded(Some(seed)).to_bytes().unwrap()).collect();
    let moved: Vec<_> = moved.iter().map(|bytes| bytes.as_slice().into()).collect();
    let values: Vec<f32> = (0..64).map(|index| (index * 37 % 64) as f32 / 16.0 - 2.0).collect();
    let inputs: Vec<Inputs> = vec![vec![("x".to_owned(), Array::new([2, 2, 4, 4], values).unwrap())]];
    for found in verify(&Tract, bytes.into(), after.as_slice().into(), &moved, &inputs).unwrap() {
        // A wrong sign or channel is off by a good part of the largest value.
        assert!(found.is_good() && found.difference < 1e-5 * found.largest, "{left:?}: {found:?}");
    }
}

fn constant(graph: &mut Graph, name: &str) -> Value {
    graph.tensor(name, &[3, 1, 1], &[2.0, -4.0, 0.5])
}

#[test]
fn sums_and_differences_take_the_shift_in() {
    for (op, first) in [("Add", false), ("Add", true), ("Sub", false), ("Sub", true)] {
        let bytes = model(|graph, h| {
            let k = constant(graph, "k");
            let operands = if first { [&k, h] } else { [h, &k] };
            graph.node(op, "op", &operands, &[])
        });
        check(&bytes, &["Conv", op]);
    }
}

#[test]
fn products_and_quotients_go_into_the_weight_however_many_there_are() {
    for op in ["Mul", "Div"] {
        let bytes = model(|graph, h| {
            let k = constant(graph, "k");
            let once = graph.node(op, "first", &[h, &k], &[]);
            let two = graph.tensor("two", &[], &[2.0]);
            graph.node("Mul", "second", &[&once, &two], &[])
        });
        check(&bytes, &["Conv"]);
    }
}

#[test]
fn sums_of_products_and_products_of_sums_too() {
    let bytes = model(|graph, h| {
        let (k, l, m) = (constant(graph, "k"), constant(graph, "l"), constant(graph, "m"));
        let scaled = graph.node("Mul", "scaled", &[h, &k], &[]);
        let shifted = graph.node("Sub", "shifted", &[&l, &scaled], &[]);
        graph.node("Mul", "again", &[&shifted, &m], &[])
    });
    check(&bytes, &["Conv", "Sub"]);
}

#[test]
fn a_constant_over_a_value_is_no_linear_map() {
    let bytes = model(|graph, h| {
        let k = constant(graph, "k");
        graph.node("Div", "op", &[&k, h], &[])
    });
    check(&bytes, &["Conv", "Div", "BatchNormalization"]);
}
