//! Runs over seeds, which all experiments have: their tasks, their curves, their numbers as text.

use maud::Markup;

use crate::claims::claim::Exhibit;
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::Chosen;
use crate::claims::training::{Outcome, Training};
use crate::draw::{Axis, Bands, Frame, Ink, Kind, Scale, Series, Size};
use crate::train::{Arm, Point};

/// The twins, without first.
pub(super) const TWINS: [Arm; 2] = [Arm::Plain, Arm::BatchNorm];

/// The outcomes of the lab's seeds for each kind of run, in the kinds' order.
pub(super) fn over_seeds<K: Copy>(
    lab: &Lab<'_>,
    kinds: &[K],
    run: impl Fn(K, u64) -> Training,
) -> Result<Vec<Vec<Outcome>>, Halt> {
    let seeds = lab.seeds();
    let tasks = kinds.iter().flat_map(|&kind| seeds.iter().map(move |&seed| (kind, seed)));
    let outcomes = lab.all(tasks.map(|(kind, seed)| run(kind, seed)).collect())?;
    Ok(outcomes.chunks(seeds.len()).map(<[Outcome]>::to_vec).collect())
}

/// The ink of an arm among the twins, of any other by its place.
pub(super) fn ink(arm: Arm, place: usize) -> Ink {
    match arm {
        Arm::Plain => Ink::Class("plain"),
        Arm::BatchNorm => Ink::Class("batch-norm"),
        _ => Ink::nth(place),
    }
}

/// What several runs measured at each evaluation, for a drawing: the step, the value of each run.
pub(super) fn curve(runs: &[Outcome], value: impl Fn(&Point) -> Option<f64>) -> Vec<(f64, Vec<f64>)> {
    let longest = runs.iter().max_by_key(|run| run.run.curve.len());
    let steps = longest.map(|run| run.run.curve.iter().map(|point| point.step).collect::<Vec<_>>());
    let at =
        |run: &Outcome, step: usize| run.run.curve.iter().find(|point| point.step == step).and_then(&value);
    let values = |step: usize| runs.iter().filter_map(|run| at(run, step)).collect();
    steps.unwrap_or_default().into_iter().map(|step| (step as f64, values(step))).collect()
}

/// Test accuracy over the steps of training.
pub(super) fn accuracy_curves(title: &str, kinds: &[(String, Ink, &[Outcome])]) -> Exhibit {
    let series: Vec<Series> = kinds
        .iter()
        .map(|(name, ink, runs)| Series {
            name: name.clone(),
            ink: ink.clone(),
            points: curve(runs, |point| point.test_accuracy.map(|accuracy| accuracy * 100.0)),
        })
        .collect();
    let x = Axis { label: "training steps (logarithmic)", scale: Scale::around(Kind::Log, steps(&series)) };
    let y = Axis { label: "test accuracy (%)", scale: Scale::exactly(Kind::Linear, 0.0, 100.0) };
    Exhibit {
        drawing: bands(title, " %", x, y, series),
        reading: "Each line is the mean over the seeds, the band around it reaches from the worst seed to the best. Further left \
                  and higher is better."
            .to_owned(),
    }
}

pub(super) fn bands(title: &str, unit: &'static str, x: Axis<'_>, y: Axis<'_>, series: Vec<Series>) -> Markup {
    Bands { title, frame: Frame { size: Size::Large, x, y }, unit, series }.draw()
}

fn steps(series: &[Series]) -> impl Iterator<Item = f64> + Clone + '_ {
    series.iter().flat_map(|series| series.points.iter().map(|point| point.0))
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// The mean of numbers.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// How many runs diverged, as a note; none if none did.
pub(super) fn diverged(name: &str, runs: &[Outcome]) -> Option<String> {
    let number = runs.iter().filter(|run| run.diverged()).count();
    (number > 0).then(|| {
        format!(
            "{number} of {} runs of \u{201c}{name}\u{201d} diverged; they count with the accuracy of guessing.",
            runs.len()
        )
    })
}

/// The rate with the highest score averaged over several choices from one grid.
pub(super) fn best_on_average(name: &str, choices: &[Chosen]) -> Chosen {
    let grid: Vec<f64> =
        choices.first().map(|first| first.tried.iter().map(|tried| tried.0).collect()).unwrap_or_default();
    let score = |index: usize| {
        let scores: Vec<f64> = choices.iter().filter_map(|chosen| Some(chosen.tried.get(index)?.1)).collect();
        mean(&scores)
    };
    let tried: Vec<(f64, f64)> = grid.iter().enumerate().map(|(index, &rate)| (rate, score(index))).collect();
    // Of equals the first, which is the smallest.
    let best =
        tried.iter().rev().max_by(|one, other| one.1.total_cmp(&other.1)).map_or(f64::NAN, |best| best.0);
    let at_the_end = grid.first() == Some(&best) || grid.last() == Some(&best);
    Chosen { name: name.to_owned(), rate: best, at_the_end, tried }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_on_average_is_best_of_none_perhaps() {
        let chosen = |scores: [f64; 3]| Chosen {
            name: String::new(),
            rate: 1.0,
            at_the_end: true,
            tried: [0.1, 0.3, 1.0].into_iter().zip(scores).collect(),
        };
        let best = best_on_average("both", &[chosen([0.9, 0.8, 0.0]), chosen([0.0, 0.8, 0.9])]);
        assert_eq!((best.rate, best.at_the_end, best.tried[1].1), (0.3, false, 0.8));
        let equal = best_on_average("equal", &[chosen([0.5; 3])]);
        assert_eq!((equal.rate, equal.at_the_end), (0.1, true));
    }
}
