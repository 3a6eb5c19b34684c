//! The task most experiments are made of: one network, trained by the project's own trainer.

use serde::{Deserialize, Serialize, Serializer};

use super::Facts;
use super::bench::{Bench, Part};
use super::lab::{Halt, Lab, Task};
use crate::data::Source;
use crate::evaluate::{CHUNK, Score, Unwatched, score};
use crate::feed::Feed;
use crate::networks::{Network, Placement};
use crate::train::{Arm, Observer, Run, Settings, Statistics, train};

/// Trains one network.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Training {
    /// How. Exactly one norm; one thread.
    #[serde(serialize_with = "what_matters")]
    pub(crate) settings: Settings,
    /// On which part of the data.
    pub(crate) part: Part,
    /// Whether the figures of every layer are kept: they are most of a run's size.
    pub(crate) figures: bool,
    /// Whether the trained network is scored on the training images as well.
    pub(crate) on_training: bool,
}

/// Neither where the data lie, which the store knows, nor the threads, nor what is always the same.
fn what_matters<S: Serializer>(settings: &Settings, serializer: S) -> Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(settings).map_err(serde::ser::Error::custom)?;
    if let Some(fields) = value.as_object_mut() {
        for name in ["data", "threads", "ranks"] {
            fields.remove(name);
        }
    }
    value.serialize(serializer)
}

/// A trained network's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// What the trainer measured.
    pub(crate) run: Run,
    /// The score on the training images, where it was asked for and the network did not diverge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) training: Option<Score>,
}

impl Training {
    /// A run of the network's default settings with one arm and seed, evaluated some fifty times on the way by running
    /// statistics, and in the end by population statistics (Algorithm 2) alone.
    pub(crate) fn new(network: Network, arm: Arm, seed: u64, steps: usize) -> Self {
        let defaults = Settings::defaults(Source::Digits, network);
        let settings = Settings {
            norms: vec![arm],
            seed,
            steps,
            eval_every: (steps / 50).max(1),
            threads: 1,
            // The paper's way; running averages lag in short runs.
            statistics: Statistics::Population,
            gap: false,
            ..defaults
        };
        Self { settings, part: Part::default(), figures: false, on_training: false }
    }

    /// With settings changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// At another learning rate.
    pub(crate) fn at_rate(self, rate: f64) -> Self {
        self.with(|settings| settings.learning_rate = rate)
    }

    /// On a part of the data.
    pub(crate) fn on(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// The only arm.
    pub(crate) fn arm(&self) -> Arm {
        self.settings.norms[0]
    }
}

impl Outcome {
    /// The accuracy on all images of the part to test on; that of guessing if the run diverged: a diverged run is a result.
    pub(crate) fn accuracy(&self, lab: &Lab<'_>) -> f64 {
        self.run.final_test_accuracy.unwrap_or_else(|| lab.facts().chance())
    }

    /// The first evaluated step with at least this accuracy.
    pub(crate) fn steps_to(&self, accuracy: f64) -> Option<usize> {
        let reached = |found: Option<f64>| found.is_some_and(|found| found >= accuracy);
        self.run.curve.iter().find(|point| reached(point.test_accuracy)).map(|point| point.step)
    }

    /// Whether loss or output was no longer finite.
    pub(crate) fn diverged(&self) -> bool {
        self.run.diverged_at_step.is_some()
    }
}

/// Passes the wish to stop on.
pub(crate) struct Stoppable<'a>(pub(crate) Bench<'a>);

impl Observer for Stoppable<'_> {
    fn wants_to_stop(&mut self) -> bool {
        self.0.wants_to_stop()
    }
}

impl Task for Training {
    type Outcome = Outcome;
    const KIND: &'static str = "training";

    fn cost(&self, facts: &Facts) -> f64 {
        let Settings { steps, batch_size, eval_every, eval_images, .. } = self.settings;
        let image = seconds_per_image(&self.settings, facts);
        let step = 2e-4 + batch_size as f64 * image;
        let test = self.part.test.unwrap_or(facts.test);
        let evaluated = (steps / eval_every).max(1) * eval_images.min(test) + test;
        steps as f64 * step + evaluated as f64 * image / 3.0
    }

    fn placeholder(&self) -> Outcome {
        Outcome::default()
    }

    fn carry_out(&self, bench: &Bench<'_>) -> Result<Outcome, Halt> {
        let data = bench.data(self.part);
        let settings = Settings { threads: 1, ..self.settings.clone() };
        let trained = train(&settings, &data, None, &mut Stoppable(*bench))?;
        if trained.metrics.interrupted_at_step.is_some() {
            return Err(Halt::Stopped);
        }
        let mut run = trained.metrics.runs.of(self.arm()).cloned().unwrap_or_default();
        if !self.figures {
            run.inputs = Vec::new();
            run.gradients = Vec::new();
            run.norms = Vec::new();
        }
        // Seconds are no result: the same seed gives the same record.
        run.seconds = 0.0;
        let mut training = None;
        if let (true, Some(model)) = (self.on_training, trained.models.first()) {
            let feed = Feed::new(&data.train, data.dims, &model.preprocessing);
            let scored = score(&model.network, feed, feed.len(), CHUNK, None, &mut Unwatched);
            training = scored.ok();
        }
        Ok(Outcome { run, training })
    }
}

/// About how long an image takes forward and backward, on one core of a laptop: measured for this project's networks at
/// their default widths on 28x28 pixels, and scaled.
fn seconds_per_image(settings: &Settings, facts: &Facts) -> f64 {
    let [channels, height, width] = facts.dims;
    let pixels = (height * width) as f64 / (28.0 * 28.0);
    let widths = settings.width as f64 / settings.network.default_width().max(1) as f64;
    let conv = |seconds: f64| seconds * pixels * widths.powf(1.4);
    match settings.network {
        Network::Mlp => {
            let inputs = channels * height * width;
            let sizes: Vec<usize> = [inputs].into_iter().chain(settings.layers.iter().copied()).collect();
            let weights: usize = sizes.windows(2).map(|pair| pair[0] * pair[1]).sum();
            let units: usize = settings.layers.iter().sum();
            6e-11 * weights as f64 + 1e-8 * units as f64
        }
        Network::Lenet => conv(1.8e-4),
        Network::Vgg => conv(5.6e-4),
        Network::Resnet20 => conv(1.1e-3),
        Network::Inception => conv(6.8e-4),
    }
}

/// The arm for people to read.
pub(crate) fn named(arm: Arm) -> String {
    match arm {
        Arm::Plain => "without".to_owned(),
        Arm::BatchNorm => "batch normalization".to_owned(),
        other => other.in_words(),
    }
}

/// Where the norm layers stand, for people to read.
pub(crate) fn placed(placement: Placement) -> &'static str {
    match placement {
        Placement::BeforeActivation => "before the activation",
        Placement::AfterActivation => "after the activation",
    }
}
