//! Every backend of this crate, put through the one suite.

mod suite;

suite!(cpu, batchnorm::Cpu);
suite!(reference, batchnorm::Reference);
