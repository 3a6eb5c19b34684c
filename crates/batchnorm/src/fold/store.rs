//! Rounding to the type that weights are stored in: once, to the nearest, ties to even.
//!
//! The crate `half` is not used for it: its `from_f64` goes through f32 where the processor converts f32 in hardware (a number
//! just above the middle of two f16 becomes the middle in f32, then the wrong one of the two), and elsewhere looks only at the
//! upper 32 bits. Here the bits of the f64 are rounded, which is exact and the same everywhere.

use half::{bf16, f16};

use super::FoldError;
use crate::{Element, ElementType};

/// The bits that an f64 has after the point.
const FRACTION: u32 = 52;

/// A type that weights are stored in.
pub trait Storable: Element {
    /// Its name.
    const TYPE: ElementType;
    /// The bits of a number after the point.
    const FRACTION: u32;
    /// The smallest normal number.
    const SMALLEST: f64;
    /// The largest number.
    const LARGEST: f64;

    /// The value in this type, if it is one of its normal numbers or a zero.
    #[doc(hidden)]
    fn exactly(value: f64) -> Self;
}

impl Storable for f64 {
    const TYPE: ElementType = ElementType::F64;
    const FRACTION: u32 = self::FRACTION;
    const SMALLEST: f64 = f64::MIN_POSITIVE;
    const LARGEST: f64 = f64::MAX;

    #[inline(always)]
    fn exactly(value: f64) -> Self {
        value
    }
}

impl Storable for f32 {
    const TYPE: ElementType = ElementType::F32;
    const FRACTION: u32 = 23;
    const SMALLEST: f64 = f32::MIN_POSITIVE as f64;
    const LARGEST: f64 = f32::MAX as f64;

    #[inline(always)]
    fn exactly(value: f64) -> Self {
        value as f32
    }
}

/// The upper half of an f32.
impl Storable for bf16 {
    const TYPE: ElementType = ElementType::Bf16;
    const FRACTION: u32 = 7;
    const SMALLEST: f64 = f32::MIN_POSITIVE as f64;
    // (2 - 2^-7) 2^127
    const LARGEST: f64 = 255.0 * (1u128 << 120) as f64;

    #[inline(always)]
    fn exactly(value: f64) -> Self {
        Self::from_bits(((value as f32).to_bits() >> 16) as u16)
    }
}

impl Storable for f16 {
    const TYPE: ElementType = ElementType::F16;
    const FRACTION: u32 = 10;
    // 2^-14
    const SMALLEST: f64 = 1.0 / (1u64 << 14) as f64;
    const LARGEST: f64 = 65504.0;

    #[inline(always)]
    fn exactly(value: f64) -> Self {
        let bits = value.to_bits();
        let sign = (bits >> 48) as u16 & 0x8000;
        // Exponents count from 1023 there and from 15 here; a zero has none.
        let rest = (bits & !(1 << 63)) >> (FRACTION - Self::FRACTION);
        Self::from_bits(sign | rest.saturating_sub((1023 - 15) << Self::FRACTION) as u16)
    }
}

/// `value` as a number of `E`, still in f64: rounded to the nearest, ties to even; a zero of its sign where that is subnormal
/// (processors are slow on those, or take them for zeros); infinite where it is beyond the largest.
///
/// ```
/// use batchnorm::{f16, fold::round};
///
/// // Just above the middle of 1 and the next f16, by less than f32 can tell.
/// let value = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
/// assert_eq!(round::<f16>(value), 1.0 + 2f64.powi(-10));
/// assert_eq!(round::<f16>(65520.0), f64::INFINITY);
/// assert_eq!(round::<f16>(3e-5), 0.0);
/// ```
#[inline(always)]
pub fn round<E: Storable>(value: f64) -> f64 {
    let dropped = FRACTION - E::FRACTION;
    let bits = value.to_bits();
    // Adding half of the last place, less one where the place is even, carries into it just where rounding is upwards.
    let rounded = if dropped == 0 {
        value
    } else {
        let half = (1u64 << (dropped - 1)) - 1 + (bits >> dropped & 1);
        f64::from_bits(bits.wrapping_add(half) >> dropped << dropped)
    };
    // Below the smallest normal number the steps stay as wide as above it: nearer to it than half a step is it.
    let step = E::SMALLEST / (1u64 << E::FRACTION) as f64;
    let size = value.abs();
    let rounded = if size < E::SMALLEST {
        let nearest = if E::SMALLEST - size <= step / 2.0 { E::SMALLEST } else { 0.0 };
        nearest.copysign(value)
    } else {
        rounded
    };
    if value.is_nan() {
        value
    } else if rounded.abs() > E::LARGEST {
        f64::INFINITY.copysign(value)
    } else {
        rounded
    }
}

/// What rounding did to numbers, besides rounding them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many that were not 0 became 0, because the type has no normal number that small.
    pub flushed: u64,
}

impl std::ops::AddAssign for Stored {
    fn add_assign(&mut self, other: Self) {
        self.flushed += other.flushed;
    }
}

/// Rounds `values` into `into`, as [`round`] does.
///
/// ```
/// use batchnorm::fold::{FoldError, store};
/// use batchnorm::{ElementType, f16};
///
/// let mut stored = [f16::ZERO; 2];
/// assert_eq!(store(&[0.1, 1e-9], &mut stored)?.flushed, 1);
/// assert_eq!(stored, [f16::from_f32(0.1), f16::ZERO]);
///
/// let beyond = store(&[1.0, 7e4], &mut stored).unwrap_err();
/// assert_eq!(beyond, FoldError::Overflow { index: 1, value: 7e4, element: ElementType::F16 });
/// # Ok::<(), FoldError>(())
/// ```
///
/// # Errors
///
/// [`FoldError::Overflow`] for the first number that the type does not reach, [`FoldError::NotANumber`] for the first that is
/// NaN or infinite already, whichever comes first, and [`FoldError::LengthMismatch`]. `into` then holds nothing of use.
pub fn store<E: Storable>(values: &[f64], into: &mut [E]) -> Result<Stored, FoldError> {
    super::error::check_length("into", values.len(), into.len())?;
    let (mut flushed, mut beyond) = (0u64, false);
    for (&value, stored) in values.iter().zip(into) {
        let rounded = round::<E>(value);
        flushed += u64::from(rounded == 0.0 && value != 0.0);
        beyond |= !rounded.is_finite();
        *stored = E::exactly(rounded);
    }
    if beyond && let Some(index) = values.iter().position(|&value| !round::<E>(value).is_finite()) {
        let value = values[index];
        return Err(if value.is_finite() {
            FoldError::Overflow { index, value, element: E::TYPE }
        } else {
            FoldError::NotANumber { index, value }
        });
    }
    Ok(Stored { flushed })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All numbers from 0 to the largest, subnormals too, in rising order.
    fn numbers(largest: u16, value: impl Fn(u16) -> f64) -> Vec<f64> {
        (0..=largest).map(value).collect()
    }

    fn next(value: f64) -> f64 {
        f64::from_bits(value.to_bits() + 1)
    }

    fn previous(value: f64) -> f64 {
        f64::from_bits(value.to_bits() - 1)
    }

    /// Every number of a 16-bit type, and the middles between neighbours with the f64 on both sides of them.
    fn every_middle_is_rounded_right<E: Storable>(numbers: &[f64]) {
        let normal = |value: f64| if value < E::SMALLEST { 0.0 } else { value };
        for (index, pair) in numbers.windows(2).enumerate() {
            let (low, high) = (normal(pair[0]), normal(pair[1]));
            let middle = (pair[0] + pair[1]) / 2.0;
            let even = if index % 2 == 0 { low } else { high };
            for sign in [1.0, -1.0] {
                for (value, expected) in [
                    (pair[0], low),
                    (pair[1], high),
                    (previous(middle), low),
                    (middle, even),
                    (next(middle), high),
                ] {
                    let found = round::<E>(sign * value);
                    let expected = sign * expected;
                    assert_eq!(found.to_bits(), expected.to_bits(), "{value:e}: {found:e}, not {expected:e}");
                    assert_eq!(E::exactly(found).to_f64().to_bits(), expected.to_bits(), "{value:e}");
                }
            }
        }
        // Beyond the largest: half a step is too far.
        let largest = numbers[numbers.len() - 1];
        assert_eq!(largest, E::LARGEST);
        let half = (largest - numbers[numbers.len() - 2]) / 2.0;
        assert_eq!(round::<E>(previous(largest + half)), largest);
        assert_eq!(round::<E>(-(largest + half)), f64::NEG_INFINITY);
    }

    #[test]
    fn f16_is_rounded_once_to_the_nearest_with_ties_to_even() {
        every_middle_is_rounded_right::<f16>(&numbers(0x7bff, |bits| f16::from_bits(bits).to_f64()));
    }

    #[test]
    fn bf16_is_rounded_once_to_the_nearest_with_ties_to_even() {
        every_middle_is_rounded_right::<bf16>(&numbers(0x7f7f, |bits| bf16::from_bits(bits).to_f64()));
    }

    #[test]
    fn f32_is_what_the_processor_makes_of_it_but_for_subnormals() {
        let mut bits = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            // Exponents from 2^-160 to 2^159, and every third number a tie.
            let exponent = 1023 - 160 + (bits >> 33) % 320;
            let tie = if bits.is_multiple_of(3) { !0 << 28 } else { !0 };
            let (sign, fraction) = (bits & (1 << 63), (bits >> 11 & tie) % (1 << 52));
            let value = f64::from_bits(sign | (exponent << 52) | fraction);
            let expected = value as f32;
            let expected = if expected.is_subnormal() { 0f32.copysign(expected) } else { expected };
            assert_eq!(round::<f32>(value).to_bits(), f64::from(expected).to_bits(), "{value:e}");
        }
    }

    #[test]
    fn f64_loses_its_subnormals_and_nothing_else() {
        for value in [0.0, -1.5, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY] {
            assert_eq!(round::<f64>(value), value);
        }
        assert_eq!(round::<f64>(-5e-324).to_bits(), (-0.0f64).to_bits());
        assert_eq!(store(&[5e-324, 0.0], &mut [1.0f64; 2]).unwrap().flushed, 1);
    }

    #[test]
    fn the_first_number_that_does_not_fit_is_named() {
        let error = store(&[0.0, 1.0, f64::NAN, 1e6], &mut [f16::ZERO; 4]).unwrap_err();
        assert!(matches!(error, FoldError::NotANumber { index: 2, .. }));
        let error = store(&[0.0, -1e39, f64::NAN], &mut [0f32; 3]).unwrap_err();
        assert_eq!(error, FoldError::Overflow { index: 1, value: -1e39, element: ElementType::F32 });
        assert!(error.to_string().contains("element 1 becomes -1e39, which f32 cannot hold"));
    }
}
