//! Safetensors files: a JSON header of names, types and shapes, then the values, little-endian.
//!
//! Crate `safetensors` judges the layout of what is read: no holes, no overlaps, nothing left over. What it does not
//! do is done here: errors that name the tensor, the order of the tensors, and files that are the same bytes each
//! time (it keeps names in hash maps, whose order changes from run to run).

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;

use safetensors::SafeTensors;
use serde::de::{self, Deserialize, Deserializer, MapAccess};
use serde::{Deserialize as DeriveDeserialize, Serialize};

use crate::{CheckpointError, FileError, file};

/// The header's key for the metadata; no tensor can have it as its name.
pub(super) const METADATA: &str = "__metadata__";
/// The most bytes of header that readers take.
pub(super) const HEADER_LIMIT: usize = 100_000_000;
/// The header's length comes first, in as many bytes.
pub(super) const PREFIX: usize = size_of::<u64>();

/// The elements of a tensor, by type.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// Signed integers: counters.
    I64(Vec<i64>),
    /// Bytes.
    U8(Vec<u8>),
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::U8(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type's name in safetensors: `F32`, `F64`, `I64` or `U8`.
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::F64(_) => "F64",
            Self::I64(_) => "I64",
            Self::U8(_) => "U8",
        }
    }

    fn element_bytes(&self) -> usize {
        match self {
            Self::F32(_) => size_of::<f32>(),
            Self::F64(_) => size_of::<f64>(),
            Self::I64(_) => size_of::<i64>(),
            Self::U8(_) => size_of::<u8>(),
        }
    }

    /// No values of the type of this name.
    fn none_of(dtype: &str) -> Option<Self> {
        match dtype {
            "F32" => Some(Self::F32(Vec::new())),
            "F64" => Some(Self::F64(Vec::new())),
            "I64" => Some(Self::I64(Vec::new())),
            "U8" => Some(Self::U8(Vec::new())),
            _ => None,
        }
    }

    /// Takes all values from bytes, of which there is a whole number of elements.
    fn read(&mut self, bytes: &[u8]) {
        match self {
            Self::F32(values) => *values = bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Self::F64(values) => *values = bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Self::I64(values) => *values = bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
            Self::U8(values) => *values = bytes.to_vec(),
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::F32(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F64(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::I64(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::U8(values) => bytes.extend_from_slice(values),
        }
    }
}

impl From<Vec<f32>> for Values {
    fn from(values: Vec<f32>) -> Self {
        Self::F32(values)
    }
}

impl From<Vec<f64>> for Values {
    fn from(values: Vec<f64>) -> Self {
        Self::F64(values)
    }
}

impl From<Vec<i64>> for Values {
    fn from(values: Vec<i64>) -> Self {
        Self::I64(values)
    }
}

impl From<Vec<u8>> for Values {
    fn from(values: Vec<u8>) -> Self {
        Self::U8(values)
    }
}

/// A tensor with its name, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its name, dotted as in PyTorch: `layer1.0.bn1.running_mean`.
    pub name: String,
    /// The lengths of its axes; none for a scalar.
    pub shape: Vec<usize>,
    /// Its elements, as many as the product of `shape`.
    pub values: Values,
}

impl NamedTensor {
    /// A tensor; [`Tensors::to_bytes`] checks that shape and values agree.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: impl Into<Values>) -> Self {
        Self { name: name.into(), shape: shape.into(), values: values.into() }
    }
}

/// The contents of a safetensors file.
///
/// The order of the tensors is kept in the file's header. (Most writers sort by type and name.)
///
/// ```
/// use batchnorm_model::checkpoint::{NamedTensor, Tensors, Values};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("net.safetensors");
/// let mut tensors = Tensors::default();
/// tensors.tensors.push(NamedTensor::new("fc.weight", [2, 1], vec![1.0_f32, -2.0]));
/// tensors.tensors.push(NamedTensor::new("bn.num_batches_tracked", [], vec![7_i64]));
/// tensors.metadata.insert("format".to_owned(), "pt".to_owned());
/// tensors.write(&path)?;
///
/// let read = Tensors::read(&path)?;
/// assert_eq!(read, tensors);
/// assert_eq!(read.get("fc.weight").unwrap().shape, [2, 1]);
/// assert_eq!(read.metadata["format"], "pt");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: <https://huggingface.co/docs/safetensors>.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensors {
    /// The tensors, each under a name of its own.
    pub tensors: Vec<NamedTensor>,
    /// Text under keys: what the file's writer wants to say about it.
    pub metadata: BTreeMap<String, String>,
}

impl Tensors {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or as [`from_bytes`](Self::from_bytes).
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let bytes = std::fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes)
            .map_err(|source| FileError::Checkpoint { path: path.to_owned(), source: source.into() })
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// If they are no safetensors file, or cut off, or a tensor has another type than those of [`Values`], or a shape
    /// that is not that of its values.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let header = header(bytes)?;
        let mut names = HashSet::new();
        let mut entries = Vec::new();
        for (tensor, entry) in header.0.into_iter().filter(|(name, _)| name != METADATA) {
            if !names.insert(tensor.clone()) {
                return Err(CheckpointError::DuplicateName { tensor });
            }
            entries.push(Entry::of(tensor, entry)?);
        }
        let (header_bytes, layout) = SafeTensors::read_metadata(bytes)
            .map_err(|error| CheckpointError::Layout { found: error.to_string() })?;
        let data = &bytes[PREFIX + header_bytes..];
        let tensors = entries
            .into_iter()
            .map(|(name, entry, mut values)| {
                let (start, end) = entry.data_offsets;
                values.read(&data[start..end]);
                NamedTensor { name, shape: entry.shape, values }
            })
            .collect();
        let metadata = layout.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
        Ok(Self { tensors, metadata: metadata.collect() })
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&NamedTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The bytes of a file. The same contents give the same bytes.
    ///
    /// # Errors
    ///
    /// If two tensors have one name, a shape is not that of its values, or names and metadata are larger than the
    /// format allows.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let mut names = HashSet::new();
        for NamedTensor { name, shape, values } in &self.tensors {
            let tensor = name.clone();
            if name == METADATA {
                return Err(CheckpointError::ReservedName { tensor });
            }
            if !names.insert(name) {
                return Err(CheckpointError::DuplicateName { tensor });
            }
            check_length(name, shape, 1, values.len(), "values", "give it the shape of its values")?;
        }
        // Readers view the values in place, so that each must lie at a multiple of its size: the widest come first.
        let mut order: Vec<usize> = (0..self.tensors.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(self.tensors[index].values.element_bytes()));
        let mut offsets = vec![(0, 0); self.tensors.len()];
        let mut end = 0;
        for &index in &order {
            let values = &self.tensors[index].values;
            let start = end;
            end += values.len() * values.element_bytes();
            offsets[index] = (start, end);
        }
        let header = self.header(&offsets);
        if header.len() > HEADER_LIMIT {
            return Err(CheckpointError::HeaderTooLarge { found: header.len(), limit: HEADER_LIMIT });
        }
        let mut bytes = Vec::with_capacity(PREFIX + header.len() + end);
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        for &index in &order {
            self.tensors[index].values.write(&mut bytes);
        }
        Ok(bytes)
    }

    /// Writes a file, which appears whole or not at all.
    ///
    /// # Errors
    ///
    /// As [`to_bytes`](Self::to_bytes), and if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let bytes = self
            .to_bytes()
            .map_err(|source| FileError::Checkpoint { path: path.to_owned(), source: source.into() })?;
        file::write(path, &bytes)
    }

    /// The JSON header, padded to a multiple of eight bytes so that the values are aligned.
    fn header(&self, offsets: &[(usize, usize)]) -> String {
        let mut parts = Vec::new();
        if !self.metadata.is_empty() {
            parts.push(format!("{}:{}", json(METADATA), json(&self.metadata)));
        }
        for (NamedTensor { name, shape, values }, &data_offsets) in self.tensors.iter().zip(offsets) {
            let entry = Entry { dtype: values.dtype().to_owned(), shape: shape.clone(), data_offsets };
            parts.push(format!("{}:{}", json(name), json(&entry)));
        }
        let mut header = format!("{{{}}}", parts.join(","));
        let padded = header.len().next_multiple_of(PREFIX);
        header.extend(std::iter::repeat_n(' ', padded - header.len()));
        header
    }
}

pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("text, numbers and maps with text as keys have a JSON form")
}

/// What the header says of a tensor.
#[derive(Debug, DeriveDeserialize, Serialize)]
pub(super) struct Entry {
    pub dtype: String,
    pub shape: Vec<usize>,
    pub data_offsets: (usize, usize),
}

impl Entry {
    /// The checked entry of a tensor, with values of its type to read.
    fn of(tensor: String, entry: serde_json::Value) -> Result<(String, Self, Values), CheckpointError> {
        let entry: Self = match serde_json::from_value(entry) {
            Ok(entry) => entry,
            Err(source) => return Err(CheckpointError::Entry { tensor, source }),
        };
        let Some(values) = Values::none_of(&entry.dtype) else {
            return Err(CheckpointError::Dtype { tensor, found: entry.dtype });
        };
        let (start, end) = entry.data_offsets;
        let found = end.saturating_sub(start);
        check_length(
            &tensor,
            &entry.shape,
            values.element_bytes(),
            found,
            "bytes",
            "save or copy the file anew",
        )?;
        Ok((tensor, entry, values))
    }
}

fn check_length(
    tensor: &str,
    shape: &[usize],
    unit_size: usize,
    found: usize,
    unit: &'static str,
    way_out: &'static str,
) -> Result<(), CheckpointError> {
    let expected = shape.iter().try_fold(unit_size, |product, &length| product.checked_mul(length));
    if expected == Some(found) {
        return Ok(());
    }
    let expected = expected.map_or_else(|| "more than can be counted".to_owned(), |length| length.to_string());
    Err(CheckpointError::Length {
        tensor: tensor.to_owned(),
        shape: shape.to_vec(),
        expected,
        found,
        unit,
        way_out,
    })
}

/// The header's entries in the order of the file, repeated names and all.
struct Header(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> de::Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from names to tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Header(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

fn header(bytes: &[u8]) -> Result<Header, CheckpointError> {
    let not = |found: String| CheckpointError::NotSafetensors { found };
    let (prefix, rest) =
        bytes.split_first_chunk().ok_or_else(|| not(format!("{} bytes in all", bytes.len())))?;
    let length = u64::from_le_bytes(*prefix);
    let header = usize::try_from(length)
        .ok()
        .and_then(|length| rest.get(..length))
        .ok_or_else(|| not(format!("a length of {length} with {} bytes after it", rest.len())))?;
    serde_json::from_slice(header)
        .map_err(|error| not(format!("a header that is not JSON of tensors ({error})")))
}
