//! Sixteen numbers at a time, whatever the width of a register.
//!
//! Kernels are written once, over [`Isa`]: its vectors hold [`LANES`] numbers on every processor, in one register or in
//! several. Hence every instruction set adds up the same lanes in the same order and computes the same bits; products that
//! are added are fused everywhere ([`Vector::mul_add`]).
//!
//! A vector can only be made with an instruction set at hand, and that only by
//! [`dispatch`](super::dispatch::on) where the processor has it: so whoever holds a vector may use its instructions.

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
mod halves;
pub mod portable;

use std::ops::{Add, Mul, Sub};

use super::narrow::Narrow;
use crate::Real;
use crate::scratch::{self, Scratch};

/// Numbers of a vector.
pub const LANES: usize = 16;

/// [`LANES`] numbers of type `P`.
pub trait Vector<P: Real>: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// `self * factor + addend`, rounded once.
    fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// `then` where `self < 0`, else `otherwise`; NaN is not below 0.
    fn where_negative(self, then: Self, otherwise: Self) -> Self;

    /// `then` where `self > 0`, else `otherwise`; NaN is not above 0.
    fn where_positive(self, then: Self, otherwise: Self) -> Self;
}

/// Vectors of f64, in which folds add up.
pub trait Wide: Vector<f64> {
    /// The sum of the lanes: halves are added to each other, down to one.
    fn total(self) -> f64;

    /// The first `len` lanes; zeros in the others.
    fn first(self, len: usize) -> Self;
}

/// An instruction set: what vectors are made with.
pub trait Isa: Copy + Send + Sync + 'static {
    /// Vectors of f32.
    type F32: Vector<f32>;
    /// Vectors of f64.
    type F64: Wide;

    /// The same number in every lane.
    fn splat_f32(self, value: f32) -> Self::F32;
    /// The same number in every lane.
    fn splat_f64(self, value: f64) -> Self::F64;
    /// `first` in the first `len < LANES` lanes, `then` in the others.
    fn splat_two_f32(self, first: f32, len: usize, then: f32) -> Self::F32;
    /// As for f32.
    fn splat_two_f64(self, first: f64, len: usize, then: f64) -> Self::F64;
    /// Exact.
    fn widen(self, v: Self::F32) -> Self::F64;

    /// [`LANES`] numbers at `from`.
    ///
    /// # Safety
    ///
    /// They can be read.
    unsafe fn load_f32(self, from: *const f32) -> Self::F32;
    /// [`LANES`] numbers at `from`, in f64.
    ///
    /// # Safety
    ///
    /// They can be read.
    unsafe fn load_wide_f32(self, from: *const f32) -> Self::F64;
    /// `len < LANES` numbers at `from`, then zeros.
    ///
    /// # Safety
    ///
    /// They can be read.
    unsafe fn load_part_f32(self, from: *const f32, len: usize) -> Self::F32;
    /// Writes [`LANES`] numbers.
    ///
    /// # Safety
    ///
    /// They can be written.
    unsafe fn store_f32(self, to: *mut f32, v: Self::F32);
    /// Writes the first `len < LANES` numbers.
    ///
    /// # Safety
    ///
    /// They can be written.
    unsafe fn store_part_f32(self, to: *mut f32, v: Self::F32, len: usize);
    /// Writes [`LANES`] numbers past the cache.
    ///
    /// # Safety
    ///
    /// They can be written, and `to` is a multiple of 64.
    unsafe fn stream_f32(self, to: *mut f32, v: Self::F32);

    /// As for f32.
    ///
    /// # Safety
    ///
    /// As for f32.
    unsafe fn load_f64(self, from: *const f64) -> Self::F64;
    /// As for f32.
    ///
    /// # Safety
    ///
    /// As for f32.
    unsafe fn load_part_f64(self, from: *const f64, len: usize) -> Self::F64;
    /// As for f32.
    ///
    /// # Safety
    ///
    /// As for f32.
    unsafe fn store_f64(self, to: *mut f64, v: Self::F64);
    /// As for f32.
    ///
    /// # Safety
    ///
    /// As for f32.
    unsafe fn store_part_f64(self, to: *mut f64, v: Self::F64, len: usize);
    /// As for f32.
    ///
    /// # Safety
    ///
    /// As for f32.
    unsafe fn stream_f64(self, to: *mut f64, v: Self::F64);

    /// Sixteen numbers of 16 bits.
    type Halves: Copy;

    /// As for f32.
    ///
    /// # Safety
    ///
    /// As for f32.
    unsafe fn load_halves(self, from: *const u16) -> Self::Halves;
    /// As for f32.
    ///
    /// # Safety
    ///
    /// As for f32.
    #[inline(always)]
    unsafe fn load_part_halves(self, from: *const u16, len: usize) -> Self::Halves {
        let mut values = [0u16; LANES];
        // SAFETY: the caller's: the first `len` can be read.
        unsafe {
            from.copy_to_nonoverlapping(values.as_mut_ptr(), len.min(LANES));
            self.load_halves(values.as_ptr())
        }
    }
    /// As for f32.
    ///
    /// # Safety
    ///
    /// As for f32.
    unsafe fn store_halves(self, to: *mut u16, v: Self::Halves);
    /// As for f32.
    ///
    /// # Safety
    ///
    /// As for f32.
    #[inline(always)]
    unsafe fn store_part_halves(self, to: *mut u16, v: Self::Halves, len: usize) {
        let mut values = [0u16; LANES];
        // SAFETY: the caller's: the first `len` can be written.
        unsafe {
            self.store_halves(values.as_mut_ptr(), v);
            to.copy_from_nonoverlapping(values.as_ptr(), len.min(LANES));
        }
    }
    /// Writes [`LANES`] numbers past the cache.
    ///
    /// # Safety
    ///
    /// They can be written, and `to` is a multiple of 32.
    unsafe fn stream_halves(self, to: *mut u16, v: Self::Halves);
    /// Exact.
    fn of_bf16(self, v: Self::Halves) -> Self::F32;
    /// To the nearest, ties to even.
    fn to_bf16(self, v: Self::F32) -> Self::Halves;
    /// Writes twice [`LANES`] numbers, rounded likewise.
    ///
    /// # Safety
    ///
    /// They can be written.
    #[inline(always)]
    unsafe fn store_bf16_pair(self, to: *mut u16, first: Self::F32, second: Self::F32) {
        // SAFETY: the caller's.
        unsafe {
            self.store_halves(to, self.to_bf16(first));
            self.store_halves(to.add(LANES), self.to_bf16(second));
        }
    }
    /// The same past the cache.
    ///
    /// # Safety
    ///
    /// They can be written, and `to` is a multiple of 64.
    #[inline(always)]
    unsafe fn stream_bf16_pair(self, to: *mut u16, first: Self::F32, second: Self::F32) {
        // SAFETY: the caller's.
        unsafe {
            self.stream_halves(to, self.to_bf16(first));
            self.stream_halves(to.add(LANES), self.to_bf16(second));
        }
    }
    /// Exact.
    fn of_f16(self, v: Self::Halves) -> Self::F32;
    /// To the nearest, ties to even.
    fn to_f16(self, v: Self::F32) -> Self::Halves;

    /// Asks for the line at an address, which need not exist.
    fn prefetch<E>(self, address: *const E);

    /// After streaming stores, before another thread reads.
    fn fence(self);
}

/// An element type that vectors are made of: how a tensor's elements become [`Vector`]s and back.
pub trait Lanes: Copy + Send + Sync + 'static {
    /// What the maps compute in.
    type Computed: Real + Lanes + Scratch;
    /// Vectors of it.
    type V<I: Isa>: Vector<Self::Computed>;
    /// Whether it is bf16, for which AVX-512 has instructions of its own.
    const BF16: bool = false;

    /// Numbers of the type that maps compute in are no others in these vectors.
    fn of_computed<I: Isa>(v: <Self::Computed as Lanes>::V<I>) -> Self::V<I>;

    /// The same number in every lane.
    fn splat<I: Isa>(isa: I, value: Self::Computed) -> Self::V<I>;

    /// `first` in the first `len < LANES` lanes, `then` in the others.
    fn splat_two<I: Isa>(isa: I, first: Self::Computed, len: usize, then: Self::Computed) -> Self::V<I>;

    /// In f64. Exact.
    fn widen_lanes<I: Isa>(isa: I, v: Self::V<I>) -> I::F64;

    /// [`LANES`] elements.
    ///
    /// # Safety
    ///
    /// They can be read.
    unsafe fn load<I: Isa>(isa: I, from: *const Self) -> Self::V<I>;

    /// [`LANES`] elements, in f64.
    ///
    /// # Safety
    ///
    /// They can be read.
    unsafe fn load_wide<I: Isa>(isa: I, from: *const Self) -> I::F64;

    /// `len < LANES` elements, then zeros.
    ///
    /// # Safety
    ///
    /// They can be read.
    unsafe fn load_part<I: Isa>(isa: I, from: *const Self, len: usize) -> Self::V<I>;

    /// Writes [`LANES`] elements.
    ///
    /// # Safety
    ///
    /// They can be written.
    unsafe fn store<I: Isa>(isa: I, to: *mut Self, v: Self::V<I>);

    /// Writes the first `len < LANES` elements.
    ///
    /// # Safety
    ///
    /// They can be written.
    unsafe fn store_part<I: Isa>(isa: I, to: *mut Self, v: Self::V<I>, len: usize);

    /// Writes [`LANES`] elements past the cache.
    ///
    /// # Safety
    ///
    /// They can be written, and `to` is a multiple of 64.
    unsafe fn stream<I: Isa>(isa: I, to: *mut Self, v: Self::V<I>);

    /// Writes twice [`LANES`] elements.
    ///
    /// # Safety
    ///
    /// They can be written.
    #[inline(always)]
    unsafe fn store_pair<I: Isa>(isa: I, to: *mut Self, first: Self::V<I>, second: Self::V<I>) {
        // SAFETY: the caller's.
        unsafe {
            Self::store(isa, to, first);
            Self::store(isa, to.add(LANES), second);
        }
    }

    /// The same past the cache.
    ///
    /// # Safety
    ///
    /// They can be written, and `to` is a multiple of 64.
    #[inline(always)]
    unsafe fn stream_pair<I: Isa>(isa: I, to: *mut Self, first: Self::V<I>, second: Self::V<I>) {
        // SAFETY: the caller's.
        unsafe {
            Self::stream(isa, to, first);
            Self::stream(isa, to.add(LANES), second);
        }
    }

    /// Calls `job` with room for `len` channels' coefficients, in memory that this thread keeps.
    fn with_narrows<R>(len: usize, job: impl FnOnce(&mut [Narrow<Self::Computed>]) -> R) -> R;
}

macro_rules! lanes {
    ($type:ty, $vector:ident, $splat:ident, $splat_two:ident, $load:ident, $load_wide:ident,
     $load_part:ident, $store:ident, $store_part:ident, $stream:ident, |$isa:ident, $v:ident| $widen:expr) => {
        impl Lanes for $type {
            type Computed = $type;
            type V<I: Isa> = I::$vector;

            #[inline(always)]
            fn of_computed<I: Isa>(v: Self::V<I>) -> Self::V<I> {
                v
            }

            #[inline(always)]
            fn splat<I: Isa>(isa: I, value: Self) -> Self::V<I> {
                isa.$splat(value)
            }

            #[inline(always)]
            fn splat_two<I: Isa>(isa: I, first: Self, len: usize, then: Self) -> Self::V<I> {
                isa.$splat_two(first, len, then)
            }

            #[inline(always)]
            fn widen_lanes<I: Isa>($isa: I, $v: Self::V<I>) -> I::F64 {
                $widen
            }

            fn with_narrows<R>(len: usize, job: impl FnOnce(&mut [Narrow<Self>]) -> R) -> R {
                scratch::with(len, Narrow::default(), job)
            }

            #[inline(always)]
            unsafe fn load<I: Isa>(isa: I, from: *const Self) -> Self::V<I> {
                // SAFETY: the caller's.
                unsafe { isa.$load(from) }
            }

            #[inline(always)]
            unsafe fn load_wide<I: Isa>(isa: I, from: *const Self) -> I::F64 {
                // SAFETY: the caller's.
                unsafe { isa.$load_wide(from) }
            }

            #[inline(always)]
            unsafe fn load_part<I: Isa>(isa: I, from: *const Self, len: usize) -> Self::V<I> {
                // SAFETY: the caller's.
                unsafe { isa.$load_part(from, len) }
            }

            #[inline(always)]
            unsafe fn store<I: Isa>(isa: I, to: *mut Self, v: Self::V<I>) {
                // SAFETY: the caller's.
                unsafe { isa.$store(to, v) }
            }

            #[inline(always)]
            unsafe fn store_part<I: Isa>(isa: I, to: *mut Self, v: Self::V<I>, len: usize) {
                // SAFETY: the caller's.
                unsafe { isa.$store_part(to, v, len) }
            }

            #[inline(always)]
            unsafe fn stream<I: Isa>(isa: I, to: *mut Self, v: Self::V<I>) {
                // SAFETY: the caller's.
                unsafe { isa.$stream(to, v) }
            }
        }
    };
}

lanes!(
    f32,
    F32,
    splat_f32,
    splat_two_f32,
    load_f32,
    load_wide_f32,
    load_part_f32,
    store_f32,
    store_part_f32,
    stream_f32,
    |isa, v| isa.widen(v)
);
lanes!(
    f64,
    F64,
    splat_f64,
    splat_two_f64,
    load_f64,
    load_f64,
    load_part_f64,
    store_f64,
    store_part_f64,
    stream_f64,
    |_isa, v| v
);
