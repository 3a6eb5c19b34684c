//! Running statistics: training and evaluation, clones, freezing, skipped updates, population statistics.

use batchnorm::{Momentum, Policy, RunningUpdate};
use batchnorm_burn::{BatchNorm, BatchNormConfig, Error};
use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};

mod noise;
use noise::noise;

fn layer(device: &Device) -> BatchNorm {
    BatchNormConfig::new(2).init(device)
}

fn batch(device: &Device) -> Tensor<2> {
    Tensor::from_data([[1.0f32, 10.0], [3.0, 30.0]], device)
}

fn mean(layer: &BatchNorm) -> Vec<f32> {
    layer.running_mean().into_data().try_into_vec().unwrap()
}

fn variance(layer: &BatchNorm) -> Vec<f32> {
    layer.running_var().into_data().try_into_vec().unwrap()
}

#[test]
fn training_takes_a_batch_in_as_pytorch_does() {
    let device = Device::flex().autodiff();
    let layer = layer(&device);
    layer.forward(batch(&device));
    // 0.9 * 0 + 0.1 * (2, 20), and 0.9 * 1 + 0.1 * (2, 200): the unbiased variance.
    assert_eq!((mean(&layer), variance(&layer)), (vec![0.2, 2.0], vec![1.1, 20.9]));
    assert_eq!((layer.num_batches_tracked(), layer.last_update()), (1, Some(RunningUpdate::Applied)));
}

#[test]
fn statistics_can_begin_anew() {
    let device = Device::flex().autodiff();
    let layer = layer(&device);
    layer.forward(batch(&device));
    layer.reset_running_statistics();
    assert_eq!((mean(&layer), variance(&layer)), (vec![0.0, 0.0], vec![1.0, 1.0]));
    assert_eq!((layer.num_batches_tracked(), layer.last_update()), (0, None));
}

#[test]
fn burns_convention_keeps_the_biased_variance() {
    let device = Device::flex().autodiff();
    let layer = BatchNormConfig::new(2).with_settings(batchnorm::BatchNormConfig::burn()).init(&device);
    layer.forward(batch(&device));
    assert_eq!(variance(&layer), [1.0, 10.9]);
}

#[test]
fn a_device_without_autodiff_evaluates_and_changes_nothing() {
    let device = Device::flex();
    let layer = BatchNormConfig::new(2).with_epsilon(0.0).init(&device);
    layer.forward(batch(&device)).into_data().assert_eq(&batch(&device).into_data(), true);
    assert_eq!((layer.num_batches_tracked(), layer.last_update()), (0, None));
}

#[test]
fn valid_evaluates_a_copy_and_train_goes_on() {
    let device = Device::flex().autodiff();
    let layer = layer(&device);
    layer.forward(batch(&device));
    let valid = layer.valid();
    assert_eq!(mean(&valid), mean(&layer));
    assert!(!valid.training.is_enabled() && !valid.running_mean().is_autodiff());
    // Evaluation, even of a tensor on an autodiff device.
    valid.forward(batch(&device));
    layer.forward(batch(&device));
    assert_eq!((valid.num_batches_tracked(), layer.num_batches_tracked()), (1, 2));

    let trained = valid.train();
    assert!(trained.gamma.as_ref().unwrap().is_require_grad());
    trained.forward(batch(&device));
    assert_eq!((trained.num_batches_tracked(), layer.num_batches_tracked()), (2, 2));
}

#[test]
fn clones_share_their_statistics_until_they_are_separated() {
    let device = Device::flex().autodiff();
    let layer = layer(&device);
    let shared = layer.clone();
    let forked = layer.clone().fork(&device);
    let own = layer.clone().with_own_statistics();
    shared.forward(batch(&device));
    forked.forward(batch(&device));
    assert_eq!((layer.num_batches_tracked(), own.num_batches_tracked()), (2, 0));
    own.forward(batch(&device));
    assert_eq!((layer.num_batches_tracked(), own.num_batches_tracked()), (2, 1));
}

#[test]
fn workers_on_other_threads_lose_no_update() {
    let device = Device::flex().autodiff();
    let layer = BatchNormConfig::new(2).with_settings(batchnorm::BatchNormConfig::paper()).init(&device);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let worker = layer.clone().fork(&device);
            let device = device.clone();
            scope.spawn(move || (0..25).for_each(|_| drop(worker.forward(batch(&device)))));
        }
    });
    assert_eq!(layer.num_batches_tracked(), 100);
    assert_eq!(mean(&layer), [2.0, 20.0]);
}

#[test]
fn an_optimizers_step_leaves_statistics_and_sharing_alone() {
    let device = Device::flex().autodiff();
    let layer = layer(&device);
    let other = layer.clone();
    let mut optimizer = SgdConfig::new().init();
    let x = noise([8, 2], 1, (0.0, 1.0), DType::F32, &device);
    let grads = layer.forward(x).powi_scalar(3).sum().backward();
    let grads = GradientsParams::from_grads(grads, &layer);
    assert_eq!(grads.len(), 2);
    let before = layer.running_statistics();
    let layer = optimizer.step(0.1, layer, grads);
    assert_eq!(layer.running_statistics(), before);
    assert_ne!(
        layer.gamma.as_ref().unwrap().val().into_data(),
        other.gamma.as_ref().unwrap().val().into_data()
    );
    layer.forward(batch(&device));
    assert_eq!(other.num_batches_tracked(), 2);
}

#[test]
fn burns_freeze_fixes_statistics_and_parameters() {
    let device = Device::flex().autodiff();
    let layer = layer(&device).freeze();
    let x = batch(&device).require_grad();
    let y = layer.forward(x.clone());
    // The initial statistics and parameters are (up to eps) the identity.
    assert!((y.clone() - x.clone()).abs().max().into_scalar::<f32>() < 1e-3);
    let grads = y.sum().backward();
    assert!(x.grad(&grads).is_some() && layer.gamma.as_ref().unwrap().grad(&grads).is_none());
    assert_eq!(layer.num_batches_tracked(), 0);
    let layer = layer.unfreeze();
    layer.forward(batch(&device));
    assert_eq!(layer.num_batches_tracked(), 1);
}

#[test]
fn frozen_statistics_still_let_every_gradient_flow() {
    let device = Device::flex().autodiff();
    let layer = layer(&device).with_frozen_statistics(true);
    let x = batch(&device).require_grad();
    let grads = layer.forward(x.clone()).sum().backward();
    assert!(x.grad(&grads).is_some());
    assert!(layer.gamma.as_ref().unwrap().grad(&grads).is_some());
    assert!(layer.beta.as_ref().unwrap().grad(&grads).is_some());
    assert_eq!((layer.num_batches_tracked(), layer.last_update()), (0, None));
    // It stays frozen whatever the model around it is switched to.
    let layer = layer.valid().train().unfreeze();
    layer.forward(batch(&device));
    assert_eq!(layer.num_batches_tracked(), 0);
}

#[test]
fn buffers_never_require_gradients() {
    let device = Device::flex().autodiff();
    let layer = layer(&device).freeze().set_require_grad(true);
    assert!(layer.gamma.as_ref().unwrap().is_require_grad());
    assert!(!layer.running_mean().is_require_grad() && !layer.running_var().is_require_grad());
}

#[test]
fn a_batch_with_nan_poisons_nothing_and_says_so() {
    let device = Device::flex().autodiff();
    let layer = layer(&device);
    layer.forward(batch(&device));
    let before = layer.running_statistics();
    layer.forward(Tensor::<2>::from_data([[1.0, 2.0], [3.0, f32::NAN]], &device));
    assert_eq!(layer.last_update(), Some(RunningUpdate::SkippedNonFinite { channels: vec![1] }));
    assert_eq!(layer.running_statistics(), before);

    let strict = batchnorm::BatchNormConfig::pytorch().with_non_finite(Policy::Error);
    let layer = BatchNormConfig::new(2).with_settings(strict).init(&device);
    let error = layer.try_forward(Tensor::<2>::from_data([[1.0, 2.0], [3.0, f32::NAN]], &device));
    assert!(matches!(error, Err(Error::Engine(batchnorm::Error::NonFiniteStatistics { channel: 1, .. }))));
}

#[test]
fn without_running_statistics_evaluation_uses_the_batchs_own() {
    let device = Device::flex();
    let settings = batchnorm::BatchNormConfig::pytorch().with_running_statistics(false).with_eps(0.0);
    let layer = BatchNormConfig::new(2).with_settings(settings).init(&device);
    let y = layer.forward(batch(&device));
    y.into_data().assert_eq(&TensorData::from([[-1.0f32, -1.0], [1.0, 1.0]]), true);
    assert_eq!(layer.num_batches_tracked(), 0);
    assert!(layer.begin_population().is_err());
}

#[test]
fn a_cumulative_average_is_the_plain_average_over_batches() {
    let device = Device::flex().autodiff();
    let settings = batchnorm::BatchNormConfig::pytorch().with_momentum(Momentum::Cumulative);
    let layer = BatchNormConfig::new(2).with_settings(settings).init(&device);
    layer.forward(batch(&device));
    layer.forward(batch(&device) + 2.0);
    assert_eq!(mean(&layer), [3.0, 21.0]);
}

#[test]
fn what_does_not_fit_is_a_typed_error_and_leaves_no_trace() {
    use batchnorm::Error as Engine;
    let device = Device::flex().autodiff();
    let layer = layer(&device);
    let one = layer.try_forward(Tensor::<2>::ones([1, 2], &device));
    assert!(matches!(one, Err(Error::Engine(Engine::OneValuePerChannel { .. }))));
    let channels = layer.try_forward(Tensor::<2>::ones([4, 3], &device));
    assert!(matches!(channels, Err(Error::Engine(Engine::ChannelMismatch { expected: 2, found: 3, .. }))));
    let rank = layer.try_forward(Tensor::<1>::ones([4], &device));
    assert!(matches!(rank, Err(Error::Engine(Engine::InvalidAxis { .. }))));
    let half = Tensor::<2>::ones([4, 2], &device).cast(burn::tensor::FloatDType::F16);
    assert!(matches!(layer.try_forward(half), Err(Error::ElementType { .. })));
    assert_eq!((layer.num_batches_tracked(), layer.last_update()), (0, None));

    assert_eq!(BatchNormConfig::new(0).try_init(&device).unwrap_err(), Engine::NoChannels.into());
    let eps = BatchNormConfig::new(2).with_epsilon(-1.0).try_init(&device);
    assert!(matches!(eps, Err(Error::Engine(Engine::InvalidEps { .. }))));
}

#[test]
#[should_panic(expected = "expected more than one value per channel")]
fn forward_panics_with_the_errors_message() {
    let device = Device::flex().autodiff();
    layer(&device).forward(Tensor::<2>::ones([1, 2], &device));
}

#[test]
fn an_empty_batch_passes_and_is_not_counted() {
    let device = Device::flex().autodiff();
    let layer = layer(&device);
    let y = layer.forward(Tensor::<3>::ones([0, 2, 5], &device));
    assert_eq!(y.dims(), [0, 2, 5]);
    assert_eq!((layer.num_batches_tracked(), layer.last_update()), (0, Some(RunningUpdate::SkippedEmpty)));
}

#[test]
fn population_statistics_replace_the_averages_and_touch_nothing_else() {
    let device = Device::flex().autodiff();
    let layer = layer(&device);
    layer.forward(batch(&device));
    let before = layer.running_statistics();

    layer.begin_population().unwrap();
    let y = layer.forward(batch(&device));
    layer.forward(batch(&device) * 3.0);
    assert_eq!(layer.running_statistics(), before);
    // The batch's own statistics normalize meanwhile.
    assert!(y.mean().into_scalar::<f32>().abs() < 1e-6);
    let population = layer.finish_population().unwrap();
    assert_eq!((population.batches(), population.skipped()), (2, 0));
    // Means 2 and 6, 20 and 60; unbiased variances 2 and 18, 200 and 1800.
    assert_eq!((mean(&layer), variance(&layer)), (vec![4.0, 40.0], vec![10.0, 1000.0]));
    assert_eq!(layer.num_batches_tracked(), 1);

    // Training goes on as before.
    layer.forward(batch(&device));
    assert_eq!(layer.num_batches_tracked(), 2);
}

#[test]
fn a_population_can_be_collected_without_autodiff() {
    let device = Device::flex();
    let layer = layer(&device);
    layer.begin_population().unwrap();
    layer.forward(batch(&device));
    layer.finish_population().unwrap();
    assert_eq!((mean(&layer), variance(&layer)), (vec![2.0, 20.0], vec![2.0, 200.0]));
}

#[test]
fn a_population_of_nothing_leaves_the_statistics() {
    let device = Device::flex();
    let layer = layer(&device);
    layer.begin_population().unwrap();
    assert_eq!(layer.finish_population().unwrap_err(), batchnorm::Error::NoBatches.into());
    assert_eq!(variance(&layer), [1.0, 1.0]);
}

#[test]
fn the_layer_shows_itself_and_its_parameters() {
    let layer = layer(&Device::flex());
    // gamma, beta and both running statistics, as Burn counts them.
    assert_eq!(layer.num_params(), 8);
    let shown = layer.to_string();
    assert!(shown.contains("num_features: 2") && shown.contains("OfNew(0.1)"), "{shown}");
}

#[test]
fn a_configuration_survives_its_file() {
    use burn::config::Config;
    let config =
        BatchNormConfig::new(7).with_settings(batchnorm::BatchNormConfig::keras()).with_channel_axis(-1);
    let json = config.to_string();
    let read = BatchNormConfig::load_binary(json.as_bytes()).unwrap();
    assert_eq!((read.num_features, read.settings, read.channel_axis), (7, config.settings, -1));
}
