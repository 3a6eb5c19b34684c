//! Rows of a benchmark, and the share of a check.

use indicatif::ProgressBar;

use super::{bar, shown};

/// A bar over rows.
pub struct Rows(ProgressBar);

impl Rows {
    pub fn new(wanted: bool, rows: usize) -> Self {
        Self(bar(shown(wanted), Some(rows as u64), "{bar:30} {pos}/{len} rows, {eta} left  {msg}"))
    }

    pub fn begins(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }

    pub fn done(&self) {
        self.0.inc(1);
    }

    /// Does something while the bar is out of the way.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.suspend(work)
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar over a share.
pub struct Share(ProgressBar);

impl Share {
    const TICKS: f64 = 1000.0;

    pub fn new(wanted: bool) -> Self {
        Self(bar(shown(wanted), Some(Self::TICKS as u64), "{bar:30} {percent} %, {eta} left  {msg}"))
    }

    pub fn at(&self, share: f64, what: &str) {
        self.0.set_position((share * Self::TICKS) as u64);
        self.0.set_message(what.to_owned());
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
