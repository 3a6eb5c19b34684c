//! Data sets from folders and from the cache: what is recognised, and what is said of what is wrong.

mod files;

use std::fs;
use std::path::Path;

use batchnorm_lab::data::{Access, DataError, Dataset, Source, read_images};
use files::{Idx, cifar_archive, cifar_batch, cifar_folder, gzip, idx_folder, image, noise};
use tempfile::{TempDir, tempdir};

fn load(path: &Path) -> Result<Dataset, DataError> {
    Source::Folder(path.to_owned()).load(&mut Access::none())
}

#[track_caller]
fn refused(path: &Path) -> DataError {
    match load(path) {
        Ok(data) => panic!("loaded {} images of {:?}", data.train.len(), data.dims),
        Err(error) => error,
    }
}

/// Expects an error of the given variant whose message has all of `words`.
macro_rules! assert_refused {
    ($path:expr, $variant:ident, $($word:expr),+ $(,)?) => {{
        let error = refused(&$path);
        let message = error.to_string();
        assert!(matches!(error, DataError::$variant { .. }), "{error:?}");
        $( assert!(message.contains(&$word.to_string()), "`{}` is not in: {message}", $word); )+
    }};
}

/// A whole IDX data set with one of its files changed.
fn idx_with(name: &str, bytes: &[u8]) -> TempDir {
    let folder = idx_folder();
    fs::write(folder.path().join(name), bytes).unwrap();
    folder
}

// IDX

#[test]
fn idx_files_are_recognised_raw_and_compressed_under_all_their_names() {
    let expected = load(idx_folder().path()).unwrap();
    assert_eq!((expected.train.len(), expected.test.len()), (6, 3));
    assert_eq!((expected.dims, expected.classes, expected.white), ([1, 2, 3], 3, 255.0));
    assert_eq!(expected.class_names, ["0", "1", "2"]);
    assert_eq!(expected.train.labels(), [0, 1, 2, 0, 1, 2]);
    assert_eq!(expected.train.image(1), [6, 7, 8, 9, 10, 11]);
    assert_eq!(expected.test.pixels(), 6);
    for (from, to) in [("-idx", ".idx"), ("t10k", "test")] {
        for compress in [false, true] {
            let (folder, renamed) = (idx_folder(), tempdir().unwrap());
            for entry in fs::read_dir(folder.path()).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap().replace(from, to);
                let bytes = fs::read(entry.path()).unwrap();
                if compress {
                    fs::write(renamed.path().join(format!("{name}.gz")), gzip(&bytes)).unwrap();
                } else {
                    fs::write(renamed.path().join(name), bytes).unwrap();
                }
            }
            let data = load(renamed.path()).unwrap();
            assert_eq!((data.train, data.test), (expected.train.clone(), expected.test.clone()));
            assert!(data.about.title.contains(&renamed.path().display().to_string()));
        }
    }
}

#[test]
fn what_a_file_holds_counts_and_not_its_ending() {
    // As browsers leave them that unpack what they fetch.
    let folder = idx_folder();
    let path = folder.path().join("train-labels-idx1-ubyte");
    fs::rename(&path, folder.path().join("train-labels-idx1-ubyte.gz")).unwrap();
    load(folder.path()).unwrap();
}

#[test]
fn missing_idx_files_are_named() {
    let folder = idx_folder();
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).unwrap();
    assert_refused!(folder.path(), MissingFiles, "t10k-labels-idx1-ubyte", "train-images-idx3-ubyte");
}

#[test]
fn idx_files_that_are_cut_off_or_too_long_are_refused() {
    const NAME: &str = "train-images-idx3-ubyte";
    let whole = Idx::images(6, 2, 3);
    for length in [0, 3] {
        assert_refused!(idx_with(NAME, &whole[..length]).path(), Magic, NAME, "00 00 08 03");
    }
    assert_refused!(idx_with(NAME, &whole[..10]).path(), Truncated, NAME, "expected 16 bytes", "found 10");
    let expected = format!("expected {} bytes", whole.len());
    let found = format!("found {}", whole.len() - 1);
    assert_refused!(idx_with(NAME, &whole[..whole.len() - 1]).path(), Truncated, NAME, expected, found);
    let short = gzip(&whole[..whole.len() - 1]);
    assert_refused!(idx_with(NAME, &short).path(), Truncated, NAME, expected, found);
    let long = [&whole[..], &[0]].concat();
    assert_refused!(idx_with(NAME, &long).path(), TrailingBytes, NAME, expected);
    assert_refused!(idx_with(NAME, &gzip(&long)).path(), TrailingBytes, NAME, expected);
}

#[test]
fn damaged_compression_is_refused() {
    const NAME: &str = "train-images-idx3-ubyte";
    let whole = gzip(&Idx::images(6, 2, 3));
    let cut = &whole[..whole.len() - 5];
    assert_refused!(idx_with(NAME, cut).path(), Compressed, NAME, "damaged or cut off", "fetch it again");
    let mut checksum = whole.clone();
    let place = whole.len() - 8;
    checksum[place] ^= 1;
    assert_refused!(idx_with(NAME, &checksum).path(), Compressed, NAME);
    let after = [&whole[..], b"more"].concat();
    assert_refused!(idx_with(NAME, &after).path(), Compressed, NAME);
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let swapped = idx_with("train-images-idx3-ubyte", &Idx::labels(&[0, 1]));
    assert_refused!(swapped.path(), Magic, "train-images-idx3-ubyte", "00 00 08 03", "00 00 08 01");
    let page = idx_with("train-labels-idx1-ubyte", b"<html>not found</html>");
    assert_refused!(page.path(), Magic, "00 00 08 01", "3c 68 74 6d");
}

#[test]
fn absurd_sizes_allocate_nothing_and_are_refused() {
    const NAME: &str = "train-images-idx3-ubyte";
    let sizes = |sizes: [u32; 3]| [&[0, 0, 8, 3][..], &sizes.map(u32::to_be_bytes).concat(), &[1; 50]].concat();
    for huge in [[u32::MAX; 3], [60_000, 28, u32::MAX], [u32::MAX, 1, 1]] {
        for bytes in [sizes(huge), gzip(&sizes(huge))] {
            let error = refused(idx_with(NAME, &bytes).path());
            assert!(
                matches!(error, DataError::ImpossibleSize { .. } | DataError::Truncated { .. }),
                "{huge:?} {error}"
            );
        }
    }
    assert_refused!(idx_with(NAME, &sizes([50, 0, 1])).path(), ImpossibleSize, NAME, "50 x 0 x 1");
}

#[test]
fn an_empty_split_is_refused() {
    assert_refused!(idx_with("t10k-images-idx3-ubyte", &Idx::images(0, 2, 3)).path(), Empty, "t10k-images");
    assert_refused!(idx_with("train-labels-idx1-ubyte", &Idx::labels(&[])).path(), Empty, "train-labels");
}

#[test]
fn idx_files_that_do_not_belong_together_are_refused() {
    let folder = idx_with("train-labels-idx1-ubyte", &Idx::labels(&[0, 1, 2]));
    assert_refused!(folder.path(), Counts, "6 images", "3 labels", "train-labels-idx1-ubyte");
    let folder = idx_with("t10k-images-idx3-ubyte", &Idx::images(3, 3, 2));
    assert_refused!(folder.path(), Size, "3x2", "2x3", "t10k-images-idx3-ubyte");
    let folder = idx_with("t10k-labels-idx1-ubyte", &Idx::labels(&[0, 3, 1]));
    assert_refused!(folder.path(), Label, "label 3 of image 1", "t10k-labels-idx1-ubyte", "expected 0 to 2");
    let folder = idx_with("train-labels-idx1-ubyte", &Idx::labels(&[0; 6]));
    assert_refused!(folder.path(), TooFewClasses, "train-labels-idx1-ubyte", "1 class");
}

// CIFAR-10

#[test]
fn cifar_files_are_recognised_in_the_folder_in_theirs_and_in_the_archive() {
    let folder = cifar_folder();
    let data = load(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (15, 2));
    assert_eq!((data.dims, data.classes), ([3, 32, 32], 10));
    assert_eq!(data.class_names[9], "truck");
    assert_eq!(data.train.labels()[..4], [0, 1, 2, 1]);
    assert_eq!(data.train.image(0), &cifar_batch(0, 3)[1..3073]);

    let parent = tempdir().unwrap();
    fs::rename(folder.path(), parent.path().join("cifar-10-batches-bin")).unwrap();
    let same = load(parent.path()).unwrap();
    assert_eq!((&same.train, &same.test), (&data.train, &data.test));

    let parent = tempdir().unwrap();
    let archive = parent.path().join("cifar-10-binary.tar.gz");
    fs::write(&archive, cifar_archive(|name| Some(files::cifar_file(name)))).unwrap();
    for path in [parent.path(), &archive] {
        let same = load(path).unwrap();
        assert_eq!((&same.train, &same.test), (&data.train, &data.test));
        assert!(same.about.description.contains("unlike the published one"));
    }
}

#[test]
fn cifar_files_that_are_wrong_are_refused() {
    let with = |name: &str, bytes: Option<&[u8]>| {
        let folder = cifar_folder();
        match bytes {
            Some(bytes) => fs::write(folder.path().join(name), bytes).unwrap(),
            None => fs::remove_file(folder.path().join(name)).unwrap(),
        }
        folder
    };
    let folder = with("data_batch_3.bin", None);
    assert_refused!(folder.path(), MissingFiles, "data_batch_3.bin", "data_batch_2.bin");
    let folder = with("test_batch.bin", Some(&[0; 3072]));
    assert_refused!(folder.path(), CifarSize, "test_batch.bin", "3072 bytes", "multiple of 3073");
    let folder = with("test_batch.bin", Some(&[]));
    assert_refused!(folder.path(), Empty, "test_batch.bin");
    let mut batch = cifar_batch(0, 3);
    batch[3073] = 10;
    let folder = with("data_batch_1.bin", Some(&batch));
    assert_refused!(folder.path(), Label, "label 10 of image 1", "data_batch_1.bin", "expected 0 to 9");
}

#[test]
fn cifar_archives_that_are_wrong_are_refused() {
    let folder = tempdir().unwrap();
    let archive = folder.path().join("cifar-10-binary.tar.gz");
    let whole = cifar_archive(|name| Some(files::cifar_file(name)));
    fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    assert_refused!(folder.path(), Compressed, "cifar-10-binary.tar.gz");
    fs::write(&archive, &whole[..whole.len() - 4]).unwrap();
    assert_refused!(folder.path(), Compressed, "cifar-10-binary.tar.gz");
    fs::write(&archive, cifar_archive(|name| (!name.contains('4')).then(|| files::cifar_file(name)))).unwrap();
    assert_refused!(folder.path(), MissingFiles, "data_batch_4.bin");
    fs::write(&archive, cifar_archive(|_| Some(vec![1; 100]))).unwrap();
    assert_refused!(folder.path(), CifarSize, "data_batch_1.bin", "100 bytes");
    fs::write(&archive, b"no archive").unwrap();
    assert_refused!(archive, Compressed, "cifar-10-binary.tar.gz");
}

// Folders of images

/// Class folders with so many images each, of 2x3 pixels whose values say where they are from.
fn classes(folder: &Path, names: &[&str], images: u8) {
    for (class, name) in names.iter().enumerate() {
        for index in 0..images {
            image(&folder.join(name).join(format!("{index:02}.png")), 2, 3, [class as u8 * 50 + index; 3]);
        }
    }
}

#[test]
fn a_folder_of_images_with_a_split_is_read_as_it_is() {
    for test in ["test", "val", "valid", "validation", "Test"] {
        let folder = tempdir().unwrap();
        classes(&folder.path().join("train"), &["dog", "cat"], 3);
        classes(&folder.path().join(test), &["dog", "cat"], 1);
        fs::write(folder.path().join("train/.DS_Store"), b"hidden").unwrap();
        fs::write(folder.path().join("train/cat/.hidden.png"), b"hidden").unwrap();
        let data = load(folder.path()).unwrap();
        assert_eq!(data.class_names, ["cat", "dog"]);
        assert_eq!((data.dims, data.classes), ([1, 2, 3], 2));
        assert_eq!(data.train.labels(), [0, 0, 0, 1, 1, 1]);
        assert_eq!(data.test.labels(), [0, 1]);
        assert_eq!(data.train.image(1), [51; 6]);
    }
}

#[test]
fn a_folder_of_classes_is_split_the_same_way_every_time() {
    let folder = tempdir().unwrap();
    classes(folder.path(), &["a", "b", "c"], 10);
    let data = load(folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (24, 6));
    for class in 0..3 {
        assert_eq!(data.test.labels().iter().filter(|&&label| label == class).count(), 2);
    }
    assert_eq!(load(folder.path()).unwrap(), data);
    assert!(data.about.description.contains("24 to train on"), "{}", data.about.description);
}

#[test]
fn one_coloured_image_makes_the_set_one_of_three_channels() {
    let folder = tempdir().unwrap();
    classes(&folder.path().join("train"), &["a", "b"], 2);
    classes(&folder.path().join("test"), &["a", "b"], 1);
    // Neither the first nor the last.
    image(&folder.path().join("test/b/0.png"), 2, 3, [1, 2, 3]);
    let data = load(folder.path()).unwrap();
    assert_eq!(data.dims, [3, 2, 3]);
    assert_eq!(data.train.image(1), [1; 18]);
    let coloured = [[1; 6], [2; 6], [3; 6]].concat();
    assert_eq!(data.test.image(1), coloured);
}

#[test]
fn images_that_do_not_belong_together_are_refused() {
    let whole = || {
        let folder = tempdir().unwrap();
        classes(folder.path(), &["a", "b"], 3);
        folder
    };
    let folder = whole();
    image(&folder.path().join("b/x.png"), 3, 2, [0; 3]);
    assert_refused!(folder.path(), Size, "x.png", "3x2", "2x3", "00.png");
    let folder = whole();
    fs::write(folder.path().join("b/x.png"), b"no image").unwrap();
    assert_refused!(folder.path(), Image, "x.png", "PNG");
    let folder = whole();
    fs::write(folder.path().join("b/labels.txt"), b"cat, dog").unwrap();
    assert_refused!(folder.path(), Image, "labels.txt", "move it out");
    let folder = whole();
    let path = folder.path().join("a/01.png");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    assert_refused!(folder.path(), Image, "01.png");
    let folder = whole();
    fs::create_dir(folder.path().join("a/more")).unwrap();
    assert_refused!(folder.path(), Misplaced, "more/", "expected only images");
    let folder = whole();
    image(&folder.path().join("x.png"), 2, 3, [0; 3]);
    assert_refused!(folder.path(), Misplaced, "x.png", "for each class");
}

#[test]
fn classes_that_are_wrong_are_refused() {
    let folder = tempdir().unwrap();
    classes(folder.path(), &["only"], 3);
    assert_refused!(folder.path(), TooFewClasses, "1 class;", "at least 2", "train and test");
    let folder = tempdir().unwrap();
    classes(folder.path(), &["a", "b"], 3);
    fs::create_dir(folder.path().join("c")).unwrap();
    assert_refused!(folder.path(), Empty, "c`");
    image(&folder.path().join("c/1.png"), 2, 3, [0; 3]);
    assert_refused!(folder.path(), TooFewImages, "c`", "has 1 image");
    let folder = tempdir().unwrap();
    classes(&folder.path().join("train"), &["a", "b"], 3);
    classes(&folder.path().join("test"), &["a", "c"], 3);
    assert_refused!(folder.path(), UnknownClass, "test/c", "train");
    let folder = tempdir().unwrap();
    classes(&folder.path().join("train"), &["a", "b"], 3);
    fs::create_dir(folder.path().join("test")).unwrap();
    assert_refused!(folder.path(), Empty, "test");
}

// Folders that are none of these

#[test]
fn a_folder_without_a_data_set_says_what_was_looked_for_and_what_is_there() {
    let folder = tempdir().unwrap();
    assert_refused!(
        folder.path(),
        Unrecognized,
        "found nothing",
        "train-images-idx3-ubyte",
        "data_batch_1.bin"
    );
    for name in ["a.csv", "b.csv", "c.csv", "d.csv", "e.csv", "f.csv"] {
        fs::write(folder.path().join(name), "1,2").unwrap();
    }
    fs::create_dir(folder.path().join("empty")).unwrap();
    assert_refused!(folder.path(), Unrecognized, "a.csv, b.csv, c.csv, d.csv, e.csv and 2 more");
    assert_refused!(folder.path().join("a.csv"), NotAFolder, "a.csv");
    assert_refused!(
        folder.path().join("minst"),
        NoSuchFolder,
        "minst",
        "digits, mnist, fashion-mnist, cifar10"
    );
}

#[test]
fn of_several_forms_idx_comes_first_and_images_last() {
    let folder = idx_folder();
    classes(folder.path(), &["a", "b"], 3);
    for entry in fs::read_dir(cifar_folder().keep()).unwrap() {
        let path = entry.unwrap().path();
        fs::rename(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    assert_eq!(load(folder.path()).unwrap().dims, [1, 2, 3]);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with("ubyte") {
            fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(load(folder.path()).unwrap().dims, [3, 32, 32]);
}

// Damage of every kind

#[test]
fn no_damage_to_a_file_makes_a_panic() {
    let parent = tempdir().unwrap();
    let png = parent.path().join("whole.png");
    image(&png, 2, 3, [9, 8, 7]);
    let images = Idx::images(6, 2, 3);
    let archive = cifar_archive(|name| Some(files::cifar_file(name)));
    // Each with the number of variations: what is slow to read gets fewer.
    let whole = [(images.clone(), 400), (gzip(&images), 400), (fs::read(&png).unwrap(), 400), (archive, 30)];
    let path = parent.path().join("damaged.tar.gz");
    let mut random = noise(5);
    for (bytes, variations) in whole {
        for _ in 0..variations {
            let mut bytes = bytes.clone();
            for _ in 0..1 + random() % 4 {
                let place = random() as usize % bytes.len();
                bytes[place] = random() as u8;
            }
            if random().is_multiple_of(2) {
                bytes.truncate(random() as usize % bytes.len());
            }
            fs::write(&path, &bytes).unwrap();
            let _ = read_images(&path, [1, 2, 3]);
            let _ = read_images(&path, [3, 2, 3]);
            let _ = load(&path);
        }
    }
}

// Images to put into classes

#[test]
fn images_without_labels_are_read_one_or_many_at_a_time() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("one.png");
    image(&path, 2, 3, [40; 3]);
    let [one] = &read_images(&path, [1, 2, 3]).unwrap()[..] else { panic!() };
    assert_eq!((one.name.as_str(), &one.pixels[..]), ("one.png", &[40; 6][..]));
    assert_eq!(read_images(&path, [3, 2, 3]).unwrap()[0].pixels, [40; 18]);
    let path = folder.path().join("many.gz");
    fs::write(&path, gzip(&Idx::images(4, 2, 3))).unwrap();
    let many = read_images(&path, [1, 2, 3]).unwrap();
    assert_eq!(many.len(), 4);
    assert_eq!((many[1].name.as_str(), &many[1].pixels[..]), ("many.gz #1", &[6, 7, 8, 9, 10, 11][..]));
    assert_eq!(read_images(&path, [3, 2, 3]).unwrap()[0].pixels, [0, 1, 2, 3, 4, 5].repeat(3));
}

#[test]
fn images_that_do_not_fit_are_refused() {
    let folder = tempdir().unwrap();
    let (grey, coloured, many) =
        (folder.path().join("g.png"), folder.path().join("c.png"), folder.path().join("m"));
    image(&grey, 2, 3, [40; 3]);
    image(&coloured, 2, 3, [1, 2, 3]);
    fs::write(&many, Idx::images(4, 2, 3)).unwrap();
    let refused = |path: &Path, dims| read_images(path, dims).unwrap_err();
    for path in [&grey, &many] {
        let error = refused(path, [1, 28, 28]);
        assert!(matches!(error, DataError::OtherSize { .. }), "{error}");
        assert!(error.to_string().contains("2x3") && error.to_string().contains("28x28"), "{error}");
    }
    let error = refused(&coloured, [1, 2, 3]);
    assert!(matches!(error, DataError::Coloured { .. }), "{error}");
    assert!(matches!(refused(&folder.path().join("none.png"), [1, 2, 3]), DataError::Unreadable { .. }));
    fs::write(&many, Idx::labels(&[1, 2])).unwrap();
    assert!(matches!(refused(&many, [1, 2, 3]), DataError::Magic { .. }));
}
