//! From calls to a time.

use std::time::Instant;

/// A sample lasts at least so many seconds: a clock's tick and the call of the clock vanish in it.
const SAMPLE: f64 = 50e-6;
/// Warming up lasts at least so many seconds.
const WARM_UP: f64 = 1e-3;
/// Before each sample, calls that are shorter than this find the cache as they leave it themselves: what a copy past the
/// cache threw out of it is not theirs to bring back. Longer ones move more than caches hold.
const CACHED: f64 = 5e-3;
/// So many calls of them, untimed: one is not enough where the last cache holds what the one before it has thrown out (on Xeons,
/// an evaluation of 6 MB took 1.3 times as long after one call).
const SETTLING: usize = 4;
/// No call is too short for this many of it.
const MOST_CALLS: f64 = 1e6;

/// Seconds of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// The median of the samples.
    pub median: f64,
    /// The fastest sample.
    pub fastest: f64,
    /// How many samples there are.
    pub samples: usize,
}

/// Takes samples of calls, each of so many that the clock can tell.
pub(super) struct Sampler {
    calls: usize,
    cached: bool,
    samples: Vec<f64>,
}

impl Sampler {
    /// Warms up, and sees how long a call takes.
    pub(super) fn warm_up<T>(mut call: impl FnMut() -> Result<(), T>) -> Result<Self, T> {
        let (begin, mut fastest) = (Instant::now(), f64::INFINITY);
        let mut calls = 0;
        while calls < 2 || begin.elapsed().as_secs_f64() < WARM_UP {
            let start = Instant::now();
            call()?;
            fastest = fastest.min(start.elapsed().as_secs_f64());
            calls += 1;
        }
        let calls = (SAMPLE / fastest).clamp(1.0, MOST_CALLS).ceil() as usize;
        Ok(Self { calls, cached: fastest < CACHED, samples: Vec::new() })
    }

    /// Takes samples of single calls, without warming up: for what is slow.
    pub(super) fn cold() -> Self {
        Self { calls: 1, cached: false, samples: Vec::new() }
    }

    /// Takes one sample.
    pub(super) fn sample<T>(&mut self, mut call: impl FnMut() -> Result<(), T>) -> Result<(), T> {
        for _ in 0..if self.cached { SETTLING } else { 0 } {
            call()?;
        }
        let start = Instant::now();
        for _ in 0..self.calls {
            call()?;
        }
        self.samples.push(start.elapsed().as_secs_f64() / self.calls as f64);
        Ok(())
    }

    /// What the samples say.
    ///
    /// # Panics
    ///
    /// Without samples.
    pub(super) fn timing(mut self) -> Timing {
        self.samples.sort_by(f64::total_cmp);
        let samples = self.samples.len();
        let (low, high) = (self.samples[(samples - 1) / 2], self.samples[samples / 2]);
        Timing { median: (low + high) / 2.0, fastest: self.samples[0], samples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timing_is_the_median_and_the_fastest_of_the_samples() {
        let timing = |samples: &[f64]| Sampler { calls: 1, cached: false, samples: samples.to_vec() }.timing();
        assert_eq!(timing(&[3.0, 1.0, 2.0]), Timing { median: 2.0, fastest: 1.0, samples: 3 });
        assert_eq!(timing(&[4.0, 1.0, 2.0, 100.0]).median, 3.0);
    }

    #[test]
    fn short_calls_are_repeated_and_errors_end_it() {
        let mut calls = 0;
        let mut sampler = Sampler::warm_up(|| {
            calls += 1;
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(calls >= 2);
        calls = 0;
        sampler
            .sample(|| {
                calls += 1;
                Ok::<_, ()>(())
            })
            .unwrap();
        assert!(calls > 10 && sampler.timing().median < SAMPLE, "{calls}");
        assert_eq!(Sampler::warm_up(|| Err("no")).err(), Some("no"));
    }
}
