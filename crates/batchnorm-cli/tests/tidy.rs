//! The house rules of ARCHITECTURE.md, held by a test: read the sources as text and look for what must not be
//! there. A rule that turns out wrong is changed here and there together.

use std::fs;
use std::path::{Path, PathBuf};

/// Files that may contain `unsafe`, each block with a SAFETY comment.
const UNSAFE: [&str; 13] = [
    // Vector instructions, and the choice among them.
    "crates/batchnorm/src/cpu/dispatch.rs",
    "crates/batchnorm/src/cpu/lanes/avx2.rs",
    "crates/batchnorm/src/cpu/lanes/avx512.rs",
    "crates/batchnorm/src/cpu/lanes/halves.rs",
    "crates/batchnorm/src/cpu/lanes/mod.rs",
    "crates/batchnorm/src/cpu/lanes/portable.rs",
    // Tensors that several threads write, each its own channels.
    "crates/batchnorm/src/cpu/memory.rs",
    "crates/batchnorm/src/cpu/roof.rs",
    "crates/batchnorm/src/cpu/channels_first/mod.rs",
    "crates/batchnorm/src/cpu/channels_first/groups.rs",
    "crates/batchnorm/src/cpu/channels_first/ways.rs",
    // Rows of which the first was checked for all.
    "crates/batchnorm/src/cpu/channels_first/column_folds.rs",
    "crates/batchnorm/src/cpu/channels_first/columns.rs",
];
/// Files that may ask which processor this is.
const PROCESSOR: [&str; 2] = ["crates/batchnorm/src/cpu/dispatch.rs", "crates/batchnorm/src/cpu/lanes/"];
/// The one place for eps and momentum figures.
const CONVENTIONS: &str = "crates/batchnorm/src/config.rs";
/// Workspace crates that each crate may depend on. A crate that is not listed here fails the test.
const MAY_DEPEND_ON: [(&str, &[&str]); 5] = [
    ("batchnorm", &[]),
    ("batchnorm-burn", &["batchnorm"]),
    ("batchnorm-model", &["batchnorm"]),
    ("batchnorm-lab", &["batchnorm", "batchnorm-burn", "batchnorm-model"]),
    ("batchnorm-cli", &["batchnorm-lab", "batchnorm-model"]),
];
/// Crates that only hand tensors to the engine.
const ADAPTERS: [&str; 1] = ["batchnorm-burn"];
const ADAPTER_FILE_LINES: usize = 300;
const FILE_LINES: usize = 500;

struct Source {
    /// Relative to the workspace, with `/`.
    path: String,
    /// Without comments and inline test modules, each with its number.
    code: Vec<(usize, String)>,
    lines: usize,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// Every Rust file under `crates/*/src`.
fn sources() -> Vec<Source> {
    let root = workspace();
    let mut folders: Vec<PathBuf> =
        crates().iter().map(|name| root.join("crates").join(name).join("src")).collect();
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a readable file");
                let relative = path.strip_prefix(&root).expect("inside the workspace");
                sources.push(Source {
                    path: relative.to_string_lossy().replace('\\', "/"),
                    code: code(&text),
                    lines: text.lines().count(),
                });
            }
        }
    }
    assert!(sources.len() > 20, "only {} sources found: the test looks in the wrong place", sources.len());
    sources
}

fn crates() -> Vec<String> {
    fs::read_dir(workspace().join("crates"))
        .expect("crates/ is there")
        .map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned())
        .collect()
}

/// The lines of code: no comments, nothing from an inline test module on.
fn code(text: &str) -> Vec<(usize, String)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line))
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default().to_owned()))
        .filter(|(_, line)| !line.trim().is_empty())
        .collect()
}

/// All lines of the files that `applies` accepts in which `bad` finds something.
fn offences(applies: impl Fn(&str) -> bool, bad: impl Fn(&str) -> bool) -> Vec<String> {
    sources()
        .iter()
        .filter(|source| applies(&source.path))
        .flat_map(|source| {
            source
                .code
                .iter()
                .filter(|(_, line)| bad(line))
                .map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim()))
        })
        .collect()
}

#[track_caller]
fn none(rule: &str, offences: Vec<String>) {
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

fn contains_any(line: &str, words: &[&str]) -> bool {
    words.iter().any(|word| line.contains(word))
}

#[test]
fn unsafe_code_stays_in_the_listed_files() {
    none(
        "`unsafe` only in the files listed in tidy.rs",
        offences(
            |path| !UNSAFE.contains(&path),
            |line| contains_any(line, &["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"]),
        ),
    );
    // And the compiler holds it where the list is empty.
    for name in ["batchnorm-burn", "batchnorm-model", "batchnorm-lab"] {
        let path = workspace().join("crates").join(name).join("src/lib.rs");
        let text = fs::read_to_string(path).expect("a readable file");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{name} does not forbid unsafe code");
    }
}

#[test]
fn only_dispatch_and_lanes_ask_for_the_processor() {
    none(
        "`cfg(target_arch)` and feature detection only in cpu/dispatch and cpu/lanes",
        offences(
            |path| !PROCESSOR.iter().any(|allowed| path.starts_with(allowed)),
            |line| contains_any(line, &["target_arch", "target_feature", "feature_detected", "pulp::"]),
        ),
    );
}

#[test]
fn eps_and_momentum_have_figures_in_one_place() {
    let figure = |line: &str| {
        let line = line.to_lowercase();
        let named = contains_any(&line, &["eps", "epsilon", "momentum"]);
        // Zero is the absence of eps, not a choice of it.
        named && contains_any(&line, &["1e-", "0.1", "0.01", "0.9", "0.001", "0.00001"])
    };
    none(
        "eps and momentum figures only in the engine's config.rs",
        offences(|path| path != CONVENTIONS, figure),
    );
}

#[test]
fn only_the_command_prints_parses_arguments_and_shows_progress() {
    none(
        "anyhow, clap, printing and progress only in batchnorm-cli",
        offences(
            |path| !path.starts_with("crates/batchnorm-cli/"),
            |line| {
                contains_any(
                    line,
                    &["anyhow", "clap::", "indicatif", "println!", "print!(", "eprint!(", "dbg!("],
                )
            },
        ),
    );
}

#[test]
fn no_parallel_sums_or_reductions() {
    none(
        "rayon's `sum` and `reduce` add in an order that depends on the threads",
        offences(
            |_| true,
            |line| line.contains("par_") && contains_any(line, &[".sum(", ".sum::", ".reduce(", ".fold("]),
        ),
    );
    none(
        "`reduce_with` and `try_reduce` are rayon's",
        offences(|_| true, |line| contains_any(line, &["reduce_with(", "try_reduce("])),
    );
}

#[test]
fn adapters_are_thin() {
    for source in sources() {
        let adapter = ADAPTERS.iter().any(|name| source.path.starts_with(&format!("crates/{name}/")));
        assert!(
            !adapter || source.lines <= ADAPTER_FILE_LINES,
            "{} has {} lines; an adapter's file has at most {ADAPTER_FILE_LINES}",
            source.path,
            source.lines
        );
    }
    let arithmetic = [
        ".mul_scalar(",
        ".add_scalar(",
        ".div_scalar(",
        ".sub_scalar(",
        ".sqrt(",
        ".powf(",
        ".powi(",
        ".exp(",
        "float_mul",
        "float_add",
        "float_sub",
        "float_div",
        "float_sum",
        "float_mean",
        ".mean_dim(",
        ".sum_dim(",
    ];
    none(
        "adapters compute nothing on tensor values",
        offences(
            |path| ADAPTERS.iter().any(|name| path.starts_with(&format!("crates/{name}/"))),
            |line| contains_any(line, &arithmetic),
        ),
    );
}

#[test]
fn training_knows_nothing_of_the_claims() {
    none(
        "the lab's train never imports claims",
        offences(|path| path.starts_with("crates/batchnorm-lab/src/train/"), |line| line.contains("claims")),
    );
}

#[test]
fn files_have_one_subject() {
    for source in sources() {
        assert!(source.lines <= FILE_LINES, "{} has {} lines; at most {FILE_LINES}", source.path, source.lines);
    }
}

#[test]
fn crates_depend_only_downwards() {
    for name in crates() {
        let (_, allowed) = MAY_DEPEND_ON
            .iter()
            .find(|(listed, _)| *listed == name)
            .unwrap_or_else(|| panic!("crate {name} is new: say in tidy.rs what it may depend on"));
        let path = workspace().join("crates").join(&name).join("Cargo.toml");
        let manifest = fs::read_to_string(path).expect("a readable manifest");
        // What the crate is built from; its tests may use more.
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let ours = dependency.starts_with("batchnorm");
            assert!(!ours || allowed.contains(&dependency), "{name} must not depend on {dependency}");
        }
    }
}
