//! The index of a sharded checkpoint: which file holds which tensor.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::ArchiveError;
use super::safetensors::HEADER_LIMIT;

#[derive(Deserialize)]
struct Json {
    weight_map: HashMap<String, String>,
}

/// An index whose names of shards are names of files beside it.
pub(super) struct Index {
    path: PathBuf,
    shard_of: HashMap<String, String>,
    /// The names of the tensors in each shard, both in alphabetical order.
    pub shards: BTreeMap<String, Vec<String>>,
}

impl Index {
    pub fn read(path: &Path) -> Result<Self, ArchiveError> {
        let unreadable = |source| ArchiveError::Read { path: path.to_owned(), source };
        // As long as the header of one file with all of the tensors may be.
        let mut text = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(HEADER_LIMIT as u64).read_to_end(&mut text).map_err(unreadable)?;
        let Json { weight_map: shard_of } = serde_json::from_slice(&text)
            .map_err(|source| ArchiveError::Index { path: path.to_owned(), source })?;
        let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (tensor, shard) in &shard_of {
            if !is_file_name(shard) {
                return Err(ArchiveError::ShardName { path: path.to_owned(), shard: shard.clone() });
            }
            shards.entry(shard.clone()).or_default().push(tensor.clone());
        }
        shards.values_mut().for_each(|names| names.sort_unstable());
        Ok(Self { path: path.to_owned(), shard_of, shards })
    }

    pub fn shard_of(&self, tensor: &str) -> Option<&String> {
        self.shard_of.get(tensor)
    }

    /// Beside the index, by the name under which it was opened: caches hold links, to index and shards alike.
    pub fn path_of(&self, shard: &str) -> PathBuf {
        self.path.with_file_name(shard)
    }
}

/// Whether it is one plain name, on any system: no folder, no drive, no way up.
fn is_file_name(shard: &str) -> bool {
    let mut parts = Path::new(shard).components();
    let one = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    one && !shard.contains(['/', '\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_a_name_without_a_way_elsewhere() {
        assert!(is_file_name("model-00001-of-00002.safetensors"));
        for elsewhere in ["", ".", "..", "../a", "/etc/passwd", "a/b", "a/../b", "C:a", "\\\\host\\a", "a\0"] {
            assert!(!is_file_name(elsewhere), "{elsewhere}");
        }
    }
}
