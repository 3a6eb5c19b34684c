//! Everything that a training run depends on.

use batchnorm::{BatchNormConfig, Momentum, Warning};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Arm, Decay, Schedule};
use crate::data::{Dataset, Preprocessing, Source};
use crate::names::named;
use crate::networks::{Activation, Architecture, Init, Network, Norm, Placement};

named! {
    /// The optimizers there are.
    pub enum Optimizer, "optimizer" {
        /// Stochastic gradient descent, with momentum if asked for.
        Sgd = "sgd",
        /// Adam, with Burn's default coefficients.
        Adam = "adam",
    }
}

named! {
    /// The statistics of the final evaluation of what is normalized by the batch, and of the saved model.
    pub enum Statistics, "kind of statistics" {
        /// The running averages kept in training.
        Running = "running",
        /// The paper's Algorithm 2, over training batches after training.
        Population = "population",
    }
}

named! {
    /// What weight decay pulls towards zero.
    pub enum Decayed, "part that weight decay applies to" {
        /// The weights of linear and convolutional maps: neither gamma and beta nor biases.
        Weights = "weights",
        /// Every parameter.
        All = "all",
    }
}

named! {
    /// Which parameters a run trains; the others stay at their initial values, and weight decay does not touch them.
    #[derive(Default)]
    pub enum TrainedPart, "part to train" {
        /// All of them.
        #[default]
        All = "all",
        /// Gamma and beta of the norm layers (Frankle, Schwab and Morcos 2020, arXiv 2003.00152).
        Affine = "affine",
        /// The last linear map, to the classes.
        Output = "output",
    }
}

/// Everything that a training run depends on: recorded whole in `metrics.json`, but for options at their defaults that
/// older documents do not have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What to train on.
    pub data: Source,
    /// Whether pixels become 0 or 1: 1 above half of the largest value.
    pub binarize: bool,
    /// Whether pixels are standardized: per channel, mean 0 and standard deviation 1 over the training images.
    pub standardize: bool,
    /// What to train.
    pub network: Network,
    /// Units of each hidden layer; for `mlp` alone.
    pub layers: Vec<usize>,
    /// Channels of the first convolutions, of which the others are multiples; 0 for `mlp`.
    pub width: usize,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// How the networks that are trained are normalized, in the order in which they take their steps.
    #[serde(alias = "arms", deserialize_with = "norms")]
    pub norms: Vec<Arm>,
    /// The steps of the run that `renorm`'s schedule is made for, which a run that goes on keeps; `None`, and absent from
    /// the document, without `renorm`. Where there is `renorm`, `None` becomes `steps` when training begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renorm_steps: Option<usize>,
    /// Images per step.
    pub batch_size: usize,
    /// Steps of the optimizer.
    pub steps: usize,
    /// The optimizer's learning rate, at the first step.
    pub learning_rate: f64,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// The steps in which `step` and `exponential` multiply the rate by `decay_factor`; means nothing to the others.
    pub decay_every: usize,
    /// By what they multiply it.
    pub decay_factor: f64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Momentum of stochastic gradient descent, without dampening: v <- momentum v + gradient.
    pub sgd_momentum: f64,
    /// L2 weight decay: the gradient of what decays grows by `weight_decay` times the parameter.
    pub weight_decay: f64,
    /// What decays.
    pub decayed: Decayed,
    /// How weights begin.
    pub init: Init,
    /// Standard deviation of initial weights that are `normal`.
    pub init_std: f64,
    /// Whether the last gamma of every residual block begins at 0 (Goyal et al. 2017).
    pub zero_gamma: bool,
    /// Whether hidden layers of `mlp` that are as wide as their input are added to it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub skips: bool,
    /// The probability with which dropout sets a value behind a hidden linear layer to 0 in training.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dropout: f64,
    /// What is trained.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trained: TrainedPart,
    /// Where batch normalization stands.
    pub placement: Placement,
    /// The weight of the new value in the running statistics.
    pub bn_momentum: f64,
    /// What batch normalization adds to the variance.
    pub bn_eps: f64,
    /// The statistics of the final evaluation, and of the saved model.
    pub statistics: Statistics,
    /// Whether the final evaluation scores what is normalized by the batch under every kind of statistics; if not, under
    /// [`statistics`](Self::statistics) alone.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub gap: bool,
    /// Steps from one evaluation to the next; the last step is always evaluated.
    pub eval_every: usize,
    /// Test images, from the first on, that evaluations on the way look at; the final one looks at all.
    pub eval_images: usize,
    /// The seed of weights and batches.
    pub seed: u64,
    /// Threads to compute on.
    pub threads: usize,
    /// Machines that train together: always 1 so far.
    pub ranks: usize,
}

/// How much of its last step the optimizer keeps for convolutions: what the papers on VGG, ResNet and Inception use.
const KEPT_OF_LAST_STEP: f64 = 0.9;

impl Settings {
    /// The defaults for a data set and a network: both twins, and settings at which the one without learns too, but
    /// for `resnet20`, whose plain twin needs a smaller learning rate.
    pub fn defaults(data: Source, network: Network) -> Self {
        let engine = BatchNormConfig::default();
        let small = data == Source::Digits;
        let mlp = network == Network::Mlp;
        let steps = match (mlp, small) {
            (true, true) => 5_000,
            (true, false) => 10_000,
            (false, true) => 300,
            (false, false) => 600,
        };
        Self {
            data,
            binarize: false,
            standardize: false,
            network,
            layers: if mlp { vec![100, 100, 100] } else { Vec::new() },
            width: network.default_width(),
            activation: network.default_activation(),
            norms: vec![Arm::Plain, Arm::BatchNorm],
            renorm_steps: None,
            batch_size: if mlp { 60 } else { 64 },
            steps,
            learning_rate: if mlp { 0.5 } else { 0.02 },
            schedule: Schedule::Constant,
            decay_every: 0,
            decay_factor: 0.1,
            optimizer: Optimizer::Sgd,
            sgd_momentum: if mlp { 0.0 } else { KEPT_OF_LAST_STEP },
            weight_decay: 0.0,
            decayed: Decayed::Weights,
            init: network.default_init(),
            init_std: 0.1,
            zero_gamma: false,
            skips: false,
            dropout: 0.0,
            trained: TrainedPart::All,
            placement: Placement::BeforeActivation,
            bn_momentum: engine.momentum.weights(1).1,
            bn_eps: engine.eps,
            statistics: Statistics::Running,
            gap: true,
            eval_every: match (mlp, small) {
                (_, true) => 10,
                (true, false) => 100,
                (false, false) => 20,
            },
            eval_images: if mlp { 10_000 } else { 1_000 },
            seed: 1,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            ranks: 1,
        }
    }

    /// The engine's configuration of every batch-norm layer.
    pub fn batch_norm(&self) -> BatchNormConfig {
        BatchNormConfig::default().with_momentum(Momentum::of_new(self.bn_momentum)).with_eps(self.bn_eps)
    }

    /// With the steps that `renorm`'s schedule is made for, where it is among the norms: those of the run unless said.
    pub(super) fn resolved(&self) -> Self {
        let renorm_steps = self.norms.contains(&Arm::Renorm).then(|| self.renorm_steps.unwrap_or(self.steps));
        Self { renorm_steps, ..self.clone() }
    }

    /// The network of one arm on a data set.
    pub fn architecture(&self, data: &Dataset, arm: Arm) -> Architecture {
        let variant = arm.variant(self.renorm_steps.unwrap_or(self.steps));
        let norm = |variant| Norm { eps: self.bn_eps, momentum: self.bn_momentum, variant };
        Architecture {
            network: self.network,
            layers: self.layers.clone(),
            width: self.width,
            activation: self.activation,
            placement: self.placement,
            classes: data.classes,
            dims: data.dims,
            norm: variant.map(norm),
            zero_gamma: self.zero_gamma,
            skips: self.skips,
        }
    }

    /// What is done to the pixels of a data set.
    pub fn preprocessing(&self, data: &Dataset) -> Preprocessing {
        match (self.binarize, self.standardize) {
            (true, _) => Preprocessing::binarizing(data.white),
            (false, true) => Preprocessing::standardizing(data),
            (false, false) => Preprocessing::plain(data.white),
        }
    }

    /// The learning rate of a step, the first being 1.
    pub fn rate(&self, step: usize) -> f64 {
        let decay = Decay { every: self.decay_every, factor: self.decay_factor };
        self.schedule.rate(self.learning_rate, decay, step, self.steps)
    }

    /// What is allowed but rarely meant, in words to show a user.
    pub fn warnings(&self) -> Vec<String> {
        let in_words = |warning: &Warning| match warning {
            // The engine names its constructors, which a user of settings does not call.
            Warning::MomentumLooksInverted { new } => format!(
                "bn_momentum is the weight of the new value, and {new} is more than half: Keras's, Flax's and \
                 ONNX's {new} is {} here",
                (1e9 * (1.0 - new)).round() / 1e9
            ),
            other => other.to_string(),
        };
        let mut warnings: Vec<String> = self.batch_norm().warnings().iter().map(in_words).collect();
        for arm in &self.norms {
            if let Arm::Ghost { size } = arm
                && *size >= self.batch_size
            {
                warnings.push(format!(
                    "`{arm}` is `batch` in batches of {}: there is one ghost batch",
                    self.batch_size
                ));
            }
        }
        warnings
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn yes() -> bool {
    true
}

fn is_yes(yes: &bool) -> bool {
    *yes
}

/// The texts of the norms, or what there was before: one of two arms, or both.
fn norms<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Vec<Arm>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Norms {
        Listed(Vec<Arm>),
        OfTwo(OfTwo),
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum OfTwo {
        Both,
        Plain,
        BatchNorm,
    }
    Ok(match Norms::deserialize(deserializer)? {
        Norms::Listed(norms) => norms,
        Norms::OfTwo(OfTwo::Both) => vec![Arm::Plain, Arm::BatchNorm],
        Norms::OfTwo(OfTwo::Plain) => vec![Arm::Plain],
        Norms::OfTwo(OfTwo::BatchNorm) => vec![Arm::BatchNorm],
    })
}
