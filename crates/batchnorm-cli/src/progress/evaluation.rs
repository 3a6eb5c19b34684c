//! Evaluations.

use batchnorm_lab::evaluate::Watcher;
use indicatif::ProgressBar;

use super::{bar, shown};

/// A bar over the images.
pub struct EvaluationProgress {
    shown: bool,
    bar: ProgressBar,
}

impl EvaluationProgress {
    pub fn new(wanted: bool) -> Self {
        Self { shown: shown(wanted), bar: ProgressBar::hidden() }
    }
}

impl Watcher for EvaluationProgress {
    fn begins(&mut self, what: &str, images: usize) {
        self.bar.finish_and_clear();
        self.bar = bar(self.shown, Some(images as u64), "{msg} {bar:30} {pos}/{len} images, {eta} left");
        self.bar.set_message(what.to_owned());
    }

    fn done(&mut self, images: usize) {
        self.bar.inc(images as u64);
    }
}

impl Drop for EvaluationProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
