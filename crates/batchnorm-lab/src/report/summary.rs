//! The outcome in a sentence and in a table.

use crate::networks::Placement;
use crate::train::{Arm, Metrics, Optimizer, Run, Settings, TARGETS};

/// The target of the headline: its name in `steps_to`, and in words.
const HEADLINE: (&str, &str) = ("0.90", "90 %");

/// One line of the table of results: the same measure of both twins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was measured.
    pub measure: String,
    /// Without batch normalization.
    pub plain: String,
    /// With batch normalization.
    pub batch_norm: String,
}

/// The table of results.
pub fn rows(metrics: &Metrics) -> Vec<Row> {
    let row = |measure: String, show: &dyn Fn(&Run) -> String| Row {
        measure,
        plain: show(metrics.runs.of(Arm::Plain)),
        batch_norm: show(metrics.runs.of(Arm::BatchNorm)),
    };
    let mut rows: Vec<Row> = TARGETS
        .iter()
        .map(|(name, target)| {
            row(format!("steps to {:.0} % test accuracy", target * 100.0), &|run| match run.steps_to(name) {
                Some(steps) => steps.to_string(),
                None => "never".to_owned(),
            })
        })
        .collect();
    rows.push(row("best test accuracy".to_owned(), &|run| percent(run.best_test_accuracy)));
    rows.push(row("final test accuracy".to_owned(), &|run| match run.diverged_at_step {
        Some(step) => format!("diverged at step {step}"),
        None => percent(run.final_test_accuracy),
    }));
    rows.push(row("time per step".to_owned(), &|run| {
        format!("{:.3} ms", run.seconds_per_step(&metrics.settings) * 1e3)
    }));
    rows
}

/// An accuracy as a percentage.
pub(super) fn percent(accuracy: Option<f64>) -> String {
    accuracy.map_or_else(|| "none".to_owned(), |accuracy| format!("{:.2} %", accuracy * 100.0))
}

/// What the run showed, in a sentence or two that are true whatever came out.
pub fn headline(metrics: &Metrics) -> String {
    let (name, target) = HEADLINE;
    let plain = &metrics.runs.plain;
    let batch_norm = &metrics.runs.batch_norm;
    let mut text = match (batch_norm.steps_to(name), plain.steps_to(name)) {
        (Some(with), Some(without)) => {
            let start = format!("Batch normalization reached {target} test accuracy after {}", steps(with));
            match with.cmp(&without) {
                std::cmp::Ordering::Less => {
                    let times = without as f64 / with as f64;
                    format!("{start}, the twin without after {without}: {times:.1}x fewer.")
                }
                std::cmp::Ordering::Equal => format!("{start}, and so did the twin without."),
                std::cmp::Ordering::Greater => {
                    let times = with as f64 / without as f64;
                    format!("{start}, the twin without after {without}: {times:.1}x more.")
                }
            }
        }
        (Some(with), None) => format!(
            "Batch normalization reached {target} test accuracy after {}; the twin without never did in {}.",
            steps(with),
            steps(taken(plain, &metrics.settings))
        ),
        (None, Some(without)) => format!(
            "The twin without batch normalization reached {target} test accuracy after {}; the one with it never did \
             in {}.",
            steps(without),
            steps(taken(batch_norm, &metrics.settings))
        ),
        (None, None) => {
            let start =
                format!("Neither twin reached {target} test accuracy in {}", steps(metrics.settings.steps));
            // Of the evaluations on the way, which the steps are counted by; a final one may use other statistics.
            let best = |run: &Run| {
                let on_the_way = run.curve.iter().filter_map(|point| point.test_accuracy);
                on_the_way.reduce(f64::max).map(|accuracy| percent(Some(accuracy)))
            };
            match (best(batch_norm), best(plain)) {
                (Some(with), Some(without)) => {
                    format!("{start}: the best was {with} with batch normalization and {without} without.")
                }
                (Some(with), None) => format!("{start}: the best was {with}, with batch normalization."),
                (None, Some(without)) => {
                    format!("{start}: the best was {without}, without batch normalization.")
                }
                (None, None) => format!("{start}."),
            }
        }
    };
    match (batch_norm.diverged_at_step, plain.diverged_at_step) {
        (None, None) => {}
        (Some(with), Some(without)) => {
            text +=
                &format!(" Both diverged: with batch normalization at step {with}, without at step {without}.");
        }
        (Some(step), None) => text += &format!(" The run with batch normalization diverged at step {step}."),
        (None, Some(step)) => text += &format!(" The run without batch normalization diverged at step {step}."),
    }
    if let Some(failure) = &batch_norm.failure {
        text += &format!(" Batch normalization could not be computed: {failure}.");
    }
    if batch_norm.skipped_updates > 0 {
        text += &format!(
            " In {} the batch statistics were not finite, or too large to be kept, and did not enter the running ones.",
            steps(batch_norm.skipped_updates)
        );
    }
    text
}

fn taken(run: &Run, settings: &Settings) -> usize {
    run.diverged_at_step.unwrap_or(settings.steps)
}

fn steps(number: usize) -> String {
    if number == 1 { "1 step".to_owned() } else { format!("{number} steps") }
}

/// The command that repeats a run, every option spelled out.
pub fn command(settings: &Settings) -> String {
    let layers: Vec<String> = settings.layers.iter().map(ToString::to_string).collect();
    let mut words = vec!["batchnorm train".to_owned()];
    let mut option = |name: &str, value: &dyn std::fmt::Display| words.push(format!("--{name} {value}"));
    option("data", &settings.data);
    option("network", &settings.network);
    option("layers", &layers.join(","));
    option("activation", &settings.activation);
    option("batch-size", &settings.batch_size);
    option("steps", &settings.steps);
    option("learning-rate", &settings.learning_rate);
    option("optimizer", &settings.optimizer);
    if settings.optimizer == Optimizer::Sgd {
        option("sgd-momentum", &settings.sgd_momentum);
    }
    option("init-std", &settings.init_std);
    option("bn-momentum", &settings.bn_momentum);
    option("bn-eps", &settings.bn_eps);
    option("statistics", &settings.statistics);
    option("eval-every", &settings.eval_every);
    option("seed", &settings.seed);
    option("threads", &settings.threads);
    words.push(match settings.placement {
        Placement::BeforeActivation => "--bn-before-activation".to_owned(),
        Placement::AfterActivation => "--bn-after-activation".to_owned(),
    });
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Data;
    use crate::train::{Point, Runs};

    fn run(to_90: Option<usize>, diverged_at_step: Option<usize>) -> Run {
        let steps_to = TARGETS.iter().map(|(name, _)| ((*name).to_owned(), to_90.filter(|_| *name == "0.90")));
        Run {
            final_test_accuracy: diverged_at_step.is_none().then_some(0.5),
            best_test_accuracy: Some(0.5),
            steps_to: steps_to.collect(),
            seconds: 1.0,
            diverged_at_step,
            failure: None,
            skipped_updates: 0,
            curve: vec![Point { step: 10, train_loss: Some(1.0), test_accuracy: Some(0.5) }],
            percentiles: Vec::new(),
        }
    }

    fn metrics(batch_norm: Run, plain: Run) -> Metrics {
        let settings = Settings::defaults(Data::Digits);
        Metrics { schema: Metrics::SCHEMA, settings, typical_unit: 0, runs: Runs { plain, batch_norm } }
    }

    #[test]
    fn the_headline_is_true_of_every_outcome() {
        let of = |with, without| headline(&metrics(with, without));
        let reached = |steps| run(Some(steps), None);
        assert_eq!(
            of(reached(40), reached(480)),
            "Batch normalization reached 90 % test accuracy after 40 steps, the twin without after 480: 12.0x fewer."
        );
        assert_eq!(
            of(reached(40), reached(40)),
            "Batch normalization reached 90 % test accuracy after 40 steps, and so did the twin without."
        );
        assert!(of(reached(50), reached(40)).ends_with("the twin without after 40: 1.2x more."));
        assert_eq!(
            of(reached(1), run(None, Some(7))),
            "Batch normalization reached 90 % test accuracy after 1 step; the twin without never did in 7 steps. \
             The run without batch normalization diverged at step 7."
        );
        let skipping = of(Run { skipped_updates: 3, ..reached(40) }, reached(480));
        assert!(skipping.ends_with(
            "In 3 steps the batch statistics were not finite, or too large to be kept, and did not enter the running ones."
        ));
        assert!(of(run(None, None), reached(40)).contains("the one with it never did in 5000 steps"));
        assert_eq!(
            of(run(None, None), run(None, None)),
            "Neither twin reached 90 % test accuracy in 5000 steps: the best was 50.00 % with batch normalization \
             and 50.00 % without."
        );
        let both = of(run(None, Some(3)), run(None, Some(2)));
        assert!(
            both.ends_with("Both diverged: with batch normalization at step 3, without at step 2."),
            "{both}"
        );
    }

    #[test]
    fn the_table_says_never_and_diverged() {
        let rows = rows(&metrics(run(Some(40), None), run(None, Some(9))));
        let find = |measure: &str| rows.iter().find(|row| row.measure == measure).unwrap();
        assert_eq!(find("steps to 90 % test accuracy").plain, "never");
        assert_eq!(find("steps to 90 % test accuracy").batch_norm, "40");
        assert_eq!(find("final test accuracy").plain, "diverged at step 9");
        assert_eq!(find("final test accuracy").batch_norm, "50.00 %");
        assert_eq!(find("time per step").batch_norm, "0.200 ms");
    }
}
