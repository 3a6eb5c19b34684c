//! Gamma and beta alone, everything else at random.

use super::seeds::{accuracy_curves, diverged, mean, over_seeds, percent};
use crate::claims::Interval;
use crate::claims::bench;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By, Chosen};
use crate::claims::training::{Outcome, Training};
use crate::draw::{Axis, DotRow, Dots, Ink, Kind as Spread, Scale};
use crate::networks::{Activation, Init, Network};
use crate::train::{Arm, TrainedPart};

pub(super) const CLAIM: Claim = Claim {
    name: "affine-only",
    claim: "Gamma and beta alone are expressive: trained with all other parameters left at random, they make a network that \
            classifies.",
    source: "Frankle, Schwab and Morcos 2020 (arXiv 2003.00152).",
    experiment: "A small VGG and a fully connected ReLU network with batch normalization; trained are gamma and beta alone, the \
                 output layer alone, or everything, each at its own best learning rate.",
    measurement: "Test accuracy: in points above guessing, and as a share of what training everything gains over guessing.",
    rules: &[CONVOLUTIONAL, CONNECTED, SHARE],
    published: "On CIFAR-10 a ResNet-866 so trained reaches 82 %; smaller and narrower networks reach much less, and all of them \
                more than with as many other parameters chosen at random.",
    run,
};

const CONVOLUTIONAL: Rule = Rule {
    says: "gamma and beta alone learn, convolutional",
    measure: "the test accuracy above guessing, gamma and beta alone trained, of the VGG",
    unit: " points",
    enough: 20.0,
    none: 5.0,
};
const CONNECTED: Rule = Rule {
    says: "gamma and beta alone learn, fully connected",
    measure: "the test accuracy above guessing, gamma and beta alone trained, of the fully connected network",
    ..CONVOLUTIONAL
};
const SHARE: Rule = Rule {
    says: "they learn most of what there is to learn",
    measure: "the share of the gain over guessing of training everything, gamma and beta alone, of the VGG",
    unit: " %",
    enough: 80.0,
    none: 50.0,
};

const PARTS: [TrainedPart; 3] = [TrainedPart::All, TrainedPart::Affine, TrainedPart::Output];
const NETWORKS: [Network; 2] = [Network::Vgg, Network::Mlp];
/// Up to where training diverges or stops learning.
const VGG_GRID: [f64; 4] = [0.01, 0.1, 1.0, 10.0];
const MLP_GRID: [f64; 4] = [0.1, 1.0, 10.0, 100.0];

fn name(part: TrainedPart) -> &'static str {
    match part {
        TrainedPart::All => "everything",
        TrainedPart::Affine => "gamma and beta",
        TrainedPart::Output => "the output layer",
    }
}

fn called(network: Network) -> &'static str {
    match network {
        Network::Mlp => "fully connected",
        _ => "VGG",
    }
}

fn task(lab: &Lab<'_>, network: Network, part: TrainedPart, seed: u64) -> Training {
    let few = bench::Part { test: Some(2_000), ..bench::Part::default() };
    match network {
        Network::Mlp => Training::new(network, Arm::BatchNorm, seed, lab.pick(250, 1_500)).with(|settings| {
            settings.layers = vec![lab.pick(100, 200); 3];
            settings.activation = Activation::Relu;
            settings.init = Init::He;
        }),
        _ => Training::new(network, Arm::BatchNorm, seed, lab.pick(120, 150)),
    }
    .with(|settings| {
        settings.trained = part;
        settings.eval_images = 500;
        settings.eval_every = (settings.steps / 15).max(1);
    })
    .on(few)
}

/// One network: the outcomes of the three parts, each at its best rate.
struct Trial {
    network: Network,
    chosen: Vec<Chosen>,
    runs: Vec<Vec<Outcome>>,
    accuracies: Vec<Vec<f64>>,
}

impl Trial {
    fn of(lab: &Lab<'_>, network: Network) -> Result<Self, Halt> {
        let kinds: Vec<(TrainedPart, String)> =
            PARTS.map(|part| (part, format!("{}, {} trained", called(network), name(part)))).into();
        let grid = if network == Network::Mlp { MLP_GRID } else { VGG_GRID };
        let chosen =
            rates::choose(lab, &kinds, &grid, By::Accuracy, |part, _, seed| task(lab, network, part, seed))?;
        let kinds: Vec<(TrainedPart, f64)> =
            PARTS.into_iter().zip(chosen.iter().map(|chosen| chosen.rate)).collect();
        let runs = over_seeds(lab, &kinds, |(part, rate), seed| task(lab, network, part, seed).at_rate(rate))?;
        let accuracies = runs.iter().map(|runs| runs.iter().map(|run| run.accuracy(lab)).collect()).collect();
        Ok(Self { network, chosen, runs, accuracies })
    }

    /// Points above guessing of gamma and beta alone.
    fn points(&self, lab: &Lab<'_>) -> Interval {
        let points = self.accuracies[1].iter().map(|accuracy| (accuracy - lab.facts().chance()) * 100.0);
        Interval::of(&points.collect::<Vec<_>>())
    }

    /// A part's share of the gain of everything, in percent.
    fn share(&self, lab: &Lab<'_>, part: usize) -> Interval {
        let gain = |accuracy: &f64| accuracy - lab.facts().chance();
        let pairs = self.accuracies[part].iter().zip(&self.accuracies[0]);
        Interval::of(&pairs.map(|(part, all)| gain(part) / gain(all) * 100.0).collect::<Vec<_>>())
    }

    fn dots(&self) -> Exhibit {
        let row = |(place, part): (usize, TrainedPart)| DotRow {
            name: name(part).to_owned(),
            ink: Ink::nth(place),
            values: self.accuracies[place].iter().map(|accuracy| accuracy * 100.0).collect(),
        };
        let x = Axis { label: "test accuracy (%)", scale: Scale::exactly(Spread::Linear, 0.0, 100.0) };
        let title = format!("What is trained, {}", called(self.network));
        Exhibit {
            drawing: Dots { title: &title, x, rows: PARTS.into_iter().enumerate().map(row).collect() }.draw(),
            reading: "A dot for each seed, a bar for their mean. How far gamma and beta get towards everything, from random features."
                .to_owned(),
        }
    }

    fn curves(&self) -> Exhibit {
        let kinds: Vec<_> = PARTS
            .iter()
            .enumerate()
            .map(|(place, part)| {
                let name = format!("{}, rate {}", name(*part), self.chosen[place].rate);
                (name, Ink::nth(place), &self.runs[place][..])
            })
            .collect();
        accuracy_curves(&format!("Test accuracy, {}", called(self.network)), &kinds)
    }
}

/// The number of parameters of each part: gamma and beta, the output layer.
fn counts(lab: &Lab<'_>, network: Network) -> (usize, usize) {
    let settings = task(lab, network, TrainedPart::All, 1).settings;
    let facts = lab.facts();
    let architecture = crate::networks::Architecture {
        layers: settings.layers.clone(),
        width: settings.width,
        ..crate::networks::Architecture::new(network, facts.dims, facts.classes)
    };
    let layers = architecture.norm_layers();
    let last = layers.last().map_or(0, |layer| layer.channels);
    (2 * layers.iter().map(|layer| layer.channels).sum::<usize>(), (last + 1) * facts.classes)
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let trials = NETWORKS.map(|network| Trial::of(lab, network));
    let [vgg, mlp] = trials;
    let (vgg, mlp) = (vgg?, mlp?);
    let parts = vec![
        Part::new(CONVOLUTIONAL, vgg.points(lab)),
        Part::new(CONNECTED, mlp.points(lab)),
        Part::new(SHARE, vgg.share(lab, 1)),
    ];
    let average = |trial: &Trial, part: usize| mean(&trial.accuracies[part]) * 100.0;
    let sentence = format!(
        "Gamma and beta alone bring the VGG to {:.1} % test accuracy and the fully connected network to {:.1} %, where guessing is \
         {:.1} %; the output layer alone brings them to {:.1} % and {:.1} %, everything to {:.1} % and {:.1} %. In the VGG that is {} \
         of what there is to gain.",
        average(&vgg, 1),
        average(&mlp, 1),
        lab.facts().chance() * 100.0,
        average(&vgg, 2),
        average(&mlp, 2),
        average(&vgg, 0),
        average(&mlp, 0),
        parts[2].interval.in_words(0, " %"),
    );
    let rows = [&vgg, &mlp].into_iter().flat_map(|trial| {
        let (affine, output) = counts(lab, trial.network);
        let parameters = ["all".to_owned(), affine.to_string(), output.to_string()];
        PARTS.into_iter().zip(parameters).enumerate().map(move |(place, (part, parameters))| {
            vec![
                format!("{}, {}", called(trial.network), name(part)),
                parameters,
                percent(mean(&trial.accuracies[place])),
                trial.share(lab, place).in_words(1, " %"),
            ]
        })
    });
    let mut notes = Vec::new();
    for trial in [&vgg, &mlp] {
        notes.extend(rates::notes(&trial.chosen));
        for (part, runs) in PARTS.iter().zip(&trial.runs) {
            notes.extend(diverged(&format!("{}, {}", called(trial.network), name(*part)), runs));
        }
    }
    let summary = Table {
        title: "Test accuracy, mean over the seeds".to_owned(),
        head: ["trained", "parameters", "test accuracy", "share of the gain"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    };
    Ok(Findings {
        sentence,
        exhibits: vec![vgg.dots(), mlp.dots(), vgg.curves(), mlp.curves()],
        tables: vec![summary, rates::table(&vgg.chosen, By::Accuracy), rates::table(&mlp.chosen, By::Accuracy)],
        settings: [&vgg, &mlp]
            .map(|trial| {
                let settings = task(lab, trial.network, TrainedPart::All, 1).settings;
                let what = format!("{} steps of SGD, batches of {}, He initialization", settings.steps, settings.batch_size);
                (settings.network.to_string(), what)
            })
            .to_vec(),
        differs: "Frankle et al. train deep ResNets on CIFAR-10 for 160 epochs, and depth and width are what makes gamma and beta \
                  able; here networks are small and runs short, and the images easier unless another data set is given."
            .to_owned(),
        notes,
        parts,
    })
}
