//! Training twins: the same network from the same weights on the same batches, without and with batch
//! normalization, or any number of them that differ in their normalization.
//!
//! Reading order: [`Arm`], [`Settings`], [`train`], [`Metrics`], [`Checkpoint`].

mod arm;
mod batches;
mod checkpoint;
mod figures;
mod last;
mod metrics;
mod observer;
mod optimizer;
mod schedule;
mod session;
mod settings;
mod trainee;
mod validate;

pub use arm::Arm;
pub(crate) use arm::by_name;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use figures::{Band, Gradient, GradientPoint, Inputs, NormFigures, NormPoint, NormValues, is_saturated};
pub use metrics::{Gap, Metrics, Point, Run, Runs, TARGETS};
pub use observer::{Observer, Silent};
pub use schedule::{Decay, Schedule};
pub use session::{Keep, Trained, go_on, train};
pub use settings::{Decayed, Optimizer, Settings, Statistics, TrainedPart};
pub use validate::SettingsError;

use batchnorm_model::FileError;

/// Why there was no training. A run that diverges is no error but a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The settings make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The threads could not be started.
    #[error("could not start {threads} threads; ask for fewer")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// What the system said.
        source: rayon::ThreadPoolBuildError,
    },
    /// A checkpoint does not fit.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint could not be written.
    #[error(
        "could not write a checkpoint, and the run was ended; make room, and go on from the last one with --resume"
    )]
    Unwritable(#[source] FileError),
}
