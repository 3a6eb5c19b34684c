//! Residual blocks that begin as nothing.

use super::seeds::{accuracy_curves, bands, curve, diverged, mean, over_seeds, percent};
use crate::claims::Interval;
use crate::claims::bench;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By};
use crate::claims::training::{Outcome, Training};
use crate::draw::{Axis, Ink, Kind, Scale, Series};
use crate::networks::Network;
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "zero-gamma",
    claim: "Residual networks train more easily if the last gamma of every block begins at 0.",
    source: "Goyal et al. 2017 (arXiv 1706.02677), section 5.1.",
    experiment: "A small ResNet with batch normalization from the same weights and on the same batches, the last gamma of every \
                 residual block 1 or 0 at first, at three learning rates from the usual to a high one.",
    measurement: "The training loss over the first quarter of the run and the test accuracy at its end, at the highest rate, seed \
                  by seed; the accuracy also with each at its own best of the three rates, chosen on held-out images.",
    rules: &[EARLY, LATE, BEST],
    published: "Goyal et al. initialize so for large batches of 8192 at high rates, and report an easier optimization at the start \
                of training and a slightly better model in the end, without a figure of its own.",
    run,
};

const EARLY: Rule = Rule {
    says: "easier at the start",
    measure: "the ratio of the training loss over the first quarter of the run, gamma 1 to gamma 0, at the highest rate,",
    unit: "x",
    enough: 1.1,
    none: 1.0,
};
const LATE: Rule = Rule {
    says: "better in the end",
    measure: "the difference of test accuracy at the end, gamma 0 minus gamma 1, at the highest rate,",
    unit: " points",
    enough: 0.5,
    none: 0.0,
};

const BEST: Rule = Rule {
    says: "better in the end, each at its own best rate",
    measure: "the difference of test accuracy at the end, gamma 0 minus gamma 1, each at the rate that suits it best,",
    ..LATE
};

/// The usual rate, and higher ones.
const RATES: [f64; 3] = [0.02, 0.1, 0.5];
const GAMMAS: [bool; 2] = [false, true];

fn name(zero: bool) -> &'static str {
    if zero { "gamma 0" } else { "gamma 1" }
}

fn task(lab: &Lab<'_>, zero: bool, rate: f64, seed: u64) -> Training {
    // Population statistics are taken over the training images: of more, they take longer than the training.
    let few = bench::Part { train: Some(3_200), test: Some(1_000), ..bench::Part::default() };
    Training::new(Network::Resnet20, Arm::BatchNorm, seed, lab.pick(80, 90))
        .with(|settings| {
            settings.batch_size = 32;
            settings.zero_gamma = zero;
            settings.eval_every = settings.steps / 10;
            settings.eval_images = 100;
        })
        .on(few)
        .at_rate(rate)
}

/// The mean training loss over the first quarter; that of guessing for what diverged.
fn early(lab: &Lab<'_>, run: &Outcome) -> f64 {
    let steps = run.run.curve.last().map_or(0, |point| point.step);
    let guessing = (lab.facts().classes as f64).ln();
    let early = run.run.curve.iter().filter(|point| point.step <= steps / 4);
    let losses: Vec<f64> = early.map(|point| point.train_loss.unwrap_or(guessing)).collect();
    if losses.is_empty() { guessing } else { mean(&losses) }
}

fn losses(rate: f64, runs: [&[Outcome]; 2]) -> Exhibit {
    let series: Vec<Series> = GAMMAS
        .iter()
        .zip(runs)
        .map(|(&zero, runs)| Series {
            name: name(zero).to_owned(),
            ink: Ink::nth(1 + usize::from(zero)),
            points: curve(runs, |point| point.train_loss),
        })
        .collect();
    let steps = series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let values: Vec<f64> =
        series.iter().flat_map(|series| series.points.iter().flat_map(|point| point.1.clone())).collect();
    let x = Axis { label: "training steps", scale: Scale::around(Kind::Linear, steps) };
    let y = Axis { label: "training loss (logarithmic)", scale: Scale::around(Kind::Log, values.into_iter()) };
    Exhibit {
        drawing: bands(&format!("Training loss, rate {rate}"), "", x, y, series),
        reading: "Each point is the mean loss of the steps since the one before. Lower on the left is an easier start.".to_owned(),
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let kinds: Vec<(bool, f64)> = RATES.iter().flat_map(|&rate| GAMMAS.map(|zero| (zero, rate))).collect();
    let runs = over_seeds(lab, &kinds, |(zero, rate), seed| task(lab, zero, rate, seed))?;
    let at = |rate: usize| [&runs[2 * rate][..], &runs[2 * rate + 1][..]];
    let early_of = |runs: &[Outcome]| runs.iter().map(|run| early(lab, run)).collect::<Vec<_>>();
    let points = |runs: &[Outcome]| runs.iter().map(|run| run.accuracy(lab) * 100.0).collect::<Vec<_>>();
    let ratio = |rate: usize| Interval::of_ratios(&early_of(at(rate)[0]), &early_of(at(rate)[1]));
    let gain = |rate: usize| Interval::of_differences(&points(at(rate)[1]), &points(at(rate)[0]));
    let last = RATES.len() - 1;
    let own: Vec<(bool, String)> = GAMMAS.map(|zero| (zero, name(zero).to_owned())).into();
    let chosen =
        rates::choose(lab, &own, &RATES, By::Accuracy, |zero, rate, seed| task(lab, zero, rate, seed))?;
    let place = |arm: usize| RATES.iter().position(|&rate| rate == chosen[arm].rate).unwrap_or(last);
    let best = Interval::of_differences(&points(at(place(1))[1]), &points(at(place(0))[0]));
    let parts = vec![Part::new(EARLY, ratio(last)), Part::new(LATE, gain(last)), Part::new(BEST, best)];
    let sentence = format!(
        "At rate {} the training loss over the first quarter is {} as large with gamma 1 as with gamma 0, and the test accuracy at \
         the end is {:.2} % with gamma 1 and {:.2} % with gamma 0: a difference of {}. At the usual rate, {}, the ratio is {} and the \
         difference {}; each at its best ({} and {}), the difference is {}.",
        RATES[last],
        parts[0].interval.in_words(2, "x"),
        mean(&points(at(last)[0])),
        mean(&points(at(last)[1])),
        parts[1].interval.in_words(2, " points"),
        RATES[0],
        ratio(0).in_words(2, "x"),
        gain(0).in_words(2, " points"),
        chosen[0].rate,
        chosen[1].rate,
        best.in_words(2, " points"),
    );
    let rows = RATES.iter().enumerate().map(|(index, rate)| {
        let [one, zero] = at(index);
        let share = |runs: &[Outcome]| percent(mean(&points(runs)) / 100.0);
        let early = |runs: &[Outcome]| format!("{:.3}", mean(&early_of(runs)));
        vec![
            rate.to_string(),
            early(one),
            early(zero),
            ratio(index).in_words(2, "x"),
            share(one),
            share(zero),
            gain(index).in_words(2, " points"),
        ]
    });
    let head = ["rate", "early loss, 1", "early loss, 0", "ratio", "accuracy, 1", "accuracy, 0", "difference"];
    let table = Table {
        title: "By the last gamma of every block, mean over the seeds".to_owned(),
        head: head.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    };
    let mut notes = vec![
        "Runs are short: what is called the end is the end of the beginning, and what learns later is behind."
            .to_owned(),
    ];
    notes.extend(rates::notes(&chosen));
    for ((zero, rate), runs) in kinds.iter().zip(&runs) {
        notes.extend(diverged(&format!("{}, rate {rate}", name(*zero)), runs));
    }
    let kinds: Vec<_> = GAMMAS
        .iter()
        .zip(at(last))
        .map(|(&zero, runs)| (name(zero).to_owned(), Ink::nth(1 + usize::from(zero)), runs))
        .collect();
    let accuracy =
        accuracy_curves(&format!("Test accuracy by running statistics, rate {}", RATES[last]), &kinds);
    let settings = task(lab, false, RATES[0], 1).settings;
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![losses(RATES[last], at(last)), losses(RATES[1], at(1)), losses(RATES[0], at(0)), accuracy],
        tables: vec![table, rates::table(&chosen, By::Accuracy)],
        settings: vec![
            ("network".to_owned(), format!("resnet20 of width {}, He initialization", settings.width)),
            (
                "optimizer".to_owned(),
                format!("SGD with the usual momentum, batches of {}, {} steps", settings.batch_size, settings.steps),
            ),
        ],
        differs: "Goyal et al. train a ResNet-50 on ImageNet with batches of 8192; a ResNet-20 of a few channels has nine blocks \
                  and trains without such help, so there is less to gain."
            .to_owned(),
        notes,
    })
}
