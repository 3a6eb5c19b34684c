//! Half types: widened exactly, computed with in f32, rounded once; the same bits on every instruction set.

use batchnorm::{
    Coefficients, CpuOn, Element, Epilogue, Kernels, Moments, Reference, View, ViewMut, bf16, f16,
};

use crate::judge::agree;
use crate::sameness;
use crate::tensors::{Tensors, Then, best, sets, shape};

fn values<E: Element>(of: fn(u16) -> E) -> Vec<E> {
    (0..=u16::MAX).map(of).collect()
}

/// All numbers of a type through an affine map, as the type itself rounds them: in their order, and so that subnormal numbers, NaN
/// and ties have others beside them.
fn every_value_is_rounded_once<E: Element<Parameter = f32>>(of: fn(u16) -> E)
where
    CpuOn: Kernels<E>,
{
    let in_order = values(of);
    let mixed: Vec<E> = (0..in_order.len()).map(|i| in_order[i * 40_503 % in_order.len()]).collect();
    for (scale, beta) in [(1.0, 0.0), (1.0 / 3.0, 0.0), (1.003_906_3, 0.0), (2.0, -1e-7), (1e-5, 1e-7)] {
        let coefficients = Coefficients { mean: 0.0, rstd: 1.0, gamma: scale, beta };
        // Vectors and their parts; narrow rows, rows of a tile of columns, of several, and of an odd number.
        for extents in [(1, 1, 1 << 16), (1 << 16, 1, 1), (1 << 10, 64, 1), (1 << 7, 512, 1), (771, 85, 1)] {
            for (x, kernels) in
                [&in_order, &mixed].into_iter().flat_map(|x| sets().into_iter().map(move |set| (x, set)))
            {
                is_rounded_once(&kernels, &x[..extents.0 * extents.1 * extents.2], extents, &coefficients);
            }
        }
    }
}

fn is_rounded_once<E: Element<Parameter = f32>>(
    kernels: &CpuOn,
    x: &[E],
    extents: (usize, usize, usize),
    coefficients: &Coefficients,
) where
    CpuOn: Kernels<E>,
{
    let (shape, set) = (shape(extents), kernels.instruction_set());
    let mut y = vec![E::default(); x.len()];
    kernels.normalize(
        &vec![*coefficients; extents.1],
        View::new("x", shape, x).unwrap(),
        Epilogue::None,
        ViewMut::new("y", shape, &mut y).unwrap(),
    );
    let (scale, beta) = (coefficients.gamma as f32, coefficients.beta as f32);
    for (i, (x, y)) in x.iter().zip(&y).enumerate() {
        let expected = E::narrow(x.widen().mul_add(scale, beta)).to_f64();
        let found = y.to_f64();
        let both_nan = found.is_nan() && expected.is_nan();
        assert!(
            found.to_bits() == expected.to_bits() || both_nan,
            "{x:?} {scale} {set}, element {i} of {shape}: {found:e}, not {expected:e}"
        );
    }
}

#[test]
fn every_bf16_is_rounded_once() {
    every_value_is_rounded_once(bf16::from_bits);
}

#[test]
fn every_f16_is_rounded_once() {
    every_value_is_rounded_once(f16::from_bits);
}

const SHAPES: [(usize, usize, usize); 9] = [
    (3, 5, 17),
    (9, 100, 49),
    (1, 9000, 4),
    (2, 3, 16_385),
    (7, 90, 64),
    (70, 300, 1),
    (4500, 3, 1),
    (1100, 528, 1),
    // Streamed.
    (300, 60, 257),
];

fn agrees_with_the_reference<E: Element>()
where
    CpuOn: Kernels<E>,
{
    for (seed, extents) in SHAPES.into_iter().enumerate() {
        let tensors = Tensors::<E>::normal(extents, seed as u64);
        let (found, expected) =
            (tensors.through(&best(), Then::Nothing), tensors.through(&Reference, Then::Nothing));
        agree(&tensors, &found, &expected);
    }
}

#[test]
fn half_types_agree_with_the_reference() {
    agrees_with_the_reference::<bf16>();
    agrees_with_the_reference::<f16>();
}

#[test]
fn half_types_compute_the_same_bits_on_any_instruction_set_and_number_of_threads() {
    for extents in SHAPES {
        sameness::check::<bf16>(extents, 3, &[Then::Nothing, Then::LeakyRelu], &[1, 3]);
        sameness::check::<f16>(extents, 4, &[Then::Nothing, Then::AddRelu], &[1, 3]);
    }
}

/// Sums of a type whose largest number is 65504 are f64.
#[test]
fn no_sum_overflows_at_65504() {
    for extents in [(1, 2, 100_000), (50_000, 2, 1)] {
        let shape = shape(extents);
        let x = vec![f16::MAX; shape.len()];
        let mut moments = [Moments::EMPTY; 2];
        best().moments(View::new("x", shape, &x).unwrap(), &mut moments);
        for moments in moments {
            assert_eq!((moments.mean, moments.m2), (65504.0, 0.0));
        }
    }
}

/// Channels, as f32 holds their squares and as it does not: zeros, a constant, tiny numbers, large ones, and ordinary ones.
#[test]
fn what_f32_cannot_hold_is_added_up_in_f64_and_changes_no_other_channel() {
    what_f32_cannot_hold::<bf16>();
    what_f32_cannot_hold::<f32>();
}

fn what_f32_cannot_hold<E: Element>()
where
    CpuOn: Kernels<E>,
    Reference: Kernels<E>,
{
    let channels = 70;
    for (outer, inner) in [(4500, 1), (300, 4)] {
        let shape = shape((outer, channels, inner));
        let ordinary = |i: usize| ((i * 7919) % 1009) as f64 / 1009.0 - 0.4;
        let x = |odd: bool| -> Vec<E> {
            let value = |i: usize| match (i / inner % channels, odd) {
                (3, true) => 0.0,
                (4, true) => 3.0,
                (17, true) => 1e-25 * ordinary(i),
                (69, true) => 1e25 * ordinary(i),
                _ => ordinary(i),
            };
            (0..shape.len()).map(|i| E::from_f64(value(i))).collect()
        };
        let moments = |kernels: &dyn Kernels<E>, x: &[E]| {
            let mut moments = vec![Moments::EMPTY; channels];
            kernels.moments(View::new("x", shape, x).unwrap(), &mut moments);
            moments
        };
        let (even, odd) = (x(false), x(true));
        let (of_even, of_odd) = (moments(&best(), &even), moments(&best(), &odd));
        let expected = moments(&Reference, &odd);
        for c in 0..channels {
            if ![3, 4, 17, 69].contains(&c) {
                assert_eq!(of_odd[c], of_even[c], "channel {c}");
                continue;
            }
            // Two summations in f64 of so many terms, in orders of their own: 2^-53 each.
            let bound = 2.0 * (outer * inner) as f64 * 2f64.powi(-53) * expected[c].m2;
            let (found, expected) = (of_odd[c].m2, expected[c].m2);
            assert!((found - expected).abs() <= bound, "channel {c}: {found:e}, not {expected:e}");
        }
        assert_eq!((of_odd[3].m2, of_odd[4].m2, of_odd[4].mean), (0.0, 0.0, 3.0));
    }
}
