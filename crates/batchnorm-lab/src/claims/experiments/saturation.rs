//! Saturating units train.

use super::seeds::{TWINS, accuracy_curves, bands, diverged, ink, mean, over_seeds, percent};
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By};
use crate::claims::training::{Outcome, Training, named};
use crate::claims::{Interval, bench};
use crate::draw::{Axis, Ink, Kind, Scale, Series};
use crate::networks::{Init, Network};
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "saturation",
    claim: "With batch normalization, deep networks of saturating units train.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), abstract, section 3.2 and BN-x5-Sigmoid of section 4.2.2.",
    experiment: "A fully connected network of six hidden layers of 100 sigmoids with Xavier initialization, which was made for such \
                 units, with and without batch normalization, each at its own best learning rate; and the setting of public runs, \
                 three layers and the rate 0.01 for both.",
    measurement: "The difference of the test accuracies in points, with minus without, seed by seed.",
    rules: &[DEEP, PUBLISHED],
    published: "Public runs of three layers of 100 sigmoids on MNIST at rate 0.01 end at 82.7 % without and 97.3 % with after \
                50 000 steps; at rate 1, at 97.5 % and 98.1 %. In the paper, Inception with sigmoids reaches 69.8 % with batch \
                normalization and stays at 0.1 % without.",
    run,
};

const DEEP: Rule = Rule {
    says: "deep networks of sigmoids train better",
    measure: "the difference of the accuracies of six layers, each at its own best rate, with minus without,",
    unit: " points",
    enough: 5.0,
    none: 1.0,
};
const PUBLISHED: Rule = Rule {
    says: "so do three layers at a small rate",
    measure: "the difference of the accuracies of three layers at rate 0.01, with minus without,",
    ..DEEP
};

/// Deep networks of sigmoids want large rates.
const GRID: [f64; 6] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
/// Above guessing by less than this, nothing was learned.
const HARDLY: f64 = 0.05;
/// Of the public runs, and the standard deviation of their weights.
const PUBLIC_RATE: f64 = 0.01;
const PUBLIC_WEIGHTS: f64 = 0.05;

fn few() -> bench::Part {
    bench::Part { test: Some(2_000), ..bench::Part::default() }
}

fn deep(lab: &Lab<'_>, arm: Arm, seed: u64) -> Training {
    Training::new(Network::Mlp, arm, seed, lab.pick(600, 3_000))
        .with(|settings| {
            settings.layers = vec![100; 6];
            settings.init = Init::Xavier;
            settings.eval_images = 1_000;
        })
        .on(few())
}

fn public(lab: &Lab<'_>, arm: Arm, seed: u64) -> Training {
    let run = Training::new(Network::Mlp, arm, seed, lab.pick(1_500, 5_000)).with(|settings| {
        settings.init_std = PUBLIC_WEIGHTS;
        settings.learning_rate = PUBLIC_RATE;
        settings.eval_images = 1_000;
    });
    run.on(few())
}

/// The share of saturated inputs of one layer at each record of several runs.
fn saturated(runs: &[Outcome], layer: usize) -> Vec<(f64, Vec<f64>)> {
    let of = |run: &Outcome| run.run.inputs.get(layer).map(|inputs| inputs.points.clone()).unwrap_or_default();
    let all: Vec<_> = runs.iter().map(of).collect();
    let longest = all.iter().max_by_key(|points| points.len()).cloned().unwrap_or_default();
    let at = |step: usize| {
        let found = all.iter().filter_map(move |points| points.iter().find(|band| band.step == step));
        found.map(|band| band.saturated * 100.0).collect()
    };
    longest.iter().map(|band| (band.step as f64, at(band.step))).collect()
}

/// The share of saturated inputs in the last layer at the records of the first quarter of so many steps, averaged, in percent.
fn saturated_early(runs: &[Outcome], length: usize) -> f64 {
    let of = |run: &Outcome| run.run.inputs.last().map(|inputs| inputs.points.clone()).unwrap_or_default();
    let early = runs.iter().flat_map(of).filter(|band| 4 * band.step <= length);
    mean(&early.map(|band| band.saturated * 100.0).collect::<Vec<_>>())
}

/// The share of saturated inputs in the first and the last hidden layer of both arms.
fn saturation(runs: &[Vec<Outcome>]) -> Exhibit {
    let last = runs.iter().flatten().map(|run| run.run.inputs.len()).max().unwrap_or(0).saturating_sub(1);
    let mut series = Vec::new();
    for (&arm, runs) in TWINS.iter().zip(runs) {
        for (layer, what) in [(0, "first"), (last, "last")] {
            let ink = match (arm, layer) {
                (_, 0) => ink(arm, 0),
                (Arm::Plain, _) => Ink::nth(8),
                _ => Ink::nth(9),
            };
            series.push(Series {
                name: format!("{}, {what} layer", named(arm)),
                ink,
                points: saturated(runs, layer),
            });
        }
    }
    let steps = series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let x = Axis { label: "training steps (logarithmic)", scale: Scale::around(Kind::Log, steps) };
    let shares = series
        .iter()
        .flat_map(|series| series.points.iter().flat_map(|point| point.1.clone()))
        .chain([0.0, 5.0]);
    let y = Axis { label: "saturated inputs (%)", scale: Scale::around(Kind::Linear, shares) };
    Exhibit {
        drawing: bands("Share of saturated sigmoids, six layers", " %", x, y, series),
        reading: "The share of inputs, over test images and units, at which the sigmoid is above 0.95 or below 0.05 and hardly passes a \
                  gradient on. Bands reach from the lowest seed to the highest."
            .to_owned(),
    }
}

fn accuracies(lab: &Lab<'_>, runs: &[Vec<Outcome>]) -> Vec<Vec<f64>> {
    runs.iter().map(|runs| runs.iter().map(|run| run.accuracy(lab) * 100.0).collect()).collect()
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let chosen = rates::choose_for_arms(lab, &TWINS, &GRID, By::Accuracy, |arm, _, seed| {
        deep(lab, arm, seed).with(|settings| settings.eval_every = settings.steps)
    })?;
    let kinds: Vec<(Arm, f64)> =
        TWINS.into_iter().zip(&chosen).map(|(arm, chosen)| (arm, chosen.rate)).collect();
    let six = over_seeds(lab, &kinds, |(arm, rate), seed| Training {
        figures: true,
        ..deep(lab, arm, seed).at_rate(rate)
    })?;
    let three = over_seeds(lab, &TWINS, |arm, seed| public(lab, arm, seed))?;
    let (of_six, of_three) = (accuracies(lab, &six), accuracies(lab, &three));
    let parts = vec![
        Part::new(DEEP, Interval::of_differences(&of_six[1], &of_six[0])),
        Part::new(PUBLISHED, Interval::of_differences(&of_three[1], &of_three[0])),
    ];
    let sentence = format!(
        "Six layers of sigmoids end at {:.2} % with batch normalization and {:.2} % without, each at its best learning rate ({} and \
         {}): a difference of {} points. Three layers at rate {PUBLIC_RATE} end at {:.2} % and {:.2} % after {} steps.",
        mean(&of_six[1]),
        mean(&of_six[0]),
        chosen[1].rate,
        chosen[0].rate,
        parts[0].interval.in_words(2, ""),
        mean(&of_three[1]),
        mean(&of_three[0]),
        public(lab, Arm::Plain, 1).settings.steps,
    );
    let curves = |title: &str, runs: &[Vec<Outcome>], rate: &dyn Fn(usize) -> f64| {
        let kinds: Vec<_> = TWINS
            .iter()
            .zip(runs)
            .enumerate()
            .map(|(place, (&arm, runs))| {
                (format!("{}, rate {}", named(arm), rate(place)), ink(arm, 0), &runs[..])
            })
            .collect();
        accuracy_curves(title, &kinds)
    };
    let seeds = lab.seeds();
    let rows = seeds.iter().enumerate().map(|(index, seed)| {
        let cells = of_six.iter().chain(&of_three).map(|arm| percent(arm[index] / 100.0));
        std::iter::once(seed.to_string()).chain(cells).collect()
    });
    let by_seed = Table {
        title: "Test accuracy after the last step".to_owned(),
        head: ["seed", "six layers without", "six layers with", "three layers without", "three layers with"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.collect(),
    };
    let mut notes = rates::notes(&chosen);
    for chosen in &chosen {
        if chosen.tried.iter().all(|tried| tried.1 < lab.facts().chance() + HARDLY) {
            notes.push(format!(
                "\u{201c}{}\u{201d} learns nothing at any rate of the grid in these steps; among equals, the rate with the least loss was \
                 taken.",
                chosen.name
            ));
        }
    }
    for (layers, runs) in [("six layers", &six), ("three layers", &three)] {
        for (arm, runs) in TWINS.iter().zip(runs) {
            notes.extend(diverged(&format!("{layers}, {}", named(*arm)), runs));
        }
    }
    let [long, short] = [deep(lab, Arm::Plain, 1).settings, public(lab, Arm::Plain, 1).settings];
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![
            curves("Six layers of sigmoids", &six, &|place| chosen[place].rate),
            saturation(&six),
            curves("Three layers at the public rate", &three, &|_| PUBLIC_RATE),
        ],
        tables: vec![by_seed, rates::table(&chosen, By::Accuracy)],
        settings: vec![
            (
                "six layers".to_owned(),
                format!("100 sigmoids each, Xavier initialization, {} steps of SGD", long.steps),
            ),
            (
                "three layers".to_owned(),
                format!(
                    "100 sigmoids each, normal weights of standard deviation {PUBLIC_WEIGHTS}, {} steps of SGD",
                    short.steps
                ),
            ),
            ("batch size".to_owned(), long.batch_size.to_string()),
        ],
        differs: format!(
            "The public runs took 50 000 steps, these {}: with fewer, the plain network is further behind, since at so small a rate it \
             first has to leave the plateau that its sigmoids begin on. The paper explains that normalized inputs do not get stuck \
             where the sigmoid is flat. In the first quarter of the run, {:.0} % of the inputs of the last of the six layers are \
             saturated without batch normalization and {:.0} % with it. A network that does not learn while few of its inputs are \
             saturated is held back by something else: the slopes of sigmoids, a quarter at most, multiply from layer to layer.",
            short.steps,
            saturated_early(&six[0], long.steps),
            saturated_early(&six[1], long.steps),
        ),
        notes,
    })
}
