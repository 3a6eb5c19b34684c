//! Folders of images: a folder for each class, in a folder to train on and one to test on, or without a split.
//!
//! ```text
//! train/cat/1.png  train/dog/1.png  test/cat/2.png  test/dog/2.png
//! cat/1.png  cat/2.png  dog/1.png  dog/2.png
//! ```

use std::path::{Path, PathBuf};

use super::folder::{entries, file_name};
use super::picture::{self, Picture};
use super::split::{TEST_EVERY, stratified};
use super::{DataError, Dataset, IMAGE_WHITE, Split, folder};

pub(crate) const TRAIN: &str = "train";
/// The folder to test on, the first that there is.
pub(crate) const TEST: [&str; 4] = ["test", "val", "valid", "validation"];

/// The most classes: labels are 16 bits.
const MOST_CLASSES: usize = 1 << 16;

/// Loads a folder; `None` if there are no folders with images in it.
pub(super) fn load(path: &Path) -> Result<Option<Dataset>, DataError> {
    let folders: Vec<PathBuf> = entries(path)?.into_iter().filter(|path| path.is_dir()).collect();
    let called = |name: &str| folders.iter().find(|path| file_name(path).eq_ignore_ascii_case(name));
    let test = TEST.into_iter().find_map(called);
    if let (Some(train), Some(test)) = (called(TRAIN), test) {
        return load_split(path, train, test).map(Some);
    }
    if !folders.iter().any(|folder| holds_images(folder)) {
        return Ok(None);
    }
    load_unsplit(path).map(Some)
}

fn holds_images(folder: &Path) -> bool {
    entries(folder).is_ok_and(|entries| entries.iter().any(|path| picture::has_image_name(path)))
}

fn load_split(path: &Path, train: &Path, test: &Path) -> Result<Dataset, DataError> {
    let classes = classes(train)?;
    let names: Vec<String> = classes.iter().map(|class| file_name(class)).collect();
    let mut images = Images::default();
    for (label, class) in classes.iter().enumerate() {
        images.read(class, label)?;
    }
    let train_images = images.pictures.len();
    for class in folders_only(test)? {
        let Some(label) = names.iter().position(|name| *name == file_name(&class)) else {
            return Err(DataError::UnknownClass { path: class, train: train.to_owned() });
        };
        images.read(&class, label)?;
    }
    if images.pictures.len() == train_images {
        return Err(DataError::Empty { path: test.to_owned() });
    }
    let all: Vec<usize> = (0..images.pictures.len()).collect();
    let (train, test) = all.split_at(train_images);
    let mut data = images.assemble(path, names, train, test);
    data.about.description += &format!("; {} to train on, {} to test on", data.train.len(), data.test.len());
    Ok(data)
}

fn load_unsplit(path: &Path) -> Result<Dataset, DataError> {
    let classes = classes(path)?;
    let names = classes.iter().map(|class| file_name(class)).collect();
    let mut images = Images::default();
    for (label, class) in classes.iter().enumerate() {
        let before = images.pictures.len();
        images.read(class, label)?;
        let found = images.pictures.len() - before;
        if found < 2 {
            return Err(DataError::TooFewImages { folder: class.clone(), found });
        }
    }
    let (train, test) = stratified(&images.labels, TEST_EVERY);
    let mut data = images.assemble(path, names, &train, &test);
    data.about.description += &format!(
        "; a fixed stratified shuffle gives {} to train on and one in {TEST_EVERY}, {}, to test on",
        data.train.len(),
        data.test.len()
    );
    Ok(data)
}

/// The folders of the classes, by name.
fn classes(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let classes = folders_only(folder)?;
    match classes.len() {
        found @ 0..2 => Err(DataError::TooFewClasses {
            path: folder.to_owned(),
            found,
            hint: ", a folder of images each; a split set has folders called train and test (or val, valid, validation)",
        }),
        found if found > MOST_CLASSES => {
            Err(DataError::TooManyClasses { path: folder.to_owned(), found, most: MOST_CLASSES })
        }
        _ => Ok(classes),
    }
}

/// The folders in a folder that has nothing but folders, and perhaps texts about them.
fn folders_only(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = entries(folder)?;
    if let Some(image) = entries.iter().find(|path| picture::has_image_name(path) && !path.is_dir()) {
        return Err(DataError::Misplaced {
            folder: folder.to_owned(),
            expected: "a folder of images for each class",
            found: file_name(image),
        });
    }
    Ok(entries.into_iter().filter(|path| path.is_dir()).collect())
}

/// The images read so far, all of one size.
#[derive(Default)]
struct Images {
    pictures: Vec<Picture>,
    labels: Vec<u16>,
    coloured: bool,
    /// Height, width, and the file that has them.
    size: Option<(usize, usize, PathBuf)>,
}

impl Images {
    /// Reads all images of a class, by name.
    fn read(&mut self, class: &Path, label: usize) -> Result<(), DataError> {
        let files = entries(class)?;
        if files.is_empty() {
            return Err(DataError::Empty { path: class.to_owned() });
        }
        for file in files {
            if file.is_dir() {
                return Err(DataError::Misplaced {
                    folder: class.to_owned(),
                    expected: "images",
                    found: format!("{}/", file_name(&file)),
                });
            }
            let picture = picture::read(&file, |height, width| match &self.size {
                Some((expected_height, expected_width, like))
                    if (height, width) != (*expected_height, *expected_width) =>
                {
                    Err(DataError::Size {
                        file: file.clone(),
                        expected: format!("{expected_height}x{expected_width}"),
                        found: format!("{height}x{width}"),
                        like: like.clone(),
                    })
                }
                _ => Ok(()),
            })?;
            if self.size.is_none() {
                self.size = Some((picture.height, picture.width, file));
            }
            self.coloured |= picture.is_coloured();
            self.pictures.push(picture);
            self.labels.push(label as u16);
        }
        Ok(())
    }

    fn assemble(self, path: &Path, names: Vec<String>, train: &[usize], test: &[usize]) -> Dataset {
        let (height, width, _) = self.size.expect("at least one image was read");
        let channels = if self.coloured { 3 } else { 1 };
        let split = |indices: &[usize]| {
            let mut split = Split::new(channels * height * width);
            for &index in indices {
                split.push(&self.pictures[index].clone().into_channels(channels), self.labels[index]);
            }
            split
        };
        Dataset {
            about: folder::about(path, "a folder of images for each class"),
            classes: names.len(),
            class_names: names,
            dims: [channels, height, width],
            white: IMAGE_WHITE,
            train: split(train),
            test: split(test),
        }
    }
}
