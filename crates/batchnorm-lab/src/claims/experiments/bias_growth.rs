//! Normalized outside the gradient step, a bias grows and the loss stands still.

use std::iter::once;

use batchnorm::{BatchNormConfig as Engine, Momentum, RunningVariance};
use batchnorm_burn::{BatchNorm, BatchNormConfig};
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use super::seeds::{bands, mean};
use crate::claims::Facts;
use crate::claims::Interval;
use crate::claims::bench::{self, Bench};
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab, Task};
use crate::claims::probe::Draws;
use crate::data::Preprocessing;
use crate::draw::{Axis, Ink, Kind as Spread, Scale, Series};
use crate::feed::Batch;
use crate::streams::{Purpose, Stream};

pub(super) const CLAIM: Claim = Claim {
    name: "bias-growth",
    claim: "If the gradient does not know of the normalization, a bias before it grows without bound while the loss stays the same.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 2.",
    experiment: "A layer Wu + b, normalized by the statistics of its batch, a sigmoid and a linear map to the classes, on real \
                 images. Once the backward pass goes through the statistics, as it should; once they are constants to it, \
                 refreshed at every step. Trained is b alone, or everything; and with and without the division by the deviation.",
    measurement: "How far b has moved from where it began, |b - b0|; its growth in the second half of the run; and the change of \
                  the loss, on one batch that stays the same.",
    rules: &[RATIO, UNBOUNDED, STILL, HARM],
    published: "The paper's example: the update of b has no effect on the output and consequently none on the loss, so b grows \
                indefinitely while the loss is fixed; worse if the activations are scaled as well. Observed, without numbers: the \
                model blows up.",
    run,
};

const RATIO: Rule = Rule {
    says: "the bias grows",
    measure: "the ratio of the ways that b has gone, ignoring to right, with b alone trained,",
    unit: "x",
    enough: 100.0,
    none: 2.0,
};
const UNBOUNDED: Rule = Rule {
    says: "without bound",
    measure: "the way that b has gone after all steps over that after half of them (2 is a straight line, 1 a standstill)",
    unit: "x",
    enough: 1.8,
    none: 1.2,
};
const STILL: Rule = Rule {
    says: "while the loss stays the same",
    measure: "the change of the loss from the first step to the last, with b alone trained,",
    unit: " %",
    enough: 1.0,
    none: 10.0,
};
const HARM: Rule = Rule {
    says: "a model so trained is worse",
    measure: "the ratio of the losses at the end, ignoring to right, with everything trained,",
    unit: "x",
    enough: 1.5,
    none: 1.05,
};

/// Units of the layer.
const UNITS: usize = 100;
const BATCH: usize = 60;
const RATE: f64 = 0.5;
/// The least way: what is smaller is rounding.
const ROUNDING: f64 = 1e-6;

/// What the backward pass makes of the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
enum Gradient {
    Right,
    Ignoring,
}

/// What is normalized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
enum Normalized {
    /// The mean is subtracted.
    Mean,
    /// And the deviation divided by.
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
enum Trained {
    Bias,
    All,
}

type Kind = (Gradient, Normalized, Trained);

/// Trains the layer one way.
#[derive(Clone, Copy, Debug, Serialize)]
struct Bias {
    kind: Kind,
    seed: u64,
    steps: usize,
    rate: f64,
}

/// What became of it: every so many steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Drift {
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Point {
    step: usize,
    /// How far b is from where it began.
    way: f64,
    /// The norm of W.
    weights: f64,
    /// On a batch that stays the same, normalized by its own statistics.
    loss: f64,
}

impl Drift {
    fn last(&self) -> Point {
        self.points.last().copied().unwrap_or_default()
    }

    /// The way at the end over that after half of the steps.
    fn second_half(&self) -> f64 {
        let half = self.last().step / 2;
        let middle = self.points.iter().rfind(|point| point.step <= half).map_or(f64::NAN, |point| point.way);
        self.last().way.max(ROUNDING) / middle.max(ROUNDING)
    }

    /// The change of the loss, as a share of it.
    fn change(&self) -> f64 {
        let first = self.points.first().map_or(f64::NAN, |point| point.loss);
        (self.last().loss - first).abs() / first
    }
}

/// The layer and what is behind it.
#[derive(Module, Debug)]
struct Net {
    linear: Linear,
    norm: BatchNorm,
    output: Linear,
}

impl Net {
    fn new(inputs: usize, classes: usize, seed: u64, device: &Device) -> Self {
        let mut stream = Stream::new(seed, Purpose::Weights);
        let mut linear = |inputs: usize, outputs: usize| {
            let deviation = 1.0 / (inputs as f64).sqrt();
            let values: Vec<f32> =
                (0..inputs * outputs).map(|_| (deviation * stream.normal()) as f32).collect();
            let weight = Tensor::from_data(TensorData::new(values, [inputs, outputs]), device);
            Linear {
                weight: Param::from_tensor(weight),
                bias: Some(Param::from_tensor(Tensor::zeros([outputs], device))),
            }
        };
        let (linear, output) = (linear(inputs, UNITS), linear(UNITS, classes));
        // The running statistics are those of the last batch alone, and no parameters of their own hide what b does.
        let settings = Engine::default()
            .with_momentum(Momentum::of_new(1.0))
            .with_running_variance(RunningVariance::Biased)
            .with_affine(false);
        Self { linear, norm: BatchNormConfig::new(UNITS).with_settings(settings).init(device), output }
    }

    /// The batch's statistics go into the forward pass; whether the backward pass goes through them is another matter.
    fn loss(&self, batch: &Batch, (gradient, normalized, _): Kind, device: &Device) -> Result<Tensor<1>, Halt> {
        let u = batch.images(device).flatten::<2>(1, 3);
        let x = self.linear.forward(u);
        let y = match (normalized, gradient) {
            (Normalized::Both, Gradient::Right) => self.norm.try_forward(x)?,
            (Normalized::Both, Gradient::Ignoring) => {
                // A first pass takes the statistics in; the second one normalizes by them as by any constants.
                self.norm.try_forward(x.clone().detach())?;
                self.norm.clone().with_frozen_statistics(true).try_forward(x)?
            }
            (Normalized::Mean, Gradient::Right) => x.clone() - x.mean_dim(0),
            (Normalized::Mean, Gradient::Ignoring) => x.clone() - x.detach().mean_dim(0),
        };
        let logits = self.output.forward(activation::sigmoid(y));
        Ok(CrossEntropyLossConfig::new().init(device).forward(logits, batch.targets(device)))
    }

    fn bias(&self) -> Vec<f32> {
        self.linear.bias.as_ref().map(|bias| values(bias.val())).unwrap_or_default()
    }

    fn weights(&self) -> f64 {
        length(&values(self.linear.weight.val()))
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("networks compute in f32")
}

fn length(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn step(
    net: Net,
    batch: &Batch,
    task: &Bias,
    optimizer: &mut ModuleOptimizer,
    device: &Device,
) -> Result<Net, Halt> {
    let loss = net.loss(batch, task.kind, device)?;
    let mut gradients = GradientsParams::from_grads(loss.backward(), &net);
    if task.kind.2 == Trained::Bias {
        for weight in [&net.linear.weight, &net.output.weight] {
            gradients.remove::<2>(weight.id);
        }
        if let Some(bias) = &net.output.bias {
            gradients.remove::<1>(bias.id);
        }
    }
    Ok(optimizer.step(task.rate, net, gradients))
}

impl Task for Bias {
    type Outcome = Drift;
    const KIND: &'static str = "bias-growth";

    fn cost(&self, facts: &Facts) -> f64 {
        let weights = facts.dims.iter().product::<usize>() * UNITS;
        self.steps as f64 * (3e-4 + (BATCH * weights) as f64 * 1.5e-10)
    }

    fn placeholder(&self) -> Drift {
        let point = |step| Point { step, way: 1.0, weights: 1.0, loss: 1.0 };
        Drift { points: vec![point(0), point(self.steps)] }
    }

    fn carry_out(&self, bench: &Bench<'_>) -> Result<Drift, Halt> {
        let data = bench.data(bench::Part { test: Some(1), ..bench::Part::default() });
        let preprocessing = Preprocessing::plain(data.white);
        let mut draws = Draws::new(&data, &preprocessing, BATCH, self.seed);
        let device = Device::flex().autodiff();
        let mut net = Net::new(data.pixels(), data.classes, self.seed, &device);
        let mut optimizer = SgdConfig::new().init();
        let fixed = draws.next();
        let began = net.bias();
        let mut drift = Drift::default();
        for taken in 0..=self.steps {
            if taken % (self.steps / 50).max(1) == 0 {
                let loss = net.loss(&fixed, self.kind, &device)?;
                let now: Vec<f32> = net.bias().iter().zip(&began).map(|(now, began)| now - began).collect();
                let loss = f64::from(loss.into_scalar::<f32>());
                let point = Point { step: taken, way: length(&now), weights: net.weights(), loss };
                if ![point.way, point.weights, point.loss].iter().all(|value| value.is_finite()) {
                    break;
                }
                drift.points.push(point);
            }
            if bench.wants_to_stop() {
                return Err(Halt::Stopped);
            }
            net = step(net, &draws.next(), self, &mut optimizer, &device)?;
        }
        Ok(drift)
    }
}

const GRADIENTS: [Gradient; 2] = [Gradient::Right, Gradient::Ignoring];
const NORMALIZED: [Normalized; 2] = [Normalized::Mean, Normalized::Both];

fn name(gradient: Gradient, normalized: Normalized) -> String {
    let gradient = match gradient {
        Gradient::Right => "right gradient",
        Gradient::Ignoring => "ignoring",
    };
    match normalized {
        Normalized::Mean => format!("{gradient}, mean only"),
        Normalized::Both => format!("{gradient}, mean and deviation"),
    }
}

fn ink(gradient: Gradient, normalized: Normalized) -> Ink {
    // Batch normalization's own colour for what it is.
    Ink::nth(usize::from(gradient == Gradient::Right) + if normalized == Normalized::Mean { 8 } else { 0 })
}

/// By kind, the drifts of the seeds.
struct Drifts(Vec<(Kind, Vec<Drift>)>);

impl Drifts {
    fn of(&self, kind: Kind) -> &[Drift] {
        self.0.iter().find(|(found, _)| *found == kind).map_or(&[], |found| &found.1)
    }

    fn each(&self, kind: Kind, of: impl Fn(&Drift) -> f64) -> Vec<f64> {
        self.of(kind).iter().map(of).collect()
    }
}

fn curves(
    drifts: &Drifts,
    title: &str,
    trained: Trained,
    label: &str,
    reading: &str,
    of: fn(&Point) -> f64,
) -> Exhibit {
    let mut series = Vec::new();
    for normalized in NORMALIZED {
        for gradient in GRADIENTS {
            let drifts = drifts.of((gradient, normalized, trained));
            let steps = drifts.iter().max_by_key(|drift| drift.points.len());
            let steps: Vec<usize> =
                steps.map(|drift| drift.points.iter().map(|point| point.step).collect()).unwrap_or_default();
            let at = |step| {
                drifts
                    .iter()
                    .filter_map(|drift| drift.points.iter().find(|point| point.step == step))
                    .map(of)
                    .collect()
            };
            let points = steps.iter().map(|&step| (step as f64, at(step))).collect();
            series.push(Series { name: name(gradient, normalized), ink: ink(gradient, normalized), points });
        }
    }
    let values: Vec<f64> =
        series.iter().flat_map(|series| series.points.iter().flat_map(|point| point.1.clone())).collect();
    let steps = series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let x = Axis { label: "training steps", scale: Scale::around(Spread::Linear, steps) };
    let y = Axis { label, scale: Scale::around(Spread::Linear, values.into_iter().chain(once(0.0))) };
    Exhibit { drawing: bands(title, "", x, y, series), reading: reading.to_owned() }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let steps = lab.pick(1_000, 5_000);
    let seeds = lab.seeds();
    let mut kinds = Vec::new();
    for trained in [Trained::Bias, Trained::All] {
        kinds.extend(
            NORMALIZED
                .into_iter()
                .flat_map(|normalized| GRADIENTS.map(|gradient| (gradient, normalized, trained))),
        );
    }
    let tasks =
        kinds.iter().flat_map(|&kind| seeds.iter().map(move |&seed| Bias { kind, seed, steps, rate: RATE }));
    let outcomes = lab.all(tasks.collect())?;
    let drifts =
        Drifts(kinds.iter().copied().zip(outcomes.chunks(seeds.len()).map(<[Drift]>::to_vec)).collect());
    let both = |gradient, trained| (gradient, Normalized::Both, trained);
    let way = |drift: &Drift| drift.last().way.max(ROUNDING);
    let [right, ignoring] = GRADIENTS.map(|gradient| drifts.each(both(gradient, Trained::Bias), way));
    let [well, badly] =
        GRADIENTS.map(|gradient| drifts.each(both(gradient, Trained::All), |drift| drift.last().loss));
    let blind = both(Gradient::Ignoring, Trained::Bias);
    let parts = vec![
        Part::new(RATIO, Interval::of_ratios(&ignoring, &right)),
        Part::new(UNBOUNDED, Interval::of_positive(&drifts.each(blind, Drift::second_half))),
        Part::new(STILL, Interval::of(&drifts.each(blind, |drift| drift.change() * 100.0))),
        Part::new(HARM, Interval::of_ratios(&badly, &well)),
    ];
    let sentence = format!(
        "With a gradient that ignores the normalization, b alone trained has gone {:.2} after {steps} steps, {:.2} times as far as \
         after half of them, and the loss has changed by {} %; with the right gradient it has gone {:.1e}. With everything \
         trained, the loss ends at {:.4} if normalization is ignored and at {:.4} if not: {}.",
        mean(&ignoring),
        parts[1].interval.value,
        match parts[2].interval.value {
            0.0 => "0".to_owned(),
            change => format!("{change:.1e}"),
        },
        mean(&right),
        mean(&badly),
        mean(&well),
        parts[3].interval.in_words(2, "x"),
    );
    let row = |&(gradient, normalized, trained): &Kind| {
        let kind = (gradient, normalized, trained);
        let what = match trained {
            Trained::Bias => "b",
            Trained::All => "everything",
        };
        let cell = |of: fn(&Drift) -> f64| mean(&drifts.each(kind, of));
        vec![
            name(gradient, normalized),
            what.to_owned(),
            format!("{:.3e}", cell(|drift| drift.last().way)),
            format!("{:.2}", cell(Drift::second_half)),
            format!(
                "{:.2}",
                cell(|drift| drift.last().weights / drift.points.first().map_or(1.0, |point| point.weights))
            ),
            format!("{:.4}", cell(|drift| drift.points.first().map_or(f64::NAN, |point| point.loss))),
            format!("{:.4}", cell(|drift| drift.last().loss)),
        ]
    };
    let ended: usize =
        drifts.0.iter().flat_map(|(_, drifts)| drifts).filter(|drift| drift.last().step < steps).count();
    let mut notes = vec![format!(
        "A way shorter than {ROUNDING} is rounding and counts as that: the ratio is then a lower bound. In exact arithmetic the \
         right gradient does not move b at all."
    )];
    if ended > 0 {
        notes.push(format!("{ended} runs ended before their last step with values that were not finite."));
    }
    let grows = "The right gradient knows that b has no effect and leaves it alone; the other pushes it on at every step.";
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![
            curves(&drifts, "b alone trained: the way of b", Trained::Bias, "|b - b0|", grows, |point| point.way),
            curves(
                &drifts,
                "b alone trained: the loss",
                Trained::Bias,
                "loss on one batch",
                "Nothing that b does is seen in the loss: every line is flat.",
                |point| point.loss,
            ),
            curves(
                &drifts,
                "Everything trained: the way of b",
                Trained::All,
                "|b - b0|",
                "As above, with the rest of the network learning at the same time.",
                |point| point.way,
            ),
            curves(
                &drifts,
                "Everything trained: the loss",
                Trained::All,
                "loss on one batch",
                "Whether the wrong gradient harms the rest: the lower line learns better.",
                |point| point.loss,
            ),
        ],
        tables: vec![Table {
            title: "At the end, mean over the seeds".to_owned(),
            head: ["network", "trained", "way of b", "second half", "|W| over its start", "loss at first", "loss at last"]
                .map(str::to_owned)
                .to_vec(),
            rows: kinds.iter().map(row).collect(),
        }],
        settings: vec![
            ("network".to_owned(), format!("{UNITS} sigmoids and a linear map, no gamma and beta")),
            ("optimizer".to_owned(), format!("SGD at rate {RATE}, batches of {BATCH}, {steps} steps")),
            ("statistics".to_owned(), "of every batch; constants to the gradient that ignores them".to_owned()),
        ],
        differs: "The paper reports that its model blew up, without saying which. In this small one b grows as it describes; what \
                  the wrong gradient does to the rest is in the last drawing."
            .to_owned(),
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_is_told_from_a_standstill() {
        let drift = |ways: [f64; 3]| {
            let point = |(index, way): (usize, f64)| Point {
                step: index * 10,
                way,
                weights: 1.0,
                loss: 2.0 - 0.1 * way,
            };
            Drift { points: ways.into_iter().enumerate().map(point).collect() }
        };
        assert_eq!(drift([0.0, 1.0, 2.0]).second_half(), 2.0);
        assert_eq!(drift([0.0, 1.0, 1.0]).second_half(), 1.0);
        assert_eq!(drift([0.0, 0.0, 1e-9]).second_half(), 1.0);
        assert!((drift([0.0, 1.0, 2.0]).change() - 0.1).abs() < 1e-12);
    }

    #[test]
    fn a_bias_is_the_same_twice() {
        let kind = (Gradient::Ignoring, Normalized::Both, Trained::Bias);
        let task = Bias { kind, seed: 1, steps: 4, rate: RATE };
        let drift = || crate::claims::bench::on_digits(|bench| task.carry_out(bench)).unwrap();
        assert_eq!(drift(), drift());
        assert!(drift().last().way > 0.0);
    }
}
