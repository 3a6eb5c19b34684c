//! The layer's policies and its surface: what it computes, what it refuses, what it leaves alone.

use batchnorm::{
    BatchNorm, BatchNormConfig, Error, Momentum, Policy, RunningStatistics, RunningUpdate, Shape, Wanted,
};
use proptest::prelude::*;

fn shape(outer: usize, channels: usize, inner: usize) -> Shape {
    Shape::new(outer, channels, inner).unwrap()
}

#[test]
fn one_value_per_channel_is_an_error_unless_allowed() {
    let one = shape(1, 3, 1);
    let x = [1.0f32, 2.0, 3.0];
    let mut y = [9.0; 3];
    let mut layer = BatchNorm::<f32>::new(3, BatchNormConfig::pytorch()).unwrap();
    let error = layer.forward_train(one, &x, &mut y).unwrap_err();
    assert_eq!(error, Error::OneValuePerChannel { shape: one });
    assert!(error.to_string().contains("use a larger batch"), "{error}");
    assert_eq!(layer.running().unwrap(), &RunningStatistics::new(3));
    // Evaluation has no such trouble.
    layer.forward_eval(one, &x, &mut y).unwrap();

    for config in [
        BatchNormConfig::keras(),
        BatchNormConfig::flax(),
        BatchNormConfig::onnx(),
        BatchNormConfig::burn(),
        BatchNormConfig::pytorch().with_one_value(Policy::Allow),
    ] {
        let mut layer = BatchNorm::<f32>::new(3, config.with_momentum(Momentum::of_new(0.5))).unwrap();
        let forward = layer.forward_train(one, &x, &mut y).unwrap();
        assert_eq!(y, [0.0; 3], "every output is beta");
        assert_eq!(forward.update, RunningUpdate::Applied);
        assert_eq!(layer.running().unwrap().variance, [0.5; 3], "a variance of 0 enters");
        let mut dx = [9.0; 3];
        let gradients = layer.backward(&forward.saved, &x, &[1.0; 3], Some(&mut dx), Wanted::ALL).unwrap();
        assert_eq!(dx, [0.0; 3]);
        assert_eq!(gradients.gamma.unwrap(), [0.0; 3]);
    }
}

#[test]
fn an_empty_batch_is_an_empty_output_and_leaves_the_statistics_alone() {
    for empty in [shape(0, 5, 9), shape(4, 5, 0)] {
        let mut layer = BatchNorm::<f32>::new(5, BatchNormConfig::pytorch()).unwrap();
        let forward = layer.forward_train::<f32>(empty, &[], &mut []).unwrap();
        assert_eq!(forward.update, RunningUpdate::SkippedEmpty);
        assert_eq!(layer.running().unwrap(), &RunningStatistics::new(5));
        let gradients = layer.backward::<f32>(&forward.saved, &[], &[], Some(&mut []), Wanted::ALL).unwrap();
        assert_eq!(gradients.gamma.unwrap(), [0.0; 5]);
        assert_eq!(gradients.beta.unwrap(), [0.0; 5]);
        layer.forward_eval::<f32>(empty, &[], &mut []).unwrap();

        let config = BatchNormConfig::pytorch().with_empty_batch(Policy::Error);
        let mut strict = BatchNorm::<f32>::new(5, config).unwrap();
        assert_eq!(strict.forward_train::<f32>(empty, &[], &mut []), Err(Error::EmptyBatch { shape: empty }));
    }
}

#[test]
fn eps_zero_is_allowed_until_a_channel_is_constant() {
    let mut layer = BatchNorm::<f64>::new(2, BatchNormConfig::pytorch().with_eps(0.0)).unwrap();
    let mut y = [0.0; 4];
    let _ = layer.forward_train(shape(2, 2, 1), &[1.0, 5.0, 2.0, 7.0], &mut y).unwrap();
    assert_eq!(y, [-1.0, -1.0, 1.0, 1.0]);
    let before = layer.running().unwrap().clone();
    let error = layer.forward_train(shape(2, 2, 1), &[1.0, 0.1, 2.0, 0.1], &mut y).unwrap_err();
    assert_eq!(error, Error::ZeroVariance { channel: 1 });
    assert_eq!(layer.running().unwrap(), &before);
}

#[test]
fn what_does_not_fit_is_named() {
    assert_eq!(BatchNorm::<f32>::new(0, BatchNormConfig::pytorch()).unwrap_err(), Error::NoChannels);
    assert!(matches!(
        BatchNorm::<f32>::new(usize::MAX, BatchNormConfig::pytorch()),
        Err(Error::TooLarge { .. })
    ));
    let mut layer = BatchNorm::<f32>::new(3, BatchNormConfig::pytorch()).unwrap();
    let (two, three) = (shape(2, 2, 1), shape(2, 3, 1));
    let error = layer.forward_train(two, &[0.0f32; 4], &mut [0.0; 4]).unwrap_err();
    assert_eq!(error, Error::ChannelMismatch { expected: 3, found: 2, shape: two });
    let error = layer.forward_train(three, &[0.0f32; 5], &mut [0.0; 6]).unwrap_err();
    assert!(error.to_string().starts_with("`x` must have 6 elements"), "{error}");
    let error = layer.forward_train(three, &[0.0f32; 6], &mut [0.0; 7]).unwrap_err();
    assert!(error.to_string().starts_with("`y` must have 6 elements"), "{error}");
    let saved = layer.forward_eval(three, &[0.0f32; 6], &mut [0.0; 6]).unwrap();
    let error = layer.backward(&saved, &[0.0f32; 6], &[0.0; 5], None, Wanted::ALL).unwrap_err();
    assert!(error.to_string().starts_with("`dy` must have 6 elements"), "{error}");
    let error = layer.set_running(RunningStatistics::new(4)).unwrap_err();
    assert_eq!(error, Error::PerChannelMismatch { what: "mean", expected: 3, found: 4 });
}

#[test]
fn fixed_statistics_need_no_input_unless_gammas_gradient_is_wanted() {
    let layer = BatchNorm::<f32>::new(2, BatchNormConfig::pytorch()).unwrap();
    let (shape, x, dy) = (shape(2, 2, 1), [1.0f32, 2.0, 3.0, 4.0], [1.0f32, 0.0, 2.0, 3.0]);
    let saved = layer.forward_eval(shape, &x, &mut [0.0; 4]).unwrap();
    let mut dx = [0.0; 4];
    let without_gamma = Wanted { gamma: false, beta: true };
    assert!(!saved.needs_input(without_gamma) && saved.needs_input(Wanted::ALL));
    let gradients = layer.backward(&saved, &[], &dy, Some(&mut dx), without_gamma).unwrap();
    assert_eq!((gradients.gamma, gradients.beta), (None, Some(vec![3.0, 3.0])));
    let slope = 1.0 / (1.0f64 + 1e-5).sqrt();
    for (dx, dy) in dx.iter().zip(dy) {
        assert!((f64::from(*dx) - slope * f64::from(dy)).abs() < 1e-6);
    }
    assert!(layer.backward(&saved, &[], &dy, None, Wanted::ALL).is_err());
}

#[test]
fn scale_and_shift_are_independently_optional() {
    let (shape, x) = (shape(3, 2, 1), [1.0f64, -1.0, 2.0, 0.0, 3.0, 4.0]);
    for (scale, shift) in [(false, false), (true, false), (false, true), (true, true)] {
        let config = BatchNormConfig::pytorch().with_scale(scale).with_shift(shift);
        let mut layer = BatchNorm::<f64>::new(2, config).unwrap();
        assert_eq!((layer.gamma().is_some(), layer.beta().is_some()), (scale, shift));
        let mut y = [0.0; 6];
        let forward = layer.forward_train(shape, &x, &mut y).unwrap();
        let mut dx = [0.0; 6];
        let gradients = layer.backward(&forward.saved, &x, &x, Some(&mut dx), Wanted::ALL).unwrap();
        assert_eq!((gradients.gamma.is_some(), gradients.beta.is_some()), (scale, shift));

        let mut full = BatchNorm::<f64>::new(2, BatchNormConfig::pytorch()).unwrap();
        let mut expected = [0.0; 6];
        let _ = full.forward_train(shape, &x, &mut expected).unwrap();
        assert_eq!(y, expected, "a missing gamma is 1, a missing beta 0");
    }
}

#[test]
fn without_tracking_evaluation_uses_the_batch() {
    let config = BatchNormConfig::pytorch().with_running_statistics(false);
    let mut layer = BatchNorm::<f32>::new(1, config).unwrap();
    let (shape, x) = (shape(4, 1, 1), [1.0f32, 2.0, 3.0, 6.0]);
    let (mut trained, mut evaluated) = ([0.0; 4], [0.0; 4]);
    let forward = layer.forward_train(shape, &x, &mut trained).unwrap();
    assert_eq!(forward.update, RunningUpdate::NotTracked);
    layer.forward_eval(shape, &x, &mut evaluated).unwrap();
    assert_eq!(trained, evaluated);
    assert!(layer.running().is_none());
    assert!(matches!(layer.set_running(RunningStatistics::new(1)), Err(Error::NotTracked { .. })));
}

#[test]
fn statistics_that_are_not_finite_are_refused() {
    let mut layer = BatchNorm::<f32>::new(2, BatchNormConfig::pytorch()).unwrap();
    for (mean, variance) in [(f32::NAN, 1.0), (0.0, f32::INFINITY), (0.0, f32::NAN), (f32::INFINITY, 1.0)] {
        let statistics = RunningStatistics { mean: vec![0.0, mean], variance: vec![1.0, variance], batches: 3 };
        let error = layer.set_running(statistics).unwrap_err();
        assert!(matches!(error, Error::InvalidStatistics { channel: 1, .. }), "{error}");
    }
    assert_eq!(layer.running().unwrap(), &RunningStatistics::new(2));
}

/// A converted file may hold a variance of -9e-6 with eps 1e-5 (MobileNet-Caffe#87): what counts is the sum.
#[test]
fn a_negative_variance_is_fine_while_eps_outweighs_it() {
    let mut layer = BatchNorm::<f32>::new(1, BatchNormConfig::pytorch()).unwrap();
    let (shape, mut y) = (shape(1, 1, 1), [0.0f32]);
    let statistics = |variance| RunningStatistics { mean: vec![0.0], variance: vec![variance], batches: 1 };
    layer.set_running(statistics(-9e-6)).unwrap();
    layer.forward_eval(shape, &[1e-3f32], &mut y).unwrap();
    assert!((y[0] - 1.0).abs() < 1e-5, "{y:?}");
    layer.set_running(statistics(-1e-3)).unwrap();
    let error = layer.forward_eval(shape, &[1.0f32], &mut y).unwrap_err();
    assert!(matches!(error, Error::InvalidStatistics { channel: 0, .. }), "{error}");
}

#[test]
fn a_scale_beyond_the_type_is_an_error_and_not_a_nan() {
    let tiny = BatchNormConfig::pytorch().with_eps(1e-80);
    let (shape, mut y) = (shape(3, 1, 1), [0.0f32; 3]);
    let mut layer = BatchNorm::<f32>::new(1, tiny).unwrap();
    let error = layer.forward_train(shape, &[1.0f32, 1.0, 1.0], &mut y).unwrap_err();
    assert!(matches!(error, Error::ScaleOverflow { channel: 0, .. }), "{error}");
    assert_eq!(layer.running().unwrap().batches, 0);
    let mut layer = BatchNorm::<f32>::new(1, tiny.with_eps(0.0)).unwrap();
    let error = layer.forward_train(shape, &[1e-40f32, 2e-40, 3e-40], &mut y).unwrap_err();
    assert!(matches!(error, Error::ScaleOverflow { .. }), "{error}");
    layer.set_running(RunningStatistics { mean: vec![0.0], variance: vec![0.0], batches: 1 }).unwrap();
    assert!(layer.forward_eval(shape, &[1.0f32, 2.0, 3.0], &mut y).is_err());
    // f64 has room for it.
    let mut layer = BatchNorm::<f64>::new(1, tiny).unwrap();
    let _ = layer.forward_train(shape, &[1.0, 1.0, 1.0], &mut [0.0; 3]).unwrap();
}

/// Squares beyond f64: the variance is infinite, and y must not become beta unseen.
#[test]
fn squares_beyond_f64_are_nan_and_told() {
    let config = BatchNormConfig::pytorch().with_running_statistics(false);
    let mut layer = BatchNorm::<f64>::new(1, config).unwrap();
    let mut y = [0.0f64; 4];
    let forward = layer.forward_train(shape(4, 1, 1), &[1e200, -1e200, 2e200, -2e200], &mut y).unwrap();
    assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
    assert_eq!(forward.update, RunningUpdate::NotTracked);
    assert_eq!(forward.saved.non_finite_channels(), [0]);
}

#[test]
fn counters_at_their_end_stay_there() {
    let mut layer = BatchNorm::<f32>::new(1, BatchNormConfig::paper()).unwrap();
    let full = RunningStatistics { mean: vec![0.0], variance: vec![1.0], batches: u64::MAX };
    layer.set_running(full).unwrap();
    let _ = layer.forward_train(shape(2, 1, 1), &[1.0f32, 2.0], &mut [0.0; 2]).unwrap();
    assert_eq!(layer.running().unwrap().batches, u64::MAX);
}

#[test]
fn reset_forgets_the_running_statistics_and_nothing_else() {
    let mut layer = BatchNorm::<f32>::new(1, BatchNormConfig::pytorch()).unwrap();
    layer.gamma_mut().unwrap()[0] = 3.0;
    let _ = layer.forward_train(shape(2, 1, 1), &[1.0f32, 2.0], &mut [0.0; 2]).unwrap();
    layer.reset_running();
    assert_eq!(layer.running().unwrap(), &RunningStatistics::new(1));
    assert_eq!(layer.gamma().unwrap(), [3.0]);
}

#[test]
fn lines_asked_for_ahead_may_begin_just_before_a_run() {
    // In debug builds an index that wraps around is found; three threads cut five channels so that one does.
    let x: Vec<f64> = (0..2 * 5 * 120).map(|i| (i % 7) as f64).collect();
    let (shape, mut y) = (Shape::of(&[2, 5, 120], 1).unwrap(), vec![0.0; x.len()]);
    for threads in 1..=8 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut layer = BatchNorm::<f64>::new(5, BatchNormConfig::keras()).unwrap();
        let _ = pool.install(|| layer.forward_train(shape, &x, &mut y)).unwrap();
    }
}

/// The definition over multi-dimensional indices, without (outer, channels, inner).
fn definition(dims: &[usize], axis: usize, x: &[f64], eps: f64) -> Vec<f64> {
    let channel_of = |flat: usize| flat / dims[axis + 1..].iter().product::<usize>() % dims[axis];
    let mut y = vec![0.0; x.len()];
    for channel in 0..dims[axis] {
        let mine: Vec<usize> = (0..x.len()).filter(|&i| channel_of(i) == channel).collect();
        let n = mine.len() as f64;
        let mean = mine.iter().map(|&i| x[i]).sum::<f64>() / n;
        let variance = mine.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>() / n;
        for i in mine {
            y[i] = (x[i] - mean) / (variance + eps).sqrt();
        }
    }
    y
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_rank_axis_and_thread_count_computes_the_definition(
        (dims, axis) in prop::collection::vec(1usize..7, 1..=5)
            .prop_flat_map(|dims| { let rank = dims.len(); (Just(dims), 0..rank) }),
        stretch in prop::sample::select(vec![1usize, 1, 16, 40]),
        seed in any::<u32>(),
        threads in 1usize..=8,
    ) {
        let mut dims = dims;
        *dims.last_mut().unwrap() *= stretch;
        let len: usize = dims.iter().product();
        let mut state = u64::from(seed);
        let x: Vec<f64> = (0..len).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / 2f64.powi(28) - 4.0
        }).collect();
        let config = BatchNormConfig::keras();
        let negative = axis as isize - dims.len() as isize;
        let shape = Shape::of(&dims, negative).unwrap();
        let mut layer = BatchNorm::<f64>::new(dims[axis], config).unwrap();
        let mut y = vec![0.0; len];
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let _ = pool.install(|| layer.forward_train(shape, &x, &mut y)).unwrap();
        for (found, expected) in y.iter().zip(definition(&dims, axis, &x, config.eps)) {
            // |x - mean| <= 8 and rstd <= 32: f64 roundings of a few hundred.
            prop_assert!((found - expected).abs() < 1e-11, "{found} against {expected}, {dims:?} axis {axis}");
        }
    }
}
