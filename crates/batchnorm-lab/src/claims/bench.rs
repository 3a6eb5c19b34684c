//! What a task works with: the data and their parts, and what the program lends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::lab::Spectator;
use crate::data::Dataset;

/// A part of the data set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Part {
    /// A part of the training images is held out and scored on, and the test images are not looked at: for every choice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) validation: bool,
    /// Training images, all unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) train: Option<usize>,
    /// Images that are scored on, all unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) test: Option<usize>,
}

/// Does work in a process of its own, and tells the most memory that the process held.
pub trait Meter: Sync {
    /// The peak in bytes of a process that does [`work_in_a_process`](super::work_in_a_process) with this text; or why
    /// there is none.
    ///
    /// # Errors
    ///
    /// If there is no such process, or the system does not say.
    fn peak_bytes(&self, work: &str) -> Result<u64, String>;
}

/// What a task works with.
#[derive(Clone, Copy)]
pub(crate) struct Bench<'a> {
    pub(super) data: &'a Parts<'a>,
    pub(super) spectator: &'a dyn Spectator,
    pub(super) meter: Option<&'a dyn Meter>,
}

impl Bench<'_> {
    /// A part of the data set.
    pub(crate) fn data(&self, part: Part) -> Arc<Dataset> {
        self.data.get(part)
    }

    /// Whether to stop: a long task asks every so often.
    pub(crate) fn wants_to_stop(&self) -> bool {
        self.spectator.wants_to_stop()
    }

    /// Measures memory, where the program can.
    pub(crate) fn meter(&self) -> Option<&dyn Meter> {
        self.meter
    }
}

/// A data set and its parts, each made once.
pub(super) struct Parts<'a> {
    whole: &'a Dataset,
    made: Mutex<HashMap<Part, Arc<Dataset>>>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(whole: &'a Dataset) -> Self {
        Self { whole, made: Mutex::default() }
    }

    fn get(&self, part: Part) -> Arc<Dataset> {
        let mut made = self.made.lock().expect("no thread panics here");
        let make = || {
            let whole = if part.validation { &self.whole.validation() } else { self.whole };
            Arc::new(match (part.train, part.test) {
                (None, None) => whole.clone(),
                (train, test) => whole.first(train, test),
            })
        };
        Arc::clone(made.entry(part).or_insert_with(make))
    }
}

/// Works with a few of the digits, and with nobody who looks on.
#[cfg(test)]
pub(crate) fn on_digits<T>(work: impl FnOnce(&Bench<'_>) -> T) -> T {
    let data =
        crate::data::Source::Digits.load(&mut crate::data::Access::none()).expect("the digits are embedded");
    let data = data.first(Some(200), Some(100));
    work(&Bench { data: &Parts::new(&data), spectator: &super::Unwatched, meter: None })
}
