//! Running statistics: what evaluation normalizes with, and how a batch enters them.

use crate::coefficients::check_per_channel;
use crate::{BatchNormConfig, Error, Moments, Real, RunningVariance, Tracked};

/// A layer's running mean and variance per channel, and how many batches entered them.
///
/// They are stored in the parameters' type (f32 for f32 data), as every library stores them; the update is
/// computed in f64 and rounded once.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningStatistics<P> {
    /// The running mean of each channel; 0 before the first batch.
    pub mean: Vec<P>,
    /// The running variance of each channel; 1 before the first batch.
    pub variance: Vec<P>,
    /// How many batches entered: PyTorch's `num_batches_tracked`.
    pub batches: u64,
}

/// What became of a batch's statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a skipped update means that the batch held NaN or infinity, or nothing"]
pub enum RunningUpdate {
    /// They entered the running statistics.
    Applied,
    /// There are no running statistics: the layer does not track them, or the statistics were given.
    NotTracked,
    /// The batch was empty: everything stays as it was.
    SkippedEmpty,
    /// Some statistic was NaN or infinite, or would be in the type that running statistics are stored in:
    /// everything stays as it was, in all channels.
    SkippedNonFinite {
        /// The channels concerned.
        channels: Vec<usize>,
    },
}

impl<P: Real> RunningStatistics<P> {
    /// Mean 0, variance 1, no batches: how every library starts.
    pub fn new(channels: usize) -> Self {
        Self { mean: vec![P::ZERO; channels], variance: vec![P::ONE; channels], batches: 0 }
    }

    /// Lets a batch's statistics in, all channels or none.
    ///
    /// ```text
    /// mean     <- w_old mean     + w_new batch mean
    /// variance <- w_old variance + w_new batch variance     (biased or unbiased, as configured)
    /// ```
    ///
    /// with the weights of the configuration's [`Momentum`](crate::Momentum). A statistic that would become NaN
    /// or infinite is not let in.
    ///
    /// # Errors
    ///
    /// [`Error::PerChannelMismatch`] if `batch` has not one entry per channel; nothing has changed then.
    ///
    /// ```
    /// use batchnorm::{BatchNormConfig, Moments, RunningStatistics, RunningUpdate};
    ///
    /// let mut running = RunningStatistics::<f32>::new(1);
    /// let batch = Moments::of(&[2.0f32, 4.0]);
    /// assert_eq!(running.update(&BatchNormConfig::pytorch(), &[batch])?, RunningUpdate::Applied);
    /// assert_eq!((running.mean[0], running.variance[0]), (0.3, 1.1)); // .9 * 1 + .1 * 2
    ///
    /// let poisoned = Moments::of(&[2.0f32, f32::NAN]);
    /// let update = running.update(&BatchNormConfig::pytorch(), &[poisoned])?;
    /// assert_eq!(update, RunningUpdate::SkippedNonFinite { channels: vec![0] });
    /// assert_eq!((running.mean[0], running.batches), (0.3, 1));
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn update(&mut self, config: &BatchNormConfig, batch: &[Moments]) -> Result<RunningUpdate, Error> {
        self.update_tracked(config, batch, Tracked::Variance)
    }

    /// [`update`](Self::update) for a layer that averages what `tracked` says: a renormalized layer may average the standard
    /// deviation.
    ///
    /// ```text
    /// Variance:   variance <- w_old variance + w_new v_B
    /// Sigma:      sigma    <- w_old sigma    + w_new sqrt(v_B + eps),    stored as variance = sigma^2 - eps
    /// ```
    ///
    /// For `Variance`, v_B is of the kind that the configuration keeps. For `Sigma` it is the biased one, whatever the
    /// configuration: batch renormalization compares sigma with the batch's own sqrt(biased variance + eps), and its paper
    /// averages just that (Ioffe 2017, arXiv 1702.03275, Algorithm 1).
    ///
    /// An average of standard deviations is below the root of the average variance, so the two inference statistics differ
    /// where batches do.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update).
    ///
    /// ```
    /// use batchnorm::{BatchNormConfig, Moments, Momentum, RunningStatistics, RunningUpdate, Tracked};
    ///
    /// let config = BatchNormConfig::flax().with_eps(0.0).with_momentum(Momentum::of_new(0.5));
    /// let batch = Moments::of(&[2.0f64, 8.0]); // mean 5, sigma 3
    /// let mut running = RunningStatistics::<f64>::new(1); // mean 0, sigma 1
    /// assert_eq!(running.update_tracked(&config, &[batch], Tracked::Sigma)?, RunningUpdate::Applied);
    /// assert_eq!((running.mean[0], running.variance[0]), (2.5, 4.0)); // sigma (1 + 3) / 2
    ///
    /// let mut running = RunningStatistics::<f64>::new(1);
    /// assert_eq!(running.update_tracked(&config, &[batch], Tracked::Variance)?, RunningUpdate::Applied);
    /// assert_eq!(running.variance[0], 5.0); // (1 + 9) / 2
    /// # Ok::<(), batchnorm::Error>(())
    /// ```
    pub fn update_tracked(
        &mut self,
        config: &BatchNormConfig,
        batch: &[Moments],
        tracked: Tracked,
    ) -> Result<RunningUpdate, Error> {
        check_per_channel("batch", self.mean.len(), Some(batch))?;
        check_per_channel("variance", self.mean.len(), Some(&self.variance))?;
        if batch.iter().all(|moments| moments.count == 0) {
            return Ok(RunningUpdate::SkippedEmpty);
        }
        let (old, new) = config.momentum.weights(self.batches.saturating_add(1));
        // A weight of 0 forgets the old value, whatever it is.
        let average =
            |running: f64, batch: f64| if old == 0.0 { new * batch } else { old * running + new * batch };
        let updated = |running: (&P, &P), batch: &Moments| {
            let mean = average(running.0.to_f64(), batch.mean);
            // The paper's sigma_B is the biased one; so r is 1 where all batches are alike.
            let kind = match tracked {
                Tracked::Sigma => RunningVariance::Biased,
                Tracked::Variance => config.running_variance,
            };
            let (running, batch) = (running.1.to_f64(), batch.variance(kind));
            let variance = average(running, batch);
            let variance = match tracked {
                // As a difference of squares, sigma^2 - eps would lose a variance that is small against eps. The weights add
                // up to 1, so (w_old s + w_new s_B)^2 is the average of the squares less this.
                Tracked::Sigma if old != 0.0 => {
                    let apart = (running + config.eps).sqrt() - (batch + config.eps).sqrt();
                    variance - old * new * apart * apart
                }
                _ => variance,
            };
            (P::from_f64(mean), P::from_f64(variance))
        };
        // A batch enters in all channels or in none: computed once to see whether it may, once more to let it in.
        let enters = |(running, batch): ((&P, &P), &Moments)| {
            let (mean, variance) = updated(running, batch);
            batch.is_finite() && mean.is_finite() && variance.is_finite()
        };
        let channels = || self.mean.iter().zip(&self.variance).zip(batch);
        if !channels().all(enters) {
            let skipped = channels().enumerate().filter(|(_, channel)| !enters(*channel));
            return Ok(RunningUpdate::SkippedNonFinite {
                channels: skipped.map(|(channel, _)| channel).collect(),
            });
        }
        for ((mean, variance), batch) in self.mean.iter_mut().zip(&mut self.variance).zip(batch) {
            (*mean, *variance) = updated((mean, variance), batch);
        }
        self.batches = self.batches.saturating_add(1);
        Ok(RunningUpdate::Applied)
    }
}
