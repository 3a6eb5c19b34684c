//! Data sets: images with labels, split into a part to train on and a part to test on.
//!
//! [`Source`] names a data set, [`Source::load`] reads it. Reading order: [`Source`], [`Dataset`], [`Preprocessing`];
//! [`Dataset::validation`], [`Dataset::first`] and [`Dataset::scored_on_training`] make another of its parts.
//!
//! To add a published set: its files, checksums and mirrors in `published.rs`, and a variant of [`Source`]. To add a
//! form of folder: a file in this folder that loads it, and its recognition in `folder.rs`.

mod access;
pub(crate) mod checksum;
pub(crate) mod cifar;
mod digits;
mod download;
mod error;
pub(crate) mod folder;
pub(crate) mod idx;
pub(crate) mod image_folder;
mod part;
pub(crate) mod picture;
mod predict;
mod preprocessing;
mod published;
mod source;
mod split;

pub use access::{Access, DownloadProgress, Patience, Unwatched};
pub use error::DataError;
pub use predict::{NamedImage, read_images};
pub use preprocessing::{Preprocessing, PreprocessingError};
pub use source::Source;

/// The largest pixel value of 8-bit images: of every data set but the digits, and of every image file.
pub const IMAGE_WHITE: f32 = 255.0;

/// Where a data set comes from and under what terms.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct About {
    /// Its title.
    pub title: String,
    /// A sentence on what is in it and how it is split.
    pub description: String,
    /// Where it is published.
    pub source: String,
    /// Its licence.
    pub licence: String,
}

/// A data set in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Where it comes from.
    pub about: About,
    /// The number of classes; labels are `0..classes`.
    pub classes: usize,
    /// The name of each class.
    pub class_names: Vec<String>,
    /// Channels, height and width of an image.
    pub dims: [usize; 3],
    /// The largest value that a pixel can have.
    pub white: f32,
    /// The part to train on.
    pub train: Split,
    /// The part to test on.
    pub test: Split,
}

impl Dataset {
    /// What tells these data from others, whatever they are called and wherever they lie: a checksum of dimensions,
    /// labels and pixels.
    pub fn fingerprint(&self) -> String {
        checksum::of(|add| {
            let [channels, height, width] = self.dims;
            add(format!("{channels} {height} {width} {} {}\n", self.classes, self.white).as_bytes());
            for split in [&self.train, &self.test] {
                let labels: Vec<u8> = split.labels().iter().flat_map(|label| label.to_le_bytes()).collect();
                add(&labels);
                add(split.images());
            }
        })
    }

    /// Values per image.
    pub fn pixels(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Images and their labels: a byte for each value, channel plane after channel plane (red, green, blue), image after
/// image. A batch is widened to floats when it is drawn, by [`Preprocessing::apply`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    pixels: usize,
    images: Vec<u8>,
    labels: Vec<u16>,
}

impl Split {
    /// An empty split of images with so many values each.
    pub(crate) fn new(pixels: usize) -> Self {
        Self { pixels, images: Vec::new(), labels: Vec::new() }
    }

    /// A split of images that lie one after the other.
    pub(crate) fn of(pixels: usize, images: Vec<u8>, labels: Vec<u16>) -> Self {
        assert_eq!(images.len(), pixels * labels.len(), "as many images as labels");
        Self { pixels, images, labels }
    }

    pub(crate) fn push(&mut self, image: &[u8], label: u16) {
        assert_eq!(image.len(), self.pixels, "every image has the same size");
        self.images.extend_from_slice(image);
        self.labels.push(label);
    }

    /// Puts the images into an order that is random and always the same: a user's test images come class after class,
    /// and then a batch of them has the statistics of one class, and the first thousand show a few classes only.
    pub(crate) fn shuffle(&mut self) {
        *self = self.at(&split::shuffled(self.len()));
    }

    /// The images at these places, in this order.
    pub(crate) fn at(&self, places: &[usize]) -> Self {
        let mut found = Self::new(self.pixels);
        found.images.reserve_exact(places.len() * self.pixels);
        for &place in places {
            found.push(self.image(place), self.labels[place]);
        }
        found
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Values per image.
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// All pixels, image after image.
    pub fn images(&self) -> &[u8] {
        &self.images
    }

    /// The pixels of one image.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.images[index * self.pixels..(index + 1) * self.pixels]
    }

    /// The label of each image.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }
}
