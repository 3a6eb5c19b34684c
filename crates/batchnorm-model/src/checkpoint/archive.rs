//! A checkpoint of any kind, its tensors read one at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::header::{Header, is_safetensors};
use super::{ArchiveError, Dtype, pytorch, shards};

/// As many bytes at a time are copied from file to file.
const COPIED_AT_ONCE: usize = 1 << 20;
/// Tensors up to this size are read whatever the length of their file: 64 MiB.
const ALWAYS_READ: u64 = 64 << 20;

/// The kind of a checkpoint, told by its contents and not by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One safetensors file.
    Safetensors,
    /// Safetensors files with an index that says which holds what: `model.safetensors.index.json`.
    Sharded,
    /// A file by `torch.save`: `.pth`, `.pt`, `.bin`.
    PyTorch,
}

impl Format {
    /// The kind of checkpoint that a file may be by its first bytes; `None` if it is none.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Read`] if it cannot be read.
    pub fn of(path: &Path) -> Result<Option<Self>, ArchiveError> {
        let start = start(path).map_err(|source| ArchiveError::Read { path: path.to_owned(), source })?;
        Ok(Self::of_start(&start))
    }

    fn of_start(start: &[u8]) -> Option<Self> {
        let json = start.trim_ascii_start().first() == Some(&b'{');
        if is_safetensors(start) {
            Some(Self::Safetensors)
        } else if json {
            Some(Self::Sharded)
        } else {
            pytorch::is_pytorch(start).then_some(Self::PyTorch)
        }
    }
}

fn start(path: &Path) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(pytorch::START as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// A tensor of a checkpoint, not read yet.
#[derive(Clone, Debug)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// The lengths of its axes; none for a scalar.
    pub shape: Vec<usize>,
    /// Its length in bytes.
    pub bytes: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// From this byte on in the file of this number.
    File { file: usize, offset: u64 },
    /// From the file of this number, as the reader of PyTorch's files has it.
    PyTorch { file: usize, tensor: pytorch_reader::Tensor },
}

#[derive(Debug)]
struct DataFile {
    path: PathBuf,
    length: u64,
    file: Mutex<File>,
}

/// A checkpoint that is open: names, types and shapes of its tensors are known, and each is read when it is asked for.
///
/// Safetensors files with all types of elements, their shards by way of the index, and files by `torch.save`; the
/// contents of a file tell which it is. Files may be far larger than the memory.
///
/// ```
/// use batchnorm_model::checkpoint::{Archive, Dtype, Format, NamedTensor, Tensors};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("net.safetensors");
/// let mut tensors = Tensors::default();
/// tensors.tensors.push(NamedTensor::new("fc.weight", [2, 1], vec![1.0_f32, -2.0]));
/// tensors.write(&path)?;
///
/// let archive = Archive::open(&path)?;
/// assert_eq!(archive.format(), Format::Safetensors);
/// assert_eq!(archive.names().collect::<Vec<_>>(), ["fc.weight"]);
/// let entry = archive.entry("fc.weight").unwrap();
/// assert_eq!((&entry.dtype, &entry.shape[..]), (&Dtype::F32, &[2, 1][..]));
/// assert_eq!(archive.values("fc.weight")?, [1.0, -2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    format: Format,
    entries: Vec<TensorEntry>,
    index: HashMap<String, usize>,
    files: Vec<DataFile>,
    metadata: BTreeMap<String, String>,
    key: Option<String>,
    left_out: Vec<String>,
}

impl Archive {
    /// Opens a checkpoint. Only names, types and shapes are read.
    ///
    /// Of a file by `torch.save`, the state dict is taken: the file itself, or what it holds under `state_dict`,
    /// `model_state_dict` or `model`, or under whatever key is the only one with tensors.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is no checkpoint, or is damaged; if a shard is missing or not as the index has it.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        Self::open_part(path, None)
    }

    /// As [`open`](Self::open), with the key of the dictionary to take from a file by `torch.save`; "" takes all of it.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`ArchiveError::Key`] if no dictionary with tensors is under this key.
    pub fn open_part(path: &Path, key: Option<&str>) -> Result<Self, ArchiveError> {
        let unreadable = |source| ArchiveError::Read { path: path.to_owned(), source };
        let start = start(path).map_err(unreadable)?;
        let format = Format::of_start(&start)
            .ok_or_else(|| ArchiveError::Unrecognised { path: path.to_owned(), found: in_words(&start) })?;
        let mut archive = Self {
            path: path.to_owned(),
            format,
            entries: Vec::new(),
            index: HashMap::new(),
            files: Vec::new(),
            metadata: BTreeMap::new(),
            key: None,
            left_out: Vec::new(),
        };
        match format {
            Format::Safetensors => {
                let header = archive.add_file(path, File::open(path).map_err(unreadable)?)?;
                archive.metadata = header.metadata;
                let values = header.values;
                for (name, placed) in header.tensors {
                    archive.add_placed(name, placed, 0, values)?;
                }
            }
            Format::Sharded => archive.add_shards(shards::Index::read(path)?)?,
            Format::PyTorch => {
                (archive.key, archive.left_out) = archive.add_pytorch(path, key, |_| true)?;
            }
        }
        Ok(archive)
    }

    fn add_shards(&mut self, index: shards::Index) -> Result<(), ArchiveError> {
        for (shard, names) in &index.shards {
            let path = index.path_of(shard);
            let opened = File::open(&path);
            let file = opened.map_err(|source| ArchiveError::Shard {
                path: path.clone(),
                tensors: names.len(),
                source,
            })?;
            // A tensor that the index has elsewhere is a leftover. One that it does not have at all is read with its shard, as
            // others do.
            let here = |name: &str| index.shard_of(name).is_none_or(|there| there == shard);
            // Shards are safetensors files, or, as `pytorch_model.bin.index.json` has them, state dicts.
            if Format::of(&path)? == Some(Format::PyTorch) {
                self.add_pytorch(&path, Some(""), here)?;
            } else {
                let number = self.files.len();
                let header = self.add_file(&path, file)?;
                self.metadata.extend(header.metadata);
                for (name, placed) in header.tensors.into_iter().filter(|(name, _)| here(name)) {
                    self.add_placed(name, placed, number, header.values)?;
                }
            }
            if let Some(tensor) = names.iter().find(|name| !self.index.contains_key(*name)) {
                return Err(ArchiveError::NotInShard { tensor: tensor.clone(), path });
            }
        }
        Ok(())
    }

    /// Takes up a safetensors file and gives what its header says.
    fn add_file(&mut self, path: &Path, mut file: File) -> Result<Header, ArchiveError> {
        let unreadable = |source| ArchiveError::Read { path: path.to_owned(), source };
        let length = file.metadata().map_err(unreadable)?.len();
        let header = Header::read(&mut file, length)
            .map_err(unreadable)?
            .map_err(|source| ArchiveError::Safetensors { path: path.to_owned(), source: source.into() })?;
        self.files.push(DataFile { path: path.to_owned(), length, file: Mutex::new(file) });
        Ok(header)
    }

    /// Takes up those tensors of a file by `torch.save` that are wanted, and gives the key of the dictionary that they are
    /// from, and the other keys.
    fn add_pytorch(
        &mut self,
        path: &Path,
        key: Option<&str>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Option<String>, Vec<String>), ArchiveError> {
        let unreadable = |source| ArchiveError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let number = self.files.len();
        self.files.push(DataFile { path: path.to_owned(), length, file: Mutex::new(file) });
        let pytorch::Loaded { tensors, key, left_out } = pytorch::open(path, key)?;
        for tensor in tensors.into_iter().filter(|tensor| wanted(&tensor.name)) {
            self.add(TensorEntry {
                name: tensor.name.clone(),
                dtype: pytorch::dtype(&tensor),
                shape: tensor.shape().to_vec(),
                bytes: tensor.byte_len() as u64,
                source: Source::PyTorch { file: number, tensor },
            })?;
        }
        Ok((key, left_out))
    }

    fn add_placed(
        &mut self,
        name: String,
        placed: super::header::Placed,
        file: usize,
        values: u64,
    ) -> Result<(), ArchiveError> {
        let (start, end) = placed.data_offsets;
        self.add(TensorEntry {
            name,
            dtype: Dtype::of(&placed.dtype),
            shape: placed.shape,
            bytes: end - start,
            source: Source::File { file, offset: values + start },
        })
    }

    fn add(&mut self, entry: TensorEntry) -> Result<(), ArchiveError> {
        if self.index.insert(entry.name.clone(), self.entries.len()).is_some() {
            return Err(ArchiveError::DuplicateName { path: self.path.clone(), tensor: entry.name });
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What kind of checkpoint it is.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Every tensor, in the order of the file; of a file by `torch.save`, in the order of the names.
    pub fn entries(&self) -> &[TensorEntry] {
        &self.entries
    }

    /// The tensors' names, in the same order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// What is known of the tensor of this name.
    pub fn entry(&self, name: &str) -> Option<&TensorEntry> {
        self.index.get(name).map(|&number| &self.entries[number])
    }

    /// The text that a safetensors file holds about itself; of shards, of all of them together.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The key of the dictionary that the tensors are from, in a file by `torch.save` that holds more.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The other keys of such a file under which there are tensors: the optimizer's, an average's.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// The bytes of a tensor, little-endian and row-major.
    ///
    /// # Errors
    ///
    /// If there is no such tensor, or it cannot be read; [`ArchiveError::Expanded`] for one value repeated to more than
    /// the file's length.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, ArchiveError> {
        let entry = self.known(name)?;
        self.read_range(entry, 0, entry.bytes)
    }

    /// The elements of a tensor, widened to f64.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and [`ArchiveError::NotNumbers`] if the type of its elements is not understood.
    pub fn values(&self, name: &str) -> Result<Vec<f64>, ArchiveError> {
        let dtype = &self.known(name)?.dtype;
        if dtype.size().is_none() {
            return Err(ArchiveError::NotNumbers { tensor: name.to_owned(), dtype: dtype.clone() });
        }
        Ok(dtype.widen(&self.read(name)?).unwrap_or_default())
    }

    /// Calls `part` with the bytes of a tensor, in order, at most `at_once` bytes at a time: a tensor of a safetensors
    /// file is never in memory whole.
    pub(super) fn parts<E>(
        &self,
        name: &str,
        at_once: usize,
        mut part: impl FnMut(Vec<u8>) -> Result<(), E>,
    ) -> Result<Result<(), E>, ArchiveError> {
        let entry = self.known(name)?;
        match &entry.source {
            Source::File { .. } => {
                let mut start = 0;
                while start < entry.bytes {
                    let length = (at_once.max(1) as u64).min(entry.bytes - start);
                    if let Err(error) = part(self.read_range(entry, start, length)?) {
                        return Ok(Err(error));
                    }
                    start += length;
                }
            }
            Source::PyTorch { .. } => {
                let bytes = self.read_range(entry, 0, entry.bytes)?;
                for chunk in bytes.chunks(at_once.max(1)) {
                    if let Err(error) = part(chunk.to_vec()) {
                        return Ok(Err(error));
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    /// Copies a tensor's bytes to a file. The outer error is the reading's, the inner one the writing's.
    pub(super) fn copy_to(&self, name: &str, out: &mut dyn Write) -> Result<io::Result<()>, ArchiveError> {
        self.parts(name, COPIED_AT_ONCE, |bytes| out.write_all(&bytes))
    }

    /// Copies the whole file, byte for byte; of shards, the index.
    pub(super) fn copy_file_to(&self, out: &mut dyn Write) -> Result<io::Result<()>, ArchiveError> {
        let unreadable = |source| ArchiveError::Read { path: self.path.clone(), source };
        let mut file = File::open(&self.path).map_err(unreadable)?;
        let mut buffer = vec![0; COPIED_AT_ONCE];
        loop {
            let read = file.read(&mut buffer).map_err(unreadable)?;
            if read == 0 {
                return Ok(Ok(()));
            }
            if let Err(error) = out.write_all(&buffer[..read]) {
                return Ok(Err(error));
            }
        }
    }

    fn known(&self, name: &str) -> Result<&TensorEntry, ArchiveError> {
        self.entry(name)
            .ok_or_else(|| ArchiveError::NoSuchTensor { tensor: name.to_owned(), path: self.path.clone() })
    }

    fn read_range(&self, entry: &TensorEntry, start: u64, length: u64) -> Result<Vec<u8>, ArchiveError> {
        let (Source::File { file: number, .. } | Source::PyTorch { file: number, .. }) = entry.source;
        let DataFile { path, length: file_length, file } = &self.files[number];
        let failed = |source| ArchiveError::Tensor { tensor: entry.name.clone(), path: path.clone(), source };
        match &entry.source {
            Source::File { offset, .. } => {
                // The header was checked against the file's length, so that this is no more than there is.
                let mut bytes = vec![0; usize::try_from(length).map_err(|_| failed(out_of_memory()))?];
                let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                file.seek(SeekFrom::Start(offset + start)).map_err(failed)?;
                file.read_exact(&mut bytes).map_err(failed)?;
                Ok(bytes)
            }
            Source::PyTorch { tensor, .. } => {
                if entry.bytes > ALWAYS_READ.max(*file_length) {
                    return Err(ArchiveError::Expanded {
                        tensor: entry.name.clone(),
                        bytes: entry.bytes,
                        file: *file_length,
                    });
                }
                pytorch::read(tensor).map_err(failed)
            }
        }
    }
}

fn out_of_memory() -> io::Error {
    io::Error::new(io::ErrorKind::OutOfMemory, "it is larger than the address space")
}

/// The first bytes of a file, for a message.
fn in_words(start: &[u8]) -> String {
    const SHOWN: usize = 8;
    if start.is_empty() {
        return "nothing: it is empty".to_owned();
    }
    start.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
