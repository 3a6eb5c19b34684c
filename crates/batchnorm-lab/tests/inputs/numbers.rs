//! Random samples, what is said of numbers, and fingerprints.

use std::fs;

use batchnorm_lab::inputs::{
    ChannelSummary, Element, Images, InputSpec, InputsError, Options, PixelRange, Preset, RANDOM,
};
use tempfile::tempdir;

use crate::files::{cifar_folder, idx_folder, image};
use crate::{all, bytes, golden, open, refused, rows_of_three, says, x};

#[test]
fn random_samples_are_normal_and_depend_on_seed_and_place_alone() {
    let inputs = [x(&[None, Some(2), Some(50)]), InputSpec::new("tokens", Element::I64, &[None, Some(9)])];
    let mut samples = open(RANDOM.as_ref(), &inputs, &Options::default()).unwrap();
    assert_eq!(samples.len(), None);
    let batch = samples.batch(0, 100).unwrap();
    assert_eq!((&batch.inputs[0].dims[..], &batch.inputs[1].dims[..]), (&[100, 2, 50][..], &[100, 9][..]));
    assert!(batch.inputs[1].values.iter().all(|token| [0.0, 1.0].contains(token)));
    let part = samples.batch(40, 3).unwrap();
    assert_eq!(part.inputs[0].values, batch.inputs[0].values[4000..4300]);
    assert_eq!(samples.batch(1 << 39, 1).unwrap().len(), 1);
    let other = all(RANDOM.as_ref(), &inputs, &Options { seed: 1, limit: Some(100), ..Options::default() });
    assert_ne!(other.inputs[0].values, batch.inputs[0].values);
    let summary = ChannelSummary::of(&batch.inputs[0], None);
    // Of 10 000 values the mean has the deviation 0.01, and the deviation 0.007: five of them.
    assert!(summary[0].mean.abs() < 0.05 && (summary[0].std - 1.0).abs() < 0.036, "{summary:?}");
    assert_eq!(samples.warnings(&samples.summary(&batch)), Vec::<String>::new());

    let limited = Options { limit: Some(5), ..Options::default() };
    assert_eq!(open(RANDOM.as_ref(), &inputs, &limited).unwrap().len(), Some(5));
    let open_dims = x(&[None, Some(3), None]);
    says(&refused(RANDOM.as_ref(), &[open_dims], &limited), &["`x`", "?x3x?", "shape"]);
    let huge = x(&[None, Some(1 << 40)]);
    assert!(matches!(refused(RANDOM.as_ref(), &[huge], &limited), InputsError::ImpossibleSize { .. }));
    assert!(matches!(refused(RANDOM.as_ref(), &[], &limited), InputsError::NoInputs));
    let none = Options { limit: Some(0), ..Options::default() };
    assert!(matches!(refused(RANDOM.as_ref(), &inputs, &none), InputsError::NoneWanted));
}

/// The warnings of a file of floats of two channels, and of what was said of images.
fn warnings(channels: [&[f32]; 2]) -> Vec<String> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, {}, 1)}}", channels[0].len());
    let values: Vec<u8> = channels.concat().iter().flat_map(|value| value.to_le_bytes()).collect();
    let length = (header.len() as u16).to_le_bytes();
    fs::write(&path, [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &values].concat()).unwrap();
    let mut samples = open(&path, &[x(&[None, Some(2), None, Some(1)])], &Options::default()).unwrap();
    let batch = samples.batch(0, 9).unwrap();
    samples.warnings(&samples.summary(&batch))
}

#[test]
fn numbers_that_look_wrong_are_told_channel_for_channel() {
    const FINE: &[f32] = &[-1.0, 0.5, 1.0];
    assert_eq!(warnings([FINE, FINE]), Vec::<String>::new());
    for (channel, words) in [
        (&[0.0, 128.0, 255.0][..], &["channel 1", "0 to 255", "raw pixels"][..]),
        (&[0.0, 0.0, 0.0], &["channel 1", "0 everywhere"]),
        (&[0.5, 0.5, 0.5], &["channel 1", "0.5000 everywhere"]),
        (&[0.5, f32::NAN, f32::INFINITY], &["channel 1", "2 of 3 values are NaN"]),
        (&[f32::NAN; 3], &["3 of 3"]),
    ] {
        let found = warnings([FINE, channel]);
        assert!(words.iter().all(|word| found[0].contains(word)), "{words:?} {found:?}");
    }
}

#[test]
fn means_of_other_data_are_told() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.png");
    image::RgbImage::from_fn(64, 64, |i, j| image::Rgb([(i * 4) as u8, (j * 4) as u8, ((i + j) * 2) as u8]))
        .save(&path)
        .unwrap();
    let found = |images: Images| {
        let options = Options { images, ..Options::default() };
        let mut samples = open(&path, &[x(&[None, Some(3), None, None])], &options).unwrap();
        let batch = samples.batch(0, 1).unwrap();
        samples.warnings(&samples.summary(&batch))
    };
    assert_eq!(found(Images::preset(Preset::Cifar10)), Vec::<String>::new());
    let bytes = Images { range: Some(PixelRange::Bytes), ..Images::default() };
    assert_eq!(found(bytes.clone()), Vec::<String>::new());
    let mixed = found(bytes.or(&Images::preset(Preset::Cifar10)));
    assert_eq!(mixed.len(), 3);
    assert!(mixed[0].contains("channel 0") && mixed[0].contains("far from 0 and 1"), "{mixed:?}");
}

#[test]
fn a_fingerprint_is_of_contents_and_options_and_not_of_the_place() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let mut contents = bytes(golden::NPY[1].1);
    let fingerprint = |contents: &[u8], options: &Options| {
        fs::write(&path, contents).unwrap();
        open(&path, &[rows_of_three()], options).unwrap().fingerprint().unwrap()
    };
    let first = fingerprint(&contents, &Options::default());
    assert_eq!((first.len(), fingerprint(&contents, &Options::default())), (64, first.clone()));
    assert_ne!(fingerprint(&contents, &Options { limit: Some(1), ..Options::default() }), first);
    assert_ne!(fingerprint(&contents, &Options { shuffle: Some(1), ..Options::default() }), first);
    let elsewhere = folder.path().join("b.npy");
    fs::copy(&path, &elsewhere).unwrap();
    assert_eq!(
        open(&elsewhere, &[rows_of_three()], &Options::default()).unwrap().fingerprint().unwrap(),
        first
    );
    *contents.last_mut().unwrap() ^= 1;
    assert_ne!(fingerprint(&contents, &Options::default()), first);

    let pictures = tempdir().unwrap();
    image(&pictures.path().join("1.png"), 2, 2, [1, 2, 3]);
    let tensors = tempdir().unwrap();
    fs::write(tensors.path().join("input_0.pb"), bytes(golden::TENSORS[1].1)).unwrap();
    let (idx, cifar) = (idx_folder(), cifar_folder());
    let any = x(&[None, None, None, None]);
    let of = |path: &std::path::Path, input: &InputSpec| {
        open(path, std::slice::from_ref(input), &Options::default()).unwrap().fingerprint().unwrap()
    };
    let all = [
        of(pictures.path(), &any),
        of(idx.path(), &any),
        of(cifar.path(), &any),
        of(tensors.path(), &rows_of_three()),
        of(RANDOM.as_ref(), &rows_of_three()),
        of("digits".as_ref(), &any),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(!all[..index].contains(one), "{index}");
    }
    let before = of(pictures.path(), &any);
    image(&pictures.path().join("1.png"), 2, 2, [1, 2, 4]);
    assert_ne!(of(pictures.path(), &any), before);
}
