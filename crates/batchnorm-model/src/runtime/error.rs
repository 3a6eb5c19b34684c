//! Why a model does not run.

use std::path::PathBuf;

use super::ElementType;

/// Why a runtime could not be had, or could not run a model.
///
/// What a runtime said is a part of the message, cut where it is long.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The system does not let the model's file be read.
    #[error("cannot read `{}`: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The model cannot be read.
    #[error(
        "expected an ONNX model, and {runtime} cannot read it as one: {reason}; was the file cut off or changed?"
    )]
    NotAModel {
        /// The runtime.
        runtime: &'static str,
        /// What it said.
        reason: String,
    },
    /// The runtime lacks an operator, or does not take it as the model has it.
    #[error(
        "{runtime} cannot run operator {op}{}: {reason}; {}",
        .node.as_ref().map(|node| format!(" (node `{node}`)")).unwrap_or_default(), way_out(.runtime)
    )]
    Operator {
        /// The runtime.
        runtime: &'static str,
        /// The operator's type, with its domain unless that is ONNX's own.
        op: String,
        /// The node's name, or that of its first output; `None` where the runtime does not say.
        node: Option<String>,
        /// What the runtime said.
        reason: String,
    },
    /// Something fails that no single operator is to blame for.
    #[error("{runtime} cannot {doing} the model: {reason}; {}", way_out(.runtime))]
    Failed {
        /// The runtime.
        runtime: &'static str,
        /// What it was doing.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
    /// A tensor's elements are of a type that is not handed over.
    #[error(
        "{runtime} has {found} in `{tensor}`, expected numbers or booleans that it knows; {}", way_out(.runtime)
    )]
    Element {
        /// The runtime.
        runtime: &'static str,
        /// The input or output.
        tensor: String,
        /// The type.
        found: String,
    },
    /// A tensor's dimensions are not those of its values.
    #[error(
        "a tensor of dimensions {dims:?} was given {found} values; give as many as the dimensions multiply to"
    )]
    Length {
        /// The dimensions.
        dims: Vec<usize>,
        /// The number of values.
        found: usize,
    },
    /// The model has no input of this name.
    #[error("the model has no input `{found}`; its inputs are {}", quoted(.inputs))]
    UnknownInput {
        /// The name given.
        found: String,
        /// The inputs there are.
        inputs: Vec<String>,
    },
    /// An input was given twice.
    #[error("the input `{input}` was given twice; give it once")]
    InputTwice {
        /// Its name.
        input: String,
    },
    /// An input was not given.
    #[error("the model needs the input `{input}`; its inputs are {}", quoted(.inputs))]
    MissingInput {
        /// Its name.
        input: String,
        /// All inputs.
        inputs: Vec<String>,
    },
    /// An input is of another element type than the model takes.
    #[error("the input `{input}` takes {expected}, found {found}; convert it first")]
    InputElement {
        /// Its name.
        input: String,
        /// What the model takes.
        expected: ElementType,
        /// What was given.
        found: ElementType,
    },
    /// An input has another shape than the model takes.
    #[error("the input `{input}` takes the shape {}, found {found:?}; reshape it first", shape(.expected))]
    InputShape {
        /// Its name.
        input: String,
        /// What the model takes; `None` is any length.
        expected: Vec<Option<usize>>,
        /// What was given.
        found: Vec<usize>,
    },
    /// There is no library of ONNX Runtime where it should be.
    #[error(
        "no ONNX Runtime library at `{}`; give the path of libonnxruntime.so (.dylib, .dll), or a folder with it: that \
         of Python's onnxruntime package, say", .path.display()
    )]
    NoLibrary {
        /// The path given.
        path: PathBuf,
    },
    /// There is a file, but it is not a library of ONNX Runtime that can be used.
    #[error("`{}` is not an ONNX Runtime library that can be used: {reason}; give another one", .path.display())]
    Library {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// Another library of ONNX Runtime is in use already.
    #[error(
        "ONNX Runtime was loaded from `{}`, and a process has one; `{}` needs a process of its own",
        .loaded.display(), .asked.display()
    )]
    OtherLibrary {
        /// The one in use.
        loaded: PathBuf,
        /// The one asked for.
        asked: PathBuf,
    },
}

/// The names of the runtimes.
#[cfg(feature = "tract")]
pub(super) const TRACT: &str = "tract";
pub(super) const ONNX_RUNTIME: &str = "ONNX Runtime";

/// What to do where this runtime cannot go on.
fn way_out(runtime: &str) -> &'static str {
    if runtime == ONNX_RUNTIME {
        "run it in another version of ONNX Runtime, or do without running it (`--no-verify`)"
    } else {
        "run it in ONNX Runtime (`--runtime PATH`), or do without running it (`--no-verify`)"
    }
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn shape(dims: &[Option<usize>]) -> String {
    let dims: Vec<_> =
        dims.iter().map(|dim| dim.map_or_else(|| "any".to_owned(), |dim| dim.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

/// Runtimes may print a whole tensor, or a node with all of its attributes.
#[cfg(any(feature = "tract", feature = "onnxruntime"))]
const REASON_CHARS: usize = 500;

/// What a runtime said: on one line and not too long.
#[cfg(any(feature = "tract", feature = "onnxruntime"))]
pub(super) fn reason(said: impl std::fmt::Display) -> String {
    let said = said.to_string();
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches(['.', ';']);
    match line.char_indices().nth(REASON_CHARS) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line.to_owned(),
    }
}

/// Runs what may panic in a runtime; the panic's message, if it does.
#[cfg(any(feature = "tract", feature = "onnxruntime"))]
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        format!("it panicked: {}", text.as_deref().unwrap_or("without a message"))
    })
}
