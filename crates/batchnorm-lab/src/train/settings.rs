//! Everything that a training run depends on.

use batchnorm::{BatchNormConfig, Momentum, Warning};
use serde::{Deserialize, Serialize};

use crate::data::Data;
use crate::names::named;
use crate::networks::{Activation, Network, Placement};

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
    /// The statistics of the final evaluation with batch normalization.
    pub enum Statistics, "kind of statistics" {
        /// The running averages kept in training.
        Running = "running",
        /// The paper's Algorithm 2, over the training batches after training.
        Population = "population",
    }
}

/// Everything that a training run depends on: recorded whole in `metrics.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What to train on.
    pub data: Data,
    /// What to train.
    pub network: Network,
    /// Units of each hidden layer.
    pub layers: Vec<usize>,
    /// What follows each hidden layer.
    pub activation: Activation,
    /// Images per step.
    pub batch_size: usize,
    /// Steps of the optimizer.
    pub steps: usize,
    /// The optimizer's learning rate.
    pub learning_rate: f64,
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Momentum of stochastic gradient descent, without dampening: v <- momentum v + gradient.
    pub sgd_momentum: f64,
    /// Standard deviation of the initial weights.
    pub init_std: f64,
    /// Where batch normalization stands.
    pub placement: Placement,
    /// The weight of the new value in the running statistics.
    pub bn_momentum: f64,
    /// What batch normalization adds to the variance.
    pub bn_eps: f64,
    /// The statistics of the final evaluation.
    pub statistics: Statistics,
    /// Steps from one evaluation to the next; the last step is always evaluated.
    pub eval_every: usize,
    /// The seed of weights and batches.
    pub seed: u64,
    /// Threads to compute on.
    pub threads: usize,
    /// Machines that train together: always 1 so far.
    pub ranks: usize,
}

impl Settings {
    /// The defaults for a data set.
    pub fn defaults(data: Data) -> Self {
        let engine = BatchNormConfig::default();
        // Each data set has a setting at which the twin without batch normalization learns too.
        let (learning_rate, init_std, steps) = match data {
            Data::Digits => (0.5, 0.1, 5000),
        };
        Self {
            data,
            network: Network::Mlp,
            layers: vec![100, 100, 100],
            activation: Activation::Sigmoid,
            batch_size: 60,
            steps,
            learning_rate,
            optimizer: Optimizer::Sgd,
            sgd_momentum: 0.0,
            init_std,
            placement: Placement::BeforeActivation,
            bn_momentum: engine.momentum.weights(1).1,
            bn_eps: engine.eps,
            statistics: Statistics::Running,
            eval_every: 10,
            seed: 1,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            ranks: 1,
        }
    }

    /// The engine's configuration of every batch-norm layer.
    pub fn batch_norm(&self) -> BatchNormConfig {
        BatchNormConfig::default().with_momentum(Momentum::of_new(self.bn_momentum)).with_eps(self.bn_eps)
    }

    /// Checks the settings against a training set of so many images.
    ///
    /// # Errors
    ///
    /// The first setting that makes no sense.
    pub fn validate(&self, images: usize) -> Result<(), SettingsError> {
        use SettingsError as E;
        let positive = |found: f64| found.is_finite() && found > 0.0;
        if self.layers.is_empty() || self.layers.contains(&0) {
            return Err(E::Layers { found: self.layers.clone() });
        }
        // Widths along the network; the classes and pixels at its ends are few.
        let weights =
            self.layers.windows(2).try_fold(0usize, |sum, pair| sum.checked_add(pair[0].checked_mul(pair[1])?));
        let widest = self.layers.iter().copied().max().unwrap_or_default();
        if widest > MOST_UNITS || weights.is_none_or(|weights| weights > MOST_WEIGHTS) {
            return Err(E::TooManyWeights { found: self.layers.clone() });
        }
        if self.steps == 0 {
            return Err(E::Steps);
        }
        if self.eval_every == 0 || self.eval_every > self.steps {
            return Err(E::EvalEvery { found: self.eval_every, steps: self.steps });
        }
        if self.batch_size < 2 {
            return Err(E::SmallBatch { found: self.batch_size });
        }
        if self.batch_size > images {
            return Err(E::LargeBatch { found: self.batch_size, images, data: self.data });
        }
        if !positive(self.learning_rate) {
            return Err(E::LearningRate { found: self.learning_rate });
        }
        if !(self.init_std.is_finite() && self.init_std >= 0.0) {
            return Err(E::InitStd { found: self.init_std });
        }
        if !(0.0..1.0).contains(&self.sgd_momentum) {
            return Err(E::SgdMomentum { found: self.sgd_momentum });
        }
        if self.sgd_momentum != 0.0 && self.optimizer != Optimizer::Sgd {
            return Err(E::MomentumWithoutSgd { optimizer: self.optimizer });
        }
        if self.threads == 0 || self.threads > MOST_THREADS {
            return Err(E::Threads { found: self.threads });
        }
        self.batch_norm().validate()?;
        Ok(())
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
        self.batch_norm().warnings().iter().map(in_words).collect()
    }
}

/// The most units of a layer, and weights between hidden layers: 1 GiB of f32, with as much for each gradient.
const MOST_UNITS: usize = 1 << 16;
const MOST_WEIGHTS: usize = 1 << 28;
/// The most threads: beyond it, starting them takes longer than a run.
const MOST_THREADS: usize = 1024;

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No hidden layers, or one without units.
    #[error(
        "expected at least one hidden layer of at least one unit each, found {found:?}; for example 100,100,100"
    )]
    Layers {
        /// The layers asked for.
        found: Vec<usize>,
    },
    /// No steps.
    #[error("expected at least 1 step of training, found 0")]
    Steps,
    /// An interval between evaluations that holds none.
    #[error("expected an evaluation every 1 to {steps} steps (the run has {steps}), found every {found}")]
    EvalEvery {
        /// The interval asked for.
        found: usize,
        /// The steps asked for.
        steps: usize,
    },
    /// A batch that has no variance.
    #[error(
        "batch normalization needs a batch size of at least 2, found {found}: one image has no variance; \
         60 is the default"
    )]
    SmallBatch {
        /// The size asked for.
        found: usize,
    },
    /// A batch larger than the training set.
    #[error("batch size {found} is more than the {images} training images of `{data}`; use at most {images}")]
    LargeBatch {
        /// The size asked for.
        found: usize,
        /// The training images there are.
        images: usize,
        /// The data set.
        data: Data,
    },
    /// A learning rate that is not positive.
    #[error("the learning rate must be a finite number > 0, found {found}")]
    LearningRate {
        /// The rate asked for.
        found: f64,
    },
    /// A standard deviation that is negative.
    #[error("the standard deviation of the initial weights must be a finite number >= 0, found {found}")]
    InitStd {
        /// The deviation asked for.
        found: f64,
    },
    /// A momentum outside [0, 1).
    #[error("the momentum of SGD must be in [0, 1), found {found}")]
    SgdMomentum {
        /// The momentum asked for.
        found: f64,
    },
    /// SGD's momentum for another optimizer.
    #[error("the momentum of SGD does not apply to `{optimizer}`; leave it out or use the optimizer `sgd`")]
    MomentumWithoutSgd {
        /// The optimizer asked for.
        optimizer: Optimizer,
    },
    /// A network that no memory of a usual machine holds.
    #[error(
        "expected layers of at most {MOST_UNITS} units each, and {MOST_WEIGHTS} weights between them, found {found:?}"
    )]
    TooManyWeights {
        /// The layers asked for.
        found: Vec<usize>,
    },
    /// No threads, or more than any machine has.
    #[error("expected at least 1 thread and at most {MOST_THREADS}, found {found}")]
    Threads {
        /// The number asked for.
        found: usize,
    },
    /// What the engine refuses.
    #[error(transparent)]
    BatchNorm(#[from] batchnorm::Error),
}

impl SettingsError {
    /// The field of [`Settings`] that is wrong.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Layers { .. } | Self::TooManyWeights { .. } => "layers",
            Self::Steps => "steps",
            Self::EvalEvery { .. } => "eval_every",
            Self::SmallBatch { .. } | Self::LargeBatch { .. } => "batch_size",
            Self::LearningRate { .. } => "learning_rate",
            Self::InitStd { .. } => "init_std",
            Self::SgdMomentum { .. } | Self::MomentumWithoutSgd { .. } => "sgd_momentum",
            Self::Threads { .. } => "threads",
            Self::BatchNorm(batchnorm::Error::InvalidMomentum { .. }) => "bn_momentum",
            Self::BatchNorm(_) => "bn_eps",
        }
    }
}
