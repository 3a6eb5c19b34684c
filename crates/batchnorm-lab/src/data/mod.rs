//! Data sets: images with labels, split into a part to train on and a part to test on.
//!
//! To add one: a file in this folder that loads it, a variant of [`Data`], and its arms in [`Data::about`] and
//! [`Data::load`].

mod digits;

use crate::names::named;

named! {
    /// The data sets there are.
    pub enum Data, "data set" {
        /// UCI handwritten digits, embedded: 1797 images of 8x8.
        Digits = "digits",
    }
}

/// Where a data set comes from and under what terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its title.
    pub title: &'static str,
    /// A sentence on what is in it and how it is split.
    pub description: &'static str,
    /// Where it is published.
    pub source: &'static str,
    /// Its licence.
    pub licence: &'static str,
}

impl Data {
    /// Where the data set comes from and under what terms.
    pub const fn about(self) -> About {
        match self {
            Self::Digits => digits::ABOUT,
        }
    }

    /// Loads the data set.
    pub fn load(self) -> Dataset {
        match self {
            Self::Digits => digits::load(),
        }
    }
}

/// A data set in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The number of classes; labels are `0..classes`.
    pub classes: usize,
    /// Channels, height and width of an image.
    pub dims: [usize; 3],
    /// The part to train on.
    pub train: Split,
    /// The part to test on.
    pub test: Split,
}

impl Dataset {
    /// Values per image.
    pub fn pixels(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Images and their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pixels: usize,
    images: Vec<f32>,
    labels: Vec<u8>,
}

impl Split {
    /// An empty split of images with so many values each.
    fn new(pixels: usize) -> Self {
        Self { pixels, images: Vec::new(), labels: Vec::new() }
    }

    fn push(&mut self, image: &[f32], label: u8) {
        debug_assert_eq!(image.len(), self.pixels);
        self.images.extend_from_slice(image);
        self.labels.push(label);
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// All pixels, image after image.
    pub fn images(&self) -> &[f32] {
        &self.images
    }

    /// The pixels of one image.
    pub fn image(&self, index: usize) -> &[f32] {
        &self.images[index * self.pixels..(index + 1) * self.pixels]
    }

    /// The label of each image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }
}
