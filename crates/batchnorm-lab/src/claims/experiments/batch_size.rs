//! The first weakness: batch normalization depends on the size of the batch.

use super::seeds::{bands, diverged, ink, mean, over_seeds};
use crate::claims::Interval;
use crate::claims::bench;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By, Chosen};
use crate::claims::training::{Outcome, Training, named};
use crate::draw::{Axis, IntervalRow, Intervals, Kind, Scale, Series};
use crate::networks::Network;
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "batch-size",
    claim: "Batch normalization gets worse in small batches, and its relatives do not.",
    source: "Wu and He 2018 (arXiv 1803.08494), Figure 1; Ioffe 2017 (arXiv 1702.03275); Hoffer et al. 2017 (arXiv 1705.08741).",
    experiment: "A small VGG sees the same number of images in batches of 2 to 128, with batch normalization, batch \
                 renormalization, ghost batches, group normalization and none. Each has its own best learning rate in batches \
                 of 32; in others the rate grows and shrinks with the batch (the linear rule of Goyal et al. 2017).",
    measurement: "The test error, by population statistics where the batch normalizes, in batches of 2 and of 32, seed by seed.",
    rules: &[WORSE, GROUP, RENORM],
    published: "ResNet-50 on ImageNet: batch normalization has 23.6 % error in batches of 32 and 34.7 % in batches of 2 for each \
                device; group normalization has 24.1 % in either (Wu and He 2018).",
    run,
};

const WORSE: Rule = Rule {
    says: "batch normalization is worse in batches of 2",
    measure: "the rise of batch normalization's test error from batches of 32 to batches of 2",
    unit: " points",
    enough: 1.0,
    none: 0.3,
};
const GROUP: Rule = Rule {
    says: "group normalization is not",
    measure: "the rise of batch normalization's test error beyond that of group normalization",
    ..WORSE
};
const RENORM: Rule = Rule {
    says: "renormalization mends it",
    measure: "the test error in batches of 2, batch normalization's above renormalization's,",
    ..WORSE
};

/// The batch that rates are chosen for, and that small ones are compared with.
const REFERENCE: usize = 32;
/// The small one.
const SMALL: usize = 2;
/// A ghost batch.
const GHOST: usize = 16;
/// In the narrow network every layer has at least two channels in each of so many groups.
const GROUPS: usize = 2;
const ARMS: [Arm; 5] =
    [Arm::Plain, Arm::BatchNorm, Arm::Renorm, Arm::Ghost { size: GHOST }, Arm::Group { groups: GROUPS }];
/// Half powers of ten, as people write them; for batches of 32.
const GRID: [f64; 5] = [0.003, 0.01, 0.03, 0.1, 0.3];

fn sizes(lab: &Lab<'_>) -> Vec<usize> {
    let sizes = lab.pick(vec![2, 8, 32, 128], vec![2, 4, 8, 16, 32, 64, 128]);
    // What is left of a small data set when a part is held out.
    sizes.into_iter().filter(|&size| size <= lab.facts().train / 2).collect()
}

/// The images that every run sees.
fn images(lab: &Lab<'_>) -> usize {
    lab.pick(3_200, 3_200)
}

/// A run in batches of that size, at the rate that the linear rule makes of one for batches of 32.
fn task(lab: &Lab<'_>, network: Network, arm: Arm, batch: usize, rate: f64, seed: u64) -> Training {
    let steps = (images(lab) / batch).max(1);
    let part = bench::Part { train: Some(images(lab)), test: Some(2_000), ..bench::Part::default() };
    let scaled = rate * batch as f64 / REFERENCE as f64;
    let run = Training::new(network, arm, seed, steps).with(|settings| {
        settings.width = 4;
        settings.batch_size = batch;
        settings.eval_every = steps;
        settings.eval_images = 1;
    });
    run.on(part).at_rate(scaled)
}

/// Whether an arm is something of its own in batches of that size.
fn there(arm: Arm, batch: usize) -> bool {
    !matches!(arm, Arm::Ghost { size } if size >= batch)
}

/// One arm in batches of one size.
struct Cell {
    arm: Arm,
    batch: usize,
    /// Test errors in percent, by seed.
    errors: Vec<f64>,
}

struct Errors(Vec<Cell>);

impl Errors {
    fn of(&self, arm: Arm, batch: usize) -> Option<&[f64]> {
        self.0.iter().find(|cell| cell.arm == arm && cell.batch == batch).map(|cell| &cell.errors[..])
    }

    /// How much larger the error is in batches of a size than in those of the reference, by seed.
    fn rise(&self, arm: Arm, batch: usize) -> Option<Vec<f64>> {
        let pairs = self.of(arm, batch)?.iter().zip(self.of(arm, REFERENCE)?);
        Some(pairs.map(|(small, reference)| small - reference).collect())
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let sizes = sizes(lab);
    if !sizes.contains(&REFERENCE) {
        return Err(Halt::Impossible(format!("there are too few training images for batches of {REFERENCE}")));
    }
    let chosen = rates::choose_for_arms(lab, &ARMS, &GRID, By::Accuracy, |arm, rate, seed| {
        task(lab, Network::Vgg, arm, REFERENCE, rate, seed)
    })?;
    let rate = |arm: Arm| {
        ARMS.iter().zip(&chosen).find(|(known, _)| **known == arm).map_or(GRID[0], |found| found.1.rate)
    };
    let kinds: Vec<(Arm, usize)> = ARMS
        .iter()
        .flat_map(|&arm| sizes.iter().map(move |&batch| (arm, batch)))
        .filter(|&(arm, batch)| there(arm, batch))
        .collect();
    let runs =
        over_seeds(lab, &kinds, |(arm, batch), seed| task(lab, Network::Vgg, arm, batch, rate(arm), seed))?;
    let error = |runs: &Vec<Outcome>| runs.iter().map(|run| 100.0 * (1.0 - run.accuracy(lab))).collect();
    let cells = kinds.iter().zip(&runs).map(|(&(arm, batch), runs)| Cell { arm, batch, errors: error(runs) });
    let errors = Errors(cells.collect());

    let group = Arm::Group { groups: GROUPS };
    let rise = |arm| errors.rise(arm, SMALL).unwrap_or_default();
    let small = |arm| errors.of(arm, SMALL).unwrap_or_default();
    let parts = vec![
        Part::new(WORSE, Interval::of(&rise(Arm::BatchNorm))),
        Part::new(GROUP, Interval::of_differences(&rise(Arm::BatchNorm), &rise(group))),
        Part::new(RENORM, Interval::of_differences(small(Arm::BatchNorm), small(Arm::Renorm))),
    ];
    let sentence = format!(
        "From batches of {REFERENCE} to batches of {SMALL} the test error of batch normalization goes from {:.1} to {:.1} %, that \
         of batch renormalization from {:.1} to {:.1} %, that of group normalization from {:.1} to {:.1} %. Batch normalization \
         changes by {}.",
        mean(errors.of(Arm::BatchNorm, REFERENCE).unwrap_or_default()),
        mean(small(Arm::BatchNorm)),
        mean(errors.of(Arm::Renorm, REFERENCE).unwrap_or_default()),
        mean(small(Arm::Renorm)),
        mean(errors.of(group, REFERENCE).unwrap_or_default()),
        mean(small(group)),
        parts[0].interval.in_words(1, " points"),
    );
    let mut notes = rates::notes(&chosen);
    let mut tables = vec![table(&sizes, &errors), rates::table(&chosen, By::Accuracy)];
    if lab.pick(false, true) {
        let (words, tried) = convolutions_alone(lab)?;
        notes.push(words);
        tables.push(tried);
    }
    for (&(arm, batch), runs) in kinds.iter().zip(&runs) {
        notes.extend(diverged(&format!("{}, batches of {batch}", named(arm)), runs));
    }
    notes.push(format!(
        "Ghost batches of {GHOST} are for large batches, which they are to make generalize as small ones do (Hoffer et al. 2017): \
         in batches of {GHOST} or fewer they are batch normalization, so they have no part in the verdict."
    ));
    notes.push(
        "The rates were chosen in batches of 32 alone; the linear rule carries them over, for all arms alike. At the largest \
         batches it may ask for more than a network bears, with or without normalization."
            .to_owned(),
    );
    let settings = task(lab, Network::Vgg, Arm::BatchNorm, REFERENCE, 1.0, 1).settings;
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![by_batch(images(lab), &sizes, &errors), changes(&errors)],
        tables,
        settings: vec![
            ("network".to_owned(), format!("vgg of width {}", settings.width)),
            ("images seen by every run".to_owned(), images(lab).to_string()),
            ("optimizer".to_owned(), format!("SGD with momentum {}", settings.sgd_momentum)),
            ("learning rates".to_owned(), in_words(&chosen)),
            ("statistics".to_owned(), "population (Algorithm 2), in batches of the size of training".to_owned()),
        ],
        differs: "The published network is a ResNet-50 on ImageNet, trained for 100 epochs on eight devices, so that its rates are \
                  for eight times the batch that is normalized; it has no normalized linear layer. This one is a small VGG that \
                  sees few images, and its hidden linear layer has two values for each channel in batches of 2: normalized, \
                  they say which of the two is larger and nothing else. That makes batches of 2 harder here than there."
            .to_owned(),
        notes,
    })
}

/// What small batches cost batch normalization in a network that normalizes no linear layer, in words, and the rates that
/// were tried for it.
fn convolutions_alone(lab: &Lab<'_>) -> Result<(String, Table), Halt> {
    let inception = |batch, rate, seed| task(lab, Network::Inception, Arm::BatchNorm, batch, rate, seed);
    let kinds = [((), "inception, batch normalization".to_owned())];
    let chosen =
        rates::choose(lab, &kinds, &GRID, By::Accuracy, |(), rate, seed| inception(REFERENCE, rate, seed))?;
    let rate = chosen.first().map_or(GRID[0], |chosen| chosen.rate);
    let runs = over_seeds(lab, &[REFERENCE, SMALL], |batch, seed| inception(batch, rate, seed))?;
    let errors: Vec<Vec<f64>> =
        runs.iter().map(|runs| runs.iter().map(|run| 100.0 * (1.0 - run.accuracy(lab))).collect()).collect();
    let words = format!(
        "The hidden linear layer of the VGG has two values for each channel in batches of {SMALL}. An Inception network, which          normalizes convolutions alone, goes with batch normalization from {:.1} % error in batches of {REFERENCE} to {:.1} % in          batches of {SMALL}, a change of {}: that much is not the linear layer's.",
        mean(&errors[0]),
        mean(&errors[1]),
        Interval::of_differences(&errors[1], &errors[0]).in_words(1, " points"),
    );
    let mut table = rates::table(&chosen, By::Accuracy);
    table.title = format!("{}, inception", table.title);
    Ok((words, table))
}

fn in_words(chosen: &[Chosen]) -> String {
    let each: Vec<String> = chosen.iter().map(|chosen| format!("{} {}", chosen.name, chosen.rate)).collect();
    format!("in batches of {REFERENCE}: {}", each.join(", "))
}

fn by_batch(images: usize, sizes: &[usize], errors: &Errors) -> Exhibit {
    let series: Vec<Series> = ARMS
        .iter()
        .enumerate()
        .map(|(place, &arm)| Series {
            name: named(arm),
            ink: ink(arm, place),
            points: sizes
                .iter()
                .filter_map(|&batch| Some((batch as f64, errors.of(arm, batch)?.to_vec())))
                .collect(),
        })
        .collect();
    let values =
        series.iter().flat_map(|series| series.points.iter().flat_map(|point| point.1.iter().copied()));
    let y = Axis { label: "test error (%, logarithmic)", scale: Scale::around(Kind::Log, values) };
    let x = Axis {
        label: "batch size (logarithmic)",
        scale: Scale::around(Kind::Log, sizes.iter().map(|&size| size as f64)),
    };
    Exhibit {
        drawing: bands("Test error by batch size", " %", x, y, series),
        reading: format!(
            "Every run saw the same {images} images. A line that rises to the left is of a network that does worse in small batches. \
             On the right the steps are few, {} in the largest batches, and so is what a network can learn. Bands reach from the \
             best seed to the worst.",
            images / sizes.last().copied().unwrap_or(1),
        ),
    }
}

fn changes(errors: &Errors) -> Exhibit {
    let rows: Vec<IntervalRow> = ARMS
        .iter()
        .enumerate()
        .filter_map(|(place, &arm)| {
            let Interval { value, low, high, .. } = Interval::of(&errors.rise(arm, SMALL)?);
            Some(IntervalRow { name: named(arm), ink: ink(arm, place), value, low, high })
        })
        .collect();
    let ends = rows.iter().flat_map(|row| [row.low, row.high]).chain([0.0, WORSE.enough]);
    let x = Axis {
        label: "rise of the test error from batches of 32 to batches of 2 (points)",
        scale: Scale::around(Kind::Linear, ends),
    };
    let thresholds = vec![(WORSE.enough, "enough".to_owned())];
    Exhibit {
        drawing: Intervals { title: "What small batches cost", x, rows, thresholds }.draw(),
        reading: "The mean over the seeds with its 95 % interval. To the right of the line the error grows in small batches; \
                  around 0 they cost nothing."
            .to_owned(),
    }
}

fn table(sizes: &[usize], errors: &Errors) -> Table {
    let mut head = vec!["batch size".to_owned()];
    head.extend(ARMS.iter().map(|&arm| named(arm)));
    let cell =
        |arm, batch| errors.of(arm, batch).map_or("-".to_owned(), |errors| format!("{:.2} %", mean(errors)));
    let row = |&batch: &usize| {
        std::iter::once(batch.to_string()).chain(ARMS.iter().map(|&arm| cell(arm, batch))).collect()
    };
    Table { title: "Test error, mean over the seeds".to_owned(), head, rows: sizes.iter().map(row).collect() }
}
