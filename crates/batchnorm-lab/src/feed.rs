//! Images as a network takes them: a batch of any of them, preprocessed.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::data::{Preprocessing, Split};

/// Part of a data set with what is done to its pixels.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a> {
    split: &'a Split,
    dims: [usize; 3],
    preprocessing: &'a Preprocessing,
}

impl<'a> Feed<'a> {
    /// Images of these dimensions (channels, height, width) with this done to them.
    pub fn new(split: &'a Split, dims: [usize; 3], preprocessing: &'a Preprocessing) -> Self {
        Self { split, dims, preprocessing }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.split.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.split.is_empty()
    }

    /// The images at these places, in this order.
    pub fn batch(&self, places: &[usize]) -> Batch {
        let mut images = Vec::with_capacity(places.len() * self.dims.iter().product::<usize>());
        let mut pixels = Vec::with_capacity(images.capacity());
        for &place in places {
            pixels.extend_from_slice(self.split.image(place));
        }
        self.preprocessing.apply(self.dims, &pixels, &mut images);
        let labels = places.iter().map(|&place| self.split.labels()[place]).collect();
        Batch { dims: self.dims, images, labels }
    }
}

/// A batch of images and labels in memory: every twin makes its own tensors of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    dims: [usize; 3],
    images: Vec<f32>,
    labels: Vec<u16>,
}

impl Batch {
    /// Values as a network takes them, image after image, with their labels.
    pub(crate) fn of(dims: [usize; 3], images: Vec<f32>, labels: Vec<u16>) -> Self {
        assert_eq!(images.len(), dims.iter().product::<usize>() * labels.len(), "as many images as labels");
        Self { dims, images, labels }
    }

    /// Images of nobody knows what class: pixels as they were read.
    pub fn unlabelled<'p>(
        dims: [usize; 3],
        preprocessing: &Preprocessing,
        pixels: impl Iterator<Item = &'p [u8]>,
    ) -> Self {
        let mut all = Vec::new();
        let labels = pixels.map(|pixels| all.extend_from_slice(pixels)).map(|()| 0).collect();
        let mut images = Vec::with_capacity(all.len());
        preprocessing.apply(dims, &all, &mut images);
        Self { dims, images, labels }
    }

    /// `[batch, channels, height, width]`
    pub fn images(&self, device: &Device) -> Tensor<4> {
        let [channels, height, width] = self.dims;
        let shape = [self.labels.len(), channels, height, width];
        Tensor::from_data(TensorData::new(self.images.clone(), shape), device)
    }

    /// All values, image after image.
    pub fn pixels(&self) -> &[f32] {
        &self.images
    }

    /// `[batch]`
    pub fn targets(&self, device: &Device) -> Tensor<1, Int> {
        let labels: Vec<i64> = self.labels.iter().map(|&label| i64::from(label)).collect();
        Tensor::from_data(TensorData::new(labels, [self.labels.len()]), device)
    }

    /// The label of each image.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }
}
