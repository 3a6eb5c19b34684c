//! `batchnorm check`, as a user runs it.

use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

fn check(arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("batchnorm").unwrap();
    command.arg("check").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn this_machines_kernels_are_within_their_bounds() {
    let output = check(&["--seconds", "0.05", "--seed", "3"]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    for part in ["kernel", "instructions", "worst in", "bound", " ok\n", "forward-in-place", "f64"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(table.contains("problems of seed 3: every error is within its bound"), "{table}");
    assert!(!table.contains("FAILED") && !table.contains('\x1b'), "{table}");
}

#[test]
fn json_has_a_line_for_each_row() {
    let output = check(&["--seconds", "0", "--json"]);
    assert!(output.status.success());
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 10);
    for line in &lines {
        assert_eq!((&line["seed"], &line["ok"], &line["failed"]), (&1.into(), &true.into(), &0.into()));
        assert!(line["error"].as_f64().unwrap() <= line["bound"].as_f64().unwrap(), "{line}");
        for key in ["kernel", "instruction_set", "dtype", "op", "worst_in"] {
            assert!(!line[key].as_str().unwrap().is_empty(), "{key}: {line}");
        }
        assert!(line["runs"].as_u64().unwrap() > 0 && line.get("failure").is_none());
    }
}

#[test]
fn one_problem_can_be_checked_again() {
    let output = check(&["--seed", "5", "--problem", "17"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("\n1 problem of seed 5"), "{}", text(&output.stdout));
}

#[test]
fn misuse_is_told() {
    for arguments in [&["--seconds", "-1"][..], &["--seconds", "NaN"], &["--seed", "x"], &["--problem", "-1"]] {
        let output = check(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(arguments[0]), "{}", text(&output.stderr));
    }
}
