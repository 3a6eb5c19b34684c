//! Vectors as arrays: for processors without a form of their own here, and to judge the others by.

use std::ops::{Add, Mul, Sub};

use half::{bf16, f16};

use super::{Isa, LANES, Vector, Wide};
use crate::Real;

/// What every processor has.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

/// Sixteen numbers in an array.
#[derive(Clone, Copy, Debug)]
pub struct Array<P>([P; LANES]);

impl<P: Real> Array<P> {
    #[inline(always)]
    fn with(self, other: Self, f: impl Fn(P, P) -> P) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl<P: Real> Add for Array<P> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
}

impl<P: Real> Sub for Array<P> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
}

impl<P: Real> Mul for Array<P> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }
}

impl<P: Real> Vector<P> for Array<P> {
    // Sixteen calls of a library function on x86-64, which has no fused products without FMA: once is enough.
    #[cfg_attr(target_arch = "x86_64", inline(never))]
    #[cfg_attr(not(target_arch = "x86_64"), inline(always))]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].fused_mul_add(factor.0[i], addend.0[i])))
    }

    #[inline(always)]
    fn where_negative(self, then: Self, otherwise: Self) -> Self {
        Self(std::array::from_fn(|i| if self.0[i] < P::ZERO { then.0[i] } else { otherwise.0[i] }))
    }

    #[inline(always)]
    fn where_positive(self, then: Self, otherwise: Self) -> Self {
        Self(std::array::from_fn(|i| if self.0[i] > P::ZERO { then.0[i] } else { otherwise.0[i] }))
    }
}

impl Wide for Array<f64> {
    #[inline(always)]
    fn total(self) -> f64 {
        let mut lanes = self.0;
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    #[inline(always)]
    fn first(self, len: usize) -> Self {
        Self(std::array::from_fn(|i| if i < len { self.0[i] } else { 0.0 }))
    }
}

/// # Safety
///
/// `len` numbers can be read.
#[inline(always)]
unsafe fn load<P: Real>(from: *const P, len: usize) -> Array<P> {
    let mut lanes = [P::ZERO; LANES];
    // SAFETY: the caller's; at most LANES of them.
    unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), len.min(LANES)) };
    Array(lanes)
}

/// # Safety
///
/// `len` numbers can be written.
#[inline(always)]
unsafe fn store<P: Real>(to: *mut P, v: &Array<P>, len: usize) {
    // SAFETY: the caller's; at most LANES of them.
    unsafe { std::ptr::copy_nonoverlapping(v.0.as_ptr(), to, len.min(LANES)) };
}

#[inline(always)]
fn splat_two<P: Real>(first: P, len: usize, then: P) -> Array<P> {
    let mut lanes = [then; LANES];
    lanes[..len.min(LANES)].fill(first);
    Array(lanes)
}

impl Isa for Portable {
    type F32 = Array<f32>;
    type F64 = Array<f64>;

    #[inline(always)]
    fn splat_f32(self, value: f32) -> Array<f32> {
        Array([value; LANES])
    }

    #[inline(always)]
    fn splat_f64(self, value: f64) -> Array<f64> {
        Array([value; LANES])
    }

    #[inline(always)]
    fn splat_two_f32(self, first: f32, len: usize, then: f32) -> Array<f32> {
        splat_two(first, len, then)
    }

    #[inline(always)]
    fn splat_two_f64(self, first: f64, len: usize, then: f64) -> Array<f64> {
        splat_two(first, len, then)
    }

    #[inline(always)]
    fn widen(self, v: Array<f32>) -> Array<f64> {
        Array(v.0.map(f64::from))
    }

    #[inline(always)]
    unsafe fn load_f32(self, from: *const f32) -> Array<f32> {
        // SAFETY: the caller's.
        unsafe { load(from, LANES) }
    }

    #[inline(always)]
    unsafe fn load_wide_f32(self, from: *const f32) -> Self::F64 {
        // SAFETY: the caller's.
        self.widen(unsafe { self.load_f32(from) })
    }

    #[inline(always)]
    unsafe fn load_part_f32(self, from: *const f32, len: usize) -> Array<f32> {
        // SAFETY: the caller's.
        unsafe { load(from, len) }
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32, v: Array<f32>) {
        // SAFETY: the caller's.
        unsafe { store(to, &v, LANES) }
    }

    #[inline(always)]
    unsafe fn store_part_f32(self, to: *mut f32, v: Array<f32>, len: usize) {
        // SAFETY: the caller's.
        unsafe { store(to, &v, len) }
    }

    #[inline(always)]
    unsafe fn stream_f32(self, to: *mut f32, v: Array<f32>) {
        // SAFETY: the caller's.
        unsafe { store(to, &v, LANES) }
    }

    #[inline(always)]
    unsafe fn load_f64(self, from: *const f64) -> Array<f64> {
        // SAFETY: the caller's.
        unsafe { load(from, LANES) }
    }

    #[inline(always)]
    unsafe fn load_part_f64(self, from: *const f64, len: usize) -> Array<f64> {
        // SAFETY: the caller's.
        unsafe { load(from, len) }
    }

    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, v: Array<f64>) {
        // SAFETY: the caller's.
        unsafe { store(to, &v, LANES) }
    }

    #[inline(always)]
    unsafe fn store_part_f64(self, to: *mut f64, v: Array<f64>, len: usize) {
        // SAFETY: the caller's.
        unsafe { store(to, &v, len) }
    }

    #[inline(always)]
    unsafe fn stream_f64(self, to: *mut f64, v: Array<f64>) {
        // SAFETY: the caller's.
        unsafe { store(to, &v, LANES) }
    }

    type Halves = [u16; LANES];

    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16) -> [u16; LANES] {
        // SAFETY: the caller's.
        unsafe { from.cast::<[u16; LANES]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_halves(self, to: *mut u16, v: [u16; LANES]) {
        // SAFETY: the caller's.
        unsafe { to.cast::<[u16; LANES]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn stream_halves(self, to: *mut u16, v: [u16; LANES]) {
        // SAFETY: the caller's.
        unsafe { self.store_halves(to, v) }
    }

    #[inline(always)]
    fn of_bf16(self, v: [u16; LANES]) -> Array<f32> {
        Array(v.map(|bits| bf16::from_bits(bits).to_f32()))
    }

    #[inline(always)]
    fn to_bf16(self, v: Array<f32>) -> [u16; LANES] {
        v.0.map(|value| bf16::from_f32(value).to_bits())
    }

    #[inline(always)]
    fn of_f16(self, v: [u16; LANES]) -> Array<f32> {
        Array(v.map(|bits| f16::from_bits(bits).to_f32()))
    }

    #[inline(always)]
    fn to_f16(self, v: Array<f32>) -> [u16; LANES] {
        v.0.map(|value| f16::from_f32(value).to_bits())
    }

    #[inline(always)]
    fn prefetch<E>(self, _: *const E) {}
    #[inline(always)]
    fn fence(self) {}
}
