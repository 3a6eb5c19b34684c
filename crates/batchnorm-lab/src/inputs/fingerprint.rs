//! What tells samples from others: excerpts of what they are made of.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::InputsError;
use super::npy::Array;
use super::pictures::Store;
use super::recognise::Found;
use crate::data::checksum;

/// Excerpts, and bytes in each.
const EXCERPTS: u64 = 64;
const EXCERPT: u64 = 1 << 16;

/// The checksum of texts and bytes, each with its length.
pub(super) fn of(parts: &[Vec<u8>]) -> String {
    checksum::of(|add| {
        for part in parts {
            add(&(part.len() as u64).to_le_bytes());
            add(part);
        }
    })
}

/// What arrays, tensors and random numbers are known by.
pub(super) fn given(found: &mut Found) -> Result<Vec<Vec<u8>>, InputsError> {
    let mut parts = Vec::new();
    match found {
        Found::Arrays(arrays, labels) => {
            for array in arrays {
                of_array(array, &mut parts)?;
            }
            parts.push(labels.iter().flatten().flat_map(|label| label.to_le_bytes()).collect());
        }
        Found::Tensors(tensors) => {
            let paths: Vec<PathBuf> = tensors.files().map(Path::to_owned).collect();
            of_files(&paths, &mut parts)?;
        }
        Found::Random(random) => parts.push(format!("random {:?}", random.samples).into_bytes()),
        Found::Pictures(pictures) => return self::pictures(&mut pictures.store),
    }
    Ok(parts)
}

/// What images are known by.
pub(super) fn pictures(store: &mut Store) -> Result<Vec<Vec<u8>>, InputsError> {
    let mut parts = Vec::new();
    match store {
        Store::Memory { dims, pixels } => {
            parts.push(format!("{dims:?} {}", checksum::of(|add| add(pixels))).into_bytes());
        }
        Store::Records(records) => {
            let paths: Vec<PathBuf> = records.iter().map(|(path, _, _)| path.clone()).collect();
            of_files(&paths, &mut parts)?;
        }
        Store::Files(paths) => of_files(paths, &mut parts)?,
        Store::Bytes { array, .. } => of_array(array, &mut parts)?,
    }
    Ok(parts)
}

/// Where the excerpts of so many bytes begin: all of them where they are few.
fn starts(bytes: u64, excerpts: u64) -> Vec<u64> {
    if bytes <= excerpts * EXCERPT {
        return (0..bytes.div_ceil(EXCERPT)).map(|index| index * EXCERPT).collect();
    }
    let last = u128::from(bytes - EXCERPT);
    let between = u128::from(excerpts.max(2) - 1);
    (0..excerpts).map(|index| (last * u128::from(index) / between) as u64).collect()
}

fn of_array(array: &mut Array, parts: &mut Vec<Vec<u8>>) -> Result<(), InputsError> {
    parts.push(format!("{:?}", array.header).into_bytes());
    for start in starts(array.header.bytes, EXCERPTS) {
        parts.push(array.excerpt(start, EXCERPT)?);
    }
    Ok(())
}

/// Names, lengths and excerpts of files; of many files a few are looked into.
fn of_files(paths: &[PathBuf], parts: &mut Vec<Vec<u8>>) -> Result<(), InputsError> {
    let count = paths.len() as u64;
    let every = count.div_ceil(EXCERPTS).max(1);
    let each = (EXCERPTS / count.max(1)).max(1);
    for (index, path) in (0..).zip(paths) {
        let unreadable = |source| InputsError::Unreadable { path: path.clone(), source };
        let length = fs::metadata(path).map_err(unreadable)?.len();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        parts.push(format!("{name} {length}").into_bytes());
        if !u64::is_multiple_of(index, every) {
            continue;
        }
        let mut file = File::open(path).map_err(unreadable)?;
        for start in starts(length, each) {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(start)).map_err(unreadable)?;
            file.by_ref().take(EXCERPT).read_to_end(&mut bytes).map_err(unreadable)?;
            parts.push(bytes);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_bytes_are_seen_whole_and_of_many_both_ends() {
        assert_eq!(starts(3 * EXCERPT + 1, 64), [0, EXCERPT, 2 * EXCERPT, 3 * EXCERPT]);
        let many = starts(1 << 40, 64);
        assert_eq!((many.len(), many[0], many[63]), (64, 0, (1 << 40) - EXCERPT));
        assert_eq!(starts(1 << 40, 1), [0]);
    }
}
