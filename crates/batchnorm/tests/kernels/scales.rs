//! Tensors whose numbers are very large or very small.

use batchnorm::{CpuOn, Element, Kernels, Reference};

use crate::judge;
use crate::tensors::{Tensors, Then, assert_same_values, best, sets};

const SHAPES: [(usize, usize, usize); 4] = [(3, 5, 17), (9, 70, 49), (2, 3, 16_385), (335, 3, 49)];

fn scaled<E: Element>(tensors: &Tensors<E>, by: f64) -> Tensors<E> {
    let x = tensors.x.iter().map(|x| E::from_f64(x.to_f64() * by)).collect();
    Tensors { x, ..tensors.clone() }
}

/// Without eps, multiplying x by a power of two multiplies means by it, divides dx by it and changes no bit of y: as long as
/// nothing overflows or underflows on the way, all roundings are the same.
fn a_power_of_two_changes_no_bit<E: Element>(power: i32, shapes: &[(usize, usize, usize)])
where
    CpuOn: Kernels<E>,
{
    let scale = 2f64.powi(power);
    for &extents in shapes {
        let tensors = Tensors { eps: 0.0, ..Tensors::<E>::normal(extents, 11) };
        let scaled_tensors = scaled(&tensors, scale);
        for then in [Then::Nothing, Then::AddRelu] {
            let expected = tensors.through(&best(), then);
            for kernels in sets() {
                let found = scaled_tensors.through(&kernels, then);
                let set = kernels.instruction_set();
                let what = |name| format!("{name}, {}, 2^{power}, {then:?}, {set}", tensors.shape);
                for (found, expected) in found.moments.iter().zip(&expected.moments) {
                    assert_eq!(found.mean, expected.mean * scale, "{}", what("mean"));
                    assert_eq!(found.m2, expected.m2 * scale * scale, "{}", what("M2"));
                }
                assert_eq!(found.sums, expected.sums, "{}", what("sums"));
                assert_same_values(&found.y, &expected.y, &|| what("y"));
                assert_same_values(&found.evaluated, &expected.evaluated, &|| what("evaluated y"));
                let back =
                    |dx: &[E]| -> Vec<E> { dx.iter().map(|v| E::from_f64(v.to_f64() * scale)).collect() };
                assert_same_values(&back(&found.dx), &expected.dx, &|| what("dx"));
                assert_same_values(&back(&found.dx_fixed), &expected.dx_fixed, &|| what("fixed dx"));
            }
        }
    }
}

#[test]
fn powers_of_two_change_no_bit_in_f32() {
    // 2^90 is 1.2e27; dx is as many times smaller, down to 1e-11 of its size no subnormal number.
    for power in [90, -90] {
        a_power_of_two_changes_no_bit::<f32>(power, &[(3, 5, 17), (2, 3, 16_385)]);
    }
    // Columns: as long as f32 holds the squares, and products that rstd, up to 2^15, is left out of.
    for power in [50, -13] {
        a_power_of_two_changes_no_bit::<f32>(power, &SHAPES);
    }
}

#[test]
fn powers_of_two_change_no_bit_in_f64() {
    // Squares of 2^480 (3e144) are within f64's range, and so are all bits of those of 2^-480.
    for power in [480, -480] {
        a_power_of_two_changes_no_bit::<f64>(power, &SHAPES);
    }
}

/// Within the same bounds as of size 1: they are relative to deviations.
fn is_as_accurate_as_ever<E: Element>(scale: f64, eps: f64)
where
    CpuOn: Kernels<E>,
{
    for extents in SHAPES {
        let tensors = scaled(&Tensors { eps, ..Tensors::<E>::normal(extents, 12) }, scale);
        let expected = tensors.through(&Reference, Then::Nothing);
        assert!(expected.y.iter().chain(&expected.dx).all(|v| v.to_f64().is_finite()), "{scale:e}");
        for kernels in sets() {
            // Not finite is not within any bound.
            judge::agree(&tensors, &tensors.through(&kernels, Then::Nothing), &expected);
        }
    }
}

#[test]
fn very_large_and_very_small_numbers_lose_no_digits_in_f32() {
    for scale in [1e30, 1e-30] {
        is_as_accurate_as_ever::<f32>(scale, 0.0);
        is_as_accurate_as_ever::<f32>(scale, 1e-5);
    }
}

#[test]
fn very_large_and_very_small_numbers_lose_no_digits_in_f64() {
    for scale in [1e150, 1e-150] {
        is_as_accurate_as_ever::<f64>(scale, 0.0);
        is_as_accurate_as_ever::<f64>(scale, 1e-5);
    }
}

/// Subnormal numbers are evenly spaced, so a mean between two of them is off by half of that spacing: the bounds know it.
/// eps keeps rstd within f32.
#[test]
fn subnormal_numbers_are_numbers_like_others() {
    is_as_accurate_as_ever::<f32>(1e-41, 1e-5);
    is_as_accurate_as_ever::<f32>(1e-41, 1e-74);
    is_as_accurate_as_ever::<f64>(1e-310, 1e-5);
    is_as_accurate_as_ever::<f64>(1e-310, 1e-300);
}
