//! AVX-512: sixteen f32 in one register, sixteen f64 in two. With AVX-512 BF16, too, one instruction rounds two vectors.

use std::arch::x86_64::*;
use std::ops::{Add, Mul, Sub};

use super::{Isa, LANES, Vector, Wide};

/// Proof that the processor has AVX-512 F, DQ, BW and VL, and `BF16`.
#[derive(Clone, Copy, Debug)]
pub struct Avx512<const BF16: bool>(());

impl<const BF16: bool> Avx512<BF16> {
    /// # Safety
    ///
    /// The processor has AVX-512 F, DQ, BW and VL, and BF16 if that is so.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Self(())
    }
}

/// Sixteen f32. Made from an [`Avx512`] only: its existence proves that the instructions are there.
#[derive(Clone, Copy, Debug)]
pub struct F32(__m512);

/// Sixteen f64, likewise: lanes 0 to 7, and 8 to 15.
#[derive(Clone, Copy, Debug)]
pub struct F64(__m512d, __m512d);

macro_rules! operators {
    ($($trait:ident $method:ident $f32:ident $f64:ident),*) => {$(
        impl $trait for F32 {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: a vector proves its instructions.
                Self(unsafe { $f32(self.0, other.0) })
            }
        }

        impl $trait for F64 {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                // SAFETY: a vector proves its instructions.
                unsafe { Self($f64(self.0, other.0), $f64(self.1, other.1)) }
            }
        }
    )*};
}

operators!(
    Add add _mm512_add_ps _mm512_add_pd,
    Sub sub _mm512_sub_ps _mm512_sub_pd,
    Mul mul _mm512_mul_ps _mm512_mul_pd
);

impl Vector<f32> for F32 {
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn where_negative(self, then: Self, otherwise: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let negative = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, _mm512_setzero_ps());
            Self(_mm512_mask_blend_ps(negative, otherwise.0, then.0))
        }
    }

    #[inline(always)]
    fn where_positive(self, then: Self, otherwise: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps());
            Self(_mm512_mask_blend_ps(positive, otherwise.0, then.0))
        }
    }
}

impl Vector<f64> for F64 {
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            Self(_mm512_fmadd_pd(self.0, factor.0, addend.0), _mm512_fmadd_pd(self.1, factor.1, addend.1))
        }
    }

    #[inline(always)]
    fn where_negative(self, then: Self, otherwise: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let zero = _mm512_setzero_pd();
            let negative = (
                _mm512_cmp_pd_mask::<_CMP_LT_OQ>(self.0, zero),
                _mm512_cmp_pd_mask::<_CMP_LT_OQ>(self.1, zero),
            );
            Self(
                _mm512_mask_blend_pd(negative.0, otherwise.0, then.0),
                _mm512_mask_blend_pd(negative.1, otherwise.1, then.1),
            )
        }
    }

    #[inline(always)]
    fn where_positive(self, then: Self, otherwise: Self) -> Self {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let zero = _mm512_setzero_pd();
            let positive = (
                _mm512_cmp_pd_mask::<_CMP_GT_OQ>(self.0, zero),
                _mm512_cmp_pd_mask::<_CMP_GT_OQ>(self.1, zero),
            );
            Self(
                _mm512_mask_blend_pd(positive.0, otherwise.0, then.0),
                _mm512_mask_blend_pd(positive.1, otherwise.1, then.1),
            )
        }
    }
}

impl Wide for F64 {
    #[inline(always)]
    fn total(self) -> f64 {
        // SAFETY: a vector proves its instructions.
        unsafe {
            let of_8 = _mm512_add_pd(self.0, self.1);
            let of_4 = _mm256_add_pd(_mm512_castpd512_pd256(of_8), _mm512_extractf64x4_pd::<1>(of_8));
            let of_2 = _mm_add_pd(_mm256_castpd256_pd128(of_4), _mm256_extractf128_pd::<1>(of_4));
            _mm_cvtsd_f64(_mm_add_sd(of_2, _mm_unpackhi_pd(of_2, of_2)))
        }
    }

    #[inline(always)]
    fn first(self, len: usize) -> Self {
        let mask = first_lanes(len);
        // SAFETY: a vector proves its instructions.
        unsafe { Self(_mm512_maskz_mov_pd(mask as u8, self.0), _mm512_maskz_mov_pd((mask >> 8) as u8, self.1)) }
    }
}

/// Whether a lane is: the instructions of AVX-512 BF16 take it for zero, so their bits would be other than other processors'.
#[inline(always)]
fn is_subnormal(v: F32) -> bool {
    // SAFETY: a vector proves its instructions.
    unsafe { _mm512_fpclass_ps_mask::<0x20>(v.0) != 0 }
}

impl<const BF16: bool> Avx512<BF16> {
    /// Both as bf16, unless there is something among them that takes longer.
    #[inline(always)]
    fn pair_to_bf16(self, first: F32, second: F32) -> Option<__m512i> {
        // SAFETY: `self` proves the instructions.
        unsafe {
            if BF16 {
                let subnormal = is_subnormal(first) | is_subnormal(second);
                let both = _mm512_cvtne2ps_pbh(second.0, first.0);
                return (!subnormal).then_some(std::mem::transmute::<__m512bh, __m512i>(both));
            }
            // As one vector is rounded. The lower half of either is zero where the lesser one is.
            let half = _mm512_set1_epi32(0x8000);
            let rounded = (
                _mm512_add_epi32(_mm512_castps_si512(first.0), half),
                _mm512_add_epi32(_mm512_castps_si512(second.0), half),
            );
            let least = _mm512_min_epu16(rounded.0, rounded.1);
            let ties = _mm512_testn_epi32_mask(least, _mm512_set1_epi32(0xffff));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(first.0, second.0);
            let upper = _mm512_set_epi16(
                63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27, 25, 23, 21, 19, 17,
                15, 13, 11, 9, 7, 5, 3, 1,
            );
            let both = _mm512_permutex2var_epi16(rounded.0, upper, rounded.1);
            (ties | nan == 0).then_some(both)
        }
    }
}

/// A bit for each of the first `len < 16` lanes.
#[inline(always)]
fn first_lanes(len: usize) -> u16 {
    ((1u32 << (len & 15)) - 1) as u16
}

impl<const BF16: bool> Isa for Avx512<BF16> {
    type F32 = F32;
    type F64 = F64;

    #[inline(always)]
    fn splat_f32(self, value: f32) -> F32 {
        // SAFETY: `self` proves the instructions, here and below.
        F32(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn splat_f64(self, value: f64) -> F64 {
        // SAFETY: as above.
        let half = unsafe { _mm512_set1_pd(value) };
        F64(half, half)
    }

    #[inline(always)]
    fn splat_two_f32(self, first: f32, len: usize, then: f32) -> F32 {
        // SAFETY: as above.
        F32(unsafe { _mm512_mask_blend_ps(first_lanes(len), _mm512_set1_ps(then), _mm512_set1_ps(first)) })
    }

    #[inline(always)]
    fn splat_two_f64(self, first: f64, len: usize, then: f64) -> F64 {
        let mask = first_lanes(len);
        // SAFETY: as above.
        unsafe {
            let (first, then) = (_mm512_set1_pd(first), _mm512_set1_pd(then));
            F64(
                _mm512_mask_blend_pd(mask as u8, then, first),
                _mm512_mask_blend_pd((mask >> 8) as u8, then, first),
            )
        }
    }

    #[inline(always)]
    fn widen(self, v: F32) -> F64 {
        // SAFETY: as above.
        unsafe {
            F64(_mm512_cvtps_pd(_mm512_castps512_ps256(v.0)), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(v.0)))
        }
    }

    #[inline(always)]
    unsafe fn load_f32(self, from: *const f32) -> F32 {
        // SAFETY: as above, and the caller's.
        F32(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn load_wide_f32(self, from: *const f32) -> F64 {
        // SAFETY: as above, and the caller's. Two loads: taking a register apart costs more.
        unsafe { F64(_mm512_cvtps_pd(_mm256_loadu_ps(from)), _mm512_cvtps_pd(_mm256_loadu_ps(from.add(8)))) }
    }

    #[inline(always)]
    unsafe fn load_part_f32(self, from: *const f32, len: usize) -> F32 {
        // SAFETY: as above; masked lanes are not read.
        F32(unsafe { _mm512_maskz_loadu_ps(first_lanes(len), from) })
    }

    #[inline(always)]
    unsafe fn store_f32(self, to: *mut f32, v: F32) {
        // SAFETY: as above, and the caller's.
        unsafe { _mm512_storeu_ps(to, v.0) }
    }

    #[inline(always)]
    unsafe fn store_part_f32(self, to: *mut f32, v: F32, len: usize) {
        // SAFETY: as above; masked lanes are not written.
        unsafe { _mm512_mask_storeu_ps(to, first_lanes(len), v.0) }
    }

    #[inline(always)]
    unsafe fn stream_f32(self, to: *mut f32, v: F32) {
        // SAFETY: as above, and the caller's.
        unsafe { _mm512_stream_ps(to, v.0) }
    }

    #[inline(always)]
    unsafe fn load_f64(self, from: *const f64) -> F64 {
        // SAFETY: as above, and the caller's.
        unsafe { F64(_mm512_loadu_pd(from), _mm512_loadu_pd(from.add(8))) }
    }

    #[inline(always)]
    unsafe fn load_part_f64(self, from: *const f64, len: usize) -> F64 {
        let mask = first_lanes(len);
        // SAFETY: as above; masked lanes are not read, and the address of none need exist.
        unsafe {
            F64(
                _mm512_maskz_loadu_pd(mask as u8, from),
                _mm512_maskz_loadu_pd((mask >> 8) as u8, from.wrapping_add(8)),
            )
        }
    }

    #[inline(always)]
    unsafe fn store_f64(self, to: *mut f64, v: F64) {
        // SAFETY: as above, and the caller's.
        unsafe {
            _mm512_storeu_pd(to, v.0);
            _mm512_storeu_pd(to.add(8), v.1);
        }
    }

    #[inline(always)]
    unsafe fn store_part_f64(self, to: *mut f64, v: F64, len: usize) {
        let mask = first_lanes(len);
        // SAFETY: as above; masked lanes are not written, and the address of none need exist.
        unsafe {
            _mm512_mask_storeu_pd(to, mask as u8, v.0);
            _mm512_mask_storeu_pd(to.wrapping_add(8), (mask >> 8) as u8, v.1);
        }
    }

    #[inline(always)]
    unsafe fn stream_f64(self, to: *mut f64, v: F64) {
        // SAFETY: as above, and the caller's.
        unsafe {
            _mm512_stream_pd(to, v.0);
            _mm512_stream_pd(to.add(8), v.1);
        }
    }

    type Halves = __m256i;

    #[inline(always)]
    unsafe fn load_halves(self, from: *const u16) -> __m256i {
        // SAFETY: as above, and the caller's.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn load_part_halves(self, from: *const u16, len: usize) -> __m256i {
        // SAFETY: as above; masked lanes are not read.
        unsafe { _mm256_maskz_loadu_epi16(first_lanes(len), from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_halves(self, to: *mut u16, v: __m256i) {
        // SAFETY: as above, and the caller's.
        unsafe { _mm256_storeu_si256(to.cast(), v) }
    }

    #[inline(always)]
    unsafe fn store_part_halves(self, to: *mut u16, v: __m256i, len: usize) {
        // SAFETY: as above; masked lanes are not written.
        unsafe { _mm256_mask_storeu_epi16(to.cast(), first_lanes(len), v) }
    }

    #[inline(always)]
    unsafe fn stream_halves(self, to: *mut u16, v: __m256i) {
        // SAFETY: as above, and the caller's.
        unsafe { _mm256_stream_si256(to.cast(), v) }
    }

    #[inline(always)]
    fn of_bf16(self, v: __m256i) -> F32 {
        // Each number becomes the upper half of a lane, by one instruction where a conversion and a shift take two.
        // SAFETY: as above.
        unsafe {
            let upper = _mm512_set_epi16(
                15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7, 0, 6, 0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0,
                0, 0,
            );
            let lanes = _mm512_maskz_permutexvar_epi16(0xaaaa_aaaa, upper, _mm512_castsi256_si512(v));
            F32(_mm512_castsi512_ps(lanes))
        }
    }

    #[inline(always)]
    fn to_bf16(self, v: F32) -> __m256i {
        // SAFETY: as above.
        unsafe {
            if BF16 && !is_subnormal(v) {
                return std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v.0));
            }
            let bits = _mm512_castps_si512(v.0);
            // Halves are rounded up, which is right but for ties and NaN; those are looked for, and seldom there.
            let mut rounded = _mm512_add_epi32(bits, _mm512_set1_epi32(0x8000));
            let tie = _mm512_testn_epi32_mask(rounded, _mm512_set1_epi32(0xffff));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v.0, v.0);
            if tie | nan != 0 {
                rounded = _mm512_mask_and_epi32(rounded, tie, rounded, _mm512_set1_epi32(!0x1_0000));
                rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000));
            }
            // The upper half of each lane, by one instruction where a shift and a conversion take three.
            let upper = _mm512_set_epi16(
                31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1, 31, 29, 27, 25, 23, 21, 19, 17, 15,
                13, 11, 9, 7, 5, 3, 1,
            );
            _mm512_castsi512_si256(_mm512_permutexvar_epi16(upper, rounded))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16_pair(self, to: *mut u16, first: F32, second: F32) {
        // SAFETY: as above, and the caller's.
        unsafe {
            match self.pair_to_bf16(first, second) {
                Some(both) => _mm512_storeu_si512(to.cast(), both),
                None => {
                    self.store_halves(to, self.to_bf16(first));
                    self.store_halves(to.add(LANES), self.to_bf16(second));
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn stream_bf16_pair(self, to: *mut u16, first: F32, second: F32) {
        // SAFETY: as above, and the caller's.
        unsafe {
            match self.pair_to_bf16(first, second) {
                Some(both) => _mm512_stream_si512(to.cast(), both),
                None => {
                    self.stream_halves(to, self.to_bf16(first));
                    self.stream_halves(to.add(LANES), self.to_bf16(second));
                }
            }
        }
    }

    #[inline(always)]
    fn of_f16(self, v: __m256i) -> F32 {
        // SAFETY: as above.
        F32(unsafe { _mm512_cvtph_ps(v) })
    }

    #[inline(always)]
    fn to_f16(self, v: F32) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v.0) }
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
