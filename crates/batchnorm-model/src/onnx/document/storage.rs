//! Where the values of tensors come from: the model's own bytes, files beside it, numbers made anew.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::element::ElementType;
use super::fields::{Fields, Held};
use super::source::{Source, Span};
use super::tensor::{External, Made, Payload, Tensor};
use super::{DocumentError, Result};

/// So many elements are read at once where a tensor is gone through.
const CHUNK: usize = 1 << 15;

/// The sources of a model's tensors. Clones share them.
#[derive(Clone, Debug)]
pub struct Storage(Arc<Files>);

#[derive(Debug)]
struct Files {
    model: Source,
    /// Where files beside the model are; `None` for a model in memory.
    folder: Option<PathBuf>,
    others: Mutex<BTreeMap<String, Source>>,
}

impl Storage {
    pub(super) fn new(model: Source) -> Self {
        // The parent of a bare name is the empty path.
        let folder = model.path().map(|path| {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            parent.unwrap_or(Path::new(".")).to_owned()
        });
        Self(Arc::new(Files { model, folder, others: Mutex::default() }))
    }

    /// The model's own bytes.
    pub fn model(&self) -> &Source {
        &self.0.model
    }

    /// A tensor's elements, to be read in parts.
    ///
    /// # Errors
    ///
    /// If there are more or fewer than its shape says, its type is not one of numbers, or the file that holds them must
    /// not be read.
    pub fn elements(&self, tensor: &Tensor) -> Result<Elements> {
        let count = tensor.elements()?;
        let element = tensor.element();
        let Some(size) = element.bytes() else {
            let (tensor, found) = (tensor.name().to_owned(), element.to_string());
            return Err(DocumentError::ElementType { tensor, found });
        };
        let values = match tensor.payload() {
            Payload::Raw(span) => Values::Stored(self.0.model.clone(), span.clone()),
            Payload::External(external) => {
                let (source, span) = self.external(tensor, external)?;
                Values::Stored(source, span)
            }
            Payload::Typed { number, span } => {
                let bytes = self.typed(tensor, *number, span, count)?;
                let span = 0..bytes.len() as u64;
                Values::Stored(Source::from_bytes(bytes), span)
            }
            Payload::Bytes(bytes) => {
                let span = 0..bytes.len() as u64;
                Values::Stored(Source::from_bytes(bytes.to_vec()), span)
            }
            Payload::Made(made) => Values::Made(made.clone()),
            Payload::Missing => Values::Stored(Source::from_bytes(Vec::new()), 0..0),
        };
        if let Values::Stored(_, span) = &values
            && span.end - span.start != count * size
        {
            let (found, dims) = (span.end - span.start, tensor.dims());
            return Err(tensor
                .bad(format!("the shape {dims:?} of {element} takes {} bytes, found {found}", count * size)));
        }
        Ok(Elements { values, element, count })
    }

    /// All of a tensor's elements.
    ///
    /// # Errors
    ///
    /// As [`elements`](Self::elements).
    pub fn values(&self, tensor: &Tensor) -> Result<Vec<f64>> {
        self.elements(tensor)?.all()
    }

    /// Numbers in fields of their own, as little-endian bytes of the tensor's type.
    fn typed(&self, tensor: &Tensor, number: u32, span: &Span, count: u64) -> Result<Vec<u8>> {
        let source = &self.0.model;
        let mut bytes = Vec::new();
        let size = tensor.element().bytes().unwrap_or(1) as usize;
        let mut ints = Vec::new();
        for located in Fields::new(source, span) {
            let located = located?;
            if located.number != number {
                continue;
            }
            match &located.held {
                Held::Fixed32(bits) => bytes.extend_from_slice(&bits.to_le_bytes()),
                Held::Fixed64(bits) => bytes.extend_from_slice(&bits.to_le_bytes()),
                Held::Bytes(span) if matches!(tensor.element(), ElementType::Float | ElementType::Double) => {
                    bytes.extend_from_slice(&source.read(span)?);
                }
                Held::Bytes(_) | Held::Varint(_) => {
                    ints.clear();
                    located.ints(source, &mut ints)?;
                    // Of a type of one or two bytes the lowest are the number's, or a half type's bits.
                    bytes.extend(ints.iter().flat_map(|int| int.to_le_bytes().into_iter().take(size)));
                }
            }
            if bytes.len() as u64 > count.saturating_mul(8) {
                break;
            }
        }
        Ok(bytes)
    }

    /// The file beside the model that holds a tensor, and the bytes of it.
    pub(super) fn external(&self, tensor: &Tensor, external: &External) -> Result<(Source, Span)> {
        let refuse = |found: String, way_out| DocumentError::External {
            tensor: tensor.name().to_owned(),
            location: external.location.clone(),
            found,
            way_out,
        };
        let source = self.beside(&external.location, &refuse)?;
        let left = source.len().checked_sub(external.offset);
        let length = external.length.or(left);
        let end =
            length.and_then(|length| external.offset.checked_add(length)).filter(|&end| end <= source.len());
        match end {
            Some(end) => Ok((source, external.offset..end)),
            None => Err(refuse(
                format!(
                    "bytes {} to {} are wanted, and the file has {}",
                    external.offset,
                    external.offset.saturating_add(external.length.unwrap_or(0)),
                    source.len()
                ),
                "it was cut off, or belongs to another model",
            )),
        }
    }

    fn beside(&self, location: &str, refuse: &dyn Fn(String, &'static str) -> DocumentError) -> Result<Source> {
        const INSIDE: &str =
            "a model's data must lie in its own folder: move them there, and name them without a path";
        let Some(folder) = &self.0.folder else {
            return Err(refuse("the model is in memory, and has no folder".to_owned(), "open it by its path"));
        };
        let mut others = self.0.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = others.get(location) {
            return Ok(source.clone());
        }
        let relative = Path::new(location);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !plain || location.contains(['\\', '\0']) {
            return Err(refuse("the path leads out of the model's folder".to_owned(), INSIDE));
        }
        let path = folder.join(relative);
        // Every step of the way may be a link.
        let mut step = folder.clone();
        for part in relative.components() {
            step.push(part);
            let metadata = std::fs::symlink_metadata(&step)
                .map_err(|error| refuse(error.to_string(), "copy the file into the model's folder"))?;
            if metadata.file_type().is_symlink() {
                return Err(refuse("it is a link".to_owned(), INSIDE));
            }
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt;
                if metadata.is_file() && metadata.nlink() > 1 {
                    let found = "the file has several names (hard links)".to_owned();
                    return Err(refuse(found, "it may be another's: copy it to a file of its own"));
                }
            }
            if step == path && !metadata.is_file() {
                return Err(refuse("it is no file".to_owned(), INSIDE));
            }
        }
        let source = Source::open(&path)?;
        others.insert(location.to_owned(), source.clone());
        Ok(source)
    }
}

/// A tensor's elements, read in parts of any length.
#[derive(Clone, Debug)]
pub struct Elements {
    values: Values,
    element: ElementType,
    count: u64,
}

#[derive(Clone, Debug)]
enum Values {
    Stored(Source, Span),
    Made(Arc<dyn Made>),
}

impl Elements {
    /// How many there are.
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn all(&self) -> Result<Vec<f64>> {
        let mut all = vec![0.0; self.count as usize];
        self.read(0, &mut all)?;
        Ok(all)
    }

    /// Lends them part by part, with the index of each part's first element.
    ///
    /// # Errors
    ///
    /// If they cannot be read; and what `visit` returns.
    pub fn each(&self, mut visit: impl FnMut(u64, &mut [f64]) -> Result<()>) -> Result<()> {
        let mut part = vec![0.0; CHUNK.min(self.count as usize)];
        let mut first = 0;
        while first < self.count {
            let part = &mut part[..(self.count - first).min(CHUNK as u64) as usize];
            self.read(first, part)?;
            visit(first, part)?;
            first += part.len() as u64;
        }
        Ok(())
    }
}

impl Made for Elements {
    fn read(&self, first: u64, out: &mut [f64]) -> Result<()> {
        match &self.values {
            Values::Made(made) => made.read(first, out),
            Values::Stored(source, span) => {
                let size = self.element.bytes().unwrap_or(1);
                let start = span.start + first * size;
                let bytes = source.read(&(start..start + out.len() as u64 * size))?;
                self.element.decode(&bytes, out);
                Ok(())
            }
        }
    }
}
