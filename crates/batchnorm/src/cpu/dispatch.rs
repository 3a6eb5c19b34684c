//! One choice of instruction set per job, at run time.

use std::fmt;
use std::sync::OnceLock;

use super::lanes::Isa;
use super::lanes::portable::Portable;
#[cfg(target_arch = "x86_64")]
use super::lanes::{avx2::Avx2, avx512::Avx512};

/// A set of instructions that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// AVX-512 (F, BW, DQ, VL) and its instructions for bf16.
    Avx512Bf16,
    /// AVX-512 (F, BW, DQ, VL), and what comes with it.
    Avx512,
    /// AVX2, FMA and F16C.
    Avx2,
    /// Whatever every processor of the target has.
    Portable,
}

impl InstructionSet {
    const ALL: [Self; 4] = [Self::Avx512Bf16, Self::Avx512, Self::Avx2, Self::Portable];

    /// Those that this machine has, best first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|set| set.is_available())
    }

    /// The best that this machine has.
    pub fn best() -> Self {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().next().unwrap_or(Self::Portable))
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => is_x86_feature_detected!("avx512bf16") && Self::Avx512.is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                let foundation = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq");
                let small = is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl");
                foundation && small && Self::Avx2.is_available()
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                let both = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                both && is_x86_feature_detected!("f16c")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Bf16 | Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Avx512Bf16 => "AVX-512 BF16",
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Portable => "portable",
        })
    }
}

/// Work that is compiled for every instruction set.
pub trait Job {
    type Output;
    /// Whether it writes bf16, and so is compiled for AVX-512 with its instructions for that, too.
    const BF16: bool = false;
    /// Does it. Marked `#[inline(always)]`, as everything that it calls, or it stays compiled for the target's own set.
    fn run<I: Isa>(self, isa: I) -> Self::Output;
}

/// Runs `job` compiled for `set`, or for a lesser one if the machine has it not.
#[inline]
pub fn on<J: Job>(set: InstructionSet, job: J) -> J::Output {
    match set {
        // SAFETY: the instructions are there.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Bf16 if J::BF16 && set.is_available() => unsafe { on_avx512_bf16(job) },
        // SAFETY: the instructions are there.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Bf16 | InstructionSet::Avx512 if set.is_available() => unsafe { on_avx512(job) },
        // SAFETY: the instructions are there.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 if set.is_available() => unsafe { on_avx2(job) },
        _ => job.run(Portable),
    }
}

/// # Safety
///
/// The processor has them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")]
unsafe fn on_avx512_bf16<J: Job>(job: J) -> J::Output {
    // SAFETY: the caller's.
    job.run(unsafe { Avx512::<true>::new() })
}

/// # Safety
///
/// The processor has them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c")]
unsafe fn on_avx512<J: Job>(job: J) -> J::Output {
    // SAFETY: the caller's.
    job.run(unsafe { Avx512::<false>::new() })
}

/// # Safety
///
/// The processor has them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn on_avx2<J: Job>(job: J) -> J::Output {
    // SAFETY: the caller's.
    job.run(unsafe { Avx2::new() })
}

/// Runs `job` compiled for the widest instruction set that this machine has (AVX-512, AVX2 + FMA, else the
/// target's own).
///
/// Everything that `job` calls must be `#[inline(always)]`, or it stays compiled for the target's own set.
/// Rust never reorders or contracts floating-point operations, so every choice computes the same bits.
#[inline(always)]
pub fn vectorized<R>(job: impl FnOnce() -> R) -> R {
    static ARCH: OnceLock<pulp::Arch> = OnceLock::new();
    ARCH.get_or_init(pulp::Arch::new).dispatch(job)
}
