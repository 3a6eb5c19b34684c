//! Files: bytes that stay, names, saving.

use std::path::Path;

use batchnorm_model::fold::{Options, Verdict, fold};
use batchnorm_model::onnx::document::Document;

use crate::cases::folder;

#[test]
fn graph_inputs_and_outputs_keep_their_names() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let before = Document::open(&path).unwrap();
        let mut after = before.clone();
        fold(&mut after, &Options::default()).unwrap();
        let outputs = |document: &Document| -> Vec<String> {
            document.graph().outputs().iter().map(|output| output.name().to_owned()).collect()
        };
        assert_eq!(outputs(&before), outputs(&after), "{}", path.display());
        // Up to IR version 3 stored tensors are inputs as well, and come and go with them.
        let given = |document: &Document| -> Vec<String> {
            let graph = document.graph();
            let inputs = graph.inputs().iter().map(|input| input.name().to_owned());
            inputs.filter(|name| graph.initializer(name).is_none()).collect()
        };
        assert_eq!(given(&before), given(&after), "{}", path.display());
        if after.ir_version() <= 3 {
            let graph = after.graph();
            let listed = |name: &str| graph.inputs().iter().any(|input| input.name() == name);
            assert!(graph.initializers().iter().all(|tensor| listed(tensor.name())), "{}", path.display());
        }
    }
}

#[test]
fn no_constant_is_left_that_only_the_layer_used() {
    for file in ["01a_conv_no_bias.onnx", "26a_constant_nodes.onnx", "26h_identity_of_cast_of_constant.onnx"] {
        let mut document = Document::open(&folder().join(file)).unwrap();
        fold(&mut document, &Options::default()).unwrap();
        let graph = document.graph();
        let used =
            |name: &str| graph.nodes().iter().any(|node| node.inputs().iter().any(|input| input == name));
        for tensor in graph.initializers() {
            assert!(used(tensor.name()), "{file}: {} is left", tensor.name());
        }
        for node in graph.nodes() {
            let needed = node.outputs().iter().any(|output| used(output) || graph.is_output(output));
            assert!(needed, "{file}: {} is left", node.title());
        }
    }
}

#[test]
fn folding_twice_changes_nothing_more() {
    let mut document = Document::open(&folder().join("00n_chain.onnx")).unwrap();
    fold(&mut document, &Options::default()).unwrap();
    let once = document.to_bytes().unwrap();
    let mut again = Document::from_bytes(once.clone()).unwrap();
    assert!(fold(&mut again, &Options::default()).unwrap().is_empty());
    assert!(again.to_bytes().unwrap() == once);
}

#[test]
fn layers_inside_nodes_are_found_after_others_before_them_went() {
    // Convolution and layer, then a node whose branches have one each: it moves to the front.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fold/before_a_branch.onnx");
    let mut document = Document::open(&path).unwrap();
    let outcomes = fold(&mut document, &Options::default()).unwrap();
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Folded(_))).count(), 3);
    let again = Document::from_bytes(document.to_bytes().unwrap()).unwrap();
    assert!(batchnorm_model::onnx::layers::find(&again).unwrap().is_empty());
}
