//! Files of any kind, told by their contents; and what folding says of their layers.

use std::error::Error;
use std::fs;
use std::path::Path;

use batchnorm_model::checkpoint::{NamedTensor, Tensors};
use batchnorm_model::inspect::{Inspection, ModelFormat, Neighbour, Severity};

use crate::models::Model;

/// A checkpoint with a map and a layer behind it.
fn checkpoint(path: &Path, mean: f32, batches: i64, metadata: &[(&str, &str)]) {
    let mut tensors = Tensors::default();
    tensors.tensors.push(NamedTensor::new("conv1.weight", [2, 3, 1, 1], vec![1.0_f32; 6]));
    tensors.tensors.push(NamedTensor::new("conv1.bias", [2], vec![1.0_f32; 2]));
    for (name, value) in [("weight", 1.0_f32), ("bias", 0.0), ("running_mean", mean), ("running_var", 1.0)] {
        tensors.tensors.push(NamedTensor::new(format!("bn1.{name}"), [2], vec![value; 2]));
    }
    tensors.tensors.push(NamedTensor::new("bn1.num_batches_tracked", [], vec![batches]));
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    tensors.metadata.extend(metadata);
    tensors.write(path).unwrap();
}

#[test]
fn an_onnx_model_comes_with_what_folding_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let model = Model::healthy("first", "c", "h")
        .tensor("w", &[2, 1, 1, 1], &[1.0; 2])
        .node("Conv", "conv", &["x", "w"], &["c"], &[])
        .node("Relu", "relu", &["h"], &["r"], &[])
        .healthy_layer("second", "r", "y");
    fs::write(&path, model.bytes()).unwrap();
    let inspection = Inspection::open(&path, None).unwrap();
    assert_eq!(inspection.format, ModelFormat::Onnx);
    let [first, second] = &inspection.layers[..] else { panic!("two layers") };
    let [first, second] = [first, second].map(|layer| layer.fold.clone().unwrap());
    assert!(first.fold && first.into.as_deref() == Some("conv") && first.code.is_none());
    assert!(!second.fold && second.into.is_none() && second.code.is_some() && !second.reason.is_empty());
    // Nothing was written.
    assert_eq!(fs::read(&path).unwrap(), model.bytes());
}

#[test]
fn a_checkpoint_has_layers_without_a_graph() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    checkpoint(&path, 0.5, 100, &[]);
    let inspection = Inspection::open(&path, None).unwrap();
    assert_eq!((inspection.format, inspection.opset), (ModelFormat::Safetensors, None));
    let layer = &inspection.layers[0];
    assert_eq!((layer.name.as_str(), layer.channels, layer.batches), ("bn1", Some(2), Some(100)));
    assert_eq!(layer.producer, Some(Neighbour::Guess("conv1".to_owned())));
    assert_eq!((layer.eps, layer.mode, layer.momentum), (None, None, None));
    let codes: Vec<&str> = layer.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["redundant-bias"]);
    // Where it says eps, or somebody does.
    checkpoint(&path, 0.5, 100, &[("batchnorm.eps", "0.0625")]);
    let stated = Inspection::open(&path, None).unwrap();
    assert_eq!(stated.layers[0].eps, Some(0.0625));
    let finding = &stated.layers[0].findings[0];
    assert_eq!((finding.code, finding.severity), ("suspicious-eps", Severity::Warning));
    checkpoint(&path, 0.5, 100, &[]);
    assert_eq!(Inspection::open(&path, Some(0.001)).unwrap().layers[0].eps, Some(0.001));
}

#[test]
fn a_checkpoint_that_saw_no_batch_was_never_trained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let found = |mean, batches| {
        checkpoint(&path, mean, batches, &[]);
        let layers = Inspection::open(&path, None).unwrap().layers;
        let finding = layers[0].findings.iter().find(|finding| finding.code == "never-trained");
        finding.map(|finding| finding.facts.clone())
    };
    assert_eq!(found(0.0, 0).as_deref(), Some("the counter of batches is 0"));
    assert_eq!(found(0.5, 0).as_deref(), Some("the counter of batches is 0"));
    assert_eq!(found(0.0, 5).as_deref(), Some("every mean is 0 and every variance 1"));
    assert_eq!(found(0.5, 5), None);
}

#[test]
fn a_file_by_torch_save_is_read_without_running_it() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    for name in ["state.pth", "legacy.pth", "training.pth"] {
        let inspection = Inspection::open(&goldens.join(name), None).unwrap();
        assert_eq!(inspection.format, ModelFormat::PyTorch, "{name}");
        let layer = inspection.layers.iter().find(|layer| layer.name == "bn1").unwrap();
        assert_eq!((layer.channels, layer.producer.as_ref().map(Neighbour::name)), (Some(4), Some("conv1")));
    }
}

#[test]
fn a_checkpoint_without_layers_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let mut tensors = Tensors::default();
    tensors.tensors.push(NamedTensor::new("fc.weight", [2], vec![1.0_f32; 2]));
    tensors.write(&path).unwrap();
    let absence = Inspection::open(&path, None).unwrap().absence.unwrap();
    assert!(absence.checkpoint && absence.to_string().contains("running mean"), "{absence}");
}

#[test]
fn what_is_no_model_is_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let bytes = Model::healthy("bn", "x", "y").bytes();
    for wrong in [&b"hello, world\n"[..], b"", &bytes[..bytes.len() / 2]] {
        fs::write(&path, wrong).unwrap();
        let error = Inspection::open(&path, None).unwrap_err();
        assert!(error.to_string().contains("net.onnx") && error.source().is_some(), "{error}");
    }
    let missing = Inspection::open(&folder.path().join("missing.onnx"), None).unwrap_err();
    assert!(missing.to_string().contains("missing.onnx"), "{missing}");
    // Cut anywhere: an error or a model, and no panic.
    for end in 0..bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        let _ = Inspection::open(&path, None);
    }
}
