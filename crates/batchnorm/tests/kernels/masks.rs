//! Masks on the vector kernels: runs, and rows; what the reference says, the same bits on every instruction set and any number of
//! threads, and whatever lies where nothing counts.

use batchnorm::{
    Coefficients, CpuOn, Element, Epilogue, Gate, GradientSums, Kernels, Mask, Moments, Parameters, Reference,
    View, ViewMut, bf16,
};

use crate::data::{Random, near, unit_roundoff, unset};
use crate::judge::close;
use crate::tensors::{Tensors, assert_same_values, best, pool, sets, shape};

/// Runs around vectors and blocks, one long run, short ones, rows wide and narrow; the last ones on plain loops.
const SHAPES: [(usize, usize, usize); 13] = [
    (3, 5, 17),
    (9, 40, 49),
    (40, 3, 256),
    (2, 3, 16_385),
    (1, 2, 40_000),
    (1, 9, 5),
    (70, 33, 1),
    (300, 130, 1),
    (5000, 3, 1),
    (4100, 65, 1),
    (7, 64, 1),
    (3, 3, 1),
    (60, 5, 4),
];

/// A few counted ones at random, most of them, the beginnings of runs, stretches of several thousand, one alone.
fn masks(extents: (usize, usize, usize)) -> Vec<(&'static str, Vec<bool>)> {
    let (outer, _, inner) = extents;
    let n = outer * inner;
    let mut random = Random::new(3);
    let mut scattered = |share: f64| (0..n).map(|_| random.uniform() < share).collect::<Vec<_>>();
    let (few, most) = (scattered(0.1), scattered(0.8));
    let beginnings =
        (0..n).map(|i| if inner > 1 { i % inner <= inner / 3 + i / inner % 7 } else { i % 64 < 40 });
    let stretches = (0..n).map(|i| i / 3000 % 2 == 1 || n < 3000 && i % 50 > 20);
    let mut masks = vec![
        ("few", few),
        ("most", most),
        ("beginnings", beginnings.collect()),
        ("stretches", stretches.collect()),
        ("the last alone", (0..n).map(|i| i + 1 == n).collect()),
    ];
    masks.iter_mut().for_each(|(_, mask)| mask[n - 1] = true);
    masks
}

struct Found<E> {
    moments: Vec<Moments>,
    sums: Vec<GradientSums>,
    y: Vec<E>,
    dx: Vec<E>,
    d_addend: Vec<E>,
}

/// A training step, with add + ReLU or nothing; `coefficients` are those of the backward pass, whoever computes it.
fn step<E: Element>(
    kernels: &impl Kernels<E>,
    tensors: &Tensors<E>,
    mask: &[bool],
    rectified: bool,
    coefficients: &[Coefficients],
) -> Found<E> {
    let shape = tensors.shape;
    let mask = Mask::new(shape, mask).unwrap();
    let view = |data| View::<E>::new("a tensor", shape, data).unwrap().with_mask(Some(mask)).unwrap();
    let (x, dy, addend) = (view(&tensors.x), view(&tensors.dy), view(&tensors.addend));
    let (epilogue, gate) = match rectified {
        true => (Epilogue::AddRelu { addend }, Gate::AddRelu { x, addend }),
        false => (Epilogue::None, Gate::None),
    };
    let channels = shape.channels();
    let (mut moments, mut own) = (vec![Moments::EMPTY; channels], unset(shape));
    let mut sums = vec![GradientSums::default(); channels];
    let [mut y, mut dx, mut d_addend] = [(); 3].map(|()| vec![E::from_f64(-77.0); shape.len()]);
    let out = ViewMut::new("y", shape, &mut y).unwrap();
    let parameters: Parameters<'_, E::Parameter> = tensors.parameters();
    kernels.forward_train(tensors.eps, parameters, x, epilogue, out, &mut moments, &mut own);
    let coefficients = if coefficients.is_empty() { &own } else { coefficients };
    let (out, addends) =
        (ViewMut::new("dx", shape, &mut dx).unwrap(), ViewMut::new("d_addend", shape, &mut d_addend).unwrap());
    kernels.backward(coefficients, mask.count() as u64, x, dy, gate, out, Some(addends), &mut sums);
    Found { moments, sums, y, dx, d_addend }
}

/// NaN, where nothing counts.
fn poisoned<E: Element>(tensors: &Tensors<E>, mask: &[bool]) -> Tensors<E> {
    let (mut poisoned, shape) = (tensors.clone(), tensors.shape);
    for tensor in [&mut poisoned.x, &mut poisoned.dy, &mut poisoned.addend] {
        for (i, value) in tensor.iter_mut().enumerate() {
            let position = i / (shape.channels() * shape.inner()) * shape.inner() + i % shape.inner();
            *value = if mask[position] { *value } else { E::from_f64(f64::NAN) };
        }
    }
    poisoned
}

fn all_masks_of_all_shapes<E: Element>()
where
    CpuOn: Kernels<E>,
{
    for (seed, extents) in SHAPES.into_iter().enumerate() {
        let tensors = Tensors::<E>::normal(extents, seed as u64);
        let shape = shape(extents);
        for (what, mask) in masks(extents) {
            for rectified in [false, true] {
                let what = || format!("{shape}, {what}, rectified: {rectified}");
                let first = best();
                let found = pool(1).install(|| step(&first, &tensors, &mask, rectified, &[]));
                let poisoned = poisoned(&tensors, &mask);
                for threads in [1, 3] {
                    for kernels in sets() {
                        let other = pool(threads).install(|| step(&kernels, &poisoned, &mask, rectified, &[]));
                        assert_eq!((&other.moments, &other.sums), (&found.moments, &found.sums), "{}", what());
                        for (a, b) in
                            [(&other.y, &found.y), (&other.dx, &found.dx), (&other.d_addend, &found.d_addend)]
                        {
                            assert_same_values(a, b, &what);
                        }
                    }
                }
                judge(&tensors, &mask, rectified, &found, &what());
            }
        }
    }
}

/// Bounds as in `judge::agree`, of the n that count. Where a gate looks at z, only what does not depend on its sign.
fn judge<E: Element>(tensors: &Tensors<E>, mask: &[bool], rectified: bool, found: &Found<E>, what: &str) {
    let shape = tensors.shape;
    let n = mask.iter().filter(|&&counts| counts).count() as f64;
    let expected = step(&Reference, tensors, mask, rectified, &[]);
    let fold = 2f64.powi(-53) * (n + 8.0) + near::<E>(shape);
    for (found, truth) in found.moments.iter().zip(&expected.moments) {
        let std = truth.biased_variance().sqrt();
        assert_eq!(found.count, truth.count, "{what}");
        // One value alone has no deviation: its own rounding is left.
        let size = 10.0 + truth.mean.abs();
        close(found.mean, truth.mean, fold * (5.0 * std + size), format_args!("mean, {what}"));
        close(found.m2, truth.m2, 26.0 * fold * truth.m2, format_args!("M2, {what}"));
    }
    let position = |i: usize| i / (shape.channels() * shape.inner()) * shape.inner() + i % shape.inner();
    for values in [&found.y, &found.dx, &found.d_addend] {
        let wrong = |(i, value): (usize, &E)| !mask[position(i)] && value.to_f64() != 0.0;
        assert_eq!(values.iter().enumerate().position(wrong), None, "{what}");
    }
    if rectified {
        return;
    }
    for (found, truth) in found.sums.iter().zip(&expected.sums) {
        close(found.dy, truth.dy, 5.0 * fold * n, format_args!("sum dy, {what}"));
        close(found.dy_xhat, truth.dy_xhat, 50.0 * fold * n, format_args!("sum dy xhat, {what}"));
    }
    // y is of size 10 at most, and dx of size rstd (|dy| + 1 + 5): eight roundings, and what the folds are off by, times 26.
    let u = unit_roundoff::<E>();
    for (channel, truth) in expected.moments.iter().enumerate() {
        let rstd = 1.0 / (truth.biased_variance() + tensors.eps).sqrt();
        // Of a single value, xhat is a rounding times rstd.
        let bound = (u + 26.0 * fold) * 8.0 * 12.0 * (1.0 + rstd * 20.0 * f64::EPSILON.max(u)).max(rstd);
        for i in (0..shape.len()).filter(|i| i / shape.inner() % shape.channels() == channel) {
            close(found.y[i].to_f64(), expected.y[i].to_f64(), bound, format_args!("y[{i}], {what}"));
            let bound = bound * rstd.max(1.0) * 2.0;
            close(found.dx[i].to_f64(), expected.dx[i].to_f64(), bound, format_args!("dx[{i}], {what}"));
        }
    }
}

#[test]
fn masks_pick_runs_and_rows_in_f32() {
    all_masks_of_all_shapes::<f32>();
}

#[test]
fn masks_pick_runs_and_rows_in_f64() {
    all_masks_of_all_shapes::<f64>();
}

#[test]
fn masks_pick_runs_and_rows_in_bf16() {
    all_masks_of_all_shapes::<bf16>();
}
