//! A little regularization, and less need of dropout.

use super::seeds::{bands, best_on_average, curve, diverged, mean, over_seeds, percent};
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By, Chosen};
use crate::claims::training::{Outcome, Training};
use crate::claims::{Interval, bench};
use crate::draw::{Axis, DotRow, Dots, Ink, Kind, Scale, Series};
use crate::networks::{Activation, Init, Network};
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "regularization",
    claim: "Batch normalization regularizes a little and lessens the need of dropout.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), abstract and section 3.4.",
    experiment: "A fully connected network of two hidden layers of 200 ReLUs on so few training images that it learns them by heart, with \
                 batch normalization, with dropout of one half, with both and with neither, each at its own best learning rate.",
    measurement: "The gap: accuracy on the training images minus accuracy on the test images, in points, of which batch normalization \
                  takes away the difference, without minus with; and the test accuracy with batch normalization minus that with \
                  dropout; seed by seed.",
    rules: &[GAP, DROPOUT],
    published: "In the paper, dropout could be removed or reduced, with numbers for the whole recipe alone. Luo et al. 2019 (arXiv \
                1809.00846) derive a mild regularization from the noise of the batches.",
    run,
};

const GAP: Rule = Rule {
    says: "it regularizes",
    measure: "the gap between training and test accuracy, without minus with batch normalization,",
    unit: " points",
    enough: 0.5,
    none: 0.0,
};
const DROPOUT: Rule = Rule {
    says: "it does what dropout does",
    measure: "the difference of the test accuracies, batch normalization minus dropout,",
    unit: " points",
    enough: 0.0,
    none: -0.5,
};

const GRID: [f64; 4] = [0.1, 0.3, 1.0, 3.0];
/// Choices that the rate is averaged over: at a high one, some seeds of a network without batch normalization die.
fn choices(lab: &Lab<'_>) -> u64 {
    lab.pick(4, 2)
}
const DROPPED: f64 = 0.5;

/// An arm, and whether there is dropout.
#[derive(Clone, Copy, PartialEq)]
struct Way {
    arm: Arm,
    dropout: bool,
}

const WAYS: [Way; 4] = [
    Way { arm: Arm::Plain, dropout: false },
    Way { arm: Arm::BatchNorm, dropout: false },
    Way { arm: Arm::Plain, dropout: true },
    Way { arm: Arm::BatchNorm, dropout: true },
];
/// Their places.
const NEITHER: usize = 0;
const NORMALIZED: usize = 1;
const DROPPING: usize = 2;
const BOTH: usize = 3;

impl Way {
    fn name(self) -> &'static str {
        match (self.arm, self.dropout) {
            (Arm::Plain, false) => "neither",
            (Arm::Plain, true) => "dropout",
            (_, false) => "batch normalization",
            (_, true) => "both",
        }
    }
}

fn task(lab: &Lab<'_>, way: Way, seed: u64) -> Training {
    let run = Training::new(Network::Mlp, way.arm, seed, lab.pick(300, 1_500)).with(|settings| {
        settings.layers = vec![200; 2];
        settings.activation = Activation::Relu;
        settings.init = Init::He;
        settings.dropout = if way.dropout { DROPPED } else { 0.0 };
        settings.eval_every = (settings.steps / 30).max(1);
        settings.eval_images = 1_000;
    });
    let part = bench::Part { train: Some(lab.pick(300, 1_000)), ..bench::Part::default() };
    Training { on_training: true, ..run.on(part) }
}

/// Training accuracy minus test accuracy, in points; of a diverged run, which has learned nothing by heart, none.
fn gap(lab: &Lab<'_>, run: &Outcome) -> f64 {
    let training = run.training.as_ref().and_then(|score| score.accuracy);
    training.map_or(0.0, |training| (training - run.accuracy(lab)) * 100.0)
}

/// The smallest rate that is as good as the best within the standard error of an accuracy over so many images.
///
/// On few images all rates that train fit them, and do nearly as well: the best by a hair may be one at which some seeds break.
fn smallest_as_good(best: Chosen, images: usize) -> Chosen {
    let most = best.tried.iter().map(|tried| tried.1).fold(0.0, f64::max);
    let error = (most * (1.0 - most) / images.max(1) as f64).sqrt();
    let found = best.tried.iter().find(|tried| tried.1 >= most - error).map(|tried| tried.0);
    Chosen { rate: found.unwrap_or(best.rate), ..best }
}

/// A dot for each seed of each way.
fn dots(title: &str, label: &str, reading: &str, values: &[Vec<f64>], also: f64) -> Exhibit {
    let rows: Vec<DotRow> = WAYS
        .iter()
        .zip(values)
        .enumerate()
        .map(|(place, (way, values))| DotRow {
            name: way.name().to_owned(),
            ink: Ink::nth(place),
            values: values.clone(),
        })
        .collect();
    let scale = Scale::around(Kind::Linear, values.iter().flatten().copied().chain([also]));
    Exhibit { drawing: Dots { title, x: Axis { label, scale }, rows }.draw(), reading: reading.to_owned() }
}

fn curves(runs: &[Vec<Outcome>]) -> Exhibit {
    let series: Vec<Series> = WAYS
        .iter()
        .zip(runs)
        .enumerate()
        .map(|(place, (way, runs))| Series {
            name: way.name().to_owned(),
            ink: Ink::nth(place),
            points: curve(runs, |point| point.test_accuracy.map(|accuracy| accuracy * 100.0)),
        })
        .collect();
    let places = series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let values = series.iter().flat_map(|series| series.points.iter().flat_map(|point| point.1.clone()));
    let x = Axis { label: "training steps (logarithmic)", scale: Scale::around(Kind::Log, places) };
    let y = Axis { label: "test accuracy (%)", scale: Scale::around(Kind::Linear, values) };
    Exhibit {
        drawing: bands("Test accuracy on the way", " %", x, y, series),
        reading: "A line that falls after its peak is of a network that learns its images by heart at the cost of others. Bands reach \
                  from the worst seed to the best."
            .to_owned(),
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let choices = choices(lab);
    let kinds: Vec<((Way, u64), String)> = WAYS
        .iter()
        .flat_map(|&way| (0..choices).map(move |choice| ((way, choice), way.name().to_owned())))
        .collect();
    let tried = rates::choose(lab, &kinds, &GRID, By::Accuracy, |(way, choice), _, seed| {
        let run = task(lab, way, seed + 100 * choice).with(|settings| settings.eval_every = settings.steps);
        Training { on_training: false, ..run }
    })?;
    let of_ways = WAYS.iter().zip(tried.chunks(choices as usize));
    let held_out = lab.facts().train / 6;
    let chosen: Vec<Chosen> = of_ways
        .map(|(way, choices)| smallest_as_good(best_on_average(way.name(), choices), held_out))
        .collect();
    let at_rates: Vec<(Way, f64)> =
        WAYS.into_iter().zip(&chosen).map(|(way, chosen)| (way, chosen.rate)).collect();
    let runs = over_seeds(lab, &at_rates, |(way, rate), seed| task(lab, way, seed).at_rate(rate))?;
    let by_way = |of: &dyn Fn(&Outcome) -> f64| -> Vec<Vec<f64>> {
        runs.iter().map(|runs| runs.iter().map(of).collect()).collect()
    };
    let gaps = by_way(&|run| gap(lab, run));
    let tests = by_way(&|run| run.accuracy(lab) * 100.0);
    let losses = by_way(&|run| run.run.final_test_loss.unwrap_or(f64::NAN));
    let parts = vec![
        Part::new(GAP, Interval::of_differences(&gaps[NEITHER], &gaps[NORMALIZED])),
        Part::new(DROPOUT, Interval::of_differences(&tests[NORMALIZED], &tests[DROPPING])),
    ];
    let sentence = format!(
        "Trained on {} images, the gap between training and test accuracy is {:.2} points with batch normalization and {:.2} without \
         ({:.2} with dropout, {:.2} with both): {} points less. The test accuracy is {:.2} % with batch normalization, {:.2} % with \
         dropout, {:.2} % with both and {:.2} % with neither.",
        task(lab, WAYS[NEITHER], 1).part.train.unwrap_or_default(),
        mean(&gaps[NORMALIZED]),
        mean(&gaps[NEITHER]),
        mean(&gaps[DROPPING]),
        mean(&gaps[BOTH]),
        parts[0].interval.in_words(2, ""),
        mean(&tests[NORMALIZED]),
        mean(&tests[DROPPING]),
        mean(&tests[BOTH]),
        mean(&tests[NEITHER]),
    );
    let rows = WAYS.iter().enumerate().map(|(place, way)| {
        let against = |values: &[Vec<f64>]| match place {
            NEITHER => "-".to_owned(),
            _ => Interval::of_differences(&values[place], &values[NEITHER]).in_words(2, ""),
        };
        vec![
            way.name().to_owned(),
            chosen[place].rate.to_string(),
            percent((mean(&gaps[place]) + mean(&tests[place])) / 100.0),
            percent(mean(&tests[place]) / 100.0),
            format!("{:.2}", mean(&gaps[place])),
            format!("{:.3}", mean(&losses[place])),
            against(&tests),
            against(&gaps),
        ]
    });
    let table = Table {
        title: "After the last step, mean over the seeds".to_owned(),
        head: [
            "",
            "learning rate",
            "training accuracy",
            "test accuracy",
            "gap in points",
            "test loss",
            "test accuracy against neither, in points",
            "gap against neither, in points",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
    };
    let mut notes = rates::notes(&chosen);
    for (way, runs) in WAYS.iter().zip(&runs) {
        notes.extend(diverged(way.name(), runs));
    }
    for (way, runs) in WAYS.iter().zip(&runs) {
        let fits = |run: &&Outcome| run.training.as_ref().and_then(|score| score.accuracy).unwrap_or(0.0) > 0.5;
        let unfit = runs.len() - runs.iter().filter(fits).count();
        if unfit > 0 {
            notes.push(format!(
                "{unfit} of {} runs of \u{201c}{}\u{201d} did not even learn their training images: they have no gap, and count with what \
                 they have.",
                runs.len(),
                way.name()
            ));
        }
    }
    if gaps.iter().zip(&tests).all(|(gaps, tests)| mean(gaps) + mean(tests) > 99.9) {
        notes.push(
            "All four learn their images by heart, so that the gap says the same as the test accuracy does."
                .to_owned(),
        );
    }
    let settings = task(lab, WAYS[NEITHER], 1).settings;
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![
            dots(
                "Gap between training and test accuracy",
                "gap (points)",
                "Each dot is a seed, the bar their mean; further left, the network does on new images more as it does on those it was \
                 trained on. The dots of a seed are at one height.",
                &gaps,
                0.0,
            ),
            dots(
                "Test accuracy",
                "test accuracy (%)",
                "Each dot is a seed, the bar their mean; further right is better. A small gap is of no use where both accuracies are low.",
                &tests,
                100.0,
            ),
            curves(&runs),
        ],
        tables: vec![table, rates::table(&chosen, By::Accuracy)],
        settings: vec![
            ("network".to_owned(), "mlp, 2 layers of 200 ReLUs, He initialization".to_owned()),
            ("training images".to_owned(), task(lab, WAYS[NEITHER], 1).part.train.unwrap_or_default().to_string()),
            ("dropout".to_owned(), format!("{DROPPED}, behind each hidden layer")),
            ("learning rates".to_owned(), "the smallest of a grid that is within a standard error of the best".to_owned()),
            ("steps of SGD".to_owned(), settings.steps.to_string()),
            ("batch size".to_owned(), settings.batch_size.to_string()),
        ],
        differs: "The paper removes dropout from a network for a million images, with the whole recipe of section 4.2.1. Here the images \
                  are few, so that there is much to regularize; the noise of batch normalization is that of a batch's mean and \
                  variance, and smaller than that of dropout."
            .to_owned(),
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_rate_within_the_error_is_chosen() {
        let chosen = |scores: [f64; 3]| Chosen {
            name: String::new(),
            rate: 1.0,
            at_the_end: false,
            tried: [0.1, 0.3, 1.0].into_iter().zip(scores).collect(),
        };
        // One standard error of 0.9 over 100 images is 0.03.
        assert_eq!(smallest_as_good(chosen([0.86, 0.88, 0.9]), 100).rate, 0.3);
        assert_eq!(smallest_as_good(chosen([0.86, 0.88, 0.9]), 10_000).rate, 1.0);
        assert_eq!(smallest_as_good(chosen([0.0; 3]), 0).rate, 0.1);
    }
}
