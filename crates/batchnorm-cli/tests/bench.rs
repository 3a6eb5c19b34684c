//! `batchnorm bench`, as a user runs it. Nothing here looks at how long anything takes.

use std::fs;
use std::process::Output;

use assert_cmd::Command;
use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("batchnorm").unwrap();
    command.arg("bench").args(arguments).env("NO_COLOR", "1").output().unwrap()
}

fn quick(arguments: &[&str]) -> Output {
    bench(&[arguments, &["--seconds", "0.01"]].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn failure(arguments: &[&str]) -> String {
    let output = quick(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    text(&output.stderr)
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_row_has_time_speed_and_share() {
    let output = quick(&["--shape", "4x8x7x7", "--op", "forward", "--layout", "channels-first"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    let (header, row) = (table.lines().next().unwrap(), table.lines().nth(2).unwrap());
    for column in
        ["op", "dtype", "layout", "shape", "threads", "time", "GB/s", "roof", "share", "ceiling", "reference"]
    {
        assert!(header.contains(column), "{column}: {table}");
    }
    assert!(
        row.starts_with("forward ") && row.contains("channels-first") && row.contains("4x8x7x7"),
        "{table}"
    );
    assert!(row.contains(" %") && row.trim_end().ends_with('x'), "{table}");
    assert_eq!(table.lines().count(), 3);
    assert!(!table.contains('\x1b') && output.stderr.is_empty());
}

#[test]
fn json_has_a_line_for_each_peer() {
    let rows = [
        "--op",
        "forward,backward,eval",
        "--dtype",
        "f32,f64,bf16,f16",
        "--layout",
        "channels-first,channels-last",
    ];
    let output = quick(&[&["--shape", "4x8x7", "--threads", "1,2", "--json"], &rows[..]].concat());
    let lines = lines(&output);
    assert_eq!(lines.len(), 3 * 4 * 2 * 2 * 3);
    for (number, line) in lines.iter().enumerate() {
        let peer = ["batchnorm", "roof", "reference"][number % 3];
        assert_eq!(line["peer"], peer);
        assert_eq!(line["shape"], "4x8x7");
        for (key, values) in [
            ("op", ["forward", "backward", "eval"].as_slice()),
            ("dtype", &["f32", "f64", "bf16", "f16"]),
            ("layout", &["channels_first", "channels_last"]),
        ] {
            assert!(values.contains(&line[key].as_str().unwrap()), "{key}: {line}");
        }
        assert!([1, 2].contains(&line["threads"].as_u64().unwrap()));
        for key in ["median_us", "roof_us", "gbps", "share"] {
            assert!(line[key].as_f64().unwrap() > 0.0, "{key}: {line}");
        }
        assert!(!line["kernel"].as_str().unwrap().is_empty());
        assert!(line.get("in_place").is_none());
        assert_eq!(line.get("ceiling").is_some(), peer == "batchnorm");
    }
    let roofs: Vec<&Value> = lines.iter().filter(|line| line["peer"] == "roof").collect();
    for roof in roofs {
        assert_eq!(roof["median_us"], roof["roof_us"]);
        let what = if roof["op"] == "backward" { "triad-" } else { "copy-" };
        assert!(roof["kernel"].as_str().unwrap().starts_with(what), "{roof}");
    }
}

#[test]
fn outputs_may_overwrite_inputs() {
    let lines = lines(&quick(&["--shape", "3x5x7x7", "--in-place", "--json", "--no-reference"]));
    let ops: Vec<&str> = lines.iter().map(|line| line["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["forward", "forward", "eval", "eval"]);
    assert!(lines.iter().all(|line| line["in_place"] == true && line["peer"] != "reference"));
    let table = text(&quick(&["--shape", "3x5x7x7", "--in-place", "--op", "eval"]).stdout);
    assert!(table.contains("eval, in place"), "{table}");
    let backward = failure(&["--shape", "3x5x7x7", "--in-place", "--op", "backward"]);
    assert!(backward.contains("3x5x7x7") && backward.contains("forward,eval"), "{backward}");
}

#[test]
fn files_of_problems_are_read_by_path_and_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.txt");
    fs::write(&file, "# mine\n2x3x4  # first\n\n2x3 op=eval dtype=f64 layout=channels-last\n").unwrap();
    let path = file.to_str().unwrap();
    let lines = lines(&quick(&["--shapes", path, "--op", "forward", "--json", "--no-reference"]));
    let rows: Vec<String> = lines
        .iter()
        .step_by(2)
        .map(|line| format!("{} {} {}", line["op"], line["dtype"], line["shape"]))
        .collect();
    assert_eq!(rows, [r#""forward" "f32" "2x3x4""#, r#""eval" "f64" "2x3""#]);

    let explained = bench(&["--shapes", "resnet50,regressions", "--op", "forward", "--explain"]);
    assert!(explained.status.success());
    let explained = text(&explained.stdout);
    assert!(explained.contains("32x2048x7x7") && explained.contains("1x4x1048576"), "{explained}");

    fs::write(&file, "2x3x4\n2x0\n").unwrap();
    let wrong = failure(&["--shapes", path]);
    assert!(wrong.contains("mine.txt, line 2") && wrong.contains("found a 0 in `2x0`"), "{wrong}");
    let missing = failure(&["--shapes", "resnet18"]);
    assert!(missing.contains("`resnet18` cannot be read") && missing.contains("resnet50, small"), "{missing}");
}

#[test]
fn the_choice_of_a_kernel_is_explained_and_nothing_is_timed() {
    // Larger than any memory: nothing is allocated.
    let output = bench(&["--shape", "1048576x1048576x64", "--op", "forward,backward", "--explain"]);
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(table.contains("forward of 1048576x1048576x64 f32 channels-first on "), "{table}");
    assert!(table.contains("runs") && table.contains("reference") && table.contains("why"), "{table}");

    let lines = lines(&bench(&["--shape", "8x16x7x7", "--op", "eval", "--explain", "--json"]));
    assert_eq!(lines.iter().filter(|line| line["runs"] == true).count(), 1);
    assert_eq!(lines.last().unwrap()["kernel"], "reference");
    assert!(lines.iter().all(|line| !line["reason"].as_str().unwrap().is_empty()));
}

#[test]
fn misuse_is_told_with_the_way_out() {
    for (shape, told) in [
        ("32", "expected at least a batch and channels"),
        ("32x64xlarge", "found `large`"),
        ("0x4", "found a 0"),
        ("99999999999999999999x4", "more elements than memory has addresses"),
    ] {
        let failure = failure(&["--shape", shape]);
        assert!(failure.contains(told) && failure.contains("--shape"), "{failure}");
    }
    assert!(failure(&["--shape", "4x4", "--op", "sideways"]).contains("forward, backward, eval"));
    assert!(failure(&["--shape", "4x4", "--threads", "0"]).contains("leave --threads out"));
    let seconds = bench(&["--shape", "4x4", "--seconds", "-1"]);
    assert_eq!(seconds.status.code(), Some(2));
    assert!(text(&seconds.stderr).contains("--seconds"));
    // Training on one value per channel is refused by the engine.
    let one = failure(&["--shape", "1x4", "--op", "forward"]);
    assert!(one.contains("forward of 1x4") && one.contains("caused by:"), "{one}");
    if cfg!(target_os = "linux") {
        let large = failure(&["--shape", "1048576x1048576", "--op", "eval"]);
        assert!(large.contains("needs 8192.0 GiB of memory") && large.contains("--in-place"), "{large}");
    }
}
