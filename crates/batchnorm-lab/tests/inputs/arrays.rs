//! NumPy's arrays.

use std::fs;
use std::path::PathBuf;

use batchnorm_lab::inputs::{Element, Images, InputSpec, InputsError, Options, Preset, Shift};
use npyz::WriterBuilder;
use tempfile::{TempDir, tempdir};

use crate::files::noise;
use crate::{all, bytes, golden, open, refused, rows_of_three, says, x};

fn file(name: &str, contents: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, contents).unwrap();
    (folder, path)
}

/// A file with a header written by hand.
fn by_hand(header: &str, values: &[u8]) -> (TempDir, PathBuf) {
    let length = (header.len() as u16).to_le_bytes();
    file("a.npy", &[b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values].concat())
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An array of floats as the crate `npyz` writes it.
fn npy(shape: &[u64], values: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer =
        npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut out).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
    out
}

#[test]
fn numpys_arrays_are_read_in_every_type() {
    for (element, contents) in golden::NPY {
        let (_folder, path) = file("a.npy", &bytes(contents));
        let batch = all(&path, &[rows_of_three()], &Options::default());
        assert_eq!(
            (&batch.inputs[0].values[..], &batch.inputs[0].dims[..]),
            (&golden::X[..], &[2, 3][..]),
            "{element}"
        );
        assert_eq!((batch.inputs[0].name.as_str(), batch.labels), ("x", None));
    }
    let (_folder, path) = file("whatever", &bytes(golden::VERSION_3));
    assert_eq!(all(&path, &[rows_of_three()], &Options::default()).inputs[0].values, golden::X);
}

#[test]
fn any_batch_of_samples_can_be_had_at_any_time() {
    let values: Vec<f32> = (0..70).map(|value| value as f32).collect();
    let (_folder, path) = file("a.npy", &npy(&[10, 7], &values));
    let mut samples = open(&path, &[x(&[None, None])], &Options::default()).unwrap();
    assert_eq!(samples.len(), Some(10));
    for (start, count, end) in [(8, 5, 10), (0, 3, 3), (9, 1, 10), (2, 8, 10)] {
        let batch = samples.batch(start as u64, count).unwrap();
        assert_eq!(batch.inputs[0].values, values[start * 7..end * 7], "{start}");
    }
    let sizes: Vec<usize> = samples.batches(4).map(|batch| batch.unwrap().len()).collect();
    assert_eq!(sizes, [4, 4, 2]);
    says(&samples.batch(10, 1).unwrap_err(), &["no sample 10", "10 there are"]);
    says(&samples.batch(0, 0).unwrap_err(), &["at least one"]);

    let shuffled = Options { shuffle: Some(5), limit: Some(6), ..Options::default() };
    let mut samples = open(&path, &[x(&[None, Some(7)])], &shuffled).unwrap();
    let whole = samples.batch(0, 99).unwrap().inputs.remove(0).values;
    assert_eq!(whole.len(), 6 * 7);
    let mut rows: Vec<&[f32]> = whole.chunks_exact(7).collect();
    assert!(rows.iter().all(|row| values.chunks_exact(7).any(|other| other == *row)));
    rows.dedup();
    assert_eq!(rows.len(), 6);
    assert_eq!(samples.batch(3, 2).unwrap().inputs[0].values, whole[21..35]);
}

#[test]
fn headers_that_others_write_are_read() {
    let values = floats(&golden::X);
    for header in [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n",
        "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L)}   \n",
    ] {
        let (_folder, path) = by_hand(header, &values);
        assert_eq!(all(&path, &[rows_of_three()], &Options::default()).inputs[0].values, golden::X, "{header}");
    }
    // With one axis that is longer than 1 both orders are the same.
    let (_folder, path) = by_hand("{'descr': '<f4', 'fortran_order': True, 'shape': (6, 1)}", &values);
    assert_eq!(all(&path, &[x(&[None, Some(1)])], &Options::default()).inputs[0].values, golden::X);
}

#[test]
fn arrays_that_cannot_be_taken_are_refused_in_words() {
    let refused = |contents: &[u8]| {
        let (_folder, path) = file("a.npy", contents);
        refused(&path, &[rows_of_three()], &Options::default())
    };
    let fortran = refused(&bytes(golden::FORTRAN));
    assert!(matches!(fortran, InputsError::FortranOrder { .. }));
    says(&fortran, &["Fortran order", "ascontiguousarray"]);
    for (contents, found) in [(golden::RECORD, "[("), (golden::TEXT, "<U1")] {
        let error = refused(&bytes(contents));
        assert!(matches!(error, InputsError::ElementType { .. }), "{error:?}");
        says(&error, &[found, "astype"]);
    }
    let error = refused(&npy(&[2, 4], &[0.0; 8]));
    says(&error, &["2x4", "`x`", "?x3"]);
    let error = refused(&npy(&[3], &[0.0; 3]));
    says(&error, &["numpy.newaxis"]);
    assert!(matches!(refused(&npy(&[0, 3], &[])), InputsError::Empty { .. }));
    let (_folder, path) = file("a.npy", &npy(&[2, 4, 4, 3], &[0.0; 96]));
    says(
        &crate::refused(&path, &[x(&[None, Some(3), None, None])], &Options::default()),
        &["channels are last", "(0, 3, 1, 2)"],
    );
    let two = [rows_of_three(), InputSpec::new("mask", Element::F32, &[None, Some(3)])];
    let (_folder, path) = file("a.npy", &bytes(golden::NPY[1].1));
    says(&crate::refused(&path, &two, &Options::default()), &["`x`, `mask`", ".npz"]);
    let missing = path.with_file_name("missing.npy");
    says(
        &crate::refused(&missing, &[rows_of_three()], &Options::default()),
        &["missing.npy", "random", "digits"],
    );
}

#[test]
fn a_truncated_array_is_an_error_that_says_so() {
    let whole = bytes(golden::NPY[1].1);
    for length in 0..whole.len() {
        let (_folder, path) = file("a.npy", &whole[..length]);
        let error = refused(&path, &[rows_of_three()], &Options::default());
        match error {
            InputsError::Length { expected, found, .. } => assert!(found < expected),
            InputsError::Header { .. } => assert!(length < 128),
            InputsError::Unrecognized { .. } => assert!(length < 6),
            _ => panic!("{length}: {error:?}"),
        }
    }
    let (_folder, path) = file("a.npy", &[&whole[..], &[0]].concat());
    says(&refused(&path, &[rows_of_three()], &Options::default()), &["25 bytes", "expected 24"]);
}

#[test]
fn a_header_that_claims_too_much_is_not_believed() {
    for shape in [
        "(18446744073709551615,)",
        "(4294967296, 4294967296, 4)",
        "(4611686018427387903, 3)",
        "(99999999999999999999, 3)",
        "(1000000000000, 3)",
        "(-1, 3)",
        "(2, 3",
        "((2, 3))",
        "(,)",
        "()",
        "",
    ] {
        let (_folder, path) = by_hand(
            &format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}"),
            &floats(&golden::X),
        );
        let error = refused(&path, &[rows_of_three()], &Options::default());
        assert!(
            matches!(
                error,
                InputsError::Header { .. } | InputsError::ImpossibleSize { .. } | InputsError::Length { .. }
            ),
            "{shape}: {error:?}"
        );
    }
    // Before anything is read, and so before any memory is taken.
    let (_folder, path) =
        by_hand("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1000000000000)}", &floats(&golden::X));
    let error = open(&path, &[x(&[None, None])], &Options::default()).unwrap_err();
    says(&error, &["24 bytes", "expected 4000000000000"]);
    let (_folder, path) = by_hand(&"{'shape': ((((".repeat(4000), &[]);
    assert!(matches!(refused(&path, &[rows_of_three()], &Options::default()), InputsError::Header { .. }));
    let (_folder, path) = file("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}");
    says(&refused(&path, &[rows_of_three()], &Options::default()), &["4294967295"]);
}

#[test]
fn archives_give_an_array_for_each_input_and_labels() {
    for contents in [golden::NPZ, golden::NPZ_COMPRESSED] {
        let (_folder, path) = file("a.npz", &bytes(contents));
        let batch = all(&path, &[rows_of_three()], &Options::default());
        assert_eq!((&batch.inputs[0].values[..], batch.labels), (&golden::X[..], Some(vec![7, 0])));
        let last = open(&path, &[rows_of_three()], &Options::default()).unwrap().batch(1, 5).unwrap();
        assert_eq!((&last.inputs[0].values[..], last.labels), (&golden::X[3..], Some(vec![0])));
        // A model may have an input of that name.
        let labels = InputSpec::new("labels", Element::I64, &[None]);
        let batch = all(&path, &[labels, rows_of_three()], &Options::default());
        assert_eq!((&batch.inputs[0].values[..], batch.labels), (&[7.0, 0.0][..], None));
        assert_eq!(batch.inputs[1].values, golden::X);
    }
}

#[test]
fn keys_and_inputs_that_do_not_go_together_are_named() {
    let (_folder, path) = file("a.npz", &bytes(golden::NPZ));
    let inputs = [InputSpec::new("image", Element::F32, &[None, Some(3)])];
    let error = refused(&path, &inputs, &Options::default());
    assert!(matches!(error, InputsError::Keys { .. }));
    says(
        &error,
        &["the file has `labels`, `x`", "the model takes `image`", "no array for `image`", "no input for `x`"],
    );
    let inputs = [rows_of_three(), InputSpec::new("mask", Element::F32, &[None, Some(3)])];
    says(&refused(&path, &inputs, &Options::default()), &["no array for `mask`:"]);
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> (TempDir, PathBuf) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.npz");
    let mut writer = npyz::npz::NpzWriter::create(&path).unwrap();
    for (name, contents) in arrays {
        // The archive's own writer, as it takes any bytes.
        let zip = writer.zip_writer();
        zip.start_file(format!("{name}.npy"), Default::default()).unwrap();
        std::io::Write::write_all(zip, contents).unwrap();
    }
    writer.zip_writer().finish().unwrap();
    drop(writer);
    (folder, path)
}

#[test]
fn arrays_of_different_numbers_of_samples_are_refused() {
    let y = InputSpec::new("y", Element::F32, &[None, Some(1)]);
    let (_folder, path) = npz(&[("x", npy(&[2, 3], &golden::X)), ("y", npy(&[3, 1], &[0.0; 3]))]);
    says(&refused(&path, &[rows_of_three(), y], &Options::default()), &["2 samples", "3; expected"]);
    let int = |values: &[i64]| {
        let mut out = Vec::new();
        let mut writer = npyz::WriteOptions::new()
            .default_dtype()
            .shape(&[values.len() as u64])
            .writer(&mut out)
            .begin_nd()
            .unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        out
    };
    let with = |labels: Vec<u8>| {
        let (_folder, path) = npz(&[("x", npy(&[2, 3], &golden::X)), ("labels", labels)]);
        refused(&path, &[rows_of_three()], &Options::default())
    };
    says(&with(int(&[1, 2, 3])), &["labels", "`labels` 3; expected"]);
    says(&with(int(&[1, -2])), &["cannot be the labels", "negative"]);
    says(&with(int(&[1, 1 << 32])), &["4294967296"]);
    says(&with(npy(&[2], &[0.0, 1.0])), &["float32"]);
}

#[test]
fn damaged_archives_are_errors() {
    for contents in [golden::NPZ, golden::NPZ_COMPRESSED] {
        let whole = bytes(contents);
        for length in (0..whole.len()).step_by(3) {
            let (_folder, path) = file("a.npz", &whole[..length]);
            refused(&path, &[rows_of_three()], &Options::default());
        }
        let mut random = noise(1);
        for _ in 0..600 {
            let mut changed = whole.clone();
            for _ in 0..1 + random() % 3 {
                let place = random() as usize % changed.len();
                changed[place] = random() as u8;
            }
            let (_folder, path) = file("a.npz", &changed);
            // Any outcome but a panic or gigabytes.
            let _ = open(&path, &[rows_of_three()], &Options::default())
                .and_then(|mut samples| samples.batch(0, 9));
        }
    }
}

#[test]
fn any_bytes_are_read_or_refused_and_never_panic() {
    let mut random = noise(2);
    for (_, contents) in golden::NPY {
        for _ in 0..300 {
            let mut changed = bytes(contents);
            for _ in 0..1 + random() % 3 {
                let place = random() as usize % changed.len();
                changed[place] = random() as u8;
            }
            let (_folder, path) = file("a.npy", &changed);
            let _ = open(&path, &[rows_of_three()], &Options::default())
                .and_then(|mut samples| samples.batch(0, 9));
        }
    }
}

#[test]
fn whole_numbers_stay_exact_or_are_refused() {
    let tokens = |element| InputSpec::new("x", element, &[None, Some(3)]);
    let (_folder, path) = file("a.npy", &bytes(golden::NPY[8].1));
    assert_eq!(all(&path, &[tokens(Element::I64)], &Options::default()).inputs[0].values, golden::X);
    says(&refused(&path, &[tokens(Element::I8)], &Options::default()), &["255", "int8", "`x`"]);
    let (_folder, path) = file("a.npy", &npy(&[1, 3], &[1.0, 2.5, 3.0]));
    says(&refused(&path, &[tokens(Element::I64)], &Options::default()), &["2.5"]);
    let (_folder, path) = file("a.npy", &npy(&[1, 3], &[1.0, 20_000_000.0, 3.0]));
    says(&refused(&path, &[tokens(Element::I64)], &Options::default()), &["20000000", "16777216"]);
}

#[test]
fn an_array_of_bytes_is_of_images_where_something_is_said_of_images() {
    let pixels: Vec<u8> = (0..2 * 4 * 5 * 3).map(|value| value as u8 * 2).collect();
    let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 4, 5, 3)}";
    let (_folder, path) = by_hand(header, &pixels);
    let input = x(&[None, Some(3), Some(4), Some(5)]);
    let said = Options { images: Images::preset(Preset::Cifar10), ..Options::default() };
    let batch = all(&path, std::slice::from_ref(&input), &said);
    assert_eq!(batch.inputs[0].dims, [2, 3, 4, 5]);
    // The second pixel's green, in f32 as it is computed.
    assert_eq!(batch.inputs[0].values[20 + 1], (8.0_f32 / 255.0 - 0.4822) / 0.2435);
    // Otherwise it is an array like any other.
    says(&refused(&path, &[input], &Options::default()), &["channels are last"]);
    let last = x(&[None, Some(4), Some(5), Some(3)]);
    assert_eq!(all(&path, &[last], &Options::default()).inputs[0].values[7], 14.0);
}

#[test]
fn settings_for_images_do_not_go_with_arrays_of_floats() {
    let (_folder, path) = file("a.npy", &bytes(golden::NPY[1].1));
    let images = Options { images: Images::preset(Preset::Mnist), ..Options::default() };
    says(&refused(&path, &[rows_of_three()], &images), &["range, mean, std", "as they are"]);
    let shift = Options { shift: Some(Shift { brightness: 0.1, ..Shift::none() }), ..Options::default() };
    says(&refused(&path, &[rows_of_three()], &shift), &["shift"]);
    // What the model says of images is no wish of the user's.
    let model = Options { model_images: Some(Images::preset(Preset::Mnist)), ..Options::default() };
    assert_eq!(all(&path, &[rows_of_three()], &model).inputs[0].values, golden::X);
}
