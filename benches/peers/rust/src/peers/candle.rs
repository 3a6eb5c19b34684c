//! Candle's layer on its CPU device.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{BatchNorm, ModuleT};

use crate::clock::{Clock, timed};
use crate::problem::{EPS, MOMENTUM, Op, Problem};

pub fn run(problem: &Problem, op: Op, clock: &mut Clock) -> std::result::Result<Vec<f32>, String> {
    super::channels_first_only(problem)?;
    answer(problem, op, clock).and_then(|answer| answer.flatten_all()?.to_vec1()).map_err(|why| why.to_string())
}

fn answer(problem: &Problem, op: Op, clock: &mut Clock) -> Result<Tensor> {
    let layer = layer(problem)?;
    let tensor = |values: &[f32]| Tensor::from_slice(values, problem.dims.as_slice(), &Device::Cpu);
    let x = tensor(&problem.x)?;
    match op {
        Op::Forward => {
            // A graph is recorded, as in training.
            let x = Var::from_tensor(&x)?;
            clock.repeat(|| {
                let (y, time) = timed(|| layer.forward_t(&x, true));
                y.map(|_| time)
            })?;
            layer.forward_t(&x, true)
        }
        Op::Eval => {
            clock.repeat(|| {
                let (y, time) = timed(|| layer.forward_t(&x, false));
                y.map(|_| time)
            })?;
            layer.forward_t(&x, false)
        }
        Op::Backward => {
            let (x, dy) = (Var::from_tensor(&x)?, tensor(&problem.dy)?);
            clock.repeat(|| {
                let y = layer.forward_t(&x, true)?;
                // The gradient of sum(y dy) for y is dy. The product and the sum are not the layer's: they are
                // timed alone and taken off.
                let loss = (Var::from_tensor(&y)?.as_tensor() * &dy)?.sum_all()?;
                let (gradients, other) = timed(|| loss.backward());
                gradients?;
                let loss = (y * &dy)?.sum_all()?;
                let (gradients, whole) = timed(|| loss.backward());
                gradients.map(|_| whole.saturating_sub(other))
            })?;
            let gradients = (layer.forward_t(&x, true)? * &dy)?.sum_all()?.backward()?;
            gradients.get(&x).cloned().ok_or_else(|| candle_core::Error::Msg("no gradient of x".to_owned()))
        }
    }
}

fn layer(problem: &Problem) -> Result<BatchNorm> {
    let vector = |values: &[f32]| Tensor::from_slice(values, values.len(), &Device::Cpu);
    let parameter =
        |values: &[f32]| Ok::<_, candle_core::Error>(Var::from_tensor(&vector(values)?)?.into_inner());
    BatchNorm::new_with_momentum(
        problem.channels(),
        vector(&problem.running_mean)?,
        vector(&problem.running_variance)?,
        parameter(&problem.gamma)?,
        parameter(&problem.beta)?,
        EPS,
        MOMENTUM,
    )
}
