//! How far two correct results may lie apart, derived from their inputs and not fitted to what came out.
//!
//! Write u for half a unit in the last place (2^-53 in f64, 2^-24 in f32), m for the values per channel, s for
//! the standard deviation and X for the largest |x|. A sum of m terms is off by at most (m - 1) u times the sum
//! of their magnitudes, in whatever order it is taken, and each of the two results compared may be off by that:
//!
//! - a batch mean by `2 (m + 8) u X`, the 8 for the few operations around the sum;
//! - a batch variance by `2 (m + 8) u (s^2 + s X)` from deviations, but by `2 (m + 8) u X^2` as
//!   E[x^2] - E[x]^2, which is what Flax computes unless told otherwise;
//! - running statistics by what the old value and the batch's are off, weighted, and by 8 roundings of their own type.
//!
//! Everything else follows to first order. With xhat = r (x - mean), r = 1/sqrt(variance + eps), a = gamma r,
//! and e(...) for an error, e(r)/r = e(variance) / 2(variance + eps) and
//!
//! ```text
//! e(xhat)    = r e(mean) + |xhat| e(r)/r
//! e(y)       = |gamma| e(xhat)
//! e(d gamma) = sum|dy| e(xhat)
//! e(dx)      = |a| max|dy| (e(r)/r (2 + |xhat|) + 2 e(xhat) (1 + |xhat|))
//! ```
//!
//! each plus 8 roundings of the terms that it is made of. The libraries' figures are f64 results, always. They
//! may compute y as `a x + (beta - a mean)` (PyTorch and Keras do), which costs `u r X` of f64. The engine's
//! f32 results get no such allowance: whatever the mean, they must be right to 8 u of |xhat| in f32. Only a
//! *stored* f32 running mean is off by u of itself, which evaluation then shows.

use crate::case::{Case, Step};

/// Half a unit in the last place of f64, which statistics and gradient sums are computed in.
const U64: f64 = f64::EPSILON / 2.0;
/// Roundings granted to a formula of a few operations.
const FEW: f64 = 8.0;

/// Statistics of one channel, and by how much two correct ones may differ.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    mean: f64,
    variance: f64,
    mean_error: f64,
    variance_error: f64,
}

impl Statistics {
    /// What every layer starts from, exactly.
    pub const INITIAL: Self = Self { mean: 0.0, variance: 1.0, mean_error: 0.0, variance_error: 0.0 };

    /// Statistics that were given, the same to both.
    pub fn given(mean: f64, variance: f64) -> Self {
        Self { mean, variance, ..Self::INITIAL }
    }

    /// The batch's statistics, for training.
    pub fn of_batch(x: &[f64], fast_variance: bool) -> Self {
        let m = x.len() as f64;
        let largest = largest(x);
        let mean = x.iter().sum::<f64>() / m;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / m;
        let sums = 2.0 * (m + FEW) * U64;
        let condition = if fast_variance { largest * largest } else { variance + variance.sqrt() * largest };
        Self { mean, variance, mean_error: sums * largest, variance_error: sums * condition }
    }

    /// Running statistics after one more batch; `bessel` is n/(n - 1) or 1, `unit` the stored type's u.
    pub fn updated(self, batch: Self, (old, new): (f64, f64), bessel: f64, unit: f64) -> Self {
        let next = |value: f64, error: f64, batch: f64, batch_error: f64| {
            let (kept, added) = (old * value, new * batch);
            let rounding = FEW * unit * (kept.abs() + added.abs());
            (kept + added, old.abs() * error + new.abs() * batch_error + rounding)
        };
        let (mean, mean_error) = next(self.mean, self.mean_error, batch.mean, batch.mean_error);
        let (variance, variance_error) =
            next(self.variance, self.variance_error, bessel * batch.variance, bessel * batch.variance_error);
        Self { mean, variance, mean_error, variance_error }
    }

    /// How far two running means and two running variances may lie apart.
    pub fn errors(&self) -> (f64, f64) {
        (self.mean_error, self.variance_error)
    }
}

/// How far the results of one pass may lie apart in one channel.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub y: f64,
    pub dx: f64,
    pub dgamma: f64,
    pub dbeta: f64,
}

/// One channel of a pass, as f64.
#[derive(Debug)]
pub struct Channel {
    pub x: Vec<f64>,
    dy: Vec<f64>,
    gamma: f64,
    beta: f64,
    eps: f64,
    /// u of the type that the engine's maps compute in.
    unit: f64,
}

impl Channel {
    pub fn of<P: Copy + Into<f64>>(case: &Case<P>, step: &Step<P>, channel: usize, unit: f64) -> Self {
        let parameter =
            |values: &Option<Vec<P>>, missing| values.as_ref().map_or(missing, |v| v[channel].into());
        let pick = |values: &[P]| {
            let all = values.iter().enumerate();
            let mine = all.filter(|(index, _)| index / case.shape.inner() % case.shape.channels() == channel);
            mine.map(|(_, &value)| value.into()).collect()
        };
        Self {
            x: pick(&step.x),
            dy: pick(&step.dy),
            gamma: parameter(&case.gamma, 1.0),
            beta: parameter(&case.beta, 0.0),
            eps: case.config.eps,
            unit,
        }
    }

    /// The bounds when this channel is normalized with `statistics`.
    pub fn bounds(&self, statistics: &Statistics) -> Bounds {
        let m = self.x.len() as f64;
        let &Statistics { mean, variance, mean_error, variance_error } = statistics;
        let rstd = 1.0 / (variance + self.eps).sqrt();
        let xhat = self.x.iter().map(|x| rstd * (x - mean)).fold(0.0, |a: f64, b| a.max(b.abs()));
        let dy = largest(&self.dy);
        let sum_dy: f64 = self.dy.iter().map(|dy| dy.abs()).sum();
        let sums = 2.0 * (m + FEW) * U64;

        let rstd_error = variance_error / (2.0 * (variance + self.eps)) + FEW * self.unit;
        let uncentred = FEW * U64 * (largest(&self.x) + mean.abs());
        let xhat_error = rstd * (mean_error + uncentred) + xhat * rstd_error;
        let gamma = self.gamma.abs();
        Bounds {
            y: gamma * xhat_error + FEW * self.unit * (gamma * xhat + self.beta.abs()),
            dx: gamma * rstd * dy * (rstd_error * (2.0 + xhat) + (2.0 * xhat_error + sums) * (1.0 + xhat)),
            dgamma: sum_dy * (xhat_error + sums * xhat),
            dbeta: sum_dy * sums,
        }
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}
