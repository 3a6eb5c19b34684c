//! Burn's stock layer on its CPU backend, Flex; on an autodiff device in training, on a plain one in evaluation.

use burn::module::{Module, Param, RunningState};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor, TensorData};

use crate::clock::{Clock, timed};
use crate::problem::{EPS, MOMENTUM, Op, Problem};

pub fn run(problem: &Problem, op: Op, clock: &mut Clock) -> Result<Vec<f32>, String> {
    super::channels_first_only(problem)?;
    match problem.dims.len() {
        2 => of_rank::<2>(problem, op, clock),
        3 => of_rank::<3>(problem, op, clock),
        4 => of_rank::<4>(problem, op, clock),
        _ => of_rank::<5>(problem, op, clock),
    }
}

fn of_rank<const D: usize>(problem: &Problem, op: Op, clock: &mut Clock) -> Result<Vec<f32>, String> {
    let device = Device::flex().autodiff();
    let layer = layer(problem, &device);
    let x: Tensor<D> = tensor(&problem.x, &problem.dims, &device);
    let answer = match op {
        Op::Forward => {
            let forward = || layer.forward(x.clone().require_grad());
            clock.repeat(|| Ok::<_, String>(timed(forward).1))?;
            forward()
        }
        Op::Eval => {
            let (layer, x) = (layer.valid(), x.inner());
            let forward = || layer.forward(x.clone());
            clock.repeat(|| Ok::<_, String>(timed(forward).1))?;
            forward()
        }
        Op::Backward => {
            let dy: Tensor<D> = tensor(&problem.dy, &problem.dims, &device);
            clock.repeat(|| {
                let x = x.clone().require_grad();
                let y = layer.forward(x);
                // The gradient of sum(y dy) for y is dy. The product and the sum are not the layer's: they are
                // timed alone and taken off.
                let around = Tensor::<D>::from_inner(y.clone().inner()).require_grad();
                let loss = (around * dy.clone()).sum();
                let (_, other) = timed(|| loss.backward());
                let loss = (y * dy.clone()).sum();
                let (_, whole) = timed(|| loss.backward());
                Ok::<_, String>(whole.saturating_sub(other))
            })?;
            let x = x.require_grad();
            let gradients = (layer.forward(x.clone()) * dy).sum().backward();
            x.grad(&gradients).ok_or("no gradient of x")?
        }
    };
    answer.into_data().try_to_vec::<f32>().map_err(|problem| format!("{problem:?}"))
}

fn layer(problem: &Problem, device: &Device) -> BatchNorm {
    let channels = problem.channels();
    let vector = |values: &[f32]| tensor::<1>(values, &[channels], device);
    let mut layer = BatchNormConfig::new(channels).with_epsilon(EPS).with_momentum(MOMENTUM).init(device);
    layer.gamma = Param::from_tensor(vector(&problem.gamma));
    layer.beta = Param::from_tensor(vector(&problem.beta));
    layer.running_mean = RunningState::new(vector(&problem.running_mean));
    layer.running_var = RunningState::new(vector(&problem.running_variance));
    layer
}

fn tensor<const D: usize>(values: &[f32], dims: &[usize], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), dims.to_vec()), device)
}
