//! One of the networks of a run on its way.

use std::time::Instant;

use batchnorm::RunningUpdate;
use batchnorm_burn::Error;
use burn::module::{Module, ParamId};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::figures::{Gradient, GradientPoint, InputGatherer, Inputs, NormFigures, NormValues, gradient_norms};
use super::metrics::{Point, Run, finite};
use super::{Arm, Observer, Settings, optimizer};
use crate::evaluate::{CHUNK, Score, Unwatched, score};
use crate::feed::{Batch, Feed};
use crate::networks::{Classifier, Dropout, Model, Watch};

/// A network, its optimizer, and what was measured of it so far.
pub(super) struct Trainee {
    pub(super) arm: Arm,
    /// `None` only inside [`Trainee::step`]: the optimizer takes the network and gives it back.
    network: Option<Model>,
    pub(super) optimizer: ModuleOptimizer,
    pub(super) progress: Progress,
    /// The parameters that are trained; `None` is all.
    trained: Option<Vec<ParamId>>,
    /// The probability and the seed of dropout, if there is any.
    dropout: Option<(f64, u64)>,
    device: Device,
}

/// What was measured so far: the part of a trainee that is neither network nor optimizer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// What the document will say, as far as it is known.
    pub(super) run: Run,
    /// Sum and number of losses since the last evaluation.
    losses: (f64, usize),
}

/// A layer whose activation is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) layer: String,
    pub(super) units: usize,
    pub(super) typical_unit: usize,
}

impl Trainee {
    pub(super) fn new(arm: Arm, network: Model, settings: &Settings) -> Self {
        Self {
            arm,
            optimizer: optimizer::of(settings, &network),
            trained: optimizer::trained(settings.trained, &network),
            dropout: (settings.dropout > 0.0).then_some((settings.dropout, settings.seed)),
            network: Some(network),
            progress: Progress::default(),
            device: Device::flex().autodiff(),
        }
    }

    pub(super) fn has_diverged(&self) -> bool {
        self.progress.run.diverged_at_step.is_some()
    }

    pub(super) fn network(&self) -> &Model {
        self.network.as_ref().expect("the network is there between steps")
    }

    /// One step of the optimizer, unless it has diverged. `record` asks for the gradients' norms.
    pub(super) fn step(
        &mut self,
        step: usize,
        rate: f64,
        batch: &Batch,
        record: bool,
        observer: &mut dyn Observer,
    ) {
        if self.has_diverged() {
            return;
        }
        let mut network = self.network.take().expect("the network is there between steps");
        if self.arm.frozen_after().is_some_and(|steps| step > steps) {
            freeze(&mut network);
        }
        observer.before_step(self.arm, step, &network, batch);
        let started = Instant::now();
        let loss = self.loss(&network, batch, step).map(|loss| (loss.clone().into_scalar::<f32>(), loss));
        let mut recording = None;
        let (network, loss) = match loss {
            Ok((value, loss)) if value.is_finite() => {
                let mut gradients = GradientsParams::from_grads(loss.backward(), &network);
                recording = record.then(|| {
                    let started = Instant::now();
                    (gradient_norms(&network, &gradients), started.elapsed())
                });
                if let Some(trained) = &self.trained {
                    optimizer::keep(&mut gradients, &network, trained);
                }
                (self.optimizer.step(rate, network, gradients), Ok(value))
            }
            Ok(_) => (network, Err(None)),
            Err(error) => (network, Err(Some(error.to_string()))),
        };
        let mut spent = started.elapsed();
        let run = &mut self.progress.run;
        if let Some((norms, took)) = recording {
            spent -= took;
            record_gradients(&mut run.gradients, step, norms);
        }
        run.seconds += spent.as_secs_f64();
        let skipped = network
            .norms()
            .iter()
            .filter(|(_, norm)| !norm.has_frozen_statistics())
            .any(|(_, norm)| matches!(norm.last_update(), Some(RunningUpdate::SkippedNonFinite { .. })));
        run.skipped_updates += usize::from(skipped);
        self.network = Some(network);

        match loss {
            Ok(value) => {
                self.progress.losses.0 += f64::from(value);
                self.progress.losses.1 += 1;
            }
            Err(error) => {
                run.curve.push(Point { step, train_loss: None, test_accuracy: None, test_loss: None });
                self.stop(step, error, observer);
            }
        }
    }

    /// Mean softmax cross-entropy, with the dropout of that step.
    fn loss(&self, network: &Model, batch: &Batch, step: usize) -> Result<Tensor<1>, Error> {
        let mut watch = match self.dropout {
            Some((probability, seed)) => Watch::dropping(Dropout::new(probability, seed, step)),
            None => Watch::nothing(),
        };
        let logits = network.forward(batch.images(&self.device), &mut watch)?;
        Ok(CrossEntropyLossConfig::new().init(&self.device).forward(logits, batch.targets(&self.device)))
    }

    /// Evaluates with running statistics, unless it has diverged. `watched` asks for the layers' figures.
    pub(super) fn evaluate(
        &mut self,
        step: usize,
        test: Feed<'_>,
        settings: &Settings,
        watched: Option<&[Watched]>,
        observer: &mut dyn Observer,
    ) {
        if self.has_diverged() {
            return;
        }
        let network = self.network().valid();
        let typical: Vec<usize> = watched.unwrap_or_default().iter().map(|layer| layer.typical_unit).collect();
        let mut gatherer = InputGatherer::new(settings.activation, &typical);
        let mut gather = |seen| gatherer.gather(seen);
        let see: Option<&mut dyn FnMut(_)> = if watched.is_some() { Some(&mut gather) } else { None };
        let (score, error) = match score(&network, test, settings.eval_images, CHUNK, see, &mut Unwatched) {
            Ok(score) => (score, None),
            Err(error) => (Score::default(), Some(error.to_string())),
        };
        let (sum, number) = std::mem::take(&mut self.progress.losses);
        let train_loss = finite(sum / number as f64);
        let point = Point { step, train_loss, test_accuracy: score.accuracy, test_loss: score.loss };
        let run = &mut self.progress.run;
        run.curve.push(point);
        if let Some(watched) = watched {
            record_inputs(&mut run.inputs, watched, gatherer, step);
            record_norms(&mut run.norms, &network, step);
        }
        observer.evaluated(self.arm, &point);
        if score.accuracy.is_none() {
            self.stop(step, error, observer);
        }
    }

    fn stop(&mut self, step: usize, error: Option<String>, observer: &mut dyn Observer) {
        self.progress.run.diverged_at_step = Some(step);
        self.progress.run.failure = error;
        observer.diverged(self.arm, step);
    }

    /// Takes the place that a checkpoint kept.
    pub(super) fn restore(&mut self, network: Model, optimizer: ModuleOptimizer, progress: Progress) {
        self.network = Some(network);
        self.optimizer = optimizer;
        self.progress = progress;
    }
}

/// Lets every norm layer normalize by its running statistics, and leave them as they are.
fn freeze(network: &mut Model) {
    for norm in network.norms_mut() {
        if !norm.has_frozen_statistics() {
            *norm = norm.clone().with_frozen_statistics(true);
        }
    }
}

fn record_gradients(gradients: &mut Vec<Gradient>, step: usize, norms: Vec<(String, f64)>) {
    if gradients.is_empty() {
        *gradients =
            norms.iter().map(|(name, _)| Gradient { parameter: name.clone(), points: Vec::new() }).collect();
    }
    for (gradient, (_, norm)) in gradients.iter_mut().zip(norms) {
        gradient.points.push(GradientPoint { step, norm: finite(norm) });
    }
}

fn record_inputs(inputs: &mut Vec<Inputs>, watched: &[Watched], gatherer: InputGatherer<'_>, step: usize) {
    if inputs.is_empty() {
        let new = |layer: &Watched| Inputs {
            layer: layer.layer.clone(),
            units: layer.units,
            typical_unit: layer.typical_unit,
            points: Vec::new(),
        };
        *inputs = watched.iter().map(new).collect();
    }
    for (inputs, band) in inputs.iter_mut().zip(gatherer.bands(step)) {
        inputs.points.extend(band);
    }
}

fn record_norms(norms: &mut Vec<NormFigures>, network: &Model, step: usize) {
    let layers = network.norms();
    if norms.is_empty() {
        let new = |(name, _): &(String, _)| NormFigures { layer: name.clone(), points: Vec::new(), last: None };
        *norms = layers.iter().map(new).collect();
    }
    for (figures, (_, norm)) in norms.iter_mut().zip(layers) {
        let values = NormValues::of(norm);
        figures.points.extend(values.point(step));
        figures.last = Some(values);
    }
}
