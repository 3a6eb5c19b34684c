//! Gradients of the weights of one network, layer by layer, at the start and on the way.

use serde::{Deserialize, Serialize};

use crate::claims::Facts;
use crate::claims::bench::{self, Bench};
use crate::claims::lab::{Halt, Task};
use crate::claims::probe::{Draws, Flat, Probe};
use crate::data::Source;
use crate::feed::Batch;
use crate::networks::{Activation, Init, Model, Network};
use crate::train::{Arm, Observer, Settings, Statistics, train};

/// Units of every hidden layer.
pub(super) const UNITS: usize = 100;
pub(super) const BATCH: usize = 64;

/// A network whose gradients are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Kind {
    pub(super) depth: usize,
    pub(super) arm: Arm,
    pub(super) skips: bool,
    pub(super) activation: Activation,
    /// Standard deviation of the weights; He's if there is none.
    pub(super) std: Option<f64>,
    /// What gamma is set to.
    pub(super) gamma: Option<f64>,
}

impl Kind {
    pub(super) const fn new(depth: usize, arm: Arm) -> Self {
        Self { depth, arm, skips: false, activation: Activation::Relu, std: None, gamma: None }
    }

    fn settings(&self, seed: u64, steps: usize, rate: f64) -> Settings {
        let init = self.std.map_or(Init::He, |_| Init::Normal);
        Settings {
            layers: vec![UNITS; self.depth],
            norms: vec![self.arm],
            skips: self.skips,
            activation: self.activation,
            init,
            init_std: self.std.unwrap_or_default(),
            seed,
            steps,
            batch_size: BATCH,
            learning_rate: rate,
            eval_every: steps.max(1),
            eval_images: BATCH,
            threads: 1,
            statistics: Statistics::Running,
            gap: false,
            ..Settings::defaults(Source::Digits, Network::Mlp)
        }
    }
}

/// Looks at the gradients of one network at the start, and on the way if it is trained.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Flow {
    pub(super) kind: Kind,
    pub(super) seed: u64,
    /// Images that the gradients are taken on.
    pub(super) images: usize,
    /// Steps of training; 0 is the start alone.
    pub(super) steps: usize,
    /// The learning rate of those.
    pub(super) rate: f64,
}

/// The gradients of a network after some steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Profile {
    pub(super) step: usize,
    pub(super) loss: f64,
    /// The norm of the gradient of each hidden layer's weights, from the input on.
    pub(super) norms: Vec<f64>,
}

impl Profile {
    /// `None` if something in it is not finite.
    fn of(step: usize, probe: &Probe, batch: &Batch) -> Result<Option<Self>, Halt> {
        let look = probe.look(batch)?;
        let norms: Vec<f64> = look.gradients.iter().filter(|flat| flat.is_hidden()).map(Flat::norm).collect();
        let finite = look.loss.is_finite() && norms.iter().all(|norm| norm.is_finite());
        Ok(finite.then_some(Self { step, loss: look.loss, norms }))
    }
}

/// Takes profiles during training.
struct Profiler<'a> {
    bench: Bench<'a>,
    batch: &'a Batch,
    steps: usize,
    profiles: Vec<Profile>,
    failure: Option<Halt>,
}

impl Profiler<'_> {
    fn look(&mut self, after: usize, network: &Model) {
        match Profile::of(after, &Probe::of(network), self.batch) {
            Ok(profile) => self.profiles.extend(profile),
            Err(halt) => self.failure = Some(halt),
        }
    }
}

impl Observer for Profiler<'_> {
    fn before_step(&mut self, _arm: Arm, step: usize, network: &Model, _batch: &Batch) {
        if [0, self.steps / 10, self.steps * 3 / 10].contains(&(step - 1)) {
            self.look(step - 1, network);
        }
    }

    fn after_last_step(&mut self, _arm: Arm, network: &Model) {
        self.look(self.steps, network);
    }

    fn wants_to_stop(&mut self) -> bool {
        self.failure.is_some() || self.bench.wants_to_stop()
    }
}

impl Task for Flow {
    type Outcome = Vec<Profile>;
    const KIND: &'static str = "gradient-flow";

    fn cost(&self, facts: &Facts) -> f64 {
        let weights = facts.dims.iter().product::<usize>() * UNITS + self.kind.depth * UNITS * UNITS;
        let looks = if self.steps == 0 { 1 } else { 4 };
        let image = 1.2e-10 * weights as f64 + 2e-8 * (UNITS * self.kind.depth) as f64;
        (looks * self.images + self.steps * BATCH) as f64 * image + 5e-2
    }

    fn placeholder(&self) -> Vec<Profile> {
        vec![Profile { step: 0, loss: 1.0, norms: vec![1.0; self.kind.depth] }]
    }

    fn carry_out(&self, bench: &Bench<'_>) -> Result<Vec<Profile>, Halt> {
        let few =
            bench::Part { train: Some(2_000.max(self.images)), test: Some(BATCH), ..bench::Part::default() };
        let data = bench.data(few);
        let settings = self.kind.settings(self.seed, self.steps, self.rate);
        let preprocessing = settings.preprocessing(&data);
        let batch = Draws::new(&data, &preprocessing, self.images, self.seed).next();
        if self.steps == 0 {
            let architecture = settings.architecture(&data, self.kind.arm);
            let mut probe = Probe::build(&architecture, settings.init, settings.init_std, self.seed)?;
            if let Some(gamma) = self.kind.gamma {
                probe = probe.changed(|flat| {
                    if flat.name.ends_with("gamma") {
                        flat.values.fill(gamma as f32);
                    }
                });
            }
            return Ok(Profile::of(0, &probe, &batch)?.into_iter().collect());
        }
        let steps = self.steps;
        let mut profiler =
            Profiler { bench: *bench, batch: &batch, steps, profiles: Vec::new(), failure: None };
        let trained = train(&settings, &data, None, &mut profiler)?;
        match (profiler.failure, trained.metrics.interrupted_at_step) {
            (Some(halt), _) => Err(halt),
            (_, Some(_)) => Err(Halt::Stopped),
            _ => Ok(profiler.profiles),
        }
    }
}

/// By how much the squared gradient grows per layer, going backwards: of norms from the input on, the first left out, as its
/// layer has another number of inputs. Least squares over the logarithms.
pub(super) fn growth(norms: &[f64]) -> f64 {
    let points: Vec<(f64, f64)> = norms
        .iter()
        .enumerate()
        .skip(1)
        .filter(|(_, norm)| **norm > 0.0 && norm.is_finite())
        .map(|(layer, norm)| (layer as f64, 2.0 * norm.ln()))
        .collect();
    let number = points.len() as f64;
    let centre = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / number;
    let (x, y) = (centre(|point| point.0), centre(|point| point.1));
    let products: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let squares: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (-products / squares).exp()
}

/// How many times larger the norm is in the second hidden layer than in the last, by that line.
pub(super) fn fold(norms: &[f64]) -> f64 {
    growth(norms).powf((norms.len() as f64 - 2.0) / 2.0)
}

pub(super) fn smallest(norms: &[f64]) -> f64 {
    // The least that f32 holds stands for nothing at all.
    norms.iter().copied().fold(f64::INFINITY, f64::min).max(f64::from(f32::MIN_POSITIVE))
}

/// What the squared gradient grows by per layer if pre-activations are normal with mean 0 and variance `scale^2`:
/// `E[phi'(z)^2] scale^2 / Var[phi(z)]` (Yang et al. 2019), by the midpoint rule.
pub(super) fn theory(activation: Activation, scale: f64) -> f64 {
    let [mut slopes, mut first, mut second, mut weight] = [0.0; 4];
    for place in -8_000..8_000 {
        let z = (f64::from(place) + 0.5) / 1_000.0;
        let density = (-z * z / 2.0).exp();
        let x = scale * z;
        let (value, slope) = match activation {
            Activation::Relu => (x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }),
            Activation::Tanh => (x.tanh(), 1.0 - x.tanh().powi(2)),
            Activation::Sigmoid => {
                let value = 1.0 / (1.0 + (-x).exp());
                (value, value * (1.0 - value))
            }
        };
        slopes += density * slope * slope;
        first += density * value;
        second += density * value * value;
        weight += density;
    }
    let variance = second / weight - (first / weight).powi(2);
    slopes / weight * scale * scale / variance
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;
    use crate::claims::bench::on_digits;

    #[test]
    fn growth_is_the_slope_backwards_whatever_the_first_layer() {
        let norms: Vec<f64> = (0..10).map(|layer| 3.0 * 1.21f64.powi(-layer)).collect();
        assert!((growth(&norms) - 1.21 * 1.21).abs() < 1e-12);
        assert!((fold(&norms) - 1.21f64.powi(8)).abs() < 1e-9);
        let other = [&[1e6][..], &norms[1..]].concat();
        assert!((growth(&other) - growth(&norms)).abs() < 1e-12);
        assert_eq!(growth(&[2.0; 5]), 1.0);
        assert!(growth(&[2.0]).is_nan());
    }

    #[test]
    fn theory_has_the_published_figures() {
        assert!((theory(Activation::Relu, 1.0) - PI / (PI - 1.0)).abs() < 1e-6);
        assert!((theory(Activation::Tanh, 1.0) - 1.178).abs() < 1e-3);
        assert!((theory(Activation::Sigmoid, 1.0) - 1.034).abs() < 1e-3);
        assert!((theory(Activation::Tanh, 0.01) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_flow_is_the_same_twice_and_begins_where_it_is_looked_at_alone() {
        let kind = Kind::new(3, Arm::BatchNorm);
        let flow = |steps| {
            let flow = Flow { kind, seed: 1, images: 32, steps, rate: 0.1 };
            on_digits(|bench| flow.carry_out(bench)).unwrap()
        };
        let trained = flow(10);
        assert_eq!(trained, flow(10));
        assert_eq!(trained.iter().map(|profile| profile.step).collect::<Vec<_>>(), [0, 1, 3, 10]);
        assert_eq!(trained[0], flow(0)[0]);
        assert_eq!(trained[0].norms.len(), 3);
        assert!(trained[3].loss < trained[0].loss);
    }
}
