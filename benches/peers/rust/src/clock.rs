//! How often an operation is repeated, and the median of its times.

use std::time::{Duration, Instant};

/// The share of the time given that is for warming up.
const WARM_UP: f64 = 0.25;
/// An allocator needs some calls until it has all the memory that a call takes.
const LEAST_WARM_UP: usize = 2;
const LEAST_CALLS: usize = 3;

pub struct Clock {
    budget: Duration,
    times: Vec<f64>,
}

impl Clock {
    pub fn new(seconds: f64) -> Self {
        Self { budget: Duration::from_secs_f64(seconds), times: Vec::new() }
    }

    /// Calls `work`, which says how long its timed part took, until the time is up.
    pub fn repeat<E>(&mut self, mut work: impl FnMut() -> Result<Duration, E>) -> Result<(), E> {
        let start = Instant::now();
        let warm = self.budget.mul_f64(WARM_UP);
        let mut calls = 0;
        while calls < LEAST_WARM_UP || start.elapsed() < warm {
            work()?;
            calls += 1;
        }
        while self.times.len() < LEAST_CALLS || start.elapsed() < self.budget {
            self.times.push(work()?.as_secs_f64() * 1e6);
        }
        Ok(())
    }

    /// Microseconds, as members of a JSON object.
    pub fn figures(&mut self) -> String {
        self.times.sort_by(f64::total_cmp);
        let median = self.times[self.times.len() / 2];
        format!(r#""median_us":{median:.3},"min_us":{:.3},"calls":{}"#, self.times[0], self.times.len())
    }
}

/// The time that `work` takes, and its result, whose release is outside the clock.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
