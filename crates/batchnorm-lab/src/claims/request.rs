//! What was asked for, and the data it was asked of.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Source};

/// What was asked for: how many seeds, how long, on which data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The data set.
    pub data: Source,
    /// Short runs.
    pub quick: bool,
    /// Seeds `1..=seeds`.
    pub seeds: NonZeroUsize,
}

impl Request {
    /// Seeds unless said otherwise.
    pub const fn default_seeds(quick: bool) -> usize {
        if quick { 3 } else { 5 }
    }

    /// The command that carries claims out, or again.
    pub fn command(&self, names: &str) -> String {
        let mut command = format!("batchnorm claims run {names}");
        if self.quick {
            command += " --quick";
        }
        if self.data != Source::Digits {
            command += &format!(" --data {}", shell(&self.data.to_string()));
        }
        if self.seeds.get() != Self::default_seeds(self.quick) {
            command += &format!(" --seeds {}", self.seeds);
        }
        command
    }
}

/// A word as a shell takes it.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// What an experiment may know of the data when it is planned: not the data themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The data set's title.
    pub title: String,
    /// Where it comes from.
    pub source: String,
    /// Its licence.
    pub licence: String,
    /// What tells it from others.
    pub fingerprint: String,
    /// Channels, height and width of an image.
    pub dims: [usize; 3],
    /// Classes.
    pub classes: usize,
    /// Training images.
    pub train: usize,
    /// Test images.
    pub test: usize,
}

impl Facts {
    /// Of a data set.
    pub fn of(data: &Dataset) -> Self {
        Self {
            title: data.about.title.clone(),
            source: data.about.source.clone(),
            licence: data.about.licence.clone(),
            fingerprint: data.fingerprint(),
            dims: data.dims,
            classes: data.classes,
            train: data.train.len(),
            test: data.test.len(),
        }
    }

    /// The accuracy of a network that has learned nothing: what a diverged run is counted as.
    pub fn chance(&self) -> f64 {
        1.0 / self.classes as f64
    }
}
