//! Insensitive to initialization.

use super::seeds::{TWINS, bands, best_on_average, diverged, ink, mean, over_seeds, percent};
use crate::claims::Interval;
use crate::claims::bench;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates::{self, By, Chosen};
use crate::claims::training::{Outcome, Training, named};
use crate::draw::{Axis, Heatmap, Ink, Kind, Scale, Series};
use crate::networks::{Activation, Init, Network};
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "init",
    claim: "Batch normalization makes training insensitive to how the weights are initialized.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), abstract and section 3.3.",
    experiment: "A fully connected network of eight hidden layers of 50 ReLUs, its weights drawn from normal distributions of \
                 standard deviations from 0.0001 to 1, with and without batch normalization; each arm at the learning rate with \
                 which it trains over the widest range.",
    measurement: "The decades of scale, without a gap, within which a run ends within ten points of the best accuracy that either \
                  arm reaches at any scale; the difference, with minus without, seed by seed.",
    rules: &[RULE],
    published: "Public runs of the MNIST network with weights of standard deviation 5 at rate 0.01: ReLU 9.8 % without and 79.9 % \
                with, sigmoid 22.7 % without and 85.3 % with, against 97 to 98 % with weights of 0.05. On some seeds the \
                normalized network failed, too.",
    run,
};

const RULE: Rule = Rule {
    says: "a range of scales ten times wider",
    measure: "the difference of the decades of scale that train, with minus without,",
    unit: " decades",
    enough: 1.0,
    none: 0.0,
};

/// Points below the best accuracy within which a run counts as trained.
const WITHIN: f64 = 0.10;
/// Scales are powers of ten between these exponents.
const EXPONENTS: [f64; 2] = [-4.0, 0.0];
const GRID: [f64; 5] = [0.03, 0.1, 0.3, 1.0, 3.0];
/// Scales that each arm's rate is chosen over: dense where He's initialization is, which is the best one without.
const COARSE: [f64; 7] = [0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5];
const COARSE_QUICK: [f64; 4] = [0.001, 0.1, 0.2, 0.5];
/// The largest scale at which it is looked what the addition to the variance does: at larger ones it does nothing.
const SMALL: f64 = 0.001;
/// So small that it makes no difference: what is left is the normalization itself.
const HARDLY_ANY: f64 = 1e-14;

/// So many standard deviations of the weights, evenly spaced on a logarithmic axis.
fn scales(number: usize) -> Vec<f64> {
    // Of three digits, as people write them.
    let round = |scale: f64| format!("{scale:.2e}").parse().unwrap_or(scale);
    (0..number).map(|index| round(10_f64.powf(EXPONENTS[0] + index as f64 * spacing(number)))).collect()
}

/// Decades from one scale to the next.
fn spacing(number: usize) -> f64 {
    (EXPONENTS[1] - EXPONENTS[0]) / (number - 1) as f64
}

fn task(lab: &Lab<'_>, arm: Arm, scale: f64, seed: u64) -> Training {
    Training::new(Network::Mlp, arm, seed, lab.pick(300, 1_000))
        .with(|settings| {
            settings.layers = vec![50; 8];
            settings.activation = Activation::Relu;
            settings.init = Init::Normal;
            settings.init_std = scale;
            settings.eval_every = settings.steps;
            settings.eval_images = 500;
        })
        .on(bench::Part { test: Some(2_000), ..bench::Part::default() })
}

/// The longest run of neighbours that are at least `enough`, as the first and the number of them.
fn plateau(accuracies: &[f64], enough: f64) -> (usize, usize) {
    let (mut best, mut first) = ((0, 0), 0);
    for (index, &accuracy) in accuracies.iter().enumerate() {
        if accuracy < enough {
            first = index + 1;
        } else if index + 1 - first > best.1 {
            best = (first, index + 1 - first);
        }
    }
    best
}

/// The rate with which the most scales train, as the claim measures it; among equals, that with the best accuracy at any scale.
fn widest(on_average: Chosen, of_scales: &[Chosen], enough: f64) -> Chosen {
    let kindness = |index: usize| {
        let scores = || of_scales.iter().filter_map(move |chosen| Some(chosen.tried.get(index)?.1));
        (scores().filter(|&score| score >= enough).count(), scores().fold(0.0, f64::max))
    };
    let rates = 0..on_average.tried.len();
    let better = |one: &usize, other: &usize| {
        let (one, other) = (kindness(*one), kindness(*other));
        one.0.cmp(&other.0).then(one.1.total_cmp(&other.1))
    };
    let index = rates.rev().max_by(better).unwrap_or(0);
    let rate = on_average.tried.get(index).map_or(GRID[0], |tried| tried.0);
    Chosen { rate, at_the_end: index == 0 || index + 1 == on_average.tried.len(), ..on_average }
}

/// Learning rate against scale for one arm, on the held-out images.
fn heatmap(arm: Arm, scales: &[f64], of_scales: &[Chosen]) -> Exhibit {
    let value = |rate: usize| {
        of_scales.iter().map(|chosen| chosen.tried.get(rate).map(|tried| tried.1 * 100.0)).collect::<Vec<_>>()
    };
    // The largest rate on top.
    let rates = || (0..GRID.len()).rev();
    let drawing = Heatmap {
        title: &format!("Held-out accuracy, {}", named(arm)),
        x: ("standard deviation of the weights", scales.iter().map(f64::to_string).collect()),
        y: ("learning rate", rates().map(|rate| GRID[rate].to_string()).collect()),
        values: rates().map(value).collect(),
        low: 0.0,
        high: 100.0,
        unit: " %",
    };
    Exhibit {
        drawing: drawing.draw(),
        reading: "Each cell is a learning rate and a scale; the larger the bright area, the less either has to be chosen with care. From these, each arm's learning rate was chosen."
            .to_owned(),
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    // Each arm's rate, over scales that tell.
    let coarse = lab.pick(&COARSE_QUICK[..], &COARSE[..]);
    let kinds: Vec<((Arm, f64), String)> = TWINS
        .iter()
        .flat_map(|&arm| coarse.iter().map(move |&scale| ((arm, scale), format!("{}, {scale}", named(arm)))))
        .collect();
    let tried =
        rates::choose(lab, &kinds, &GRID, By::Accuracy, |(arm, scale), _, seed| task(lab, arm, scale, seed))?;
    let of_arms: Vec<&[Chosen]> = tried.chunks(coarse.len()).collect();
    let best = tried.iter().flat_map(|chosen| &chosen.tried).map(|tried| tried.1).fold(0.0, f64::max);
    let chosen: Vec<Chosen> = TWINS
        .iter()
        .zip(&of_arms)
        .map(|(&arm, of_scales)| widest(best_on_average(&named(arm), of_scales), of_scales, best - WITHIN))
        .collect();
    let fine = scales(lab.pick(13, 21));
    let fine_kinds: Vec<(Arm, f64, f64)> = TWINS
        .iter()
        .zip(&chosen)
        .flat_map(|(&arm, chosen)| fine.iter().map(move |&scale| (arm, chosen.rate, scale)))
        .collect();
    let runs =
        over_seeds(lab, &fine_kinds, |(arm, rate, scale), seed| task(lab, arm, scale, seed).at_rate(rate))?;
    // The same with next to nothing added to the variance, at small scales.
    let small: Vec<f64> = fine.iter().copied().filter(|&scale| scale <= SMALL).collect();
    let bare = over_seeds(lab, &small, |scale, seed| {
        task(lab, Arm::BatchNorm, scale, seed)
            .at_rate(chosen[1].rate)
            .with(|settings| settings.bn_eps = HARDLY_ANY)
    })?;
    // By arm, scale and seed.
    let of = |runs: &[Vec<Outcome>]| -> Vec<Vec<f64>> {
        runs.iter().map(|runs| runs.iter().map(|run| run.accuracy(lab)).collect()).collect()
    };
    let mut accuracies: Vec<Vec<Vec<f64>>> = runs.chunks(fine.len()).map(of).collect();
    let seeds = lab.seeds();
    let plateaus: Vec<Vec<(usize, usize)>> = accuracies
        .iter()
        .map(|scales| {
            (0..seeds.len())
                .map(|seed| {
                    let best = accuracies.iter().flatten().map(|scale| scale[seed]).fold(0.0, f64::max);
                    let of_seed: Vec<f64> = scales.iter().map(|scale| scale[seed]).collect();
                    plateau(&of_seed, best - WITHIN)
                })
                .collect()
        })
        .collect();
    let decades = |of: usize| -> Vec<f64> {
        plateaus[of].iter().map(|&(_, number)| number as f64 * spacing(fine.len())).collect()
    };
    let part = Part::new(RULE, Interval::of_differences(&decades(1), &decades(0)));
    let sentence = format!(
        "The network trains over {:.1} decades of weight scale with batch normalization and over {:.1} without: a difference of {}.",
        mean(&decades(1)),
        mean(&decades(0)),
        part.interval.in_words(1, " decades"),
    );
    let names = [
        format!("{}, rate {}", named(TWINS[0]), chosen[0].rate),
        format!("{}, rate {}", named(TWINS[1]), chosen[1].rate),
        format!("{}, next to nothing added to the variance", named(TWINS[1])),
    ];
    let mut by_rate = rates::table(&chosen, By::Accuracy);
    by_rate.title += ", averaged over scales";
    let tables =
        vec![ranges(&names[..2], &seeds, &fine, &plateaus), by_scale(&names[..2], &fine, &accuracies), by_rate];
    accuracies.push(of(&bare));
    let mut exhibits = vec![curves(&names, &fine, &accuracies)];
    exhibits.extend(TWINS.iter().zip(&of_arms).map(|(&arm, of_scales)| heatmap(arm, coarse, of_scales)));
    let mut notes = rates::notes(&chosen);
    notes.push(format!(
        "Each scale of the grid stands for {:.2} decades, and so exact are the widths. A range that ends at {} or {} may go on beyond.",
        spacing(fine.len()),
        fine[0],
        fine[fine.len() - 1]
    ));
    for (name, runs) in names.iter().zip(runs.chunks(fine.len())) {
        notes.extend(diverged(name, &runs.iter().flatten().cloned().collect::<Vec<Outcome>>()));
    }
    let settings = task(lab, Arm::BatchNorm, 1.0, 1).settings;
    Ok(Findings {
        parts: vec![part],
        sentence,
        exhibits,
        tables,
        settings: vec![
            ("network".to_owned(), "mlp, 8 layers of 50 ReLUs".to_owned()),
            ("optimizer".to_owned(), "SGD".to_owned()),
            ("batch size".to_owned(), settings.batch_size.to_string()),
            ("steps".to_owned(), settings.steps.to_string()),
            ("scales".to_owned(), format!("{} from {} to {}", fine.len(), fine[0], fine[fine.len() - 1])),
            ("added to the variance".to_owned(), settings.bn_eps.to_string()),
        ],
        differs: "The public runs have weights of standard deviation 5, far more steps, and one learning rate for both. Batch normalization undoes the scale of the weights only as long as the variance that it divides by is larger than what is added to it: below that the signal fades as it does without, which the third line shows. Large weights do not blow up the signal, but they turn slowly: the effective learning rate falls with their square."
            .to_owned(),
        notes,
    })
}

fn curves(names: &[String], fine: &[f64], accuracies: &[Vec<Vec<f64>>]) -> Exhibit {
    let inks = [ink(TWINS[0], 0), ink(TWINS[1], 1), Ink::nth(9)];
    let series = names.iter().zip(inks).zip(accuracies).map(|((name, ink), scales)| Series {
        name: name.clone(),
        ink,
        points: fine
            .iter()
            .zip(scales)
            .map(|(&scale, seeds)| (scale, seeds.iter().map(|accuracy| accuracy * 100.0).collect()))
            .collect(),
    });
    let x = Axis {
        label: "standard deviation of the weights (logarithmic)",
        scale: Scale::around(Kind::Log, fine.iter().copied()),
    };
    let y = Axis { label: "test accuracy (%)", scale: Scale::exactly(Kind::Linear, 0.0, 100.0) };
    Exhibit {
        drawing: bands("Accuracy against the scale of the weights", " %", x, y, series.collect()),
        reading: "A wide plateau is a network that trains however its weights began; a narrow peak is one that has to be initialized with care. Bands reach from the worst seed to the best."
            .to_owned(),
    }
}

/// From which scale to which each run trains.
fn ranges(names: &[String], seeds: &[u64], fine: &[f64], plateaus: &[Vec<(usize, usize)>]) -> Table {
    let cell = |&(first, number): &(usize, usize)| match number {
        0 => "none".to_owned(),
        _ => format!("{} to {}", fine[first], fine[first + number - 1]),
    };
    let rows = seeds.iter().enumerate().map(|(index, seed)| {
        std::iter::once(seed.to_string()).chain(plateaus.iter().map(|of| cell(&of[index]))).collect()
    });
    Table {
        title: "The range of scales that trains, by seed".to_owned(),
        head: std::iter::once("seed".to_owned()).chain(names.iter().cloned()).collect(),
        rows: rows.collect(),
    }
}

fn by_scale(names: &[String], fine: &[f64], accuracies: &[Vec<Vec<f64>>]) -> Table {
    let row = |(index, scale): (usize, &f64)| {
        let cells = accuracies.iter().map(|scales| percent(mean(&scales[index])));
        std::iter::once(scale.to_string()).chain(cells).collect()
    };
    Table {
        title: "Test accuracy, mean over the seeds".to_owned(),
        head: std::iter::once("standard deviation".to_owned()).chain(names.iter().cloned()).collect(),
        rows: fine.iter().enumerate().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plateau_is_the_longest_run_of_neighbours() {
        assert_eq!(plateau(&[0.9, 0.1, 0.9, 0.8, 0.1], 0.8), (2, 2));
        assert_eq!(plateau(&[0.9, 0.9], 0.8), (0, 2));
        assert_eq!(plateau(&[0.1, 0.9], 0.8), (1, 1));
        assert_eq!(plateau(&[0.1, 0.2], 0.8).1, 0);
        assert_eq!(plateau(&[], 0.8).1, 0);
    }

    #[test]
    fn the_rate_with_the_widest_range_is_chosen_and_else_the_most_accurate() {
        let chosen = |scores: [f64; 3]| Chosen {
            name: String::new(),
            rate: 1.0,
            at_the_end: true,
            tried: [0.1, 0.3, 1.0].into_iter().zip(scores).collect(),
        };
        let scales = [chosen([0.8, 0.9, 0.1]), chosen([0.8, 0.1, 0.95])];
        let rate = |enough| widest(best_on_average("", &scales), &scales, enough).rate;
        assert_eq!((rate(0.75), rate(0.9), rate(0.99)), (0.1, 1.0, 1.0));
    }

    #[test]
    fn scales_go_from_end_to_end() {
        let scales = scales(21);
        assert_eq!((scales.len(), scales[0], scales[20]), (21, 1e-4, 1.0));
        assert!((scales[1] / scales[0] - 10_f64.powf(spacing(21))).abs() < 0.01);
    }
}
