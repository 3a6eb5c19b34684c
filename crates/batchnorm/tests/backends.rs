//! Every backend of this crate, put through the one suite: the CPU on every instruction set, too.

mod suite;

use batchnorm::{CpuOn, InstructionSet};

suite!(cpu, batchnorm::Cpu);
suite!(reference, batchnorm::Reference);
suite!(avx512_bf16, crate::on(crate::InstructionSet::Avx512Bf16));
suite!(avx512, crate::on(crate::InstructionSet::Avx512));
suite!(avx2, crate::on(crate::InstructionSet::Avx2));
// All of it, although its fused products are calls: the suite's shapes are small, and the reference takes most of the time.
suite!(portable, crate::on(crate::InstructionSet::Portable));

/// The CPU on `set`, or on the best there is where the machine lacks it.
fn on(set: InstructionSet) -> CpuOn {
    CpuOn::new(set).unwrap_or_else(|| {
        let best = InstructionSet::best();
        eprintln!("this machine has no {set}: tested on {best}");
        CpuOn::new(best).unwrap()
    })
}
