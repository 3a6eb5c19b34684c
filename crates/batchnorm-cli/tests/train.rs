//! `batchnorm train`, as its users see it.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

const SHORT: &str = "--steps 20 --layers 10 --threads 1 --no-progress";

fn batchnorm(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(assert_cmd::cargo_bin!("batchnorm"));
    command.current_dir(folder).args(line.split_whitespace()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn bad_input_is_one_clear_error_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("full")).unwrap();
    fs::write(folder.path().join("full/notes.txt"), "mine").unwrap();
    fs::write(folder.path().join("file"), "mine").unwrap();
    let cases = [
        ("train --no-such-option", "--no-such-option"),
        ("train --data imagenet", "digits, mnist, fashion-mnist, cifar10"),
        ("train --network alexnet", "mlp, lenet, vgg, resnet20, inception"),
        ("train --network lenet", "at least 12x12 pixels, found 8x8"),
        ("train --network vgg --layers 3,4", "leave them out"),
        ("train --width 4", "leave it out"),
        ("train --network resnet20 --width 0", "1 to 512 channels"),
        ("train --zero-gamma", "resnet20"),
        ("train --skips --layers 30,20", "64 values per image and hidden layers [30, 20]"),
        ("train --network vgg --skips", "in `mlp` alone, found `vgg`"),
        ("train --dropout 1", "less than 1, found 1; 0.5 is a usual one"),
        ("train --dropout -0.5", "found -0.5"),
        ("train --network resnet20 --dropout 0.5", "`resnet20` has no hidden linear layer"),
        ("train --train-only affine", "found `none`, which has none of them"),
        ("train --train-only gamma", "all, affine, output"),
        ("train --norm layer --no-gap", "`--no-gap` is about running statistics"),
        ("train --schedule wave", "constant, step, exponential, cosine"),
        ("train --decay-factor 0.5", "the schedule is `constant`"),
        ("train --schedule step --decay-every 0", "every 1 or more steps"),
        ("train --schedule exponential --decay-factor -1", "found -1"),
        ("train --weight-decay -1", "weight decay"),
        ("train --weight-decay-on all", "--weight-decay"),
        ("train --init he --init-std 0.1", "`--init he`"),
        ("train --binarize --standardize", "not both"),
        ("train --eval-images 0", "at least 1 test image"),
        ("train --checkpoint-every 0", "every 1 or more steps"),
        ("train --arm both", "plain, batch_norm"),
        ("train --arm plain --compare", "cannot be used with"),
        ("train --norm layer --compare none,batch", "cannot be used with"),
        ("train --norm ghost:0", "unknown normalization `ghost:0`; there is: none, batch, ghost:SIZE"),
        ("train --norm batch_norm", "unknown normalization `batch_norm`"),
        ("train --norm frozen-after:0", "frozen-after:STEP (1 or more)"),
        ("train --norm group:-3", "unknown normalization `group:-3`"),
        (
            "train --network vgg --width 8 --norm group:7",
            "`features.0.bn` has 8 channels, found 7 groups; the numbers that do",
        ),
        ("train --norm instance", "`hidden.0.bn` alone"),
        ("train --network vgg --compare none,instance", "`hidden.bn` alone"),
        ("train --compare batch,batch", "each normalization once, found `batch` twice"),
        ("train --compare=", "unknown normalization ``; there is: none, batch"),
        ("train --compare batch,,layer", "unknown normalization ``"),
        ("train --compare batch layer", "unexpected argument 'layer'"),
        ("train --steps 50 --compare batch,frozen-after:50", "the run has 50"),
        ("train --norm layer --arm plain", "leave one out"),
        ("train --norm none --arm batch_norm", "leave one out"),
        ("train --norm layer --renorm-steps 9", "applies to `renorm`"),
        ("train --norm renorm --renorm-steps 0", "1 or more steps, found 0"),
        ("train --norm layer --batch-size 0", "at least 1, found 0"),
        ("train --norm ghost:16 --batch-size 17", "leave one image over"),
        ("train --norm renorm --batch-size 1", "at least 2, found 1"),
        ("train --resume full --norm layer", "cannot be used with"),
        ("train --resume full --compare none", "cannot be used with"),
        ("train --data full", "full"),
        ("train --data no/such/folder", "no/such/folder"),
        ("train --data mnist --offline --cache cache", "cache"),
        ("train --resume full", "no checkpoint"),
        ("train --resume nowhere", "no checkpoint"),
        ("train --resume file", "not a folder"),
        ("train --resume full --seed 2", "cannot be used with"),
        ("train --activation swish", "sigmoid, relu, tanh"),
        ("train --optimizer sgdd", "sgd, adam"),
        ("train --statistics batch", "running, population"),
        ("train --batch-size 1", "at least 2, found 1"),
        ("train --batch-size 5000", "at most 1437"),
        ("train --steps 0", "at least 1 step"),
        ("train --steps -5", "-5"),
        ("train --layers 100,abc", "abc"),
        ("train --layers 100,,100", "--layers"),
        ("train --layers 100,0", "at least one unit"),
        ("train --learning-rate 0", "learning rate"),
        ("train --learning-rate -1", "learning rate"),
        ("train --learning-rate nan", "learning rate"),
        ("train --init-std -0.1", "initial weights"),
        ("train --sgd-momentum 1", "[0, 1)"),
        ("train --optimizer adam --sgd-momentum 0.9", "adam"),
        ("train --eval-every 0", "found every 0"),
        ("train --steps 5 --eval-every 10", "the run has 5"),
        ("train --threads 0", "at least 1 thread"),
        ("train --threads 1000000", "at most 1024"),
        ("train --layers 99999999999", "at most 65536 units"),
        ("train --layers 65536,65536", "weights between them"),
        ("train --bn-eps -1", "eps"),
        ("train --bn-momentum inf", "momentum"),
        ("train --bn-before-activation --bn-after-activation", "cannot be used with"),
        ("train --out full", "not empty"),
        ("train --out file", "not a folder"),
        ("train --out file/inside", "file"),
        ("train --out /proc/none", "/proc/none"),
        ("tarin", "tarin"),
        ("train extra", "extra"),
    ];
    for (line, expected) in cases {
        let output = batchnorm(folder.path(), line);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {error}");
        assert!(error.starts_with("error: "), "{line}: {error}");
        assert!(error.contains(expected), "{line}: {error}");
        assert_eq!(error.matches("error:").count(), 1, "{line}: {error}");
        assert!(!error.contains("panicked") && !error.contains('\u{1b}'), "{line}: {error}");
        assert_eq!(text(&output.stdout), "", "{line}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("full/notes.txt")).unwrap(), "mine");
    assert!(!folder.path().join("runs").exists(), "a refused run leaves nothing behind");
}

#[test]
fn errors_name_the_option_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    for (line, option) in
        [("train --batch-size 1", "`--batch-size`"), ("train --bn-eps -1", "`--bn-eps`"), ("train --out .", "")]
    {
        let error = text(&batchnorm(folder.path(), line).stderr);
        assert!(option.is_empty() || error.lines().last().unwrap().contains(option), "{error}");
    }
}

#[test]
fn a_run_prints_tables_and_writes_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let output = batchnorm(folder.path(), &format!("train --out a/b {SHORT}"));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    for expected in [
        "90 % test accuracy",
        "best test accuracy",
        "time per step",
        "population (Algorithm 2)",
        "a/b/metrics.json",
        "a/b/report.html",
        "a/b/batch_norm.onnx",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    assert!(err.contains("CC BY 4.0"), "{err}");
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}') && !err.contains('\r'), "{out}{err}");
    let mut names: Vec<_> =
        fs::read_dir(folder.path().join("a/b")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    let expected = [
        "batch_norm.onnx",
        "batch_norm.safetensors",
        "checkpoint.safetensors",
        "metrics.json",
        "plain.safetensors",
        "report.html",
    ];
    assert_eq!(names, expected);
    let again = batchnorm(folder.path(), &format!("train --out a/b {SHORT}"));
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("not empty"));
}

#[test]
fn every_normalization_has_its_column_and_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let line =
        format!("train --out run --compare none,batch,ghost:16,renorm,group:5,layer,frozen-after:10 {SHORT}");
    let output = batchnorm(folder.path(), &line);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    let header = out.lines().find(|line| line.contains("ghost:16 ")).unwrap();
    let columns: Vec<&str> = header.split_whitespace().collect();
    assert_eq!(
        columns,
        ["plain", "batch", "ghost:16", "renorm", "group:5", "layer", "frozen-after:10"],
        "{out}"
    );
    let of_statistics = out.split("test accuracy with statistics").nth(1).unwrap();
    assert!(of_statistics.contains("\nrenorm ") && !of_statistics.contains("\nlayer "), "{out}");
    for name in ["batch_norm", "ghost_16", "renorm", "group_5", "layer_norm", "frozen_after_10"] {
        for ending in ["safetensors", "onnx"] {
            assert!(folder.path().join(format!("run/{name}.{ending}")).is_file(), "{name}.{ending}");
        }
    }
    assert!(folder.path().join("run/plain.safetensors").is_file());
    let document = fs::read_to_string(folder.path().join("run/metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(metrics["settings"]["norms"][2], "ghost:16");
    assert_eq!(metrics["settings"]["renorm_steps"], 20);
    // In the order of training.
    let places: Vec<usize> = ["plain", "batch_norm", "ghost_16", "renorm", "group_5", "layer_norm"]
        .iter()
        .map(|name| document.find(&format!("\n    \"{name}\": {{")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    let resumed = batchnorm(folder.path(), "train --resume run --steps 30 --no-progress");
    assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
    assert!(text(&resumed.stdout).contains("After 30 steps"), "{}", text(&resumed.stdout));
}

#[test]
fn the_normalized_twin_can_be_of_any_kind() {
    let folder = tempfile::tempdir().unwrap();
    let output = batchnorm(folder.path(), &format!("train --out run --norm group:5 --batch-size 1 {SHORT}"));
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(out.contains("without    with group normalization (5 groups)"), "{out}");
    assert!(!out.contains("statistics"), "{out}");
    let alone = batchnorm(folder.path(), &format!("train --out alone --norm layer --arm batch_norm {SHORT}"));
    assert!(text(&alone.stdout).starts_with("With layer normalization, mlp"), "{}", text(&alone.stdout));
}

#[test]
fn json_is_the_document_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let output = batchnorm(folder.path(), &format!("train --json --out run {SHORT}"));
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let written = fs::read(folder.path().join("run/metrics.json")).unwrap();
    assert_eq!(output.stdout, written);
    assert_eq!(printed["schema"], 3);
    assert_eq!(printed["settings"]["layers"], serde_json::json!([10]));
    assert_eq!(printed["settings"]["threads"], 1);
    assert_eq!(printed["runs"]["plain"]["curve"].as_array().unwrap().len(), 2);
}

#[test]
fn without_a_folder_runs_go_to_runs() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert_eq!(batchnorm(folder.path(), &format!("train {SHORT}")).status.code(), Some(0));
    }
    let runs: Vec<_> =
        fs::read_dir(folder.path().join("runs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run.join("metrics.json").is_file() && run.join("report.html").is_file()));
}

#[test]
fn a_run_in_which_both_twins_diverge_is_written_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let output =
        batchnorm(folder.path(), &format!("train --out run --activation relu --learning-rate 1e38 {SHORT}"));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Both diverged"));
    assert!(folder.path().join("run/report.html").is_file());
}

#[test]
fn a_run_in_which_one_twin_diverges_is_a_result_and_exits_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let line = "train --out run --activation relu --init-std 1e3 --steps 20 --layers 10,10,10 --no-progress";
    let output = batchnorm(folder.path(), line);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("The run without batch normalization diverged at step "));
    let metrics: Value =
        serde_json::from_slice(&fs::read(folder.path().join("run/metrics.json")).unwrap()).unwrap();
    assert!(metrics["runs"]["plain"]["diverged_at_step"].is_u64());
    assert!(metrics["runs"]["plain"]["final_test_accuracy"].is_null());
}

#[test]
fn a_momentum_of_the_other_convention_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let output = batchnorm(folder.path(), &format!("train --bn-momentum 0.99 --out run {SHORT}"));
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("warning: "), "{}", text(&output.stderr));
}

#[test]
fn help_has_examples_and_says_what_the_exit_codes_mean() {
    let folder = tempfile::tempdir().unwrap();
    let help = text(&batchnorm(folder.path(), "--help").stdout);
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    let help = text(&batchnorm(folder.path(), "train --help").stdout);
    for option in
        ["--layers", "--bn-momentum", "--statistics", "--out", "frozen-after:STEP", "Examples:", "CC BY 4.0"]
    {
        assert!(help.contains(option), "{option}: {help}");
    }
}

#[test]
fn no_color_means_no_colour() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(assert_cmd::cargo_bin!("batchnorm"));
    let output = command
        .current_dir(folder.path())
        .env("NO_COLOR", "1")
        .args(["train", "--batch-size", "1"])
        .output()
        .unwrap();
    assert!(!text(&output.stderr).contains('\u{1b}'));
}
