//! Safetensors files: what is written comes back; what is damaged is refused by the name of what is wrong.

use std::collections::HashMap;
use std::error::Error;
use std::fs;

use batchnorm_model::checkpoint::{NamedTensor, Tensors, Values};
use batchnorm_model::{CheckpointError, FileError};
use proptest::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// Types mixed, so that the order of the tensors is not that of their bytes.
fn sample() -> Tensors {
    Tensors {
        tensors: vec![
            NamedTensor::new("z.weight", [2, 3], vec![0.0_f32, -0.0, 1.5, f32::MAX, f32::INFINITY, -7.25]),
            NamedTensor::new("a.counter", [], vec![-3_i64]),
            NamedTensor::new("größe.大", [1], vec![1e-300_f64]),
            NamedTensor::new("none", [4, 0, 2], Vec::<f32>::new()),
            NamedTensor::new("bytes", [3], vec![0_u8, 128, 255]),
            NamedTensor::new("a \"quoted\"\n\\name", [1, 1], vec![2.0_f32]),
        ],
        metadata: [("format", "pt"), ("notes", "{\"eps\": 1e-05}\n\"é\"")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}

/// A file with this header and so many bytes of values.
fn file(header: &str, values: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; values]].concat()
}

fn refused(header: &str, values: usize) -> CheckpointError {
    Tensors::from_bytes(&file(header, values)).unwrap_err()
}

#[test]
fn what_is_written_comes_back_in_the_same_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let written = sample();
    written.write(&path).unwrap();
    assert_eq!(Tensors::read(&path).unwrap(), written);
    assert_eq!(fs::read(&path).unwrap(), written.to_bytes().unwrap());
}

#[test]
fn not_a_number_keeps_its_bits() {
    let bits = [0x7fc0_0001, 0xff80_0001_u32];
    let mut tensors = Tensors::default();
    tensors.tensors.push(NamedTensor::new("nan", [2], bits.map(f32::from_bits).to_vec()));
    let read = Tensors::from_bytes(&tensors.to_bytes().unwrap()).unwrap();
    let Values::F32(values) = &read.get("nan").unwrap().values else { panic!("another type") };
    assert_eq!(values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits);
}

#[test]
fn the_same_contents_give_the_same_bytes() {
    let bytes = sample().to_bytes().unwrap();
    for _ in 0..20 {
        assert_eq!(sample().to_bytes().unwrap(), bytes);
    }
}

#[test]
fn nothing_at_all_is_a_file_too() {
    let bytes = Tensors::default().to_bytes().unwrap();
    assert_eq!(bytes, file("{}      ", 0));
    assert_eq!(Tensors::from_bytes(&bytes).unwrap(), Tensors::default());
}

#[test]
fn a_tensor_is_found_by_its_whole_name() {
    let tensors = sample();
    assert_eq!(tensors.get("a.counter").unwrap().values, Values::I64(vec![-3]));
    assert!(tensors.get("a").is_none() && tensors.get("A.counter").is_none());
}

#[test]
fn the_official_crate_reads_what_is_written_and_values_are_aligned() {
    let tensors = sample();
    let bytes = tensors.to_bytes().unwrap();
    let official = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(official.len(), tensors.tensors.len());
    for tensor in &tensors.tensors {
        let view = official.tensor(&tensor.name).unwrap();
        assert_eq!(view.shape(), tensor.shape);
        assert_eq!(view.dtype().to_string(), tensor.values.dtype());
        let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(start % view.dtype().bitsize().div_ceil(8), 0, "{}", tensor.name);
    }
    assert_eq!(official.tensor("bytes").unwrap().data(), [0, 128, 255]);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().clone().unwrap(), tensors.metadata.into_iter().collect::<HashMap<_, _>>());
}

#[test]
fn what_the_official_crate_writes_is_read() {
    let (f64s, i64s) = ([1.0_f64, -2.0].map(f64::to_le_bytes).concat(), 9_i64.to_le_bytes());
    let views = [
        ("b", TensorView::new(Dtype::F64, vec![2, 1], &f64s).unwrap()),
        ("a", TensorView::new(Dtype::I64, vec![], &i64s).unwrap()),
        ("c", TensorView::new(Dtype::F32, vec![0], &[]).unwrap()),
    ];
    let bytes = safetensors::serialize(views, None).unwrap();
    let read = Tensors::from_bytes(&bytes).unwrap();
    assert_eq!(read.get("b").unwrap().values, Values::F64(vec![1.0, -2.0]));
    assert_eq!(read.get("a").unwrap().shape, [0_usize; 0]);
    assert!(read.get("c").unwrap().values.is_empty());
    assert!(read.metadata.is_empty());
}

#[test]
fn a_type_that_is_not_read_is_refused_by_tensor_and_type() {
    // One that the format knows and one that it does not.
    for dtype in ["F16", "F128"] {
        let header = format!(
            "{{\"ok\":{{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}},\
             \"half\":{{\"dtype\":\"{dtype}\",\"shape\":[2],\"data_offsets\":[1,5]}}}}"
        );
        let error = refused(&header, 5);
        assert!(
            matches!(&error, CheckpointError::Dtype { tensor, found } if tensor == "half" && found == dtype)
        );
        assert!(error.to_string().contains("expected F32, F64, I64 or U8"), "{error}");
    }
}

#[test]
fn a_shape_that_is_not_that_of_its_values_is_refused() {
    let entry = |shape: &str, end: usize| {
        format!("{{\"w\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}")
    };
    let error = refused(&entry("[2,3]", 20), 20);
    assert_eq!(
        error.to_string(),
        "tensor `w` of shape [2, 3] must have 24 bytes, found 20; save or copy the file anew"
    );
    // More elements than can be counted.
    let error = refused(&entry("[4294967296,4294967296,4]", 4), 4);
    assert!(error.to_string().contains("more than can be counted"), "{error}");
    // Ends before it begins.
    let error = refused("{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,4]}}", 8);
    assert!(matches!(error, CheckpointError::Length { found: 0, .. }));
}

#[test]
fn an_entry_that_is_none_is_refused_by_name() {
    for entry in ["3", "{}", "{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}", "null"] {
        let error = refused(&format!("{{\"w\":{entry}}}"), 4);
        assert!(matches!(&error, CheckpointError::Entry { tensor, .. } if tensor == "w"), "{error}");
        assert!(error.source().is_some());
    }
}

#[test]
fn other_kinds_of_files_are_told_apart_from_damaged_ones() {
    let zip = b"PK\x03\x04 and so on, as a .pth file begins".as_slice();
    let (short, text) = (&[1, 2, 3][..], &file("not JSON", 0)[..]);
    let not_a_map = &file("[1,2,3] ", 0)[..];
    for bytes in [zip, short, text, not_a_map, &[]] {
        let error = Tensors::from_bytes(bytes).unwrap_err();
        assert!(matches!(error, CheckpointError::NotSafetensors { .. }), "{error}");
    }
    let whole = sample().to_bytes().unwrap();
    for length in 0..whole.len() {
        assert!(Tensors::from_bytes(&whole[..length]).is_err(), "cut off after {length} bytes");
    }
    let cut = Tensors::from_bytes(&whole[..whole.len() - 1]).unwrap_err();
    assert!(matches!(cut, CheckpointError::Layout { .. }), "{cut}");
    let longer = [&whole[..], &[0]].concat();
    assert!(matches!(Tensors::from_bytes(&longer), Err(CheckpointError::Layout { .. })));
}

#[test]
fn holes_overlaps_and_metadata_that_is_no_text_are_refused() {
    let two = |second: &str| {
        format!(
            "{{\"a\":{{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}},\
             \"b\":{{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":{second}}}}}"
        )
    };
    assert!(Tensors::from_bytes(&file(&two("[4,8]"), 8)).is_ok());
    for (second, values) in
        [("[2,6]", 6), ("[5,9]", 9), ("[0,4]", 4), ("[18446744073709551611,18446744073709551615]", 8)]
    {
        let error = refused(&two(second), values);
        assert!(matches!(error, CheckpointError::Layout { .. }), "{error}");
    }
    let error = refused("{\"__metadata__\":{\"a\":1}}", 0);
    assert!(matches!(error, CheckpointError::Layout { .. }), "{error}");
}

#[test]
fn a_name_is_used_once() {
    let empty = "{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}";
    let error = refused(&format!("{{\"w\":{empty},\"w\":{empty}}}"), 0);
    assert!(matches!(&error, CheckpointError::DuplicateName { tensor } if tensor == "w"));
    let mut tensors = sample();
    tensors.tensors.push(NamedTensor::new("bytes", [1], vec![0_u8]));
    assert!(matches!(tensors.to_bytes(), Err(CheckpointError::DuplicateName { tensor }) if tensor == "bytes"));
    let mut tensors = sample();
    tensors.tensors.push(NamedTensor::new("__metadata__", [1], vec![0_u8]));
    assert!(matches!(tensors.to_bytes(), Err(CheckpointError::ReservedName { .. })));
}

#[test]
fn a_file_error_names_the_file_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let error = Tensors::read(&path).unwrap_err();
    assert!(matches!(error, FileError::Read { .. }) && error.to_string().contains("net.safetensors"));
    let mut tensors = Tensors::default();
    tensors.tensors.push(NamedTensor::new("w", [3], vec![1.0_f32]));
    let error = tensors.write(&path).unwrap_err();
    assert!(error.to_string().contains("net.safetensors"), "{error}");
    assert_eq!(
        error.source().unwrap().to_string(),
        "tensor `w` of shape [3] must have 3 values, found 1; give it the shape of its values"
    );
    assert!(!path.exists());
}

fn tensor() -> impl Strategy<Value = NamedTensor> {
    (".{0,12}", prop::collection::vec(0..4_usize, 0..4), 0..4_u8, any::<u64>()).prop_map(
        |(name, shape, kind, seed)| {
            let bits = |index: usize| seed.rotate_left(index as u32) ^ index as u64;
            let indices = 0..shape.iter().product();
            let values: Values = match kind {
                0 => indices.map(|index| bits(index) as i32 as f32).collect::<Vec<_>>().into(),
                1 => indices.map(|index| bits(index) as i64 as f64).collect::<Vec<_>>().into(),
                2 => indices.map(|index| bits(index) as i64).collect::<Vec<_>>().into(),
                _ => indices.map(|index| bits(index) as u8).collect::<Vec<_>>().into(),
            };
            NamedTensor { name, shape, values }
        },
    )
}

proptest! {
    #[test]
    fn any_tensors_come_back(
        tensors in prop::collection::vec(tensor(), 0..8),
        metadata in prop::collection::btree_map(".{0,8}", ".{0,30}", 0..4),
    ) {
        let mut tensors = tensors;
        for (index, tensor) in tensors.iter_mut().enumerate() {
            tensor.name.push_str(&index.to_string());
        }
        let written = Tensors { tensors, metadata };
        prop_assert_eq!(Tensors::from_bytes(&written.to_bytes().unwrap()).unwrap(), written);
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Tensors::from_bytes(&bytes);
    }

    #[test]
    fn no_header_makes_reading_panic(header in "[{}\\[\\]\":,0-9wF32dtypeshao_\\- ]{0,80}", values in 0..16_usize) {
        let _ = Tensors::from_bytes(&file(&header, values));
    }

    #[test]
    fn no_change_to_a_file_makes_reading_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = sample().to_bytes().unwrap();
        for (at, with) in changes {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        let _ = Tensors::from_bytes(&bytes);
        let _ = Tensors::from_bytes(&bytes[..cut.index(bytes.len() + 1)]);
    }
}
