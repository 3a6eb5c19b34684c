//! Files by `torch.save`, read by crate `pytorch-reader`, which runs no code of theirs.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::Path;

use pytorch_reader::{DType, PickleValue, PytorchReader, Tensor};

use super::{ArchiveError, Dtype};

/// Where training scripts put the state dict, in the order of looking.
const STATE_DICTS: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// How the reader shows a tensor among values that are none.
const TENSOR: &str = "torch.Tensor";
/// Offset of the magic number of tar files.
const TAR_MAGIC: usize = 257;
/// As many bytes of a file as tell what it is.
pub(super) const START: usize = TAR_MAGIC + 5;

/// The tensors of the part that was chosen, and what else holds tensors.
pub(super) struct Loaded {
    pub tensors: Vec<Tensor>,
    /// The key of the dictionary that the tensors are from; `None` for all of the file.
    pub key: Option<String>,
    /// The other keys of the file that hold tensors.
    pub left_out: Vec<String>,
}

/// Whether a file may be one by `torch.save`, by its first bytes: zip, tar, or a pickle.
pub(super) fn is_pytorch(start: &[u8]) -> bool {
    // A pickle of protocol 2 and later; of 0 and 1, the openings of a tuple, a dict, a list, an object, a long.
    let pickle = matches!(start, [0x80, 1..=5, ..] | [b'(' | b'}' | b']' | b'c' | b'L', ..]);
    start.starts_with(b"PK\x03\x04") || start.get(TAR_MAGIC..START) == Some(b"ustar") || pickle
}

/// Opens a file; no tensor is read. Without a key, the state dict is looked for; the key "" takes all of the file.
pub(super) fn open(path: &Path, key: Option<&str>) -> Result<Loaded, ArchiveError> {
    let bad = |source| ArchiveError::PyTorch { path: path.to_owned(), source: Box::new(source) };
    let root = match PytorchReader::read_pickle_data(path, None).map_err(bad)? {
        PickleValue::Dict(root) => root,
        // The reader's own words for it.
        _ => HashMap::new(),
    };
    let mut holders: Vec<&String> =
        root.iter().filter(|(_, value)| holds_tensors(value)).map(|(key, _)| key).collect();
    holders.sort_unstable();
    let chosen = match key {
        Some("") => None,
        Some(key) => {
            if !matches!(root.get(key), Some(value @ PickleValue::Dict(_)) if holds_tensors(value)) {
                let quoted: Vec<String> = holders.iter().map(|key| format!("`{key}`")).collect();
                let found = match &quoted[..] {
                    [] => "no key holds tensors".to_owned(),
                    quoted => format!("tensors are under {}", quoted.join(", ")),
                };
                return Err(ArchiveError::Key { path: path.to_owned(), key: key.to_owned(), found });
            }
            Some(key.to_owned())
        }
        None => state_dict(&root, &holders),
    };
    let reader = match &chosen {
        None => PytorchReader::new(path),
        Some(key) => PytorchReader::with_top_level_key(path, key),
    };
    let mut tensors: Vec<Tensor> = reader.map_err(bad)?.into_tensors().into_values().collect();
    // The reader keeps no order. This is the usual one of layers.
    tensors.sort_by(|a, b| by_number(&a.name, &b.name));
    let left_out = match &chosen {
        None => Vec::new(),
        Some(chosen) => holders.into_iter().filter(|key| *key != chosen).cloned().collect(),
    };
    Ok(Loaded { tensors, key: chosen, left_out })
}

/// The key of the state dict among what training scripts save beside it; `None` where the file itself is one, or
/// nothing says which part is.
fn state_dict(root: &HashMap<String, PickleValue>, holders: &[&String]) -> Option<String> {
    let is_one = |key: &&str| match root.get(*key) {
        // Dotted names tell a state dict from a child of a module that was saved whole.
        Some(PickleValue::Dict(state)) => {
            state.iter().any(|(name, value)| is_tensor(value) && name.contains('.'))
        }
        _ => false,
    };
    let usual = STATE_DICTS.iter().copied().find(is_one);
    let only = match holders {
        [only] => Some(only.as_str()).filter(is_one),
        _ => None,
    };
    usual.or(only).map(str::to_owned)
}

fn is_tensor(value: &PickleValue) -> bool {
    matches!(value, PickleValue::Unsupported(name) if name == TENSOR)
}

fn holds_tensors(value: &PickleValue) -> bool {
    match value {
        PickleValue::Dict(dict) => dict.values().any(holds_tensors),
        PickleValue::List(list) => list.iter().any(holds_tensors),
        value => is_tensor(value),
    }
}

/// Names in alphabetical order, numbers in them by their size: `layer.2` comes before `layer.10`.
pub(super) fn by_number(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let numbers = [left, right].map(|rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        if numbers.iter().all(|&digits| digits > 0) {
            let (x, y) = (&left[..numbers[0]], &right[..numbers[1]]);
            let [x, y] = [x, y].map(|digits| digits.trim_start_matches('0'));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order.is_ne() {
                return order;
            }
            (left, right) = (&left[numbers[0]..], &right[numbers[1]..]);
            continue;
        }
        let (mut from_left, mut from_right) = (left.chars(), right.chars());
        match (from_left.next(), from_right.next()) {
            (Some(x), Some(y)) if x == y => (left, right) = (from_left.as_str(), from_right.as_str()),
            // Numbers that differ in leading zeros alone.
            (None, None) => return a.cmp(b),
            (x, y) => return x.cmp(&y),
        }
    }
}

/// The type of a tensor's elements.
pub(super) fn dtype(tensor: &Tensor) -> Dtype {
    match tensor.dtype() {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::Bool,
    }
}

/// The tensor's bytes, little-endian.
pub(super) fn read(tensor: &Tensor) -> std::io::Result<Vec<u8>> {
    let mut bytes = tensor.read()?;
    // The reader gives them in the machine's order.
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(tensor.dtype().size()).for_each(<[u8]>::reverse);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count() {
        let mut names = ["b.10.w", "b.2.w", "a", "b.2", "b.02.w", "b.2.w10", "b.2.w9", ""];
        names.sort_by(|a, b| by_number(a, b));
        assert_eq!(names, ["", "a", "b.2", "b.02.w", "b.2.w", "b.2.w9", "b.2.w10", "b.10.w"]);
    }
}
