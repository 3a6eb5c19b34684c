//! Scaled weights change nothing but their own rate.

use serde::{Deserialize, Serialize};

use super::seeds::{TWINS, bands, mean};
use crate::claims::Facts;
use crate::claims::Interval;
use crate::claims::bench::{self, Bench};
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab, Task};
use crate::claims::probe::{Draws, Flat, Look, Probe, cosine};
use crate::data::Dataset;
use crate::draw::{Axis, Ink, Kind, Scale, Series};
use crate::networks::{Activation, Architecture, Init, Network, Norm};
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "scale-invariance",
    claim: "Behind batch normalization the scale of the weights does not matter: larger weights have smaller gradients and train \
            more slowly, so the rate regulates itself.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 3.3; van Laarhoven 2017 (arXiv 1706.05350).",
    experiment: "A fully connected ReLU network with batch normalization, and its plain twin; all weights but the last layer's \
                 times a. Trained by SGD without decay from weights 10 times as large, at the same rate and at one 100 times as \
                 large for them.",
    measurement: "What changes in logits and gradients on one batch; the angle between weights and their gradient; how far the \
                  loss curves are apart; how far the weights grow.",
    rules: &[OUTPUT, GRADIENT, ANGLE, CURVE, GROWTH],
    published: "BN((aW)u) = BN(Wu), and the gradient for aW is 1/a of that for W (section 3.3). It is orthogonal to W, so weights \
                grow with every step, and the effective rate is the rate over the squared norm of the weights (van Laarhoven).",
    run,
};

const OUTPUT: Rule = Rule {
    says: "scaled weights give the same output",
    measure: "the largest change of a logit, in percent of their root mean square, for a = 10 and 1/10 (eps scaled by a^2),",
    unit: " %",
    enough: 1.0,
    none: 10.0,
};
const GRADIENT: Rule = Rule {
    says: "the gradient is 1/a of what it was",
    measure: "how far the norm of a layer's gradient is from that, at most, for a = 10 and 1/10 (eps scaled by a^2),",
    unit: " %",
    enough: 1.0,
    none: 10.0,
};
const ANGLE: Rule = Rule {
    says: "the gradient is orthogonal to the weights",
    measure: "the largest cosine of the angle between a layer's weights and their gradient",
    unit: "",
    enough: 0.01,
    none: 0.1,
};
const CURVE: Rule = Rule {
    says: "weights a times as large at a rate a^2 times as large train alike",
    measure: "how far the loss is from that of the unscaled run, the mean over the steps,",
    unit: " %",
    enough: 1.0,
    none: 10.0,
};
const GROWTH: Rule = Rule {
    says: "weights grow by as much as orthogonal steps add",
    measure: "the growth of the squared norm of the weights over the sum of the squared steps",
    unit: "x",
    enough: 0.95,
    none: 0.8,
};

/// What the weights are scaled by, besides 1.
const SCALES: [f64; 4] = [0.1, 0.5, 2.0, 10.0];
const LARGE: f64 = 10.0;
const BATCH: usize = 64;
const RATE: f64 = 0.5;

fn architecture(data: &Dataset, norm: Option<Norm>) -> Architecture {
    Architecture {
        activation: Activation::Relu,
        norm,
        ..Architecture::new(Network::Mlp, data.dims, data.classes)
    }
}

fn built(data: &Dataset, arm: Arm, shrink: f64, seed: u64) -> Result<Probe, Halt> {
    let norm = Norm::default();
    let norm = (arm != Arm::Plain).then_some(Norm { eps: norm.eps * shrink, ..norm });
    Probe::build(&architecture(data, norm), Init::He, 0.0, seed)
}

/// The network with all weights that lead to a norm layer, or would in its twin, times a number.
fn scaled(probe: &Probe, by: f64) -> Probe {
    probe.changed(|flat| {
        if flat.is_hidden() {
            flat.values.iter_mut().for_each(|value| *value *= by as f32);
        }
    })
}

fn few() -> bench::Part {
    bench::Part { test: Some(1), ..bench::Part::default() }
}

/// Compares a network with itself with scaled weights, on one batch.
#[derive(Clone, Debug, Serialize)]
struct Scaling {
    arm: Arm,
    seed: u64,
    /// Whether what is added to the variance is scaled like the variance.
    with_eps: bool,
}

/// What one factor changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Changed {
    by: f64,
    /// The largest change of a logit over the root mean square of all of them.
    logits: f64,
    /// Norm of a layer's gradient times the factor over what it was before: of the layer where that is furthest from 1.
    gradient: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Scalings {
    changed: Vec<Changed>,
    /// The cosine of the angle between each hidden layer's weights and their gradient, at factor 1.
    cosines: Vec<f64>,
}

fn changed(by: f64, before: &Look, after: &Look) -> Changed {
    let squares: f64 = before.logits.iter().map(|&logit| f64::from(logit).powi(2)).sum();
    let rms = (squares / before.logits.len() as f64).sqrt();
    let pairs = before.logits.iter().zip(&after.logits);
    let largest = pairs.map(|(&before, &after)| f64::from(after - before).abs()).fold(0.0, f64::max);
    let layers = before.gradients.iter().zip(&after.gradients).filter(|(flat, _)| flat.is_hidden());
    let ratios = layers.map(|(before, after)| after.norm() * by / before.norm());
    let gradient = ratios.max_by(|one, other| one.ln().abs().total_cmp(&other.ln().abs())).unwrap_or(1.0);
    Changed { by, logits: largest / rms, gradient }
}

impl Task for Scaling {
    type Outcome = Scalings;
    const KIND: &'static str = "scaled-weights";

    fn cost(&self, _facts: &Facts) -> f64 {
        0.05
    }

    fn placeholder(&self) -> Scalings {
        let changed = SCALES.map(|by| Changed { by, logits: 0.0, gradient: 1.0 });
        Scalings { changed: changed.to_vec(), cosines: vec![0.0] }
    }

    fn carry_out(&self, bench: &Bench<'_>) -> Result<Scalings, Halt> {
        let data = bench.data(few());
        let preprocessing = crate::data::Preprocessing::plain(data.white);
        let batch = Draws::new(&data, &preprocessing, BATCH, self.seed).next();
        let probe = built(&data, self.arm, 1.0, self.seed)?;
        let before = probe.look(&batch)?;
        let parameters = probe.parameters();
        let pairs = parameters.iter().zip(&before.gradients).filter(|(flat, _)| flat.is_hidden());
        let cosines = pairs.map(|(weights, gradient)| cosine(weights, gradient)).collect();
        let mut all = Vec::new();
        for by in SCALES {
            let eps = if self.with_eps { by * by } else { 1.0 };
            let probe = scaled(&built(&data, self.arm, eps, self.seed)?, by);
            all.push(changed(by, &before, &probe.look(&batch)?));
        }
        Ok(Scalings { changed: all, cosines })
    }
}

/// Trains by SGD, the weights that lead to a norm layer at a rate of their own.
#[derive(Clone, Copy, Debug, Serialize)]
struct Descent {
    arm: Arm,
    seed: u64,
    steps: usize,
    /// What those weights are multiplied by before, and what is added to the variance by the square of it.
    weights: f64,
    /// The rate of all other parameters.
    rate: f64,
    /// What the rate of those weights is multiplied by.
    times: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Descended {
    /// At every step, as long as it was finite.
    losses: Vec<f64>,
    /// The norm of those weights, before the first step and after each.
    norms: Vec<f64>,
    /// The sum over the steps of the squared length of the step of those weights.
    stepped: f64,
}

impl Descended {
    /// The growth of the squared norm over what orthogonal steps add.
    fn growth(&self) -> f64 {
        let [first, last] =
            [self.norms.first(), self.norms.last()].map(|norm| norm.copied().unwrap_or(f64::NAN));
        (last * last - first * first) / self.stepped
    }
}

fn squared<'a>(all: impl IntoIterator<Item = &'a Flat>) -> f64 {
    all.into_iter().filter(|flat| flat.is_hidden()).map(|flat| flat.dot(flat)).sum()
}

impl Task for Descent {
    type Outcome = Descended;
    const KIND: &'static str = "scaled-descent";

    fn cost(&self, facts: &Facts) -> f64 {
        let weights = facts.dims.iter().product::<usize>() * 100 + 20_000;
        let step = 5e-4 + weights as f64 * 2e-8;
        self.steps as f64 * step
    }

    fn placeholder(&self) -> Descended {
        Descended { losses: vec![1.0], norms: vec![1.0, 1.0], stepped: 1.0 }
    }

    fn carry_out(&self, bench: &Bench<'_>) -> Result<Descended, Halt> {
        let data = bench.data(few());
        let preprocessing = crate::data::Preprocessing::plain(data.white);
        let mut draws = Draws::new(&data, &preprocessing, BATCH, self.seed);
        let mut probe = scaled(&built(&data, self.arm, self.weights * self.weights, self.seed)?, self.weights);
        let mut found = Descended { norms: vec![squared(&probe.parameters()).sqrt()], ..Descended::default() };
        for _ in 0..self.steps {
            if bench.wants_to_stop() {
                return Err(Halt::Stopped);
            }
            let look = probe.look(&draws.next())?;
            let own = self.rate * self.times;
            probe = probe.descended(&look.gradients, |flat| if flat.is_hidden() { own } else { self.rate });
            let norm = squared(&probe.parameters()).sqrt();
            if !(look.loss.is_finite() && norm.is_finite()) {
                break;
            }
            found.losses.push(look.loss);
            found.norms.push(norm);
            found.stepped += own * own * squared(&look.gradients);
        }
        Ok(found)
    }
}

/// How far the curves are apart: the mean difference over the mean of the second one. One that ended early, or is beyond all
/// bounds, is as far as itself.
fn apart(one: &[f64], other: &[f64]) -> f64 {
    if one.is_empty() || one.len() != other.len() {
        return 1.0;
    }
    let difference: f64 = one.iter().zip(other).map(|(one, other)| (one - other).abs()).sum();
    (difference / other.iter().sum::<f64>()).min(FAR)
}

/// Ten times the loss itself.
const FAR: f64 = 10.0;

/// The runs of a seed, by the factors of weights and rate: as it is, larger at the same rate, larger at the rate that makes up
/// for it, smaller at the same rate.
const RUNS: [(f64, f64); 4] = [(1.0, 1.0), (LARGE, 1.0), (LARGE, LARGE * LARGE), (SCALES[0], 1.0)];
const NAMES: [&str; 4] = ["as it is", "weights 10x", "weights 10x, their rate 100x", "weights 1/10"];

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let steps = 300;
    let seeds = lab.seeds();
    let kinds = [(Arm::BatchNorm, false), (Arm::BatchNorm, true), (Arm::Plain, false)];
    let tasks = kinds
        .iter()
        .flat_map(|&(arm, with_eps)| seeds.iter().map(move |&seed| Scaling { arm, seed, with_eps }));
    let scalings = lab.all(tasks.collect())?;
    let [kept, moved, plain]: [&[Scalings]; 3] =
        std::array::from_fn(|kind| &scalings[kind * seeds.len()..][..seeds.len()]);
    let descents = TWINS.iter().flat_map(|&arm| RUNS.map(|run| (arm, run)));
    let tasks = descents.flat_map(|(arm, (weights, times))| {
        seeds
            .iter()
            .map(move |&seed| Descent { arm, seed, steps, weights, rate: RATE, times })
            .collect::<Vec<_>>()
    });
    let runs = lab.all(tasks.collect())?;
    let of = |arm: usize, run: usize| &runs[(arm * RUNS.len() + run) * seeds.len()..][..seeds.len()];

    // For a = 10 and 1/10, the outermost.
    let ends = |of: &[Scalings], what: fn(&Changed) -> f64| -> Vec<f64> {
        let outer = |changed: &&Changed| changed.by == SCALES[0] || changed.by == LARGE;
        of.iter().map(|one| one.changed.iter().filter(outer).map(what).fold(0.0, f64::max) * 100.0).collect()
    };
    let off = |changed: &Changed| (changed.gradient - 1.0).abs();
    let angles = |of: &[Scalings]| -> Vec<f64> {
        of.iter().map(|one| one.cosines.iter().map(|cosine| cosine.abs()).fold(0.0, f64::max)).collect()
    };
    let distance = |arm: usize, run: usize| -> Vec<f64> {
        let pairs = of(arm, run).iter().zip(of(arm, 0));
        pairs.map(|(one, other)| apart(&one.losses, &other.losses) * 100.0).collect()
    };
    let growths = |arm: usize| of(arm, 0).iter().map(Descended::growth).collect::<Vec<_>>();
    let parts = vec![
        Part::new(OUTPUT, Interval::of(&ends(moved, |changed| changed.logits))),
        Part::new(GRADIENT, Interval::of(&ends(moved, off))),
        Part::new(ANGLE, Interval::of(&angles(kept))),
        Part::new(CURVE, Interval::of(&distance(1, 2))),
        Part::new(GROWTH, Interval::of(&growths(1))),
    ];
    let times = |run: usize| {
        let ratios =
            of(1, run).iter().map(|run| run.norms.last().unwrap_or(&1.0) / run.norms.first().unwrap_or(&1.0));
        mean(&ratios.collect::<Vec<_>>())
    };
    let sentence = format!(
        "Weights 10 times or a tenth as large change no logit by more than {:.1e} % where eps is scaled along, and by {:.2} % \
         where it is not; their gradients are 1/a of what they were to within {:.1e} % and {:.2} %. From weights 10 times as large, at a rate 100 times as large for them, the loss runs within {:.2} % of \
         the unscaled one; at the same rate it is {:.0} % off. The gradient stands at right angles to the weights (cosine at most \
         {:.1e}; {:.2} without batch normalization), so they only grow: in {steps} steps to {:.2} times their norm, and to {:.1} times from a tenth.",
        parts[0].interval.value,
        mean(&ends(kept, |changed| changed.logits)),
        parts[1].interval.value,
        mean(&ends(kept, off)),
        parts[3].interval.value,
        mean(&distance(1, 1)),
        parts[2].interval.value,
        mean(&angles(plain)),
        times(0),
        times(3),
    );
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![
            losses("Loss in training, batch normalization", |run| of(1, run)),
            losses("Loss in training, without", |run| of(0, run)),
            norms([0, 1, 3].map(|run| (NAMES[run], of(1, run)))),
        ],
        tables: vec![by_factor(&[("batch normalization", kept), ("batch normalization, eps times a^2", moved), ("without", plain)]), curves(&distance)],
        settings: vec![
            ("network".to_owned(), "mlp, 3 layers of 100 ReLUs, He initialization".to_owned()),
            ("optimizer".to_owned(), format!("SGD at rate {RATE}, batches of {BATCH}, {steps} steps, no decay")),
            ("eps".to_owned(), format!("{}", Norm::default().eps)),
        ],
        differs: "The equations leave eps out, which is added to the variance and does not scale with it: it is nearly all of what \
                  a = 1/10 changes, as the row in which it is scaled along shows. The rest is rounding, \
                  which training amplifies: the curves are compared over few steps for that reason. Over a thousand steps on MNIST \
                  they part by more than the rule allows, though both train alike."
            .to_owned(),
        notes: vec![format!(
            "Weights of the output layer, which no norm follows, gamma and beta are neither scaled nor at another rate. Without \
             batch normalization the growth of the weights is {:.1} of what orthogonal steps would add.",
            mean(&growths(0))
        )],
    })
}

fn by_factor(kinds: &[(&str, &[Scalings])]) -> Table {
    let row = |(name, scalings): &(&str, &[Scalings]), by: f64| {
        let at = |what: fn(&Changed) -> f64| {
            let found =
                scalings.iter().filter_map(|one| one.changed.iter().find(|changed| changed.by == by)).map(what);
            mean(&found.collect::<Vec<_>>())
        };
        let cells = [at(|changed| changed.logits), at(|changed| (changed.gradient - 1.0).abs())];
        let cells = cells.map(|share| format!("{:.2e} %", share * 100.0));
        [vec![(*name).to_owned(), by.to_string()], cells.to_vec()].concat()
    };
    Table {
        title: "Weights times a, mean over the seeds".to_owned(),
        head: ["network", "a", "largest change of a logit", "gradient times a, from what it was"]
            .map(str::to_owned)
            .to_vec(),
        rows: kinds.iter().flat_map(|kind| SCALES.map(|by| row(kind, by))).collect(),
    }
}

fn curves(distance: &dyn Fn(usize, usize) -> Vec<f64>) -> Table {
    let row = |arm: usize, name: &str| {
        let cells = [1, 2, 3].map(|run| match mean(&distance(arm, run)) {
            far if far >= 100.0 * FAR => "beyond bounds".to_owned(),
            far => format!("{far:.2} %"),
        });
        std::iter::once(name.to_owned()).chain(cells).collect()
    };
    Table {
        title: "How far the loss in training is from the unscaled run's, mean over steps and seeds".to_owned(),
        head: ["network"].iter().chain(&NAMES[1..]).map(|&name| name.to_owned()).collect(),
        rows: vec![row(0, "without"), row(1, "batch normalization")],
    }
}

/// Means over windows of steps, or a drawing shows noise.
fn windows(values: &[f64], window: usize) -> Vec<(f64, f64)> {
    let middle =
        |(index, chunk): (usize, &[f64])| ((index * window) as f64 + chunk.len() as f64 / 2.0, mean(chunk));
    values.chunks(window).enumerate().map(middle).collect()
}

fn over<'a>(runs: &'a [Descended], values: impl Fn(&'a Descended) -> &'a [f64]) -> Vec<(f64, Vec<f64>)> {
    let longest = runs.iter().map(|run| values(run).len()).max().unwrap_or(0);
    let curves: Vec<Vec<(f64, f64)>> =
        runs.iter().map(|run| windows(values(run), (longest / 50).max(1))).collect();
    let steps = curves.iter().max_by_key(|curve| curve.len()).cloned().unwrap_or_default();
    let at = |index: usize| curves.iter().filter_map(|curve| curve.get(index).map(|point| point.1)).collect();
    steps.iter().enumerate().map(|(index, point)| (point.0, at(index))).collect()
}

/// Without what is off any chart.
fn in_sight((step, values): (f64, Vec<f64>)) -> (f64, Vec<f64>) {
    (step, values.into_iter().filter(|&value| value < OFF).collect())
}

const OFF: f64 = 1_000.0;

fn losses<'a>(title: &str, of: impl Fn(usize) -> &'a [Descended]) -> Exhibit {
    let series: Vec<Series> = NAMES
        .iter()
        .enumerate()
        .map(|(run, name)| Series {
            name: (*name).to_owned(),
            ink: inks()[run].clone(),
            points: over(of(run), |run| &run.losses).into_iter().map(in_sight).collect(),
        })
        .collect();
    let values: Vec<f64> =
        series.iter().flat_map(|series| series.points.iter().flat_map(|point| point.1.clone())).collect();
    let x = Axis {
        label: "training steps",
        scale: Scale::around(
            Kind::Linear,
            series.iter().flat_map(|series| series.points.iter().map(|point| point.0)),
        ),
    };
    let y = Axis { label: "training loss (logarithmic)", scale: Scale::around(Kind::Log, values.into_iter()) };
    Exhibit {
        drawing: bands(title, "", x, y, series),
        reading: "With batch normalization the dotted line of the scaled run lies on that of the unscaled one; without, scaled \
                  weights make another network. Lines are means over the seeds and over a fiftieth of the steps, bands reach from \
                  the least to the largest."
            .to_owned(),
    }
}

fn inks() -> [Ink; 4] {
    [Ink::NEUTRAL, Ink::nth(2), Ink::nth(11), Ink::nth(4)]
}

fn norms(kinds: [(&str, &[Descended]); 3]) -> Exhibit {
    let ink = |index: usize| [0, 1, 3].map(|run| inks()[run].clone())[index].clone();
    let series: Vec<Series> = kinds
        .iter()
        .enumerate()
        .map(|(index, (name, runs))| Series {
            name: (*name).to_owned(),
            ink: ink(index),
            points: over(runs, |run| &run.norms),
        })
        .collect();
    let values: Vec<f64> =
        series.iter().flat_map(|series| series.points.iter().flat_map(|point| point.1.clone())).collect();
    let steps = series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let x = Axis { label: "training steps", scale: Scale::around(Kind::Linear, steps) };
    let y = Axis {
        label: "norm of the hidden layers' weights (logarithmic)",
        scale: Scale::around(Kind::Log, values.into_iter()),
    };
    Exhibit {
        drawing: bands("Weights in training without decay, batch normalization", "", x, y, series),
        reading: "Weights can only grow, and what they grow by slows them down: small ones grow fast, large ones hardly.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_apart_by_the_mean_difference() {
        assert_eq!(apart(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
        assert!((apart(&[1.1, 1.8], &[1.0, 2.0]) - 0.1).abs() < 1e-12);
        assert_eq!(apart(&[1.0], &[1.0, 2.0]), 1.0);
        assert_eq!(apart(&[], &[]), 1.0);
        assert_eq!(apart(&[1e30], &[1.0]), FAR);
    }

    #[test]
    fn steps_at_right_angles_add_their_squares() {
        let grown = Descended { losses: vec![], norms: vec![3.0, 4.0, 5.0], stepped: 16.0 };
        assert_eq!(grown.growth(), 1.0);
        assert_eq!(windows(&[1.0, 3.0, 5.0], 2), [(1.0, 2.0), (2.5, 5.0)]);
    }

    #[test]
    fn a_descent_is_the_same_twice() {
        let task = Descent { arm: Arm::BatchNorm, seed: 1, steps: 3, weights: 2.0, rate: 0.1, times: 4.0 };
        let descended = || crate::claims::bench::on_digits(|bench| task.carry_out(bench)).unwrap();
        assert_eq!(descended(), descended());
    }
}
