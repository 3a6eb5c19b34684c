//! How far from the reference the kernels may be.

use std::fmt::Arguments;

use batchnorm::{Coefficients, Element};

use crate::data::{near, unit_roundoff};
use crate::tensors::{Found, Tensors};

/// Without an epilogue or a gate; in f32 a z near zero may round to either side, and with it all of dz.
///
/// Tolerances, as in the suite's `accuracy`: folds of n terms in f64 are off by n u of f64 relative to the size of their
/// terms, and by what `near` says. Those of x are within five deviations of the mean; the first value, from which deviations are taken, may be that
/// far too. Maps make at most eight roundings of relative size u on the terms of their equations, and inherit what the
/// folds' results are off by.
#[track_caller]
pub fn agree<E: Element>(tensors: &Tensors<E>, found: &Found<E>, expected: &Found<E>) {
    let (shape, n) = (tensors.shape, tensors.shape.positions() as f64);
    let u = unit_roundoff::<E>();
    let fold = 2f64.powi(-53) * (n + 8.0) + near::<E>(shape);
    let mut of_channels = Vec::new();
    for channel in 0..shape.channels() {
        let (moments, truth) = (found.moments[channel], expected.moments[channel]);
        let std = truth.biased_variance().sqrt();
        assert_eq!(moments.count, truth.count, "{shape}");
        close(moments.mean, truth.mean, fold * (5.0 * std + truth.mean.abs()), format_args!("mean, {shape}"));
        // Of squared deviations from the first value, at most 26 times those from the mean.
        close(moments.m2, truth.m2, 26.0 * fold * truth.m2, format_args!("M2, {shape}"));
        let (sums, true_sums) = (found.sums[channel], expected.sums[channel]);
        // dy is of size 1, and each term at most about 5 * 5.
        close(sums.dy, true_sums.dy, 5.0 * fold * n, format_args!("sum dy, {shape}"));
        close(sums.dy_xhat, true_sums.dy_xhat, 25.0 * fold * n, format_args!("sum dy xhat, {shape}"));
        let parameters = tensors.parameters().of(channel);
        of_channels.push((
            Coefficients::of_batch(&truth, tensors.eps, parameters),
            true_sums.means(shape.positions() as u64),
            std,
        ));
    }
    for i in 0..shape.len() {
        let (coefficients, means, std) = &of_channels[i / shape.inner() % shape.channels()];
        let scale = coefficients.scale().abs();
        let xhat = (tensors.x[i].to_f64() - coefficients.mean) * coefficients.rstd;
        // What subnormal numbers can hold of a deviation.
        let grain = smallest::<E>() * coefficients.rstd;
        // Of xhat: by the mean, and by rstd, half of M2's.
        let mean_error = fold * (5.0 * std + coefficients.mean.abs()) * coefficients.rstd;
        let xhat_error = mean_error + 13.0 * fold * xhat.abs() + grain;
        let size = (coefficients.gamma * xhat).abs() + coefficients.beta.abs();
        let bound = 8.0 * u * size + coefficients.gamma.abs() * xhat_error + smallest::<E>();
        for y in [&found.y, &found.evaluated] {
            close(y[i].to_f64(), expected.y[i].to_f64(), bound, format_args!("y[{i}], {shape}"));
        }
        let dy = tensors.dy[i].to_f64().abs();
        let size = dy + means.dy.abs() + (xhat * means.dy_xhat).abs();
        let sums_error = fold * (5.0 + 25.0 * xhat.abs()) + xhat_error * means.dy_xhat.abs();
        let bound = scale * (8.0 * u * size + sums_error + 13.0 * fold * size) + smallest::<E>();
        close(found.dx[i].to_f64(), expected.dx[i].to_f64(), bound, format_args!("dx[{i}], {shape}"));
        let bound = scale * dy * (4.0 * u + 13.0 * fold) + smallest::<E>();
        let (fixed, expected) = (found.dx_fixed[i].to_f64(), expected.dx_fixed[i].to_f64());
        close(fixed, expected, bound, format_args!("fixed dx[{i}], {shape}"));
    }
}

/// The smallest number above 0.
pub fn smallest<E: Element>() -> f64 {
    // Halved until the half is rounded to 0, by ties to even.
    let halves = std::iter::successors(Some(1.0), |value| Some(value / 2.0));
    halves.take_while(|&value| value > 0.0 && E::from_f64(value).to_f64() > 0.0).last().unwrap()
}

#[track_caller]
pub fn close(found: f64, expected: f64, tolerance: f64, what: Arguments<'_>) {
    let error = (found - expected).abs();
    assert!(
        error <= tolerance,
        "{what}: found {found:e}, expected {expected:e}, off by {error:e}, allowed {tolerance:e}"
    );
}
