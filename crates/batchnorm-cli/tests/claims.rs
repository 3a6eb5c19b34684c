//! `batchnorm claims`, as a user runs it.

use std::fs;
use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

fn claims(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::cargo_bin("batchnorm").unwrap();
    command.arg("claims").args(arguments).current_dir(folder).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn failure(arguments: &[&str], folder: &Path) -> String {
    let output = claims(arguments, folder);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    text(&output.stderr)
}

#[test]
fn the_list_names_every_claim_with_what_it_measures_and_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let output = claims(&[], folder.path());
    assert!(output.status.success());
    let list = text(&output.stdout);
    for name in [
        "figure1",
        "drift",
        "figure3",
        "learning-rate",
        "saturation",
        "init",
        "gradient-flow",
        "regularization",
        "accuracy",
        "batch-size",
        "batch-of-one",
        "train-inference",
        "placement",
        "vgg",
        "inception",
        "resnet",
        "bias-growth",
        "scale-invariance",
        "landscape",
        "large-steps",
        "affine-only",
        "zero-gamma",
        "memory",
    ] {
        assert!(list.contains(&format!("\n{name}  (--quick: ")) || list.starts_with(name), "{name}");
    }
    let json: Value = serde_json::from_slice(&claims(&["--json"], folder.path()).stdout).unwrap();
    assert!(json.as_array().unwrap().iter().all(|claim| claim["quick_seconds"].as_f64().unwrap() > 0.0));
}

#[test]
fn bad_input_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = failure(&["run", "learning-rat"], folder.path());
    assert!(unknown.contains("no claim `learning-rat`; the nearest: learning-rate"), "{unknown}");
    let none = failure(&["run", "init", "--seeds", "0"], folder.path());
    assert!(none.contains("at least 1 seed"), "{none}");
    let negative = failure(&["run", "init", "--seeds", "-3"], folder.path());
    assert!(negative.contains("--seeds"), "{negative}");
    let threads = failure(&["run", "init", "--threads", "0"], folder.path());
    assert!(threads.contains("leave --threads out"), "{threads}");
    let data = failure(&["run", "init", "--data", "mnist", "--offline", "--cache", "nowhere"], folder.path());
    assert!(data.contains("download") || data.contains("offline"), "{data}");
    let missing = failure(&["report", "nowhere"], folder.path());
    assert!(missing.contains("there are no results in `nowhere`"), "{missing}");
    assert!(failure(&["run"], folder.path()).contains("<CLAIM>"));

    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("results.jsonl"), "{\"schema\":0,\"program\":\"0.0.1\"}\n").unwrap();
    let version = failure(&["report", "other"], folder.path());
    assert!(version.contains("schema 0 of batchnorm 0.0.1, expected schema 1"), "{version}");
    // Nothing was begun.
    assert!(!folder.path().join("claims").exists());
}

#[test]
fn a_claim_is_judged_reported_kept_and_reported_again() {
    let folder = tempfile::tempdir().unwrap();
    let output = claims(&["run", "bias-growth", "scale-invariance", "--quick"], folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.contains("95 % interval") && table.contains("scale-invariance"), "{table}");
    let results = folder.path().join("claims/digits-quick");
    let read =
        |name: &str| fs::read_to_string(results.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let document: Value = serde_json::from_str(&read("claims.json")).unwrap();
    assert_eq!(document["schema"], 1);
    for claim in document["claims"].as_array().unwrap() {
        let verdict = claim["verdict"].as_str().unwrap();
        assert!(["supported", "mixed", "refuted"].contains(&verdict), "{claim}");
        let [low, high] = [0, 1].map(|end| claim["interval"][end].as_f64().unwrap());
        let effect = claim["effect"].as_f64().unwrap();
        assert!(low <= effect && effect <= high, "{claim}");
        assert_eq!(claim["seeds"], 3);
        assert!(claim["data"].as_str().unwrap().contains("Digits"));
    }
    for page in ["index.html", "bias-growth.html", "scale-invariance.html", "how-it-works.html"] {
        let page = read(page);
        assert!(page.starts_with("<!DOCTYPE html>") && !page.contains("http-equiv"), "{}", &page[..200]);
        // Self-contained: nothing is loaded from elsewhere.
        for loading in ["src=\"http", "href=\"http://", "@import", "url(http"] {
            assert!(!page.contains(loading), "{loading}");
        }
    }

    // The same command again has nothing to do.
    let before = read("results.jsonl");
    assert!(claims(&["run", "bias-growth", "scale-invariance", "--quick"], folder.path()).status.success());
    assert_eq!(read("results.jsonl"), before);

    // The pages again, from what is stored.
    let page = read("bias-growth.html");
    fs::remove_file(results.join("bias-growth.html")).unwrap();
    let output = claims(&["report", "claims/digits-quick"], folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(read("bias-growth.html"), page);
    let json = claims(&["report", "claims/digits-quick", "--json"], folder.path());
    assert_eq!(text(&json.stdout), read("claims.json"));
}

#[test]
fn too_few_seeds_are_told_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let output = claims(&["run", "bias-growth", "--quick", "--seeds", "2", "--json"], folder.path());
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("2 of the 3 seeds that a verdict needs"));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["claims"][0]["verdict"], "not_enough_data");
}
