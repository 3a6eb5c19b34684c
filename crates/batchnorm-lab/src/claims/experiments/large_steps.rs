//! The gain is the learning rate (Bjorck et al. 2018).

use super::seeds::{TWINS, bands, diverged, ink, mean, over_seeds, percent};
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By, Chosen};
use crate::claims::training::{Outcome, Training, named};
use crate::claims::{Interval, bench};
use crate::draw::{Axis, DotRow, Dots, Ink, Kind, Scale, Series};
use crate::networks::{Activation, Init, Network};
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "large-steps",
    claim: "At the same small learning rate batch normalization gains little; what it gains comes from the larger rate it allows.",
    source: "Bjorck et al. 2018, \"Understanding Batch Normalization\" (arXiv 1806.02375), section 1.2 and Figure 1.",
    experiment: "A small VGG and a fully connected network of ReLUs, with and without batch normalization: both at a third of the rate \
                 that is best without, which both train with, for three times as many steps, so that nobody runs out of them; \
                 and each at its own best rate.",
    measurement: "The gain in test accuracy, with minus without, in points: that of each at its own best rate minus that of both at the \
                  small rate, seed by seed.",
    rules: &[CONVOLUTIONAL, FULLY_CONNECTED],
    published: "In the paper, a ResNet of 110 layers on CIFAR-10 that has to make do with the rate of the network without batch \
                normalization, 0.0001, does no better than it, and gains its accuracy from rates of 0.003 and 0.1.",
    run,
};

const CONVOLUTIONAL: Rule = Rule {
    says: "the gain comes from the rate, VGG",
    measure: "the gain at each arm's own best rate minus the gain at the same small rate, of the VGG,",
    unit: " points",
    enough: 0.5,
    none: 0.0,
};
const FULLY_CONNECTED: Rule = Rule {
    says: "the gain comes from the rate, fully connected",
    measure: "the gain at each arm's own best rate minus the gain at the same small rate, of the fully connected network,",
    ..CONVOLUTIONAL
};

/// The small rate: the best one without batch normalization divided by this. Both train with it, and neither is near its limit.
/// At the small rate both take so many times as many steps, or it would be compared who is the faster to begin with.
const SMALLER: usize = 3;

/// Without momentum, so that the rate is all there is to a step's size.
const GRID: [f64; 5] = [0.03, 0.1, 0.3, 1.0, 3.0];

fn task(lab: &Lab<'_>, network: Network, arm: Arm, seed: u64) -> Training {
    let run = match network {
        Network::Mlp => Training::new(network, arm, seed, lab.pick(600, 2_000)).with(|settings| {
            settings.activation = Activation::Relu;
            settings.init = Init::He;
        }),
        _ => Training::new(network, arm, seed, lab.pick(200, 250)).with(|settings| {
            settings.width = 4;
            settings.sgd_momentum = 0.0;
        }),
    };
    run.with(|settings| {
        settings.eval_every = settings.steps;
        settings.eval_images = 500;
    })
    .on(bench::Part { test: Some(2_000), ..bench::Part::default() })
}

/// One network's outcome.
struct Found {
    network: Network,
    chosen: Vec<Chosen>,
    small: f64,
    /// By [case](cases) and arm.
    runs: Vec<Vec<Vec<Outcome>>>,
    /// In percent, by the same and seed.
    accuracies: Vec<Vec<Vec<f64>>>,
    interval: Interval,
}

/// The gains of each seed, with minus without.
fn gains(accuracies: &[Vec<f64>]) -> Vec<f64> {
    accuracies[1].iter().zip(&accuracies[0]).map(|(with, without)| with - without).collect()
}

fn find(lab: &Lab<'_>, network: Network) -> Result<Found, Halt> {
    let chosen =
        rates::choose_for_arms(lab, &TWINS, &GRID, By::Accuracy, |arm, _, seed| task(lab, network, arm, seed))?;
    // Of two digits: a third of 0.3 is 0.1.
    let small = chosen[0].rate / SMALLER as f64;
    let small = format!("{small:.1e}").parse().unwrap_or(small);
    let [without, with] = [chosen[0].rate, chosen[1].rate];
    // The rates of both arms, and how many times the steps they are given.
    let cases = [([small; 2], SMALLER), ([without, with], 1), ([small; 2], 1), ([without; 2], 1)];
    let kinds: Vec<(Arm, f64, usize)> = cases
        .iter()
        .flat_map(|&(rates, times)| TWINS.into_iter().zip(rates).map(move |(arm, rate)| (arm, rate, times)))
        .collect();
    let runs = over_seeds(lab, &kinds, |(arm, rate, times), seed| {
        task(lab, network, arm, seed).at_rate(rate).with(|settings| {
            settings.steps *= times;
            settings.eval_every = settings.steps;
        })
    })?;
    let runs: Vec<Vec<Vec<Outcome>>> = runs.chunks(TWINS.len()).map(<[Vec<Outcome>]>::to_vec).collect();
    let of = |runs: &Vec<Outcome>| runs.iter().map(|run| run.accuracy(lab) * 100.0).collect();
    let accuracies: Vec<Vec<Vec<f64>>> = runs.iter().map(|arms| arms.iter().map(of).collect()).collect();
    let interval = Interval::of_differences(&gains(&accuracies[BEST]), &gains(&accuracies[SMALL]));
    Ok(Found { network, chosen, small, runs, accuracies, interval })
}

/// What is compared, in words.
fn cases(found: &Found) -> [String; 4] {
    let [without, with] = [found.chosen[0].rate, found.chosen[1].rate];
    [
        format!("both at {} for {SMALLER} times the steps", found.small),
        format!("each at its best rate, {without} and {with}"),
        format!("both at {} for as many steps", found.small),
        format!("both at {without}, the best without"),
    ]
}
/// Of these, the two that the rules compare.
const SMALL: usize = 0;
const BEST: usize = 1;

fn dots(found: &[Found]) -> Exhibit {
    let rows: Vec<DotRow> = found
        .iter()
        .flat_map(|found| {
            let cases = cases(found).into_iter().zip(&found.accuracies).enumerate();
            cases.map(|(place, (case, accuracies))| DotRow {
                name: format!("{}, {case}", found.network),
                ink: if place == BEST { Ink::BATCH_NORM } else { Ink::PLAIN },
                values: gains(accuracies),
            })
        })
        .collect();
    let scale = Scale::around(Kind::Linear, rows.iter().flat_map(|row| row.values.clone()).chain([0.0]));
    let x = Axis { label: "gain: test accuracy with minus without (points)", scale };
    Exhibit {
        drawing: Dots { title: "Gain of batch normalization", x, rows }.draw(),
        reading: "Each dot is a seed, the bar their mean. The claim holds if the gain at the same rate is near 0 and that at each arm's best \
                  rate lies to the right of it."
            .to_owned(),
    }
}

/// The accuracy at every rate that was tried, on the held-out images.
fn curves(found: &Found) -> Exhibit {
    let series = TWINS.iter().zip(&found.chosen).map(|(&arm, chosen)| Series {
        name: named(arm),
        ink: ink(arm, 0),
        points: chosen.tried.iter().map(|&(rate, score)| (rate, vec![score * 100.0])).collect(),
    });
    let x = Axis { label: "learning rate (logarithmic)", scale: Scale::around(Kind::Log, GRID.into_iter()) };
    let y = Axis { label: "held-out accuracy (%)", scale: Scale::exactly(Kind::Linear, 0.0, 100.0) };
    Exhibit {
        drawing: bands(&format!("{}: accuracy against the rate", found.network), " %", x, y, series.collect()),
        reading: "On held-out training images, from which the rates were chosen. If the gain came from the rate alone, the lines would run \
                  together on the left and part only where the one without breaks."
            .to_owned(),
    }
}

fn table(lab: &Lab<'_>, found: &Found) -> Table {
    let cases = cases(found);
    let rows = cases.into_iter().zip(&found.accuracies).map(|(case, accuracies)| {
        vec![
            case,
            percent(mean(&accuracies[0]) / 100.0),
            percent(mean(&accuracies[1]) / 100.0),
            Interval::of_differences(&accuracies[1], &accuracies[0]).in_words(2, ""),
        ]
    });
    Table {
        title: format!("{}: test accuracy, mean over {} seeds", found.network, lab.seeds().len()),
        head: ["learning rate", "without", "with", "gain in points (95 % interval)"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let found = [find(lab, Network::Vgg)?, find(lab, Network::Mlp)?];
    let parts =
        vec![Part::new(CONVOLUTIONAL, found[0].interval), Part::new(FULLY_CONNECTED, found[1].interval)];
    let each: Vec<String> = found
        .iter()
        .map(|found| {
            let [small, best, short, same] = [0, 1, 2, 3].map(|case| mean(&gains(&found.accuracies[case])));
            format!(
                "in the {}, {small:.2} points with both at the rate {} ({short:.2} if they stop after a third of the steps), {same:.2} with \
                 both at {}, and {best:.2} with each at its best rate, {} without and {} with",
                found.network, found.small, found.chosen[0].rate, found.chosen[0].rate, found.chosen[1].rate
            )
        })
        .collect();
    let sentence = format!("Batch normalization gains, {}.", each.join("; "));
    let mut notes = Vec::new();
    let mut tables = Vec::new();
    let mut settings = Vec::new();
    for found in &found {
        let network = found.network;
        tables.push(table(lab, found));
        let mut tried = rates::table(&found.chosen, By::Accuracy);
        tried.title = format!("{network}: {}", tried.title);
        tables.push(tried);
        notes.extend(rates::notes(&found.chosen).into_iter().map(|note| format!("{network}: {note}")));
        for (case, arms) in cases(found).iter().zip(&found.runs) {
            for (arm, runs) in TWINS.iter().zip(arms) {
                notes.extend(diverged(&format!("{network}, {case}, {}", named(*arm)), runs));
            }
        }
        let of = task(lab, network, Arm::Plain, 1).settings;
        settings.push((
            network.to_string(),
            format!(
                "{} steps of SGD without momentum, batches of {}, He initialization",
                of.steps, of.batch_size
            ),
        ));
    }
    let exhibits = std::iter::once(dots(&found)).chain(found.iter().map(curves)).collect();
    Ok(Findings {
        parts,
        sentence,
        exhibits,
        tables,
        settings,
        differs: "The paper's networks are deep and trained to the end. These are shallow and the runs short: at a small rate, the network \
                  that gets on faster per step is ahead when the run ends, which is a gain at the same rate. That is why both are \
                  given three times the steps there, and why the gain after as many steps as the others have stands beside it."
            .to_owned(),
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gains_are_with_minus_without_by_seed() {
        assert_eq!(gains(&[vec![90.0, 80.0], vec![95.0, 79.0]]), [5.0, -1.0]);
    }
}
