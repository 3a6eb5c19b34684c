//! The split of a data set that was published without one.

use crate::streams::{Purpose, Stream};

/// The split is part of the data set: it never changes, and no user's seed reaches it.
pub(super) const SEED: u64 = 0;

/// One image in so many is to test on, of a data set that was published without a split.
pub(super) const TEST_EVERY: usize = 5;

/// Puts images of the given labels into a random order, and one in `every` of each class into the part to test on.
///
/// Returns the places of the images to train on and of those to test on. A class of at least two images has some to
/// train on, one of at least `every` has some to test on.
pub(super) fn stratified(labels: &[u16], every: usize) -> (Vec<usize>, Vec<usize>) {
    let shuffled = shuffled(labels.len());
    let mut by_class = shuffled.clone();
    by_class.sort_by_key(|&index| labels[index]);
    let mut tests = vec![false; labels.len()];
    for &index in by_class.iter().step_by(every) {
        tests[index] = true;
    }
    shuffled.into_iter().partition(|&index| !tests[index])
}

/// So many places in a random order that is always the same.
pub(super) fn shuffled(images: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    Stream::new(SEED, Purpose::Split).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_in_one_part_and_every_class_in_both() {
        let labels: Vec<u16> = (0..53).map(|index| index % 4).collect();
        let (train, test) = stratified(&labels, TEST_EVERY);
        let mut all: Vec<usize> = train.iter().chain(&test).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..53).collect::<Vec<_>>());
        for class in 0..4 {
            let of_class = |part: &[usize]| part.iter().filter(|&&index| labels[index] == class).count();
            assert!((2..=3).contains(&of_class(&test)), "{}", of_class(&test));
        }
    }

    #[test]
    fn a_class_of_two_images_is_trained_on() {
        for lone in 2..9 {
            let labels: Vec<u16> = (0..2 + lone).map(|index| u16::from(index >= lone)).collect();
            let (train, _) = stratified(&labels, TEST_EVERY);
            assert!(train.iter().any(|&index| labels[index] == 1), "{lone}");
        }
    }
}
