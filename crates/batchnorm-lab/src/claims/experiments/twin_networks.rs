//! What the claims on single networks share: twins, each at its own best learning rate.

use super::course::{Course, Followed};
use super::seeds::{TWINS, diverged, ink, mean};
use crate::claims::claim::{Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By};
use crate::claims::training::{Outcome, Training, named};
use crate::claims::{Interval, bench};
use crate::draw::{Axis, DotRow, Dots, Scale};
use crate::networks::Network;
use crate::train::Arm;

/// A network, and what its training costs.
#[derive(Clone, Copy)]
pub(super) struct Twins {
    pub(super) network: Network,
    /// What it is called.
    pub(super) called: &'static str,
    /// Channels of the first convolutions.
    pub(super) width: usize,
    pub(super) batch: usize,
    /// Steps, quick and full.
    pub(super) steps: [usize; 2],
    /// Learning rates of both arms, quick and full.
    pub(super) grids: [&'static [f64]; 2],
    /// Where the published figures differ.
    pub(super) differs: &'static str,
}

pub(super) const ACCURACY: Rule = Rule {
    says: "a higher accuracy",
    measure: "the final test accuracy with batch normalization less that without",
    unit: " points",
    enough: 0.5,
    none: 0.1,
};
pub(super) const STEPS: Rule = Rule {
    says: "fewer steps",
    measure: "the ratio of steps to the target, without to with,",
    unit: "x",
    enough: 1.5,
    none: 1.1,
};
pub(super) const EXPERIMENT: &str = "Twins with and without batch normalization, from the same weights on the same batches, each \
                                     at the learning rate with the highest final accuracy on held-out training images; SGD with \
                                     momentum.";
pub(super) const MEASUREMENT: &str = "The difference of the final test accuracies, by population statistics; and the ratio of the steps after which an evaluation \
     first has the target accuracy: nine tenths of the way from guessing to where the better twin ends. Who never gets there counts \
     with all steps.";

/// How much of the way from guessing to where the better twin ends.
const WAY: f64 = 0.9;

/// Seeds that end farther apart are worth a note.
const SPREAD: f64 = 0.1;

impl Twins {
    fn training(&self, lab: &Lab<'_>, arm: Arm, seed: u64) -> Training {
        let [quick, full] = self.steps;
        let steps = lab.pick(quick, full);
        let run = Training::new(self.network, arm, seed, steps).with(|settings| {
            settings.width = self.width;
            settings.batch_size = self.batch;
            settings.eval_every = steps;
            settings.eval_images = 1;
        });
        // No run sees more images than that, and population statistics need no more.
        let train = (steps * self.batch).max(2_000);
        run.on(bench::Part { train: Some(train), test: Some(2_000), ..bench::Part::default() })
    }

    fn course(&self, lab: &Lab<'_>, arm: Arm, rate: f64, seed: u64) -> Course {
        let training = self.training(lab, arm, seed).at_rate(rate);
        let every = (training.settings.steps / lab.pick(25, 50)).max(1);
        Course { training, every, images: lab.pick(192, 384), running: false, own: true, population: 0 }
    }

    /// The experiment.
    pub(super) fn findings(&self, lab: &Lab<'_>) -> Result<Findings, Halt> {
        // A plain twin may learn by luck: one seed would not do.
        let [quick, full] = self.grids;
        let grid = lab.pick(quick, full);
        let kinds = TWINS.map(|arm| (arm, named(arm)));
        let chosen = rates::choose_by_seeds(lab, &rates::SEEDS, &kinds, grid, By::Accuracy, |arm, _, seed| {
            self.training(lab, arm, seed)
        })?;
        let seeds = lab.seeds();
        let tasks = TWINS
            .iter()
            .zip(&chosen)
            .flat_map(|(&arm, chosen)| seeds.iter().map(move |&seed| self.course(lab, arm, chosen.rate, seed)));
        let followed: Vec<Followed> = lab.all(tasks.collect())?;
        let runs: Vec<Vec<Outcome>> = followed
            .chunks(seeds.len())
            .map(|runs| runs.iter().map(|run| run.by(|seen| seen.own)).collect())
            .collect();
        let accuracies: Vec<Vec<f64>> =
            runs.iter().map(|runs| runs.iter().map(|run| run.accuracy(lab)).collect()).collect();
        let ends: Vec<f64> = accuracies.iter().map(|arm| mean(arm)).collect();
        let target = target(lab.facts().chance(), &ends);
        let [quick, full] = self.steps;
        let length = lab.pick(quick, full);
        // Who never gets there is counted with the steps it was given: the ratio is then a bound.
        let steps: Vec<Vec<f64>> = runs
            .iter()
            .map(|runs| runs.iter().map(|run| run.steps_to(target).unwrap_or(length) as f64).collect())
            .collect();
        let points =
            |arm: usize| -> Vec<f64> { accuracies[arm].iter().map(|accuracy| accuracy * 100.0).collect() };
        let parts = vec![
            Part::new(ACCURACY, Interval::of_differences(&points(1), &points(0))),
            Part::new(STEPS, Interval::of_ratios(&steps[0], &steps[1])),
        ];
        let sentence = format!(
            "After {length} steps the {} has {:.2} % test accuracy with batch normalization and {:.2} % without, each at its \
             best learning rate ({} and {}): a difference of {}. To {:.0} % it takes {:.0} steps with and {}{:.0} without, a \
             ratio of {}.",
            self.called,
            ends[1] * 100.0,
            ends[0] * 100.0,
            chosen[1].rate,
            chosen[0].rate,
            parts[0].interval.in_words(1, " points"),
            target * 100.0,
            mean(&steps[1]),
            if runs[0].iter().all(|run| run.steps_to(target).is_some()) { "" } else { "more than " },
            mean(&steps[0]),
            parts[1].interval.in_words(1, "x"),
        );
        let mut notes = rates::notes(&chosen);
        for (&arm, runs) in TWINS.iter().zip(&runs) {
            notes.extend(diverged(&named(arm), runs));
            let never = runs.iter().filter(|run| run.steps_to(target).is_none()).count();
            if never > 0 {
                notes.push(format!(
                    "{never} of {} runs of \u{201c}{}\u{201d} never reached the target; they count with all {length} steps.",
                    runs.len(),
                    named(arm)
                ));
            }
        }
        for (&arm, accuracies) in TWINS.iter().zip(&accuracies) {
            let most = accuracies.iter().copied().fold(0.0, f64::max);
            let least = accuracies.iter().copied().fold(1.0, f64::min);
            if most - least > SPREAD {
                notes.push(format!(
                    "The seeds of \u{201c}{}\u{201d} end between {:.1} and {:.1} %: whether it learns in so many steps is partly luck, \
                     in the runs that its rate was chosen by as well.",
                    named(arm),
                    least * 100.0,
                    most * 100.0
                ));
            }
        }
        notes.push(
            "On the way both are evaluated by the statistics of the test batches themselves, as running averages would lag behind \
             in so short a run; in the end by population statistics."
                .to_owned(),
        );
        let kinds: Vec<_> = TWINS
            .iter()
            .zip(&chosen)
            .zip(&runs)
            .map(|((&arm, chosen), runs)| {
                (format!("{}, rate {}", named(arm), chosen.rate), ink(arm, 0), &runs[..])
            })
            .collect();
        let settings = self.training(lab, Arm::Plain, 1).settings;
        Ok(Findings {
            parts,
            sentence,
            exhibits: vec![
                dots(&accuracies),
                super::seeds::accuracy_curves("Test accuracy on the way", &kinds),
            ],
            tables: vec![by_seed(&seeds, &accuracies, &steps), rates::table(&chosen, By::Accuracy)],
            settings: vec![
                ("network".to_owned(), format!("{} of width {}", self.network, self.width)),
                ("optimizer".to_owned(), format!("SGD with momentum {}", settings.sgd_momentum)),
                ("batch size".to_owned(), settings.batch_size.to_string()),
                ("steps".to_owned(), length.to_string()),
                ("initial weights".to_owned(), settings.init.to_string()),
                (
                    "evaluated".to_owned(),
                    format!(
                        "every {} steps on {} test images, in the end on 2000 or all",
                        self.course(lab, Arm::Plain, 1.0, 1).every,
                        self.course(lab, Arm::Plain, 1.0, 1).images
                    ),
                ),
            ],
            differs: self.differs.to_owned(),
            notes,
        })
    }
}

/// The accuracy that counts as learned, from those that the twins end with.
fn target(chance: f64, ends: &[f64]) -> f64 {
    let better = ends.iter().copied().fold(chance, f64::max);
    chance + WAY * (better - chance)
}

fn by_seed(seeds: &[u64], accuracies: &[Vec<f64>], steps: &[Vec<f64>]) -> Table {
    let rows = seeds.iter().enumerate().map(|(index, seed)| {
        let [without, with] = [0, 1].map(|arm| accuracies[arm][index] * 100.0);
        vec![
            seed.to_string(),
            format!("{without:.2} %"),
            format!("{with:.2} %"),
            format!("{:+.2}", with - without),
            format!("{:.0}", steps[0][index]),
            format!("{:.0}", steps[1][index]),
        ]
    });
    Table {
        title: "Final test accuracy and steps to the target, by seed".to_owned(),
        head: ["seed", "without", "with", "points", "steps without", "steps with"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

fn dots(accuracies: &[Vec<f64>]) -> Exhibit {
    let percent = |arm: &Vec<f64>| arm.iter().map(|accuracy| accuracy * 100.0).collect::<Vec<f64>>();
    let rows: Vec<DotRow> = TWINS
        .iter()
        .zip(accuracies)
        .map(|(&arm, accuracies)| DotRow { name: named(arm), ink: ink(arm, 0), values: percent(accuracies) })
        .collect();
    let scale = Scale::fitting(rows.iter().flat_map(|row| row.values.iter().copied()));
    let x = Axis { label: "final test accuracy (%)", scale };
    Exhibit {
        drawing: Dots { title: "Where the twins end", x, rows }.draw(),
        reading: "Each dot is one seed, at the same height in both rows; the bar is the mean. Further right is better.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_nearly_where_the_better_twin_ends() {
        assert!((target(0.1, &[0.9, 0.6]) - 0.82).abs() < 1e-12);
        assert_eq!(target(0.1, &[0.08, 0.05]), 0.1);
        assert_eq!(target(0.1, &[]), 0.1);
    }
}
