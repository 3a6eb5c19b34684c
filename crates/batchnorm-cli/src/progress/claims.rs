//! Experiments on claims.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use batchnorm_lab::claims::{Claim, Judged, Spectator, Unfinished};
use indicatif::{ProgressBar, ProgressState};

use super::{bar, shown};
use crate::table;

const TEMPLATE: &str = "{bar:30} {percent} %, {left} left  {msg}";
/// The bar's ticks in a second of one core's work.
const TICKS: f64 = 100.0;

/// A bar over the work that remains, a line for each verdict, and the wish to stop.
pub struct ClaimsProgress {
    stop: Arc<AtomicBool>,
    bar: ProgressBar,
    /// A line for each verdict on the way is wanted: there are several claims, or somebody watches.
    lines: bool,
    begun: AtomicUsize,
    claims: usize,
}

impl ClaimsProgress {
    /// Shown if wanted and the standard error is a terminal; `seconds` of one core's work remain.
    pub fn new(wanted: bool, stop: Arc<AtomicBool>, seconds: f64, claims: usize, threads: usize) -> Self {
        let bar = bar(shown(wanted), Some((seconds * TICKS) as u64), TEMPLATE);
        let left = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let (done, all) = (state.pos() as f64, state.len().unwrap_or_default() as f64);
            let _ = write!(out, "{}", table::claims::duration(left(done, all, state.elapsed(), threads)));
        };
        bar.set_style(bar.style().with_key("left", left));
        let about = Duration::from_secs_f64(seconds / threads as f64);
        if seconds > 0.0 {
            bar.println(format!("about {} of computation to do", table::claims::duration(about)));
        }
        Self { stop, bar, lines: wanted, begun: AtomicUsize::new(0), claims }
    }

    /// A line above the bar, or on the standard error.
    pub fn tell(&self, text: &str) {
        self.bar.suspend(|| crate::output::tell(text));
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The time left: at first by the estimate, then by how long what is done took.
fn left(done: f64, all: f64, elapsed: Duration, threads: usize) -> Duration {
    let elapsed = elapsed.as_secs_f64();
    let seconds = match done > 0.0 {
        true => elapsed / done * (all - done),
        false => all / TICKS / threads as f64 - elapsed,
    };
    Duration::from_secs(seconds.max(0.0).round() as u64)
}

impl Spectator for ClaimsProgress {
    fn claim_begins(&self, claim: &Claim, _seconds: f64) {
        let place = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        self.bar.set_message(format!("{} ({place} of {})", claim.name, self.claims));
    }

    fn task_done(&self, seconds: f64) {
        self.bar.inc((seconds * TICKS) as u64);
    }

    fn claim_judged(&self, judged: &Judged) {
        if self.lines {
            self.tell(&table::claims::line(judged));
        }
    }

    fn claim_unfinished(&self, unfinished: &Unfinished) {
        if self.lines {
            self.tell(&format!("{:<20} {}", unfinished.claim.name, unfinished.why));
        }
    }

    fn wants_to_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_estimated_and_then_measured() {
        let left = |done, seconds| left(done, 100.0 * TICKS, Duration::from_secs(seconds), 2).as_secs();
        assert_eq!(left(0.0, 0), 50);
        assert_eq!(left(0.0, 10), 40);
        assert_eq!(left(0.0, 70), 0);
        // A quarter took 20 seconds, not 12.5.
        assert_eq!(left(25.0 * TICKS, 20), 60);
        assert_eq!(left(100.0 * TICKS, 80), 0);
    }
}
