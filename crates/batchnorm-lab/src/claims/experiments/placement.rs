//! Before or after the activation.

use super::seeds::{diverged, mean, over_seeds, percent};
use crate::claims::Interval;
use crate::claims::bench;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By};
use crate::claims::training::{Outcome, Training, placed};
use crate::draw::{Axis, DotRow, Dots, Ink, IntervalRow, Intervals, Kind, Scale};
use crate::networks::{Network, Placement};
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "placement",
    claim: "Batch normalization belongs after the linear map and before the activation.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 3.2.",
    experiment: "A small VGG of ReLUs and a fully connected network of sigmoids, with batch normalization before or after each \
                 activation, each of the four at its own best learning rate, from the same weights on the same batches.",
    measurement: "The difference of the final test accuracies, before less after, in points, seed by seed.",
    rules: &[CONVOLUTIONAL, CONNECTED],
    published: "CaffeNet on ImageNet (images of 128 pixels): 47.8 % before and 49.3 % after the ReLU, with scale and shift (Mishkin, \
                ducha-aiki/caffenet-benchmark). The paper reasons for before and has no figures.",
    run,
};

const CONVOLUTIONAL: Rule = Rule {
    says: "before is better, VGG of ReLUs",
    measure: "the accuracy of the VGG with normalization before the activation less that with it after",
    unit: " points",
    enough: 0.3,
    none: 0.0,
};
const CONNECTED: Rule = Rule {
    says: "before is better, fully connected sigmoids",
    measure: "the accuracy of the fully connected network with normalization before the activation less that with it after",
    ..CONVOLUTIONAL
};

const NETWORKS: [Network; 2] = [Network::Vgg, Network::Mlp];
const PLACEMENTS: [Placement; 2] = [Placement::BeforeActivation, Placement::AfterActivation];
/// Half powers of ten; the fully connected network has no momentum and bears more.
const RATES_OF_VGG: [f64; 6] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0];
const RATES_OF_MLP: [f64; 5] = [0.1, 0.3, 1.0, 3.0, 10.0];

fn task(lab: &Lab<'_>, network: Network, placement: Placement, seed: u64) -> Training {
    let steps = match network {
        Network::Mlp => lab.pick(1_000, 4_000),
        _ => lab.pick(150, 200),
    };
    let run = Training::new(network, Arm::BatchNorm, seed, steps).with(|settings| {
        if network != Network::Mlp {
            settings.width = 4;
        }
        settings.placement = placement;
        settings.eval_every = steps;
        settings.eval_images = 1;
    });
    run.on(bench::Part { test: Some(2_000), ..bench::Part::default() })
}

const fn called(network: Network) -> &'static str {
    match network {
        Network::Mlp => "fully connected",
        _ => "VGG",
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let mut chosen = Vec::new();
    let mut rate_tables = Vec::new();
    for (network, grid) in NETWORKS.into_iter().zip([&RATES_OF_VGG[..], &RATES_OF_MLP]) {
        let kinds =
            PLACEMENTS.map(|placement| (placement, format!("{}, {}", called(network), placed(placement))));
        let found = rates::choose(lab, &kinds, grid, By::Accuracy, |placement, _, seed| {
            task(lab, network, placement, seed)
        })?;
        let mut table = rates::table(&found, By::Accuracy);
        table.title = format!("{}, {}", table.title, called(network));
        rate_tables.push(table);
        chosen.extend(found);
    }
    let all = NETWORKS.iter().flat_map(|&network| PLACEMENTS.map(|placement| (network, placement)));
    let kinds: Vec<(Network, Placement, f64)> =
        all.zip(&chosen).map(|((network, placement), chosen)| (network, placement, chosen.rate)).collect();
    let runs = over_seeds(lab, &kinds, |(network, placement, rate), seed| {
        task(lab, network, placement, seed).at_rate(rate)
    })?;
    let accuracies: Vec<Vec<f64>> = runs
        .iter()
        .map(|runs: &Vec<Outcome>| runs.iter().map(|run| 100.0 * run.accuracy(lab)).collect())
        .collect();
    let difference =
        |network: usize| Interval::of_differences(&accuracies[2 * network], &accuracies[2 * network + 1]);
    let parts = vec![Part::new(CONVOLUTIONAL, difference(0)), Part::new(CONNECTED, difference(1))];
    let said: Vec<String> = (0..NETWORKS.len())
        .map(|network| {
            format!(
                "the {} ends at {:.2} % with normalization before the activation and at {:.2} % with it after, a difference of {}",
                ["VGG", "fully connected network"][network],
                mean(&accuracies[2 * network]),
                mean(&accuracies[2 * network + 1]),
                parts[network].interval.in_words(2, " points"),
            )
        })
        .collect();
    let mut notes = rates::notes(&chosen);
    for (chosen, runs) in chosen.iter().zip(&runs) {
        notes.extend(diverged(&chosen.name, runs));
    }
    notes.push(
        "After the activation the maps keep their biases, which a normalization right behind them would take away again."
            .to_owned(),
    );
    let mut table = Table {
        title: "Final test accuracy by seed".to_owned(),
        head: vec!["seed".to_owned()],
        rows: lab.seeds().iter().map(|seed| vec![seed.to_string()]).collect(),
    };
    for (chosen, accuracies) in chosen.iter().zip(&accuracies) {
        table.head.push(format!("{}, rate {}", chosen.name, chosen.rate));
        for (row, accuracy) in table.rows.iter_mut().zip(accuracies) {
            row.push(percent(accuracy / 100.0));
        }
    }
    let settings = NETWORKS.map(|network| {
        let settings = task(lab, network, PLACEMENTS[0], 1).settings;
        (
            network.to_string(),
            format!(
                "{} steps of SGD with momentum {}, batches of {}, {}",
                settings.steps, settings.sgd_momentum, settings.batch_size, settings.activation
            ),
        )
    });
    Ok(Findings {
        sentence: format!("Each at its best learning rate, {}.", said.join("; ")),
        exhibits: vec![differences(&parts), dots(&chosen.iter().map(|chosen| &*chosen.name).collect::<Vec<_>>(), &accuracies)],
        parts,
        tables: std::iter::once(table).chain(rate_tables).collect(),
        settings: settings.to_vec(),
        differs: "The literature disagrees, and so may these two networks: what a placement does depends on the activation and the \
                  depth. The published figures are of a much larger network, and of one learning rate for both placements."
            .to_owned(),
        notes,
    })
}

fn differences(parts: &[Part]) -> Exhibit {
    let rows: Vec<IntervalRow> = parts
        .iter()
        .zip(NETWORKS)
        .zip([Ink::BATCH_NORM, Ink::nth(2)])
        .map(|((part, network), ink)| {
            let Interval { value, low, high, .. } = part.interval;
            IntervalRow { name: called(network).to_owned(), ink, value, low, high }
        })
        .collect();
    let ends =
        rows.iter().flat_map(|row| [row.low, row.high]).chain([-CONVOLUTIONAL.enough, CONVOLUTIONAL.enough]);
    let x = Axis { label: "accuracy before less after (points)", scale: Scale::around(Kind::Linear, ends) };
    let thresholds =
        vec![(CONVOLUTIONAL.none, "equal".to_owned()), (CONVOLUTIONAL.enough, "enough".to_owned())];
    Exhibit {
        drawing: Intervals { title: "Before less after the activation", x, rows, thresholds }.draw(),
        reading: "The mean over the seeds with its 95 % interval: to the right of 0 before is better, to the left after is."
            .to_owned(),
    }
}

fn dots(names: &[&str], accuracies: &[Vec<f64>]) -> Exhibit {
    let row = |(place, (name, values)): (usize, (&&str, &Vec<f64>))| DotRow {
        name: (*name).to_owned(),
        ink: Ink::nth(place + 1),
        values: values.clone(),
    };
    let rows: Vec<DotRow> = names.iter().zip(accuracies).enumerate().map(row).collect();
    let scale = Scale::fitting(rows.iter().flat_map(|row| row.values.iter().copied()));
    Exhibit {
        drawing: Dots { title: "Every seed", x: Axis { label: "final test accuracy (%)", scale }, rows }.draw(),
        reading: "Each dot is one seed, at the same height in every row; the bar is the mean.".to_owned(),
    }
}
