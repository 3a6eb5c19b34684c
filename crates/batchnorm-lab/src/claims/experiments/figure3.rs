//! Fewer steps on images: the paper's Figure 3.

use super::seeds::{accuracy_curves, diverged, mean, over_seeds, percent};
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By};
use crate::claims::training::{Outcome, Training};
use crate::claims::{Interval, bench};
use crate::draw::{Axis, DotRow, Dots, Ink, Kind, Scale};
use crate::networks::{Activation, Network};
use crate::train::{Arm, Schedule};

pub(super) const CLAIM: Claim = Claim {
    name: "figure3",
    claim: "On images, batch normalization reaches the baseline's best accuracy in a fraction of the steps, and with higher learning \
            rates sooner still.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 4.2, Figures 2 and 3.",
    experiment: "The paper's comparison on a small VGG in the place of Inception: a baseline with a little dropout and L2 at its own best \
                 learning rate; the same with batch normalization; at 5 and 30 times the rate; with sigmoids; and by the recipe of \
                 section 4.2.1: 5 times the rate, no dropout, a fifth of L2, a rate that decays 6 times faster. SGD without \
                 momentum.",
    measurement: "The first evaluated step with the best test accuracy that the baseline of the same seed reaches anywhere on its way, \
                  and the ratios of these steps, seed by seed.",
    rules: &[HALF, SOONER],
    published: "Steps to 72.2 % on ImageNet: Inception 31.0 million, BN-Baseline 13.3, BN-x5 2.1, BN-x30 2.7; best accuracies 72.2 %, \
                72.7 %, 73.0 % and 74.8 %; BN-x5-Sigmoid 69.8 %. Without batch normalization, 5 times the rate overflowed and \
                sigmoids stayed at guessing.",
    run,
};

const HALF: Rule = Rule {
    says: "less than half of the steps",
    measure: "the ratio of steps to the baseline's best, baseline to the same with batch normalization,",
    unit: "x",
    enough: 2.0,
    none: 1.1,
};
const SOONER: Rule = Rule {
    says: "sooner still at 5 times the rate",
    measure: "the ratio of steps to the baseline's best, with batch normalization at the baseline's rate to 5 times the rate,",
    unit: "x",
    enough: 1.25,
    none: 1.0,
};

const GRID: [f64; 4] = [0.03, 0.1, 0.3, 1.0];

/// What a network without batch normalization is helped by.
const DROPOUT: f64 = 0.2;
const L2: f64 = 5e-4;
/// What is left of the learning rate in the end.
const LEFT: f64 = 0.7;
/// The recipe of section 4.2.1: how much less L2, and how much faster the rate decays.
const LESS_L2: f64 = 5.0;
const FASTER: usize = 6;

/// A row of the paper's table.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Model {
    name: &'static str,
    arm: Arm,
    /// Of the baseline's rate.
    times: f64,
    sigmoid: bool,
    recipe: bool,
    /// Of the paper: the steps to 72.2 %, and the best accuracy.
    published: [&'static str; 2],
}

const BASELINE: usize = 0;
const NORMALIZED: usize = 1;
const FIVE_TIMES: usize = 2;
const WITHOUT: Model = Model {
    name: "baseline",
    arm: Arm::Plain,
    times: 1.0,
    sigmoid: false,
    recipe: false,
    published: ["31.0M", "72.2 %"],
};
const WITH: Model =
    Model { name: "BN-baseline", arm: Arm::BatchNorm, published: ["13.3M", "72.7 %"], ..WITHOUT };
const MODELS: [Model; 8] = [
    WITHOUT,
    WITH,
    Model { name: "BN-x5", times: 5.0, published: ["-", "-"], ..WITH },
    Model { name: "BN-x30", times: 30.0, published: ["2.7M", "74.8 %"], ..WITH },
    Model { name: "BN-recipe (x5)", times: 5.0, recipe: true, published: ["2.1M", "73.0 %"], ..WITH },
    Model { name: "BN-x5-sigmoid", times: 5.0, sigmoid: true, published: ["never", "69.8 %"], ..WITH },
    Model { name: "plain-x5", times: 5.0, published: ["never", "overflow"], ..WITHOUT },
    Model { name: "plain-sigmoid", sigmoid: true, published: ["never", "0.1 %"], ..WITHOUT },
];

fn task(lab: &Lab<'_>, model: Model, seed: u64) -> Training {
    let length = lab.pick(250, 300);
    let run = Training::new(Network::Vgg, model.arm, seed, length).with(|settings| {
        settings.width = 4;
        settings.sgd_momentum = 0.0;
        settings.dropout = if model.recipe { 0.0 } else { DROPOUT };
        settings.weight_decay = if model.recipe { L2 / LESS_L2 } else { L2 };
        settings.schedule = Schedule::Exponential;
        settings.decay_every = if model.recipe { length / FASTER } else { length };
        settings.decay_factor = LEFT;
        if model.sigmoid {
            settings.activation = Activation::Sigmoid;
        }
        settings.eval_every = 5;
        settings.eval_images = lab.pick(360, 500);
    });
    run.on(bench::Part { test: Some(2_000), ..bench::Part::default() })
}

/// The best accuracy on the way, as it is evaluated there.
fn best(run: &Outcome) -> f64 {
    run.run.curve.iter().filter_map(|point| point.test_accuracy).fold(0.0, f64::max)
}

/// The steps of each run to the best that the baseline of its seed reaches; those of the whole run if it never gets there.
fn steps(runs: &[Outcome], baseline: &[Outcome], length: usize) -> Vec<f64> {
    let to = |(run, baseline): (&Outcome, &Outcome)| run.steps_to(best(baseline)).unwrap_or(length) as f64;
    runs.iter().zip(baseline).map(to).collect()
}

fn never(runs: &[Outcome], baseline: &[Outcome]) -> usize {
    runs.iter().zip(baseline).filter(|(run, baseline)| run.steps_to(best(baseline)).is_none()).count()
}

fn dots(steps: &[Vec<f64>], censored: &[usize]) -> Exhibit {
    let rows: Vec<DotRow> = MODELS
        .iter()
        .zip(steps)
        .zip(censored)
        .enumerate()
        .map(|(place, ((model, steps), &censored))| DotRow {
            name: match censored {
                0 => model.name.to_owned(),
                _ => format!("{} ({censored} of {} never)", model.name, steps.len()),
            },
            ink: Ink::nth(place),
            values: steps.clone(),
        })
        .collect();
    let scale = Scale::around(Kind::Log, steps.iter().flatten().copied());
    let x = Axis { label: "steps to the baseline's best accuracy (logarithmic)", scale };
    Exhibit {
        drawing: Dots { title: "Steps to the baseline's best accuracy", x, rows }.draw(),
        reading: "Each dot is a seed, the bar their mean; further left is faster. A run that never gets there stands at the last step."
            .to_owned(),
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let kind = [(MODELS[BASELINE], "the baseline".to_owned())];
    let chosen = rates::choose(lab, &kind, &GRID, By::Accuracy, |model, _, seed| {
        task(lab, model, seed).with(|settings| settings.eval_every = settings.steps)
    })?;
    let rate = chosen[0].rate;
    let at_rate = |model: Model| rate * model.times;
    let runs = over_seeds(lab, &MODELS, |model, seed| task(lab, model, seed).at_rate(at_rate(model)))?;
    let length = task(lab, MODELS[BASELINE], 1).settings.steps;
    let steps: Vec<Vec<f64>> = runs.iter().map(|of_model| steps(of_model, &runs[BASELINE], length)).collect();
    let censored: Vec<usize> = runs.iter().map(|of_model| never(of_model, &runs[BASELINE])).collect();
    let bests: Vec<Vec<f64>> = runs.iter().map(|of_model| of_model.iter().map(best).collect()).collect();
    let parts = vec![
        Part::new(HALF, Interval::of_ratios(&steps[BASELINE], &steps[NORMALIZED])),
        Part::new(SOONER, Interval::of_ratios(&steps[NORMALIZED], &steps[FIVE_TIMES])),
    ];
    let reach = |place: usize| match censored[place] {
        0 => format!("{:.0}", mean(&steps[place])),
        number if number == runs[place].len() => "never".to_owned(),
        number => format!("{:.0} or more ({number} of {} never)", mean(&steps[place]), runs[place].len()),
    };
    let sentence = format!(
        "The baseline's best accuracy, {:.2} %, takes the baseline {} steps and the same with batch normalization {}, a ratio of {}; at 5 \
         times the rate it takes {}. Their best accuracies are {:.2} % with batch normalization and {:.2} % at 5 times the rate.",
        mean(&bests[BASELINE]) * 100.0,
        reach(BASELINE),
        reach(NORMALIZED),
        parts[0].interval.in_words(1, "x"),
        reach(FIVE_TIMES),
        mean(&bests[NORMALIZED]) * 100.0,
        mean(&bests[FIVE_TIMES]) * 100.0,
    );
    let rows = MODELS.iter().enumerate().map(|(place, model)| {
        vec![
            model.name.to_owned(),
            significant(at_rate(*model)),
            reach(place),
            percent(mean(&bests[place])),
            model.published[0].to_owned(),
            model.published[1].to_owned(),
        ]
    });
    let table = Table {
        title: "As the paper's Figure 3, mean over the seeds".to_owned(),
        head: [
            "model",
            "learning rate",
            "steps to the baseline's best",
            "best accuracy",
            "the paper's steps to 72.2 %",
            "the paper's best",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: rows.collect(),
    };
    let kinds: Vec<_> = MODELS
        .iter()
        .zip(&runs)
        .enumerate()
        .map(|(place, (model, runs))| (model.name.to_owned(), Ink::nth(place), &runs[..]))
        .collect();
    let mut notes = rates::notes(&chosen);
    for (place, (model, runs)) in MODELS.iter().zip(&runs).enumerate() {
        notes.extend(diverged(model.name, runs));
        if censored[place] > 0 && (place == NORMALIZED || place == FIVE_TIMES) {
            notes.push(format!(
                "{} of {} runs of {} never reach the baseline's best; they count with all {length} steps.",
                censored[place],
                runs.len(),
                model.name
            ));
        }
    }
    notes.push(
        "Evaluations on the way use running averages, which lag behind at high rates: a network that is normalized by them may be better \
         than its curve."
            .to_owned(),
    );
    let first = task(lab, MODELS[BASELINE], 1).settings;
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![
            dots(&steps, &censored),
            accuracy_curves("Test accuracy, rectified units", &kinds[..5]),
            accuracy_curves("Test accuracy, sigmoids and without", &[&kinds[..1], &kinds[5..]].concat()),
        ],
        tables: vec![table, rates::table(&chosen, By::Accuracy)],
        settings: vec![
            ("network".to_owned(), format!("vgg, width {}", first.width)),
            ("optimizer".to_owned(), "SGD without momentum".to_owned()),
            ("steps".to_owned(), format!("{length}, batches of {}", first.batch_size)),
            ("baseline".to_owned(), format!("dropout {DROPOUT}, L2 {L2}, the rate falls to {LEFT} of it")),
            (
                "recipe".to_owned(),
                format!("no dropout, L2 {}, the rate falls {FASTER} times as fast", L2 / LESS_L2),
            ),
            ("evaluated".to_owned(), format!("every {} steps on {} test images", first.eval_every, first.eval_images)),
        ],
        differs: "ImageNet and Inception are out of reach of a laptop: the images, the network and the number of steps are smaller by \
                  orders of magnitude. The paper's BN-x5 and BN-x30 are by its recipe, so its BN-x5 stands beside the recipe here; \
                  here BN-x5 and BN-x30 change the rate alone. The rate of the \
                  baseline is the best of a grid for this very number of steps."
            .to_owned(),
        notes,
    })
}

/// A rate without the digits of rounding.
fn significant(rate: f64) -> String {
    format!("{rate:.2e}").parse::<f64>().unwrap_or(rate).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Point, Run};

    fn outcome(curve: &[(usize, f64)]) -> Outcome {
        let point = |&(step, accuracy): &(usize, f64)| Point {
            step,
            train_loss: None,
            test_accuracy: Some(accuracy),
            test_loss: None,
        };
        Outcome { run: Run { curve: curve.iter().map(point).collect(), ..Run::default() }, training: None }
    }

    #[test]
    fn steps_are_to_the_best_of_the_same_seed() {
        let baseline = [outcome(&[(5, 0.5), (10, 0.8), (15, 0.7)]), outcome(&[(5, 0.3), (10, 0.4), (15, 0.6)])];
        let runs = [outcome(&[(5, 0.8), (10, 0.9)]), outcome(&[(5, 0.1), (10, 0.5), (15, 0.5)])];
        assert_eq!(steps(&runs, &baseline, 15), [5.0, 15.0]);
        assert_eq!(steps(&baseline, &baseline, 15), [10.0, 15.0]);
        assert_eq!((never(&runs, &baseline), never(&baseline, &baseline)), (1, 0));
    }

    #[test]
    fn the_rows_that_the_rules_compare_are_where_they_are_said_to_be() {
        let names = [BASELINE, NORMALIZED, FIVE_TIMES].map(|place| MODELS[place].name);
        assert_eq!(names, ["baseline", "BN-baseline", "BN-x5"]);
        assert_eq!(significant(0.1 * 30.0), "3");
    }
}
