//! The second weakness: training differs from inference.

use super::course::{Course, Followed, Seen};
use super::seeds::{accuracy_curves, bands, diverged, mean, percent};
use crate::claims::Interval;
use crate::claims::bench;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By};
use crate::claims::training::{Outcome, Training};
use crate::draw::{Axis, Ink, Kind, Scale, Series};
use crate::networks::Network;
use crate::train::{Arm, Schedule, Statistics};

pub(super) const CLAIM: Claim = Claim {
    name: "train-inference",
    claim: "What a network with batch normalization computes at inference differs from what it was trained to: running averages \
            fall short on the way and wobble, and population statistics or a frozen end close the gap.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), Algorithm 2; Wu and Johnson 2021 (arXiv 2105.07576), section 3.",
    experiment: "A small VGG with batch normalization, at its best learning rate, which falls along a cosine. On the way the same weights are evaluated by running \
                 averages of three speeds, by population statistics taken anew each time, and by the test batches' own \
                 statistics, as in training. Another run normalizes by its running averages, which no longer change, for the \
                 last third of its steps.",
    measurement: "How far the test accuracy by running averages is below that by population statistics on the way, and how far the \
                  one travels up and down against the other; and how far apart they are in the end.",
    rules: &[SHORT, UNSTEADY, POPULATION, FROZEN],
    published: "Wu and Johnson 2021 show validation curves of a ResNet-50 on ImageNet that are noisy by running averages and smooth \
                by population statistics, most clearly early in training, with both ending alike.",
    run,
};

const SHORT: Rule = Rule {
    says: "running averages fall short on the way",
    measure: "the accuracy by population statistics less that by running averages of the same weights, averaged over the way,",
    unit: " points",
    enough: 2.0,
    none: 0.5,
};
const UNSTEADY: Rule = Rule {
    says: "running averages are unsteady",
    measure: "the ratio of the ways that the accuracy travels, by running averages to by population statistics,",
    unit: "x",
    enough: 1.5,
    none: 1.1,
};
const POPULATION: Rule = Rule {
    says: "population statistics close the gap",
    measure: "the accuracy by the batches' own statistics less that by population statistics, averaged over the last third,",
    unit: " points",
    enough: 0.5,
    none: 1.0,
};
const FROZEN: Rule = Rule {
    says: "a frozen end does as well",
    measure: "the final accuracy by population statistics less that of the run with a frozen end",
    ..POPULATION
};

/// What the engine's default weight of a new batch is divided by: slower averages, the default, faster ones.
const SLOWER: [f64; 3] = [10.0, 1.0, 0.2];
/// The place of the default among them.
const DEFAULT: usize = 1;
/// Half powers of ten.
const GRID: [f64; 5] = [0.03, 0.1, 0.3, 1.0, 3.0];
/// Evaluations on the way.
const EVALUATIONS: usize = 30;

fn steps(lab: &Lab<'_>) -> usize {
    lab.pick(120, 300)
}

fn training(lab: &Lab<'_>, arm: Arm, seed: u64) -> Training {
    let run = Training::new(Network::Vgg, arm, seed, steps(lab)).with(|settings| {
        settings.width = 4;
        // As in long trainings, whose rates are small in the end.
        settings.schedule = Schedule::Cosine;
        settings.eval_every = settings.steps;
        settings.eval_images = 1;
    });
    run.on(bench::Part { test: Some(2_000), ..bench::Part::default() })
}

/// The weight of a new batch in the running averages.
fn weight(lab: &Lab<'_>, slower: f64) -> f64 {
    training(lab, Arm::BatchNorm, 1).settings.bn_momentum / slower
}

/// What is trained and looked at: a speed of running averages, or a frozen end.
#[derive(Clone, Copy, PartialEq)]
enum Run {
    /// The place of its speed.
    Averages(usize),
    Frozen,
    /// At a rate that does not decay.
    FrozenAtFullRate,
}

const RUNS: [Run; 5] =
    [Run::Averages(0), Run::Averages(1), Run::Averages(2), Run::Frozen, Run::FrozenAtFullRate];

fn frozen_after(lab: &Lab<'_>) -> usize {
    steps(lab) * 2 / 3
}

fn course(lab: &Lab<'_>, run: Run, rate: f64, seed: u64) -> Course {
    let arm = match run {
        Run::Averages(_) => Arm::BatchNorm,
        _ => Arm::FrozenAfter { steps: frozen_after(lab) },
    };
    let main = run == Run::Averages(DEFAULT);
    let training = training(lab, arm, seed).at_rate(rate).with(|settings| {
        if let Run::Averages(place) = run {
            settings.bn_momentum /= SLOWER[place];
        }
        if run == Run::FrozenAtFullRate {
            settings.schedule = Schedule::Constant;
        }
        if !main {
            settings.statistics = Statistics::Running;
        }
    });
    let every = (steps(lab) / EVALUATIONS).max(1);
    let population = if main { 1_000 } else { 0 };
    Course { training, every, images: 1_000, running: true, own: main, population }
}

/// How far a number travels up and down: the sum of its changes.
fn way(values: &[f64]) -> f64 {
    values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum()
}

/// The last third.
fn end(values: &[f64]) -> &[f64] {
    &values[values.len() - values.len() / 3..]
}

/// The accuracies of a run in percent, that of guessing where there is none, and for all that is missing of a run that
/// diverged.
fn accuracies(lab: &Lab<'_>, run: &Followed, of: impl Fn(&Seen) -> Option<f64>) -> Vec<f64> {
    let every = course(lab, Run::Frozen, 1.0, 1).every;
    let guessing = lab.facts().chance();
    let at = |index: usize| run.points.get(index).and_then(&of).unwrap_or(guessing) * 100.0;
    (0..steps(lab).div_ceil(every)).map(at).collect()
}

/// A kind of statistics: its name and its ink, and of each seed the accuracies on the way.
struct Kept {
    name: String,
    ink: Ink,
    seeds: Vec<Vec<f64>>,
    outcomes: Vec<Outcome>,
}

fn kept(lab: &Lab<'_>, name: String, ink: Ink, runs: &[Followed], of: fn(&Seen) -> Option<f64>) -> Kept {
    Kept {
        name,
        ink,
        seeds: runs.iter().map(|run| accuracies(lab, run, of)).collect(),
        outcomes: runs.iter().map(|run| run.by(of)).collect(),
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let chosen = rates::choose_for_arms(lab, &[Arm::BatchNorm], &GRID, By::Accuracy, |arm, _, seed| {
        training(lab, arm, seed)
    })?;
    let rate = chosen.first().map_or(GRID[0], |chosen| chosen.rate);
    let seeds = lab.seeds();
    let tasks = RUNS.iter().flat_map(|&run| seeds.iter().map(move |&seed| course(lab, run, rate, seed)));
    let followed = lab.all(tasks.collect())?;
    let runs: Vec<&[Followed]> = followed.chunks(seeds.len()).collect();
    let averages = |place: usize| {
        let name = format!("running averages, weight {}", weight(lab, SLOWER[place]));
        kept(lab, name, Ink::nth([4, 1, 5][place]), runs[place], |seen| seen.running)
    };
    let main = runs[DEFAULT];
    let running = averages(DEFAULT);
    let population = kept(lab, "population".to_owned(), Ink::nth(2), main, |seen| seen.population);
    let own = kept(lab, "the batch's own".to_owned(), Ink::nth(6), main, |seen| seen.own);
    let mut frozen = kept(
        lab,
        format!("running averages, frozen after step {}", frozen_after(lab)),
        Ink::nth(3),
        runs[3],
        |seen| seen.running,
    );
    let full_rate = kept(lab, String::new(), Ink::NEUTRAL, runs[4], |seen| seen.running);

    let ways = |kept: &Kept| -> Vec<f64> { kept.seeds.iter().map(|seed| way(seed)).collect() };
    let ends = |kept: &Kept| -> Vec<f64> { kept.seeds.iter().map(|seed| mean(end(seed))).collect() };
    let means = |kept: &Kept| -> Vec<f64> { kept.seeds.iter().map(|seed| mean(seed)).collect() };
    let finals =
        |kept: &Kept| -> Vec<f64> { kept.outcomes.iter().map(|run| 100.0 * run.accuracy(lab)).collect() };
    let parts = vec![
        Part::new(SHORT, Interval::of_differences(&means(&population), &means(&running))),
        Part::new(UNSTEADY, Interval::of_ratios(&ways(&running), &ways(&population))),
        Part::new(POPULATION, Interval::of_differences(&ends(&own), &ends(&population))),
        Part::new(FROZEN, Interval::of_differences(&finals(&population), &finals(&frozen))),
    ];
    let best = population.seeds.clone();
    let largest = |kept: &Kept| -> f64 {
        let shortfall = |seed: (&Vec<f64>, &Vec<f64>)| {
            seed.0.iter().zip(seed.1).map(|(population, found)| population - found).fold(0.0, f64::max)
        };
        mean(&best.iter().zip(&kept.seeds).map(shortfall).collect::<Vec<f64>>())
    };
    let sentence = format!(
        "On the way the accuracy by running averages is {} below that by population statistics of the same weights, at its worst \
         {:.0}, and travels {} as far up and down. In the last third it is {:.2} % by population statistics and {:.2} % by the \
         batches' own; at the end {:.2} % by population statistics and {:.2} % of the run with a frozen end.",
        parts[0].interval.in_words(1, " points"),
        largest(&running),
        parts[1].interval.in_words(2, " times"),
        mean(&ends(&population)),
        mean(&ends(&own)),
        mean(&finals(&population)),
        mean(&finals(&frozen)),
    );
    let mut notes = rates::notes(&chosen);
    notes.extend(diverged("batch normalization", &population.outcomes));
    notes.extend(diverged(&frozen.name, &frozen.outcomes));
    notes.push(format!(
        "If the rate does not decay, the run with a frozen end ends at {:.2} %, and {} of {} such runs diverge: with frozen \
         statistics nothing bounds what layers put out, and a rate may be too high that was not before.",
        mean(&finals(&full_rate)),
        full_rate.outcomes.iter().filter(|run| run.diverged()).count(),
        full_rate.outcomes.len(),
    ));
    notes.push(
        "Runs with other weights of a new batch take the same steps: running averages have no part in training. The run with a \
         frozen end is another from there on."
            .to_owned(),
    );
    // Until then it is the run before, whose line it would hide.
    for outcome in &mut frozen.outcomes {
        outcome.run.curve.retain(|point| point.step >= frozen_after(lab));
    }
    let all = [population, own, averages(0), running, averages(2), frozen];
    let rows = all.iter().map(|kept| {
        vec![
            kept.name.clone(),
            format!("{:.1}", mean(&ways(kept))),
            format!("{:.1}", largest(kept)),
            percent(mean(&ends(kept)) / 100.0),
            percent(
                mean(&kept.seeds.iter().filter_map(|seed| seed.last().copied()).collect::<Vec<_>>()) / 100.0,
            ),
        ]
    });
    let head = ["statistics", "way, points", "largest shortfall, points", "last third", "last step"];
    let table = Table {
        title: "Test accuracy by statistics, mean over the seeds".to_owned(),
        head: head.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    };
    let settings = course(lab, Run::Averages(DEFAULT), rate, 1);
    let curves: Vec<(String, Ink, &[Outcome])> =
        all.iter().map(|kept| (kept.name.clone(), kept.ink.clone(), &kept.outcomes[..])).collect();
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![accuracy_curves("Accuracy on the way, by statistics", &curves), shortfalls(&all)],
        tables: vec![table, rates::table(&chosen, By::Accuracy)],
        settings: vec![
            ("network".to_owned(), format!("vgg of width {}", settings.training.settings.width)),
            ("optimizer".to_owned(), format!("SGD with momentum {}, rate {rate} falling to 0 along a cosine", settings.training.settings.sgd_momentum)),
            ("batch size".to_owned(), settings.training.settings.batch_size.to_string()),
            ("steps".to_owned(), steps(lab).to_string()),
            (
                "evaluated".to_owned(),
                format!("every {} steps on up to {} test images; population statistics of up to {} training images", settings.every, settings.images, settings.population),
            ),
        ],
        differs: "The published curves are of a training of many epochs, whose running averages see thousands of batches between two \
                  evaluations. These trainings are short, so that the averages lag for a larger part of them."
            .to_owned(),
        notes,
    })
}

/// How far each kind of statistics is below population statistics of the same step.
fn shortfalls([population, own, slow, default, fast, _]: &[Kept; 6]) -> Exhibit {
    let curve = population.outcomes.first().map(|run| &run.run.curve[..]).unwrap_or_default();
    let steps: Vec<usize> = curve.iter().map(|point| point.step).collect();
    // Those of the same weights alone.
    let series: Vec<Series> = [own, slow, default, fast]
        .iter()
        .map(|kept| {
            let at = |index: usize| {
                let pairs = population.seeds.iter().zip(&kept.seeds);
                pairs.filter_map(|(one, other)| Some(other.get(index)? - one.get(index)?)).collect()
            };
            let points = steps.iter().enumerate().map(|(index, &step)| (step as f64, at(index))).collect();
            Series { name: kept.name.clone(), ink: kept.ink.clone(), points }
        })
        .collect();
    let values =
        series.iter().flat_map(|series| series.points.iter().flat_map(|point| point.1.iter().copied()));
    let y = Axis { label: "points above population", scale: Scale::around(Kind::Linear, values) };
    let x = Axis {
        label: "training steps",
        scale: Scale::around(Kind::Linear, steps.iter().map(|&step| step as f64)),
    };
    Exhibit {
        drawing: bands("Against population statistics of the same weights", " points", x, y, series),
        reading: "The weights are the same in every line; what differs are the statistics. Below 0 the network is better than these \
                  statistics let it look. Bands reach from the worst seed to the best."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_only_rises_travels_no_further_than_it_gets() {
        assert_eq!(way(&[10.0, 40.0, 90.0]), 80.0);
        assert_eq!(way(&[10.0, 90.0, 50.0, 90.0]), 160.0);
        assert_eq!(way(&[]), 0.0);
    }

    #[test]
    fn the_end_is_the_last_third() {
        assert_eq!(end(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), [6.0, 7.0]);
        assert!(end(&[]).is_empty());
    }
}
