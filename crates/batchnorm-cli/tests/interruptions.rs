//! Runs that are stopped, killed and taken up again, as their users do it.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const LONG: &str =
    "train --out run --steps 100000 --eval-every 5000 --layers 10 --threads 1 --checkpoint-every 20";

fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(assert_cmd::cargo_bin!("batchnorm"));
    command.current_dir(folder).args(line.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn batchnorm(folder: &Path, line: &str) -> Output {
    command(folder, line).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Waits until a run has written its first checkpoints and trains.
fn wait_for_checkpoints(folder: &Path) {
    let path = folder.join("run/checkpoint.safetensors");
    let started = Instant::now();
    let modified = || fs::metadata(&path).and_then(|data| data.modified()).ok();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        assert!(started.elapsed() < Duration::from_secs(60), "no checkpoints");
        if let Some(time) = modified()
            && seen.last() != Some(&time)
        {
            seen.push(time);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn metrics(folder: &Path, run: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(run).join("metrics.json")).unwrap()).unwrap()
}

/// Everything but settings that may change on the way, and times.
fn comparable(mut metrics: Value) -> Value {
    for setting in ["threads", "steps"] {
        metrics["settings"][setting].take();
    }
    for arm in ["plain", "batch_norm"] {
        metrics["runs"][arm]["seconds"].take();
    }
    metrics
}

#[test]
fn ctrl_c_keeps_what_was_measured_and_the_run_goes_on_to_the_same_end() {
    for name in ["-INT", "-TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let child = command(folder.path(), LONG).spawn().unwrap();
        wait_for_checkpoints(folder.path());
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(130), "{name} {err}");
        assert!(err.contains("--resume run"), "{err}");
        assert!(out.contains("nterrupted"), "{out}");
        let stopped = metrics(folder.path(), "run");
        let step = stopped["interrupted_at_step"].as_u64().unwrap();
        assert!((20..100_000).contains(&step), "{step}");
        for file in ["report.html", "plain.safetensors", "batch_norm.safetensors", "batch_norm.onnx"] {
            assert!(folder.path().join("run").join(file).is_file(), "{file}");
        }
        let steps = step as usize + 5050;
        let output = batchnorm(folder.path(), &format!("train --resume run --steps {steps} --threads 2"));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let whole = LONG.replace("--out run", "--out whole").replace("100000", &steps.to_string());
        assert_eq!(batchnorm(folder.path(), &whole).status.code(), Some(0));
        let (resumed, whole) = (metrics(folder.path(), "run"), metrics(folder.path(), "whole"));
        assert!(resumed.get("interrupted_at_step").is_none());
        assert_eq!(comparable(resumed), comparable(whole));
        for file in ["plain.safetensors", "batch_norm.safetensors", "batch_norm.onnx"] {
            let bytes = |run: &str| fs::read(folder.path().join(run).join(file)).unwrap();
            assert!(bytes("run") == bytes("whole"), "{file}");
        }
    }
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = command(folder.path(), LONG).spawn().unwrap();
    wait_for_checkpoints(folder.path());
    signal(&child, "-KILL");
    assert!(!child.wait().unwrap().success());
    // Further than it can have come on the busiest machine.
    let output = batchnorm(folder.path(), "train --resume run --steps 15000 --json");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let resumed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let whole = LONG.replace("--out run", "--out whole").replace("100000", "15000");
    assert_eq!(batchnorm(folder.path(), &whole).status.code(), Some(0));
    assert_eq!(comparable(resumed), comparable(metrics(folder.path(), "whole")));
}

#[test]
fn a_run_is_not_taken_up_with_other_settings_or_from_anothers_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let short = "--steps 20 --layers 10 --threads 1";
    for (run, seed) in [("one", 1), ("two", 2)] {
        let line = format!("train --out {run} --seed {seed} {short}");
        assert_eq!(batchnorm(folder.path(), &line).status.code(), Some(0));
    }
    let refused = |line: &str, expected: &str| {
        let output = batchnorm(folder.path(), line);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with("error: ") && error.contains(expected), "{error}");
    };
    refused("train --resume one --steps 10", "20 steps already");
    let checkpoint = |run: &str| folder.path().join(run).join("checkpoint.safetensors");
    fs::copy(checkpoint("two"), checkpoint("one")).unwrap();
    refused("train --resume one", "`seed` differs");
    let bytes = fs::read(checkpoint("two")).unwrap();
    fs::write(checkpoint("two"), &bytes[..bytes.len() / 2]).unwrap();
    refused("train --resume two", "checkpoint.safetensors");
    fs::copy(folder.path().join("one/plain.safetensors"), checkpoint("two")).unwrap();
    refused("train --resume two", "not a checkpoint");
}
