//! What the statistics are estimated on.

use std::error::Error;

use crate::runtime::Array;

/// Some samples, as the model takes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// An array for each of the model's inputs, by its name; the first axis is the samples'.
    pub inputs: Vec<(String, Array)>,
    /// The class of each sample, where that is known.
    pub labels: Option<Vec<u32>>,
}

/// Samples that can be had at any place and as often as it takes: each pass over the data asks for all of them again.
pub trait Samples {
    /// How many there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether their classes are known.
    fn labelled(&self) -> bool {
        false
    }

    /// The samples from `first` on: exactly `count`, which are there.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    fn batch(&mut self, first: u64, count: usize) -> Result<Batch, Box<dyn Error + Send + Sync>>;

    /// What tells them from other samples, for a run that is gone on with.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    fn fingerprint(&mut self) -> Result<String, Box<dyn Error + Send + Sync>> {
        Ok(String::new())
    }
}
