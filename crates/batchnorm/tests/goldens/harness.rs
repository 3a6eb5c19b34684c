//! The engine put through recorded cases, and the comparison of what came out.

use batchnorm::{
    BatchNorm, BatchNormConfig, Cpu, Error, Kernels, Real, Reference, RunningUpdate, RunningVariance, Saved,
    Wanted,
};

use crate::case::{Case, Library, Number, Results, Step, cases};
use crate::tolerance::{Channel, Statistics};

/// A type that there are cases of.
pub trait Tested: Number + Real + Into<f64> {
    /// Half a unit in the last place.
    const UNIT: f64;
}

impl Tested for f32 {
    const UNIT: f64 = f32::EPSILON as f64 / 2.0;
}

impl Tested for f64 {
    const UNIT: f64 = f64::EPSILON / 2.0;
}

/// PyTorch's cases in which the engine differs on purpose: each has a test of its own.
pub const PYTORCH_DIFFERS: [&str; 8] = [
    "eps 0 is refused in training",
    "momentum -1.2 drives a variance below zero",
    "zero batch (0,5,9)",
    "f32 zero batch (0,5,9)",
    "one value per channel (1,4)",
    "one value per channel (1,4,1)",
    "one value per channel counts for the average over batches (1,4)",
    "a NaN in the second batch",
];
pub const KERAS_DIFFERS: [&str; 1] = ["zero batch (0,3)"];
pub const FLAX_DIFFERS: [&str; 1] = ["zero batch (0,3)"];

/// The cases in which the engine does what the library does.
pub fn agreeing<P: Tested>(library: Library) -> Vec<Case<P>> {
    let differs: &[&str] = match library {
        Library::PyTorch => &PYTORCH_DIFFERS,
        Library::Keras => &KERAS_DIFFERS,
        Library::Flax => &FLAX_DIFFERS,
    };
    let mut cases = cases(library);
    cases.retain(|case| !differs.contains(&&case.name[..]));
    cases
}

// --- the engine put through a case ---

pub fn layer<P: Tested, K>(case: &Case<P>, config: BatchNormConfig, kernels: K) -> BatchNorm<P, K> {
    let mut layer = BatchNorm::with_kernels(case.shape.channels(), config, kernels).expect(&case.name);
    if let (Some(mine), Some(theirs)) = (layer.gamma_mut(), &case.gamma) {
        mine.copy_from_slice(theirs);
    }
    if let (Some(mine), Some(theirs)) = (layer.beta_mut(), &case.beta) {
        mine.copy_from_slice(theirs);
    }
    layer
}

pub fn train<P: Tested, K: Kernels<P>>(
    layer: &mut BatchNorm<P, K>,
    case: &Case<P>,
    step: &Step<P>,
) -> Result<(Results, RunningUpdate), Error> {
    let mut y = vec![P::ZERO; case.shape.len()];
    let forward = layer.forward_train(case.shape, &step.x, &mut y)?;
    Ok((results(layer, &forward.saved, step, &y)?, forward.update))
}

pub fn evaluate<P: Tested, K: Kernels<P>>(layer: &BatchNorm<P, K>, case: &Case<P>) -> Result<Results, Error> {
    let step = &case.evaluate;
    let mut y = vec![P::ZERO; case.shape.len()];
    let saved = layer.forward_eval(case.shape, &step.x, &mut y)?;
    results(layer, &saved, step, &y)
}

pub fn results<P: Tested, K: Kernels<P>>(
    layer: &BatchNorm<P, K>,
    saved: &Saved,
    step: &Step<P>,
    y: &[P],
) -> Result<Results, Error> {
    let wide = |values: &[P]| values.iter().map(|&value| value.into()).collect::<Vec<f64>>();
    let mut dx = vec![P::ZERO; step.x.len()];
    let gradients = layer.backward(saved, &step.x, &step.dy, Some(&mut dx), Wanted::ALL)?;
    Ok(Results {
        y: wide(y),
        dx: wide(&dx),
        dgamma: gradients.gamma,
        dbeta: gradients.beta,
        running: layer.running().map(|running| (wide(&running.mean), wide(&running.variance))),
        batches: layer.running().map(|running| running.batches),
    })
}

/// The results of the training steps, then those of the evaluation.
pub fn run<P: Tested>(case: &Case<P>, config: BatchNormConfig, kernels: impl Kernels<P>) -> Vec<Results> {
    let mut layer = layer(case, config, kernels);
    let steps = case.train.iter().map(|step| train(&mut layer, case, step).expect(&case.name).0);
    let mut results: Vec<_> = steps.collect();
    results.push(evaluate(&layer, case).expect(&case.name));
    results
}

// --- comparison ---

/// Everything in `found` that differs from what the library gave by more than the tolerance.
pub fn differences<P: Tested>(case: &Case<P>, found: &[Results]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut running = vec![Statistics::INITIAL; case.shape.channels()];
    for (step, (batches, found)) in case.train.iter().zip((1..).zip(found)) {
        let batch = batch_statistics(case, step);
        update(case, &mut running, &batch, batches);
        let expected = &step.results;
        let mut wrong = pass_differences(case, step, &batch, found, expected);
        let split = |running: &Option<(Vec<f64>, Vec<f64>)>| running.clone().unzip();
        let ((mean, variance), (their_mean, their_variance)) =
            (split(&found.running), split(&expected.running));
        wrong.extend(compare("running mean", mean.as_deref(), their_mean.as_deref(), &|c| {
            running[c].errors().0
        }));
        wrong.extend(compare("running variance", variance.as_deref(), their_variance.as_deref(), &|c| {
            running[c].errors().1
        }));
        if expected.batches.is_some() && found.batches != expected.batches {
            wrong.push(format!("batches {:?}, expected {:?}", found.batches, expected.batches));
        }
        differences.extend(wrong.iter().map(|text| format!("step {batches}: {text}")));
    }
    let step = &case.evaluate;
    let statistics = if case.config.track_running_statistics { running } else { batch_statistics(case, step) };
    let wrong = pass_differences(case, step, &statistics, &found[case.train.len()], &step.results);
    differences.extend(wrong.iter().map(|text| format!("evaluation: {text}")));
    differences
}

/// The differences in the output and the gradients of one pass that normalized with `statistics`.
pub fn pass_differences<P: Tested>(
    case: &Case<P>,
    step: &Step<P>,
    statistics: &[Statistics],
    found: &Results,
    expected: &Results,
) -> Vec<String> {
    let bounds: Vec<_> = channels(case, step).zip(statistics).map(|(channel, s)| channel.bounds(s)).collect();
    let of = |element: usize| bounds[element / case.shape.inner() % case.shape.channels()];
    [
        compare("y", Some(&found.y), Some(&expected.y), &|element| of(element).y),
        compare("dx", Some(&found.dx), Some(&expected.dx), &|element| of(element).dx),
        compare("dgamma", found.dgamma.as_deref(), expected.dgamma.as_deref(), &|c| bounds[c].dgamma),
        compare("dbeta", found.dbeta.as_deref(), expected.dbeta.as_deref(), &|c| bounds[c].dbeta),
    ]
    .into_iter()
    .flatten()
    .collect()
}

pub fn channels<P: Tested>(case: &Case<P>, step: &Step<P>) -> impl Iterator<Item = Channel> {
    (0..case.shape.channels()).map(|channel| Channel::of(case, step, channel, P::UNIT))
}

pub fn batch_statistics<P: Tested>(case: &Case<P>, step: &Step<P>) -> Vec<Statistics> {
    channels(case, step).map(|channel| Statistics::of_batch(&channel.x, case.fast_variance)).collect()
}

pub fn update<P: Tested>(case: &Case<P>, running: &mut [Statistics], batch: &[Statistics], batches: u64) {
    let n = case.shape.positions() as f64;
    let bessel = match case.config.running_variance {
        RunningVariance::Unbiased => n / (n - 1.0),
        RunningVariance::Biased => 1.0,
    };
    let weights = case.config.momentum.weights(batches);
    for (running, &batch) in running.iter_mut().zip(batch) {
        *running = running.updated(batch, weights, bessel, P::UNIT);
    }
}

/// The worst of the values that lie further apart than `bound` allows, in words. NaN agrees with nothing.
pub fn compare(
    what: &str,
    found: Option<&[f64]>,
    expected: Option<&[f64]>,
    bound: &dyn Fn(usize) -> f64,
) -> Option<String> {
    let (found, expected) = match (found, expected) {
        (Some(found), Some(expected)) if found.len() == expected.len() => (found, expected),
        (None, None) => return None,
        _ => return Some(format!("{what} is {found:?}, expected {expected:?}")),
    };
    let excess = |&index: &usize| (found[index] - expected[index]).abs() / bound(index).max(f64::MIN_POSITIVE);
    let wrong = (0..found.len()).filter(|index| excess(index) > 1.0 || excess(index).is_nan());
    let worst = wrong.max_by(|a, b| excess(a).total_cmp(&excess(b)))?;
    let (found, expected, times) = (found[worst], expected[worst], excess(&worst));
    Some(format!(
        "{what}[{worst}] is {found:e}, expected {expected:e}: {times:.3e} times what rounding explains"
    ))
}

pub fn assert_agreement<P: Tested>(library: Library)
where
    Cpu: Kernels<P>,
    Reference: Kernels<P>,
{
    let mut wrong = Vec::new();
    for case in agreeing::<P>(library) {
        for (backend, results) in
            [("cpu", run(&case, case.config, Cpu)), ("reference", run(&case, case.config, Reference))]
        {
            let differences = differences(&case, &results);
            wrong.extend(differences.iter().map(|text| format!("{} ({backend}), {text}", case.name)));
        }
    }
    assert!(wrong.is_empty(), "{library:?}, {}:\n  {}", P::NAME, wrong.join("\n  "));
}
