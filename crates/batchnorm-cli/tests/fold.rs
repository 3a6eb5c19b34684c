//! `batchnorm fold`, from the outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use batchnorm_model::checkpoint::{NamedTensor, Tensors};
use batchnorm_model::onnx::document::Document;
use batchnorm_model::onnx::layers;
use tempfile::TempDir;

/// The models of the cases of folding.
fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../batchnorm-model/tests/fold/cases").join(name)
}

fn fold(arguments: &[&str]) -> Output {
    Command::cargo_bin("batchnorm").unwrap().arg("fold").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn left(path: &Path) -> usize {
    layers::find(&Document::open(path).unwrap()).unwrap().len()
}

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// A copy of a case's model.
    fn with(&self, name: &str) -> String {
        let path = self.path("model.onnx");
        fs::copy(case(name), &path).unwrap();
        path
    }

    fn files(&self) -> usize {
        fs::read_dir(self.0.path()).unwrap().count()
    }
}

#[test]
fn a_folded_model_is_compared_and_written() {
    let folder = Folder::new();
    let (model, out) = (folder.with("00n_chain.onnx"), folder.path("folded.onnx"));
    let before = fs::read(&model).unwrap();
    let output = fold(&[&model, "-o", &out]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    for part in ["3 of 3 layers folded", "difference", "the same", "folded.onnx: the folded model"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains('\x1b'), "colours where there is no terminal: {said:?}");
    assert_eq!((left(Path::new(&model)), left(Path::new(&out))), (3, 0));
    assert_eq!(fs::read(&model).unwrap(), before);
    assert_eq!(folder.files(), 2);
}

#[test]
fn a_refused_layer_has_a_code_and_a_reason_and_the_file_is_a_copy() {
    let folder = Folder::new();
    let (model, out) = (folder.with("19a_batch_norm_relu_conv.onnx"), folder.path("out.onnx"));
    let output = fold(&[&model, "-o", &out]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for part in ["activation-between", "(Relu) is between", "0 of 1 layers folded", "a copy of the model"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(fs::read(&model).unwrap(), fs::read(&out).unwrap());
}

#[test]
fn json_says_the_same() {
    let folder = Folder::new();
    let (model, out) = (folder.with("00p_chain_pre_activation.onnx"), folder.path("out.onnx"));
    let output = fold(&[&model, "-o", &out, "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["summary"]["folded"], 1);
    assert_eq!(document["summary"]["refused"], 1);
    assert_eq!(document["summary"]["verified"], true);
    let layers = document["layers"].as_array().unwrap();
    let verdicts: Vec<&str> = layers.iter().map(|layer| layer["verdict"].as_str().unwrap()).collect();
    assert!(verdicts.contains(&"fold") && verdicts.contains(&"refuse"), "{verdicts:?}");
    let output = document["outputs"][0].clone();
    assert!(output["difference"].as_f64().unwrap() <= output["bound"].as_f64().unwrap());
}

#[test]
fn in_place_means_the_models_own_file() {
    let folder = Folder::new();
    let model = folder.with("01a_conv_no_bias.onnx");
    let output = fold(&[&model, "-o", &model]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--in-place"));
    assert_eq!(left(Path::new(&model)), 1);
    assert_eq!(fold(&[&model, "--in-place"]).status.code(), Some(0));
    assert_eq!((left(Path::new(&model)), folder.files()), (0, 1));
}

#[test]
fn a_dry_run_writes_nothing() {
    let folder = Folder::new();
    let model = folder.with("01a_conv_no_bias.onnx");
    let output = fold(&[&model, "--dry-run"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("1 of 1 layers folded"));
    assert_eq!((left(Path::new(&model)), folder.files()), (1, 1));
}

#[test]
fn where_no_runtime_runs_the_model_there_is_no_file_unless_asked_for() {
    let folder = Folder::new();
    // Loops are not tract's.
    let (model, out) = (folder.with("25d_loop_outer_weight.onnx"), folder.path("out.onnx"));
    let output = fold(&[&model, "-o", &out]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["Loop", "--runtime", "--no-verify", "nothing was written"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(folder.files(), 1);
    let output = fold(&[&model, "-o", &out, "--no-verify"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("not compared"));
    assert_eq!(left(Path::new(&out)), 0);
}

#[test]
fn what_a_caller_may_override_and_borders_are_folded_when_asked_for() {
    let folder = Folder::new();
    for (name, option) in [
        ("22a_overridable_gamma_ir_8.onnx", "--overridable"),
        ("17a_batch_norm_then_padded_conv.onnx", "--exact-borders"),
    ] {
        let (model, out) = (folder.with(name), folder.path("out.onnx"));
        assert_eq!(fold(&[&model, "-o", &out]).status.code(), Some(0));
        assert_eq!(left(Path::new(&out)), 1, "{name}");
        let output = fold(&[&model, "-o", &out, option, "--no-verify"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(left(Path::new(&out)), 0, "{name}");
    }
}

#[test]
fn bad_input_is_one_clear_error_and_exit_code_2() {
    let folder = Folder::new();
    let model = folder.with("01a_conv_no_bias.onnx");
    let (out, cut, other) = (folder.path("out.onnx"), folder.path("cut.onnx"), folder.path("notes.md"));
    fs::write(&cut, &fs::read(&model).unwrap()[..300]).unwrap();
    fs::write(&other, "# Notes\n").unwrap();
    for (arguments, parts) in [
        (vec![folder.path("missing.onnx"), "-o".into(), out.clone()], vec!["missing.onnx"]),
        (vec![cut, "-o".into(), out.clone()], vec!["cut.onnx", "cut off"]),
        (vec![other, "-o".into(), out.clone()], vec!["notes.md", "another kind"]),
        (vec![model.clone()], vec!["--out"]),
        (vec![model.clone(), "-o".into(), out.clone(), "--pair".into(), "a=b".into()], vec!["leave --pair"]),
        (
            vec![model.clone(), "-o".into(), out.clone(), "--shape".into(), "y=1x2".into()],
            vec!["no such input", "x"],
        ),
        (vec![model.clone(), "-o".into(), out.clone(), "--shape".into(), "x".into()], vec!["x=1x3x224x224"]),
        (vec![model, "-o".into(), out.clone(), "--data".into(), folder.path("none.npy")], vec!["none.npy"]),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = fold(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        assert!(!Path::new(&out).exists(), "{arguments:?}");
    }
}

#[test]
fn a_checkpoint_is_folded_by_the_pairs_that_are_named() {
    let folder = Folder::new();
    let (model, out) = (folder.path("net.safetensors"), folder.path("out.safetensors"));
    let mut tensors = Tensors::default();
    tensors.tensors.push(NamedTensor::new("conv1.weight", [2, 1, 1, 1], vec![1.0_f32, 2.0]));
    for (name, value) in [("weight", 3.0_f32), ("bias", 1.0), ("running_mean", 2.0), ("running_var", 1.0)] {
        tensors.tensors.push(NamedTensor::new(format!("bn1.{name}"), [2], vec![value; 2]));
    }
    tensors.write(Path::new(&model)).unwrap();

    let output = fold(&[&model, "-o", &out]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--pair conv1=bn1"));

    let output = fold(&[&model, "-o", &out, "--pair", "conv*=bn*", "--eps", "0"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("1 of 1 pairs folded"));
    let folded = Tensors::read(Path::new(&out)).unwrap();
    // s = 3, t = 1 - 2 * 3.
    assert_eq!(folded.get("conv1.weight").unwrap().values, vec![3.0_f32, 6.0].into());
    assert_eq!(folded.get("conv1.bias").unwrap().values, vec![-5.0_f32, -5.0].into());

    let output = fold(&[&model, "-o", &out, "--pair", "conv9=bn1", "--eps", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("no-such-map"));
}
