//! Models in other forms: training mode, old operators, shared statistics, constants made by nodes.

use std::sync::Arc;

use batchnorm_model::onnx::document::{AttributeValue, Document, ElementType, Node, Tensor};
use batchnorm_model::onnx::{Dim, Graph};

use crate::by_batch::with_opset;
use crate::models::{
    Data, batches_of, chain, chain_by_loops, conv, input, norm, recalibrate, statistics, with_versions,
};

#[track_caller]
fn is_right(bytes: &[u8], data: &mut Data) -> Document {
    let done = recalibrate(bytes, data, batches_of(4));
    let [first, second] = chain_by_loops(data);
    first.check(&statistics(&done.document, "bn1"));
    second.check(&statistics(&done.document, "bn2"));
    Document::from_bytes(done.document.to_bytes().unwrap()).unwrap()
}

#[test]
fn a_training_mode_export_is_measured_in_inference() {
    for opset in [9, 17] {
        let mut document = Document::from_bytes(with_opset(&chain(None), opset)).unwrap();
        for node in document.graph_mut().nodes_mut().iter_mut().filter(|node| node.is("BatchNormalization")) {
            let y = node.outputs()[0].clone();
            if opset >= 14 {
                node.set_attribute("training_mode", AttributeValue::Int(1));
            }
            node.set_outputs(vec![y.clone(), format!("{y}.mean"), format!("{y}.var")]);
        }
        let bytes = document.to_bytes().unwrap();
        let done = is_right(&bytes, &mut Data::new(10));
        // The mode stays as it is, and that is said.
        let mut data = Data::new(10);
        let report = recalibrate(&bytes, &mut data, batches_of(4)).report;
        assert!(report.findings.iter().all(|finding| finding.code == "training-mode"));
        assert_eq!(report.findings.len(), 2);
        assert!(done.graph().nodes().iter().any(|node| node.outputs().len() == 3));
    }
}

#[test]
fn dropout_is_out_of_effect() {
    let mut document = Document::from_bytes(chain(None)).unwrap();
    let graph = document.graph_mut();
    let index = graph.nodes().iter().position(|node| node.title() == "relu1").unwrap();
    let a = graph.nodes()[index].output(0).unwrap().to_owned();
    graph.node_mut(index).set_outputs(vec!["kept".to_owned()]);
    for (name, values, element) in [("ratio", 0.5, ElementType::Float), ("training", 1.0, ElementType::Float)] {
        graph.add_initializer(Tensor::made(name, &[], element, Arc::new(vec![values])));
    }
    let mut cast = Node::new("Cast", "yes", &["training"], &["yes"]);
    cast.set_attribute("to", AttributeValue::Int(ElementType::Bool.number()));
    graph.insert_after(Some(index), cast);
    graph.insert_after(Some(index + 1), Node::new("Dropout", "dropout", &["kept", "ratio", "yes"], &[&a]));
    is_right(&document.to_bytes().unwrap(), &mut Data::new(6));
}

#[test]
fn operators_of_old_and_the_old_format_keep_their_form() {
    for opset in [9, 13, 18] {
        is_right(&with_opset(&chain(None), opset), &mut Data::new(6));
    }
    // Up to IR version 3 each tensor is an input as well.
    let document = is_right(&inputs_of_old(shared(&chain(None))), &mut Data::new(6));
    let graph = document.graph();
    for tensor in graph.initializers() {
        assert!(graph.inputs().iter().any(|input| input.name() == tensor.name()), "{}", tensor.name());
    }
    assert_eq!(graph.inputs().len(), graph.initializers().len() + 1);
}

fn inputs_of_old(mut document: Document) -> Vec<u8> {
    use batchnorm_model::onnx::document::{Extent, ValueInfo};
    let graph = document.graph_mut();
    let tensors: Vec<ValueInfo> = graph
        .initializers()
        .iter()
        .map(|tensor| {
            let extents = tensor.dims().iter().map(|&dim| Extent::Fixed(dim)).collect();
            ValueInfo::new(tensor.name(), tensor.element(), Some(extents))
        })
        .collect();
    tensors.into_iter().for_each(|input| graph.add_input(input));
    with_versions(&with_opset(&document.to_bytes().unwrap(), 8), None, Some(3))
}

/// The chain with one tensor for the mean of the first layer and its shift.
fn shared(bytes: &[u8]) -> Document {
    let mut document = Document::from_bytes(bytes.to_vec()).unwrap();
    let graph = document.graph_mut();
    // The shift is what it was, and the old mean does not matter.
    let index = graph.nodes().iter().position(|node| node.title() == "bn1").unwrap();
    graph.node_mut(index).set_input(3, "bn1.bias");
    graph.remove_initializer("bn1.running_mean");
    document
}

#[test]
fn a_shared_tensor_stays_what_it_is_to_others() {
    let document = shared(&chain(None));
    let bytes = document.to_bytes().unwrap();
    let before = document.storage().values(document.graph().initializer("bn1.bias").unwrap()).unwrap();
    let after = is_right(&bytes, &mut Data::new(7));
    let graph = after.graph();
    assert_eq!(after.storage().values(graph.initializer("bn1.bias").unwrap()).unwrap(), before);
    assert_eq!(
        graph.nodes().iter().find(|node| node.title() == "bn1").unwrap().input(3),
        Some("bn1.running_mean")
    );
    let mut data = Data::new(7);
    let findings = recalibrate(&bytes, &mut data, batches_of(4)).report.findings;
    assert_eq!((findings.len(), findings[0].code), (1, "shared-statistics"));
}

#[test]
fn statistics_shared_by_two_layers_become_two_and_the_old_ones_go() {
    let mut graph = Graph::new("twice");
    let x = input(&mut graph, None);
    let z = conv(&mut graph, "conv1", &x, [3, 2], 1);
    let y = norm(&mut graph, "bn1", &z, 3, 2);
    let a = graph.relu("relu1", &y);
    let y = norm(&mut graph, "bn2", &a, 3, 5);
    graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(3), Dim::Fixed(5), Dim::Fixed(4)]);
    let mut document = Document::from_bytes(graph.to_bytes().unwrap()).unwrap();
    let graph = document.graph_mut();
    let index = graph.nodes().iter().position(|node| node.title() == "bn2").unwrap();
    for (input, name) in [(3, "bn1.running_mean"), (4, "bn1.running_var")] {
        graph.node_mut(index).set_input(input, name);
    }
    for name in ["bn2.running_mean", "bn2.running_var"] {
        graph.remove_initializer(name);
    }
    let done = recalibrate(&document.to_bytes().unwrap(), &mut Data::new(7), batches_of(4));
    assert_ne!(statistics(&done.document, "bn1"), statistics(&done.document, "bn2"));
    let names: Vec<&str> = done.document.graph().initializers().iter().map(|tensor| tensor.name()).collect();
    assert!(!names.contains(&"bn1.running_mean") && names.contains(&"bn1.running_mean.1"), "{names:?}");
    assert_eq!(names.len(), 1 + 4 + 4);
    // Nothing but the two layers and their tensors was touched.
    assert_eq!(done.document.graph().nodes().len(), document.graph().nodes().len());
}

#[test]
fn statistics_made_by_a_node_become_stored_ones() {
    let mut document = Document::from_bytes(chain(None)).unwrap();
    let graph = document.graph_mut();
    for (name, value) in [("bn1.running_mean", 0.0), ("bn1.running_var", 1.0)] {
        graph.remove_initializer(name);
        let mut node = Node::new("Constant", name, &[], &[name]);
        let tensor = Tensor::made("", &[3], ElementType::Float, Arc::new(vec![value; 3]));
        node.set_attribute("value", AttributeValue::Tensor(tensor.into()));
        graph.insert_after(None, node);
    }
    let nodes = document.graph().nodes().len();
    let after = is_right(&document.to_bytes().unwrap(), &mut Data::new(7));
    assert_eq!(after.graph().nodes().len(), nodes - 2);
}

#[test]
fn statistics_of_other_types_keep_them() {
    let mut document = Document::from_bytes(chain(None)).unwrap();
    let graph = document.graph_mut();
    let tensor = Tensor::made("bn1.running_mean", &[3], ElementType::Double, Arc::new(vec![0.0; 3]));
    graph.replace_initializer(tensor);
    // Only what comes out of the second layer is run, and tract takes no mixed types: the first layer is measured alone.
    let options = batchnorm_model::recalibrate::Options { layers: vec!["bn1".to_owned()], ..batches_of(4) };
    let mut data = Data::new(7);
    let done = recalibrate(&document.to_bytes().unwrap(), &mut data, options);
    let [first, _] = chain_by_loops(&data);
    first.check(&statistics(&done.document, "bn1"));
    let kept = done.document.graph().initializer("bn1.running_mean").unwrap();
    assert_eq!(kept.element(), ElementType::Double);
}
