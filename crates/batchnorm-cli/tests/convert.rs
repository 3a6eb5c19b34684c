//! `batchnorm convert`, as a user runs it.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use batchnorm_model::checkpoint::{Archive, EPS_KEY, NamedTensor, Tensors};
use batchnorm_model::onnx::document::{Document, Node};
use batchnorm_model::onnx::{Attribute, Dim, Graph};
use serde_json::Value;

fn convert(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("batchnorm").unwrap();
    command.arg("convert").args(arguments).current_dir(folder).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// x -> BatchNormalization, which trains -> Dropout -> Relu -> y; the mask is an output if `mask`.
fn training(folder: &Path, mask: bool) {
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(2)]);
    let [gamma, beta, mean, variance] = ["gamma", "beta", "mean", "variance"]
        .map(|name| graph.tensor(name, &[2], if name == "mean" { &[3.0, 0.0] } else { &[1.0, 4.0] }));
    let parameters = [&x, &gamma, &beta, &mean, &variance];
    let attributes = [("training_mode", Attribute::Int(1)), ("epsilon", Attribute::Float(0.0))];
    let h = graph.node("BatchNormalization", "bn", &parameters, &attributes);
    let kept = graph.node("Dropout", "dropout", &[&h], &[]);
    let y = graph.node("Relu", "relu", &[&kept], &[]);
    graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(2)]);
    let mut document = Document::from_bytes(graph.to_bytes().unwrap()).unwrap();
    let outputs = ["bn", "new_mean", "new_variance"].map(str::to_owned);
    document.graph_mut().node_mut(0).set_outputs(outputs.to_vec());
    if mask {
        document.graph_mut().node_mut(1).set_outputs(["dropout", "mask"].map(str::to_owned).to_vec());
        let use_of_it = Node::new("Identity", "seen", &["mask"], &["seen"]);
        document.graph_mut().insert_after(Some(1), use_of_it);
    }
    document.save(&folder.join("training.onnx")).unwrap();
}

fn ops(path: &Path) -> Vec<String> {
    Document::open(path).unwrap().graph().nodes().iter().map(|node| node.op().to_owned()).collect()
}

#[test]
fn a_training_export_becomes_a_model_for_inference() {
    let folder = tempfile::tempdir().unwrap();
    training(folder.path(), false);
    let before = fs::read(folder.path().join("training.onnx")).unwrap();
    let output = convert(folder.path(), &["training.onnx", "-o", "model.onnx", "--to-inference"]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    for part in ["bn", "without new_mean, new_variance", "removed", "2 of 2 nodes converted", "model.onnx"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert_eq!(ops(&folder.path().join("model.onnx")), ["BatchNormalization", "Relu"]);
    assert!(fs::read(folder.path().join("training.onnx")).unwrap() == before);

    // Again: a copy, byte for byte.
    let output = convert(folder.path(), &["model.onnx", "-o", "copy.onnx", "--to-inference"]);
    assert!(text(&output.stdout).contains("byte for byte"), "{}", text(&output.stdout));
    let bytes = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(bytes("model.onnx") == bytes("copy.onnx"));

    let output = convert(folder.path(), &["training.onnx", "--in-place", "--to-inference", "--frozen"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(ops(&folder.path().join("training.onnx")), ["Mul", "Add", "Relu"]);
}

#[test]
fn what_stays_is_told_with_a_code_a_reason_and_an_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    training(folder.path(), true);
    let arguments = ["training.onnx", "-o", "model.onnx", "--to-inference"];
    let output = convert(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    let table = text(&output.stdout);
    for part in ["stays: extra-outputs-used", "there is no `mask` at inference, and `seen` takes it"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    // The rest is converted all the same.
    assert_eq!(ops(&folder.path().join("model.onnx")), ["BatchNormalization", "Dropout", "Identity", "Relu"]);

    let output = convert(folder.path(), &[&arguments[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["changes"][0]["code"], "inference");
    assert_eq!(document["refused"][0]["code"], "extra-outputs-used");
    assert_eq!(document["refused"][0]["node"], "dropout");
    assert_eq!(document["summary"]["changed"], 1);
}

#[test]
fn a_checkpoint_gets_other_names_and_frozen_layers() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = Tensors::default();
    for name in ["weight", "bias", "running_mean", "running_var"] {
        tensors.tensors.push(NamedTensor::new(format!("bn1.{name}"), [2], vec![1.0_f32; 2]));
    }
    tensors.tensors.push(NamedTensor::new("bn1.num_batches_tracked", [], vec![7_i64]));
    tensors.write(&folder.path().join("net.safetensors")).unwrap();

    let names = ["net.safetensors", "-o", "keras.safetensors", "--names", "keras"];
    let output = convert(folder.path(), &names);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.contains("running_var -> moving_variance"), "{table}");
    let archive = Archive::open(&folder.path().join("keras.safetensors")).unwrap();
    assert!(archive.entry("bn1.moving_variance").is_some());

    let frozen = ["net.safetensors", "-o", "frozen.safetensors", "--frozen"];
    let output = convert(folder.path(), &frozen);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--eps"), "{}", text(&output.stderr));
    let output = convert(folder.path(), &[&frozen[..], &["--eps", "0.25", "--json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["layers"][0]["dropped"][0], "bn1.num_batches_tracked");
    let archive = Archive::open(&folder.path().join("frozen.safetensors")).unwrap();
    assert_eq!(archive.metadata()[EPS_KEY].parse(), Ok(0.25));
}

#[test]
fn misuse_is_told_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    training(folder.path(), false);
    fs::write(folder.path().join("text.onnx"), "no model at all").unwrap();
    let before = fs::read(folder.path().join("training.onnx")).unwrap();
    for (arguments, expected) in [
        (&["training.onnx", "-o", "./training.onnx", "--to-inference"][..], "--in-place"),
        (&["training.onnx", "--to-inference"], "--out"),
        (&["training.onnx", "-o", "out.onnx"], "--to-inference"),
        (&["training.onnx", "-o", "out.onnx", "--names", "keras"], "--names"),
        (&["training.onnx", "-o", "out.onnx", "--frozen", "--eps", "1"], "--eps"),
        (&["training.onnx", "-o", "out.onnx", "--drop-outputs"], "--to-inference"),
        (&["missing.onnx", "-o", "out.onnx", "--frozen"], "missing.onnx"),
        (&["text.onnx", "-o", "out.onnx", "--frozen"], "error"),
    ] {
        let output = convert(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
        assert!(!folder.path().join("out.onnx").exists());
    }
    assert!(fs::read(folder.path().join("training.onnx")).unwrap() == before);
}
