//! How far from the reference a backend may be.
//!
//! Folds are of n terms in f64: off by `f = 2^-53 (n + 8)`, relative to the sum of their terms' sizes. Maps make at most eight
//! roundings of u, that of the type computed in, on the terms of their equations, one of the tensor's own (as the reference does:
//! two between them), and inherit what
//! their coefficients are off by. Channels whose numbers leave their type no room, for what is squared or divided by, are
//! not judged: that the bits are the same everywhere was seen.

use batchnorm::{Coefficients, Element, Moments};

use crate::problem::{Activation, EPS, Found, Problem, SLOPE, Tensors};

/// The largest number of `E`, and the smallest above 0.
fn range<E: Element>() -> (f64, f64) {
    let powers = |factor: f64| std::iter::successors(Some(1.0f64), move |value| Some(value * factor));
    let most = powers(2.0).take_while(|&v| v.is_finite() && E::from_f64(v).to_f64().is_finite()).last();
    let least = powers(0.5).take_while(|&v| v > 0.0 && E::from_f64(v).to_f64() > 0.0).last();
    (most.expect("1 is one"), least.expect("1 is one"))
}

/// What is computed in may lose a millionth of these: products of a few of them are no infinities, nor zeros.
fn has_room(value: f64, most: f64) -> bool {
    let room = most.powf(0.25);
    value == 0.0 || (value.abs() < room && value.abs() > 1.0 / room)
}

struct Channel {
    elements: Vec<usize>,
    c: Coefficients,
    moments: Moments,
    /// The largest |x|, and the sum of |dz| and of |dz| (1 + |xhat|).
    largest: f64,
    dz: f64,
    dz_xhat: f64,
}

/// Of the tensor's element, as gates read it.
fn input<E: Element>(tensors: &Tensors<E>, i: usize) -> f64 {
    let x = tensors.x.get()[i].to_f64();
    if tensors.activation == Activation::Output && x < 0.0 { x / SLOPE } else { x }
}

pub fn judge<E: Element>(problem: &Problem, tensors: &Tensors<E>, found: &Found<E>, expected: &Found<E>) {
    let shape = tensors.shape;
    let ((most, least), (computed_most, _)) = (range::<E>(), range::<E::Parameter>());
    let (u, own) = (E::Parameter::roundoff(), E::roundoff());
    let close = |found: f64, expected: f64, bound: f64, what: &str, i: usize| {
        // Near the largest number either may have become infinite.
        if !(bound.is_finite() && expected.abs() + bound < most / 2.0) {
            return;
        }
        let error = (found - expected).abs();
        assert!(
            error <= bound,
            "{what}[{i}]: {found:e}, expected {expected:e}, allowed {bound:e}: {problem:?}"
        );
    };
    for channel in 0..shape.channels() {
        let Some(of) = channel_of(tensors, expected, channel, computed_most) else { continue };
        let Channel { elements, c, moments, largest, dz, dz_xhat } = &of;
        let n = moments.count as f64;
        // Columns of f32 and half types are added up in f32 over sixteen rows, eight at a time.
        let narrow = size_of::<E>() == 2 || (size_of::<E>() == 4 && shape.inner() < 64);
        let near = if narrow { 11.0 / (1 << 24) as f64 } else { 0.0 };
        let f = 2f64.powi(-53) * (n + 8.0) + near;
        let here = found.moments[channel];
        assert_eq!(here.count, moments.count, "{problem:?}");
        let mean_error = 4.0 * f * largest;
        let tiny = f64::MIN_POSITIVE;
        // No other bound applies to what only f64 holds.
        assert!((here.mean - moments.mean).abs() <= mean_error + tiny, "mean[{channel}]: {problem:?}");
        let m2_error = 64.0 * f * moments.m2 + n * mean_error * mean_error;
        assert!(
            (here.m2 - moments.m2).abs() <= m2_error + tiny,
            "M2[{channel}]: {here:?}, {moments:?}, {problem:?}"
        );
        let sums = (found.sums[channel], expected.sums[channel]);
        // Gates that look at an output divide by the slope in what is computed in.
        let inverted = if tensors.activation == Activation::Output { 4.0 * u } else { 0.0 };
        let steep = c.rstd.abs() * largest / SLOPE + (c.mean * c.rstd).abs();
        let (dy_bound, xhat_bound) = ((f + inverted) * dz, 4.0 * (f + inverted) * (dz_xhat + dz * steep));
        assert!((sums.0.dy - sums.1.dy).abs() <= dy_bound + tiny, "sum dz[{channel}]: {sums:?}, {problem:?}");
        assert!(
            (sums.0.dy_xhat - sums.1.dy_xhat).abs() <= xhat_bound + tiny,
            "sum dz xhat[{channel}]: {sums:?}, {problem:?}"
        );

        // Of training: rstd is off by half of what the variance is, relatively.
        let trained = Coefficients::of_batch(moments, EPS, tensors_parameters(tensors, channel));
        let of_moments =
            |xhat: f64| mean_error * trained.rstd + m2_error / n.max(1.0) * trained.rstd.powi(2) * xhat.abs();
        let n = n.max(1.0);
        for &i in elements {
            let x = tensors.x.get()[i].to_f64();
            let added = if tensors.activation == Activation::AddRelu {
                tensors.addend.get()[i].to_f64().abs()
            } else {
                0.0
            };
            for (what, found, expected, c, inherited) in [
                ("y", &found.y, &expected.y, &trained, true),
                ("evaluated y", &found.evaluated, &expected.evaluated, c, false),
            ] {
                let xhat = (x - c.mean) * c.rstd;
                let size = (c.gamma * xhat).abs() + c.beta.abs() + added;
                // What the deviation is rounded by, where the mean is no number of the type: its rest is added at the end.
                let inherited = if inherited { c.gamma.abs() * of_moments(xhat) } else { 0.0 };
                let bound = 8.0 * u * size + 2.0 * own * size + inherited + c.scale().abs() * least + least;
                close(found[i].to_f64(), expected[i].to_f64(), bound, what, i);
            }
            let xhat = (input(tensors, i) - c.mean) * c.rstd;
            let (scale, dy) = (c.scale().abs(), tensors.dy.get()[i].to_f64().abs());
            let size = dy + sums.1.dy.abs() / n + (xhat * sums.1.dy_xhat / n).abs();
            let of_input = inverted * (steep + xhat.abs()) * (sums.1.dy_xhat / n).abs();
            let of_sums = dy_bound / n + xhat_bound / n * xhat.abs();
            let bound = scale * (12.0 * u * size + 2.0 * own * size + of_sums + of_input) + least;
            close(found.dx[i].to_f64(), expected.dx[i].to_f64(), bound, "dx", i);
            let bound = scale * dy * (6.0 * u + 2.0 * own) + least;
            close(found.dx_fixed[i].to_f64(), expected.dx_fixed[i].to_f64(), bound, "fixed dx", i);
            let bound = dy * (2.0 * u + 2.0 * own) + least;
            close(found.d_addend[i].to_f64(), expected.d_addend[i].to_f64(), bound, "d addend", i);
        }
    }
}

fn tensors_parameters<E: Element>(tensors: &Tensors<E>, channel: usize) -> (f64, f64) {
    (tensors.gamma[channel].to_f64(), tensors.beta[channel].to_f64())
}

/// A channel to be judged, if its numbers are such.
fn channel_of<E: Element>(
    tensors: &Tensors<E>,
    expected: &Found<E>,
    channel: usize,
    computed_most: f64,
) -> Option<Channel> {
    let shape = tensors.shape;
    let (channels, inner) = (shape.channels(), shape.inner());
    let counts = |position: usize| tensors.mask.as_ref().is_none_or(|mask| mask[position]);
    let elements: Vec<usize> = (0..shape.positions())
        .filter(|&position| counts(position))
        .map(|position| (position / inner * channels + channel) * inner + position % inner)
        .collect();
    let (c, moments) = (tensors.given[channel], expected.moments[channel]);
    let (mut largest, mut dz, mut dz_xhat) = (0f64, 0.0, 0.0);
    let mut room = moments.is_finite() && c.rstd.is_finite() && has_room(c.scale(), computed_most);
    room &= has_room(c.rstd, computed_most) && has_room(moments.mean, computed_most);
    for &i in &elements {
        let xhat = (input(tensors, i) - c.mean) * c.rstd;
        let values = [&tensors.x, &tensors.dy, &tensors.addend].map(|tensor| tensor.get()[i].to_f64());
        room &= values.into_iter().all(|value| has_room(value, computed_most)) && xhat.is_finite();
        largest = largest.max(values[0].abs());
        dz += values[1].abs();
        dz_xhat += values[1].abs() * (1.0 + xhat.abs());
    }
    room.then_some(Channel { elements, c, moments, largest, dz, dz_xhat })
}
