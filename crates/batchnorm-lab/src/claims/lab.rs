//! Where experiments are carried out: tasks go in, outcomes come out, from the store or computed.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bench::Bench;
use super::store::{self, Store, StoreError};
use super::{Claim, Facts, Judged, Request, Unfinished};
use crate::train::TrainError;

/// A piece of work whose outcome depends on nothing but its specification and the data.
pub(crate) trait Task: Serialize + Clone + Send + Sync {
    /// What comes of it.
    type Outcome: Serialize + DeserializeOwned + Send;

    /// The name of its kind in the results.
    const KIND: &'static str;

    /// About how many seconds it takes on one core of a laptop.
    fn cost(&self, facts: &Facts) -> f64;

    /// Any outcome of its form: planning goes through an experiment without computing anything.
    fn placeholder(&self) -> Self::Outcome;

    /// Does it, on the calling thread.
    ///
    /// # Errors
    ///
    /// If it was stopped, or cannot be done.
    fn carry_out(&self, bench: &Bench<'_>) -> Result<Self::Outcome, Halt>;
}

/// Why an experiment did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Halt {
    /// Somebody wanted it to stop.
    #[error("stopped")]
    Stopped,
    /// Only stored results were asked for, and one is missing.
    #[error("it was not carried out to its end")]
    Missing,
    /// Training cannot be done.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A network refuses its input.
    #[error(transparent)]
    Refused(#[from] batchnorm_burn::Error),
    /// Results cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data do not allow the experiment.
    #[error("{0}")]
    Impossible(String),
}

/// Told of what happens in the lab, from any thread.
pub trait Spectator: Sync {
    /// A claim is about to be put to the test, the tasks that remain costing about so many seconds of one core.
    fn claim_begins(&self, _claim: &Claim, _seconds: f64) {}

    /// There is a verdict.
    fn claim_judged(&self, _judged: &Judged) {}

    /// There is none.
    fn claim_unfinished(&self, _unfinished: &Unfinished) {}

    /// A task of about so many seconds of one core is done.
    fn task_done(&self, _seconds: f64) {}

    /// Asked all the time: whether to stop.
    fn wants_to_stop(&self) -> bool {
        false
    }
}

/// A spectator that does not look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Spectator for Unwatched {}

/// What the lab does with a task whose outcome is not in the store.
#[derive(Clone, Copy)]
enum Mode<'a> {
    /// Adds up its cost, and gives a placeholder.
    Plan,
    /// Gives up.
    Read,
    /// Does it.
    Run { bench: Bench<'a>, threads: usize, spectator: &'a dyn Spectator },
}

/// What an experiment is given: the request, the facts, and somebody to do its tasks.
pub struct Lab<'a> {
    request: &'a Request,
    facts: &'a Facts,
    store: Option<&'a Store>,
    mode: Mode<'a>,
    /// The tasks that were asked for, each once, and the seconds they take or took.
    asked: RefCell<Asked>,
}

#[derive(Default)]
struct Asked {
    keys: HashSet<String>,
    /// Of all that were asked for.
    seconds: f64,
    /// Of those that the store does not have.
    remaining: f64,
}

impl<'a> Lab<'a> {
    /// One that computes nothing: it adds up what there would be to do.
    pub(super) fn planning(request: &'a Request, facts: &'a Facts, store: Option<&'a Store>) -> Self {
        Self { request, facts, store, mode: Mode::Plan, asked: RefCell::default() }
    }

    /// One that knows what is in the store and nothing else.
    pub(super) fn reading(request: &'a Request, facts: &'a Facts, store: &'a Store) -> Self {
        Self { request, facts, store: Some(store), mode: Mode::Read, asked: RefCell::default() }
    }

    /// One that works, on so many threads.
    pub(super) fn working(
        request: &'a Request,
        facts: &'a Facts,
        store: &'a Store,
        bench: Bench<'a>,
        threads: usize,
        spectator: &'a dyn Spectator,
    ) -> Self {
        let mode = Mode::Run { bench, threads, spectator };
        Self { request, facts, store: Some(store), mode, asked: RefCell::default() }
    }

    /// What is known of the data.
    pub(crate) fn facts(&self) -> &'a Facts {
        self.facts
    }

    /// The seeds.
    pub(crate) fn seeds(&self) -> Vec<u64> {
        (1..=self.request.seeds.get() as u64).collect()
    }

    /// The one of a quick run, or the other.
    pub(crate) fn pick<T>(&self, quick: T, full: T) -> T {
        if self.request.quick { quick } else { full }
    }

    /// Seconds that the tasks asked for so far took, or will take about.
    pub(super) fn seconds(&self) -> f64 {
        self.asked.borrow().seconds
    }

    /// Seconds that the tasks whose outcomes are not in the store will take, about.
    pub(super) fn remaining(&self) -> f64 {
        self.asked.borrow().remaining
    }

    /// The outcomes of tasks, in their order; those that are not known are computed side by side.
    pub(crate) fn all<T: Task>(&self, tasks: Vec<T>) -> Result<Vec<T::Outcome>, Halt> {
        let specs: Vec<Value> = tasks.iter().map(spec).collect();
        let keys: Vec<String> = specs.iter().map(|spec| store::key(T::KIND, spec)).collect();
        // Those to do, each once, the longest first: no thread has a long one left when the others are done.
        let mut seen = HashSet::new();
        let missing = |key: &String| self.store.is_none_or(|store| !store.has(key));
        let mut to_do: Vec<usize> =
            (0..tasks.len()).filter(|&index| missing(&keys[index]) && seen.insert(&keys[index])).collect();
        let facts = self.facts;
        let cost = |index: usize| tasks[index].cost(facts);
        to_do.sort_by(|&one, &other| cost(other).total_cmp(&cost(one)));
        match self.mode {
            Mode::Plan => {
                let mut asked = self.asked.borrow_mut();
                for (task, key) in tasks.iter().zip(&keys) {
                    if asked.keys.insert(key.clone()) {
                        let seconds = task.cost(self.facts);
                        asked.seconds += seconds;
                        asked.remaining += if missing(key) { seconds } else { 0.0 };
                    }
                }
                return Ok(tasks
                    .iter()
                    .map(|task| self.known(task).unwrap_or_else(|| task.placeholder()))
                    .collect());
            }
            Mode::Read if !to_do.is_empty() => return Err(Halt::Missing),
            Mode::Read => {}
            Mode::Run { bench, threads, spectator } => {
                let store = self.store.expect("a lab that works has a store");
                let work = |index: usize| {
                    let started = Instant::now();
                    let outcome = tasks[index].carry_out(&bench)?;
                    let outcome = serde_json::to_value(outcome).expect("an outcome has a JSON form");
                    store.put(T::KIND, specs[index].clone(), started.elapsed().as_secs_f64(), outcome)?;
                    spectator.task_done(cost(index));
                    Ok(())
                };
                side_by_side(&to_do, threads, spectator, &work)?;
            }
        }
        let mut asked = self.asked.borrow_mut();
        for key in &keys {
            if asked.keys.insert(key.clone()) {
                asked.seconds += self.store.and_then(|store| store.get(key)).map_or(0.0, |known| known.0);
            }
        }
        tasks.iter().map(|task| self.known(task).ok_or(Halt::Missing)).collect()
    }

    /// The outcome in the store.
    fn known<T: Task>(&self, task: &T) -> Option<T::Outcome> {
        let (_, outcome) = self.store?.get(&store::key(T::KIND, &spec(task)))?;
        serde_json::from_value(outcome).ok()
    }
}

fn spec<T: Task>(task: &T) -> Value {
    serde_json::to_value(task).expect("a task has a JSON form")
}

/// Works on items on so many threads until all are done, one fails, or somebody wants to stop.
///
/// Each thread is a pool of its own, so that what a task does in parallel stays on its thread.
fn side_by_side(
    items: &[usize],
    threads: usize,
    spectator: &dyn Spectator,
    work: &(dyn Fn(usize) -> Result<(), Halt> + Sync),
) -> Result<(), Halt> {
    let next = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    let failure: Mutex<Option<Halt>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
                while !over.load(Ordering::Relaxed) {
                    let Some(&item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    let outcome = match (spectator.wants_to_stop(), &pool) {
                        (true, _) => Err(Halt::Stopped),
                        (false, Ok(pool)) => pool.install(|| work(item)),
                        (false, Err(error)) => {
                            Err(Halt::Impossible(format!("could not start a thread: {error}")))
                        }
                    };
                    if let Err(halt) = outcome {
                        over.store(true, Ordering::Relaxed);
                        failure.lock().expect("no thread panics here").get_or_insert(halt);
                    }
                }
            });
        }
    });
    failure.into_inner().expect("no thread panics here").map_or(Ok(()), Err)
}
