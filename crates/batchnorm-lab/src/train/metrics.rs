//! What a training run measured: the document `metrics.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Arm, Settings};

/// The test accuracies whose first step is reported, with the names under which `steps_to` has them.
pub const TARGETS: [(&str, f64); 3] = [("0.80", 0.80), ("0.90", 0.90), ("0.95", 0.95)];

/// The document `metrics.json`. What is not finite is null there and `None` here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The version of this document's form.
    pub schema: u32,
    /// What the run depended on.
    pub settings: Settings,
    /// The unit of the last hidden layer in `percentiles`: of all its units, the one whose input on the test set
    /// has the median standard deviation under the initial weights, without batch normalization.
    pub typical_unit: usize,
    /// The twins.
    pub runs: Runs,
}

impl Metrics {
    /// The version of the document's form that this code writes.
    pub const SCHEMA: u32 = 1;

    /// The document as text, indented, with a newline at the end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("numbers, strings and lists have a JSON form");
        text.push('\n');
        text
    }
}

/// The twins' runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// Without batch normalization.
    pub plain: Run,
    /// With batch normalization.
    pub batch_norm: Run,
}

impl Runs {
    /// The run of one twin.
    pub fn of(&self, arm: Arm) -> &Run {
        match arm {
            Arm::Plain => &self.plain,
            Arm::BatchNorm => &self.batch_norm,
        }
    }

    /// Whether neither twin came to its end.
    pub fn both_diverged(&self) -> bool {
        self.plain.diverged_at_step.is_some() && self.batch_norm.diverged_at_step.is_some()
    }
}

/// What one twin did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Test accuracy after the last step, under the statistics asked for; `None` if it diverged.
    pub final_test_accuracy: Option<f64>,
    /// The best test accuracy of all evaluations.
    pub best_test_accuracy: Option<f64>,
    /// The first evaluated step with at least this test accuracy, by [`TARGETS`]' names.
    pub steps_to: BTreeMap<String, Option<usize>>,
    /// Seconds spent in training steps, evaluations aside.
    pub seconds: f64,
    /// The first step whose loss or output was not finite.
    pub diverged_at_step: Option<usize>,
    /// What batch normalization refused to compute where that ended the run or its final evaluation: a constant
    /// channel with eps 0, say. Absent from the document otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Steps whose batch statistics were not finite, or too large to be kept, and did not enter the running ones.
    #[serde(default)]
    pub skipped_updates: usize,
    /// Every evaluation.
    pub curve: Vec<Point>,
    /// Of every evaluation, the input of the typical unit's activation.
    pub percentiles: Vec<Band>,
}

impl Run {
    /// The first evaluated step with at least the named accuracy.
    pub fn steps_to(&self, target: &str) -> Option<usize> {
        self.steps_to.get(target).copied().flatten()
    }

    /// Seconds per training step.
    pub fn seconds_per_step(&self, settings: &Settings) -> f64 {
        self.seconds / self.diverged_at_step.unwrap_or(settings.steps) as f64
    }

    /// Summarizes a curve. `last` is the accuracy of the final evaluation, `None` if there was none.
    pub(super) fn summarize(
        curve: Vec<Point>,
        percentiles: Vec<Band>,
        last: Option<f64>,
        diverged_at_step: Option<usize>,
    ) -> Self {
        let first = |target: f64| {
            curve
                .iter()
                .find(|point| point.test_accuracy.is_some_and(|found| found >= target))
                .map(|point| point.step)
        };
        Self {
            final_test_accuracy: last,
            best_test_accuracy: curve
                .iter()
                .filter_map(|point| point.test_accuracy)
                .chain(last)
                .reduce(f64::max),
            steps_to: TARGETS.iter().map(|&(name, target)| (name.to_owned(), first(target))).collect(),
            seconds: 0.0,
            diverged_at_step,
            failure: None,
            skipped_updates: 0,
            curve,
            percentiles,
        }
    }
}

/// One evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Steps taken so far.
    pub step: usize,
    /// Mean loss over the batches since the evaluation before; `None` if not finite.
    pub train_loss: Option<f64>,
    /// The share of test images put into their class; `None` if the network's output is not finite.
    pub test_accuracy: Option<f64>,
}

/// The input of one unit's activation over the test set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Steps taken so far.
    pub step: usize,
    /// The 15th percentile.
    pub p15: f64,
    /// The median.
    pub p50: f64,
    /// The 85th percentile.
    pub p85: f64,
}

/// `None` for what JSON has no number for.
pub(super) fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(step: usize, accuracy: f64) -> Point {
        Point { step, train_loss: Some(1.0), test_accuracy: finite(accuracy) }
    }

    #[test]
    fn steps_to_is_the_first_evaluated_step_that_reaches_the_accuracy() {
        let curve = vec![point(10, 0.5), point(20, 0.9), point(30, 0.85), point(40, 0.92)];
        let run = Run::summarize(curve, Vec::new(), Some(0.92), None);
        assert_eq!(run.steps_to("0.80"), Some(20));
        assert_eq!(run.steps_to("0.90"), Some(20));
        assert_eq!(run.steps_to("0.95"), None);
        assert_eq!(run.best_test_accuracy, Some(0.92));
    }

    #[test]
    fn exactly_nine_tenths_of_the_test_images_are_90_percent() {
        let run = Run::summarize(vec![point(10, 324.0 / 360.0)], Vec::new(), None, None);
        assert_eq!(run.steps_to("0.90"), Some(10));
    }

    #[test]
    fn what_is_not_finite_is_null() {
        let run = Run::summarize(vec![point(10, f64::NAN)], Vec::new(), None, Some(10));
        let json = serde_json::to_value(&run).unwrap();
        assert!(json["curve"][0]["test_accuracy"].is_null());
        assert!(json["best_test_accuracy"].is_null());
        assert!(json["final_test_accuracy"].is_null());
        assert_eq!(json["diverged_at_step"], 10);
        assert!(json["steps_to"]["0.95"].is_null());
    }
}
