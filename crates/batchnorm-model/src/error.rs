//! Everything that can be wrong with a model file.
//!
//! Every message says what was expected, what was found, and the way out. Nothing in this crate panics on what a file
//! holds.

use std::io;
use std::path::PathBuf;

use crate::onnx::wire::WireType;

/// What was wrong with a file, by name; its cause says what is wrong inside.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system does not let it be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system does not let it be written.
    #[error("cannot write `{}`", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a checkpoint that can be read, or what should go into it is none.
    #[error("`{}` as a safetensors file", .path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: Box<CheckpointError>,
    },
    /// The graph that should go into it is not a valid one.
    #[error("`{}` as an ONNX file", .path.display())]
    Graph {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        source: Box<GraphError>,
    },
}

/// What was wrong with the contents of a safetensors file, found or to be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It does not begin as a safetensors file does.
    #[error(
        "expected 8 bytes that hold the header's length and then a JSON header, found {found}; is it another kind of \
         file, or cut off?"
    )]
    NotSafetensors {
        /// What is there instead.
        found: String,
    },
    /// A tensor's entry in the header is not one.
    #[error(
        "tensor `{tensor}`: expected dtype, shape and data_offsets in its header entry; save the file anew"
    )]
    Entry {
        /// Its name.
        tensor: String,
        /// What was wrong.
        source: serde_json::Error,
    },
    /// A tensor holds elements of a type that is not read.
    #[error("tensor `{tensor}` holds {found}, expected F32, F64, I64 or U8; convert it before saving it")]
    Dtype {
        /// Its name.
        tensor: String,
        /// The type in the file.
        found: String,
    },
    /// Two tensors have one name.
    #[error("two tensors are named `{tensor}`; expected each name once, rename one")]
    DuplicateName {
        /// The name.
        tensor: String,
    },
    /// A tensor has a name that the format keeps for itself.
    #[error("a tensor is named `{tensor}`, which the format keeps for itself; rename it")]
    ReservedName {
        /// The name.
        tensor: String,
    },
    /// A tensor's shape is not that of its values.
    #[error("tensor `{tensor}` of shape {shape:?} must have {expected} {unit}, found {found}; {way_out}")]
    Length {
        /// Its name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What the shape asks for, or that it is more than can be counted.
        expected: String,
        /// What there is.
        found: usize,
        /// Of what: bytes in a file, values in memory.
        unit: &'static str,
        /// What to do about it.
        way_out: &'static str,
    },
    /// The tensors do not fill the file from the header to its end, or the header is not as the format has it.
    #[error("{found}; the file was cut off or changed, save or copy it anew")]
    Layout {
        /// What was wrong.
        found: String,
    },
    /// Names and metadata are longer than the format allows.
    #[error("names and metadata take {found} bytes, expected at most {limit}; shorten the metadata")]
    HeaderTooLarge {
        /// Their length.
        found: usize,
        /// The most that readers take.
        limit: usize,
    },
}

/// What was wrong with a graph under construction.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Something has no name.
    #[error("{what} has an empty name; inputs, tensors, nodes and outputs each need one")]
    EmptyName {
        /// What it is.
        what: &'static str,
    },
    /// Two things have one name.
    #[error("the name `{name}` is used twice; inputs, tensors, nodes and outputs need names of their own")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Two entries of the metadata have one key.
    #[error("the metadata has the key `{key}` twice; expected each key once")]
    DuplicateMetadata {
        /// The key.
        key: String,
    },
    /// A tensor's shape is not that of its values.
    #[error("tensor `{tensor}` of shape {shape:?} does not have the {found} values it was given")]
    TensorLength {
        /// Its name.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The number of values.
        found: usize,
    },
    /// A node or an output uses a value of another graph.
    #[error(
        "`{used_by}` uses the value `{value}`, which this graph does not have; use the values that its methods return"
    )]
    UnknownValue {
        /// The value's name.
        value: String,
        /// The node or output.
        used_by: String,
    },
    /// A node has inputs in a number that its operator does not take.
    #[error("`{node}` has no inputs; {op} needs at least one")]
    NoInputs {
        /// The node's name.
        node: String,
        /// Its operator.
        op: &'static str,
    },
    /// Nothing comes out of the graph.
    #[error("the graph has no output; name one with `Graph::output`")]
    NoOutputs,
    /// An eps that ONNX cannot hold.
    #[error("`{node}`: eps must be a finite number >= 0 that f32 can hold, found {found:e}; use a larger one")]
    InvalidEps {
        /// The node's name.
        node: String,
        /// The value passed.
        found: f64,
    },
    /// A number that does not fit a signed 64-bit integer.
    #[error("`{name}` has the size {found}, expected at most 2^63 - 1")]
    SizeTooLarge {
        /// The input, output, node or tensor.
        name: String,
        /// The size.
        found: usize,
    },
    /// The model is larger than a protobuf message can be.
    #[error(
        "the model takes at least {found} bytes, and a protobuf message has at most {limit}; make the network smaller"
    )]
    TooLarge {
        /// The bytes it takes, or those of its tensors alone.
        found: u64,
        /// The most there can be.
        limit: u64,
    },
}

/// What was wrong with bytes read as a protobuf message, and where.
///
/// Offsets are from the start of the bytes that the outermost reader was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end inside a field.
    #[error(
        "byte {offset}: expected {expected}, found the end of the data; the file is cut off or of another kind"
    )]
    Truncated {
        /// Where the thing begins that is cut off.
        offset: usize,
        /// What it is.
        expected: &'static str,
    },
    /// A number of variable length goes on for too long.
    #[error(
        "byte {offset}: expected a varint of at most 64 bits, found a longer one; the file is damaged or of another kind"
    )]
    OverlongVarint {
        /// Where it begins.
        offset: usize,
    },
    /// A field claims more bytes than there are.
    #[error(
        "byte {offset}: field {number} claims {length} bytes, but only {left} are left; the file is cut off or of \
         another kind"
    )]
    LengthPastEnd {
        /// Where the field begins.
        offset: usize,
        /// Its number.
        number: u32,
        /// The claimed length.
        length: u64,
        /// The bytes that are left.
        left: usize,
    },
    /// A field number that protobuf does not allow.
    #[error(
        "byte {offset}: expected a field number from 1 to 536870911, found {found}; the file is damaged or of another kind"
    )]
    FieldNumber {
        /// Where the field begins.
        offset: usize,
        /// The number found.
        found: u64,
    },
    /// A group, which protobuf has given up and ONNX never had.
    #[error(
        "byte {offset}: field {number} is a group, which ONNX does not use; the file is damaged or of another kind"
    )]
    Group {
        /// Where the field begins.
        offset: usize,
        /// Its number.
        number: u32,
    },
    /// A wire type that does not exist.
    #[error(
        "byte {offset}: field {number} has wire type {found}, expected 0, 1, 2 or 5; the file is damaged or of another kind"
    )]
    WireType {
        /// Where the field begins.
        offset: usize,
        /// Its number.
        number: u32,
        /// The type found.
        found: u8,
    },
    /// A field is encoded as another kind of value than was asked for.
    #[error(
        "byte {offset}: expected {expected} in field {number}, found {found}; it is not the message it was taken for"
    )]
    Mismatch {
        /// Where the field begins.
        offset: usize,
        /// Its number.
        number: u32,
        /// What was asked for.
        expected: &'static str,
        /// How the field is encoded.
        found: WireType,
    },
    /// A field that must be text is not.
    #[error(
        "byte {offset}: expected text in UTF-8 in field {number}, found other bytes; it is not the message it was taken for"
    )]
    NotText {
        /// Where the field begins.
        offset: usize,
        /// Its number.
        number: u32,
    },
}
