//! Each arm's own best learning rate, chosen on held-out training images and never on the test set.

use super::bench::Part;
use super::claim::Table;
use super::lab::{Halt, Lab};
use super::training::{Outcome, Training, named};
use crate::train::Arm;

/// What makes a rate the best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum By {
    /// The highest accuracy at the end.
    Accuracy,
    /// The fewest steps to an accuracy; of rates that never get there, the highest accuracy at the end.
    StepsTo(f64),
}

/// The rate that an arm does best with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chosen {
    /// What was chosen for: an arm, as a row is named.
    pub(crate) name: String,
    /// The rate.
    pub(crate) rate: f64,
    /// Whether it is the least or the largest of the grid: a better one may lie beyond.
    pub(crate) at_the_end: bool,
    /// Every rate with its score, averaged over the seeds it was chosen with.
    pub(crate) tried: Vec<(f64, f64)>,
}

/// The seeds of choosing, which no other run has.
pub(crate) const SEEDS: [u64; 2] = [1001, 1002];

/// The best of a grid of learning rates for each of several kinds of runs, on the validation part of the data.
///
/// `run(kind, rate, seed)` makes the runs; of their part of the data only its size is kept.
pub(crate) fn choose<K: Copy>(
    lab: &Lab<'_>,
    kinds: &[(K, String)],
    grid: &[f64],
    by: By,
    run: impl Fn(K, f64, u64) -> Training,
) -> Result<Vec<Chosen>, Halt> {
    choose_by_seeds(lab, &SEEDS[..lab.pick(1, 2)], kinds, grid, by, run)
}

/// The same with those seeds: for runs that depend on luck.
pub(crate) fn choose_by_seeds<K: Copy>(
    lab: &Lab<'_>,
    seeds: &[u64],
    kinds: &[(K, String)],
    grid: &[f64],
    by: By,
    run: impl Fn(K, f64, u64) -> Training,
) -> Result<Vec<Chosen>, Halt> {
    let mut tasks = Vec::new();
    for &(kind, _) in kinds {
        for &rate in grid {
            for &seed in seeds {
                let run = run(kind, rate, seed).at_rate(rate);
                let part = Part { validation: true, ..run.part };
                tasks.push(run.on(part));
            }
        }
    }
    let outcomes = lab.all(tasks)?;
    let mut runs = outcomes.chunks_exact(seeds.len());
    let mut chosen = Vec::new();
    for (_, name) in kinds {
        let tried: Vec<(f64, f64, f64)> = grid
            .iter()
            .map(|&rate| {
                let runs = runs.next().expect("a run for each rate and seed");
                let mean = |of: &dyn Fn(&Outcome) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
                let score = mean(&|run| score(lab, run, by));
                // Among equals the lower loss decides.
                let loss = mean(&|run| run.run.final_test_loss.filter(|loss| loss.is_finite()).unwrap_or(1e9));
                (rate, score, loss)
            })
            .collect();
        let better = |one: &&(f64, f64, f64), other: &&(f64, f64, f64)| {
            one.1.total_cmp(&other.1).then(other.2.total_cmp(&one.2))
        };
        let best = tried.iter().max_by(better).map_or(grid[0], |best| best.0);
        chosen.push(Chosen {
            name: name.clone(),
            rate: best,
            at_the_end: grid.first() == Some(&best) || grid.last() == Some(&best),
            tried: tried.into_iter().map(|(rate, score, _)| (rate, score)).collect(),
        });
    }
    Ok(chosen)
}

/// As [`choose`], for arms.
pub(crate) fn choose_for_arms(
    lab: &Lab<'_>,
    arms: &[Arm],
    grid: &[f64],
    by: By,
    run: impl Fn(Arm, f64, u64) -> Training,
) -> Result<Vec<Chosen>, Halt> {
    let kinds: Vec<(Arm, String)> = arms.iter().map(|&arm| (arm, named(arm))).collect();
    choose(lab, &kinds, grid, by, run)
}

/// Larger is better.
fn score(lab: &Lab<'_>, outcome: &Outcome, by: By) -> f64 {
    match by {
        By::Accuracy => outcome.accuracy(lab),
        // Accuracies lie between 0 and 1: below every number of steps there is.
        By::StepsTo(target) => match outcome.steps_to(target) {
            Some(steps) => 1.0 + 1.0 / steps as f64,
            None => outcome.accuracy(lab),
        },
    }
}

/// The rates that were tried, and what they gave.
pub(crate) fn table(chosen: &[Chosen], by: By) -> Table {
    let rates = chosen.first().map(|first| &first.tried[..]).unwrap_or_default();
    let mut head = vec!["learning rate".to_owned()];
    head.extend(rates.iter().map(|(rate, _)| rate.to_string()));
    head.push("chosen".to_owned());
    let cell = |score: f64| match by {
        By::StepsTo(_) if score > 1.0 => format!("{:.0} steps", 1.0 / (score - 1.0)),
        _ => format!("{:.2} %", score * 100.0),
    };
    let row = |chosen: &Chosen| {
        let mut row = vec![chosen.name.clone()];
        row.extend(chosen.tried.iter().map(|&(_, score)| cell(score)));
        row.push(chosen.rate.to_string());
        row
    };
    let rows = chosen.iter().map(row).collect();
    let title = match by {
        By::Accuracy => "Learning rates tried on held-out training images: accuracy at the end".to_owned(),
        By::StepsTo(target) => format!(
            "Learning rates tried on held-out training images: steps to {} %, or the accuracy at the end",
            target * 100.0
        ),
    };
    Table { title, head, rows }
}

/// A note for each rate at the end of its grid.
pub(crate) fn notes(chosen: &[Chosen]) -> Vec<String> {
    let at_the_end = chosen.iter().filter(|chosen| chosen.at_the_end);
    at_the_end
        .map(|Chosen { name, rate, .. }| {
            format!("The best learning rate for \u{201c}{name}\u{201d}, {rate}, is at the end of the grid: a better one may lie beyond.")
        })
        .collect()
}
