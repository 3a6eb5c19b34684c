//! Gradients against central differences, and what the graph keeps and computes.

use batchnorm_burn::{Activation, BatchNorm, BatchNormConfig, Keep};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

mod noise;
use noise::noise;

fn f64_noise<const D: usize>(dims: [usize; D], salt: u64, device: &Device) -> Tensor<D> {
    noise(dims, salt, (0.5, 1.5), DType::F64, device)
}

/// Two linear maps with the layer and a tanh between them, all in f64.
#[derive(Module, Debug)]
struct Network {
    first: Param<Tensor<2>>,
    norm: BatchNorm,
    second: Param<Tensor<2>>,
}

impl Network {
    fn new(config: BatchNormConfig, device: &Device) -> Self {
        let mut norm = config.init(device);
        norm.gamma = norm.gamma.map(|_| Param::from_tensor(f64_noise([5], 1, device)));
        norm.beta = norm.beta.map(|_| Param::from_tensor(f64_noise([5], 2, device)));
        Self {
            first: Param::from_tensor(f64_noise([4, 5], 3, device)),
            norm,
            second: Param::from_tensor(f64_noise([5, 3], 4, device)),
        }
    }

    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        let hidden = self.norm.forward(x.matmul(self.first.val())).tanh();
        hidden.matmul(self.second.val()).powi_scalar(2).sum()
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().try_into_vec_as().unwrap()
}

/// Checks `gradient` of `loss` at `at` by central differences.
///
/// The difference quotient (f(x + h) - f(x - h)) / 2h errs by h^2 f''' / 6 from truncation and by u |f| / h from
/// rounding, which with h = 1e-5 and u = 1.1e-16 are about 1e-10 f''' and 1e-11 |f|. The losses here are below 1e3 and
/// their third derivatives below 1e4: 1e-6, relative to the largest gradient (or to 1).
fn check<const D: usize>(
    name: &str,
    at: Tensor<D>,
    gradient: Tensor<D>,
    loss: impl Fn(Tensor<D>) -> Tensor<1>,
) {
    let (device, dims) = (at.device(), at.dims());
    let (start, gradient) = (values(at), values(gradient));
    let scale = gradient.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
    let h = 1e-5;
    for index in 0..start.len() {
        let shifted = |by: f64| {
            let mut moved = start.clone();
            moved[index] += by;
            let tensor = Tensor::from_data(TensorData::new(moved, dims), (&device, DType::F64));
            values(loss(tensor))[0]
        };
        let numeric = (shifted(h) - shifted(-h)) / (2.0 * h);
        let error = (numeric - gradient[index]).abs() / scale;
        assert!(error < 1e-6, "{name}[{index}]: {numeric} by differences, {} computed", gradient[index]);
    }
}

/// Every gradient of a small network with this layer in it.
fn network_is_differentiated(config: BatchNormConfig, prepare: impl Fn(BatchNorm) -> BatchNorm) {
    let device = Device::flex().autodiff();
    let mut network = Network::new(config, &device);
    network.norm = prepare(network.norm);
    let x = f64_noise([7, 4], 5, &device).require_grad();
    let grads = network.loss(x.clone()).backward();

    let loss = |network: Network, x: Tensor<2>| network.loss(x);
    check("x", x.clone(), Tensor::from_inner(x.grad(&grads).unwrap()), |moved| loss(network.clone(), moved));
    let first = network.first.val();
    check("first", first.clone(), Tensor::from_inner(first.grad(&grads).unwrap()), |moved| {
        let mut network = network.clone();
        network.first = Param::from_tensor(moved);
        loss(network, x.clone())
    });
    if let Some(gamma) = &network.norm.gamma {
        let gamma = gamma.val();
        check("gamma", gamma.clone(), Tensor::from_inner(gamma.grad(&grads).unwrap()), |moved| {
            let mut network = network.clone();
            network.norm.gamma = Some(Param::from_tensor(moved));
            loss(network, x.clone())
        });
    }
    if let Some(beta) = &network.norm.beta {
        let beta = beta.val();
        check("beta", beta.clone(), Tensor::from_inner(beta.grad(&grads).unwrap()), |moved| {
            let mut network = network.clone();
            network.norm.beta = Some(Param::from_tensor(moved));
            loss(network, x.clone())
        });
    }
}

#[test]
fn gradients_through_batch_statistics_are_those_of_central_differences() {
    network_is_differentiated(BatchNormConfig::new(5), |norm| norm);
}

#[test]
fn gradients_with_frozen_statistics_are_those_of_central_differences() {
    network_is_differentiated(BatchNormConfig::new(5), |norm| norm.with_frozen_statistics(true));
}

#[test]
fn gradients_are_right_with_either_parameter_or_none() {
    for (scale, shift) in [(true, false), (false, true), (false, false)] {
        let settings = batchnorm::BatchNormConfig::pytorch().with_scale(scale).with_shift(shift);
        network_is_differentiated(BatchNormConfig::new(5).with_settings(settings), |norm| norm);
    }
}

#[test]
fn gradients_without_running_statistics_are_those_of_central_differences() {
    let settings = batchnorm::BatchNormConfig::pytorch().with_running_statistics(false);
    network_is_differentiated(BatchNormConfig::new(5).with_settings(settings), |norm| norm);
}

#[test]
fn gradients_from_the_output_are_those_of_central_differences() {
    for activation in [Activation::None, Activation::LeakyRelu { slope: 0.3 }] {
        let config = BatchNormConfig::new(5).with_activation(activation).with_keep(Keep::Output);
        network_is_differentiated(config.clone(), |norm| norm);
        network_is_differentiated(config.clone(), |norm| norm.with_frozen_statistics(true));
        network_is_differentiated(config.with_variant(batchnorm::Variant::Ghost { size: 4 }), |norm| norm);
    }
}

#[test]
fn what_has_no_inverse_cannot_keep_its_output_alone() {
    let device = Device::flex().autodiff();
    let config = BatchNormConfig::new(4).with_keep(Keep::Output);
    let error = |config: BatchNormConfig| config.try_init(&device).unwrap_err().to_string();
    for activation in [Activation::Relu, Activation::LeakyRelu { slope: -0.1 }] {
        let message = error(config.clone().with_activation(activation));
        assert!(message.contains("its slope for negative values is positive"), "{message}");
    }
    let message = error(config.clone().with_variant(batchnorm::Variant::Layer));
    assert!(message.contains("cannot be combined with normalization by groups"), "{message}");
    // The end of a residual block keeps its x, whatever the layer keeps else.
    let x = || f64_noise([6, 4, 5], 3, &device).require_grad();
    let addend = f64_noise([6, 4, 5], 4, &device).neg();
    let gradient = |config: BatchNormConfig| {
        let x = x();
        let y = config.init(&device).forward_add_relu(x.clone(), addend.clone());
        values(x.grad(&y.powi_scalar(2).sum().backward()).unwrap())
    };
    assert_eq!(gradient(config), gradient(BatchNormConfig::new(4)));
}

#[test]
#[should_panic(expected = "channel 1 has gamma 0e0")]
fn a_gamma_of_zero_is_named_where_the_output_alone_is_kept() {
    let device = Device::flex().autodiff();
    let mut layer = BatchNormConfig::new(2).with_keep(Keep::Output).init(&device);
    layer.gamma = Some(Param::from_data([1.0, 0.0], &device));
    let x = f64_noise([6, 2], 7, &device).require_grad();
    layer.forward(x).powi_scalar(2).sum().backward();
}

#[test]
fn gradients_through_a_fused_activation_are_those_of_the_activation_behind() {
    use burn::tensor::activation::{leaky_relu, relu};
    let device = Device::flex().autodiff();
    let leaky = Activation::LeakyRelu { slope: 0.25 };
    for (activation, frozen) in
        [(Activation::Relu, false), (Activation::Relu, true), (leaky, false), (leaky, true)]
    {
        let config = BatchNormConfig::new(4);
        let fused = config.clone().with_activation(activation).init(&device).with_frozen_statistics(frozen);
        let plain = config.init(&device).with_frozen_statistics(frozen);
        let x = f64_noise([6, 4, 5], 21, &device);
        let dy = f64_noise([6, 4, 5], 22, &device);
        let (x_fused, x_plain) = (x.clone().require_grad(), x.detach().require_grad());
        let y_fused = fused.forward(x_fused.clone());
        let y_plain = match activation {
            Activation::Relu => relu(plain.forward(x_plain.clone())),
            _ => leaky_relu(plain.forward(x_plain.clone()), 0.25),
        };
        assert_eq!(values(y_fused.clone()), values(y_plain.clone()));
        let from_fused = (y_fused * dy.clone()).sum().backward();
        let from_plain = (y_plain * dy).sum().backward();
        let pairs = [
            (
                x_fused.grad(&from_fused).unwrap().flatten::<1>(0, 2),
                x_plain.grad(&from_plain).unwrap().flatten(0, 2),
            ),
            (fused.gamma.unwrap().grad(&from_fused).unwrap(), plain.gamma.unwrap().grad(&from_plain).unwrap()),
            (fused.beta.unwrap().grad(&from_fused).unwrap(), plain.beta.unwrap().grad(&from_plain).unwrap()),
        ];
        for (fused, plain) in pairs {
            // The same products in the same order, but for where a sum is rounded: 30 values below 30 in f64, and the
            // parameters' gradients, below 100, rounded to f32.
            let tolerance = if fused.dtype() == DType::F64 { 1e-12 } else { 1e-5 };
            for (fused, plain) in values(fused).into_iter().zip(values(plain)) {
                assert!((fused - plain).abs() < tolerance, "{activation:?}: {fused} against {plain}");
            }
        }
    }
}

#[test]
fn adding_and_relu_in_one_node_are_those_of_three() {
    use burn::tensor::activation::relu;
    let device = Device::flex().autodiff();
    for (scale, shift, frozen) in
        [(true, true, false), (true, false, false), (false, false, false), (true, true, true)]
    {
        let settings = batchnorm::BatchNormConfig::pytorch().with_scale(scale).with_shift(shift);
        let layer = || {
            let mut layer = BatchNormConfig::new(4).with_settings(settings).init(&device);
            layer.gamma = layer.gamma.map(|_| Param::from_tensor(f64_noise([4], 1, &device)));
            layer.beta = layer.beta.map(|_| Param::from_tensor(f64_noise([4], 2, &device)));
            layer.with_frozen_statistics(frozen)
        };
        let (fused, plain) = (layer(), layer());
        let x = || f64_noise([6, 4, 5], 3, &device).require_grad();
        let addend = || f64_noise([6, 4, 5], 4, &device).neg().require_grad();
        let weight = f64_noise([6, 4, 5], 5, &device);
        let (x1, addend1, x2, addend2) = (x(), addend(), x(), addend());
        let y1 = fused.forward_add_relu(x1.clone(), addend1.clone());
        let y2 = relu(plain.forward(x2.clone()) + addend2.clone());
        assert_eq!(values(y1.clone()), values(y2.clone()));
        assert!(values(y1.clone()).contains(&0.0), "the ReLU has something to cut");
        let grads1 = (y1 * weight.clone()).sum().backward();
        let grads2 = (y2 * weight).sum().backward();
        // The same kernels on the same dz: the same bits.
        assert_eq!(values(x1.grad(&grads1).unwrap()), values(x2.grad(&grads2).unwrap()));
        assert_eq!(values(addend1.grad(&grads1).unwrap()), values(addend2.grad(&grads2).unwrap()));
        for (fused, plain) in [(&fused.gamma, &plain.gamma), (&fused.beta, &plain.beta)] {
            if let (Some(fused), Some(plain)) = (fused, plain) {
                let (fused, plain) = (fused.grad(&grads1).unwrap(), plain.grad(&grads2).unwrap());
                assert_eq!(values(fused), values(plain));
            }
        }
        // An addend that nothing is asked of, and one that alone is asked of.
        let constant = f64_noise([6, 4, 5], 4, &device);
        let grads = fused.forward_add_relu(x1.clone(), constant.clone()).sum().backward();
        assert!(x1.grad(&grads).is_some() && constant.grad(&grads).is_none());
        let grads = fused.forward_add_relu(constant.clone(), addend1.clone()).sum().backward();
        assert!(addend1.grad(&grads).is_some() && constant.grad(&grads).is_none());
    }
}

#[test]
fn an_addend_of_another_shape_or_type_is_an_error() {
    let device = Device::flex();
    let layer = BatchNormConfig::new(4).init(&device);
    let x = || Tensor::<3>::ones([6, 4, 5], &device);
    let error = layer.try_forward_add_relu(x(), Tensor::ones([6, 4, 1], &device)).unwrap_err();
    assert!(error.to_string().starts_with("`addend` must have the shape of x"), "{error}");
    let error = layer.try_forward_add_relu(x(), f64_noise([6, 4, 5], 1, &device)).unwrap_err();
    assert!(error.to_string().contains("expected an addend of the input's type F32"), "{error}");
}

#[test]
fn gradients_of_parameters_come_in_the_parameters_type() {
    let device = Device::flex().autodiff();
    let layer = BatchNormConfig::new(5).init(&device);
    let x = f64_noise([6, 5], 6, &device).require_grad();
    let grads = layer.forward(x.clone()).powi_scalar(3).sum().backward();
    let gamma = layer.gamma.unwrap();
    assert_eq!(gamma.val().dtype(), DType::F32);
    assert_eq!(gamma.grad(&grads).unwrap().dtype(), DType::F32);
    assert_eq!(x.grad(&grads).unwrap().dtype(), DType::F64);
}

#[test]
fn a_parameter_that_is_frozen_alone_gets_no_gradient_and_the_others_do() {
    use burn::module::ParamGroup;
    let device = Device::flex().autodiff();
    let layer = BatchNormConfig::new(2).init(&device).freeze_group(ParamGroup::from_path("gamma"));
    let x = f64_noise([6, 2], 7, &device);
    let grads = layer.forward(x).sum().backward();
    assert!(layer.gamma.unwrap().grad(&grads).is_none());
    let beta = values(layer.beta.unwrap().grad(&grads).unwrap());
    assert_eq!(beta, [6.0, 6.0]);
}

#[test]
fn nothing_to_differentiate_is_no_graph() {
    let device = Device::flex().autodiff();
    let layer = BatchNormConfig::new(2).init(&device).no_grad();
    let y = layer.forward(f64_noise([6, 2], 8, &device));
    assert!(!y.is_tracked());
    // `no_grad` is about gradients alone: the batch was still taken in.
    assert_eq!(layer.num_batches_tracked(), 1);
}

#[test]
fn batch_statistics_survive_a_mean_a_million_deviations_away() {
    // An f32 mean of 1e6 is wrong by up to 0.03; the statistics that the backward pass uses are f64.
    let device = Device::flex().autodiff();
    let layer = BatchNormConfig::new(1).with_epsilon(0.0).init(&device);
    let steps: Vec<f32> = (0..64).map(|step| 1e6 + (step % 4) as f32).collect();
    let x = Tensor::<2>::from_data(TensorData::new(steps, [64, 1]), &device).require_grad();
    let weights = noise([64, 1], 1, (0.0, 1.0), DType::F32, &device);
    let grads = (layer.forward(x.clone()) * weights.clone()).sum().backward();
    let near = Tensor::<2>::from_inner(x.clone().inner() - 1e6).require_grad();
    let grads_near = (layer.forward(near.clone()) * weights).sum().backward();
    // x - 1e6 is exact in f32 here, so both see the same deviations: the same bits but for the mean's last.
    let (far, near) = (values(x.grad(&grads).unwrap()), values(near.grad(&grads_near).unwrap()));
    for (far, near) in far.iter().zip(near) {
        assert!((far - near).abs() < 4.0 * f64::from(f32::EPSILON), "{far} against {near}");
    }
}

#[test]
fn gradient_checkpointing_changes_no_gradient_and_counts_no_batch_twice() {
    let run = |device: Device| {
        let layer = BatchNormConfig::new(3).init(&device);
        let data: Vec<f32> = (0..24).map(|i| (i * i % 17) as f32).collect();
        let x = Tensor::<2>::from_data(TensorData::new(data, [8, 3]), &device).require_grad();
        // Memory-bound operations on both sides: with checkpointing, x of the layer is computed again.
        let y = layer.forward((x.clone() * 2.0 + 1.0).abs()).tanh() * 3.0;
        let grads = y.powi_scalar(3).sum().backward();
        let gamma = layer.gamma.as_ref().unwrap().grad(&grads).unwrap();
        assert_eq!(layer.num_batches_tracked(), 1);
        (x.grad(&grads).unwrap().into_data(), gamma.into_data(), layer.running_var().into_data())
    };
    let plain = run(Device::flex().autodiff());
    let checkpointed = run(Device::flex().autodiff().gradient_checkpointing());
    plain.0.assert_eq(&checkpointed.0, true);
    plain.1.assert_eq(&checkpointed.1, true);
    plain.2.assert_eq(&checkpointed.2, true);
}

#[test]
fn x_is_kept_only_where_the_backward_pass_reads_it() {
    use batchnorm::{Cpu, Epilogue, Parameters, Shape, View, ViewMut, passes};
    use batchnorm_burn::ops::Forward;
    use std::sync::Arc;
    let shape = Shape::channels_first(&[2, 1]).unwrap();
    let config = batchnorm::BatchNormConfig::pytorch();
    let x = View::new("x", shape, &[1.0f32, 2.0]).unwrap();
    let mut out = [0.0f32; 2];
    let y = ViewMut::new("y", shape, &mut out).unwrap();
    let fixed =
        passes::forward_fixed(&Cpu, &config, Parameters::default(), &[0.0], &[1.0], x, Epilogue::None, y);
    let y = ViewMut::new("y", shape, &mut out).unwrap();
    let batch = passes::forward_train(&Cpu, &config, Parameters::default(), x, Epilogue::None, y);
    let needs = |saved: &batchnorm::Saved, activation, x, gamma| {
        let forward = Forward {
            saved: Arc::new(saved.clone()),
            axis: 1,
            activation,
            adds: false,
            keeps_output: false,
            mask: None,
            exchange: None,
        };
        forward.needs_input(x, gamma)
    };
    let (fixed, batch) = (fixed.unwrap(), batch.unwrap());
    assert!(!needs(&fixed, Activation::None, true, false));
    assert!(needs(&fixed, Activation::None, true, true));
    assert!(needs(&fixed, Activation::Relu, true, false));
    assert!(needs(&batch, Activation::None, true, false));
    // Only beta's gradient is wanted: a sum of dy.
    assert!(!needs(&batch, Activation::None, false, false));
}
