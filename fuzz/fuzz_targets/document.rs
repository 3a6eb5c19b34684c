//! Any bytes as an ONNX model: it is refused with a reason, or comes back byte for byte and can be changed.
//!
//! ```sh
//! cargo +nightly fuzz run document -- -max_total_time=600 -rss_limit_mb=2048
//! ```
//!
//! Of every input that is a model:
//!
//! 1. unchanged, it is written as the bytes it was read from;
//! 2. with a changed node in each of its graphs it is a model again, with as many nodes;
//! 3. its batch-norm layers, and every value that may be a constant, are found or refused; nothing panics or asks for more
//!    memory than the limit;
//! 4. made one for inference, with frozen layers, and folded, it is a model again.

#![no_main]

use batchnorm_model::convert::{InferenceOptions, freeze, to_inference};
use batchnorm_model::fold::{Options, fold};
use batchnorm_model::onnx::document::{AttributeValue, Document, Node};
use batchnorm_model::onnx::layers::{self, Home, Scope};
use libfuzzer_sys::fuzz_target;

/// Elements that are read of a constant: its length is what the file says.
const ELEMENTS: u64 = 1 << 16;

/// Every graph of a model, and its functions.
fn homes(document: &Document) -> Vec<Home> {
    let functions =
        (0..document.functions().len()).map(|index| Home { function: Some(index), steps: Vec::new() });
    let mut homes: Vec<Home> = [Home::default()].into_iter().chain(functions).collect();
    let mut next = 0;
    while next < homes.len() {
        let home = homes[next].clone();
        for (index, node) in home.nodes(document).iter().enumerate() {
            for (attribute, value) in node.attributes().iter().enumerate() {
                if matches!(value.value(), AttributeValue::Graph(_)) {
                    homes.push(home.inside(index, attribute));
                }
            }
        }
        next += 1;
    }
    homes
}

/// All nodes, those of graphs inside nodes included.
fn nodes(document: &Document) -> usize {
    homes(document).iter().map(|home| home.nodes(document).len()).sum()
}

/// What can be known of the model without running it.
fn explore(document: &Document) {
    let _ = layers::find(document);
    for home in homes(document) {
        let scope = Scope::new(document, &home);
        let names = scope.nodes().iter().flat_map(|node| node.inputs().iter().chain(node.outputs()));
        for name in names {
            let _ = scope.producer(name);
            if let Ok(Some(constant)) = scope.constant(document.storage(), name)
                && constant.len() <= ELEMENTS
            {
                let _ = constant.all();
            }
            let _ = scope.constant_ints(document.storage(), name);
        }
        for tensor in home.graph(document).iter().flat_map(|graph| graph.initializers()) {
            let _ = document.storage().values(tensor);
        }
    }
}

/// What can be made of the model.
fn convert(document: &Document) {
    let mut changed = document.clone();
    let report = to_inference(&mut changed, InferenceOptions { drop_outputs: true }).expect("nothing is read");
    assert!(changed.is_changed() || report.changes.is_empty());
    let again = |document: &Document| {
        let bytes = document.to_bytes().expect("what was made can be written");
        Document::from_bytes(bytes).expect("what was made can be read")
    };
    let mut inference = again(&changed);
    if freeze(&mut inference).is_ok() {
        again(&inference);
    }
    let mut folded = document.clone();
    if fold(&mut folded, &Options::default()).is_ok() {
        // Folded weights are read as they are written.
        if let Ok(bytes) = folded.to_bytes() {
            Document::from_bytes(bytes).expect("a folded model can be read");
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(mut document) = Document::from_bytes(data.to_vec()) else { return };
    assert!(!document.is_changed());
    assert!(document.to_bytes().expect("what was read can be written") == data, "the bytes differ");
    explore(&document);
    convert(&document);

    // The innermost first: a changed graph changes those around it.
    for home in homes(&document).iter().rev() {
        if let Some(node) = home.nodes_mut(&mut document).and_then(<[Node]>::first_mut) {
            node.set_op("Changed");
        }
    }
    let bytes = document.to_bytes().expect("a changed model can be written");
    let again = Document::from_bytes(bytes.clone()).expect("a changed model can be read");
    assert_eq!(nodes(&again), nodes(&document), "nodes were lost");
    assert!(again.to_bytes().expect("written again") == bytes);
    explore(&again);
});
