//! `--in-place` killed at any moment: the file is the old one or the new one, whole.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use batchnorm::Momentum;
use batchnorm_model::checkpoint::{NamedTensor, Tensors};
use batchnorm_model::onnx::{Dim, Graph, Normalization};

/// A weight of 16 MiB, so that writing takes a while.
const INPUTS: usize = 2048;
const OUTPUTS: usize = 2048;
/// No run takes longer on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// In milliseconds: after the start of a run, and after the first change in its folder.
const DELAYS: [f64; 8] = [0.1, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
/// Parts of the time that a whole run takes.
const PARTS: [f64; 5] = [0.2, 0.4, 0.6, 0.8, 0.95];

fn start(folder: &Path, line: &str) -> Child {
    let mut command = Command::new(assert_cmd::cargo_bin!("batchnorm"));
    command.current_dir(folder).args(line.split_whitespace());
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Everything in a folder but the model.
fn others(folder: &Path, model: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.filter(|entry| entry.file_name() != model).map(|entry| entry.path()).collect()
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with(".tmp")
}

/// A file's length and when it was written; `None` where there is none.
type Stamp = Option<(u64, SystemTime)>;

fn stamp(path: &Path) -> Stamp {
    fs::metadata(path).ok().map(|data| (data.len(), data.modified().unwrap()))
}

/// When a run is killed.
#[derive(Clone, Copy, Debug)]
enum Kill {
    After(Duration),
    /// So long after the first change in the folder: a temporary file, or the model itself if it were written over.
    Writing(Duration),
}

impl Kill {
    fn wait(self, child: &mut Child, folder: &Path, model: &str, before: Stamp) {
        match self {
            Self::After(delay) => std::thread::sleep(delay),
            Self::Writing(delay) => {
                let started = Instant::now();
                let seen = || {
                    stamp(&folder.join(model)) != before
                        || others(folder, model).iter().any(|path| is_temporary(path))
                };
                while !seen() && child.try_wait().unwrap().is_none() {
                    assert!(started.elapsed() < PATIENCE, "it neither writes nor ends");
                }
                std::thread::sleep(delay);
            }
        }
    }
}

/// What the kills of one command came upon.
#[derive(Debug, Default)]
struct Tally {
    killed: usize,
    /// With a temporary file left behind.
    writing: usize,
}

/// Runs a command that changes `model` in place to its end, then again and again from what the model was, killed.
#[track_caller]
fn killed_at_any_moment(folder: &Path, model: &str, line: &str) -> Tally {
    let path = folder.join(model);
    let old = fs::read(&path).unwrap();
    let started = Instant::now();
    let status = start(folder, line).wait().unwrap();
    let whole = started.elapsed();
    assert!(status.success(), "{line}: {status}");
    let new = fs::read(&path).unwrap();
    assert!(old != new, "{line} changes nothing");
    assert_eq!(others(folder, model), [] as [PathBuf; 0], "{line}");

    let delays = DELAYS.map(|delay| Duration::from_secs_f64(delay / 1e3));
    let kills = delays.map(Kill::After).into_iter().chain(PARTS.map(|part| Kill::After(whole.mul_f64(part))));
    let kills = kills.chain([Duration::ZERO].into_iter().chain(delays).map(Kill::Writing));
    let (mut tally, mut there) = (Tally::default(), new.clone());
    for kill in kills {
        if there != old {
            fs::write(&path, &old).unwrap();
        }
        let before = stamp(&path);
        let mut child = start(folder, line);
        kill.wait(&mut child, folder, model, before);
        // Already over is over.
        let _ = child.kill();
        let status = child.wait().unwrap();
        there = fs::read(&path).unwrap();
        let length = there.len();
        assert!(there == old || there == new, "{line}, {kill:?}: {length} bytes that are neither model's");
        assert!(!status.success() || there == new, "{line}, {kill:?}: it ended well and changed nothing");
        let left = others(folder, model);
        assert!(left.len() <= 1 && left.iter().all(|path| is_temporary(path)), "{line}, {kill:?}: {left:?}");
        tally.killed += usize::from(!status.success());
        tally.writing += left.len();
        left.iter().for_each(|path| fs::remove_file(path).unwrap());
    }
    fs::write(&path, &old).unwrap();
    assert!(tally.killed > 0 && tally.writing > 0, "{line}: never in time: {tally:?}");
    tally
}

#[test]
fn a_model_is_folded_or_converted_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = Graph::new("net");
    let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(INPUTS)]);
    let weight = graph.tensor("weight", &[INPUTS, OUTPUTS], &vec![0.5; INPUTS * OUTPUTS]);
    let h = graph.node("MatMul", "product", &[&x, &weight], &[]);
    let [gamma, beta, mean, variance] = [1.5, 0.25, -1.0, 4.0]
        .map(|value: f32| graph.tensor(&format!("row of {value}"), &[OUTPUTS], &[value; OUTPUTS]));
    let numbers = Normalization {
        gamma: &gamma,
        beta: &beta,
        mean: &mean,
        variance: &variance,
        eps: 0.5,
        momentum: Momentum::of_new(0.1),
    };
    let h = graph.batch_normalization("bn", &h, &numbers);
    let y = graph.node("Dropout", "dropout", &[&h], &[]);
    graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(OUTPUTS)]);
    graph.write(&folder.path().join("model.onnx")).unwrap();
    for line in [
        "fold model.onnx --in-place --no-verify",
        "convert model.onnx --in-place --to-inference",
        "convert model.onnx --in-place --frozen",
    ] {
        println!("{line}: {:?}", killed_at_any_moment(folder.path(), "model.onnx", line));
    }
}

#[test]
fn a_checkpoint_is_folded_or_converted_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = Tensors::default();
    tensors.tensors.push(NamedTensor::new("fc.weight", [OUTPUTS, INPUTS], vec![0.5_f32; OUTPUTS * INPUTS]));
    for (name, value) in [("weight", 1.5_f32), ("bias", 0.25), ("running_mean", -1.0), ("running_var", 4.0)] {
        tensors.tensors.push(NamedTensor::new(format!("bn.{name}"), [OUTPUTS], vec![value; OUTPUTS]));
    }
    tensors.write(&folder.path().join("net.safetensors")).unwrap();
    for line in [
        "fold net.safetensors --in-place --pair fc=bn --eps 0.5",
        "convert net.safetensors --in-place --names keras --frozen --eps 0.5",
    ] {
        println!("{line}: {:?}", killed_at_any_moment(folder.path(), "net.safetensors", line));
    }
}

#[test]
fn a_killed_recalibration_leaves_the_model_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let train = "train --out run --steps 60 --arm batch_norm --no-progress";
    assert!(start(folder, train).wait().unwrap().success());
    let model = folder.join("model.onnx");
    fs::rename(folder.join("run/batch_norm.onnx"), &model).unwrap();
    fs::remove_dir_all(folder.join("run")).unwrap();
    let line = "recalibrate model.onnx --in-place --data digits --brightness 0.3 --no-progress --batch-size 10";
    let old = fs::read(&model).unwrap();
    let started = Instant::now();
    assert!(start(folder, line).wait().unwrap().success());
    let whole = started.elapsed();
    let new = fs::read(&model).unwrap();
    assert!(old != new);
    assert_eq!(others(folder, "model.onnx"), [] as [PathBuf; 0]);

    fs::write(&model, &old).unwrap();
    let delays = DELAYS.map(|delay| Duration::from_secs_f64(delay / 1e3));
    for delay in delays.into_iter().chain(PARTS.map(|part| whole.mul_f64(part))) {
        let mut child = start(folder, line);
        std::thread::sleep(delay);
        let _ = child.kill();
        child.wait().unwrap();
        let there = fs::read(&model).unwrap();
        assert!(there == old || there == new, "{delay:?}: {} bytes that are neither model's", there.len());
        // Its state stays beside what is half written.
        for path in others(folder, "model.onnx") {
            let state = path.file_name().is_some_and(|name| name == "model.onnx.partial");
            assert!(state || is_temporary(&path), "{delay:?}: {path:?}");
        }
        if there == new {
            // It goes last: a moment is left in which the model is there and so is what it was made from.
            let _ = fs::remove_file(folder.join("model.onnx.partial"));
            fs::write(&model, &old).unwrap();
        }
    }
    // From whatever state was left.
    assert!(start(folder, line).wait().unwrap().success());
    assert!(fs::read(&model).unwrap() == new, "another model than that of a run that nobody killed");
    assert!(others(folder, "model.onnx").iter().all(|path| is_temporary(path)));
}
