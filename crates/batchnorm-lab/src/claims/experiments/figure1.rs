//! Faster training: the paper's Figure 1.

use super::seeds::{TWINS, accuracy_curves, diverged, ink, mean, over_seeds};
use crate::claims::claim::{Claim, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By, Chosen};
use crate::claims::training::{Outcome, Training, named};
use crate::claims::{Interval, bench};
use crate::networks::Network;
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "figure1",
    claim: "Networks with batch normalization need fewer steps to reach the same accuracy.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 4.1 and Figure 1 (a).",
    experiment: "The paper's network for MNIST: binary pixels, three hidden layers of 100 sigmoids, batches of 60, small random \
                 Gaussian weights; with and without batch normalization before each sigmoid, each at its own best learning rate.",
    measurement: "The first evaluated step with the target test accuracy, and the ratio of steps, without to with, seed by seed.",
    rules: &[RULE],
    published: "Figure 1 (a) shows the normalized network above the other from the first steps on and at a higher accuracy in \
                the end; it prints no numbers and states neither optimizer nor learning rate.",
    run,
};

const RULE: Rule = Rule {
    says: "fewer steps",
    measure: "the ratio of steps to the target, without to with,",
    unit: "x",
    enough: 1.5,
    none: 1.1,
};

/// Learning rates of both arms: from where the plain twin hardly moves to where it breaks.
const GRID: [f64; 6] = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0];

/// Accuracies that the table has besides.
const OTHERS: [f64; 5] = [0.5, 0.8, 0.9, 0.95, 0.97];

/// The accuracy that counts as learned.
fn target(lab: &Lab<'_>) -> f64 {
    lab.pick(0.9, 0.95)
}

/// The run that the figure shows, at the default learning rate.
pub(super) fn figure(lab: &Lab<'_>, arm: Arm, seed: u64) -> Training {
    let length = lab.pick(4_000, 50_000);
    let run = Training::new(Network::Mlp, arm, seed, length).with(|settings| {
        settings.binarize = true;
        settings.eval_every = lab.pick(20, 100);
        settings.eval_images = 2_000;
    });
    Training { figures: true, ..run }
}

/// The best rate of each arm, by the steps to the target.
pub(super) fn chosen(lab: &Lab<'_>) -> Result<Vec<Chosen>, Halt> {
    let by = By::StepsTo(target(lab));
    rates::choose_for_arms(lab, &TWINS, &GRID, by, |arm, _, seed| {
        let short = figure(lab, arm, seed).with(|settings| settings.steps = lab.pick(1_500, 5_000));
        Training { figures: false, ..short }.on(bench::Part { test: Some(2_000), ..bench::Part::default() })
    })
}

/// The runs at those rates.
pub(super) fn runs(lab: &Lab<'_>, chosen: &[Chosen]) -> Result<Vec<Vec<Outcome>>, Halt> {
    let kinds: Vec<(Arm, f64)> =
        TWINS.into_iter().zip(chosen).map(|(arm, chosen)| (arm, chosen.rate)).collect();
    over_seeds(lab, &kinds, |(arm, rate), seed| figure(lab, arm, seed).at_rate(rate))
}

/// A row of the mean steps to an accuracy, with how many runs got there if not all did.
fn other_target(target: f64, runs: &[Vec<Outcome>]) -> Vec<String> {
    let cell = |runs: &Vec<Outcome>| {
        let reached: Vec<f64> =
            runs.iter().filter_map(|run| run.steps_to(target)).map(|steps| steps as f64).collect();
        match reached.len() {
            0 => "never".to_owned(),
            all if all == runs.len() => format!("{:.0}", mean(&reached)),
            some => format!("{:.0} ({some} of {} seeds)", mean(&reached), runs.len()),
        }
    };
    std::iter::once(format!("{:.0} %", target * 100.0)).chain(runs.iter().map(cell)).collect()
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let target = target(lab);
    let chosen = chosen(lab)?;
    let runs = runs(lab, &chosen)?;
    // Who never gets there is counted with the steps it was given: the ratio is then a lower bound.
    let length = figure(lab, Arm::Plain, 1).settings.steps;
    let to_target = |runs: &[Outcome]| -> Vec<f64> {
        runs.iter().map(|run| run.steps_to(target).unwrap_or(length) as f64).collect()
    };
    let (without, with) = (to_target(&runs[0]), to_target(&runs[1]));
    let part = Part::new(RULE, Interval::of_ratios(&without, &with));
    let never = |runs: &[Outcome]| runs.iter().filter(|run| run.steps_to(target).is_none()).count();
    let final_of = |runs: &[Outcome]| mean(&runs.iter().map(|run| run.accuracy(lab)).collect::<Vec<_>>());
    let sentence = format!(
        "To {:.0} % test accuracy the network takes {:.0} steps with batch normalization and {:.0} without, each at its best \
         learning rate ({} and {}): {} fewer. After {length} steps it is at {:.2} % with and {:.2} % without.",
        target * 100.0,
        mean(&with),
        mean(&without),
        chosen[1].rate,
        chosen[0].rate,
        part.interval.in_words(1, "x"),
        final_of(&runs[1]) * 100.0,
        final_of(&runs[0]) * 100.0,
    );
    let kinds: Vec<_> = TWINS
        .iter()
        .zip(&chosen)
        .zip(&runs)
        .map(|((&arm, chosen), runs)| (format!("{}, rate {}", named(arm), chosen.rate), ink(arm, 0), &runs[..]))
        .collect();
    let seeds = lab.seeds();
    let rows = seeds.iter().enumerate().map(|(index, seed)| {
        vec![
            seed.to_string(),
            format!("{:.0}", without[index]),
            format!("{:.0}", with[index]),
            format!("{:.1}x", without[index] / with[index]),
        ]
    });
    let by_seed = Table {
        title: format!("Steps to {:.0} % test accuracy", target * 100.0),
        head: ["seed", "without", "with", "ratio"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    };
    let other_targets = Table {
        title: "Steps to other accuracies, mean over the seeds that got there".to_owned(),
        head: ["test accuracy", "without", "with"].map(str::to_owned).to_vec(),
        rows: OTHERS.iter().map(|&target| other_target(target, &runs)).collect(),
    };
    let mut notes = rates::notes(&chosen);
    for (arm, runs) in TWINS.iter().zip(&runs) {
        notes.extend(diverged(&named(*arm), runs));
        if never(runs) > 0 {
            notes.push(format!(
                "{} of {} runs {} never reached the target; they count with all {length} steps.",
                never(runs),
                runs.len(),
                named(*arm)
            ));
        }
    }
    let settings = figure(lab, Arm::Plain, 1).settings;
    Ok(Findings {
        parts: vec![part],
        sentence,
        exhibits: vec![accuracy_curves("Test accuracy", &kinds)],
        tables: vec![by_seed, other_targets, rates::table(&chosen, By::StepsTo(target))],
        settings: vec![
            ("network".to_owned(), "mlp, 3 layers of 100 sigmoids".to_owned()),
            ("pixels".to_owned(), "binary".to_owned()),
            ("optimizer".to_owned(), "SGD".to_owned()),
            ("batch size".to_owned(), settings.batch_size.to_string()),
            ("steps".to_owned(), length.to_string()),
            ("weights".to_owned(), format!("normal, standard deviation {}", settings.init_std)),
            ("evaluated".to_owned(), format!("every {} steps on {} test images", settings.eval_every, settings.eval_images)),
        ],
        differs: "The paper's figure has one run of each network at one unstated learning rate. Here the plain network has its \
                  own best rate, which is kinder to it: at a small rate for both the ratio is larger."
            .to_owned(),
        notes,
    })
}
