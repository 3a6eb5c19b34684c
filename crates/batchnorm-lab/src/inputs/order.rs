//! Which samples are taken, and in which order.

use crate::streams::{Purpose, Stream};

/// The order of the samples.
#[derive(Debug)]
pub(super) enum Order {
    /// As they lie: so many of them, or without an end.
    Stored(Option<u64>),
    /// Shuffled: the place of each.
    Shuffled(Vec<u64>),
}

impl Order {
    /// The first `limit` of so many samples, after they were shuffled where there is a seed.
    pub(super) fn new(count: Option<u64>, limit: Option<u64>, shuffle: Option<u64>) -> Self {
        let taken = match (count, limit) {
            (Some(count), Some(limit)) => Some(count.min(limit)),
            (count, limit) => count.or(limit),
        };
        // Numbers without an end are random already.
        let (Some(seed), Some(count), Some(taken)) = (shuffle, count, taken) else {
            return Self::Stored(taken);
        };
        let mut places: Vec<u64> = (0..count).collect();
        Stream::new(seed, Purpose::SampleOrder).shuffle(&mut places);
        places.truncate(taken as usize);
        Self::Shuffled(places)
    }

    pub(super) fn len(&self) -> Option<u64> {
        match self {
            Self::Stored(count) => *count,
            Self::Shuffled(places) => Some(places.len() as u64),
        }
    }

    /// The places of up to `count` samples from `start` on.
    pub(super) fn places(&self, start: u64, count: usize) -> Vec<u64> {
        let end = start.saturating_add(count as u64).min(self.len().unwrap_or(u64::MAX));
        match self {
            Self::Stored(_) => (start..end).collect(),
            Self::Shuffled(places) => places[start.min(end) as usize..end as usize].to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_takes_every_sample_once_and_a_limit_takes_its_first() {
        let all = Order::new(Some(100), None, Some(3)).places(0, 200);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(sorted, all);
        let few = Order::new(Some(100), Some(7), Some(3));
        assert_eq!((few.len(), few.places(0, 100)), (Some(7), all[..7].to_vec()));
        assert_eq!(few.places(5, 100), all[5..7]);
        assert!(few.places(9, 100).is_empty());
        assert_ne!(Order::new(Some(100), None, Some(4)).places(0, 200), all);
    }

    #[test]
    fn without_a_seed_they_come_as_they_lie() {
        assert_eq!(Order::new(Some(5), Some(9), None).places(1, 9), [1, 2, 3, 4]);
        assert_eq!(Order::new(None, None, None).places(7, 2), [7, 8]);
        assert_eq!(Order::new(None, Some(8), Some(1)).places(7, 2), [7]);
    }
}
