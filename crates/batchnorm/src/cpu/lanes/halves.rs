//! Half types: widened to f32 as they are read, rounded once as they are written.

use super::{Isa, Lanes};
use crate::cpu::narrow::Narrow;
use crate::scratch;

macro_rules! half {
    ($type:ty, $of:ident, $to:ident, $($more:tt)*) => {
        impl Lanes for $type {
            type Computed = f32;
            type V<I: Isa> = I::F32;

            #[inline(always)]
            fn of_computed<I: Isa>(v: I::F32) -> I::F32 {
                v
            }

            #[inline(always)]
            fn splat<I: Isa>(isa: I, value: f32) -> I::F32 {
                isa.splat_f32(value)
            }

            #[inline(always)]
            fn splat_two<I: Isa>(isa: I, first: f32, len: usize, then: f32) -> I::F32 {
                isa.splat_two_f32(first, len, then)
            }

            #[inline(always)]
            fn widen_lanes<I: Isa>(isa: I, v: I::F32) -> I::F64 {
                isa.widen(v)
            }

            #[inline(always)]
            unsafe fn load<I: Isa>(isa: I, from: *const Self) -> I::F32 {
                // SAFETY: the caller's; the type is 16 bits, here and below.
                isa.$of(unsafe { isa.load_halves(from.cast()) })
            }

            #[inline(always)]
            unsafe fn load_wide<I: Isa>(isa: I, from: *const Self) -> I::F64 {
                // SAFETY: the caller's.
                isa.widen(isa.$of(unsafe { isa.load_halves(from.cast()) }))
            }

            #[inline(always)]
            unsafe fn load_part<I: Isa>(isa: I, from: *const Self, len: usize) -> I::F32 {
                // SAFETY: the caller's.
                isa.$of(unsafe { isa.load_part_halves(from.cast(), len) })
            }

            #[inline(always)]
            unsafe fn store<I: Isa>(isa: I, to: *mut Self, v: I::F32) {
                // SAFETY: the caller's.
                unsafe { isa.store_halves(to.cast(), isa.$to(v)) }
            }

            #[inline(always)]
            unsafe fn store_part<I: Isa>(isa: I, to: *mut Self, v: I::F32, len: usize) {
                // SAFETY: the caller's.
                unsafe { isa.store_part_halves(to.cast(), isa.$to(v), len) }
            }

            #[inline(always)]
            unsafe fn stream<I: Isa>(isa: I, to: *mut Self, v: I::F32) {
                // SAFETY: the caller's.
                unsafe { isa.stream_halves(to.cast(), isa.$to(v)) }
            }

            $($more)*

            fn with_narrows<R>(len: usize, job: impl FnOnce(&mut [Narrow<f32>]) -> R) -> R {
                scratch::with(len, Narrow::default(), job)
            }
        }
    };
}

half! { half::bf16, of_bf16, to_bf16,
    const BF16: bool = true;

    #[inline(always)]
    unsafe fn store_pair<I: Isa>(isa: I, to: *mut Self, first: I::F32, second: I::F32) {
        // SAFETY: the caller's.
        unsafe { isa.store_bf16_pair(to.cast(), first, second) }
    }

    #[inline(always)]
    unsafe fn stream_pair<I: Isa>(isa: I, to: *mut Self, first: I::F32, second: I::F32) {
        // SAFETY: the caller's.
        unsafe { isa.stream_bf16_pair(to.cast(), first, second) }
    }
}
half! { half::f16, of_f16, to_f16, }
