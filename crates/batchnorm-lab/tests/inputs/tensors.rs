//! ONNX's tensors.

use std::fs;
use std::path::Path;

use batchnorm_lab::inputs::{Element, InputSpec, InputsError, Options};
use batchnorm_model::onnx::wire::Writer;
use tempfile::tempdir;

use crate::files::noise;
use crate::{all, bytes, golden, open, refused, rows_of_three, says};

/// A tensor of floats.
fn tensor(name: &str, dims: &[i64], values: &[f32]) -> Vec<u8> {
    let mut writer = Writer::new();
    for &dim in dims {
        writer.int64(1, dim);
    }
    writer.int64(2, 1);
    writer.text(8, name);
    writer.bytes(9, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
    writer.into_bytes()
}

fn write(path: &Path, contents: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

#[test]
fn tensors_are_read_in_every_type_raw_and_typed() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("input_0.pb");
    for (what, contents) in golden::TENSORS {
        write(&path, &bytes(contents));
        let batch = all(&path, &[rows_of_three()], &Options::default());
        assert_eq!(
            (&batch.inputs[0].values[..], &batch.inputs[0].dims[..]),
            (&golden::X[..], &[2, 3][..]),
            "{what}"
        );
    }
}

#[test]
fn data_sets_follow_one_another_in_the_order_of_their_numbers() {
    let folder = tempdir().unwrap();
    let inputs = [rows_of_three(), InputSpec::new("mask", Element::F32, &[None])];
    for (number, samples) in [(0, 1), (2, 3), (10, 2)] {
        let set = folder.path().join(format!("test_data_set_{number}"));
        let rows: Vec<f32> = (0..samples * 3).map(|value| (number * 100 + value) as f32).collect();
        let masks: Vec<f32> = (0..samples).map(|value| -((number * 100 + value) as f32)).collect();
        // By name, whatever their numbers are.
        write(&set.join("input_0.pb"), &tensor("mask", &[samples], &masks));
        write(&set.join("input_1.pb"), &tensor("x", &[samples, 3], &rows));
        write(&set.join("output_0.pb"), b"not read");
    }
    let batch = all(folder.path(), &inputs, &Options::default());
    assert_eq!(batch.inputs[0].dims, [6, 3]);
    let first: Vec<f32> = batch.inputs[0].values.iter().copied().step_by(3).collect();
    assert_eq!(first, [0.0, 200.0, 203.0, 206.0, 1000.0, 1003.0]);
    assert_eq!(batch.inputs[1].values, [0.0, -200.0, -201.0, -202.0, -1000.0, -1001.0]);
    let mut samples = open(folder.path(), &inputs, &Options::default()).unwrap();
    let part = samples.batch(2, 3).unwrap();
    assert_eq!(part.inputs[1].values, [-201.0, -202.0, -1000.0]);
    // One data set alone, by the files' numbers as nothing is named.
    let set = folder.path().join("test_data_set_2");
    write(&set.join("input_0.pb"), &tensor("", &[1, 3], &[1.0, 2.0, 3.0]));
    write(&set.join("input_1.pb"), &tensor("", &[1], &[4.0]));
    assert_eq!(all(&set, &inputs, &Options::default()).inputs[1].values, [4.0]);
    fs::remove_file(set.join("input_1.pb")).unwrap();
    says(&refused(&set, &inputs, &Options::default()), &["`x`, `mask`", "1 such files"]);
}

#[test]
fn tensors_that_make_no_sense_are_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.pb");
    let refused = |contents: &[u8]| {
        write(&path, contents);
        refused(&path, &[rows_of_three()], &Options::default())
    };
    let tensor = |dims: &[i64], values: &[f32]| tensor("x", dims, values);
    says(&refused(&tensor(&[2, 3], &[0.0; 5])), &["6 values", "2x3", "found 5"]);
    for dims in [&[i64::MAX, 3][..], &[1 << 40, 1 << 40], &[-1, 3], &[1 << 40, 3]] {
        assert!(matches!(refused(&tensor(dims, &[0.0; 6])), InputsError::Tensor { .. }), "{dims:?}");
    }
    says(&refused(&tensor(&[2, 4], &[0.0; 8])), &["2x4", "?x3"]);
    says(&refused(&tensor(&[], &[0.0])), &["a single value"]);
    assert!(matches!(refused(&tensor(&[0, 3], &[])), InputsError::Empty { .. }));
    let mut external = Writer::new();
    external.raw(&tensor(&[2, 3], &[0.0; 6]));
    external.int64(14, 1);
    says(&refused(&external.into_bytes()), &["another file"]);
    let mut text = Writer::new();
    text.int64(1, 2);
    text.int64(2, 8);
    says(&refused(&text.into_bytes()), &["element type 8"]);
    assert!(matches!(refused(b"\xff\xff\xff"), InputsError::Wire { .. }));
}

#[test]
fn any_bytes_are_read_or_refused_and_never_panic() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.pb");
    let mut random = noise(3);
    for (_, contents) in golden::TENSORS {
        let whole = bytes(contents);
        for length in 0..whole.len() {
            write(&path, &whole[..length]);
            let _ = open(&path, &[rows_of_three()], &Options::default())
                .and_then(|mut samples| samples.batch(0, 9));
        }
        for _ in 0..300 {
            let mut changed = whole.clone();
            let place = random() as usize % changed.len();
            changed[place] = random() as u8;
            write(&path, &changed);
            let _ = open(&path, &[rows_of_three()], &Options::default())
                .and_then(|mut samples| samples.batch(0, 9));
        }
    }
}
