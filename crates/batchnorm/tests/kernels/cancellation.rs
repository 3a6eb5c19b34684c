//! Moments where the value from which deviations are taken is a bad one.

use batchnorm::{CpuOn, Element, Kernels, Moments, Shape, View};

use crate::data::{Random, elements, near};
use crate::judge::close;
use crate::tensors::{sets, shape};

/// Positions of a block, at most, but for a few.
const BLOCK: f64 = 16_400.0;

const SHAPES: [(usize, usize, usize); 9] = [
    (4500, 3, 1),
    (2600, 70, 1),
    (1, 3, 1000),
    (4, 5, 49),
    (9, 70, 49),
    (1, 2, 40_000),
    (3, 2, 16_385),
    (400, 3, 49),
    (2, 3, 17),
];

/// A sum that carries what additions lose (Neumaier): good to a rounding or two.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    sum + lost
}

/// Mean and M2 far better than f64 loops give them: deviations from the mean, and what that mean is off by.
fn truth<E: Element>(shape: Shape, x: &[E], channel: usize) -> (f64, f64) {
    let values: Vec<f64> = elements(shape, channel).map(|i| x[i].to_f64()).collect();
    let n = values.len() as f64;
    let mean = sum(values.iter().copied()) / n;
    let rest = sum(values.iter().map(|x| x - mean));
    (mean, sum(values.iter().map(|x| (x - mean).powi(2))) - rest * rest / n)
}

/// Bounds, with u for f64's roundings and n_b values in a block of k:
///
/// - a lane of sixteen adds n_b / 16 terms, and a few additions more make a total: (n_b / 16 + 10) u, relative to the sum of
///   the terms' sizes;
/// - a block is folded again where its mean is more than two deviations from where they are taken from, so squares add up to
///   5 M2 at most, of which 4 are subtracted again: 15 (n_b / 16 + 10) u;
/// - where columns are added up in f32, what `near` says takes the place of (n_b / 16 + 10) u, if it is more;
/// - means of blocks are rounded relative to themselves, and merging squares their differences: 4 k (|mean| / std + 10) u.
fn check<E: Element>(shape: Shape, x: &[E], what: &str)
where
    CpuOn: Kernels<E>,
{
    let u = 2f64.powi(-53);
    let n = shape.positions() as f64;
    let terms = n.min(BLOCK) / 16.0 + 10.0 + near::<E>(shape) / u;
    let blocks = (2.0 * n / BLOCK).ceil() + 1.0;
    let truths: Vec<_> = (0..shape.channels()).map(|channel| truth(shape, x, channel)).collect();
    for kernels in sets() {
        let mut moments = vec![Moments::EMPTY; shape.channels()];
        kernels.moments(View::new("x", shape, x).unwrap(), &mut moments);
        for (found, &(mean, m2)) in moments.iter().zip(&truths) {
            let std = (m2 / n).sqrt();
            let set = kernels.instruction_set();
            let bound = u * (terms * 5.0 * std + (3.0 * blocks + 3.0) * (mean.abs() + blocks * std));
            close(found.mean, mean, bound, format_args!("mean, {shape}, {what}, {set}"));
            let distance = if std > 0.0 { mean.abs() / std } else { 0.0 };
            let bound = u * m2 * (15.0 * terms + 4.0 * blocks * (distance + 10.0));
            close(found.m2, m2, bound, format_args!("M2, {shape}, {what}, {set}"));
        }
    }
}

fn check_both(extents: (usize, usize, usize), what: &str, x: &dyn Fn(Shape) -> Vec<f64>) {
    let shape = shape(extents);
    let x = x(shape);
    check::<f64>(shape, &x, what);
    let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    check::<f32>(shape, &narrow, what);
}

#[test]
fn an_outlier_in_first_place_costs_no_digits() {
    for extents in SHAPES {
        for outlier in [1e6, -1e8] {
            check_both(extents, &format!("{outlier:e} first"), &|shape| {
                let mut x: Vec<f64> = Random::new(1).normals(shape.len(), 0.0, 1.0);
                for channel in 0..shape.channels() {
                    x[elements(shape, channel).next().unwrap()] = outlier;
                }
                x
            });
        }
    }
}

/// Wherever blocks begin, one of these is near: rows' beginnings, and multiples of a vector around halves and thirds of a row.
#[test]
fn outliers_where_blocks_begin_cost_no_digits() {
    for extents in SHAPES {
        check_both(extents, "outliers where blocks begin", &|shape| {
            let mut x: Vec<f64> = Random::new(2).normals(shape.len(), 5.0, 1.0);
            for channel in 0..shape.channels() {
                let rows = (16_384 / shape.inner()).max(1);
                for (position, i) in elements(shape, channel).enumerate() {
                    let (row, inside) = (position / shape.inner(), position % shape.inner());
                    let pieces = shape.inner().div_ceil(16_384);
                    let piece = shape.inner().div_ceil(pieces).next_multiple_of(16);
                    if row % rows == 0 && inside % piece == 0 {
                        x[i] = 1e8;
                    }
                }
            }
            x
        });
    }
}

/// All deviation is the first value's: with c others, M2 is `d^2 c / (c + 1)`.
#[test]
fn a_channel_of_equal_values_but_the_first_has_that_values_variance() {
    for extents in SHAPES {
        for (first, others) in [(1e6, 0.0), (0.1, 1e6), (1e8, 1.0 / 3.0), (-7.0, -7.5)] {
            check_both(extents, &format!("{first} and then {others}"), &|shape| {
                let mut x = vec![others; shape.len()];
                for channel in 0..shape.channels() {
                    x[elements(shape, channel).next().unwrap()] = first;
                }
                x
            });
        }
    }
}

#[test]
fn a_ramp_a_million_deviations_from_zero_keeps_its_variance() {
    for extents in SHAPES {
        for slope in [1.0, -1.0] {
            check_both(extents, "a ramp", &|shape| {
                let mut x = vec![0.0; shape.len()];
                let n = shape.positions() as f64;
                for channel in 0..shape.channels() {
                    for (position, i) in elements(shape, channel).enumerate() {
                        // Of standard deviation n / sqrt(12), about a million of them.
                        x[i] = slope * position as f64 + 1e6 * n / 12f64.sqrt();
                    }
                }
                x
            });
        }
    }
}

/// The squares of deviations from the first value overflow before those from the mean do.
#[test]
fn a_huge_first_value_overflows_no_sum_that_fits() {
    let shape = shape((1, 2, 16_000));
    let mut x = vec![1.0; shape.len()];
    x[0] = 1.2e152;
    let (mean, m2) = truth(shape, &x, 0);
    assert!(mean.is_finite() && m2.is_finite());
    check::<f64>(shape, &x, "1.2e152 and then 1");
}
