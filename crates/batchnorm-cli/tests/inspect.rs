//! `batchnorm inspect`, as a user runs it.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use batchnorm::Momentum;
use batchnorm_model::checkpoint::{NamedTensor, Tensors};
use batchnorm_model::onnx::{Dim, Graph, Normalization, Window};
use serde_json::{Value, json};

fn inspect(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("batchnorm").unwrap();
    command.current_dir(folder).arg("inspect").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Convolution, layer, ReLU, layer; `variance` is the second layer's.
fn model(path: &Path, variance: f32) {
    let mut graph = Graph::new("net");
    let dims = [Dim::Symbol("batch"), Dim::Fixed(2), Dim::Fixed(3), Dim::Fixed(3)];
    let x = graph.input("x", &dims);
    let w = graph.tensor("w", &[2, 2, 1, 1], &[1.0, -0.5, 0.25, 2.0]);
    let b = graph.tensor("b", &[2], &[0.5, 0.25]);
    let conv = graph.conv("conv", &x, &w, Some(&b), &Window::square(1, 1, 0), 1);
    let layer = |graph: &mut Graph, name: &str, x, variance: f32| {
        let [gamma, beta, mean, variance] =
            [("gamma", [1.0, 0.5]), ("beta", [0.0, 0.1]), ("mean", [0.5, -1.0]), ("variance", [1.0, variance])]
                .map(|(what, values)| graph.tensor(&format!("{name}.{what}"), &[2], &values));
        let layer = Normalization {
            gamma: &gamma,
            beta: &beta,
            mean: &mean,
            variance: &variance,
            eps: 1e-5,
            momentum: Momentum::of_old(0.9),
        };
        graph.batch_normalization(name, x, &layer)
    };
    let first = layer(&mut graph, "first", &conv, 2.0);
    let relu = graph.relu("relu", &first);
    let second = layer(&mut graph, "second", &relu, variance);
    graph.output("y", &second, &dims);
    graph.write(path).unwrap();
}

/// A folder with a healthy model and one with a negative variance.
fn models() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    model(&folder.path().join("good.onnx"), 3.0);
    model(&folder.path().join("bad.onnx"), -3.0);
    folder
}

#[test]
fn the_table_has_a_row_for_each_layer_and_says_what_was_found() {
    let folder = models();
    let output = inspect(folder.path(), &["bad.onnx"]);
    let table = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{table}{}", text(&output.stderr));
    let row = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    for part in
        ["2 ", "Conv → Relu", "inference", "1e-5", "0.5 .. 1", "-1 .. 0.5", "1 .. 2", "fold", "redundant-bias"]
    {
        assert!(row("first").contains(part), "{part}: {table}");
    }
    for part in ["Relu → output", "-3 .. 1", "refuse", "negative-variance"] {
        assert!(row("second").contains(part), "{part}: {table}");
    }
    assert!(table.contains("\nerror negative-variance in 1 layer\n"), "{table}");
    assert!(table.contains("\n    second: 1 channel (1)\n"), "{table}");
    assert!(
        table.contains("\nnote redundant-bias in 1 layer\n") && table.contains("`b` of Conv conv"),
        "{table}"
    );
    assert!(table.contains("\nrefuse "), "{table}");
    assert!(table.ends_with("\n2 layers, 4 channels: 1 error, 1 note; 1 can be folded, 1 cannot\n"), "{table}");
    assert!(!table.contains('\x1b'), "{table}");
}

#[test]
fn strict_fails_where_something_is_wrong() {
    let folder = models();
    let code = |arguments: &[&str]| inspect(folder.path(), arguments).status.code();
    assert_eq!(code(&["bad.onnx"]), Some(0));
    assert_eq!(code(&["bad.onnx", "--strict"]), Some(1));
    // A note is good to know.
    assert_eq!(code(&["good.onnx", "--strict"]), Some(0));
    assert_eq!(code(&["bad.onnx", "--strict", "--layers", "first"]), Some(0));
}

#[test]
fn the_document_is_that_of_schema_1() {
    let folder = models();
    let output = inspect(folder.path(), &["bad.onnx", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    let layers = document["layers"].as_array().unwrap();
    for layer in layers {
        for key in ["name", "channels", "eps", "mode", "findings", "fold"] {
            assert!(!layer[key].is_null(), "{key}: {layer}");
        }
        for finding in layer["findings"].as_array().unwrap() {
            assert!(
                finding["code"].is_string() && finding["channels"].is_array() && finding["message"].is_string()
            );
        }
    }
    assert_eq!(layers[0]["fold"]["verdict"], "fold");
    assert_eq!(layers[0]["fold"]["into"], "conv");
    assert_eq!(layers[1]["fold"]["verdict"], "refuse");
    assert!(layers[1]["fold"]["code"].is_string() && layers[1]["fold"]["reason"].is_string());
    assert_eq!((&document["summary"]["layers"], &document["summary"]["errors"]), (&json!(2), &json!(1)));
}

#[test]
fn layers_are_chosen_by_name_and_by_findings() {
    let folder = models();
    let names = |arguments: &[&str]| -> Vec<String> {
        let output = inspect(folder.path(), &[arguments, &["--json"]].concat());
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let layers = document["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["bad.onnx", "--layers", "s*"]), ["second"]);
    assert_eq!(names(&["good.onnx", "--findings"]), ["first"]);
    let table = text(&inspect(folder.path(), &["good.onnx", "--layers", "second", "--findings"]).stdout);
    assert!(table.starts_with("0 of 1 layer"), "{table}");
    let wrong = inspect(folder.path(), &["good.onnx", "--layers", "third"]);
    assert_eq!(wrong.status.code(), Some(2));
    let told = text(&wrong.stderr);
    assert!(
        told.contains("no batch-norm layer has a name like `third`; there are `first`, `second`"),
        "{told}"
    );
}

#[test]
fn the_page_is_self_contained_and_has_histograms_of_each_layer() {
    let folder = models();
    let output = inspect(folder.path(), &["bad.onnx", "--html", "page.html"]);
    assert!(output.status.success() && text(&output.stdout).ends_with("page     page.html\n"));
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    // Gamma, beta, mean, variance; the scale where there is one.
    assert!(page.matches("<figure").count() >= 8, "{}", page.matches("<figure").count());
    for part in
        ["Batch normalization in bad.onnx", "negative-variance", "log10 of the variance", "id=\"layer-1\""]
    {
        assert!(page.contains(part), "{part}");
    }
    for outside in ["http://", "https://", " src=", "@import", "NaN"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let failed = inspect(folder.path(), &["bad.onnx", "--html", "missing/page.html"]);
    assert_eq!(failed.status.code(), Some(2));
    assert!(text(&failed.stderr).contains("missing/page.html"), "{}", text(&failed.stderr));
}

#[test]
fn a_checkpoint_is_recognised_by_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = Tensors::default();
    tensors.tensors.push(NamedTensor::new("conv1.weight", [2, 3, 1, 1], vec![1.0_f32; 6]));
    for (name, value) in [("weight", 1.0_f32), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
        tensors.tensors.push(NamedTensor::new(format!("bn1.{name}"), [2], vec![value; 2]));
    }
    tensors.tensors.push(NamedTensor::new("bn1.num_batches_tracked", [], vec![0_i64]));
    // Whatever it is called.
    tensors.write(&folder.path().join("net.onnx")).unwrap();
    let output = inspect(folder.path(), &["net.onnx"]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(table.contains("never-trained") && table.contains("the counter of batches is 0"), "{table}");
    assert!(table.contains("conv1?"), "{table}");
    let output = inspect(folder.path(), &["net.onnx", "--json", "--eps", "0.001"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["format"], &document["layers"][0]["eps"]), (&json!("safetensors"), &json!(0.001)));
    assert_eq!(inspect(folder.path(), &["net.onnx", "--eps", "-1"]).status.code(), Some(2));
}

#[test]
fn what_cannot_be_read_is_told() {
    let folder = models();
    let good = fs::read(folder.path().join("good.onnx")).unwrap();
    fs::write(folder.path().join("cut.onnx"), &good[..good.len() / 2]).unwrap();
    fs::write(folder.path().join("text.onnx"), "hello, world\n").unwrap();
    fs::write(folder.path().join("empty.onnx"), "").unwrap();
    for name in ["cut.onnx", "text.onnx", "empty.onnx", "missing.onnx", "."] {
        for option in ["--strict", "--json"] {
            let output = inspect(folder.path(), &[name, option]);
            let told = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{name}: {told}");
            assert!(told.contains(&format!("`{name}`")) && told.contains("error:"), "{told}");
            assert!(output.stdout.is_empty());
        }
    }
}

#[test]
fn a_model_without_layers_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = Graph::new("net");
    let dims = [Dim::Symbol("batch"), Dim::Fixed(1), Dim::Fixed(3), Dim::Fixed(3)];
    let x = graph.input("x", &dims);
    let (w, b) = (graph.tensor("w", &[1, 1, 1, 1], &[1.0]), graph.tensor("b", &[1], &[1.0]));
    let y = graph.conv("conv", &x, &w, Some(&b), &Window::square(1, 1, 0), 1);
    graph.output("y", &y, &dims);
    graph.write(&folder.path().join("folded.onnx")).unwrap();
    let output = inspect(folder.path(), &["folded.onnx", "--strict", "--html", "page.html"]);
    let told = text(&output.stdout);
    assert!(output.status.success());
    assert!(told.starts_with("no batch-norm layers: the exporter folded them"), "{told}");
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("the exporter folded them"));
}
