//! What the definition implies, whatever the data.

use batchnorm::{Kernels, Moments, Shape, View};

use super::accuracy::Input;
use super::data::{Random, elements, shapes};

const EPS: f64 = 1e-3;

/// f64 roundings of sums of n terms of size up to 100, with ten for each term.
fn tolerance(shape: Shape) -> f64 {
    2f64.powi(-53) * 1000.0 * (shape.positions() as f64 + 1.0)
}

/// Input with gamma 1 and beta 0, so that y is xhat.
fn plain(shape: Shape, seed: u64) -> Input<f64> {
    let mut input = Input::<f64>::normal(shape, -2.0, 3.0, seed);
    input.gamma.fill(1.0);
    input.beta.fill(0.0);
    input
}

/// sum xhat = 0 and mean xhat^2 = var / (var + eps).
pub fn normalized_values_have_mean_zero_and_the_stated_variance(kernels: &impl Kernels<f64>) {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let found = plain(shape, seed as u64).through(kernels, EPS);
        for channel in 0..shape.channels() {
            let variance = found.moments[channel].biased_variance();
            let sum: f64 = elements(shape, channel).map(|i| found.y[i]).sum();
            let squares: f64 = elements(shape, channel).map(|i| found.y[i].powi(2)).sum();
            assert!(sum.abs() <= tolerance(shape), "{shape}: sum xhat = {sum:e}");
            let expected = variance / (variance + EPS);
            let found = squares / shape.positions() as f64;
            assert!((found - expected).abs() <= tolerance(shape), "{shape}: {found} against {expected}");
        }
    }
}

/// |xhat| <= sqrt(n - 1), reached by one value far from n - 1 equal ones.
pub fn normalized_values_are_bounded(kernels: &impl Kernels<f64>) {
    for shape in shapes().into_iter().filter(|shape| shape.positions() > 1) {
        let mut input = plain(shape, 0);
        input.x.fill(1.0);
        for channel in 0..shape.channels() {
            let last = elements(shape, channel).last().unwrap();
            input.x[last] = 1e6;
        }
        let found = input.through(kernels, 0.0);
        let bound = (shape.positions() as f64 - 1.0).sqrt();
        for channel in 0..shape.channels() {
            let last = elements(shape, channel).last().unwrap();
            let slack = tolerance(shape);
            assert!((found.y[last] / bound - 1.0).abs() <= slack, "{shape}: {} against {bound}", found.y[last]);
            assert!(elements(shape, channel).all(|i| found.y[i].abs() <= bound * (1.0 + slack)));
        }
    }
}

/// n = 2 gives +-1 as eps goes to 0.
pub fn two_values_normalize_to_plus_and_minus_one(kernels: &impl Kernels<f64>) {
    for (outer, inner) in [(2, 1), (1, 2)] {
        let shape = Shape::new(outer, 7, inner).unwrap();
        for y in plain(shape, 3).through(kernels, 0.0).y {
            assert!((y.abs() - 1.0).abs() <= 1e-14, "{y}");
        }
    }
}

/// sum dx = 0, and sum dx xhat = a eps / (var + eps) sum(dy xhat) with a = gamma / sqrt(var + eps).
pub fn input_gradients_sum_to_zero_alone_and_against_xhat(kernels: &impl Kernels<f64>) {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let input = Input::<f64>::normal(shape, -2.0, 3.0, seed as u64);
        let found = input.through(kernels, EPS);
        for channel in 0..shape.channels() {
            let variance = found.moments[channel].biased_variance();
            let (mean, rstd) = (found.moments[channel].mean, 1.0 / (variance + EPS).sqrt());
            let scale = input.gamma[channel] * rstd;
            let sum: f64 = elements(shape, channel).map(|i| found.dx[i]).sum();
            let product: f64 = elements(shape, channel).map(|i| found.dx[i] * (input.x[i] - mean) * rstd).sum();
            let bound = tolerance(shape) * (1.0 + scale.abs());
            assert!(sum.abs() <= bound, "{shape}: sum dx = {sum:e}");
            let expected = scale * EPS / (variance + EPS) * found.sums[channel].dy_xhat;
            assert!((product - expected).abs() <= bound, "{shape}: {product:e} against {expected:e}");
        }
    }
}

/// For a > 0, BN(a x) = BN(x) and dx scales by 1 / a, as eps goes to 0.
pub fn scaling_the_input_changes_nothing_but_the_gradient_scale(kernels: &impl Kernels<f64>) {
    for shape in shapes().into_iter().filter(|shape| shape.positions() > 1) {
        let input = Input::<f64>::normal(shape, 1.0, 1.0, 8);
        let mut scaled = Input::<f64>::normal(shape, 1.0, 1.0, 8);
        let a = 37.0;
        scaled.x.iter_mut().for_each(|x| *x *= a);
        let (small, large) = (input.through(kernels, 0.0), scaled.through(kernels, 0.0));
        // Two nearly equal values lose digits in their difference: relative to the largest slope.
        let size = small.moments.iter().map(|m| m.biased_variance().sqrt().recip()).fold(1.0, f64::max);
        for i in 0..shape.len() {
            let bound = tolerance(shape) * size;
            assert!((small.y[i] - large.y[i]).abs() <= bound, "{shape}");
            assert!((small.dx[i] - a * large.dx[i]).abs() <= bound * size * 10.0, "{shape}");
        }
    }
}

/// <w, dw> = 0 for the weights of a linear map before it, as eps goes to 0: the loss does not depend on |w|.
pub fn weights_before_it_have_orthogonal_gradients(kernels: &impl Kernels<f64>) {
    let (rows, inputs, channels) = (50, 7, 5);
    let mut random = Random::new(21);
    let u: Vec<f64> = random.normals(rows * inputs, 0.0, 1.0);
    let w: Vec<f64> = random.normals(inputs * channels, 0.0, 1.0);
    let shape = Shape::new(rows, channels, 1).unwrap();
    let mut input = Input::<f64>::normal(shape, 0.0, 1.0, 22);
    for row in 0..rows {
        for channel in 0..channels {
            input.x[row * channels + channel] =
                (0..inputs).map(|k| u[row * inputs + k] * w[k * channels + channel]).sum();
        }
    }
    let dx = input.through(kernels, 0.0).dx;
    for channel in 0..channels {
        let product: f64 = (0..inputs)
            .map(|k| {
                let dw: f64 = (0..rows).map(|row| u[row * inputs + k] * dx[row * channels + channel]).sum();
                dw * w[k * channels + channel]
            })
            .sum();
        // 350 products of size up to 10, a few roundings of 1e-16 each.
        assert!(product.abs() <= 1e-12, "<w, dw> = {product:e} in channel {channel}");
    }
}

/// K shards of any sizes, merged, are the full batch.
pub fn shards_of_any_size_merge_to_the_whole(kernels: &impl Kernels<f64>) {
    let mut random = Random::new(4);
    for shape in shapes() {
        let input = Input::<f64>::normal(shape, 100.0, 1.0, 5);
        let row = shape.channels() * shape.inner();
        let whole = input.through(kernels, EPS).moments;
        let mut merged = vec![Moments::EMPTY; shape.channels()];
        let mut outer = 0;
        while outer < shape.outer() {
            let rows = 1 + random.below(shape.outer() - outer);
            let shard = Shape::new(rows, shape.channels(), shape.inner()).unwrap();
            let x = &input.x[outer * row..(outer + rows) * row];
            let mut part = vec![Moments::EMPTY; shape.channels()];
            kernels.moments(View::new("x", shard, x).unwrap(), &mut part);
            for (merged, part) in merged.iter_mut().zip(part) {
                *merged = merged.merge(part);
            }
            outer += rows;
        }
        for (merged, whole) in merged.iter().zip(&whole) {
            assert_eq!(merged.count, whole.count);
            // Means of size 100, each merge rounding them a few times; their differences enter M2.
            assert!((merged.mean - whole.mean).abs() <= tolerance(shape), "{shape}");
            assert!((merged.m2 - whole.m2).abs() <= tolerance(shape) * (1.0 + whole.m2), "{shape}");
        }
    }
}
