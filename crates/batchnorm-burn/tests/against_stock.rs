//! Burn's own layer is the judge, under the settings that name its convention.

use batchnorm_burn::{Activation, BatchNorm, BatchNormConfig, Error};
use burn::module::{Module, Param, RunningState};
use burn::nn;
use burn::tensor::{DType, Device, Tensor, TensorData};

mod noise;
use noise::noise;

/// The largest difference of two tensors.
fn difference<const D: usize>(ours: Tensor<D>, theirs: Tensor<D>) -> f64 {
    let ours: Vec<f64> = ours.into_data().try_into_vec_as().unwrap();
    let theirs: Vec<f64> = theirs.into_data().try_into_vec_as().unwrap();
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn f32_noise<const D: usize>(dims: [usize; D], salt: u64, device: &Device) -> Tensor<D> {
    noise(dims, salt, (0.0, 1.0), DType::F32, device)
}

/// A stock layer with parameters and statistics that are not the initial ones.
fn stock(channels: usize, dtype: DType, device: &Device) -> nn::BatchNorm {
    let ramp = |from: f64, step: f64| {
        let values: Vec<f64> = (0..channels).map(|channel| from + step * channel as f64).collect();
        Tensor::<1>::from_data(TensorData::new(values, [channels]), (device, dtype))
    };
    let mut layer = nn::BatchNormConfig::new(channels).init(device);
    layer.gamma = Param::from_tensor(ramp(0.5, 0.25));
    layer.beta = Param::from_tensor(ramp(-1.0, 0.25));
    layer.running_mean = RunningState::new(ramp(0.125, -0.5));
    layer.running_var = RunningState::new(ramp(0.75, 0.5));
    layer
}

/// Training forward and backward, running statistics, evaluation: all as the stock layer's, where `unit` is the unit
/// roundoff of `dtype`.
///
/// The tolerances: the stock layer sums the n values of a channel one after the other, so a sum is off by at most
/// n u times the sum of the magnitudes, and a mean by n u times the largest magnitude. Here |x| < 9, |xhat| < 4,
/// |gamma| <= 2, deviation 2, |dy| < 3: y and the running statistics, of magnitude up to 9, are off by n u 9 twice
/// (mean and variance) and a few roundings. dgamma = sum(dy xhat) sums n terms below 12, off by n u 12 n. dx carries
/// dgamma / n times xhat. So 50 n u holds for all but the sums over n, and n times that for those; most roundings
/// cancel, and a fifth of it is asked.
fn agrees<const D: usize>(dims: [usize; D], dtype: DType, unit: f64) {
    let device = Device::flex().autodiff();
    let theirs = stock(dims[1], dtype, &device);
    let ours = BatchNorm::from(theirs.clone());
    let n = (dims.iter().product::<usize>() / dims[1]) as f64;
    let tolerance = 10.0 * n * unit;
    let close = |what, ours: Tensor<1>, theirs: Tensor<1>, tolerance| {
        let difference = difference(ours, theirs);
        assert!(difference < tolerance, "{what} of {dims:?} differs by {difference}, more than {tolerance}");
    };

    for step in 0..3 {
        let x = noise(dims, step, (3.0, 2.0), dtype, &device);
        let dy = noise(dims, 10 + step, (0.0, 1.0), dtype, &device);
        let (x_ours, x_theirs) = (x.clone().require_grad(), x.detach().require_grad());
        let y_ours = ours.forward(x_ours.clone());
        let y_theirs = theirs.forward(x_theirs.clone());
        close("y", y_ours.clone().flatten(0, D - 1), y_theirs.clone().flatten(0, D - 1), tolerance);

        let from_ours = (y_ours * dy.clone()).sum().backward();
        let from_theirs = (y_theirs * dy).sum().backward();
        let dx = [x_ours.grad(&from_ours), x_theirs.grad(&from_theirs)];
        let [dx_ours, dx_theirs] = dx.map(|dx| dx.unwrap().flatten(0, D - 1));
        close("dx", dx_ours, dx_theirs, tolerance);
        for (what, ours, theirs) in
            [("dgamma", &ours.gamma, &theirs.gamma), ("dbeta", &ours.beta, &theirs.beta)]
        {
            let ours = ours.as_ref().unwrap().grad(&from_ours).unwrap();
            close(what, ours, theirs.grad(&from_theirs).unwrap(), n * tolerance);
        }
        close("mean", ours.running_mean(), theirs.running_mean.value_sync(), tolerance);
        close("variance", ours.running_var(), theirs.running_var.value_sync(), tolerance);
    }
    let x = noise(dims, 99, (3.0, 2.0), dtype, &device).inner();
    let (ours, theirs) = (ours.valid().forward(x.clone()), theirs.valid().forward(x));
    close("evaluation", ours.flatten(0, D - 1), theirs.flatten(0, D - 1), tolerance);
}

const F32: f64 = f32::EPSILON as f64 / 2.0;
const F64: f64 = f64::EPSILON / 2.0;

#[test]
fn every_rank_agrees_with_the_stock_layer_in_f32() {
    agrees([60, 7], DType::F32, F32);
    agrees([6, 5, 9], DType::F32, F32);
    agrees([4, 3, 8, 15], DType::F32, F32);
    agrees([2, 3, 4, 5, 6], DType::F32, F32);
    agrees([2, 3, 2, 2, 3, 4], DType::F32, F32);
}

#[test]
fn every_rank_agrees_with_the_stock_layer_in_f64() {
    agrees([60, 7], DType::F64, F64);
    agrees([6, 5, 9], DType::F64, F64);
    agrees([4, 3, 8, 15], DType::F64, F64);
    agrees([2, 3, 4, 5, 6], DType::F64, F64);
}

#[test]
fn a_view_that_is_not_contiguous_gives_what_its_copy_gives() {
    let device = Device::flex().autodiff();
    let layer = BatchNormConfig::new(5).init(&device);
    let x = f32_noise([6, 9, 5], 27, &device).require_grad();
    let view = x.clone().swap_dims(1, 2);
    let copy = Tensor::<3>::from_data(view.to_data(), &device).require_grad();
    let (y_view, y_copy) = (layer.forward(view), layer.forward(copy.clone()));
    y_view.to_data().assert_eq(&y_copy.to_data(), true);
    // The gradient of y arrives as a broadcast scalar, which is not contiguous either.
    let weights = f32_noise([6, 5, 9], 27, &device);
    let from_view = (y_view * weights.clone()).mean().backward();
    let from_copy = (y_copy * weights).mean().backward();
    let (dx, dx_copy) = (x.grad(&from_view).unwrap(), copy.grad(&from_copy).unwrap());
    dx.swap_dims(1, 2).to_data().assert_eq(&dx_copy.to_data(), true);
}

#[test]
fn part_of_a_batch_is_read_where_it_lies() {
    let device = Device::flex();
    let layer = BatchNormConfig::new(3).init(&device);
    let x = f32_noise([10, 3], 14, &device);
    let part = x.clone().slice([4..8, 0..3]);
    let copy = Tensor::<2>::from_data(part.to_data(), &device);
    layer.forward(part).to_data().assert_eq(&layer.forward(copy).to_data(), true);
}

#[test]
fn channels_last_is_channels_first_transposed() {
    let device = Device::flex().autodiff();
    let first = BatchNormConfig::new(4).init(&device);
    let last = BatchNormConfig::new(4).with_channel_axis(-1).init(&device);
    let x = f32_noise([3, 4, 5, 6], 48, &device);
    let from_last = last.forward(x.clone().permute([0, 2, 3, 1])).permute([0, 3, 1, 2]);
    // The two layouts sum in different orders, in f64: equal to the last bits of f32, and |y| < 4.
    assert!(difference(from_last, first.forward(x)) < 4.0 * f64::from(f32::EPSILON));
    assert!(difference(last.running_var(), first.running_var()) < 2.0 * f64::from(f32::EPSILON));
}

#[test]
fn an_option_that_the_stock_layer_lacks_does_not_convert() {
    let device = Device::flex();
    let settings = batchnorm::BatchNormConfig::burn();
    let convert = |config: BatchNormConfig| nn::BatchNorm::try_from(config.init(&device));
    let with = |settings| convert(BatchNormConfig::new(2).with_settings(settings));

    assert!(with(settings).is_ok());
    let refused = [
        with(batchnorm::BatchNormConfig::pytorch()),
        with(settings.with_momentum(batchnorm::Momentum::Cumulative)),
        with(settings.with_shift(false)),
        with(settings.with_scale(false)),
        with(settings.with_running_statistics(false)),
        with(settings.with_eps(0.0)),
        convert(BatchNormConfig::new(2).with_settings(settings).with_channel_axis(-1)),
        convert(BatchNormConfig::new(2).with_settings(settings).with_activation(Activation::Relu)),
    ];
    for result in refused {
        assert!(matches!(result, Err(Error::NotInStock { .. })), "{result:?}");
    }
}

#[test]
fn there_and_back_again_is_the_same_layer() {
    let device = Device::flex();
    let before = stock(3, DType::F32, &device);
    let after = nn::BatchNorm::try_from(BatchNorm::from(before.clone())).unwrap();
    assert_eq!((before.gamma.id, before.beta.id), (after.gamma.id, after.beta.id));
    assert_eq!((before.epsilon, before.momentum), (after.epsilon, after.momentum));
    let x = f32_noise([4, 3], 12, &device);
    before.forward(x.clone()).to_data().assert_eq(&after.forward(x).to_data(), true);
}
