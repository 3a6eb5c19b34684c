//! Training twins: the same network from the same weights on the same batches, without and with batch
//! normalization.
//!
//! Reading order: [`Settings`], [`train`], [`Metrics`].

mod arm;
mod batches;
mod evaluation;
mod metrics;
mod observer;
mod population;
mod settings;

pub use metrics::{Band, Metrics, Point, Run, Runs, TARGETS};
pub use observer::{Observer, Silent};
pub use settings::{Optimizer, Settings, SettingsError, Statistics};

use burn::tensor::Device;

use crate::data::Dataset;
use crate::names::named;
use crate::networks::{Classifier, MlpConfig, Network};
use arm::Trainee;
use batches::Batches;
use evaluation::Evaluation;

named! {
    /// One of the twins.
    pub enum Arm, "arm" {
        /// Without batch normalization.
        Plain = "plain",
        /// With batch normalization.
        BatchNorm = "batch_norm",
    }
}

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
}

/// Trains both twins, a step of the one after a step of the other, and measures them.
///
/// Each evaluation is on the whole test set, in evaluation mode. The same settings give the same bits on one
/// machine whatever the number of threads, times aside.
///
/// # Errors
///
/// [`TrainError::Settings`] if [`Settings::validate`] fails; [`TrainError::Threads`] if the system refuses them.
pub fn train(settings: &Settings, observer: &mut (dyn Observer + Send)) -> Result<Metrics, TrainError> {
    let data = settings.data.load();
    settings.validate(data.train.len())?;
    let threads = settings.threads;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("train-{index}"))
        .build()
        .map_err(|source| TrainError::Threads { threads, source })?;
    // Everything below runs on the pool, so what Burn and the engine do in parallel stays on its threads.
    Ok(pool.install(|| match settings.network {
        Network::Mlp => {
            let device = Device::flex().autodiff();
            train_twins(settings, &data, observer, |arm| mlp(settings, &data, arm).init(&device))
        }
    }))
}

fn mlp(settings: &Settings, data: &Dataset, arm: Arm) -> MlpConfig {
    MlpConfig {
        inputs: data.pixels(),
        layers: settings.layers.clone(),
        classes: data.classes,
        activation: settings.activation,
        init_std: settings.init_std,
        seed: settings.seed,
        norm: (arm == Arm::BatchNorm).then(|| (settings.placement, settings.batch_norm())),
    }
}

fn train_twins<N: Classifier>(
    settings: &Settings,
    data: &Dataset,
    observer: &mut (dyn Observer + Send),
    build: impl Fn(Arm) -> N,
) -> Metrics {
    let plain = build(Arm::Plain);
    let typical_unit = evaluation::typical_unit(&plain.valid(), data);
    let evaluation = Evaluation::new(data, typical_unit);
    let mut twins = [
        Trainee::new(Arm::Plain, plain, settings),
        Trainee::new(Arm::BatchNorm, build(Arm::BatchNorm), settings),
    ];
    let mut batches = Batches::new(&data.train, settings.batch_size, settings.seed);

    observer.started(settings);
    for step in 1..=settings.steps {
        let batch = batches.draw();
        let evaluate = step % settings.eval_every == 0 || step == settings.steps;
        for twin in &mut twins {
            twin.step(step, &batch, observer);
            if evaluate {
                twin.evaluate(step, &evaluation, observer);
            }
        }
        observer.stepped(step);
        if twins.iter().all(Trainee::has_diverged) {
            break;
        }
    }
    let [plain, batch_norm] = twins.map(|twin| twin.finish(settings, data, &evaluation));
    observer.finished();
    Metrics {
        schema: Metrics::SCHEMA,
        settings: settings.clone(),
        typical_unit,
        runs: Runs { plain, batch_norm },
    }
}
