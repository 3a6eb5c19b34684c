//! AVX2 and FMA: sixteen f32 in two registers, sixteen f64 in four.

use std::arch::x86_64::*;
use std::ops::{Add, Mul, Sub};

use super::{Isa, Vector, Wide};

/// Proof that the processor has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// # Safety
    ///
    /// The processor has AVX2 and FMA.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Self(())
    }
}

/// Sixteen f32. Made from an [`Avx2`] only: its existence proves that the instructions are there.
#[derive(Clone, Copy, Debug)]
pub struct F32(__m256, __m256);

/// Sixteen f64, likewise.
#[derive(Clone, Copy, Debug)]
pub struct F64(__m256d, __m256d, __m256d, __m256d);

macro_rules! operators {
    ($($trait:ident $method:ident $f32:ident $f64:ident),*) => {$(
        impl $trait for F32 {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: a vector proves its instructions.
                unsafe { Self($f32(self.0, other.0), $f32(self.1, other.1)) }
            }
        }

        impl $trait for F64 {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: a vector proves its instructions.
                unsafe {
                    Self(
                        $f64(self.0, other.0),
                        $f64(self.1, other.1),
                        $f64(self.2, other.2),
                        $f64(self.3, other.3),
                    )
                }
            }
        }
    )*};
}

operators!(
    Add add _mm256_add_ps _mm256_add_pd,
    Sub sub _mm256_sub_ps _mm256_sub_pd,
    Mul mul _mm256_mul_ps _mm256_mul_pd
);

impl Vector<f32> for F32 {
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            Self(_mm256_fmadd_ps(self.0, factor.0, addend.0), _mm256_fmadd_ps(self.1, factor.1, addend.1))
        }
    }

    #[inline(always)]
    fn where_negative(self, then: Self, otherwise: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let zero = _mm256_setzero_ps();
            let negative =
                (_mm256_cmp_ps::<_CMP_LT_OQ>(self.0, zero), _mm256_cmp_ps::<_CMP_LT_OQ>(self.1, zero));
            Self(
                _mm256_blendv_ps(otherwise.0, then.0, negative.0),
                _mm256_blendv_ps(otherwise.1, then.1, negative.1),
            )
        }
    }

    #[inline(always)]
    fn where_positive(self, then: Self, otherwise: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let zero = _mm256_setzero_ps();
            let positive =
                (_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, zero), _mm256_cmp_ps::<_CMP_GT_OQ>(self.1, zero));
            Self(
                _mm256_blendv_ps(otherwise.0, then.0, positive.0),
                _mm256_blendv_ps(otherwise.1, then.1, positive.1),
            )
        }
    }
}

impl Vector<f64> for F64 {
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            Self(
                _mm256_fmadd_pd(self.0, factor.0, addend.0),
                _mm256_fmadd_pd(self.1, factor.1, addend.1),
                _mm256_fmadd_pd(self.2, factor.2, addend.2),
                _mm256_fmadd_pd(self.3, factor.3, addend.3),
            )
        }
    }

    #[inline(always)]
    fn where_negative(self, then: Self, otherwise: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let zero = _mm256_setzero_pd();
            Self(
                _mm256_blendv_pd(otherwise.0, then.0, _mm256_cmp_pd::<_CMP_LT_OQ>(self.0, zero)),
                _mm256_blendv_pd(otherwise.1, then.1, _mm256_cmp_pd::<_CMP_LT_OQ>(self.1, zero)),
                _mm256_blendv_pd(otherwise.2, then.2, _mm256_cmp_pd::<_CMP_LT_OQ>(self.2, zero)),
                _mm256_blendv_pd(otherwise.3, then.3, _mm256_cmp_pd::<_CMP_LT_OQ>(self.3, zero)),
            )
        }
    }

    #[inline(always)]
    fn where_positive(self, then: Self, otherwise: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let zero = _mm256_setzero_pd();
            Self(
                _mm256_blendv_pd(otherwise.0, then.0, _mm256_cmp_pd::<_CMP_GT_OQ>(self.0, zero)),
                _mm256_blendv_pd(otherwise.1, then.1, _mm256_cmp_pd::<_CMP_GT_OQ>(self.1, zero)),
                _mm256_blendv_pd(otherwise.2, then.2, _mm256_cmp_pd::<_CMP_GT_OQ>(self.2, zero)),
                _mm256_blendv_pd(otherwise.3, then.3, _mm256_cmp_pd::<_CMP_GT_OQ>(self.3, zero)),
            )
        }
    }
}

impl Wide for F64 {
    #[inline(always)]
    fn total(self) -> f64 {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let of_4 = _mm256_add_pd(_mm256_add_pd(self.0, self.2), _mm256_add_pd(self.1, self.3));
            let of_2 = _mm_add_pd(_mm256_castpd256_pd128(of_4), _mm256_extractf128_pd::<1>(of_4));
            _mm_cvtsd_f64(_mm_add_sd(of_2, _mm_unpackhi_pd(of_2, of_2)))
        }
    }

    #[inline(always)]
    fn first(self, len: usize) -> Self {
        let masks = masks_64(len);
        // SAFETY: a vector proves its instructions.
        unsafe {
            Self(
                _mm256_and_pd(self.0, _mm256_castsi256_pd(masks[0])),
                _mm256_and_pd(self.1, _mm256_castsi256_pd(masks[1])),
                _mm256_and_pd(self.2, _mm256_castsi256_pd(masks[2])),
                _mm256_and_pd(self.3, _mm256_castsi256_pd(masks[3])),
            )
        }
    }
}

/// All bits of the first `len < LANES` lanes, of 32 bits each.
#[inline(always)]
fn masks_32(len: usize) -> [__m256i; 2] {
    // SAFETY: this is called where the instructions are.
    unsafe {
        let len = _mm256_set1_epi32(len as i32);
        [
            _mm256_cmpgt_epi32(len, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
            _mm256_cmpgt_epi32(len, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)),
        ]
    }
}

/// The same of 64 bits each.
#[inline(always)]
fn masks_64(len: usize) -> [__m256i; 4] {
    let [low, high] = masks_32(len);
    // SAFETY: this is called where the instructions are.
    unsafe {
        [
            _mm256_cvtepi32_epi64(_mm256_castsi256_si128(low)),
            _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(low)),
            _mm256_cvtepi32_epi64(_mm256_castsi256_si128(high)),
            _mm256_cvtepi32_epi64(_mm256_extracti128_si256::<1>(high)),
        ]
    }
}

/// # Safety
///
/// Sixteen numbers can be read, and the processor has AVX2.
#[inline(always)]
unsafe fn load_f32(from: *const f32) -> F32 {
    // SAFETY: the caller's.
    unsafe { F32(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
}

/// # Safety
///
/// Sixteen numbers can be read, and the processor has AVX2.
#[inline(always)]
unsafe fn load_f64(from: *const f64) -> F64 {
    // SAFETY: the caller's.
    unsafe {
        F64(
            _mm256_loadu_pd(from),
            _mm256_loadu_pd(from.add(4)),
            _mm256_loadu_pd(from.add(8)),
            _mm256_loadu_pd(from.add(12)),
        )
    }
}

/// # Safety
///
/// Sixteen numbers can be written.
#[inline(always)]
unsafe fn store_f32(to: *mut f32, v: F32) {
    // SAFETY: the caller's; a vector proves its instructions.
    unsafe {
        _mm256_storeu_ps(to, v.0);
        _mm256_storeu_ps(to.add(8), v.1);
    }
}

/// # Safety
///
/// Sixteen numbers can be written.
#[inline(always)]
unsafe fn store_f64(to: *mut f64, v: F64) {
    // SAFETY: the caller's; a vector proves its instructions.
    unsafe {
        _mm256_storeu_pd(to, v.0);
        _mm256_storeu_pd(to.add(4), v.1);
        _mm256_storeu_pd(to.add(8), v.2);
        _mm256_storeu_pd(to.add(12), v.3);
    }
}

/// Eight numbers rounded to bf16, as numbers of 32 bits.
///
/// # Safety
///
/// The processor has AVX2.
#[inline(always)]
unsafe fn bf16_bits(v: __m256) -> __m256i {
    // SAFETY: the caller's.
    unsafe {
        let bits = _mm256_castps_si256(v);
        let high = _mm256_srli_epi32::<16>(bits);
        let odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
        let quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
        _mm256_blendv_epi8(_mm256_srli_epi32::<16>(rounded), quiet, nan)
    }
}

impl Isa for Avx2 {
    type F32 = F32;
    type F64 = F64;

    #[inline(always)]
    fn splat_f32(self, value: f32) -> F32 {
        // SAFETY: `self` proves the instructions, here and below.
        let half = unsafe { _mm256_set1_ps(value) };
        F32(half, half)
    }

    #[inline(always)]
    fn splat_f64(self, value: f64) -> F64 {
        // SAFETY: as above.
        let part = unsafe { _mm256_set1_pd(value) };
        F64(part, part, part, part)
    }

    #[inline(always)]
    fn splat_two_f32(self, first: f32, len: usize, then: f32) -> F32 {
        let masks = masks_32(len);
        // SAFETY: as above.
        unsafe {
            let (first, then) = (_mm256_set1_ps(first), _mm256_set1_ps(then));
            F32(
                _mm256_blendv_ps(then, first, _mm256_castsi256_ps(masks[0])),
                _mm256_blendv_ps(then, first, _mm256_castsi256_ps(masks[1])),
            )
        }
    }

    #[inline(always)]
    fn splat_two_f64(self, first: f64, len: usize, then: f64) -> F64 {
        let masks = masks_64(len);
        // SAFETY: as above.
        unsafe {
            let (first, then) = (_mm256_set1_pd(first), _mm256_set1_pd(then));
            F64(
                _mm256_blendv_pd(then, first, _mm256_castsi256_pd(masks[0])),
                _mm256_blendv_pd(then, first, _mm256_castsi256_pd(masks[1])),
                _mm256_blendv_pd(then, first, _mm256_castsi256_pd(masks[2])),
                _mm256_blendv_pd(then, first, _mm256_castsi256_pd(masks[3])),
            )
        }
    }

    #[inline(always)]
    fn widen(self, v: F32) -> F64 {
        // SAFETY: as above.
        unsafe {
            F64(
                _mm256_cvtps_pd(_mm256_castps256_ps128(v.0)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(v.0)),
                _mm256_cvtps_pd(_mm256_castps256_ps128(v.1)),
                _mm256_cvtps_pd(_mm256_extractf128_ps::<1>(v.1)),
            )
        }
    }

    #[inline(always)]
    unsafe fn load_f32(self, from: *const f32) -> F32 {
        // SAFETY: as above, and the caller's.
        unsafe { load_f32(from) }
    }

    #[inline(always)]
    unsafe fn load_wide_f32(self, from: *const f32) -> F64 {
        // SAFETY: the caller's.
        self.widen(unsafe { self.load_f32(from) })
    }

    #[inline(always)]
    unsafe fn load_part_f32(self, from: *const f32, len: usize) -> F32 {
        let masks = masks_32(len);
        // SAFETY: as above, and the caller's; masked lanes are not read, and the address of none need exist.
        unsafe { F32(_mm256_maskload_ps(from, masks[0]), _mm256_maskload_ps(from.wrapping_add(8), masks[1])) }
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32, v: F32) {
        // SAFETY: the caller's.
        unsafe { store_f32(to, v) }
    }

    #[inline(always)]
    unsafe fn store_part_f32(self, to: *mut f32, v: F32, len: usize) {
        let masks = masks_32(len);
        // SAFETY: as above, and the caller's; masked lanes are not written.
        unsafe {
            _mm256_maskstore_ps(to, masks[0], v.0);
            _mm256_maskstore_ps(to.wrapping_add(8), masks[1], v.1);
        }
    }

    #[inline(always)]
    unsafe fn stream_f32(self, to: *mut f32, v: F32) {
        // SAFETY: as above, and the caller's.
        unsafe {
            _mm256_stream_ps(to, v.0);
            _mm256_stream_ps(to.add(8), v.1);
        }
    }

    #[inline(always)]
    unsafe fn load_f64(self, from: *const f64) -> F64 {
        // SAFETY: as above, and the caller's.
        unsafe { load_f64(from) }
    }

    #[inline(always)]
    unsafe fn load_part_f64(self, from: *const f64, len: usize) -> F64 {
        let masks = masks_64(len);
        // SAFETY: as above, and the caller's; masked lanes are not read, and the address of none need exist.
        unsafe {
            F64(
                _mm256_maskload_pd(from, masks[0]),
                _mm256_maskload_pd(from.wrapping_add(4), masks[1]),
                _mm256_maskload_pd(from.wrapping_add(8), masks[2]),
                _mm256_maskload_pd(from.wrapping_add(12), masks[3]),
            )
        }
    }

    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, v: F64) {
        // SAFETY: the caller's.
        unsafe { store_f64(to, v) }
    }

    #[inline(always)]
    unsafe fn store_part_f64(self, to: *mut f64, v: F64, len: usize) {
        let masks = masks_64(len);
        // SAFETY: as above, and the caller's; masked lanes are not written.
        unsafe {
            _mm256_maskstore_pd(to, masks[0], v.0);
            _mm256_maskstore_pd(to.wrapping_add(4), masks[1], v.1);
            _mm256_maskstore_pd(to.wrapping_add(8), masks[2], v.2);
            _mm256_maskstore_pd(to.wrapping_add(12), masks[3], v.3);
        }
    }

    #[inline(always)]
    unsafe fn stream_f64(self, to: *mut f64, v: F64) {
        // SAFETY: as above, and the caller's.
        unsafe {
            _mm256_stream_pd(to, v.0);
            _mm256_stream_pd(to.add(4), v.1);
            _mm256_stream_pd(to.add(8), v.2);
            _mm256_stream_pd(to.add(12), v.3);
        }
    }

    type Halves = __m256i;

    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16) -> __m256i {
        // SAFETY: as above, and the caller's.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_halves(self, to: *mut u16, v: __m256i) {
        // SAFETY: as above, and the caller's.
        unsafe { _mm256_storeu_si256(to.cast(), v) }
    }

    #[inline(always)]
    unsafe fn stream_halves(self, to: *mut u16, v: __m256i) {
        // SAFETY: as above, and the caller's.
        unsafe { _mm256_stream_si256(to.cast(), v) }
    }

    #[inline(always)]
    fn of_bf16(self, v: __m256i) -> F32 {
        // SAFETY: as above.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(v));
            let high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256::<1>(v));
            F32(
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            )
        }
    }

    #[inline(always)]
    fn to_bf16(self, v: F32) -> __m256i {
        // SAFETY: as above.
        unsafe {
            // Packed, the halves of both lie in turns of 64 bits.
            _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(bf16_bits(v.0), bf16_bits(v.1)))
        }
    }

    #[inline(always)]
    fn of_f16(self, v: __m256i) -> F32 {
        // SAFETY: as above.
        unsafe {
            let (low, high) = (_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            F32(_mm256_cvtph_ps(low), _mm256_cvtph_ps(high))
        }
    }

    #[inline(always)]
    fn to_f16(self, v: F32) -> __m256i {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;
        // SAFETY: as above.
        unsafe { _mm256_set_m128i(_mm256_cvtps_ph::<NEAREST>(v.1), _mm256_cvtps_ph::<NEAREST>(v.0)) }
    }

    #[inline(always)]
    fn prefetch<E>(self, address: *const E) {
        // SAFETY: as above; a prefetch faults nowhere.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    fn fence(self) {
        // SAFETY: as above.
        unsafe { _mm_sfence() }
    }
}
