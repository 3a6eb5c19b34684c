//! Algorithm 2 of the paper: population statistics, estimated over many training batches.

use crate::coefficients::check_per_channel;
use crate::{Error, Moments, Real, RunningStatistics};

/// Population statistics by the paper's Algorithm 2 (Ioffe & Szegedy 2015, steps 9 and 10).
///
/// ```text
/// E[x]   = mean over batches of the batch mean
/// Var[x] = mean over batches of m/(m-1) times the biased batch variance
/// ```
///
/// After training, the network runs over many training batches with its weights fixed; what this collects
/// replaces the running averages, which the paper uses only to track accuracy meanwhile. For batches of one
/// size this is the paper's formula to the letter; otherwise each batch has its own m and weighs alike.
///
/// ```
/// use batchnorm::{Moments, Population};
///
/// let mut population = Population::new();
/// population.push(&[Moments::of(&[1.0f32, 3.0])])?;
/// population.push(&[Moments::of(&[5.0f32, 5.0])])?;
/// let statistics = population.finish::<f32>()?;
/// assert_eq!((statistics.mean[0], statistics.variance[0], statistics.batches), (3.5, 1.0, 2));
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Population {
    /// Sums over batches of the mean and of the unbiased variance, per channel.
    sums: Vec<(f64, f64)>,
    batches: u64,
    skipped: u64,
}

impl Population {
    /// An estimate over no batches yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets one batch's statistics in. A batch of fewer than two values per channel has no unbiased variance,
    /// and one with a NaN or infinite statistic would spoil the rest: both are skipped and counted.
    ///
    /// # Errors
    ///
    /// [`Error::PerChannelMismatch`] if the batch has not as many channels as the first one that entered.
    pub fn push(&mut self, batch: &[Moments]) -> Result<(), Error> {
        if self.batches > 0 {
            check_per_channel("batch", self.sums.len(), Some(batch))?;
        }
        if batch.iter().any(|moments| moments.count < 2 || !moments.is_finite()) {
            self.skipped += 1;
            return Ok(());
        }
        self.sums.resize(batch.len(), (0.0, 0.0));
        for ((mean, variance), moments) in self.sums.iter_mut().zip(batch) {
            *mean += moments.mean;
            *variance += moments.unbiased_variance();
        }
        self.batches += 1;
        Ok(())
    }

    /// How many batches entered.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// How many batches were skipped.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The estimate, in the form that evaluation uses.
    ///
    /// # Errors
    ///
    /// [`Error::NoBatches`] if no batch entered, [`Error::StatisticOverflow`] if an estimate does not fit `P`.
    pub fn finish<P: Real>(&self) -> Result<RunningStatistics<P>, Error> {
        if self.batches == 0 {
            return Err(Error::NoBatches);
        }
        let batches = self.batches as f64;
        let mut statistics = RunningStatistics::new(self.sums.len());
        statistics.batches = self.batches;
        for (channel, (mean, variance)) in self.sums.iter().enumerate() {
            let (mean, variance) = (mean / batches, variance / batches);
            statistics.mean[channel] = P::from_f64(mean);
            statistics.variance[channel] = P::from_f64(variance);
            if !(statistics.mean[channel].is_finite() && statistics.variance[channel].is_finite()) {
                return Err(Error::StatisticOverflow { channel, mean, variance });
            }
        }
        Ok(statistics)
    }
}
