//! A safetensors file written from a checkpoint that is read at the same time.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::Path;

use super::safetensors::{Entry, HEADER_LIMIT, METADATA, PREFIX, json};
use super::{Archive, ArchiveError, Dtype, Format};
use crate::{CheckpointError, FileError, file};

/// Why a checkpoint was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// What should go into it cannot be read.
    #[error(transparent)]
    Read(#[from] ArchiveError),
    /// It cannot be written, or is no valid file.
    #[error(transparent)]
    Write(#[from] FileError),
}

/// Where the bytes of a tensor come from.
pub(super) enum Content<'a> {
    /// From the tensor of this name, as they are.
    Copied(&'a str),
    /// From here.
    Bytes(Vec<u8>),
    /// From a tensor that is changed on the way. The outer error is the reading's, the inner one the writing's.
    Changed(Box<Changing<'a>>),
}

/// Writes what a tensor becomes.
pub(super) type Changing<'a> = dyn Fn(&mut dyn Write) -> Result<io::Result<()>, ArchiveError> + 'a;

/// A tensor to be written.
pub(super) struct OutputTensor<'a> {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: u64,
    pub content: Content<'a>,
}

impl<'a> OutputTensor<'a> {
    /// All tensors of a checkpoint, as they are.
    pub fn all(archive: &'a Archive) -> Vec<Self> {
        let entries = archive.entries().iter();
        entries
            .map(|entry| Self {
                name: entry.name.clone(),
                dtype: entry.dtype.clone(),
                shape: entry.shape.clone(),
                bytes: entry.bytes,
                content: Content::Copied(&entry.name),
            })
            .collect()
    }
}

/// The metadata of what is made from a checkpoint: its own; of a file by `torch.save`, which has none, what readers look for.
pub(super) fn metadata(archive: &Archive) -> BTreeMap<String, String> {
    let mut metadata = archive.metadata().clone();
    if archive.format() == Format::PyTorch {
        metadata.insert("format".to_owned(), "pt".to_owned());
    }
    metadata
}

/// Copies a safetensors file byte for byte, links followed; others become one.
pub(super) fn write_unchanged(archive: &Archive, path: &Path) -> Result<(), RewriteError> {
    if archive.format() != Format::Safetensors {
        return write(archive, &OutputTensor::all(archive), &metadata(archive), path);
    }
    file::write_with(path, |out| {
        archive.copy_file_to(out)?.map_err(|source| FileError::Write { path: path.to_owned(), source }.into())
    })
}

/// Writes a file, which appears whole or not at all. No more of a tensor than a part is in memory, if it comes from a
/// safetensors file.
pub(super) fn write(
    archive: &Archive,
    tensors: &[OutputTensor<'_>],
    metadata: &BTreeMap<String, String>,
    path: &Path,
) -> Result<(), RewriteError> {
    let invalid =
        |source: CheckpointError| FileError::Checkpoint { path: path.to_owned(), source: source.into() };
    // Readers view the values in place, so that each must lie at a multiple of its size: the widest come first. A file that
    // has them so keeps its order.
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(alignment(&tensors[index].dtype)));
    let header = header(tensors, &order, metadata).map_err(invalid)?;
    file::write_with(path, |out| {
        let failed = |source| FileError::Write { path: path.to_owned(), source };
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        out.write_all(header.as_bytes()).map_err(failed)?;
        for &index in &order {
            match &tensors[index].content {
                Content::Copied(name) => archive.copy_to(name, out)?,
                Content::Bytes(bytes) => out.write_all(bytes),
                Content::Changed(change) => change(out)?,
            }
            .map_err(failed)?;
        }
        Ok(())
    })
}

fn alignment(dtype: &Dtype) -> usize {
    match dtype.name() {
        // A pair of F32, which is copied and not understood.
        "C64" => 8,
        _ => dtype.size().unwrap_or(1),
    }
}

fn header(
    tensors: &[OutputTensor<'_>],
    order: &[usize],
    metadata: &BTreeMap<String, String>,
) -> Result<String, CheckpointError> {
    let mut offsets = vec![(0, 0); tensors.len()];
    let mut end = 0_usize;
    for &index in order {
        let OutputTensor { name, shape, bytes, .. } = &tensors[index];
        let start = end;
        let after = usize::try_from(*bytes).ok().and_then(|bytes| start.checked_add(bytes));
        end = after.ok_or_else(|| CheckpointError::Length {
            tensor: name.clone(),
            shape: shape.clone(),
            expected: "bytes that can be counted".to_owned(),
            found: usize::MAX,
            unit: "bytes",
            way_out: "leave some tensors out",
        })?;
        offsets[index] = (start, end);
    }
    let mut names = HashSet::new();
    let mut parts = Vec::new();
    if !metadata.is_empty() {
        parts.push(format!("{}:{}", json(METADATA), json(metadata)));
    }
    for (OutputTensor { name, dtype, shape, .. }, data_offsets) in tensors.iter().zip(offsets) {
        let tensor = name.clone();
        if name == METADATA {
            return Err(CheckpointError::ReservedName { tensor });
        }
        if !names.insert(name) {
            return Err(CheckpointError::DuplicateName { tensor });
        }
        let entry = Entry { dtype: dtype.name().to_owned(), shape: shape.clone(), data_offsets };
        parts.push(format!("{}:{}", json(name), json(&entry)));
    }
    let mut header = format!("{{{}}}", parts.join(","));
    let padded = header.len().next_multiple_of(PREFIX);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    if header.len() > HEADER_LIMIT {
        return Err(CheckpointError::HeaderTooLarge { found: header.len(), limit: HEADER_LIMIT });
    }
    Ok(header)
}
