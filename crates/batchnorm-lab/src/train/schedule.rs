//! How the learning rate changes over a run.

use crate::names::named;

named! {
    /// How the learning rate changes over a run.
    pub enum Schedule, "schedule" {
        /// It does not.
        Constant = "constant",
        /// Multiplied by the factor at once, after every so many steps.
        Step = "step",
        /// Multiplied by the factor over every so many steps, a little at each.
        Exponential = "exponential",
        /// Half a cosine wave from the learning rate down to 0 at the last step (Loshchilov & Hutter 2017, without
        /// restarts).
        Cosine = "cosine",
    }
}

impl Schedule {
    /// The learning rate of a step, the first being 1.
    ///
    /// ```text
    /// constant      rate
    /// step          rate factor^floor((step - 1) / every)
    /// exponential   rate factor^((step - 1) / every)
    /// cosine        rate (1 + cos(pi (step - 1) / steps)) / 2
    /// ```
    ///
    /// A function of the step alone, so that a run that goes on after an interruption needs no memory of it.
    ///
    /// ```
    /// use batchnorm_lab::train::{Decay, Schedule};
    ///
    /// let decay = Decay { every: 100, factor: 0.5 };
    /// let rates = [1, 100, 101, 201].map(|step| Schedule::Step.rate(0.8, decay, step, 1000));
    /// assert_eq!(rates, [0.8, 0.8, 0.4, 0.2]);
    /// ```
    pub fn rate(self, rate: f64, decay: Decay, step: usize, steps: usize) -> f64 {
        let taken = (step - 1) as f64;
        match self {
            Self::Constant => rate,
            Self::Step => rate * decay.factor.powi(((step - 1) / decay.every.max(1)).min(1 << 30) as i32),
            Self::Exponential => rate * decay.factor.powf(taken / decay.every as f64),
            Self::Cosine => rate * 0.5 * (1.0 + (std::f64::consts::PI * taken / steps as f64).cos()),
        }
    }

    /// Whether the number of steps changes the rate on the way: a run of more steps is then another run from the
    /// first step on.
    pub fn depends_on_the_end(self) -> bool {
        self == Self::Cosine
    }

    /// Whether [`Decay`] says anything about it.
    pub fn decays(self) -> bool {
        matches!(self, Self::Step | Self::Exponential)
    }
}

/// What the schedules `step` and `exponential` do to the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decay {
    /// The steps in which it is multiplied by the factor.
    pub every: usize,
    /// The factor.
    pub factor: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Decay = Decay { every: 10, factor: 0.1 };

    #[test]
    fn every_schedule_begins_at_the_learning_rate() {
        for schedule in Schedule::ALL {
            assert_eq!(schedule.rate(0.3, DECAY, 1, 100), 0.3, "{schedule}");
        }
    }

    #[test]
    fn exponential_meets_step_where_step_falls() {
        for step in [11, 21, 31] {
            let [a, b] = [Schedule::Step, Schedule::Exponential].map(|s| s.rate(1.0, DECAY, step, 100));
            assert!((a / b - 1.0).abs() < 1e-12, "{a} {b}");
        }
        assert!(Schedule::Exponential.rate(1.0, DECAY, 6, 100) < 1.0);
        assert_eq!(Schedule::Step.rate(1.0, DECAY, 10, 100), 1.0);
    }

    #[test]
    fn cosine_is_half_in_the_middle_and_almost_nothing_at_the_end() {
        assert!((Schedule::Cosine.rate(1.0, DECAY, 51, 100) - 0.5).abs() < 1e-12);
        assert!(Schedule::Cosine.rate(1.0, DECAY, 100, 100) < 1e-3);
    }
}
