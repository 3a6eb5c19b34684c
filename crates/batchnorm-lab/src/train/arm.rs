//! One of the twins on its way.

use std::time::{Duration, Instant};

use batchnorm::RunningUpdate;
use batchnorm_burn::{BatchNorm, Error};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};

use super::batches::Batch;
use super::evaluation::{Evaluation, Outcome};
use super::metrics::{Band, Point, Run, finite};
use super::{Arm, Observer, Optimizer, Settings, Statistics, population};
use crate::data::Dataset;
use crate::networks::Classifier;

/// A network, its optimizer, and what was measured of it so far.
pub(super) struct Trainee<N> {
    arm: Arm,
    /// `None` only inside [`Trainee::step`]: the optimizer takes the network and gives it back.
    network: Option<N>,
    optimizer: ModuleOptimizer,
    learning_rate: f64,
    device: Device,
    spent: Duration,
    /// Sum and number of losses since the last evaluation.
    losses: (f64, usize),
    diverged_at_step: Option<usize>,
    failure: Option<String>,
    skipped_updates: usize,
    curve: Vec<Point>,
    percentiles: Vec<Band>,
}

impl<N: Classifier> Trainee<N> {
    pub(super) fn new(arm: Arm, network: N, settings: &Settings) -> Self {
        Self {
            arm,
            network: Some(network),
            optimizer: optimizer(settings),
            learning_rate: settings.learning_rate,
            device: Device::flex().autodiff(),
            spent: Duration::ZERO,
            losses: (0.0, 0),
            diverged_at_step: None,
            failure: None,
            skipped_updates: 0,
            curve: Vec::new(),
            percentiles: Vec::new(),
        }
    }

    pub(super) fn has_diverged(&self) -> bool {
        self.diverged_at_step.is_some()
    }

    fn network(&self) -> &N {
        self.network.as_ref().expect("the network is there between steps")
    }

    /// One step of the optimizer, unless this twin has diverged.
    pub(super) fn step(&mut self, step: usize, batch: &Batch, observer: &mut dyn Observer) {
        if self.has_diverged() {
            return;
        }
        let started = Instant::now();
        let network = self.network.take().expect("the network is there between steps");
        let loss = self.loss(&network, batch).map(|loss| (loss.clone().into_scalar::<f32>(), loss));
        let (network, loss) = match loss {
            Ok((value, loss)) if value.is_finite() => {
                let gradients = GradientsParams::from_grads(loss.backward(), &network);
                (self.optimizer.step(self.learning_rate, network, gradients), Ok(value))
            }
            Ok(_) => (network, Err(None)),
            Err(error) => (network, Err(Some(error))),
        };
        self.spent += started.elapsed();
        let skipped =
            |norm: &&BatchNorm| matches!(norm.last_update(), Some(RunningUpdate::SkippedNonFinite { .. }));
        self.skipped_updates += usize::from(network.norms().iter().any(skipped));
        self.network = Some(network);

        match loss {
            Ok(value) => {
                self.losses.0 += f64::from(value);
                self.losses.1 += 1;
            }
            Err(error) => {
                self.curve.push(Point { step, train_loss: None, test_accuracy: None });
                self.stop(step, error, observer);
            }
        }
    }

    /// Mean softmax cross-entropy.
    fn loss(&self, network: &N, batch: &Batch) -> Result<Tensor<1>, Error> {
        let logits = network.forward(batch.images(&self.device))?;
        Ok(CrossEntropyLossConfig::new().init(&self.device).forward(logits, batch.labels(&self.device)))
    }

    /// Evaluates with running statistics, unless this twin has diverged.
    pub(super) fn evaluate(&mut self, step: usize, evaluation: &Evaluation<'_>, observer: &mut dyn Observer) {
        if self.has_diverged() {
            return;
        }
        let (outcome, error) = match evaluation.of(&self.network().valid()) {
            Ok(outcome) => (outcome, None),
            Err(error) => (Outcome::default(), Some(error)),
        };
        let (sum, number) = std::mem::take(&mut self.losses);
        let point = Point { step, train_loss: finite(sum / number as f64), test_accuracy: outcome.accuracy };
        self.curve.push(point);
        self.percentiles.extend(outcome.band(step));
        observer.evaluated(self.arm, &point);
        if outcome.accuracy.is_none() {
            self.stop(step, error, observer);
        }
    }

    fn stop(&mut self, step: usize, error: Option<Error>, observer: &mut dyn Observer) {
        self.diverged_at_step = Some(step);
        self.failure = error.map(|error| error.to_string());
        observer.diverged(self.arm, step);
    }

    /// The final evaluation, and what came of it all.
    pub(super) fn finish(mut self, settings: &Settings, data: &Dataset, evaluation: &Evaluation<'_>) -> Run {
        let last = if self.has_diverged() {
            None
        } else if self.arm == Arm::BatchNorm && settings.statistics == Statistics::Population {
            population::estimate(self.network(), &data.train, settings.batch_size)
                .and_then(|network| evaluation.of(&network))
                .map_err(|error| self.failure = Some(error.to_string()))
                .map_or(None, |outcome| outcome.accuracy)
        } else {
            self.curve.last().and_then(|point| point.test_accuracy)
        };
        let mut run = Run::summarize(self.curve, self.percentiles, last, self.diverged_at_step);
        run.seconds = self.spent.as_secs_f64();
        run.failure = self.failure;
        run.skipped_updates = self.skipped_updates;
        run
    }
}

fn optimizer(settings: &Settings) -> ModuleOptimizer {
    match settings.optimizer {
        Optimizer::Sgd if settings.sgd_momentum == 0.0 => SgdConfig::new().init(),
        Optimizer::Sgd => {
            let momentum = MomentumConfig::new().with_momentum(settings.sgd_momentum).with_dampening(0.0);
            SgdConfig::new().with_momentum(Some(momentum)).init()
        }
        Optimizer::Adam => AdamConfig::new().init(),
    }
}
