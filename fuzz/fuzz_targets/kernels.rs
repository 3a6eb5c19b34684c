//! Any shape, type, alignment, mask, activation and values: what the CPU's kernels compute is judged by the reference.
//!
//! ```sh
//! cargo +nightly fuzz run kernels -- -max_total_time=1800
//! ```
//!
//! Of every input:
//!
//! 1. nothing panics, and nothing beside a tensor is read (the address sanitizer) or written (its margins);
//! 2. every instruction set and number of threads computes the same bits;
//! 3. where a channel's numbers leave its type room, they are the reference's, as far as rounding allows ([`judge`]);
//! 4. a NaN or an infinity stays in its channel: the others are judged all the same.

#![no_main]

mod judge;
mod problem;

use std::sync::OnceLock;

use arbitrary::Unstructured;
use batchnorm::{CpuOn, Element, InstructionSet, Reference, bf16, f16};
use libfuzzer_sys::fuzz_target;
use problem::{Kind, Problem};
use rayon::{ThreadPool, ThreadPoolBuilder};

fn pool(threads: usize) -> &'static ThreadPool {
    static POOLS: [OnceLock<ThreadPool>; 5] = [const { OnceLock::new() }; 5];
    POOLS[threads].get_or_init(|| ThreadPoolBuilder::new().num_threads(threads).build().expect("threads"))
}

fn check<E: Element>(problem: &Problem) {
    let tensors = problem.tensors::<E>();
    let found =
        pool(1).install(|| tensors.through(&CpuOn::new(InstructionSet::best()).expect("the best there is")));
    for set in InstructionSet::available() {
        let kernels = CpuOn::new(set).expect("available");
        for threads in [1, problem.threads] {
            let same = pool(threads).install(|| tensors.through(&kernels));
            found.assert_same(&same, problem, &format!("{set}, {threads} threads"));
        }
    }
    judge::judge(problem, &tensors, &found, &tensors.through(&Reference));
}

fuzz_target!(|data: &[u8]| {
    let Ok(problem) = Problem::draw(&mut Unstructured::new(data)) else { return };
    match problem.kind {
        Kind::F32 => check::<f32>(&problem),
        Kind::F64 => check::<f64>(&problem),
        Kind::Bf16 => check::<bf16>(&problem),
        Kind::F16 => check::<f16>(&problem),
    }
});
