//! Models run by ONNX Runtime, whose library is loaded from where the user has it.

use std::borrow::Cow;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType};

use super::error::{ONNX_RUNTIME, caught, reason};
use super::{Array, ArrayValues, ElementType, ModelSource, Port, Runtime, RuntimeError, Session, in_order};

/// What this process has done about a library.
///
/// After a load that failed, `ort` 2.0.0-rc.13 takes memory that was never set for the library: nothing of it may be
/// called any more.
static STATE: Mutex<State> = Mutex::new(State::Untouched);

enum State {
    Untouched,
    Loaded(PathBuf),
    Failed { path: PathBuf, reason: String },
}

/// The function that a library of ONNX Runtime has by name.
const ENTRY: &[u8] = b"OrtGetApiBase";

/// Folders inside a given one where the library may be: an unpacked release, Python's package, and what holds it.
const FOLDERS: [&str; 4] = ["", "lib", "capi", "onnxruntime/capi"];

/// In-memory models look for the files of their tensors here.
const TENSOR_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// How ONNX Runtime runs models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxRuntimeOptions {
    /// Threads inside an operator; `None` leaves it to ONNX Runtime, which takes one for each core.
    pub threads: Option<NonZeroUsize>,
    /// Whether it may rewrite the graph. To compare two models, it should not: it folds batch normalization itself.
    pub optimize: bool,
}

impl Default for OnnxRuntimeOptions {
    /// All cores, and the graph as it is.
    fn default() -> Self {
        Self { threads: None, optimize: false }
    }
}

/// ONNX Runtime on the processor, from a library on this machine; versions from 1.20 on.
///
/// A process has one ONNX Runtime: the first library that loads stays, and another is refused. Its settings are the
/// process's too: this crate turns its telemetry and all its messages but fatal ones off, unless the program set it up
/// before. A process also has one attempt: after a library that fails to load, no other is tried.
///
/// A library's code runs when it is loaded: give a path only to one that you trust.
#[derive(Clone, Debug)]
pub struct OnnxRuntime {
    library: PathBuf,
    options: OnnxRuntimeOptions,
}

impl OnnxRuntime {
    /// Loads the library, `libonnxruntime.so`, `libonnxruntime.so.1.22.0`, `libonnxruntime.dylib` or
    /// `onnxruntime.dll`, from its path or from a folder that has it; the folder of Python's package `onnxruntime` and
    /// that of an unpacked release do.
    ///
    /// # Errors
    ///
    /// If there is none, it is something else or too old, or another one is loaded already.
    pub fn load(path: &Path) -> Result<Self, RuntimeError> {
        let library = find(path).ok_or_else(|| RuntimeError::NoLibrary { path: path.to_owned() })?;
        // A relative path would count from the program's folder first.
        let library = library
            .canonicalize()
            .map_err(|error| RuntimeError::Library { path: library, reason: error.to_string() })?;
        let mut state = STATE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*state {
            State::Loaded(known) if *known == library => {}
            State::Loaded(known) => {
                return Err(RuntimeError::OtherLibrary { loaded: known.clone(), asked: library });
            }
            State::Failed { path, reason } => {
                let reason = format!("{reason}; a process can try once");
                return Err(RuntimeError::Library { path: path.clone(), reason });
            }
            State::Untouched => {
                let fail = |reason| RuntimeError::Library { path: library.clone(), reason };
                // Before it counts, and before code of it runs.
                if !holds(&library, ENTRY).map_err(|error| fail(error.to_string()))? {
                    return Err(fail("it has no function `OrtGetApiBase`".to_owned()));
                }
                if let Err(reason) = start(&library) {
                    *state = State::Failed { path: library.clone(), reason: reason.clone() };
                    return Err(fail(reason));
                }
                *state = State::Loaded(library.clone());
            }
        }
        Ok(Self { library, options: OnnxRuntimeOptions::default() })
    }

    /// The same runtime with other options.
    #[must_use]
    pub fn with_options(self, options: OnnxRuntimeOptions) -> Self {
        Self { options, ..self }
    }

    /// The library's file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    fn session(&self, model: ModelSource<'_>) -> ort::Result<OrtSession> {
        let level =
            if self.options.optimize { GraphOptimizationLevel::All } else { GraphOptimizationLevel::Disable };
        let mut builder =
            OrtSession::builder()?.with_log_level(LogLevel::Fatal)?.with_optimization_level(level)?;
        if let Some(threads) = self.options.threads {
            // It is handed over as a 32-bit integer.
            builder = builder.with_intra_threads(threads.get().min(1 << 15))?;
        }
        match model {
            ModelSource::Path(path) => builder.commit_from_file(path),
            ModelSource::Bytes { bytes, folder } => {
                if let Some(folder) = folder {
                    builder = builder.with_config_entry(TENSOR_FOLDER, folder.to_string_lossy())?;
                }
                builder.commit_from_memory(bytes)
            }
        }
    }
}

/// Loads the library and sets up what the whole process shares.
fn start(library: &Path) -> Result<(), String> {
    let environment = caught(|| ort::init_from(library))?.map_err(reason)?;
    // Panics where the library does not have the API that was asked for. It must be here: inside `current`, a panic
    // would make `ort` abort the process at its end.
    caught(ort::api).map(|_| ())?;
    environment.with_name("batchnorm").with_telemetry(false).commit();
    let environment = caught(ort::environment::Environment::current)?.map_err(reason)?;
    environment.set_log_level(LogLevel::Fatal);
    Ok(())
}

/// Whether these bytes are somewhere in a file.
fn holds(path: &Path, wanted: &[u8]) -> std::io::Result<bool> {
    let mut file = std::fs::File::open(path)?;
    let mut window = Vec::new();
    loop {
        // What is left of the last piece may be the beginning.
        window.drain(..window.len().saturating_sub(wanted.len() - 1));
        if file.by_ref().take(1 << 20).read_to_end(&mut window)? == 0 {
            return Ok(false);
        }
        if window.windows(wanted.len()).any(|bytes| bytes == wanted) {
            return Ok(true);
        }
    }
}

/// The library at a path, or in a folder.
fn find(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_owned());
    }
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let linux = name == "libonnxruntime.so" || name.starts_with("libonnxruntime.so.");
        let mac = name.starts_with("libonnxruntime.") && name.ends_with(".dylib");
        path.is_file() && (linux || mac || name == "onnxruntime.dll")
    };
    FOLDERS.iter().find_map(|folder| {
        let entries = std::fs::read_dir(path.join(folder)).ok()?;
        // A link without a version is what whoever installed it has chosen, and it sorts first.
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_library).min()
    })
}

impl Runtime for OnnxRuntime {
    fn name(&self) -> &'static str {
        ONNX_RUNTIME
    }

    /// From the library's file name, which ends in it in most packages.
    fn version(&self) -> String {
        let name = self.library.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let digits = name.trim_end_matches(".dylib").trim_start_matches(|char: char| !char.is_ascii_digit());
        if digits.is_empty() { "unknown".to_owned() } else { digits.to_owned() }
    }

    fn load(&self, model: ModelSource<'_>) -> Result<Box<dyn Session>, RuntimeError> {
        model.check()?;
        let session = caught(|| self.session(model))
            .map_err(|panic| blame("read", &panic))?
            .map_err(|error| blame("read", error.message()))?;
        let inputs = session.inputs().iter().map(port).collect();
        let outputs = session.outputs().iter().map(|outlet| outlet.name().to_owned()).collect();
        Ok(Box::new(OnnxRuntimeSession { session, inputs, outputs }))
    }
}

/// The error for something ONNX Runtime said, with the operator if it names one.
fn blame(doing: &'static str, said: &str) -> RuntimeError {
    let runtime = ONNX_RUNTIME;
    let after = |before: &str, end: &[char]| {
        let (_, rest) = said.split_once(before)?;
        let found = rest.split(end).next().unwrap_or_default();
        (!found.is_empty()).then(|| found.to_owned())
    };
    let lower = said.to_lowercase();
    if lower.contains("protobuf parsing failed") || lower.contains("no graph was found") {
        return RuntimeError::NotAModel { runtime, reason: reason(said) };
    }
    let space = [' ', '('];
    // `Non-zero status code returned while running Add node. Name:'sum' ...`, `Could not find an implementation for
    // Conv(11) node with name 'conv'`, `In Node, ("made", Made, "", -1)`, `Fatal error: Made(-1) is not a registered
    // function/op`, `No Op registered for Made with ...`, `Node (made) Op (Made) [ShapeInferenceError] ...`.
    let op = after("while running ", &space)
        .or_else(|| after("implementation for ", &space))
        .or_else(|| after("No Op registered for ", &space))
        .or_else(|| after(") Op (", &[')']))
        .or_else(|| after("In Node, (", &[')']).and_then(|node| Some(node.split(", ").nth(1)?.to_owned())))
        .or_else(|| {
            after("Fatal error: ", &space).map(|op| op.trim_start_matches("ai.onnx:").replace(':', "."))
        });
    let node = after("Name:'", &['\''])
        .or_else(|| after("node with name '", &['\'']))
        .or_else(|| after("In Node, (\"", &['"']))
        .or_else(|| after("Node (", &[')']).map(|node| node.trim_matches('"').to_owned()));
    match op {
        Some(op) => RuntimeError::Operator { runtime, op, node, reason: reason(said) },
        None => RuntimeError::Failed { runtime, doing, reason: reason(said) },
    }
}

fn port(outlet: &Outlet) -> Port {
    let name = outlet.name().to_owned();
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let dims = shape.iter().map(|&length| usize::try_from(length).ok()).collect();
            Port { name, element: element(*ty), dims: Some(dims) }
        }
        _ => Port { name, element: None, dims: None },
    }
}

/// A model in ONNX Runtime.
struct OnnxRuntimeSession {
    session: OrtSession,
    inputs: Vec<Port>,
    outputs: Vec<String>,
}

impl Session for OnnxRuntimeSession {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[String] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[(&str, &Array)]) -> Result<Vec<(String, Array)>, RuntimeError> {
        let arrays = in_order(&self.inputs, inputs)?;
        let session = &mut self.session;
        let outputs = caught(|| {
            let given: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = self
                .inputs
                .iter()
                .zip(&arrays)
                .map(|(port, array)| Ok((port.name.as_str().into(), input(array)?)))
                .collect::<ort::Result<_>>()?;
            let outputs = session.run(given)?;
            self.outputs
                .iter()
                .zip(outputs.values())
                .map(|(name, value)| Ok((name.clone(), dims(&value), values(&value)?, kind(&value))))
                .collect::<ort::Result<Vec<_>>>()
        });
        let outputs = outputs.map_err(|panic| blame("run", &panic))?;
        let outputs = outputs.map_err(|error| blame("run", error.message()))?;
        outputs
            .into_iter()
            .map(|(name, dims, values, found)| match values {
                Some(values) => Ok((name, Array::new(dims, values)?)),
                None => Err(RuntimeError::Element { runtime: ONNX_RUNTIME, tensor: name, found }),
            })
            .collect()
    }
}

fn dims(value: &DynValue) -> Vec<usize> {
    let shape = value.dtype().tensor_shape();
    shape.map(|shape| shape.iter().map(|&length| length.unsigned_abs() as usize).collect()).unwrap_or_default()
}

/// What a value is, in words.
fn kind(value: &DynValue) -> String {
    value.dtype().tensor_type().map_or_else(|| "no tensor".to_owned(), |element| element.to_string())
}

/// Types that ONNX Runtime shares with [`ArrayValues`].
macro_rules! shared {
    ($($variant:ident: $theirs:ident: $rust:ty),*) => {
        fn element(theirs: TensorElementType) -> Option<ElementType> {
            match theirs {
                $(TensorElementType::$theirs => Some(ElementType::$variant),)*
                _ => None,
            }
        }

        fn input(array: &Array) -> ort::Result<SessionInputValue<'_>> {
            Ok(match &array.values {
                $(ArrayValues::$variant(values) => {
                    TensorRef::from_array_view((array.dims.as_slice(), values.as_slice()))?.into()
                })*
            })
        }

        fn values(value: &DynValue) -> ort::Result<Option<ArrayValues>> {
            Ok(match value.dtype().tensor_type() {
                $(Some(TensorElementType::$theirs) => {
                    Some(value.try_extract_tensor::<$rust>()?.1.to_vec().into())
                })*
                _ => None,
            })
        }
    };
}

shared!(
    F32: Float32: f32, F64: Float64: f64, F16: Float16: half::f16, Bf16: Bfloat16: half::bf16, I64: Int64: i64,
    I32: Int32: i32, I16: Int16: i16, I8: Int8: i8, U64: Uint64: u64, U32: Uint32: u32, U16: Uint16: u16,
    U8: Uint8: u8, Bool: Bool: bool
);
