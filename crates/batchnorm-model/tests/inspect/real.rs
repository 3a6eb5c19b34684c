//! Real files, of other producers.

use std::path::Path;

use batchnorm_model::inspect::{Inspection, Neighbour};
use batchnorm_model::onnx::document::Document;

#[test]
fn real_models_are_inspected_whole() {
    let Some(folder) = std::env::var_os("BATCHNORM_TEST_ONNX") else {
        eprintln!("skipped: BATCHNORM_TEST_ONNX does not name a folder with light_resnet50.onnx");
        return;
    };
    for (name, expected) in [("light_densenet121.onnx", 121), ("light_resnet50.onnx", 53)] {
        let document = Document::open(&Path::new(&folder).join(name)).unwrap();
        let inspection = Inspection::of(&document).unwrap();
        assert_eq!(inspection.layers.len(), expected, "{name}");
        for layer in &inspection.layers {
            assert!(matches!(layer.producer, Some(Neighbour::Node { .. })), "{name} {}", layer.name);
            assert!(!layer.consumers.is_empty(), "{name} {}", layer.name);
            let channels = layer.channels.unwrap();
            assert_eq!(layer.scale.as_ref().map(Vec::len), Some(channels), "{name} {}", layer.name);
            // A product or convolution right before it gives weights to every channel.
            let after = layer.producer.as_ref().is_some_and(|producer| producer.kind() == "Conv");
            assert_eq!(
                layer.folded_weights.as_ref().map(Vec::len),
                after.then_some(channels),
                "{}",
                layer.name
            );
        }
        assert_eq!(inspection.summary().errors, 0, "{name}");
    }
}
