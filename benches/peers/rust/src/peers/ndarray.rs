//! The formulas, written down with ndarray's operations as a user does who wants them right and short. ndarray runs
//! them on one thread.

use ndarray::{Array1, Array3, ArrayView1, ArrayView3, Axis, Zip};

use crate::clock::{Clock, timed};
use crate::problem::{EPS, Layout, MOMENTUM, Op, Problem};

pub fn run(problem: &Problem, op: Op, clock: &mut Clock) -> Result<Vec<f32>, String> {
    let x = tensor(problem, &problem.x);
    let mut layer = BatchNorm::new(problem);
    let answer = match op {
        Op::Forward => {
            clock.repeat(|| Ok::<_, String>(timed(|| layer.forward(x)).1))?;
            layer.forward(x).y
        }
        Op::Eval => {
            clock.repeat(|| Ok::<_, String>(timed(|| layer.evaluate(x)).1))?;
            layer.evaluate(x)
        }
        Op::Backward => {
            let dy = tensor(problem, &problem.dy);
            let saved = layer.forward(x);
            clock.repeat(|| Ok::<_, String>(timed(|| layer.backward(&saved, dy)).1))?;
            layer.backward(&saved, dy).0
        }
    };
    // In the order of the memory of x.
    let in_order = match problem.layout {
        Layout::ChannelsFirst => answer,
        Layout::ChannelsLast => answer.permuted_axes([0, 2, 1]),
    };
    Ok(in_order.iter().copied().collect())
}

/// Batch, channels, positions; a view with the strides of the layout.
fn tensor<'a>(problem: &Problem, values: &'a [f32]) -> ArrayView3<'a, f32> {
    let (batch, channels, spatial) = (problem.batch(), problem.channels(), problem.spatial());
    let view = |shape| ArrayView3::from_shape(shape, values).expect("as many values as the shape says");
    match problem.layout {
        Layout::ChannelsFirst => view((batch, channels, spatial)),
        Layout::ChannelsLast => view((batch, spatial, channels)).permuted_axes([0, 2, 1]),
    }
}

struct BatchNorm<'a> {
    gamma: ArrayView1<'a, f32>,
    beta: ArrayView1<'a, f32>,
    running_mean: Array1<f32>,
    running_variance: Array1<f32>,
}

/// What the backward pass needs.
struct Saved {
    xhat: Array3<f32>,
    rstd: Array1<f32>,
    y: Array3<f32>,
}

impl<'a> BatchNorm<'a> {
    fn new(problem: &'a Problem) -> Self {
        Self {
            gamma: ArrayView1::from(&problem.gamma),
            beta: ArrayView1::from(&problem.beta),
            running_mean: Array1::from(problem.running_mean.clone()),
            running_variance: Array1::from(problem.running_variance.clone()),
        }
    }

    fn forward(&mut self, x: ArrayView3<f32>) -> Saved {
        let count = (x.len_of(Axis(0)) * x.len_of(Axis(2))) as f32;
        let mean = mean(x);
        let centred = &x - &per_channel(&mean);
        let variance = self::mean((&centred * &centred).view());
        let rstd = variance.mapv(|variance| 1.0 / (variance + EPS as f32).sqrt());
        let xhat = centred * per_channel(&rstd);
        let y = &xhat * &self.gamma.insert_axis(Axis(1)) + self.beta.insert_axis(Axis(1));
        let momentum = MOMENTUM as f32;
        let unbiased = variance * (count / (count - 1.0));
        self.running_mean.zip_mut_with(&mean, |old, new| *old += momentum * (new - *old));
        self.running_variance.zip_mut_with(&unbiased, |old, new| *old += momentum * (new - *old));
        Saved { xhat, rstd, y }
    }

    /// dx, dgamma, dbeta.
    fn backward(&self, saved: &Saved, dy: ArrayView3<f32>) -> (Array3<f32>, Array1<f32>, Array1<f32>) {
        let count = (dy.len_of(Axis(0)) * dy.len_of(Axis(2))) as f32;
        let dbeta = sum(dy);
        let dgamma = sum((&dy * &saved.xhat).view());
        let (mean_dy, mean_dy_xhat) = (&dbeta / count, &dgamma / count);
        let inner = &dy - &per_channel(&mean_dy) - &saved.xhat * &per_channel(&mean_dy_xhat);
        let dx = inner * per_channel(&(&self.gamma * &saved.rstd));
        (dx, dgamma, dbeta)
    }

    fn evaluate(&self, x: ArrayView3<f32>) -> Array3<f32> {
        let scale = Zip::from(&self.gamma)
            .and(&self.running_variance)
            .map_collect(|gamma, variance| gamma / (variance + EPS as f32).sqrt());
        let shift = &self.beta - &self.running_mean * &scale;
        &x * &per_channel(&scale) + per_channel(&shift)
    }
}

fn mean(x: ArrayView3<f32>) -> Array1<f32> {
    sum(x) / (x.len_of(Axis(0)) * x.len_of(Axis(2))) as f32
}

fn sum(x: ArrayView3<f32>) -> Array1<f32> {
    x.sum_axis(Axis(2)).sum_axis(Axis(0))
}

fn per_channel(values: &Array1<f32>) -> ndarray::ArrayView2<'_, f32> {
    values.view().insert_axis(Axis(1))
}
