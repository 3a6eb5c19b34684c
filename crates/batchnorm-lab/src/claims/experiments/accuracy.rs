//! Better accuracy.

use super::seeds::{TWINS, accuracy_curves, diverged, ink, mean, over_seeds, percent};
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By, Chosen};
use crate::claims::training::{Outcome, Training, named};
use crate::claims::{Interval, bench};
use crate::draw::{Axis, Ink, IntervalRow, Intervals, Kind, Scale};
use crate::networks::{Activation, Init, Network};
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "accuracy",
    claim: "Networks with batch normalization end at a better accuracy.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), sections 4.1 and 4.2.",
    experiment: "A fully connected network of ReLUs, a LeNet (where the images are large enough for it) and a small VGG, with and \
                 without batch normalization from the same weights on the same batches, each arm of each network at its own best \
                 learning rate.",
    measurement: "The difference of the test accuracies after the last step in points, with minus without, seed by seed, averaged over \
                  the networks.",
    rules: &[RULE],
    published: "Public runs of the MNIST network with sigmoids at rate 1 end at 97.5 % without and 98.1 % with, with ReLUs at rate 0.01 \
                at 97.5 % and 98.0 %; a VGG on CIFAR-10 at 80 % and 83 %; Inception in the paper at 72.2 % and 72.7 %, and at 74.8 % \
                with a higher rate.",
    run,
};

const RULE: Rule = Rule {
    says: "better accuracy",
    measure: "the difference of the test accuracies, with minus without, averaged over the networks,",
    unit: " points",
    enough: 0.5,
    none: 0.0,
};

/// For SGD without momentum in the fully connected network, and with it in the others.
const FULLY_CONNECTED: [f64; 5] = [0.03, 0.1, 0.3, 1.0, 3.0];
const CONVOLUTIONAL: [f64; 5] = [0.003, 0.01, 0.03, 0.1, 0.3];
/// The least height and width for a LeNet.
const ROOM_FOR_LENET: usize = 12;

/// The networks that these images are large enough for.
fn networks(lab: &Lab<'_>) -> Vec<Network> {
    let [_, height, width] = lab.facts().dims;
    let mut networks = vec![Network::Mlp, Network::Lenet, Network::Vgg];
    networks.retain(|&network| network != Network::Lenet || height.min(width) >= ROOM_FOR_LENET);
    networks
}

fn grid(network: Network) -> &'static [f64] {
    match network {
        Network::Mlp => &FULLY_CONNECTED,
        _ => &CONVOLUTIONAL,
    }
}

fn task(lab: &Lab<'_>, network: Network, arm: Arm, seed: u64) -> Training {
    let length = match network {
        Network::Mlp => lab.pick(800, 3_000),
        Network::Lenet => lab.pick(200, 300),
        _ => lab.pick(250, 250),
    };
    let images = if network == Network::Mlp { 10_000 } else { 2_000 };
    Training::new(network, arm, seed, length)
        .with(|settings| {
            match network {
                // Sigmoids would take too long to get to an end.
                Network::Mlp => (settings.activation, settings.init) = (Activation::Relu, Init::He),
                Network::Vgg => settings.width = 4,
                _ => {}
            }
            settings.eval_every = (length / 20).max(1);
            settings.eval_images = 500;
        })
        .on(bench::Part { test: Some(images), ..bench::Part::default() })
}

/// One network's outcome.
struct Found {
    network: Network,
    chosen: Vec<Chosen>,
    runs: Vec<Vec<Outcome>>,
    /// In percent, by arm and seed.
    accuracies: Vec<Vec<f64>>,
    interval: Interval,
}

fn find(lab: &Lab<'_>, network: Network) -> Result<Found, Halt> {
    let chosen = rates::choose_for_arms(lab, &TWINS, grid(network), By::Accuracy, |arm, _, seed| {
        task(lab, network, arm, seed).with(|settings| settings.eval_every = settings.steps)
    })?;
    let kinds: Vec<(Arm, f64)> =
        TWINS.into_iter().zip(&chosen).map(|(arm, chosen)| (arm, chosen.rate)).collect();
    let runs = over_seeds(lab, &kinds, |(arm, rate), seed| task(lab, network, arm, seed).at_rate(rate))?;
    let of = |runs: &Vec<Outcome>| runs.iter().map(|run| run.accuracy(lab) * 100.0).collect();
    let accuracies: Vec<Vec<f64>> = runs.iter().map(of).collect();
    let interval = Interval::of_differences(&accuracies[1], &accuracies[0]);
    Ok(Found { network, chosen, runs, accuracies, interval })
}

/// The differences and what the rule wants of them.
fn differences(found: &[Found], pooled: &Interval) -> Exhibit {
    let row = |name: String, ink: Ink, interval: &Interval| {
        let Interval { value, low, high, .. } = *interval;
        IntervalRow { name, ink, value, low, high }
    };
    let mut rows = vec![row("mean over the networks".to_owned(), Ink::BATCH_NORM, pooled)];
    rows.extend(found.iter().map(|found| row(found.network.to_string(), Ink::NEUTRAL, &found.interval)));
    let ends = rows.iter().flat_map(|row| [row.low, row.high, row.value]).chain([0.0, 1.0]);
    let x = Axis { label: "difference of accuracy (points)", scale: Scale::around(Kind::Linear, ends) };
    let thresholds = vec![(RULE.none, "no better".to_owned()), (RULE.enough, "supported".to_owned())];
    Exhibit {
        drawing: Intervals { title: "Test accuracy, with minus without", x, rows, thresholds }.draw(),
        reading: "Each bar is the 95 % interval of the difference over the seeds. To the right of 0, batch normalization is better; the \
                  rule looks at the first bar."
            .to_owned(),
    }
}

fn curves(found: &Found) -> Exhibit {
    let kinds: Vec<_> = TWINS
        .iter()
        .zip(&found.chosen)
        .zip(&found.runs)
        .map(|((&arm, chosen), runs)| (format!("{}, rate {}", named(arm), chosen.rate), ink(arm, 0), &runs[..]))
        .collect();
    accuracy_curves(&format!("{}: test accuracy", found.network), &kinds)
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let found: Vec<Found> =
        networks(lab).into_iter().map(|network| find(lab, network)).collect::<Result<_, _>>()?;
    let seeds = lab.seeds();
    let pooled: Vec<f64> = (0..seeds.len())
        .map(|seed| {
            mean(
                &found
                    .iter()
                    .map(|found| found.accuracies[1][seed] - found.accuracies[0][seed])
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    let part = Part::new(RULE, Interval::of(&pooled));
    let each: Vec<String> = found
        .iter()
        .map(|found| {
            let [without, with] = [0, 1].map(|arm| mean(&found.accuracies[arm]));
            format!("{} {with:.2} % against {without:.2} %", found.network)
        })
        .collect();
    let sentence = format!(
        "With batch normalization the test accuracy differs by {} points, averaged over the networks; with against without: {}.",
        part.interval.in_words(2, ""),
        each.join(", "),
    );
    let by_network = Table {
        title: "Test accuracy after the last step, mean over the seeds".to_owned(),
        head: ["network", "without", "with", "difference in points (95 % interval)"]
            .map(str::to_owned)
            .to_vec(),
        rows: found
            .iter()
            .map(|found| {
                vec![
                    found.network.to_string(),
                    percent(mean(&found.accuracies[0]) / 100.0),
                    percent(mean(&found.accuracies[1]) / 100.0),
                    found.interval.in_words(2, ""),
                ]
            })
            .collect(),
    };
    let mut tables = vec![by_network];
    let mut exhibits = vec![differences(&found, &part.interval)];
    let mut notes = Vec::new();
    let mut settings = vec![("optimizer".to_owned(), "SGD, with momentum but for mlp".to_owned())];
    for found in &found {
        let network = found.network;
        let mut rates = rates::table(&found.chosen, By::Accuracy);
        rates.title = format!("{network}: {}", rates.title);
        tables.push(rates);
        exhibits.push(curves(found));
        notes.extend(rates::notes(&found.chosen).into_iter().map(|note| format!("{network}: {note}")));
        for (arm, runs) in TWINS.iter().zip(&found.runs) {
            notes.extend(diverged(&format!("{network}, {}", named(*arm)), runs));
        }
        let of = task(lab, network, Arm::Plain, 1).settings;
        settings.push((network.to_string(), format!("{} steps, batches of {}", of.steps, of.batch_size)));
    }
    Ok(Findings {
        parts: vec![part],
        sentence,
        exhibits,
        tables,
        settings,
        differs: "The published runs went on until neither network got better; these are short, and part of the difference is that the \
                  network with batch normalization is further on its way. On the other hand each arm has its own best learning rate \
                  here, where most public comparisons have one rate for both."
            .to_owned(),
        notes,
    })
}
