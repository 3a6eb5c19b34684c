//! A run from its first step, or from a checkpoint, to its end.

use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::Device;

use super::batches::Batches;
use super::checkpoint::Head;
use super::figures::{NormValues, recorded, typical_unit};
use super::last::last_evaluation;
use super::metrics::{Metrics, Runs};
use super::trainee::{Trainee, Watched};
use super::{Arm, Checkpoint, CheckpointError, Observer, Settings, Statistics, TrainError};
use crate::data::{Dataset, Preprocessing};
use crate::evaluate::Unscored;
use crate::feed::Feed;
use crate::networks::{Classifier, Model, Watch};
use crate::saved::{SavedModel, Training};

/// Test images that the typical units are chosen over, at most.
const TYPICAL_IMAGES: usize = 500;

/// Where a run keeps what it needs to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The checkpoint's file.
    pub path: PathBuf,
    /// Steps from one checkpoint to the next. There is one before the first step and one after the last, too.
    pub every: usize,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Trained {
    /// What was measured.
    pub metrics: Metrics,
    /// The networks, of every arm that did not diverge.
    pub models: Vec<SavedModel>,
}

/// Trains the twins, or whatever the settings' norms are, a step of the one after a step of the other, and measures them.
///
/// Each evaluation is on test images, in evaluation mode. The same settings give the same bits on one machine whatever
/// the number of threads, times aside. With `keep`, a checkpoint is written on the way, so that [`go_on`] can take the run
/// up again.
///
/// # Errors
///
/// [`TrainError::Settings`] if [`Settings::validate`] fails; [`TrainError::Threads`] if the system refuses them;
/// [`TrainError::Unwritable`] if a checkpoint cannot be written.
pub fn train(
    settings: &Settings,
    data: &Dataset,
    keep: Option<&Keep>,
    observer: &mut (dyn Observer + Send),
) -> Result<Trained, TrainError> {
    settings.validate(data)?;
    on_threads(settings.threads, || Session::begin(settings, data)?.run(keep, observer))
}

/// Takes a run up where a checkpoint left it, and ends with the bits of a run that was never interrupted.
///
/// # Errors
///
/// As [`train`]; [`TrainError::Checkpoint`] if the checkpoint is of other data, or does not hold what it should.
pub fn go_on(
    checkpoint: &Checkpoint,
    data: &Dataset,
    keep: Option<&Keep>,
    observer: &mut (dyn Observer + Send),
) -> Result<Trained, TrainError> {
    let settings = checkpoint.settings();
    settings.validate(data)?;
    let found = data.fingerprint();
    if found != checkpoint.head.fingerprint {
        let expected = checkpoint.head.fingerprint.clone();
        return Err(CheckpointError::OtherData { data: settings.data.to_string(), expected, found }.into());
    }
    on_threads(settings.threads, || Session::restore(checkpoint, data)?.run(keep, observer))
}

/// Runs on a pool of its own, so what Burn and the engine do in parallel stays on its threads.
fn on_threads<T: Send>(
    threads: usize,
    run: impl FnOnce() -> Result<T, TrainError> + Send,
) -> Result<T, TrainError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("train-{index}"))
        .build()
        .map_err(|source| TrainError::Threads { threads, source })?;
    pool.install(run)
}

struct Session<'a> {
    settings: Settings,
    data: &'a Dataset,
    preprocessing: Preprocessing,
    trainees: Vec<Trainee>,
    watched: Vec<Watched>,
    step: usize,
    evaluations: usize,
}

impl<'a> Session<'a> {
    fn begin(settings: &Settings, data: &'a Dataset) -> Result<Self, TrainError> {
        let preprocessing = settings.preprocessing(data);
        let settings = settings.resolved();
        let new = |&arm: &Arm| Ok(Trainee::new(arm, build(&settings, data, arm)?, &settings));
        let trainees = settings.norms.iter().map(new).collect::<Result<_, TrainError>>()?;
        let plain = build(&settings, data, Arm::Plain)?.valid();
        let test = Feed::new(&data.test, data.dims, &preprocessing);
        let watched = watched(&plain, test, settings.eval_images.min(TYPICAL_IMAGES));
        Ok(Self { settings, data, preprocessing, trainees, watched, step: 0, evaluations: 0 })
    }

    fn restore(checkpoint: &Checkpoint, data: &'a Dataset) -> Result<Self, TrainError> {
        let Head { settings, step, evaluations, .. } = checkpoint.head.clone();
        let mut session = Self { step, evaluations, ..Self::begin(&settings, data)? };
        for trainee in &mut session.trainees {
            let network = build(&settings, data, trainee.arm)?;
            checkpoint.restore(trainee, network)?;
        }
        Ok(session)
    }

    fn run(mut self, keep: Option<&Keep>, observer: &mut (dyn Observer + Send)) -> Result<Trained, TrainError> {
        let preprocessing = self.preprocessing.clone();
        let train = Feed::new(&self.data.train, self.data.dims, &preprocessing);
        let test = Feed::new(&self.data.test, self.data.dims, &preprocessing);
        let mut batches = Batches::new(train, self.settings.batch_size, self.settings.seed);
        batches.skip(self.step);
        let fingerprint = keep.map(|_| self.data.fingerprint());
        let save = |session: &Self| match (keep, &fingerprint) {
            (Some(keep), Some(fingerprint)) => {
                session.checkpoint(keep.every, fingerprint).write(&keep.path).map_err(TrainError::Unwritable)
            }
            _ => Ok(()),
        };

        observer.started(&self.settings, &self.data.about, self.step);
        if self.step == 0 {
            save(&self)?;
        }
        let mut interrupted = false;
        while self.step < self.settings.steps && !self.all_diverged() && !interrupted {
            self.step += 1;
            let evaluate = self.step.is_multiple_of(self.settings.eval_every);
            let record = evaluate && recorded(self.evaluations + 1);
            let batch = batches.draw();
            let rate = self.settings.rate(self.step);
            for trainee in &mut self.trainees {
                trainee.step(self.step, rate, &batch, record, observer);
            }
            if evaluate {
                self.evaluations += 1;
                self.evaluate(test, record, observer);
            }
            observer.stepped(self.step);
            interrupted = observer.wants_to_stop();
            let last = interrupted || self.step == self.settings.steps || self.all_diverged();
            if last || keep.is_some_and(|keep| self.step.is_multiple_of(keep.every)) {
                save(&self)?;
            }
        }
        // Not before the last checkpoint: a longer run does not have this evaluation.
        let taken_all = self.step == self.settings.steps;
        if taken_all && !self.step.is_multiple_of(self.settings.eval_every) {
            self.evaluate(test, true, observer);
        }
        if taken_all {
            for trainee in self.trainees.iter().filter(|trainee| !trainee.has_diverged()) {
                observer.after_last_step(trainee.arm, trainee.network());
            }
        }
        let interrupted_at_step = (!taken_all && !self.all_diverged()).then_some(self.step);
        let trained = self.finish(interrupted_at_step, train, test, observer);
        observer.finished();
        Ok(trained)
    }

    fn all_diverged(&self) -> bool {
        self.trainees.iter().all(Trainee::has_diverged)
    }

    fn evaluate(&mut self, test: Feed<'_>, record: bool, observer: &mut dyn Observer) {
        let watched = record.then_some(&self.watched[..]);
        for trainee in &mut self.trainees {
            trainee.evaluate(self.step, test, &self.settings, watched, observer);
        }
    }

    fn checkpoint(&self, every: usize, fingerprint: &str) -> Checkpoint {
        let progress = |trainee: &Trainee| (trainee.arm.name(), trainee.progress.clone());
        let head = Head {
            settings: self.settings.clone(),
            every,
            fingerprint: fingerprint.to_owned(),
            step: self.step,
            evaluations: self.evaluations,
            progress: self.trainees.iter().map(progress).collect(),
        };
        Checkpoint::of(head, &self.trainees)
    }

    /// The final evaluation, and what came of it all.
    fn finish(
        self,
        mut interrupted_at_step: Option<usize>,
        train: Feed<'_>,
        test: Feed<'_>,
        observer: &mut dyn Observer,
    ) -> Trained {
        let mut runs = Runs::default();
        let mut models = Vec::new();
        let steps = self.step;
        for trainee in &self.trainees {
            let mut run = trainee.progress.run.clone();
            if !trainee.has_diverged() {
                let mut network = trainee.network().valid();
                let mut used = Statistics::Running;
                if interrupted_at_step.is_none() {
                    observer.finishing(&format!("evaluating {} on all test images", trainee.arm.name()));
                    let architecture = self.settings.architecture(self.data, trainee.arm);
                    match last_evaluation(&self.settings, &architecture, &network, train, test, observer) {
                        Ok(last) => {
                            run.final_test_accuracy = last.score.accuracy;
                            run.final_test_loss = last.score.loss;
                            run.statistics = last.gap;
                            if let Some(estimated) = last.estimated {
                                (network, used) = (estimated, Statistics::Population);
                            }
                        }
                        Err(Unscored::Stopped) => interrupted_at_step = Some(steps),
                        Err(error) => run.failure = Some(error.to_string()),
                    }
                }
                for (figures, (_, norm)) in run.norms.iter_mut().zip(network.norms()) {
                    figures.last = Some(NormValues::of(norm));
                }
                models.push(SavedModel {
                    architecture: self.settings.architecture(self.data, trainee.arm),
                    preprocessing: self.preprocessing.clone(),
                    class_names: self.data.class_names.clone(),
                    training: Training {
                        data: self.data.about.title.clone(),
                        arm: trainee.arm,
                        steps,
                        batch_size: self.settings.batch_size,
                        seed: self.settings.seed,
                        statistics: used,
                        test_accuracy: run.final_test_accuracy,
                        test_loss: run.final_test_loss,
                    },
                    network,
                });
            }
            run.summarize(steps);
            runs.set(trainee.arm, run);
        }
        let (schema, data) = (Metrics::SCHEMA, self.data.about.clone());
        Trained {
            metrics: Metrics {
                schema,
                settings: self.settings,
                data,
                test_images: test.len(),
                interrupted_at_step,
                runs,
            },
            models,
        }
    }
}

fn build(settings: &Settings, data: &Dataset, arm: Arm) -> Result<Model, TrainError> {
    settings
        .architecture(data, arm)
        .build(settings.init, settings.init_std, settings.seed, &Device::flex().autodiff())
        .map_err(|error| TrainError::Settings(error.into()))
}

/// The layers whose activations are watched, each with its typical unit under the initial weights.
fn watched(plain: &Model, test: Feed<'_>, images: usize) -> Vec<Watched> {
    let places: Vec<usize> = (0..images.min(test.len())).collect();
    let mut watch = Watch::activations();
    let images = test.batch(&places).images(&Device::flex());
    plain.forward(images, &mut watch).expect("the plain twin has no layer that could refuse an input");
    let layer = |seen: crate::networks::Seen| {
        let [_, units, _] = seen.values.dims();
        Watched { typical_unit: typical_unit(&seen), layer: seen.layer, units }
    };
    watch.into_seen().into_iter().map(layer).collect()
}
