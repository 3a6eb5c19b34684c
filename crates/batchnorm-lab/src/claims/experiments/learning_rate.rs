//! Higher learning rates.

use super::seeds::{TWINS, ink, mean, over_seeds, percent};
use crate::claims::Interval;
use crate::claims::bench;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::training::{Outcome, Training, named};
use crate::draw::{Axis, Kind, Scale, Series};
use crate::networks::{Activation, Init, Network};
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "learning-rate",
    claim: "Batch normalization allows much higher learning rates.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 3.3; Bjorck et al. 2018 (arXiv 1806.02375).",
    experiment: "A fully connected ReLU network and a small VGG, with and without batch normalization, trained at every learning \
                 rate of a grid from 0.01 to 50, each about twice the one before.",
    measurement: "The largest rate that still trains, that is, up to which every run ends within ten points of the plain twin's \
                  best accuracy; its ratio, with to without, seed by seed.",
    rules: &[FULLY_CONNECTED, CONVOLUTIONAL],
    published: "In the paper, Inception without batch normalization breaks at 5 times its rate while the normalized one trains \
                at 30 times; public runs of the MNIST network with ReLU at rate 1 end at 9.8 % without and 98.3 % with.",
    run,
};

const FULLY_CONNECTED: Rule = Rule {
    says: "ten times the rate, fully connected",
    measure: "the ratio of the largest rates that train, with to without, of the fully connected network",
    unit: "x",
    enough: 10.0,
    none: 2.0,
};
const CONVOLUTIONAL: Rule = Rule {
    says: "ten times the rate, convolutional",
    measure: "the ratio of the largest rates that train, with to without, of the VGG",
    ..FULLY_CONNECTED
};

/// Points below the best plain accuracy within which a run counts as trained.
const WITHIN: f64 = 0.10;

/// From 0.01 on, each about twice the one before.
const GRID: [f64; 12] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0];

fn task(lab: &Lab<'_>, network: Network, arm: Arm, rate: f64, seed: u64) -> Training {
    let few = bench::Part { test: Some(2_000), ..bench::Part::default() };
    match network {
        Network::Mlp => Training::new(network, arm, seed, lab.pick(300, 1_000)).with(|settings| {
            settings.activation = Activation::Relu;
            settings.init = Init::He;
        }),
        _ => Training::new(network, arm, seed, lab.pick(150, 150)).with(|settings| {
            settings.width = lab.pick(4, 4);
            settings.sgd_momentum = 0.0;
        }),
    }
    .with(|settings| {
        settings.eval_every = settings.steps;
        settings.eval_images = 500;
    })
    .on(few)
    .at_rate(rate)
}

/// One network's outcome.
struct Sweep {
    interval: Interval,
    /// By arm, rate and seed.
    accuracies: Vec<Vec<Vec<f64>>>,
    /// By arm and seed: how far the rate goes.
    largest: Vec<Vec<f64>>,
    censored: usize,
}

fn sweep(lab: &Lab<'_>, network: Network) -> Result<Sweep, Halt> {
    let kinds: Vec<(Arm, f64)> = TWINS.iter().flat_map(|&arm| GRID.map(|rate| (arm, rate))).collect();
    let runs = over_seeds(lab, &kinds, |(arm, rate), seed| task(lab, network, arm, rate, seed))?;
    let accuracies: Vec<Vec<Vec<f64>>> = runs
        .chunks(GRID.len())
        .map(|rates| {
            let of_rate = |runs: &Vec<Outcome>| runs.iter().map(|run| run.accuracy(lab)).collect();
            rates.iter().map(of_rate).collect()
        })
        .collect();
    let seeds = lab.seeds().len();
    let largest: Vec<Vec<f64>> = accuracies
        .iter()
        .map(|arm| {
            (0..seeds)
                .map(|seed| {
                    let best = accuracies[0].iter().map(|rate| rate[seed]).fold(0.0, f64::max);
                    // The last of the first rates that train: beyond a gap, luck does not count.
                    let trains = |rate: &&(usize, f64)| arm[rate.0][seed] >= best - WITHIN;
                    let rates: Vec<(usize, f64)> = GRID.iter().copied().enumerate().collect();
                    let run = rates.iter().skip_while(|rate| !trains(rate)).take_while(trains).last();
                    run.map_or(GRID[0], |found| found.1)
                })
                .collect()
        })
        .collect();
    let last = GRID[GRID.len() - 1];
    let censored = largest.iter().flatten().filter(|&&rate| rate == last).count();
    Ok(Sweep { interval: Interval::of_ratios(&largest[1], &largest[0]), accuracies, largest, censored })
}

fn exhibit(title: &str, sweep: &Sweep) -> Exhibit {
    let series = TWINS.iter().zip(&sweep.accuracies).map(|(&arm, rates)| Series {
        name: named(arm),
        ink: ink(arm, 0),
        points: GRID
            .iter()
            .zip(rates)
            .map(|(&rate, seeds)| (rate, seeds.iter().map(|accuracy| accuracy * 100.0).collect()))
            .collect(),
    });
    let x = Axis { label: "learning rate (logarithmic)", scale: Scale::around(Kind::Log, GRID.into_iter()) };
    let y = Axis { label: "test accuracy (%)", scale: Scale::exactly(Kind::Linear, 0.0, 100.0) };
    Exhibit {
        drawing: super::seeds::bands(title, " %", x, y, series.collect()),
        reading: "Where a line falls to the accuracy of guessing, the rate is too high; the further right that is, the higher the \
                  rates that train. Bands reach from the worst seed to the best."
            .to_owned(),
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let sweeps = [sweep(lab, Network::Mlp)?, sweep(lab, Network::Vgg)?];
    let [mlp, vgg] = &sweeps;
    let parts = vec![Part::new(FULLY_CONNECTED, mlp.interval), Part::new(CONVOLUTIONAL, vgg.interval)];
    let sentence = format!(
        "The largest learning rate that trains is {} higher with batch normalization in the fully connected network, and {} in \
         the VGG.",
        mlp.interval.in_words(1, "x"),
        vgg.interval.in_words(1, "x"),
    );
    let names = ["fully connected", "VGG"];
    let tables = sweeps.iter().zip(names).map(|(sweep, name)| {
        let mut head = vec!["learning rate".to_owned()];
        head.extend(TWINS.iter().map(|&arm| named(arm)));
        let row = |(index, rate): (usize, &f64)| {
            let cells = sweep.accuracies.iter().map(|arm| percent(mean(&arm[index])));
            std::iter::once(rate.to_string()).chain(cells).collect()
        };
        let title = format!("Test accuracy, {name}, mean over the seeds");
        Table { title, head, rows: GRID.iter().enumerate().map(row).collect() }
    });
    let largest = Table {
        title: "The largest rate that trains, by seed".to_owned(),
        head: ["seed", "mlp without", "mlp with", "VGG without", "VGG with"].map(str::to_owned).to_vec(),
        rows: lab
            .seeds()
            .iter()
            .enumerate()
            .map(|(index, seed)| {
                let cells =
                    sweeps.iter().flat_map(|sweep| sweep.largest.iter().map(move |arm| arm[index].to_string()));
                std::iter::once(seed.to_string()).chain(cells).collect()
            })
            .collect(),
    };
    let mut notes =
        vec!["Rates lie a factor of 2 or 2.5 apart, and so do the ratios that can be found.".to_owned()];
    let censored: usize = sweeps.iter().map(|sweep| sweep.censored).sum();
    if censored > 0 {
        notes.push(format!(
            "{censored} runs still train at the largest rate of the grid: their ratios are lower bounds."
        ));
    }
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![exhibit("Fully connected", mlp), exhibit("VGG", vgg)],
        tables: std::iter::once(largest).chain(tables).collect(),
        settings: [Network::Mlp, Network::Vgg]
            .map(|network| {
                let settings = task(lab, network, Arm::Plain, 1.0, 1).settings;
                (network.to_string(), format!("{} steps of SGD, batches of {}, He initialization", settings.steps, settings.batch_size))
            })
            .to_vec(),
        differs: "The public runs are of 50 000 steps; these are shorter, so small rates look worse than they are. The paper's \
                  factor of 30 is of one network at two rates, not of the largest that trains."
            .to_owned(),
        notes,
    })
}
