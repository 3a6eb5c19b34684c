//! The types that a tensor may hold, and the types its parameters and statistics have.

use std::fmt::Debug;
use std::ops::{Add, Mul, Neg, Sub};

use crate::cpu::{ChannelsFirst, Lanes};
use crate::scratch::Scratch;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// What a tensor may hold: f32 and f64.
///
/// The maps compute in [`Element::Parameter`], the type that gamma, beta and the stored running statistics
/// have; the folds accumulate in f64 whatever the element. Half types would widen to f32 parameters.
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
