//! Real files, of other producers.

use std::path::{Path, PathBuf};

use batchnorm_model::onnx::document::Document;
use batchnorm_model::onnx::layers::{self, Mode};

fn model(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("BATCHNORM_TEST_ONNX") else {
        eprintln!("skipped: BATCHNORM_TEST_ONNX does not name a folder with {name}");
        return None;
    };
    Some(Path::new(&folder).join(name))
}

#[test]
fn real_models_come_back_byte_for_byte() {
    for name in ["light_densenet121.onnx", "light_resnet50.onnx"] {
        let Some(path) = model(name) else { return };
        let document = Document::open(&path).unwrap();
        assert!(document.to_bytes().unwrap() == std::fs::read(&path).unwrap(), "{name} differs");
    }
}

#[test]
fn real_models_have_the_layers_that_they_are_known_for() {
    for (name, expected) in [("light_densenet121.onnx", 121), ("light_resnet50.onnx", 53)] {
        let Some(path) = model(name) else { return };
        let document = Document::open(&path).unwrap();
        let layers = layers::find(&document).unwrap();
        assert_eq!(layers.len(), expected, "{name}");
        assert_eq!((document.ir_version(), document.opset()), (3, 9));
        for layer in layers {
            assert_eq!((layer.mode, layer.spatial, layer.extra_outputs_used), (Mode::Inference, true, false));
            let channels = layer.channels().unwrap();
            let variance = layer.variance.numbers().unwrap().unwrap();
            assert_eq!(variance.len() as u64, channels, "{}", layer.name);
        }
    }
}

#[test]
fn one_changed_node_of_a_real_model_leaves_all_else_as_it_was() {
    let Some(path) = model("light_resnet50.onnx") else { return };
    let mut document = Document::open(&path).unwrap();
    let index = document.graph().nodes().iter().position(|node| node.is("Relu")).unwrap();
    document.graph_mut().node_mut(index).set_op("Tanh");
    let (before, after) = (std::fs::read(&path).unwrap(), document.to_bytes().unwrap());
    // Both names have four letters.
    assert_eq!(before.len(), after.len());
    let differing = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!(differing, 4);
}
