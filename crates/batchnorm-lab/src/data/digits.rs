//! The UCI handwritten digits, as the `smartcore` crate carries them.

use super::{About, Dataset, Split};
use crate::streams::{Purpose, Stream};

pub(super) const ABOUT: About = About {
    title: "Optical Recognition of Handwritten Digits (UCI)",
    description: "1797 images of 8x8 pixels, 10 classes, pixels / 16; a fixed stratified shuffle gives 1437 to train \
                  on and 360 to test on",
    source: "https://doi.org/10.24432/C50P49",
    licence: "CC BY 4.0",
};

/// The split is part of the data set: it never changes, and no user's seed reaches it.
const SPLIT_SEED: u64 = 0;

/// One image in so many is to test on.
const TEST_EVERY: usize = 5;

/// The largest pixel value.
const WHITE: f32 = 16.0;

pub(super) fn load() -> Dataset {
    let raw = smartcore::dataset::digits::load_dataset();
    let pixels = raw.num_features;
    let label = |index: usize| raw.target[index] as u8;

    let mut shuffled: Vec<usize> = (0..raw.num_samples).collect();
    Stream::new(SPLIT_SEED, Purpose::Split).shuffle(&mut shuffled);
    let mut by_class = shuffled.clone();
    by_class.sort_by_key(|&index| label(index));
    let mut tests = vec![false; raw.num_samples];
    for &index in by_class.iter().step_by(TEST_EVERY) {
        tests[index] = true;
    }

    let mut train = Split::new(pixels);
    let mut test = Split::new(pixels);
    let mut image = vec![0.0; pixels];
    for index in shuffled {
        for (to, from) in image.iter_mut().zip(&raw.data[index * pixels..]) {
            *to = from / WHITE;
        }
        let split = if tests[index] { &mut test } else { &mut train };
        split.push(&image, label(index));
    }
    Dataset { classes: 10, dims: [1, 8, 8], train, test }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Data;

    fn counts(split: &Split) -> [usize; 10] {
        let mut counts = [0; 10];
        for &label in split.labels() {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    #[test]
    fn there_are_1797_images_of_8x8_split_into_1437_and_360() {
        let digits = Data::Digits.load();
        assert_eq!((digits.train.len(), digits.test.len()), (1437, 360));
        assert_eq!(digits.dims, [1, 8, 8]);
        assert_eq!(digits.train.images().len(), 1437 * 64);
        assert_eq!(digits.test.images().len(), 360 * 64);
    }

    #[test]
    fn pixels_are_sixteenths_from_0_to_1() {
        let digits = Data::Digits.load();
        for pixel in digits.train.images().iter().chain(digits.test.images()) {
            assert!((0.0..=1.0).contains(pixel), "{pixel}");
            assert_eq!((pixel * 16.0).fract(), 0.0);
        }
        assert!(digits.test.images().contains(&1.0));
    }

    #[test]
    fn classes_are_those_of_the_published_set() {
        let digits = Data::Digits.load();
        let all: Vec<usize> =
            counts(&digits.train).iter().zip(counts(&digits.test)).map(|(train, test)| train + test).collect();
        assert_eq!(all, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }

    #[test]
    fn the_split_is_stratified() {
        let digits = Data::Digits.load();
        for (train, test) in counts(&digits.train).iter().zip(counts(&digits.test)) {
            let share = (train + test) as f64 / 5.0;
            assert!((test as f64 - share).abs() <= 1.0, "{test} of {} to test on", train + test);
        }
    }

    #[test]
    fn no_image_is_in_both_parts_more_often_than_in_the_whole() {
        let digits = Data::Digits.load();
        let bytes = |split: &Split| -> Vec<Vec<u8>> {
            (0..split.len()).map(|i| split.image(i).iter().map(|p| (p * 16.0) as u8).collect()).collect()
        };
        let mut all = bytes(&digits.train);
        all.extend(bytes(&digits.test));
        all.sort();
        let mut raw: Vec<Vec<u8>> = smartcore::dataset::digits::load_dataset()
            .data
            .chunks(64)
            .map(|image| image.iter().map(|&p| p as u8).collect())
            .collect();
        raw.sort();
        assert_eq!(all, raw);
    }

    #[test]
    fn the_split_never_changes() {
        let digits = Data::Digits.load();
        assert_eq!(digits, Data::Digits.load());
        // FNV-1a over the labels in order: pins the split for good.
        let print = |split: &Split| {
            split.labels().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &label| {
                (hash ^ u64::from(label)).wrapping_mul(0x0100_0000_01b3)
            })
        };
        assert_eq!((print(&digits.train), print(&digits.test)), (0x96f6_0524_520f_6cd9, 0xa5e8_6920_4f3c_4365));
    }
}
