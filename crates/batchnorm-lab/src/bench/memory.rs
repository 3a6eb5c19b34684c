//! Tensors in memory of their own, on huge pages where the system has them.

use std::fs;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use batchnorm::Element;
use bytemuck::Pod;
use memmap2::MmapMut;
use rayon::prelude::*;

use super::{BenchError, Case, Op};
use crate::streams::{Purpose, Stream};

/// Elements that are filled by one stream of random numbers.
const CHUNK: usize = 1 << 16;
/// Left to everybody else, in bytes.
const SPARE: u64 = 256 << 20;

/// A tensor. Its pages are zero until they are written to.
pub(super) struct Tensor<E> {
    memory: MmapMut,
    len: usize,
    element: PhantomData<E>,
}

impl<E: Pod> Tensor<E> {
    pub(super) fn new(len: usize) -> Result<Self, BenchError> {
        // A mapping has at least a byte, and a slice of any type fits it: it begins on a page.
        let bytes = len * size_of::<E>();
        let memory = MmapMut::map_anon(bytes.max(1))
            .map_err(|source| BenchError::NoMemory { bytes: bytes as u64, source })?;
        // Large tensors in pages of 4 KiB measure the page tables. A system without huge pages goes on without.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Self { memory, len, element: PhantomData })
    }
}

impl<E: Element + Pod> Tensor<E> {
    /// About normal with this mean and standard deviation, by a stream for each chunk: the same for any number of threads.
    pub(super) fn random(len: usize, which: u8, mean: f64, std: f64) -> Result<Self, BenchError> {
        let mut tensor = Self::new(len)?;
        tensor.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
            let mut stream = Stream::new(1, Purpose::Operand { which, chunk });
            values.fill_with(|| E::from_f64(mean + std * stream.roughly_normal()));
        });
        Ok(tensor)
    }
}

impl<E: Pod> Deref for Tensor<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        bytemuck::cast_slice(&self.memory[..self.len * size_of::<E>()])
    }
}

impl<E: Pod> DerefMut for Tensor<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        bytemuck::cast_slice_mut(&mut self.memory[..self.len * size_of::<E>()])
    }
}

/// The bytes that a case takes: its tensors, and what the reference keeps beside them.
pub(super) fn needed(case: &Case, reference: bool) -> u64 {
    let tensors = match case.op {
        Op::Backward => 3,
        Op::Forward | Op::Eval => 2 - u64::from(case.in_place),
    };
    let mut bytes = case.tensor_bytes() * tensors;
    if reference {
        // A channel in f64; in place, a copy of the input.
        bytes += case.extents.positions() as u64 * 8 + u64::from(case.in_place) * case.tensor_bytes();
    }
    bytes
}

/// Refuses what does not fit: the system would rather end the program than say no.
pub(super) fn check(case: &Case, reference: bool) -> Result<(), BenchError> {
    let needed = needed(case, reference);
    match available() {
        Some(available) if needed.saturating_add(SPARE) > available => {
            Err(BenchError::Memory { case: case.clone(), needed, available })
        }
        _ => Ok(()),
    }
}

/// The bytes that can be had without swapping, where the system says so.
fn available() -> Option<u64> {
    [of_the_machine(), of_the_container()].into_iter().flatten().min()
}

fn of_the_machine() -> Option<u64> {
    let kibibytes = entry(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")?;
    Some(kibibytes * 1024)
}

/// Under a limit of a control group (version 2): what processes hold counts, caches of files give way.
fn of_the_container() -> Option<u64> {
    let limit: u64 = fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()?;
    let held = entry(&fs::read_to_string("/sys/fs/cgroup/memory.stat").ok()?, "anon ")?;
    Some(limit.saturating_sub(held))
}

/// The number after a name at the beginning of a line.
fn entry(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Dtype, Layout};

    #[test]
    fn random_tensors_have_their_mean_and_deviation_and_do_not_depend_on_threads() {
        let len = 3 * CHUNK + 17;
        let draw = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Tensor::<f64>::random(len, 0, 3.0, 2.0).unwrap().to_vec())
        };
        let values = draw(1);
        assert_eq!(values, draw(2));
        let mean = values.iter().sum::<f64>() / len as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / len as f64;
        assert!((mean - 3.0).abs() < 0.05 && (variance - 4.0).abs() < 0.1, "{mean} {variance}");
        assert_ne!(values, Tensor::<f64>::random(len, 1, 3.0, 2.0).unwrap().to_vec());
    }

    #[test]
    fn what_the_system_says_of_its_memory_is_understood() {
        let text = "MemTotal:       24000000 kB\nMemAvailable:   23500000 kB\n";
        assert_eq!(entry(text, "MemAvailable:"), Some(23_500_000));
        assert_eq!(entry("anon 4096\nanon_thp 17\n", "anon "), Some(4096));
        assert_eq!((entry(text, "MemNone:"), entry("max\n", "anon ")), (None, None));
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_asked_for() {
        let case = Case {
            extents: "1048576x1048576".parse().unwrap(),
            op: Op::Forward,
            dtype: Dtype::F32,
            layout: Layout::ChannelsFirst,
            threads: 1,
            in_place: false,
        };
        assert_eq!(needed(&case, false), 1 << 43);
        assert_eq!(needed(&Case { in_place: true, ..case.clone() }, false), 1 << 42);
        if available().is_some() {
            let error = check(&case, false).unwrap_err().to_string();
            assert!(error.contains("needs 8192.0 GiB") && error.contains("--in-place"), "{error}");
        }
    }
}
