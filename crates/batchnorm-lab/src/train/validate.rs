//! Settings that make no sense are refused before anything is computed.

use batchnorm::Variant;

use super::{Arm, Optimizer, Settings, TrainedPart};
use crate::data::Dataset;
use crate::networks::{ArchitectureError, Init, Network};

/// The most threads: beyond it, starting them takes longer than a run.
const MOST_THREADS: usize = 1024;

impl Settings {
    /// Checks the settings against the data set they name.
    ///
    /// # Errors
    ///
    /// The first setting that makes no sense.
    pub fn validate(&self, data: &Dataset) -> Result<(), SettingsError> {
        use SettingsError as E;
        let positive = |number: f64| number.is_finite() && number > 0.0;
        if self.steps == 0 {
            return Err(E::Steps);
        }
        if self.eval_every == 0 || self.eval_every > self.steps {
            return Err(E::EvalEvery { found: self.eval_every, steps: self.steps });
        }
        if self.eval_images == 0 {
            return Err(E::EvalImages);
        }
        let Some(by_batch) = self.norms.iter().find(|arm| arm.normalizes_by_batch()).or(self.norms.first())
        else {
            return Err(E::NoNorms);
        };
        let twice = |(place, arm): &(usize, &Arm)| self.norms[..*place].contains(arm);
        if let Some((_, &found)) = self.norms.iter().enumerate().find(twice) {
            return Err(E::NormTwice { found });
        }
        if self.batch_size == 0 {
            return Err(E::NoBatch);
        }
        if self.batch_size < 2 && by_batch.normalizes_by_batch() {
            return Err(E::SmallBatch { found: self.batch_size });
        }
        if self.batch_size > data.train.len() {
            let data_name = self.data.to_string();
            return Err(E::LargeBatch { found: self.batch_size, images: data.train.len(), data: data_name });
        }
        if !positive(self.learning_rate) {
            return Err(E::LearningRate { found: self.learning_rate });
        }
        if self.schedule.decays() && self.decay_every == 0 {
            return Err(E::DecayEvery);
        }
        if self.schedule.decays() && !positive(self.decay_factor) {
            return Err(E::DecayFactor { found: self.decay_factor });
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(E::WeightDecay { found: self.weight_decay });
        }
        if self.init == Init::Normal && !(self.init_std.is_finite() && self.init_std >= 0.0) {
            return Err(E::InitStd { found: self.init_std });
        }
        if !(0.0..1.0).contains(&self.sgd_momentum) {
            return Err(E::SgdMomentum { found: self.sgd_momentum });
        }
        if self.sgd_momentum != 0.0 && self.optimizer != Optimizer::Sgd {
            return Err(E::MomentumWithoutSgd { optimizer: self.optimizer });
        }
        if self.binarize && self.standardize {
            return Err(E::BinarizeAndStandardize);
        }
        if self.threads == 0 || self.threads > MOST_THREADS {
            return Err(E::Threads { found: self.threads });
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(E::Dropout { found: self.dropout });
        }
        if self.dropout > 0.0 && !self.network.has_hidden_linear_layers() {
            return Err(E::NothingToDrop { network: self.network });
        }
        if self.trained == TrainedPart::Affine && self.norms.contains(&Arm::Plain) {
            return Err(E::NothingToTrain);
        }
        if self.renorm_steps == Some(0) {
            return Err(E::RenormSteps);
        }
        self.batch_norm().validate()?;
        // Also where all are plain: no arm has less to fail.
        for &arm in self.norms.iter().chain([&Arm::BatchNorm]) {
            self.validate_arm(data, arm)?;
        }
        Ok(())
    }

    fn validate_arm(&self, data: &Dataset, arm: Arm) -> Result<(), SettingsError> {
        if let Some(found) = arm.frozen_after().filter(|&found| found >= self.steps) {
            return Err(SettingsError::FrozenAfter { found, steps: self.steps });
        }
        let architecture = self.architecture(data, arm);
        architecture.validate()?;
        if let Some(Variant::Ghost { size }) = architecture.norm.map(|norm| norm.variant)
            && self.batch_size % size == 1
            && let Some(layer) = architecture.norm_layers().into_iter().find(|layer| layer.positions == 1)
        {
            let (batch_size, layer) = (self.batch_size, layer.name);
            return Err(SettingsError::GhostOfOne { size, batch_size, layer });
        }
        Ok(())
    }
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
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
    /// Evaluations that look at nothing.
    #[error("expected at least 1 test image to evaluate on, found 0")]
    EvalImages,
    /// Nothing to train.
    #[error("expected at least one normalization to train with, found none; none,batch are the default")]
    NoNorms,
    /// An arm that would be trained twice, to the same bits.
    #[error("expected each normalization once, found `{found}` twice; leave one out")]
    NormTwice {
        /// The arm.
        found: Arm,
    },
    /// Statistics that would be frozen after the run.
    #[error(
        "expected statistics to be frozen after one of the first {} steps (the run has {steps}), found \
         `frozen-after:{found}`; name an earlier step, or take more steps",
        steps.saturating_sub(1)
    )]
    FrozenAfter {
        /// The step asked for.
        found: usize,
        /// The steps of the run.
        steps: usize,
    },
    /// A ghost batch that has no variance.
    #[error(
        "of a batch of {batch_size} images, ghost batches of {size} leave one image over, which has one value per channel, \
         and no variance, in `{layer}`; choose a batch size, or a size of ghost batches, that leaves none or more"
    )]
    GhostOfOne {
        /// The images of a ghost batch.
        size: usize,
        /// The images of a batch.
        batch_size: usize,
        /// The first layer behind a linear map.
        layer: String,
    },
    /// A schedule for a run of no steps.
    #[error("expected the schedule of `renorm` to be made for a run of 1 or more steps, found 0")]
    RenormSteps,
    /// No images.
    #[error("expected a batch size of at least 1, found 0")]
    NoBatch,
    /// A batch that has no variance.
    #[error(
        "batch normalization needs a batch size of at least 2, found {found}: one image has no variance; \
         60 is the default, and group and layer normalization take any"
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
        data: String,
    },
    /// A learning rate that is not positive.
    #[error("the learning rate must be a finite number > 0, found {found}")]
    LearningRate {
        /// The rate asked for.
        found: f64,
    },
    /// A schedule that decays every 0 steps.
    #[error("expected the learning rate to decay every 1 or more steps, found every 0")]
    DecayEvery,
    /// A factor that is not positive.
    #[error(
        "the factor of the learning rate's decay must be a finite number > 0, found {found}; 0.1 is the default"
    )]
    DecayFactor {
        /// The factor asked for.
        found: f64,
    },
    /// A weight decay that is negative.
    #[error("weight decay must be a finite number >= 0, found {found}; 0.0005 is a usual one, 0 is none")]
    WeightDecay {
        /// The decay asked for.
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
    /// Two things done to pixels that contradict each other.
    #[error("pixels can be made binary or be standardized, not both; leave one out")]
    BinarizeAndStandardize,
    /// A probability outside [0, 1).
    #[error(
        "expected dropout with a probability of at least 0 and less than 1, found {found}; 0.5 is a usual one, 0 is none"
    )]
    Dropout {
        /// The probability asked for.
        found: f64,
    },
    /// Dropout in a network that has no place for it.
    #[error(
        "`{network}` has no hidden linear layer behind which values could be dropped; leave dropout out, or use mlp, lenet \
         or vgg"
    )]
    NothingToDrop {
        /// The network asked for.
        network: Network,
    },
    /// Gamma and beta of a network that has none.
    #[error(
        "expected normalized networks alone where only gamma and beta are trained, found `none`, which has none of them; \
         leave it out (`--arm batch_norm`, or `--compare` without it), or train `output` or `all`"
    )]
    NothingToTrain,
    /// No threads, or more than any machine has.
    #[error("expected at least 1 thread and at most {MOST_THREADS}, found {found}")]
    Threads {
        /// The number asked for.
        found: usize,
    },
    /// A network that cannot be built, or not for these images.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// What the engine refuses.
    #[error(transparent)]
    BatchNorm(#[from] batchnorm::Error),
}

impl SettingsError {
    /// The field of [`Settings`] that is wrong; of its norms, the option that says them.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::EvalEvery { .. } => "eval_every",
            Self::EvalImages => "eval_images",
            Self::NoNorms | Self::NormTwice { .. } => "compare",
            Self::FrozenAfter { .. } => "norm",
            Self::RenormSteps => "renorm_steps",
            Self::NoBatch | Self::SmallBatch { .. } | Self::LargeBatch { .. } | Self::GhostOfOne { .. } => {
                "batch_size"
            }
            Self::LearningRate { .. } => "learning_rate",
            Self::DecayEvery => "decay_every",
            Self::DecayFactor { .. } => "decay_factor",
            Self::WeightDecay { .. } => "weight_decay",
            Self::InitStd { .. } => "init_std",
            Self::SgdMomentum { .. } | Self::MomentumWithoutSgd { .. } => "sgd_momentum",
            Self::BinarizeAndStandardize => "standardize",
            Self::Dropout { .. } | Self::NothingToDrop { .. } => "dropout",
            Self::NothingToTrain => "train_only",
            Self::Threads { .. } => "threads",
            Self::Architecture(error) => of_architecture(error),
            Self::BatchNorm(batchnorm::Error::InvalidMomentum { .. }) => "bn_momentum",
            Self::BatchNorm(_) => "bn_eps",
        }
    }
}

fn of_architecture(error: &ArchitectureError) -> &'static str {
    use ArchitectureError as E;
    match error {
        E::EmptyImages { .. } | E::Classes { .. } => "data",
        E::Layers { .. } | E::LayersOf { .. } | E::TooManyWeights { network: Network::Mlp, .. } => "layers",
        E::WidthOfMlp { .. } | E::Width { .. } | E::TooManyWeights { .. } => "width",
        E::SmallImages { .. } => "network",
        E::ZeroGamma { .. } | E::ZeroGammaAfterActivation => "zero_gamma",
        E::Skips { .. } | E::NothingToSkip { .. } => "skips",
        E::InitStd { .. } => "init_std",
        E::Groups { .. } | E::OneValue { .. } => "norm",
        E::BatchNorm(batchnorm::Error::InvalidMomentum { .. }) => "bn_momentum",
        E::BatchNorm(_) => "bn_eps",
    }
}
