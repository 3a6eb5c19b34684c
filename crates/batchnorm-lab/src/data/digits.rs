//! The UCI handwritten digits, as the `smartcore` crate carries them.

use super::split::{TEST_EVERY, stratified};
use super::{About, Dataset, Split};

/// The largest pixel value.
const WHITE: f32 = 16.0;

pub(super) fn about() -> About {
    About {
        title: "Optical Recognition of Handwritten Digits (UCI)".to_owned(),
        description:
            "1797 images of 8x8 pixels, 10 classes, pixels / 16; a fixed stratified shuffle gives 1437 to \
                      train on and 360 to test on"
                .to_owned(),
        source: "https://doi.org/10.24432/C50P49".to_owned(),
        licence: "CC BY 4.0".to_owned(),
    }
}

pub(super) fn load() -> Dataset {
    let raw = smartcore::dataset::digits::load_dataset();
    let pixels = raw.num_features;
    // Whole numbers from 0 to 16, and classes from 0 to 9, that the crate holds as floats.
    let images: Vec<u8> = raw.data.iter().map(|&value| value as u8).collect();
    let labels: Vec<u16> = raw.target.iter().map(|&class| class as u16).collect();
    let part = |indices: Vec<usize>| {
        let mut split = Split::new(pixels);
        for index in indices {
            split.push(&images[index * pixels..(index + 1) * pixels], labels[index]);
        }
        split
    };
    let (train, test) = stratified(&labels, TEST_EVERY);
    Dataset {
        about: about(),
        classes: 10,
        class_names: (0..10).map(|digit: u8| digit.to_string()).collect(),
        dims: [1, 8, 8],
        white: WHITE,
        train: part(train),
        test: part(test),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(split: &Split) -> [usize; 10] {
        let mut counts = [0; 10];
        for &label in split.labels() {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    #[test]
    fn there_are_1797_images_of_8x8_split_into_1437_and_360() {
        let digits = load();
        assert_eq!((digits.train.len(), digits.test.len()), (1437, 360));
        assert_eq!(digits.dims, [1, 8, 8]);
        assert_eq!(digits.train.images().len(), 1437 * 64);
        assert_eq!(digits.test.images().len(), 360 * 64);
    }

    #[test]
    fn pixels_are_whole_numbers_from_0_to_16_as_published() {
        let digits = load();
        assert!(digits.train.images().iter().chain(digits.test.images()).all(|&pixel| pixel <= 16));
        assert!(digits.test.images().contains(&16));
        assert_eq!(digits.white, 16.0);
        let raw = smartcore::dataset::digits::load_dataset();
        assert!(raw.data.iter().all(|value| value.fract() == 0.0));
    }

    #[test]
    fn classes_are_those_of_the_published_set() {
        let digits = load();
        let all: Vec<usize> =
            counts(&digits.train).iter().zip(counts(&digits.test)).map(|(train, test)| train + test).collect();
        assert_eq!(all, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }

    #[test]
    fn the_split_is_stratified() {
        let digits = load();
        for (train, test) in counts(&digits.train).iter().zip(counts(&digits.test)) {
            let share = (train + test) as f64 / 5.0;
            assert!((test as f64 - share).abs() <= 1.0, "{test} of {} to test on", train + test);
        }
    }

    #[test]
    fn no_image_is_in_both_parts_more_often_than_in_the_whole() {
        let digits = load();
        let bytes =
            |split: &Split| -> Vec<Vec<u8>> { (0..split.len()).map(|i| split.image(i).to_vec()).collect() };
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
        let digits = load();
        assert_eq!(digits, load());
        // FNV-1a over the labels in order: pins the split for good.
        let print = |split: &Split| {
            split.labels().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &label| {
                (hash ^ u64::from(label)).wrapping_mul(0x0100_0000_01b3)
            })
        };
        assert_eq!((print(&digits.train), print(&digits.test)), (0x96f6_0524_520f_6cd9, 0xa5e8_6920_4f3c_4365));
    }
}
