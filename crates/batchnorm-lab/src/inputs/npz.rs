//! NumPy's .npz: a zip archive of .npy files, each named as the array in it.
//!
//! Of `numpy.savez` the arrays lie in the archive as they are, and are read where they lie. Those of
//! `numpy.savez_compressed` can be read from their beginning only: each is unpacked once, to a temporary file that
//! nobody else sees and that is gone with its reader.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use npyz::npz::{NpzArchive, array_name_from_file_name};

use super::npy::Array;
use super::spec::listed;
use super::{InputSpec, InputsError};

/// How every archive begins.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// The key of the labels.
pub(super) const LABELS: &str = "labels";
/// No compressed byte becomes more than so many: DEFLATE's limit.
const MOST_PER_COMPRESSED_BYTE: u64 = 1032;

/// The arrays of an archive.
#[derive(Debug)]
pub(super) struct Arrays {
    /// One for each input, in the inputs' order.
    pub(super) inputs: Vec<Array>,
    pub(super) labels: Option<Array>,
}

impl Arrays {
    /// Opens an archive that has an array for each input and nothing else, but perhaps labels.
    pub(super) fn open(path: &Path, inputs: &[InputSpec]) -> Result<Self, InputsError> {
        let damaged = |source| InputsError::Archive { path: path.to_owned(), source };
        let mut archive = NpzArchive::open(path).map_err(damaged)?;
        let files: Vec<String> = archive.zip_archive().file_names().map(str::to_owned).collect();
        let mut keys = BTreeMap::new();
        for file in &files {
            if let Some(key) = array_name_from_file_name(file) {
                keys.insert(key, file.as_str());
            }
        }
        let labelled = keys.contains_key(LABELS) && inputs.iter().all(|input| input.name != LABELS);
        let missing: Vec<&str> =
            inputs.iter().map(|input| input.name.as_str()).filter(|name| !keys.contains_key(name)).collect();
        let extra: Vec<&str> = keys
            .keys()
            .copied()
            .filter(|key| !(labelled && *key == LABELS) && inputs.iter().all(|input| input.name != *key))
            .collect();
        if !missing.is_empty() || !extra.is_empty() {
            let mut problems = Vec::new();
            if !missing.is_empty() {
                problems.push(format!("no array for {}", listed(missing)));
            }
            if !extra.is_empty() {
                problems.push(format!("no input for {}", listed(extra)));
            }
            return Err(InputsError::Keys {
                path: path.to_owned(),
                keys: listed(keys.keys().copied()),
                inputs: listed(inputs.iter().map(|input| input.name.as_str())),
                problem: problems.join(", and "),
            });
        }
        let mut open = |key: &str| open(&mut archive, keys[key], path, key);
        let labels = if labelled { Some(open(LABELS)?) } else { None };
        Ok(Self { inputs: inputs.iter().map(|input| open(&input.name)).collect::<Result<_, _>>()?, labels })
    }
}

/// Opens an array of the archive.
fn open(
    archive: &mut NpzArchive<BufReader<File>>,
    file: &str,
    path: &Path,
    key: &str,
) -> Result<Array, InputsError> {
    let damaged = |source| InputsError::Archive { path: path.to_owned(), source };
    let unreadable = |source| InputsError::Unreadable { path: path.to_owned(), source };
    let name = format!("{}: {key}", path.display());
    let mut entry = archive.zip_archive().by_name(file).map_err(|error| damaged(io::Error::other(error)))?;
    let (size, packed, start) = (entry.size(), entry.compressed_size(), entry.data_start());
    // Method 0 of the zip format; the type that names it is of a crate that is not ours to depend on.
    #[allow(deprecated, reason = "the number is all that is needed")]
    let stored = entry.compression().to_u16() == 0;
    if stored {
        drop(entry);
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        if start.checked_add(size).is_none_or(|end| end > length) {
            let found = length.saturating_sub(start);
            return Err(InputsError::Length { array: name, expected: size, found });
        }
        return Array::at(file, start, size, name);
    }
    // The disk is not filled on the archive's word.
    let most = packed.saturating_mul(MOST_PER_COMPRESSED_BYTE);
    let mut unpacked = tempfile::tempfile().map_err(unreadable)?;
    let found =
        io::copy(&mut entry.by_ref().take(most.min(size).saturating_add(1)), &mut unpacked).map_err(damaged)?;
    if found != size {
        return Err(InputsError::Length { array: name, expected: size, found });
    }
    Array::at(unpacked, 0, size, name)
}
