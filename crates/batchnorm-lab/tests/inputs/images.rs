//! Images, and what is done to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use batchnorm_lab::data::{Access, Preprocessing, Source};
use batchnorm_lab::feed::Feed;
use batchnorm_lab::inputs::{
    Colours, Element, Filter, Images, InputSpec, InputsError, Layout, Options, Part, PixelRange, Preset,
    Resize, Shift,
};
use tempfile::tempdir;

use crate::files::{Idx, cifar_archive, cifar_file, cifar_folder, gzip, idx_folder, image};
use crate::{all, golden, open, refused, says, x};

const NCHW: [Option<usize>; 4] = [None, Some(3), None, None];

fn images(images: Images) -> Options {
    Options { images, ..Options::default() }
}

fn of_part(part: Part) -> Options {
    Options { part, ..Options::default() }
}

/// A PNG of these pixels, row after row.
fn save(path: &Path, height: u32, width: u32, pixels: &[[u8; 3]]) {
    image::RgbImage::from_raw(width, height, pixels.concat()).unwrap().save(path).unwrap();
}

#[test]
fn idx_folders_give_the_part_that_is_asked_for() {
    let folder = idx_folder();
    let input = x(&[None, Some(1), Some(2), Some(3)]);
    let train = all(folder.path(), std::slice::from_ref(&input), &of_part(Part::Train));
    assert_eq!((&train.inputs[0].dims[..], train.labels), (&[6, 1, 2, 3][..], Some(vec![0, 1, 2, 0, 1, 2])));
    assert_eq!(train.inputs[0].values[35], 35.0 / 255.0);
    let test = all(folder.path(), std::slice::from_ref(&input), &of_part(Part::Test));
    assert_eq!((test.len(), test.labels), (3, Some(vec![2, 1, 0])));
    // Of the other part nothing is needed, and labels are no must.
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    assert_eq!(all(folder.path(), std::slice::from_ref(&input), &of_part(Part::Test)).labels, None);
    let error = refused(folder.path(), &[input], &of_part(Part::Train));
    says(&error, &["train-images-idx3-ubyte", "part `train`", "t10k-images-idx3-ubyte"]);
}

#[test]
fn a_file_of_idx_images_finds_its_labels_beside_it() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("some-images-idx3-ubyte.gz");
    fs::write(&path, gzip(&Idx::images(2, 2, 3))).unwrap();
    let input = x(&[None, None, Some(2), Some(3)]);
    let batch = all(&path, std::slice::from_ref(&input), &Options::default());
    // Grey images, where the model takes any number of channels.
    assert_eq!((&batch.inputs[0].dims[..], batch.labels), (&[2, 1, 2, 3][..], None));
    fs::write(folder.path().join("some-labels-idx1-ubyte"), Idx::labels(&[4, 3])).unwrap();
    assert_eq!(all(&path, std::slice::from_ref(&input), &Options::default()).labels, Some(vec![4, 3]));
    fs::write(folder.path().join("some-labels-idx1-ubyte"), Idx::labels(&[4])).unwrap();
    says(&refused(&path, &[input], &Options::default()), &["2 samples", "some-labels-idx1-ubyte` 1;"]);
}

#[test]
fn cifar_records_are_read_where_they_lie() {
    let folder = cifar_folder();
    let input = x(&[None, Some(3), Some(32), Some(32)]);
    let train = all(folder.path(), std::slice::from_ref(&input), &of_part(Part::Train));
    assert_eq!((train.len(), train.labels.unwrap()), (15, vec![0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6]));
    let second = cifar_file("data_batch_2.bin");
    let expected: Vec<f32> = second[1..3073].iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    assert_eq!(train.inputs[0].values[3 * 3072..4 * 3072], expected);
    let file = all(&folder.path().join("data_batch_2.bin"), std::slice::from_ref(&input), &Options::default());
    assert_eq!(file.inputs[0].values[..3072], expected);
    assert_eq!(all(folder.path(), std::slice::from_ref(&input), &of_part(Part::Test)).len(), 2);
    let archive = folder.path().join("cifar-10-binary.tar.gz");
    fs::write(&archive, cifar_archive(|name| Some(cifar_file(name)))).unwrap();
    let archived = all(&archive, std::slice::from_ref(&input), &of_part(Part::Train));
    assert_eq!(archived.inputs, train.inputs);

    let path = folder.path().join("a.bin");
    fs::write(&path, &second[..3000]).unwrap();
    says(&refused(&path, std::slice::from_ref(&input), &Options::default()), &["3000 bytes", "3073"]);
    fs::write(&path, [&[77], &second[1..3073]].concat()).unwrap();
    says(&refused(&path, std::slice::from_ref(&input), &Options::default()), &["label 77"]);
    fs::remove_file(folder.path().join("data_batch_4.bin")).unwrap();
    says(&refused(folder.path(), &[input], &Options::default()), &["lacks `data_batch_4.bin`"]);
}

#[test]
fn folders_of_classes_give_labels_and_a_flat_folder_none() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (name, value) in
        [("val/dog/1.png", 3), ("val/cat/2.png", 2), ("val/cat/1.png", 1), ("train/cat/1.png", 9)]
    {
        image(&at(name), 2, 3, [value, 0, 0]);
    }
    let options = images(Images { range: Some(PixelRange::Bytes), ..Images::default() });
    let test = Options { part: Part::Test, ..options.clone() };
    let mut samples = open(folder.path(), &[x(&NCHW)], &test).unwrap();
    assert_eq!(samples.class_names().unwrap(), ["cat", "dog"]);
    let batch = samples.batch(0, 9).unwrap();
    assert_eq!((&batch.inputs[0].dims[..], batch.labels), (&[3, 3, 2, 3][..], Some(vec![0, 0, 1])));
    let firsts: Vec<f32> = batch.inputs[0].values.iter().copied().step_by(18).collect();
    assert_eq!(firsts, [1.0, 2.0, 3.0]);

    let flat = all(&at("val/cat"), &[x(&NCHW)], &options);
    assert_eq!((flat.len(), flat.labels), (2, None));
    let one = all(&at("val/cat/2.png"), &[x(&NCHW)], &options);
    assert_eq!((one.len(), one.inputs[0].values[0]), (1, 2.0));

    // The first of a folder of classes are of one class.
    let few = Options { limit: Some(2), ..test.clone() };
    let samples = open(folder.path(), &[x(&NCHW)], &few).unwrap();
    assert!(samples.warnings(&[])[0].contains("class after class"));
    let shuffled = open(folder.path(), &[x(&NCHW)], &Options { shuffle: Some(1), ..few }).unwrap();
    assert!(shuffled.warnings(&[]).is_empty());

    image(&at("val/stray.png"), 2, 3, [0; 3]);
    says(&refused(folder.path(), &[x(&NCHW)], &test), &["stray.png", "folder of images for each class"]);
    fs::remove_file(at("val/stray.png")).unwrap();
    fs::write(at("val/cat/3.png"), b"no image").unwrap();
    says(&refused(folder.path(), &[x(&NCHW)], &test), &["3.png", "cannot be read as an image"]);
    image(&at("val/cat/3.png"), 4, 4, [0; 3]);
    says(&refused(folder.path(), &[x(&NCHW)], &test), &["3.png", "4x4", "2x3", "resize"]);
    let empty = tempdir().unwrap();
    says(&refused(empty.path(), &[x(&NCHW)], &test), &["found nothing", ".npz"]);
}

#[test]
fn layout_and_colours_follow_the_input_or_what_is_said() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.png");
    save(&path, 1, 2, &[[10, 20, 30], [40, 50, 60]]);
    let bytes = Images { range: Some(PixelRange::Bytes), ..Images::default() };
    let values =
        |dims: &[Option<usize>], said: &Images| all(&path, &[x(dims)], &images(said.clone())).inputs.remove(0);
    assert_eq!(values(&NCHW, &bytes).values, [10.0, 40.0, 20.0, 50.0, 30.0, 60.0]);
    let last = values(
        &[None, Some(1), Some(2), Some(3)],
        &Images { layout: Some(Layout::ChannelsLast), ..bytes.clone() },
    );
    assert_eq!(
        (&last.values[..], &last.dims[..]),
        (&[10.0, 20.0, 30.0, 40.0, 50.0, 60.0][..], &[1, 1, 2, 3][..])
    );
    let guessed = {
        let tall = folder.path().join("tall.png");
        save(&tall, 4, 1, &[[1, 2, 3]; 4]);
        all(&tall, &[x(&[None, Some(4), Some(1), Some(3)])], &images(bytes.clone())).inputs.remove(0)
    };
    assert_eq!((&guessed.values[..3], &guessed.dims[..]), (&[1.0, 2.0, 3.0][..], &[1, 4, 1, 3][..]));
    let bgr = Images { colours: Some(Colours::Bgr), mean: Some(vec![1.0, 2.0, 3.0]), ..bytes.clone() };
    assert_eq!(values(&NCHW, &bgr).values, [27.0, 57.0, 18.0, 48.0, 9.0, 39.0]);
    assert_eq!(values(&[None, Some(6)], &bytes).dims, [1, 6]);
    let grey = values(&[None, Some(1), None, None], &bytes);
    assert_eq!(grey.dims, [1, 1, 1, 2]);
    assert_eq!(values(&[None, None, None], &bytes).dims, [1, 1, 2]);
    let symmetric = Images { range: Some(PixelRange::Symmetric), ..Images::default() };
    assert_eq!(values(&NCHW, &symmetric).values[0], 2.0 * (10.0_f32 / 255.0) - 1.0);
    let whole = all(&path, &[InputSpec::new("x", Element::U8, &NCHW)], &Options::default());
    assert_eq!(whole.inputs[0].values, [10.0, 40.0, 20.0, 50.0, 30.0, 60.0]);

    let refused = |dims: &[Option<usize>], said: Images| refused(&path, &[x(dims)], &images(said));
    let grey = Images { colours: Some(Colours::Grey), ..Images::default() };
    says(&refused(&NCHW, grey), &["`grey` is 1 channels", "?x3x?x?"]);
    says(&refused(&[None, Some(4), None, None], Images::default()), &["4 channels", "nchw"]);
    says(
        &refused(&NCHW, Images { mean: Some(vec![0.5; 2]), ..Images::default() }),
        &["a mean for each of 3", "found 2"],
    );
    says(&refused(&[None, None, None, None, None], Images::default()), &["four dimensions", "?x?x?x?x?"]);
    says(&refused(&[None, Some(3), Some(8), Some(8)], Images::default()), &["1x2", "8x8", "resize"]);
    says(&refused(&[None, Some(7)], Images::default()), &["7 values", "3 for each pixel"]);
    let crop = Images { crop: Some([2, 2]), ..Images::default() };
    says(&refused(&NCHW, crop), &["1x2", "too small to crop 2x2"]);
    for absurd in [
        Images { crop: Some([0, 1]), ..Images::default() },
        Images { resize: Some(Resize::ShortSide(1 << 20)), ..Images::default() },
        Images { std: Some(vec![0.0]), ..Images::default() },
        Images { mean: Some(vec![f32::NAN]), ..Images::default() },
        Images { binarize: Some(1.0), ..Images::default() },
    ] {
        assert!(matches!(refused(&NCHW, absurd.clone()), InputsError::Settings { .. }), "{absurd:?}");
    }
    let two = [x(&NCHW), InputSpec::new("y", Element::F32, &NCHW)];
    says(&crate::refused(&path, &two, &Options::default()), &["`x`, `y`"]);
}

#[test]
fn colours_become_grey_as_pillow_makes_them() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.png");
    let colours: Vec<[u8; 3]> = golden::LUMA.iter().map(|(colour, _)| *colour).collect();
    save(&path, 1, colours.len() as u32, &colours);
    let bytes = images(Images { range: Some(PixelRange::Bytes), ..Images::default() });
    let expected: Vec<f32> = golden::LUMA.iter().map(|&(_, luma)| f32::from(luma)).collect();
    assert_eq!(all(&path, &[x(&[None, Some(1), None, None])], &bytes).inputs[0].values, expected);
}

#[test]
fn images_are_resized_as_pillow_resizes_them() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.png");
    let pixel = |place: usize| {
        let (i, j) = (place / 7, place % 7);
        [(64 + (i * 89 + j * 57 + i * j * 31) % 128) as u8; 3]
    };
    save(&path, 5, 7, &(0..35).map(pixel).collect::<Vec<_>>());
    for (filter, size, expected) in golden::RESIZED {
        let said = Images {
            resize: Some(Resize::To(*size)),
            filter: Some(filter.parse::<Filter>().unwrap()),
            range: Some(PixelRange::Bytes),
            ..Images::default()
        };
        let found = all(&path, &[x(&[None, Some(1), None, None])], &images(said)).inputs.remove(0).values;
        let expected: Vec<f32> = expected.iter().map(|&pixel| f32::from(pixel)).collect();
        // Pillow rounds to bytes after each of the two directions: half a grey in between, times the sum of the weights'
        // sizes, which is below 1.5 in all these windows. So the two are less than 0.75 apart before the last rounding,
        // less than 1.75 after it, and whole numbers. The pixels keep away from 0 and 255, where Pillow also clamps in between.
        let far = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far <= 1.0, "{filter} {size:?}: {far}\n{found:?}\n{expected:?}");
    }
}

#[test]
fn presets_are_overridden_piece_by_piece() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.png");
    image(&path, 300, 500, [124, 116, 104]);
    let imagenet = Images::preset(Preset::Imagenet);
    let batch = all(&path, &[x(&NCHW)], &images(imagenet.clone()));
    assert_eq!(batch.inputs[0].dims, [1, 3, 224, 224]);
    assert_eq!(batch.inputs[0].values[0], (124.0_f32 / 255.0 - 0.485) / 0.229);
    let own =
        Images { crop: Some([192, 160]), mean: Some(Vec::new()), std: Some(vec![0.5]), ..Images::default() };
    let batch = all(&path, &[x(&NCHW)], &images(own.or(&imagenet)));
    assert_eq!(
        (&batch.inputs[0].dims[..], batch.inputs[0].values[0]),
        (&[1, 3, 192, 160][..], 124.0 / 255.0 / 0.5)
    );
    // A user's piece goes before the model's.
    let model = Options { model_images: Some(imagenet), ..images(own) };
    assert_eq!(all(&path, &[x(&NCHW)], &model), batch);
    let json = serde_json::to_string(&model.model_images).unwrap();
    assert_eq!(serde_json::from_str::<Option<Images>>(&json).unwrap(), model.model_images);
}

#[test]
fn images_of_a_saved_model_have_the_bits_that_it_was_trained_on() {
    let digits = Source::Digits.load(&mut Access::none()).unwrap();
    for preprocessing in [
        Preprocessing::plain(digits.white),
        Preprocessing::binarizing(digits.white),
        Preprocessing::standardizing(&digits),
    ] {
        let places: Vec<usize> = (0..50).collect();
        let expected = Feed::new(&digits.test, digits.dims, &preprocessing).batch(&places);
        let options = Options {
            part: Part::Test,
            limit: Some(50),
            model_images: Some(Images::of_saved(&preprocessing)),
            ..Options::default()
        };
        let batch = all("digits".as_ref(), &[x(&[None, Some(1), Some(8), Some(8)])], &options);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&batch.inputs[0].values), bits(expected.pixels()));
        let labels: Vec<u32> = expected.labels().iter().copied().map(u32::from).collect();
        assert_eq!(batch.labels, Some(labels));
    }
    assert_eq!(Images::of_metadata("a.onnx".as_ref(), &BTreeMap::new()).unwrap(), None);
    let partial = BTreeMap::from([("batchnorm.preprocessing".to_owned(), "{\"white\":16}".to_owned())]);
    assert!(Images::of_metadata("a.onnx".as_ref(), &partial).unwrap_err().to_string().contains("a.onnx"));
}

#[test]
fn a_shift_comes_before_means_and_is_the_same_in_any_batch() {
    let input = x(&[None, Some(1), Some(8), Some(8)]);
    let shift = Shift { brightness: 0.125, contrast: 0.5, noise: 0.1, seed: 3 };
    let mnist = Options { images: Images::preset(Preset::Mnist), shift: Some(shift), ..Options::default() };
    let mut samples = open("digits".as_ref(), std::slice::from_ref(&input), &mnist).unwrap();
    let whole = samples.batch(0, 20).unwrap();
    assert_eq!(samples.batch(7, 1).unwrap().inputs[0].values, whole.inputs[0].values[7 * 64..8 * 64]);
    let plain = all("digits".as_ref(), &[input], &Options { limit: Some(20), ..Options::default() });
    for (place, (shifted, image)) in
        whole.inputs[0].values.chunks(64).zip(plain.inputs[0].values.chunks(64)).enumerate()
    {
        let mut expected = image.to_vec();
        shift.apply(place as u64, &mut expected);
        assert!(expected.iter().all(|x| (0.0..=1.0).contains(x)));
        let expected: Vec<f32> = expected.iter().map(|x| (x - 0.1307) / 0.3081).collect();
        assert_eq!(shifted, expected);
    }
}

#[test]
fn mnist_is_read_as_it_was_published() {
    let Some(path) = env::var_os("BATCHNORM_TEST_MNIST").map(PathBuf::from) else {
        println!("skipped: BATCHNORM_TEST_MNIST names no folder with MNIST");
        return;
    };
    // Tests run in their crate's folder; a relative path is meant from the workspace.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let input = x(&[None, Some(1), Some(28), Some(28)]);
    let mut samples =
        open(&path, std::slice::from_ref(&input), &images(Images::preset(Preset::Mnist))).unwrap();
    assert_eq!(samples.len(), Some(60_000));
    let batch = samples.batch(0, 10_000).unwrap();
    assert_eq!(batch.labels.as_ref().unwrap()[..5], [5, 0, 4, 1, 9]);
    let summary = samples.summary(&batch);
    // Published mean and deviation of all 60 000 have four digits; those of a sixth of them differ by a few thousandths.
    assert!(summary[0].mean.abs() < 0.01 && (summary[0].std - 1.0).abs() < 0.01, "{summary:?}");
    assert_eq!(samples.warnings(&summary), Vec::<String>::new());
    let mut test = open(&path, &[input], &Options { part: Part::Test, ..Options::default() }).unwrap();
    assert_eq!((test.len(), test.batch(0, 5).unwrap().labels), (Some(10_000), Some(vec![7, 2, 1, 0, 4])));
    assert_ne!(samples.fingerprint().unwrap(), test.fingerprint().unwrap());
}
