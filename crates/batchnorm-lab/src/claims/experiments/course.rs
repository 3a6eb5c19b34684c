//! A task: a training run that is evaluated on the way by other statistics than the running ones.
//!
//! Running averages lag behind the weights, in short runs most of all. By a batch's own statistics, or those of a
//! population, an evaluation says what the weights are worth.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::claims::Facts;
use crate::claims::bench::Bench;
use crate::claims::lab::{Halt, Task};
use crate::claims::training::{Outcome, Training};
use crate::data::{Dataset, Preprocessing};
use crate::evaluate::{CHUNK, Tally, Unscored, Watcher, with_batch_statistics, with_population_statistics};
use crate::feed::{Batch, Feed};
use crate::networks::{Architecture, Classifier, Model, Watch};
use crate::streams::{Purpose, Stream};
use crate::train::{Arm, Observer, Point, Settings, train};

/// Trains one network, and evaluates it every so many steps.
///
/// The training's own evaluations on the way are left out.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Course {
    pub(super) training: Training,
    /// Steps from one evaluation to the next.
    pub(super) every: usize,
    /// Test images of each evaluation, in batches of the size of training where their own statistics are used.
    pub(super) images: usize,
    /// Whether by running averages.
    pub(super) running: bool,
    /// Whether by the statistics of the very batches that are evaluated.
    pub(super) own: bool,
    /// Training images that population statistics are taken over; 0 for none.
    pub(super) population: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Followed {
    /// The training run and its final evaluation; its curve is empty.
    pub(super) outcome: Outcome,
    /// The evaluations.
    pub(super) points: Vec<Seen>,
}

/// Accuracies after so many steps; `None` if they were not asked for, or an output was not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) step: usize,
    pub(super) running: Option<f64>,
    pub(super) own: Option<f64>,
    pub(super) population: Option<f64>,
}

impl Followed {
    /// The outcome with those accuracies for its curve.
    pub(super) fn by(&self, accuracy: impl Fn(&Seen) -> Option<f64>) -> Outcome {
        let point = |seen: &Seen| Point {
            step: seen.step,
            train_loss: None,
            test_accuracy: accuracy(seen),
            test_loss: None,
        };
        let mut outcome = self.outcome.clone();
        outcome.run.curve = self.points.iter().map(point).collect();
        outcome
    }
}

impl Task for Course {
    type Outcome = Followed;
    const KIND: &'static str = "course";

    fn cost(&self, facts: &Facts) -> f64 {
        let Settings { steps, batch_size, .. } = self.training.settings;
        let training = self.training.cost(facts);
        let seen = |images: usize| images.min(facts.train);
        let kinds = usize::from(self.running) + usize::from(self.own) + usize::from(self.population > 0);
        let images = (steps / self.every.max(1)) * (kinds * seen(self.images) + seen(self.population));
        // A forward pass is a third of a step.
        training + training * images as f64 / (3 * steps * batch_size).max(1) as f64
    }

    fn placeholder(&self) -> Followed {
        Followed::default()
    }

    fn carry_out(&self, bench: &Bench<'_>) -> Result<Followed, Halt> {
        let data = bench.data(self.training.part);
        let settings = Settings {
            threads: 1,
            eval_images: 1,
            eval_every: self.training.settings.steps,
            ..self.training.settings.clone()
        };
        let mut recorder = Recorder::new(self, &settings, Arc::clone(&data), *bench);
        let trained = train(&settings, &data, None, &mut recorder)?;
        if let Some(failure) = recorder.failure {
            return Err(failure);
        }
        if trained.metrics.interrupted_at_step.is_some() {
            return Err(Halt::Stopped);
        }
        let mut run = trained.metrics.runs.of(self.training.arm()).cloned().unwrap_or_default();
        // What Training leaves out, too; and the curve, which looked at one image.
        (run.inputs, run.gradients, run.norms, run.curve) = Default::default();
        (run.seconds, run.best_test_accuracy, run.steps_to) = Default::default();
        Ok(Followed { outcome: Outcome { run, training: None }, points: recorder.points })
    }
}

/// Evaluates the network on the way.
struct Recorder<'a> {
    course: &'a Course,
    data: Arc<Dataset>,
    preprocessing: Preprocessing,
    architecture: Architecture,
    /// Places of test images, in random order.
    order: Vec<usize>,
    /// The same of training images, for populations.
    population: Vec<usize>,
    points: Vec<Seen>,
    failure: Option<Halt>,
    bench: Bench<'a>,
}

impl<'a> Recorder<'a> {
    fn new(course: &'a Course, settings: &Settings, data: Arc<Dataset>, bench: Bench<'a>) -> Self {
        let preprocessing = settings.preprocessing(&data);
        let architecture = settings.architecture(&data, course.training.arm());
        let mut order = shuffled(data.test.len(), settings.seed);
        order.truncate(course.images);
        let mut population = shuffled(data.train.len(), settings.seed);
        population.truncate(course.population);
        Self {
            course,
            data,
            preprocessing,
            architecture,
            order,
            population,
            points: Vec::new(),
            failure: None,
            bench,
        }
    }

    fn look(&mut self, network: &Model, step: usize) {
        if self.failure.is_some() {
            return;
        }
        match self.seen(network, step) {
            Ok(seen) => self.points.push(seen),
            Err(halt) => self.failure = Some(halt),
        }
    }

    fn seen(&self, network: &Model, step: usize) -> Result<Seen, Halt> {
        let Course { training, running, own, population, .. } = self.course;
        let Settings { batch_size, seed, .. } = training.settings;
        let network = network.valid();
        let test = Feed::new(&self.data.test, self.data.dims, &self.preprocessing);
        let by_batch = self.architecture.norm.is_some_and(|norm| norm.variant.normalizes_by_batch());
        let mut seen = Seen { step, ..Seen::default() };
        if *running || !by_batch {
            seen.running = accuracy(&network, test, self.order.chunks(CHUNK), &self.bench)?;
        }
        if !by_batch {
            // Nothing depends on statistics: all of them are the same.
            (seen.own, seen.population) = (seen.running, seen.running);
            return Ok(seen);
        }
        if *own {
            let network = with_batch_statistics(&network, &self.architecture)?;
            seen.own = accuracy(&network, test, full(&self.order, batch_size), &self.bench)?;
        }
        if *population > 0 {
            let some = self.data.train.at(&self.population);
            let train = Feed::new(&some, self.data.dims, &self.preprocessing);
            let stopping = &mut Stopping(self.bench);
            let network =
                with_population_statistics(&network, &self.architecture, train, batch_size, seed, stopping);
            seen.population = accuracy(&network.map_err(halted)?, test, self.order.chunks(CHUNK), &self.bench)?;
        }
        Ok(seen)
    }
}

impl Observer for Recorder<'_> {
    fn before_step(&mut self, _arm: Arm, step: usize, network: &Model, _batch: &Batch) {
        // The network before a step is the one after the step before.
        let taken = step - 1;
        if taken > 0 && taken.is_multiple_of(self.course.every) {
            self.look(network, taken);
        }
    }

    fn after_last_step(&mut self, _arm: Arm, network: &Model) {
        self.look(network, self.course.training.settings.steps);
    }

    fn wants_to_stop(&mut self) -> bool {
        self.failure.is_some() || self.bench.wants_to_stop()
    }
}

/// So many places in a random order of the seed's: some data sets are sorted by class, which no batch should be.
pub(super) fn shuffled(images: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    Stream::new(seed, Purpose::Population).shuffle(&mut order);
    order
}

/// Full batches of these places: what is left over would have statistics of fewer images. Fewer places than a batch are one.
pub(super) fn full(order: &[usize], size: usize) -> impl Iterator<Item = &[usize]> {
    order.chunks_exact(size.min(order.len()).max(1))
}

/// The share of images put into their class, batch by batch.
pub(super) fn accuracy<'o>(
    network: &Model,
    test: Feed<'_>,
    batches: impl Iterator<Item = &'o [usize]>,
    bench: &Bench<'_>,
) -> Result<Option<f64>, Halt> {
    let device = Device::flex();
    let mut tally = Tally::default();
    for places in batches {
        let batch = test.batch(places);
        let logits = network.forward(batch.images(&device), &mut Watch::nothing())?;
        let [_, classes] = logits.dims();
        let logits: Vec<f32> = logits.into_data().try_into_vec().expect("networks compute in f32");
        tally.add(&logits, classes, batch.labels());
        if bench.wants_to_stop() {
            return Err(Halt::Stopped);
        }
    }
    Ok(tally.score().accuracy)
}

/// Passes the wish to stop on.
pub(super) struct Stopping<'a>(pub(super) Bench<'a>);

impl Watcher for Stopping<'_> {
    fn wants_to_stop(&mut self) -> bool {
        self.0.wants_to_stop()
    }
}

pub(super) fn halted(unscored: Unscored) -> Halt {
    match unscored {
        Unscored::Stopped => Halt::Stopped,
        Unscored::Refused(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::bench::Parts;
    use crate::claims::lab::Unwatched;
    use crate::data::{Access, Source};
    use crate::networks::Network;

    fn course(every: usize, population: usize) -> Course {
        let training = Training::new(Network::Mlp, Arm::BatchNorm, 1, 5).with(|settings| {
            settings.layers = vec![8, 8];
            settings.batch_size = 16;
        });
        Course { training, every, images: 40, running: population > 0, own: population > 0, population }
    }

    fn carried_out(course: &Course) -> Followed {
        let data = Source::Digits.load(&mut Access::none()).unwrap().first(Some(64), Some(50));
        let parts = Parts::new(&data);
        course.carry_out(&Bench { data: &parts, spectator: &Unwatched, meter: None }).unwrap()
    }

    #[test]
    fn looking_on_the_way_changes_nothing_and_gives_the_same_again() {
        let followed = carried_out(&course(2, 32));
        assert_eq!(followed, carried_out(&course(2, 32)));
        assert_eq!(followed.outcome, carried_out(&course(5, 0)).outcome);
        assert_eq!(followed.points.iter().map(|seen| seen.step).collect::<Vec<_>>(), [2, 4, 5]);
        let all = |seen: &Seen| seen.running.is_some() && seen.own.is_some() && seen.population.is_some();
        assert!(followed.points.iter().all(all));
    }

    #[test]
    fn a_curve_is_made_of_what_was_seen() {
        let followed = carried_out(&course(2, 32));
        let outcome = followed.by(|seen| seen.own);
        assert_eq!(outcome.run.curve.len(), 3);
        assert_eq!(outcome.run.curve[1].test_accuracy, followed.points[1].own);
    }

    #[test]
    fn batches_are_full_unless_there_are_too_few_places() {
        let sizes = |places: usize, size| -> Vec<usize> {
            full(&(0..places).collect::<Vec<_>>(), size).map(<[usize]>::len).collect()
        };
        assert_eq!((sizes(10, 4), sizes(3, 4), sizes(0, 4)), (vec![4, 4], vec![3], vec![]));
    }
}
