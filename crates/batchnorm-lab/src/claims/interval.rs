//! Numbers over seeds, with their uncertainty.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean over seeds with its 95 % interval, by Student's t.
///
/// ```text
/// value ± t(0.975, n - 1) · s / sqrt(n)
/// ```
///
/// Of ratios the logarithms are averaged, so that twice and half are equally far from equal. The interval says what other
/// seeds would give: not what another data set would.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean, or the geometric mean of ratios.
    pub value: f64,
    /// The low end.
    pub low: f64,
    /// The high end.
    pub high: f64,
    /// The number of seeds.
    pub seeds: usize,
    /// The standardized effect: the mean of the paired differences over their standard deviation (Cohen's d for pairs).
    /// `None` if all seeds gave the same number, or there is but one.
    pub size: Option<f64>,
}

impl Interval {
    /// Of one number per seed.
    pub fn of(values: &[f64]) -> Self {
        let seeds = values.len();
        let mean = values.iter().sum::<f64>() / seeds as f64;
        if seeds < 2 {
            return Self { value: mean, low: f64::NAN, high: f64::NAN, seeds, size: None };
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (seeds - 1) as f64).sqrt();
        let half = quantile(seeds - 1) * deviation / (seeds as f64).sqrt();
        let size = (deviation > 1e-12 * mean.abs()).then(|| mean / deviation);
        Self { value: mean, low: mean - half, high: mean + half, seeds, size }
    }

    /// Of the differences of pairs, `with - without`, seed by seed.
    ///
    /// # Panics
    ///
    /// If there are not as many of the one as of the other.
    pub fn of_differences(with: &[f64], without: &[f64]) -> Self {
        assert_eq!(with.len(), without.len(), "pairs of the same seeds");
        Self::of(&with.iter().zip(without).map(|(with, without)| with - without).collect::<Vec<_>>())
    }

    /// Of the ratios of pairs, `above / below`, seed by seed, all positive: the geometric mean.
    ///
    /// # Panics
    ///
    /// If there are not as many of the one as of the other.
    pub fn of_ratios(above: &[f64], below: &[f64]) -> Self {
        assert_eq!(above.len(), below.len(), "pairs of the same seeds");
        Self::of_positive(&above.iter().zip(below).map(|(above, below)| above / below).collect::<Vec<_>>())
    }

    /// Of positive numbers, ratios say: the geometric mean.
    pub fn of_positive(values: &[f64]) -> Self {
        let logs = Self::of(&values.iter().map(|value| value.ln()).collect::<Vec<_>>());
        Self { value: logs.value.exp(), low: logs.low.exp(), high: logs.high.exp(), ..logs }
    }

    /// The number with its interval, with so many decimals: `3.2 (2.9 to 3.5)`.
    pub fn in_words(&self, decimals: usize, unit: &str) -> String {
        let Self { value, low, high, .. } = self;
        match low.is_finite() && high.is_finite() {
            true => format!("{value:.decimals$}{unit} ({low:.decimals$} to {high:.decimals$})"),
            false => format!("{value:.decimals$}{unit}"),
        }
    }
}

/// The 97.5th percentile of Student's t with so many degrees of freedom.
fn quantile(freedom: usize) -> f64 {
    StudentsT::new(0.0, 1.0, freedom as f64).expect("at least one degree of freedom").inverse_cdf(0.975)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-3, "{found} against {expected}");
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (freedom, expected) in [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042)] {
            close(quantile(freedom), expected);
        }
    }

    #[test]
    fn an_interval_is_the_textbooks() {
        // Mean 3, deviation sqrt(2.5): 3 ± 2.776 sqrt(2.5 / 5).
        let interval = Interval::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        close(interval.low, 3.0 - 1.963);
        close(interval.high, 3.0 + 1.963);
        close(interval.size.unwrap(), 3.0 / 2.5_f64.sqrt());
    }

    #[test]
    fn ratios_are_averaged_as_logarithms() {
        let interval = Interval::of_ratios(&[2.0, 1.0, 1.0], &[1.0, 1.0, 2.0]);
        close(interval.value, 1.0);
        close(interval.low * interval.high, 1.0);
        assert!(interval.low < 1.0 && interval.size.unwrap().abs() < 1e-12);
    }

    #[test]
    fn one_seed_has_no_interval_and_equal_seeds_no_size() {
        assert!(Interval::of(&[1.0]).low.is_nan());
        assert!(Interval::of(&[]).value.is_nan());
        let equal = Interval::of(&[0.1, 0.1, 0.1]);
        close(equal.low, 0.1);
        assert_eq!(equal.size, None);
        assert_eq!(Interval::of_differences(&[1.5, 2.5], &[1.0, 2.0]).value, 0.5);
    }
}
