//! The training images in random order, a batch at a time.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::data::Split;
use crate::streams::{Purpose, Stream};

/// A batch of images and labels in memory: every twin makes its own tensors of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Batch {
    images: Vec<f32>,
    labels: Vec<i64>,
}

impl Batch {
    pub(super) fn of(split: &Split, indices: &[usize]) -> Self {
        Self {
            images: indices.iter().flat_map(|&index| split.image(index)).copied().collect(),
            labels: indices.iter().map(|&index| i64::from(split.labels()[index])).collect(),
        }
    }

    /// `[batch, pixels]`
    pub(super) fn images(&self, device: &Device) -> Tensor<2> {
        let shape = [self.labels.len(), self.images.len() / self.labels.len()];
        Tensor::from_data(TensorData::new(self.images.clone(), shape), device)
    }

    /// `[batch]`
    pub(super) fn labels(&self, device: &Device) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::new(self.labels.clone(), [self.labels.len()]), device)
    }
}

/// Full batches, epoch after epoch, each epoch in a new order. Images left over at the end of an epoch, too few
/// for a full batch, are dropped from that epoch.
pub(super) struct Batches<'a> {
    split: &'a Split,
    size: usize,
    stream: Stream,
    order: Vec<usize>,
    next: usize,
}

impl<'a> Batches<'a> {
    pub(super) fn new(split: &'a Split, size: usize, seed: u64) -> Self {
        let order: Vec<usize> = (0..split.len()).collect();
        let next = order.len();
        Self { split, size, stream: Stream::new(seed, Purpose::Batches), order, next }
    }

    pub(super) fn draw(&mut self) -> Batch {
        if self.next + self.size > self.order.len() {
            self.stream.shuffle(&mut self.order);
            self.next = 0;
        }
        let indices = &self.order[self.next..self.next + self.size];
        self.next += self.size;
        Batch::of(self.split, indices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Data;

    #[test]
    fn every_batch_is_full_and_no_image_comes_twice_in_an_epoch() {
        let data = Data::Digits.load();
        let mut batches = Batches::new(&data.train, 60, 1);
        let mut seen = Vec::new();
        for _ in 0..1437 / 60 {
            assert_eq!(batches.draw().labels.len(), 60);
            seen.extend_from_slice(&batches.order[batches.next - 60..batches.next]);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1437 / 60 * 60);
        let first = batches.order.clone();
        batches.draw();
        assert_eq!(batches.next, 60);
        assert_ne!(batches.order, first);
    }

    #[test]
    fn the_order_depends_on_the_seed_alone() {
        let data = Data::Digits.load();
        let draw = |seed| Batches::new(&data.train, 60, seed).draw();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
