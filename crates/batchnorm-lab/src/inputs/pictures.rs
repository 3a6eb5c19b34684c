//! Where images come from: memory, CIFAR-10's records, image files, or an array of bytes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::npy::Array;
use super::{InputsError, Part};
use crate::data::picture::{self, Picture};
use crate::data::{DataError, Dataset, IMAGE_WHITE, cifar, folder, idx, image_folder};

/// Images, any of which can be had, and the label of each where there are labels.
#[derive(Debug)]
pub(super) struct Pictures {
    pub(super) store: Store,
    /// What messages call it.
    pub(super) name: String,
    /// The labels, where they do not lie with the images.
    labels: Option<Vec<u32>>,
    pub(super) class_names: Option<Vec<String>>,
    /// The largest value that a pixel can have.
    pub(super) white: f32,
    /// Whether no image has colours.
    pub(super) grey: bool,
    /// Whether they come class after class.
    pub(super) by_class: bool,
}

#[derive(Debug)]
pub(super) enum Store {
    /// All pixels, of images of so many channels, height and width.
    Memory { dims: [usize; 3], pixels: Vec<u8> },
    /// CIFAR-10's files, each with the number of images up to its end.
    Records(Vec<(PathBuf, File, u64)>),
    /// A file for each image.
    Files(Vec<PathBuf>),
    /// An array of bytes: samples, then height and width, and the channels before, behind or not at all.
    Bytes { array: Array, dims: [usize; 3], channels_last: bool },
}

impl Pictures {
    fn new(path: &Path, store: Store, labels: Option<Vec<u32>>) -> Self {
        let name = path.display().to_string();
        let grey = match store {
            Store::Memory { dims, .. } | Store::Bytes { dims, .. } => dims[0] == 1,
            Store::Records(_) | Store::Files(_) => false,
        };
        Self { store, name, labels, class_names: None, white: IMAGE_WHITE, grey, by_class: false }
    }

    /// A part of a data set in memory.
    pub(super) fn of_dataset(data: Dataset, part: Part) -> Self {
        let split = match part {
            Part::Train => data.train,
            Part::Test => data.test,
        };
        let labels = split.labels().iter().copied().map(u32::from).collect();
        let store = Store::Memory { dims: data.dims, pixels: split.images().to_vec() };
        let named = Self::new(Path::new(&data.about.title), store, Some(labels));
        Self { class_names: Some(data.class_names), white: data.white, ..named }
    }

    /// A file of images in IDX, with the file of labels where there is one.
    pub(super) fn idx(images: &Path, labels: Option<&Path>) -> Result<Self, InputsError> {
        let ([count, height, width], pixels) = idx::read(images, 3)?.into_images();
        let labels = match labels {
            Some(file) => {
                let labels = idx::read(file, 1)?.into_labels();
                if labels.len() != count {
                    return Err(InputsError::Counts {
                        one: images.display().to_string(),
                        one_count: count as u64,
                        other: file.display().to_string(),
                        other_count: labels.len() as u64,
                    });
                }
                Some(labels.into_iter().map(u32::from).collect())
            }
            None => None,
        };
        Ok(Self::new(images, Store::Memory { dims: [1, height, width], pixels }, labels))
    }

    /// A folder of IDX files: the images of a part, and their labels where they are there; `None` if it has none of either
    /// part.
    pub(super) fn idx_folder(path: &Path, part: Part) -> Result<Option<Self>, InputsError> {
        let find =
            |role: idx::Role| role.names().into_iter().map(|name| path.join(name)).find(|path| path.is_file());
        let (images, labels, other) = match part {
            Part::Train => (idx::Role::TrainImages, idx::Role::TrainLabels, idx::Role::TestImages),
            Part::Test => (idx::Role::TestImages, idx::Role::TestLabels, idx::Role::TrainImages),
        };
        match (find(images), find(other)) {
            (Some(images), _) => Self::idx(&images, find(labels).as_deref()).map(Some),
            (None, Some(found)) => Err(DataError::MissingFiles {
                path: path.to_owned(),
                missing: vec![format!("`{}` (or `.gz`), for the part `{part}`", images.name())],
                found: vec![format!("`{}`", folder::file_name(&found))],
            }
            .into()),
            (None, None) => Ok(None),
        }
    }

    /// CIFAR-10's files, one after the other.
    pub(super) fn records(files: Vec<PathBuf>) -> Result<Self, InputsError> {
        let mut records = Vec::with_capacity(files.len());
        let mut images = 0;
        let name = files.first().cloned().unwrap_or_default();
        for path in files {
            let unreadable = |source| InputsError::Unreadable { path: path.clone(), source };
            let file = File::open(&path).map_err(unreadable)?;
            let length = file.metadata().map_err(unreadable)?.len();
            if length == 0 {
                return Err(DataError::Empty { path }.into());
            }
            if !length.is_multiple_of(cifar::RECORD as u64) {
                return Err(DataError::CifarSize { file: path, found: length }.into());
            }
            images += length / cifar::RECORD as u64;
            records.push((path, file, images));
        }
        Ok(Self::new(&name, Store::Records(records), None))
    }

    /// The files of a part of a folder of CIFAR-10.
    pub(super) fn cifar_folder(path: &Path, part: Part) -> Result<Self, InputsError> {
        let wanted = cifar::FILES.iter().filter(|name| (**name == cifar::TEST) == (part == Part::Test));
        let (found, missing): (Vec<PathBuf>, Vec<PathBuf>) =
            wanted.map(|name| path.join(name)).partition(|path| path.is_file());
        if !missing.is_empty() {
            let names =
                |paths: &[PathBuf]| paths.iter().map(|path| format!("`{}`", folder::file_name(path))).collect();
            let found = if found.is_empty() { vec!["other files".to_owned()] } else { names(&found) };
            let missing = names(&missing);
            return Err(DataError::MissingFiles { path: path.to_owned(), missing, found }.into());
        }
        Self::records(found)
    }

    /// Image files: one, or a folder of them, or of a folder for each class; `None` if there are none.
    ///
    /// In a folder with `train` and `test` the part is one of these, else the whole is taken.
    pub(super) fn files(path: &Path, part: Part) -> Result<Option<Self>, InputsError> {
        if path.is_file() {
            return Ok(Some(Self::new(path, Store::Files(vec![path.to_owned()]), None)));
        }
        let entries = folder::entries(path)?;
        let is_image = |path: &PathBuf| picture::has_image_name(path) && path.is_file();
        let folders: Vec<PathBuf> = entries.iter().filter(|path| path.is_dir()).cloned().collect();
        let flat: Vec<PathBuf> = entries.into_iter().filter(is_image).collect();
        let called = |name: &str| {
            folders.iter().find(|path| folder::file_name(path).eq_ignore_ascii_case(name)).cloned()
        };
        if let (Some(train), Some(test)) =
            (called(image_folder::TRAIN), image_folder::TEST.into_iter().find_map(called))
        {
            return Self::files(if part == Part::Train { &train } else { &test }, part);
        }
        let mut classes = Vec::new();
        for class in &folders {
            let files: Vec<PathBuf> = folder::entries(class)?.into_iter().filter(is_image).collect();
            if !files.is_empty() {
                classes.push((folder::file_name(class), files));
            }
        }
        if !flat.is_empty() && !classes.is_empty() {
            return Err(DataError::Misplaced {
                folder: path.to_owned(),
                expected: "images, or a folder of images for each class",
                found: format!("{}` beside `{}/", folder::file_name(&flat[0]), classes[0].0),
            }
            .into());
        }
        if !flat.is_empty() {
            return Ok(Some(Self::new(path, Store::Files(flat), None)));
        }
        if classes.is_empty() {
            return Ok(None);
        }
        let (mut files, mut labels, mut names) = (Vec::new(), Vec::new(), Vec::new());
        for (label, (name, of_class)) in classes.into_iter().enumerate() {
            labels.extend(std::iter::repeat_n(label as u32, of_class.len()));
            files.extend(of_class);
            names.push(name);
        }
        let by_class = names.len() > 1;
        let pictures = Self::new(path, Store::Files(files), Some(labels));
        Ok(Some(Self { class_names: Some(names), by_class, ..pictures }))
    }

    /// An array of bytes as images, if its dimensions are those of images.
    pub(super) fn bytes(array: Array, labels: Option<Vec<u32>>) -> Result<Self, Array> {
        let (dims, channels_last) = match *array.sample() {
            [height, width] => ([1, height, width], false),
            [height, width, channels @ (1 | 3)] if height > 3 || width > 3 => ([channels, height, width], true),
            [channels @ (1 | 3), height, width] => ([channels, height, width], false),
            _ => return Err(array),
        };
        let name = array.name.clone();
        Ok(Self::new(Path::new(&name), Store::Bytes { array, dims, channels_last }, labels))
    }

    /// The number of images.
    pub(super) fn len(&self) -> u64 {
        match &self.store {
            Store::Memory { dims, pixels } => (pixels.len() / dims.iter().product::<usize>()) as u64,
            Store::Records(files) => files.last().map_or(0, |(_, _, images)| *images),
            Store::Files(files) => files.len() as u64,
            Store::Bytes { array, .. } => array.len(),
        }
    }

    /// Which image it is, in words.
    pub(super) fn image(&self, place: u64) -> String {
        match &self.store {
            Store::Files(files) => format!("`{}`", files[place as usize].display()),
            _ => format!("image {place} of `{}`", self.name),
        }
    }

    /// The image at a place below the number of images, and its label.
    pub(super) fn read(&mut self, place: u64) -> Result<(Picture, Option<u32>), InputsError> {
        let label = self.labels.as_ref().map(|labels| labels[place as usize]);
        let picture = match &mut self.store {
            Store::Memory { dims, pixels } => {
                let size: usize = dims.iter().product();
                let start = place as usize * size;
                Picture::of(dims[1], dims[2], pixels[start..start + size].to_vec())
            }
            Store::Records(files) => {
                return record(files, place).map(|(picture, label)| (picture, Some(label)));
            }
            Store::Files(files) => picture::read(&files[place as usize], |_, _| Ok(()))?,
            Store::Bytes { array, dims: [channels, height, width], channels_last } => {
                let bytes = array.bytes(&[place])?;
                let bytes = if *channels_last {
                    (0..*channels)
                        .flat_map(|channel| bytes.iter().copied().skip(channel).step_by(*channels))
                        .collect()
                } else {
                    bytes
                };
                Picture::of(*height, *width, bytes)
            }
        };
        Ok((picture, label))
    }
}

/// A record of CIFAR-10.
fn record(files: &mut [(PathBuf, File, u64)], place: u64) -> Result<(Picture, u32), InputsError> {
    let index = files.partition_point(|(_, _, end)| *end <= place);
    let before = index.checked_sub(1).map_or(0, |before| files[before].2);
    let (path, file, _) = &mut files[index];
    let unreadable = |source| InputsError::Unreadable { path: path.clone(), source };
    let mut record = vec![0; cifar::RECORD];
    file.seek(SeekFrom::Start((place - before) * cifar::RECORD as u64)).map_err(unreadable)?;
    file.read_exact(&mut record).map_err(unreadable)?;
    let label = record.remove(0);
    if usize::from(label) >= cifar::CLASSES {
        return Err(DataError::Label {
            file: path.clone(),
            index: (place - before) as usize,
            found: u16::from(label),
            classes: cifar::CLASSES,
            reason: "the classes of CIFAR-10",
        }
        .into());
    }
    let [_, height, width] = cifar::DIMS;
    Ok((Picture::of(height, width, record), u32::from(label)))
}
