//! Models run on tensors: in tract, which is part of the program, or in ONNX Runtime, whose library the user has.
//!
//! Both are behind features of their own names, on by default, and behind the same two traits: a [`Runtime`] loads a
//! model, and the [`Session`] it gives runs it on tensors by name. What a runtime does wrong, panics of tract among
//! it, comes out as a [`RuntimeError`] that names the operator where that can be known.
//!
//! Neither is a judge of layers in training mode: tract runs `training_mode = 1` as if it were 0, and ONNX Runtime's
//! result for it is known to be wrong.

mod array;
mod error;
#[cfg(feature = "onnxruntime")]
mod onnxruntime;
#[cfg(feature = "tract")]
mod tract;

use std::path::Path;

pub use array::{Array, ArrayValues, ElementType};
pub use error::RuntimeError;
#[cfg(feature = "onnxruntime")]
pub use onnxruntime::{OnnxRuntime, OnnxRuntimeOptions};
#[cfg(feature = "tract")]
pub use tract::Tract;

/// Where a model is.
#[derive(Clone, Copy, Debug)]
pub enum ModelSource<'a> {
    /// The contents of a file.
    Bytes {
        /// They may not be more than protobuf's 2 GiB.
        bytes: &'a [u8],
        /// Where the files are to which the model's tensors refer, if any do. Without one, tract refuses such tensors,
        /// and ONNX Runtime looks in the folder that the program runs in.
        folder: Option<&'a Path>,
    },
    /// A file, next to those to which its tensors refer.
    Path(&'a Path),
}

impl<'a> From<&'a [u8]> for ModelSource<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes { bytes, folder: None }
    }
}

#[cfg(any(feature = "tract", feature = "onnxruntime"))]
impl ModelSource<'_> {
    /// Whether its file can be read at all.
    fn check(&self) -> Result<(), RuntimeError> {
        let Self::Path(path) = self else { return Ok(()) };
        let opened = std::fs::File::open(path).map(|_| ());
        opened.map_err(|error| RuntimeError::File { path: path.to_path_buf(), reason: error.to_string() })
    }
}

/// Runs ONNX models.
///
/// ```
/// # #[cfg(feature = "tract")] {
/// use batchnorm_model::onnx::{Dim, Graph};
/// use batchnorm_model::runtime::{Array, Runtime, Tract};
///
/// let mut graph = Graph::new("net");
/// let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(2)]);
/// let y = graph.relu("relu", &x);
/// graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(2)]);
///
/// let mut session = Tract.load(graph.to_bytes()?.as_slice().into())?;
/// let x = Array::new([1, 2], vec![-1.0_f32, 3.0])?;
/// let outputs = session.run(&[("x", &x)])?;
/// assert_eq!(outputs[0].0, "y");
/// assert_eq!(outputs[0].1.to_f64(), [0.0, 3.0]);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Runtime {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// Its version, as far as it is known.
    fn version(&self) -> String;

    /// Reads a model.
    ///
    /// # Errors
    ///
    /// If it is none, or has an operator or element type that the runtime lacks and can tell before it runs.
    fn load(&self, model: ModelSource<'_>) -> Result<Box<dyn Session>, RuntimeError>;
}

/// A model in a runtime.
pub trait Session {
    /// What has to be given, in the model's order. Tensors that the file stores are no inputs, even where it lists them
    /// as such.
    fn inputs(&self) -> &[Port];

    /// The names of what comes out, in the model's order.
    fn outputs(&self) -> &[String];

    /// Runs the model on tensors by name, in any order. Outputs come in the model's order.
    ///
    /// # Errors
    ///
    /// If an input is missing, unknown, given twice, or of a type or shape that the model does not take, and if the
    /// runtime fails.
    fn run(&mut self, inputs: &[(&str, &Array)]) -> Result<Vec<(String, Array)>, RuntimeError>;
}

/// An input of a model, as far as the model says.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What it is made of; `None` if the model does not say, or says something that is not handed over (text, say).
    pub element: Option<ElementType>,
    /// The length of each axis, `None` for any; `None` altogether if not even their number is given.
    pub dims: Option<Vec<Option<usize>>>,
}

/// The tensors given, in the order of the model's inputs.
#[cfg(any(feature = "tract", feature = "onnxruntime"))]
fn in_order<'a>(ports: &[Port], given: &[(&str, &'a Array)]) -> Result<Vec<&'a Array>, RuntimeError> {
    let names = || ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
    for (index, (name, array)) in given.iter().enumerate() {
        if given[..index].iter().any(|(before, _)| before == name) {
            return Err(RuntimeError::InputTwice { input: (*name).to_owned() });
        }
        let Some(port) = ports.iter().find(|port| port.name == *name) else {
            return Err(RuntimeError::UnknownInput { found: (*name).to_owned(), inputs: names() });
        };
        port.check(array)?;
    }
    let of_port = |port: &Port| {
        let found = given.iter().find(|(name, _)| *name == port.name);
        found
            .map(|(_, array)| *array)
            .ok_or_else(|| RuntimeError::MissingInput { input: port.name.clone(), inputs: names() })
    };
    ports.iter().map(of_port).collect()
}

#[cfg(any(feature = "tract", feature = "onnxruntime"))]
impl Port {
    fn check(&self, array: &Array) -> Result<(), RuntimeError> {
        array.check()?;
        let input = || self.name.clone();
        let found = array.values.element();
        if let Some(expected) = self.element
            && found != expected
        {
            return Err(RuntimeError::InputElement { input: input(), expected, found });
        }
        let Some(expected) = &self.dims else { return Ok(()) };
        let fits = expected.len() == array.dims.len()
            && expected
                .iter()
                .zip(&array.dims)
                .all(|(expected, found)| expected.is_none_or(|dim| dim == *found));
        if fits {
            return Ok(());
        }
        Err(RuntimeError::InputShape { input: input(), expected: expected.clone(), found: array.dims.clone() })
    }
}
