//! What PyTorch, Keras and Flax compute, the engine computes: their recorded figures against the presets.
//!
//! `goldens/README.md` describes the files and how to write them again, `goldens/tolerance.rs` derives how far
//! two correct results may lie apart. Where the engine differs from a library on purpose, a test says in what.

#[path = "goldens/case.rs"]
mod case;
#[path = "goldens/harness.rs"]
mod harness;
#[path = "goldens/tolerance.rs"]
mod tolerance;

use batchnorm::{
    BatchNorm, BatchNormConfig, Cpu, Error, Kernels, Momentum, Names, RunningUpdate, RunningVariance,
    StateValue,
};
use case::{Library, Results, case, numbers};
use harness::*;
use tolerance::Statistics;

// --- agreement ---

#[test]
fn pytorch_layers_are_reproduced_in_f64() {
    assert_agreement::<f64>(Library::PyTorch);
}

#[test]
fn pytorch_layers_are_reproduced_in_f32() {
    assert_agreement::<f32>(Library::PyTorch);
}

#[test]
fn keras_layers_are_reproduced_in_f64() {
    assert_agreement::<f64>(Library::Keras);
}

#[test]
fn keras_layers_are_reproduced_in_f32() {
    assert_agreement::<f32>(Library::Keras);
}

#[test]
fn flax_layers_are_reproduced_in_f64() {
    assert_agreement::<f64>(Library::Flax);
}

#[test]
fn flax_layers_are_reproduced_in_f32() {
    assert_agreement::<f32>(Library::Flax);
}

#[test]
fn f32_results_lie_at_most_twice_as_far_from_f64_as_the_librarys_own() {
    for library in [Library::PyTorch, Library::Keras, Library::Flax] {
        for case in agreeing::<f32>(library) {
            let steps = case.train.iter().chain([&case.evaluate]);
            for (index, (found, step)) in run(&case, case.config, Cpu).iter().zip(steps).enumerate() {
                let (exact, own) = (&step.results, step.own.as_ref().expect(&case.name));
                let no_further = |what: &str, found: &[f64], own: &[f64], exact: &[f64]| {
                    let error = |values: &[f64]| {
                        let errors = values.iter().zip(exact).map(|(value, exact)| (value - exact).abs());
                        errors.fold(0.0, f64::max)
                    };
                    // A library that rounds luckily must not make the bar too high: two roundings are granted.
                    let largest = exact.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
                    let granted = 2.0 * error(own) + 4.0 * f32::UNIT * largest;
                    assert!(
                        error(found) <= granted,
                        "{library:?}, {}, pass {index}: {what} is off by {:e}, the library by {:e}",
                        case.name,
                        error(found),
                        error(own),
                    );
                };
                no_further("y", &found.y, &own.y, &exact.y);
                no_further("dx", &found.dx, &own.dx, &exact.dx);
                for (what, found, own, exact) in [
                    ("dgamma", &found.dgamma, &own.dgamma, &exact.dgamma),
                    ("dbeta", &found.dbeta, &own.dbeta, &exact.dbeta),
                ] {
                    if let (Some(found), Some(own), Some(exact)) = (found, own, exact) {
                        no_further(what, found, own, exact);
                    }
                }
                if let (Some(found), Some(own), Some(exact)) = (&found.running, &own.running, &exact.running) {
                    no_further("running mean", &found.0, &own.0, &exact.0);
                    no_further("running variance", &found.1, &own.1, &exact.1);
                }
            }
        }
    }
}

// --- the comparison itself ---

#[test]
fn a_wrong_convention_is_noticed() {
    let pytorch = BatchNormConfig::pytorch();
    let keras = BatchNormConfig::keras();
    let flax = BatchNormConfig::flax();
    let wrong = [
        (Library::PyTorch, "rows and columns (3,2)", pytorch.with_running_variance(RunningVariance::Biased)),
        (Library::PyTorch, "rows and columns (3,2)", pytorch.with_momentum(Momentum::of_old(0.1))),
        (Library::PyTorch, "rows and columns (3,2)", pytorch.with_momentum(Momentum::Cumulative)),
        (Library::PyTorch, "rows and columns (3,2)", pytorch.with_eps(1.1e-5)),
        (Library::PyTorch, "rows and columns (3,2)", pytorch.with_scale(false)),
        (Library::PyTorch, "rows and columns (3,2)", pytorch.with_shift(false)),
        (Library::PyTorch, "rows and columns (3,2)", pytorch.with_running_statistics(false)),
        (Library::PyTorch, "rows and columns (3,2)", keras),
        (Library::Keras, "rows and columns (5,3)", keras.with_running_variance(RunningVariance::Unbiased)),
        (Library::Keras, "rows and columns (5,3)", keras.with_momentum(Momentum::of_new(0.99))),
        (Library::Keras, "rows and columns (5,3)", flax),
        (Library::Flax, "rows and columns (5,3)", flax.with_running_variance(RunningVariance::Unbiased)),
        (Library::Flax, "rows and columns (5,3)", flax.with_momentum(Momentum::of_old(0.9))),
        (Library::Flax, "rows and columns (5,3)", keras),
    ];
    for (library, name, config) in wrong {
        let case = case::<f64>(library, name);
        assert!(
            !differences(&case, &run(&case, config, Cpu)).is_empty(),
            "{library:?}, {name} agrees with {config:?}"
        );
    }
}

/// 4096 roundings are 5e-13 of a figure in f64, 256 are 2e-5 in f32. (In f64 the library's own errors count
/// too.)
#[test]
fn a_figure_off_by_some_roundings_is_noticed() {
    fn assert_noticed<P: Tested>(name: &str, roundings: f64)
    where
        Cpu: Kernels<P>,
    {
        let case = case::<P>(Library::PyTorch, name);
        let off = |values: &mut [f64]| values[0] += roundings * P::UNIT * values[0].abs().max(1.0);
        for pass in 0..=case.train.len() {
            for what in ["y", "dx", "dgamma", "dbeta"] {
                let mut results = run(&case, case.config, Cpu);
                let spoiled = &mut results[pass];
                off(match what {
                    "y" => &mut spoiled.y,
                    "dx" => &mut spoiled.dx,
                    "dgamma" => spoiled.dgamma.as_mut().unwrap(),
                    _ => spoiled.dbeta.as_mut().unwrap(),
                });
                let found = differences(&case, &results);
                assert!(found.len() == 1 && found[0].contains(what), "pass {pass}, {what}: {found:?}");
            }
        }
        let mut results = run(&case, case.config, Cpu);
        let (mean, variance) = results[2].running.as_mut().unwrap();
        off(mean);
        off(variance);
        results[1].batches = Some(1);
        assert_eq!(differences(&case, &results).len(), 3);
    }
    assert_noticed::<f64>("rows and columns (3,2)", 4096.0);
    assert_noticed::<f32>("f32 rows and columns (3,2)", 256.0);
}

// --- the state under the libraries' names ---

/// Loads the library's state into a new layer, evaluates, and writes the state out again.
fn assert_state_is_at_home<P: Tested>(library: Library, names: Names)
where
    Cpu: Kernels<P>,
{
    for case in agreeing::<P>(library) {
        let state: Vec<(&str, StateValue<P>)> = case
            .state
            .as_object()
            .expect("a state is an object")
            .iter()
            .map(|(name, value)| {
                let counter = value.as_i64().map(StateValue::Counter);
                let per_channel = || StateValue::PerChannel(numbers(value).expect(&case.name));
                (&name[..], counter.unwrap_or_else(per_channel))
            })
            .collect();
        let mut layer = BatchNorm::<P>::new(case.shape.channels(), case.config).expect(&case.name);
        layer.load_state(names, state.clone()).expect(&case.name);

        let step = &case.evaluate;
        let statistics: Vec<_> = match layer.running() {
            Some(running) => {
                let pairs = running.mean.iter().zip(&running.variance);
                pairs.map(|(&mean, &variance)| Statistics::given(mean.into(), variance.into())).collect()
            }
            None => batch_statistics(&case, step),
        };
        let found = evaluate(&layer, &case).expect(&case.name);
        let expected = step.restored.as_ref().unwrap_or(&step.results);
        let wrong = pass_differences(&case, step, &statistics, &found, expected);
        assert!(wrong.is_empty(), "{library:?}, {}:\n  {}", case.name, wrong.join("\n  "));
        if let (Some(running), Some(batches)) = (layer.running(), case.train[2].results.batches) {
            assert_eq!(running.batches, batches, "{}", case.name);
        }

        let mut written = layer.state(names);
        written.sort_by_key(|(name, _)| state.iter().position(|(theirs, _)| theirs == name));
        assert_eq!(written, state, "{library:?}, {}", case.name);
    }
}

#[test]
fn a_pytorch_state_dict_evaluates_as_in_pytorch_and_is_written_as_it_was() {
    assert_state_is_at_home::<f64>(Library::PyTorch, Names::PyTorch);
    assert_state_is_at_home::<f32>(Library::PyTorch, Names::PyTorch);
}

/// Files from before PyTorch 0.4.1 have no counter, and PyTorch takes 0 for it.
#[test]
fn a_pytorch_state_dict_without_counter_counts_from_zero() {
    let case = case::<f64>(Library::PyTorch, "images (3,2,3,4)");
    let mut old = layer(&case, case.config, Cpu);
    for step in &case.train {
        assert_eq!(train(&mut old, &case, step).unwrap().1, RunningUpdate::Applied);
    }
    let mut state = old.state(Names::PyTorch);
    assert_eq!(state.pop(), Some(("num_batches_tracked", StateValue::Counter(3))));
    let mut new = BatchNorm::new(case.shape.channels(), case.config).unwrap();
    new.load_state(Names::PyTorch, state).unwrap();
    assert_eq!(new.running().unwrap().batches, 0);
    assert_eq!(evaluate(&new, &case).unwrap().y, evaluate(&old, &case).unwrap().y);
}

#[test]
fn keras_variables_evaluate_as_in_keras_and_are_written_as_they_were() {
    assert_state_is_at_home::<f64>(Library::Keras, Names::Keras);
    assert_state_is_at_home::<f32>(Library::Keras, Names::Keras);
}

// --- where the engine differs on purpose ---

/// PyTorch counts a batch of nothing, which makes every later batch of `momentum=None` weigh too little.
#[test]
fn an_empty_batch_gives_pytorchs_results_but_is_not_counted() {
    fn assert_not_counted<P: Tested>(name: &str)
    where
        Cpu: Kernels<P>,
    {
        let case = case::<P>(Library::PyTorch, name);
        let mut layer = layer(&case, case.config, Cpu);
        for (step, counted) in case.train.iter().zip(1..) {
            let (mut found, update) = train(&mut layer, &case, step).unwrap();
            assert_eq!(update, RunningUpdate::SkippedEmpty);
            assert_eq!((step.results.batches, found.batches), (Some(counted), Some(0)));
            found.batches = step.results.batches;
            assert_same(&found, &step.results);
        }
        let found = evaluate(&layer, &case).unwrap();
        assert!(found.y.is_empty() && found.dx.is_empty());
        assert_eq!(
            (&found.dgamma, &found.dbeta),
            (&case.evaluate.results.dgamma, &case.evaluate.results.dbeta)
        );
    }
    assert_not_counted::<f64>("zero batch (0,5,9)");
    assert_not_counted::<f32>("f32 zero batch (0,5,9)");
}

fn assert_same(found: &Results, expected: &Results) {
    assert_eq!((&found.y, &found.dx), (&expected.y, &expected.dx));
    assert_eq!((&found.dgamma, &found.dbeta), (&expected.dgamma, &expected.dbeta));
    assert_eq!((&found.running, found.batches), (&expected.running, expected.batches));
}

/// Keras and Flax divide by zero and are left with NaN in their statistics for good.
#[test]
fn an_empty_batch_does_not_poison_the_statistics_as_it_does_in_keras_and_flax() {
    for library in [Library::Keras, Library::Flax] {
        let case = case::<f64>(library, "zero batch (0,3)");
        let mut layer = layer(&case, case.config, Cpu);
        for step in &case.train {
            let (mean, variance) = step.results.running.as_ref().unwrap();
            assert!(mean.iter().chain(variance).all(|value| value.is_nan()), "{library:?}");
            let (found, update) = train(&mut layer, &case, step).unwrap();
            assert_eq!(update, RunningUpdate::SkippedEmpty);
            assert_eq!(found.running, Some((vec![0.0; 3], vec![1.0; 3])));
            assert_eq!((found.dgamma, found.dbeta), (Some(vec![0.0; 3]), Some(vec![0.0; 3])));
        }
    }
}

/// PyTorch raises too, but counts the batch before it does: three refused batches and `num_batches_tracked` is
/// 3.
#[test]
fn one_value_per_channel_is_refused_as_in_pytorch_but_not_counted() {
    for name in [
        "one value per channel (1,4)",
        "one value per channel (1,4,1)",
        "one value per channel counts for the average over batches (1,4)",
    ] {
        let case = case::<f64>(Library::PyTorch, name);
        let mut layer = layer(&case, case.config, Cpu);
        for (step, counted) in case.train.iter().zip(1..) {
            assert!(step.raises.as_ref().unwrap().contains("more than 1 value per channel"), "{name}");
            assert_eq!(step.results.batches, Some(counted), "{name}");
            let error = train(&mut layer, &case, step).unwrap_err();
            assert_eq!(error, Error::OneValuePerChannel { shape: case.shape }, "{name}");
            assert_eq!(layer.running().unwrap().batches, 0, "{name}");
        }
        // Nothing entered the statistics: both evaluate with mean 0 and variance 1.
        let found = evaluate(&layer, &case).unwrap();
        let expected = &case.evaluate.results;
        for (found, expected) in found.y.iter().chain(&found.dx).zip(expected.y.iter().chain(&expected.dx)) {
            assert!((found - expected).abs() <= 8.0 * f64::UNIT * (1.0 + expected.abs()), "{name}");
        }
    }
}

/// PyTorch refuses eps = 0 in training only (and counts the batch before it does). The engine needs eps for
/// constant channels alone.
#[test]
fn eps_zero_trains_where_pytorch_refuses_it() {
    let case = case::<f64>(Library::PyTorch, "eps 0 is refused in training");
    for step in &case.train {
        assert!(step.raises.as_ref().unwrap().contains("eps must be positive during training"));
    }
    // An eps that vanishes beside every variance: all figures must be the same bits.
    let results = run(&case, case.config, Cpu);
    let vanishing = run(&case, case.config.with_eps(1e-300), Cpu);
    for (found, expected) in results.iter().zip(&vanishing) {
        assert_same(found, expected);
    }
}

/// PyTorch's running statistics are NaN from a NaN on; here the batch is left out and the update says so.
#[test]
fn a_nan_flows_through_its_channel_as_in_pytorch_but_not_into_the_running_statistics() {
    let case = case::<f64>(Library::PyTorch, "a NaN in the second batch");
    let mut layer = layer(&case, case.config, Cpu);
    let near =
        |found: f64, expected: f64| (found - expected).abs() <= 1e-12 || found.is_nan() && expected.is_nan();
    let all_near = |found: &[f64], expected: &[f64]| found.iter().zip(expected).all(|(&f, &e)| near(f, e));
    for (index, step) in case.train.iter().enumerate() {
        let before = layer.running().unwrap().clone();
        let (found, update) = train(&mut layer, &case, step).unwrap();
        let expected = &step.results;
        assert!(all_near(&found.y, &expected.y), "step {index}");
        assert!(all_near(&found.dx, &expected.dx), "step {index}");
        assert!(all_near(found.dgamma.as_ref().unwrap(), expected.dgamma.as_ref().unwrap()), "step {index}");
        let poisoned = expected.running.as_ref().unwrap().0[0].is_nan();
        assert_eq!(poisoned, index >= 1, "step {index}");
        if index == 1 {
            assert!(found.y[0].is_nan());
            assert_eq!(update, RunningUpdate::SkippedNonFinite { channels: vec![0] });
            assert_eq!(layer.running().unwrap(), &before);
        } else {
            assert_eq!(update, RunningUpdate::Applied);
        }
    }
    assert_eq!(layer.running().unwrap().batches, 2);
    assert!(case.evaluate.results.y[0].is_nan());
    assert!(evaluate(&layer, &case).unwrap().y.iter().all(|y| y.is_finite()));
}

/// Where PyTorch's evaluation is NaN, the engine says why.
#[test]
fn a_running_variance_driven_below_zero_is_an_error_in_evaluation_where_pytorch_gives_nan() {
    let case = case::<f64>(Library::PyTorch, "momentum -1.2 drives a variance below zero");
    let mut layer = layer(&case, case.config, Cpu);
    for step in &case.train {
        let (found, _) = train(&mut layer, &case, step).unwrap();
        let (found, expected) = (found.running.unwrap().1, step.results.running.as_ref().unwrap());
        for (found, expected) in found.iter().zip(&expected.1) {
            assert!((found / expected - 1.0).abs() <= 1e-13);
        }
    }
    assert!(case.evaluate.results.y.iter().all(|y| y.is_nan()));
    assert!(matches!(evaluate(&layer, &case), Err(Error::InvalidStatistics { channel: 0, .. })));
}
