//! The training images in random order, a batch at a time.

use crate::feed::{Batch, Feed};
use crate::streams::{Purpose, Stream};

/// Full batches, epoch after epoch, each epoch in a new order. Images left over at the end of an epoch, too few
/// for a full batch, are dropped from that epoch.
pub(super) struct Batches<'a> {
    feed: Feed<'a>,
    size: usize,
    stream: Stream,
    order: Vec<usize>,
    next: usize,
}

impl<'a> Batches<'a> {
    pub(super) fn new(feed: Feed<'a>, size: usize, seed: u64) -> Self {
        let order: Vec<usize> = (0..feed.len()).collect();
        let next = order.len();
        Self { feed, size, stream: Stream::new(seed, Purpose::Batches), order, next }
    }

    pub(super) fn draw(&mut self) -> Batch {
        self.advance();
        self.feed.batch(&self.order[self.next - self.size..self.next])
    }

    /// Goes to where `batches` drawn batches would have led.
    pub(super) fn skip(&mut self, batches: usize) {
        for _ in 0..batches {
            self.advance();
        }
    }

    fn advance(&mut self) {
        if self.next + self.size > self.order.len() {
            self.stream.shuffle(&mut self.order);
            self.next = 0;
        }
        self.next += self.size;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Access, Dataset, Preprocessing, Source};

    fn digits() -> (Dataset, Preprocessing) {
        let data = Source::Digits.load(&mut Access::none()).unwrap();
        let preprocessing = Preprocessing::plain(data.white);
        (data, preprocessing)
    }

    #[test]
    fn every_batch_is_full_and_no_image_comes_twice_in_an_epoch() {
        let (data, preprocessing) = digits();
        let mut batches = Batches::new(Feed::new(&data.train, data.dims, &preprocessing), 60, 1);
        let mut seen = Vec::new();
        for _ in 0..1437 / 60 {
            assert_eq!(batches.draw().labels().len(), 60);
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
        let (data, preprocessing) = digits();
        let draw = |seed| Batches::new(Feed::new(&data.train, data.dims, &preprocessing), 60, seed).draw();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn skipping_leads_where_drawing_would_have() {
        let (data, preprocessing) = digits();
        let new = || Batches::new(Feed::new(&data.train, data.dims, &preprocessing), 60, 1);
        let (mut drawn, mut skipped) = (new(), new());
        for _ in 0..30 {
            drawn.draw();
        }
        skipped.skip(30);
        assert_eq!(drawn.draw(), skipped.draw());
    }
}
