//! Count, mean and sum of squared deviations: the statistics of a channel, as a monoid.

use crate::{Element, RunningVariance};

/// The statistics of a set of values: how many, their mean, and the sum of their squared deviations from it.
///
/// ```text
/// n,    mean = sum(x) / n,    M2 = sum((x - mean)^2)
/// ```
///
/// `Moments` is a monoid: [`Moments::EMPTY`] is its identity and [`Moments::merge`] its operation, so a batch
/// may be split into any parts (SIMD lanes, cache blocks, threads, micro-batches, machines) and the parts
/// merged. All of it is f64: an f32 mean of 1e6 is already wrong by up to 0.03.
///
/// ```
/// use batchnorm::Moments;
///
/// let whole = Moments::of(&[1.0f32, 2.0, 3.0, 4.0, 5.0]);
/// let parts = Moments::of(&[1.0f32, 2.0]).merge(Moments::of(&[3.0f32, 4.0, 5.0]));
/// assert_eq!(whole, parts);
/// assert_eq!((whole.count, whole.mean, whole.m2), (5, 3.0, 10.0));
/// assert_eq!(whole.biased_variance(), 2.0);
/// assert_eq!(whole.unbiased_variance(), 2.5);
/// ```
///
/// Source: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
/// variances"; the batch's own statistics are Ioffe & Szegedy 2015, Algorithm 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Moments {
    /// The number of values, n.
    pub count: u64,
    /// Their mean; 0 when there are none.
    pub mean: f64,
    /// The sum of their squared deviations from the mean, M2.
    pub m2: f64,
}

impl Moments {
    /// The statistics of no values: the identity of [`Moments::merge`].
    pub const EMPTY: Self = Self { count: 0, mean: 0.0, m2: 0.0 };

    /// The statistics of `values`, by two passes in f64: mean first, deviations from it second.
    ///
    /// The mean is taken about the first value, so that equal values have a variance of exactly zero.
    pub fn of<E: Element>(values: &[E]) -> Self {
        let Some(first) = values.first().map(|x| x.to_f64()) else {
            return Self::EMPTY;
        };
        let count = values.len() as f64;
        let mean = first + values.iter().map(|x| x.to_f64() - first).sum::<f64>() / count;
        let m2 = values.iter().map(|x| (x.to_f64() - mean).powi(2)).sum();
        Self { count: values.len() as u64, mean, m2 }
    }

    /// Adds one value (Welford's update). For a slice, [`Moments::of`] is faster and rounds less.
    ///
    /// ```text
    /// delta = x - mean;    mean' = mean + delta / n';    M2' = M2 + delta (x - mean')
    /// ```
    pub fn push(&mut self, value: f64) {
        self.count = self.count.saturating_add(1);
        let delta = value - self.mean;
        self.mean += delta / self.count as f64;
        self.m2 += delta * (value - self.mean);
    }

    /// The statistics of both sets of values together.
    ///
    /// ```text
    /// delta = mean_b - mean_a,    n = n_a + n_b
    /// mean  = mean_a + delta n_b / n
    /// M2    = M2_a + M2_b + delta^2 n_a n_b / n
    /// ```
    ///
    /// Merging is associative and commutative up to rounding; where bits matter, parts are merged in a fixed
    /// order.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if other.count == 0 {
            return self;
        }
        if self.count == 0 {
            return other;
        }
        let count = self.count.saturating_add(other.count);
        let (n_a, n_b, n) = (self.count as f64, other.count as f64, count as f64);
        let delta = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + delta * n_b / n,
            m2: self.m2 + other.m2 + delta * delta * n_a * n_b / n,
        }
    }

    /// `M2 / n`, the variance that training normalizes with; 0 when there are no values.
    pub fn biased_variance(&self) -> f64 {
        self.m2 / self.count.max(1) as f64
    }

    /// `M2 / max(1, n - 1)`, Bessel's correction.
    pub fn unbiased_variance(&self) -> f64 {
        self.m2 / self.count.saturating_sub(1).max(1) as f64
    }

    /// The variance of the given kind.
    pub fn variance(&self, kind: RunningVariance) -> f64 {
        match kind {
            RunningVariance::Unbiased => self.unbiased_variance(),
            RunningVariance::Biased => self.biased_variance(),
        }
    }

    /// Whether mean and M2 are neither NaN nor infinite.
    pub fn is_finite(&self) -> bool {
        self.mean.is_finite() && self.m2.is_finite()
    }
}

impl FromIterator<Moments> for Moments {
    /// Merges all parts, in order.
    fn from_iter<I: IntoIterator<Item = Self>>(parts: I) -> Self {
        parts.into_iter().fold(Self::EMPTY, Self::merge)
    }
}
