//! The types that a tensor may hold, and the types its parameters and statistics have.

use std::fmt::Debug;
use std::ops::{Add, Mul, Neg, Sub};

use half::{bf16, f16};

use crate::cpu::{ChannelsFirst, Lanes};
use crate::scratch::Scratch;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

/// What a tensor may hold: f32, f64, and the half types [`bf16`](struct@half::bf16) and [`f16`](struct@half::f16).
///
/// The maps compute in [`Element::Parameter`], the type that gamma, beta and the stored running statistics
/// have; the folds accumulate in f64 whatever the element. The half types' is f32: their elements are widened
/// exactly, computed with in f32, and rounded once, to the nearest (ties to even).
///
/// ```
/// use batchnorm::{Coefficients, Cpu, Epilogue, Kernels, Moments, Shape, View, ViewMut, bf16};
///
/// let shape = Shape::new(4, 1, 1)?;
/// let x = [1.0, 2.0, 3.0, 4.0].map(bf16::from_f32);
/// let mut moments = [Moments::EMPTY];
/// Cpu.moments(View::new("x", shape, &x)?, &mut moments);
/// assert_eq!((moments[0].mean, moments[0].m2), (2.5, 5.0));
///
/// let coefficients = [Coefficients::of_batch(&moments[0], 0.0, (1.0, 0.0))];
/// let mut y = [bf16::ZERO; 4];
/// Cpu.normalize(&coefficients, View::new("x", shape, &x)?, Epilogue::None, ViewMut::new("y", shape, &mut y)?);
/// assert_eq!(y[0], bf16::from_f64(-1.5 / 1.25f64.sqrt()));
/// # Ok::<(), batchnorm::Error>(())
/// ```
///
/// The trait is sealed: kernels are written for the types listed here.
pub trait Element:
    Copy
    + Debug
    + Default
    + PartialEq
    + PartialOrd
    + Send
    + Sync
    + Lanes<Computed = <Self as Element>::Parameter>
    + ChannelsFirst<Computed = <Self as Element>::Parameter>
    + sealed::Sealed
    + 'static
{
    /// The type of gamma, beta and the running statistics of tensors of this type.
    type Parameter: Real + Lanes + Scratch;

    /// The value in the type that maps compute in. Exact.
    fn widen(self) -> Self::Parameter;

    /// The value rounded to the tensor's own type.
    fn narrow(value: Self::Parameter) -> Self;

    /// The value in f64. Exact.
    fn to_f64(self) -> f64;

    /// The value rounded from f64.
    fn from_f64(value: f64) -> Self;

    /// The largest relative error of rounding to this type, within the range of its normal numbers: half the distance
    /// from 1 to the next larger number.
    fn roundoff() -> f64;
}

/// An [`Element`] that is computed with directly: f32 or f64.
pub trait Real:
    Element<Parameter = Self> + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Neg<Output = Self>
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;

    /// Whether the value is neither NaN nor infinite.
    fn is_finite(self) -> bool;

    /// `self * factor + addend`, rounded once.
    fn fused_mul_add(self, factor: Self, addend: Self) -> Self;
}

macro_rules! real {
    ($type:ty) => {
        impl Element for $type {
            type Parameter = $type;

            #[inline(always)]
            fn widen(self) -> Self {
                self
            }

            #[inline(always)]
            fn narrow(value: Self) -> Self {
                value
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as $type
            }

            fn roundoff() -> f64 {
                <$type>::EPSILON.to_f64() / 2.0
            }
        }

        impl Real for $type {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            fn is_finite(self) -> bool {
                <$type>::is_finite(self)
            }

            #[inline(always)]
            fn fused_mul_add(self, factor: Self, addend: Self) -> Self {
                self.mul_add(factor, addend)
            }
        }
    };
}

real!(f32);
real!(f64);

macro_rules! half {
    ($type:ty) => {
        impl Element for $type {
            type Parameter = f32;

            #[inline(always)]
            fn widen(self) -> f32 {
                self.to_f32()
            }

            #[inline(always)]
            fn narrow(value: f32) -> Self {
                Self::from_f32(value)
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.to_f64()
            }

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                Self::from_f64(value)
            }

            fn roundoff() -> f64 {
                Self::EPSILON.to_f64() / 2.0
            }
        }
    };
}

half!(bf16);
half!(f16);
