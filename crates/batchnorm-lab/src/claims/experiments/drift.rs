//! Steady distributions: the paper's Figure 1 (b, c).

use super::figure1;
use super::seeds::{TWINS, diverged, ink, mean};
use crate::claims::Interval;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::rates;
use crate::claims::training::{Outcome, named};
use crate::draw::{Axis, DotRow, Dots, Frame, Kind, Ribbon, Scale, Size, ribbon_legend};
use crate::train::{Arm, Band, Inputs};

pub(super) const CLAIM: Claim = Claim {
    name: "drift",
    claim: "Batch normalization keeps the distribution of each layer's input steady during training.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), abstract, section 4.1 and Figure 1 (b, c).",
    experiment: "The very runs of the claim figure1: the paper's network for MNIST with and without batch normalization, each at \
                 its own best learning rate; on the way, the 15th, 50th and 85th percentile of the input of one typical sigmoid \
                 of each layer over the test images.",
    measurement: "How far the three percentiles travel from one record to the next, summed over training and averaged over the \
                  three, in units of the band's own mean width, so that the size of the inputs does not matter; and its ratio, \
                  without to with, seed by seed.",
    rules: &[LAST, ALL_LAYERS],
    published: "Figures 1 (b) and (c) show the percentiles of the plain network wander and those of the normalized one stay; they \
                print no numbers. Santurkar et al. 2018 (arXiv 1805.11604) find that the layers' inputs are not steadier where \
                it matters for the loss.",
    run,
};

const LAST: Rule = Rule {
    says: "the input of the last hidden layer is steadier",
    measure: "the ratio of the drift of the last hidden layer's input, without to with,",
    unit: "x",
    enough: 1.5,
    none: 1.1,
};
const ALL_LAYERS: Rule = Rule {
    says: "the inputs of all layers are steadier",
    measure: "the ratio of the drift, without to with, its geometric mean over the layers,",
    ..LAST
};

/// The way that the three percentiles go from record to record, the mean of the three, in units of the band's mean width.
///
/// No number if there is nothing to go between, or the band has no width.
fn drift(bands: &[Band]) -> f64 {
    if bands.len() < 2 {
        return f64::NAN;
    }
    let way: f64 = bands
        .windows(2)
        .map(|pair| {
            let [from, to] = [&pair[0], &pair[1]];
            ((to.p15 - from.p15).abs() + (to.p50 - from.p50).abs() + (to.p85 - from.p85).abs()) / 3.0
        })
        .sum();
    let width = bands.iter().map(|band| band.p85 - band.p15).sum::<f64>() / bands.len() as f64;
    if width > 0.0 { way / width } else { f64::NAN }
}

/// How far the median is in the end from where it began, in units of the band's width in the end.
fn displaced(bands: &[Band]) -> f64 {
    match (bands.first(), bands.last()) {
        (Some(first), Some(last)) if last.p85 > last.p15 => {
            (last.p50 - first.p50).abs() / (last.p85 - last.p15)
        }
        _ => f64::NAN,
    }
}

/// How many times wider the band is in the end.
fn widened(bands: &[Band]) -> f64 {
    match (bands.first(), bands.last()) {
        (Some(first), Some(last)) if first.p85 > first.p15 => (last.p85 - last.p15) / (first.p85 - first.p15),
        _ => f64::NAN,
    }
}

/// What a measure gives for one layer of every run.
fn of_layer(runs: &[Outcome], layer: usize, measure: fn(&[Band]) -> f64) -> Vec<f64> {
    runs.iter()
        .map(|run| run.run.inputs.get(layer).map_or(f64::NAN, |inputs| measure(&inputs.points)))
        .collect()
}

/// Of positive numbers.
fn geometric_mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let number = values.len() as f64;
    (values.map(f64::ln).sum::<f64>() / number).exp()
}

/// One layer of both twins of one seed, side by side with the same axes.
fn ribbons(layer: [&Inputs; 2]) -> Vec<Exhibit> {
    let bands = || layer.into_iter().flat_map(|inputs| &inputs.points);
    let x = Axis {
        label: "training steps (logarithmic)",
        scale: Scale::around(Kind::Log, bands().map(|band| band.step as f64)),
    };
    let scale = Scale::around(Kind::Linear, bands().flat_map(|band| [band.p15, band.p50, band.p85]));
    let draw = |(arm, inputs): (Arm, &Inputs)| {
        let class = ink(arm, 0).class();
        let Inputs { layer, units, typical_unit, .. } = inputs;
        let drawing = Ribbon {
            title: &format!("{}: {layer}, unit {typical_unit} of {units}, seed 1", named(arm)),
            frame: Frame { size: Size::Large, x, y: Axis { label: "input of the sigmoid", scale } },
            class,
            names: &["15th", "median", "85th"],
            rows: inputs
                .points
                .iter()
                .map(|band| (band.step as f64, vec![band.p15, band.p50, band.p85]))
                .collect(),
            legend: Some(ribbon_legend(class, &["15th to 85th percentile"], "median")),
        };
        let reading = match arm {
            Arm::Plain => {
                "Where the ribbon stays in place, the layers above are fed the same distribution all along."
            }
            _ => {
                "The same unit with batch normalization, on the same axes: compare how far the ribbon moves for its width."
            }
        };
        Exhibit { drawing: drawing.draw(), reading: reading.to_owned() }
    };
    TWINS.into_iter().zip(layer).map(draw).collect()
}

/// The drift of every layer and seed.
fn dots(layers: &[String], drifts: &[Vec<Vec<f64>>]) -> Exhibit {
    let rows: Vec<DotRow> = layers
        .iter()
        .zip(drifts)
        .flat_map(|(layer, arms)| {
            TWINS.iter().zip(arms).map(move |(&arm, values)| DotRow {
                name: format!("{layer}, {}", named(arm)),
                ink: ink(arm, 0),
                values: values.clone(),
            })
        })
        .collect();
    let scale = Scale::around(Kind::Log, drifts.iter().flatten().flatten().copied());
    let x = Axis { label: "drift of the input, in widths of its band (logarithmic)", scale };
    Exhibit {
        drawing: Dots { title: "Drift of every layer's input", x, rows }.draw(),
        reading: "Each dot is a seed, the bar their mean; further left is steadier. The claim holds for a layer if its dots with batch \
                  normalization lie left of those without."
            .to_owned(),
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let chosen = figure1::chosen(lab)?;
    let runs = figure1::runs(lab, &chosen)?;
    let layers: Vec<String> = runs
        .iter()
        .flatten()
        .map(|run| &run.run.inputs)
        .max_by_key(|inputs| inputs.len())
        .map(|inputs| inputs.iter().map(|inputs| inputs.layer.clone()).collect())
        .unwrap_or_default();
    // By layer, arm and seed.
    let by_layer = |measure| -> Vec<Vec<Vec<f64>>> {
        (0..layers.len())
            .map(|layer| runs.iter().map(|runs| of_layer(runs, layer, measure)).collect())
            .collect()
    };
    let drifts = by_layer(drift);
    let ratio = |layer: &Vec<Vec<f64>>, seed: usize| layer[0][seed] / layer[1][seed];
    let seeds = lab.seeds();
    let last: Vec<f64> =
        (0..seeds.len()).map(|seed| drifts.last().map_or(f64::NAN, |layer| ratio(layer, seed))).collect();
    let all: Vec<f64> =
        (0..seeds.len()).map(|seed| geometric_mean(drifts.iter().map(|layer| ratio(layer, seed)))).collect();
    let parts =
        vec![Part::new(LAST, Interval::of_positive(&last)), Part::new(ALL_LAYERS, Interval::of_positive(&all))];
    let of_last = |arm: usize| drifts.last().map_or(f64::NAN, |layer| mean(&layer[arm]));
    let sentence = format!(
        "Over training, the percentiles of the last hidden layer's input travel {:.1} widths of their band without batch \
         normalization and {:.1} with it; without, the drift is {} that with, and {} over all layers.",
        of_last(0),
        of_last(1),
        parts[0].interval.in_words(2, "x"),
        parts[1].interval.in_words(2, "x"),
    );
    let (displacements, widths) = (by_layer(displaced), by_layer(widened));
    let table = Table {
        title: "The input of each layer's typical unit, mean over the seeds".to_owned(),
        head: [
            "layer",
            "arm",
            "drift",
            "median's displacement, in widths",
            "width in the end, of that at first",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: (0..layers.len())
            .flat_map(|layer| TWINS.iter().enumerate().map(move |(place, &arm)| (layer, place, arm)))
            .map(|(layer, place, arm)| {
                vec![
                    layers[layer].clone(),
                    named(arm),
                    format!("{:.2}", mean(&drifts[layer][place])),
                    format!("{:.2}", mean(&displacements[layer][place])),
                    format!("{:.2}x", mean(&widths[layer][place])),
                ]
            })
            .collect(),
    };
    let mut exhibits = Vec::new();
    let of_seed = |arm: usize| runs[arm].first().and_then(|run| run.run.inputs.last());
    if let (Some(without), Some(with)) = (of_seed(0), of_seed(1)) {
        exhibits.extend(ribbons([without, with]));
    }
    exhibits.push(dots(&layers, &drifts));
    let mut notes = vec![
        "The records lie dense at first and thin out with the logarithm of the step; a drift sums what is seen from record to record, \
         the noise of single steps included, and a higher learning rate is noisier."
            .to_owned(),
    ];
    notes.extend(rates::notes(&chosen));
    for (arm, runs) in TWINS.iter().zip(&runs) {
        notes.extend(diverged(&named(*arm), runs));
    }
    Ok(Findings {
        parts,
        sentence,
        exhibits,
        tables: vec![table],
        settings: vec![
            ("runs".to_owned(), "those of figure1".to_owned()),
            ("learning rates".to_owned(), format!("{} without, {} with", chosen[0].rate, chosen[1].rate)),
            ("percentiles".to_owned(), "15th, 50th and 85th, over the test images that are evaluated on".to_owned()),
            (
                "typical unit".to_owned(),
                "the one whose input has the median standard deviation under the initial weights".to_owned(),
            ),
        ],
        differs: "The paper shows one unit of one run and no measure. That a steadier input is why training is faster does not follow: \
                  the claim landscape measures what Santurkar et al. 2018 say of it."
            .to_owned(),
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bands(rows: &[[f64; 3]]) -> Vec<Band> {
        let band = |(step, &[p15, p50, p85]): (usize, &[f64; 3])| Band { step, p15, p50, p85, saturated: 0.0 };
        rows.iter().enumerate().map(band).collect()
    }

    #[test]
    fn a_band_that_stays_does_not_drift_and_one_that_moves_does_by_its_width() {
        assert_eq!(drift(&bands(&[[-1.0, 0.0, 1.0]; 5])), 0.0);
        let moving = bands(&[[-1.0, 0.0, 1.0], [1.0, 2.0, 3.0], [3.0, 4.0, 5.0]]);
        assert_eq!(drift(&moving), 2.0);
        assert_eq!((displaced(&moving), widened(&moving)), (2.0, 1.0));
        // There and back is a way, too.
        assert_eq!(drift(&bands(&[[-1.0, 0.0, 1.0], [0.0, 1.0, 2.0], [-1.0, 0.0, 1.0]])), 1.0);
    }

    #[test]
    fn the_size_of_the_inputs_does_not_matter_and_growing_is_drifting() {
        let growing = [[-1.0, 0.0, 1.0], [-2.0, 0.5, 2.0], [-4.0, 0.0, 4.0]];
        let larger = growing.map(|row| row.map(|value| 100.0 * value));
        assert!((drift(&bands(&growing)) - drift(&bands(&larger))).abs() < 1e-12);
        assert!(drift(&bands(&growing)) > 0.3);
        assert_eq!(widened(&bands(&growing)), 4.0);
    }

    #[test]
    fn nothing_to_compare_is_no_number() {
        for rows in [&[][..], &[[0.0, 1.0, 2.0]], &[[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]] {
            assert!(drift(&bands(rows)).is_nan());
        }
        assert!(displaced(&[]).is_nan() && widened(&[]).is_nan());
        assert!((geometric_mean([1.0, 4.0].into_iter()) - 2.0).abs() < 1e-12);
    }
}
