//! One choice of instruction set per job, at run time.

use std::sync::OnceLock;

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
