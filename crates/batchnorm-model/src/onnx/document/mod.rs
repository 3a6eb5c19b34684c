//! Models as they are in a file: read without being loaded, changed in places, and written with every other byte as it
//! was.
//!
//! What an editor does not know it must not lose: fields of later versions, notes, functions, training information. So
//! a [`Document`] keeps, for each message, where it lies in the file, and writes it from there unless it was changed.
//! Tensors stay in the file, or in the files beside it, until their values are asked for; a weight of gigabytes is
//! copied in pieces.
//!
//! ```
//! use batchnorm_model::onnx::{Dim, Graph, document::Document};
//!
//! let mut graph = Graph::new("net");
//! let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(3)]);
//! let y = graph.node("Relu", "relu", &[&x], &[]);
//! graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(3)]);
//! let bytes = graph.to_bytes()?;
//!
//! let mut document = Document::from_bytes(bytes.clone())?;
//! assert_eq!(document.to_bytes()?, bytes);
//! document.graph_mut().node_mut(0).set_op("Tanh");
//! let changed = Document::from_bytes(document.to_bytes()?)?;
//! assert_eq!(changed.graph().nodes()[0].op(), "Tanh");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: <https://onnx.ai/onnx/repo-docs/IR.html>, `onnx.proto`.

mod attribute;
mod element;
mod encode;
mod error;
mod fields;
mod function;
mod graph;
mod node;
mod save;
mod source;
mod storage;
mod tensor;
mod value;

use std::io::Write;
use std::path::Path;

pub use attribute::{Attribute, AttributeValue};
pub use element::ElementType;
pub use error::DocumentError;
pub use function::Function;
pub use graph::Graph;
pub use node::Node;
pub use source::{Source, Span};
pub use storage::{Elements, Storage};
pub use tensor::{External, Made, Payload, Tensor};
pub use value::{Extent, ValueInfo};

use self::encode::{Encoder, write_function, write_graph};
use self::fields::Fields;
use super::fields::{model as field, opset};

type Result<T, E = DocumentError> = std::result::Result<T, E>;

/// The most bytes that a protobuf message can have: its lengths are signed 32-bit integers.
const MESSAGE_LIMIT: u64 = i32::MAX as u64;

/// An ONNX model in a file or in memory, and what was changed of it.
#[derive(Clone, Debug)]
pub struct Document {
    storage: Storage,
    ir_version: i64,
    opsets: Vec<(String, i64)>,
    metadata: Vec<(String, String)>,
    graph: (usize, Graph),
    functions: Vec<(usize, Function)>,
    /// Whether the file keeps tensors in others beside it.
    beside: bool,
    training_info: bool,
    /// Fields that are copied: their places and bytes.
    others: Vec<(usize, Span)>,
}

impl Document {
    /// Reads what a file says of its model. The file stays open, and must not be changed while the document is used.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is no ONNX model.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(Source::open(path)?)
    }

    /// Reads a model in memory. It has no files beside it.
    ///
    /// # Errors
    ///
    /// If it is no ONNX model.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        Self::read(Source::from_bytes(bytes))
    }

    fn read(source: Source) -> Result<Self> {
        let not = |found: &str| DocumentError::NotOnnx { found: found.to_owned() };
        if source.is_empty() {
            return Err(not("no bytes at all"));
        }
        let (mut ir_version, mut opsets, mut metadata) = (None, Vec::new(), Vec::new());
        let (mut graph, mut functions, mut others) = (None, Vec::new(), Vec::new());
        let mut training_info = false;
        for (place, located) in Fields::new(&source, &(0..source.len())).enumerate() {
            let located = located?;
            match located.number {
                field::GRAPH if graph.is_some() => return Err(not("two graphs in one model")),
                field::GRAPH => graph = Some((place, Graph::parse(&source, &located.bytes()?, 0)?)),
                field::FUNCTIONS => functions.push((place, Function::parse(&source, &located.bytes()?)?)),
                number => {
                    match number {
                        field::IR_VERSION => ir_version = Some(located.int()?),
                        field::OPSET_IMPORT => opsets.push(operators(&source, &located.bytes()?)?),
                        field::TRAINING_INFO => training_info = true,
                        field::METADATA_PROPS => metadata.push(tensor::entry(&source, &located.bytes()?)?),
                        _ => {}
                    }
                    others.push((place, located.span));
                }
            }
        }
        let ir_version = ir_version.ok_or_else(|| not("a file that does not say its IR version"))?;
        let graph = graph.ok_or_else(|| not("a file without a graph"))?;
        let storage = Storage::new(source);
        let beside = false;
        let mut document =
            Self { storage, ir_version, opsets, metadata, graph, functions, beside, training_info, others };
        document.beside = !document.locations().is_empty();
        Ok(document)
    }

    /// The version of the format.
    pub fn ir_version(&self) -> i64 {
        self.ir_version
    }

    /// The version of ONNX's own operators.
    pub fn opset(&self) -> i64 {
        let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
        self.opsets.iter().find(|(domain, _)| own(domain)).map_or(1, |(_, version)| *version)
    }

    /// Notes about the model: keys and values.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    /// Its graph.
    pub fn graph(&self) -> &Graph {
        &self.graph.1
    }

    /// Its graph, to be changed.
    pub fn graph_mut(&mut self) -> &mut Graph {
        &mut self.graph.1
    }

    /// The functions it brings along.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = &Function> {
        self.functions.iter().map(|(_, function)| function)
    }

    /// A function it brings along, to be changed.
    pub fn function_mut(&mut self, index: usize) -> &mut Function {
        &mut self.functions[index].1
    }

    /// Whether it says how it is trained (`training_info`): that is copied, and may name any value of the graph.
    pub fn has_training_info(&self) -> bool {
        self.training_info
    }

    /// Where the values of its tensors are.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Whether the file keeps tensors in others beside it.
    pub fn has_external_data(&self) -> bool {
        self.beside
    }

    /// Whether anything was changed.
    pub fn is_changed(&self) -> bool {
        self.graph.1.is_changed() || self.functions.iter().any(|(_, function)| function.is_changed())
    }

    /// Writes the model with its changes, piece by piece.
    ///
    /// # Errors
    ///
    /// If it would be larger than 2 GiB, a tensor cannot be read, or `out` does not take it.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        let length = self.encoded_length()?;
        if length > MESSAGE_LIMIT && self.is_changed() {
            return Err(DocumentError::TooLarge { found: length, limit: MESSAGE_LIMIT });
        }
        self.encode(&mut Encoder::new(&self.storage, out))
    }

    /// The model with its changes.
    ///
    /// # Errors
    ///
    /// As [`write_to`](Self::write_to).
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?;
        Ok(bytes)
    }

    fn encoded_length(&self) -> Result<u64> {
        Encoder::count(&self.storage, |encoder| self.encode(encoder))
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Result<()> {
        if !self.is_changed() {
            return encoder.copy(&(0..self.storage.model().len()));
        }
        let mut functions = self.functions.iter().peekable();
        let mut others = self.others.iter().peekable();
        let mut graph = Some(&self.graph);
        // Places are those of one list of fields.
        loop {
            let place = |next: Option<usize>| next.unwrap_or(usize::MAX);
            let next = [
                place(graph.map(|(place, _)| *place)),
                place(functions.peek().map(|(place, _)| *place)),
                place(others.peek().map(|(place, _)| *place)),
            ];
            match next.iter().min() {
                None | Some(&usize::MAX) => return Ok(()),
                Some(&least) if least == next[0] => {
                    graph = None;
                    encoder.message(field::GRAPH, |encoder| write_graph(encoder, &self.graph.1))?;
                }
                Some(&least) if least == next[1] => {
                    if let Some((_, function)) = functions.next() {
                        encoder.message(field::FUNCTIONS, |encoder| write_function(encoder, function))?;
                    }
                }
                Some(_) => {
                    if let Some((_, span)) = others.next() {
                        encoder.copy(span)?;
                    }
                }
            }
        }
    }
}

/// A domain of operators and its version.
fn operators(source: &Source, span: &Span) -> Result<(String, i64)> {
    let (mut domain, mut version) = (String::new(), 0);
    for located in Fields::new(source, span) {
        let located = located?;
        match located.number {
            opset::DOMAIN => domain = located.text(source)?,
            opset::VERSION => version = located.int()?,
            _ => {}
        }
    }
    Ok((domain, version))
}
