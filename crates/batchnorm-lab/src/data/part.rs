//! Data sets made of the parts of one: to choose settings without the test images, to train on fewer images.

use std::collections::BTreeMap;

use super::split::{shuffled, stratified};
use super::{About, Dataset, Split};

/// One training image in so many is held out.
const HELD_OUT_EVERY: usize = 6;

impl Dataset {
    /// The training images alone: one in six of each class is held out and takes the place of the test images, which are not
    /// in it at all. Always the same ones, whatever the seed of a run.
    ///
    /// For choosing settings: what was chosen by the test images cannot be judged by them.
    ///
    /// ```
    /// use batchnorm_lab::data::{Access, Source};
    ///
    /// let data = Source::Digits.load(&mut Access::none())?;
    /// let validation = data.validation();
    /// assert_eq!(validation.train.len() + validation.test.len(), data.train.len());
    /// # Ok::<(), batchnorm_lab::data::DataError>(())
    /// ```
    pub fn validation(&self) -> Self {
        let (train, held_out) = stratified(self.train.labels(), HELD_OUT_EVERY);
        let words = format!(
            "of the training images, a fixed stratified one in {HELD_OUT_EVERY}, {}, is held out and takes the place of the test \
             images, and {} are to train on",
            held_out.len(),
            train.len()
        );
        self.with_parts(&words, self.train.at(&train), self.train.at(&held_out))
    }

    /// So many training images, as many of each class as of any other while there are such, and the first so many test
    /// images; `None` is all of them, and so is a number larger than there are.
    ///
    /// Always the same ones, and a smaller number of images is part of a larger one.
    ///
    /// ```
    /// use batchnorm_lab::data::{Access, Source};
    ///
    /// let few = Source::Digits.load(&mut Access::none())?.first(Some(50), Some(100));
    /// assert_eq!((few.train.len(), few.test.len()), (50, 100));
    /// assert_eq!(few.train.labels().iter().filter(|&&label| label == 3).count(), 5);
    /// # Ok::<(), batchnorm_lab::data::DataError>(())
    /// ```
    pub fn first(&self, train: Option<usize>, test: Option<usize>) -> Self {
        let mut words = Vec::new();
        let train = match train.filter(|&images| images < self.train.len()) {
            Some(images) => {
                words.push(format!("{images} of the training images, as many of each class as there are"));
                self.train.at(&balanced(self.train.labels())[..images])
            }
            None => self.train.clone(),
        };
        let test = match test.filter(|&images| images < self.test.len()) {
            Some(images) => {
                words.push(format!("the first {images} of the test images"));
                self.test.at(&(0..images).collect::<Vec<_>>())
            }
            None => self.test.clone(),
        };
        match words.is_empty() {
            true => self.clone(),
            false => self.with_parts(&format!("here {}", words.join(" and ")), train, test),
        }
    }

    /// Tested on the very images that it is trained on, all of them: how well a network fits, not how well it does.
    pub fn scored_on_training(&self) -> Self {
        let words = "the training images take the place of the test images, too";
        self.with_parts(words, self.train.clone(), self.train.clone())
    }

    /// The same with other images, and words on how they were chosen.
    fn with_parts(&self, words: &str, train: Split, test: Split) -> Self {
        let description = format!("{}; {words}", self.about.description);
        Self {
            about: About { description, ..self.about.clone() },
            classes: self.classes,
            class_names: self.class_names.clone(),
            dims: self.dims,
            white: self.white,
            train,
            test,
        }
    }
}

/// The places of images with these labels, one of each class after one of each class, at random within a class.
fn balanced(labels: &[u16]) -> Vec<usize> {
    let mut of_class = BTreeMap::new();
    let mut ranked: Vec<(usize, usize)> = Vec::with_capacity(labels.len());
    for place in shuffled(labels.len()) {
        let rank: &mut usize = of_class.entry(labels[place]).or_default();
        ranked.push((*rank, place));
        *rank += 1;
    }
    // Stable: within a rank, the order stays random.
    ranked.sort_by_key(|&(rank, _)| rank);
    ranked.into_iter().map(|(_, place)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Access, Source};

    fn digits() -> Dataset {
        Source::Digits.load(&mut Access::none()).unwrap()
    }

    fn counts(split: &Split) -> Vec<usize> {
        (0..10).map(|class| split.labels().iter().filter(|&&label| label == class).count()).collect()
    }

    /// Every image with its label, in an order of their own.
    fn sorted(splits: &[&Split]) -> Vec<(Vec<u8>, u16)> {
        let image = |split: &Split, place: usize| (split.image(place).to_vec(), split.labels()[place]);
        let mut all: Vec<_> = splits
            .iter()
            .flat_map(|split| (0..split.len()).map(|place| image(split, place)).collect::<Vec<_>>())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn validation_images_are_training_images_that_are_not_trained_on() {
        let data = digits();
        let validation = data.validation();
        assert_eq!((validation.train.len(), validation.test.len()), (1197, 240));
        // Together they are the training images, each once; no two of these are equal.
        let all = sorted(&[&validation.train, &validation.test]);
        assert_eq!(all, sorted(&[&data.train]));
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(validation, digits().validation());
        assert_ne!(validation.fingerprint(), data.fingerprint());
    }

    #[test]
    fn one_in_six_of_each_class_is_held_out() {
        let validation = digits().validation();
        for (train, held_out) in counts(&validation.train).into_iter().zip(counts(&validation.test)) {
            let share = (train + held_out) as f64 / 6.0;
            assert!((held_out as f64 - share).abs() < 1.0, "{held_out} of {}", train + held_out);
        }
        // The first of them show every class: evaluations on the way look at few.
        let first: Vec<u16> = validation.test.labels()[..60].to_vec();
        assert!((0..10).all(|class| first.contains(&class)), "{first:?}");
    }

    #[test]
    fn fewer_training_images_are_as_many_of_each_class() {
        let data = digits();
        let hundred = data.first(Some(100), None);
        assert_eq!(counts(&hundred.train), [10; 10]);
        assert_eq!(hundred.test, data.test);
        let more = data.first(Some(105), Some(7));
        assert!(counts(&more.train).iter().all(|count| (10..=11).contains(count)), "{:?}", counts(&more.train));
        assert_eq!(
            more.train.images()[..100 * 64],
            *hundred.train.images(),
            "the larger part has the smaller one"
        );
        assert_eq!(more.test.images(), &data.test.images()[..7 * 64]);
        assert_eq!(more.test.labels(), &data.test.labels()[..7]);
        assert_eq!(more, digits().first(Some(105), Some(7)));
        let all = sorted(&[&data.train]);
        let few = sorted(&[&more.train]);
        assert!(few.iter().all(|image| all.contains(image)) && few.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_class_that_runs_out_leaves_its_place_to_the_others() {
        let labels = [0, 0, 0, 0, 0, 0, 1, 2, 2];
        let chosen: Vec<u16> = balanced(&labels)[..6].iter().map(|&place| labels[place]).collect();
        let count = |class| chosen.iter().filter(|&&label| label == class).count();
        assert_eq!([count(0), count(1), count(2)], [3, 1, 2]);
    }

    #[test]
    fn no_fewer_images_than_there_are_is_the_data_set_itself() {
        let data = digits();
        assert_eq!(data.first(None, None), data);
        assert_eq!(data.first(Some(1437), Some(10_000)), data);
    }

    #[test]
    fn training_images_can_take_the_place_of_the_test_images() {
        let data = digits();
        let fitted = data.scored_on_training();
        assert_eq!((&fitted.train, &fitted.test), (&data.train, &data.train));
    }

    #[test]
    fn the_description_says_what_was_done() {
        let data = digits();
        let said = |part: &Dataset, words: &str| {
            let description = &part.about.description;
            assert!(description.starts_with(&data.about.description), "{description}");
            assert!(description.contains(words), "{description}");
            assert_eq!(part.about.title, data.about.title);
        };
        said(&data.validation(), "one in 6, 240, is held out");
        said(&data.first(Some(50), Some(9)), "here 50 of the training images");
        said(&data.first(None, Some(9)), "here the first 9 of the test images");
        said(&data.scored_on_training(), "the training images take the place");
    }
}
