//! `batchnorm recalibrate`, as its users run it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

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

#[track_caller]
fn json(folder: &Path, line: &str) -> Value {
    let output = batchnorm(folder, line);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A folder with a model of the embedded digits, trained a little.
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output = batchnorm(folder.path(), "train --out run --steps 60 --arm batch_norm --no-progress");
    assert!(output.status.success(), "{}", text(&output.stderr));
    fs::rename(folder.path().join("run/batch_norm.onnx"), folder.path().join("model.onnx")).unwrap();
    folder
}

#[test]
fn a_model_gets_the_statistics_of_other_light() {
    let folder = trained();
    let folder = folder.path();
    let before = fs::read(folder.join("model.onnx")).unwrap();
    let line =
        "recalibrate model.onnx --data digits --brightness 0.3 --contrast 0.5 --no-progress --batch-size 100";
    let output = batchnorm(folder, &format!("{line} --dry-run"));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{err}");
    assert!(
        out.starts_with("The first batch:") && out.contains("variance ratio") && out.contains("accuracy"),
        "{out}"
    );
    assert!(err.contains("passes over") && err.contains("passes through the whole model"), "{err}");
    assert_eq!(fs::read_dir(folder).unwrap().count(), 2, "a dry run writes nothing");

    let done = json(folder, &format!("{line} --json -o new.onnx"));
    assert_eq!((&done["schema"], &done["method"]), (&1.into(), &"sequential".into()));
    let layers = done["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    assert!(layers[0]["shift"]["max_sigmas"].as_f64().unwrap() > 0.5, "{}", layers[0]);
    let correct = |when: &str| done[when]["correct"].as_u64().unwrap();
    assert!(correct("after") > correct("before"), "{done}");
    assert_eq!(fs::read(folder.join("model.onnx")).unwrap(), before);
    assert!(!folder.join("new.onnx.partial").exists());

    // Once more on the same data changes nothing, and in place it is the same file.
    let again = json(folder, &line.replace("model.onnx", "new.onnx --json -o again.onnx"));
    assert_eq!(again["before"], done["after"]);
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(read("again.onnx"), read("new.onnx"));
    json(folder, &format!("{line} --json --in-place"));
    assert_eq!(read("model.onnx"), read("new.onnx"));
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let folder = trained();
    for (line, said) in [
        ("--data digits", "--dry-run"),
        ("--data digits -o new.onnx --in-place", "cannot be used with"),
        ("--data digits -o model.onnx", "--in-place"),
        ("--data digits --dry-run --layers no_such*", "no_such*"),
        ("--data digits --dry-run --method exact", "sequential"),
        ("--data digits --dry-run --batch-size 0", "at least one sample"),
        ("--data digits --dry-run --blend -1", "at least 0"),
        ("--data random --dry-run", "--samples"),
        ("--data no_such_folder --dry-run", "no_such_folder"),
        ("--data digits --dry-run --runtime no_such_library.so", "no_such_library"),
    ] {
        let output = batchnorm(folder.path(), &format!("recalibrate model.onnx {line}"));
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {err}");
        assert!(err.contains(said), "{line}: {err}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    use std::time::{Duration, Instant};

    let folder = trained();
    let folder = folder.path();
    let line = "recalibrate model.onnx --data digits --no-progress --batch-size 1 --json -o";
    json(folder, &format!("{line} whole.onnx"));
    let mut stopped = 0;
    // Stopped as soon as the first pass is done, and again after that, unless it is through before.
    for _ in 0..3 {
        let mut child = command(folder, &format!("{line} new.onnx")).spawn().unwrap();
        let (state, started) = (folder.join("new.onnx.partial"), Instant::now());
        let modified = || fs::metadata(&state).and_then(|data| data.modified()).ok();
        let before = modified();
        while modified() == before && child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "no state");
            std::thread::sleep(Duration::from_millis(1));
        }
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        match output.status.code() {
            Some(130) => {
                stopped += 1;
                assert!(text(&output.stderr).contains("the same command goes on"), "{}", text(&output.stderr));
                assert!(state.is_file() && !folder.join("new.onnx").exists());
            }
            code => assert_eq!(code, Some(0), "{}", text(&output.stderr)),
        }
    }
    assert!(stopped > 0, "it was never stopped in time");
    json(folder, &format!("{line} new.onnx"));
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(read("new.onnx"), read("whole.onnx"));
    assert!(!folder.join("new.onnx.partial").exists());
}

#[test]
fn a_network_recovers_from_shifted_mnist() {
    let Some(mnist) = std::env::var_os("BATCHNORM_TEST_MNIST") else {
        println!("skipped: BATCHNORM_TEST_MNIST is not set to a folder with MNIST's files");
        return;
    };
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(mnist).display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let train = "train --network vgg --width 4 --steps 60 --arm batch_norm --out run --no-progress --data";
    let output = batchnorm(folder, &format!("{train} {mnist}"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let line = "recalibrate run/batch_norm.onnx --samples 1000 --part test --brightness 0.2 --contrast 0.5 --noise 0.1 \
                --json --no-progress -o new.onnx --data";
    for method in ["sequential", "precise", "algorithm2"] {
        let done = json(folder, &format!("{line} {mnist} --method {method}"));
        let correct = |when: &str| done[when]["correct"].as_u64().unwrap();
        println!("{method}: {} of 1000 before, {} after", correct("before"), correct("after"));
        assert!(correct("after") > correct("before"), "{method}: {}", done);
    }
}
