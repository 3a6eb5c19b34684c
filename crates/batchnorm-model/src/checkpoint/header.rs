//! The header of a safetensors file, read without its values.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess};

use super::Dtype;
use super::safetensors::{HEADER_LIMIT, METADATA, PREFIX};
use crate::CheckpointError;

/// What the header says of a tensor.
#[derive(Debug, Deserialize)]
pub(super) struct Placed {
    pub dtype: String,
    pub shape: Vec<usize>,
    /// Within the values, which follow the header.
    pub data_offsets: (u64, u64),
}

/// A header: the tensors in its order, names once each, and where the values begin in the file.
#[derive(Debug)]
pub(super) struct Header {
    pub tensors: Vec<(String, Placed)>,
    pub metadata: BTreeMap<String, String>,
    pub values: u64,
}

/// Whether a file that begins with these bytes is a safetensors file: a length, then JSON.
pub(super) fn is_safetensors(start: &[u8]) -> bool {
    let length = start.first_chunk().map(|prefix| u64::from_le_bytes(*prefix));
    length.is_some_and(|length| length <= HEADER_LIMIT as u64) && start.get(PREFIX) == Some(&b'{')
}

impl Header {
    /// Reads the header from the start of a file of this length, and checks that its tensors fill the file: no holes, no
    /// overlaps, nothing left over, shapes that fit.
    ///
    /// # Errors
    ///
    /// The outer one if the system does not let the file be read, the inner one if it is not a safetensors file.
    pub fn read(file: &mut impl Read, file_length: u64) -> io::Result<Result<Self, CheckpointError>> {
        let mut prefix = [0; PREFIX];
        let not = |found: String| CheckpointError::NotSafetensors { found };
        if file_length < PREFIX as u64 {
            return Ok(Err(not(format!("{file_length} bytes in all"))));
        }
        file.read_exact(&mut prefix)?;
        let length = u64::from_le_bytes(prefix);
        let left = file_length - PREFIX as u64;
        if length > left {
            return Ok(Err(not(format!("a length of {length} with {left} bytes after it"))));
        }
        // Now a length that fits the memory, however large the file.
        if length > HEADER_LIMIT as u64 {
            return Ok(Err(not(format!(
                "a header of {length} bytes, more than the {HEADER_LIMIT} of the format"
            ))));
        }
        let mut json = vec![0; length as usize];
        file.read_exact(&mut json)?;
        Ok(Self::parse(&json, left - length, file_length - left + length))
    }

    fn parse(json: &[u8], values_length: u64, values: u64) -> Result<Self, CheckpointError> {
        let Parsed { tensors, metadata } = serde_json::from_slice(json).map_err(|error| {
            CheckpointError::NotSafetensors { found: format!("a header that is not JSON of tensors ({error})") }
        })?;
        let mut order: Vec<&(String, Placed)> = tensors.iter().collect();
        order.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if let Some([(tensor, _), _]) = order.array_windows().find(|[(a, _), (b, _)]| a == b) {
            return Err(CheckpointError::DuplicateName { tensor: tensor.clone() });
        }
        order.sort_unstable_by_key(|(_, placed)| placed.data_offsets);
        let mut end = 0;
        for (tensor, placed) in order {
            let (start, stop) = placed.data_offsets;
            if start != end || stop < start {
                let found = format!(
                    "tensor `{tensor}` lies at bytes {start} to {stop}, expected it from byte {end} on"
                );
                return Err(CheckpointError::Layout { found });
            }
            check_shape(tensor, placed)?;
            end = stop;
        }
        if end != values_length {
            let found = format!("the tensors take {end} bytes, and the file holds {values_length}");
            return Err(CheckpointError::Layout { found });
        }
        Ok(Self { tensors, metadata, values })
    }
}

/// A shape whose bytes are those between the offsets, where the type says how many they are.
fn check_shape(tensor: &str, placed: &Placed) -> Result<(), CheckpointError> {
    let Some(size) = Dtype::of(&placed.dtype).size() else { return Ok(()) };
    let (start, stop) = placed.data_offsets;
    let found = stop - start;
    let expected =
        placed.shape.iter().try_fold(size as u64, |product, &length| product.checked_mul(length as u64));
    if expected == Some(found) {
        return Ok(());
    }
    Err(CheckpointError::Length {
        tensor: tensor.to_owned(),
        shape: placed.shape.clone(),
        expected: expected.map_or_else(|| "more than can be counted".to_owned(), |bytes| bytes.to_string()),
        found: usize::try_from(found).unwrap_or(usize::MAX),
        unit: "bytes",
        way_out: "save or copy the file anew",
    })
}

struct Parsed {
    tensors: Vec<(String, Placed)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> de::Visitor<'de> for Entries {
            type Value = Parsed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from names to tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
                let mut parsed = Parsed { tensors: Vec::new(), metadata: BTreeMap::new() };
                while let Some(name) = map.next_key::<String>()? {
                    let named = |error: A::Error| de::Error::custom(format!("`{name}`: {error}"));
                    if name == METADATA {
                        parsed.metadata = map.next_value().map_err(named)?;
                    } else {
                        let placed = map.next_value().map_err(named)?;
                        parsed.tensors.push((name, placed));
                    }
                }
                Ok(parsed)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Header, CheckpointError> {
        Header::read(&mut &bytes[..], bytes.len() as u64).unwrap()
    }

    fn file(header: &str, values: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; values]].concat()
    }

    #[test]
    fn a_header_tells_where_the_values_lie() {
        let header = read(&file(
            r#"{"__metadata__":{"a":"b"},"w":{"dtype":"F16","shape":[2],"data_offsets":[3,7]},
               "raw":{"dtype":"F4","shape":[6],"data_offsets":[0,3],"more":1}}"#,
            7,
        ))
        .unwrap();
        assert_eq!(header.metadata["a"], "b");
        let names: Vec<_> = header.tensors.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["w", "raw"]);
        assert_eq!(header.tensors[0].1.data_offsets, (3, 7));
    }

    #[test]
    fn a_huge_length_is_refused_before_anything_is_allocated() {
        let mut start = (1_u64 << 60).to_le_bytes().to_vec();
        start.extend(b"{}");
        assert!(matches!(read(&start), Err(CheckpointError::NotSafetensors { .. })));
        // A file that is as large as its length says.
        let claimed = Header::read(&mut &start[..], u64::MAX).unwrap().unwrap_err();
        assert!(claimed.to_string().contains("more than the 100000000"), "{claimed}");
    }

    #[test]
    fn overlaps_holes_and_leftovers_are_refused() {
        let two = |second: &str| {
            format!(
                r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},
                    "b":{{"dtype":"U8","shape":[4],"data_offsets":{second}}}}}"#
            )
        };
        assert!(read(&file(&two("[4,8]"), 8)).is_ok());
        for (second, values) in [
            ("[2,6]", 6),
            ("[5,9]", 9),
            ("[0,4]", 4),
            ("[8,4]", 8),
            ("[18446744073709551611,18446744073709551615]", 8),
            ("[4,8]", 9),
        ] {
            let error = read(&file(&two(second), values)).unwrap_err();
            assert!(matches!(error, CheckpointError::Layout { .. }), "{error}");
        }
    }
}
