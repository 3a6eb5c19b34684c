//! Problem after problem: every backend, on one thread and on several, against the reference.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use batchnorm::{Element, Kernels, Reference, bf16, f16};
use rayon::ThreadPool;

use super::data::Data;
use super::judge::{Judge, Measurement};
use super::outcome::Outcome;
use super::problem::{CYCLE, Problem};
use super::run::{Computed, compute};
use super::subject::Subject;
use crate::bench::Dtype;

/// When a check ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// After so much time; every work, type and layout is tried at least once.
    Time(Duration),
    /// After so many problems.
    Problems(u64),
    /// After the problem of this number, which is the only one.
    Only(u64),
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Problems done.
    pub problems: u64,
    /// Of the work, in 0 to 1.
    pub done: f64,
}

/// Why there is no check.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The threads could not be started.
    #[error("{threads} threads could not be started")]
    Threads {
        /// How many.
        threads: usize,
        /// The cause.
        source: rayon::ThreadPoolBuildError,
    },
}

/// The most threads that a problem is computed on.
const MOST_THREADS: usize = 4;

/// Checks all `subjects` on the problems of a seed; all must compute the same bits, on any number of threads.
///
/// `go_on` is told how far it is, and says whether to.
///
/// # Errors
///
/// [`CheckError`] if there are no threads.
pub fn carry_out(
    subjects: &[Subject],
    seed: u64,
    limit: Limit,
    go_on: &mut dyn FnMut(Progress) -> bool,
) -> Result<Outcome, CheckError> {
    let pool = |threads| {
        let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        built.map_err(|source| CheckError::Threads { threads, source })
    };
    let pools = (1..=MOST_THREADS).map(pool).collect::<Result<Vec<_>, _>>()?;
    let (begin, mut outcome) = (Instant::now(), Outcome::default());
    loop {
        let done = outcome.problems;
        let share = match limit {
            Limit::Time(time) => {
                let by_time = begin.elapsed().as_secs_f64() / time.as_secs_f64().max(f64::MIN_POSITIVE);
                by_time.min(done as f64 / CYCLE as f64)
            }
            Limit::Problems(problems) => done as f64 / problems.max(1) as f64,
            Limit::Only(_) => done as f64,
        };
        if !go_on(Progress { problems: done, done: share.min(1.0) }) || share >= 1.0 {
            break;
        }
        let number = if let Limit::Only(number) = limit { number } else { done };
        let problem = Problem::draw(seed, number);
        match problem.dtype {
            Dtype::F32 => check::<f32>(subjects, |subject| &*subject.f32, &problem, &pools, &mut outcome),
            Dtype::F64 => check::<f64>(subjects, |subject| &*subject.f64, &problem, &pools, &mut outcome),
            Dtype::Bf16 => check::<bf16>(subjects, |subject| &*subject.bf16, &problem, &pools, &mut outcome),
            Dtype::F16 => check::<f16>(subjects, |subject| &*subject.f16, &problem, &pools, &mut outcome),
        }
        outcome.problems += 1;
    }
    outcome.sort(&subjects.iter().map(|subject| subject.name.as_str()).collect::<Vec<_>>());
    Ok(outcome)
}

fn check<E: Element>(
    subjects: &[Subject],
    kernels: impl Fn(&Subject) -> &dyn Kernels<E>,
    problem: &Problem,
    pools: &[ThreadPool],
    outcome: &mut Outcome,
) {
    let data = Data::<E>::of(problem);
    let wide = data.widened();
    let expected = compute::<f64>(&Reference, &wide);
    let judge = Judge::new(problem.dtype, wide, expected);
    // The first result, which all others must equal.
    let mut first: Option<(Computed<E>, String)> = None;
    let threads: &[usize] = if problem.threads == 1 { &[1] } else { &[1, problem.threads] };
    for subject in subjects {
        for &threads in threads {
            let row = outcome.row(problem.choice(threads).kernel(), &subject.name, problem);
            row.runs += 1;
            let kernels = kernels(subject);
            let run = || pools[threads - 1].install(|| compute(kernels, &data));
            let Ok(found) = catch_unwind(AssertUnwindSafe(run)) else {
                row.fail(problem, threads, "it panicked".to_owned());
                continue;
            };
            let measurements = judge.measure(&found);
            row.take(&measurements);
            let wrong = measurements.iter().find(|measurement| !measurement.is_good()).map(off);
            let differs = first.as_ref().and_then(|(other, of)| {
                let differs = !found.bits().eq(other.bits());
                differs.then(|| format!("other bits than {of} on one thread"))
            });
            if let Some(what) = wrong.or(differs) {
                row.fail(problem, threads, what);
            }
            // Problem by problem the first run is on one thread.
            first.get_or_insert_with(|| (found, subject.name.clone()));
        }
    }
}

fn off(Measurement { what, error, bound }: &Measurement) -> String {
    format!("{what} is off by {error:.2e}, allowed {bound:.2e}")
}
