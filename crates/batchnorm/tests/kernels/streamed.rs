//! Outputs so large that they are written past the cache: from 8 MiB on.

use batchnorm::{CpuOn, Element, Kernels, Reference};

use crate::judge;
use crate::tensors::{Tensors, Then, best, pool, sets};

/// Bytes that are not streamed, whatever the runs.
const NOT_STREAMED: usize = 4 << 20;

fn check<E: Element>(extents: (usize, usize, usize), then: &[Then], kernels: &[CpuOn])
where
    CpuOn: Kernels<E>,
{
    let tensors = Tensors::<E>::normal(extents, 5);
    let (shape, bytes) = (tensors.shape, size_of::<E>());
    assert!(shape.len() * bytes >= 8 << 20);
    let width = (NOT_STREAMED / (shape.positions() * bytes)).clamp(1, shape.channels());
    assert!(shape.positions() * width * bytes < 8 << 20);
    let pool = pool(2);
    for &then in then {
        for kernels in kernels {
            let found = pool.install(|| tensors.through(kernels, then));
            // Blocks follow from the other two extents, so a few of the channels by themselves compute the same bits.
            for start in (0..shape.channels()).step_by(width) {
                let range = start..(start + width).min(shape.channels());
                let small = tensors.channels(range.clone()).through(&best(), then);
                found.channels(shape, range.clone()).assert_same(&small, &|| {
                    format!("{shape}, {then:?}, {}, channels {range:?}", kernels.instruction_set())
                });
            }
            if then == Then::Nothing {
                judge::agree(&tensors, &found, &tensors.through(&Reference, then));
            }
        }
    }
}

#[test]
fn large_images_are_streamed_right() {
    check::<f32>((8, 16, 40_000), &[Then::Nothing, Then::AddRelu], &[best()]);
    check::<f32>((3, 5, 360_000), &[Then::Nothing, Then::Relu], &[best()]);
}

#[test]
fn many_small_images_are_streamed_right() {
    check::<f32>((90, 1024, 49), &[Then::Nothing, Then::AddRelu], &[best()]);
    check::<f64>((600, 60, 63), &[Then::Nothing, Then::LeakyRelu], &[best()]);
}

/// Columns: rows that begin at lines, and rows of which each begins elsewhere in a line.
#[test]
fn many_short_runs_are_streamed_right() {
    check::<f32>((1000, 2208, 1), &[Then::Nothing], &[best()]);
    check::<f32>((500, 701, 7), &[Then::Nothing, Then::AddRelu], &[best()]);
    check::<f64>((70, 501, 33), &[Then::LeakyRelu], &[best()]);
}

/// Runs that begin and end within lines: vectors go on across their ends.
#[test]
fn runs_that_end_within_lines_are_streamed_right() {
    check::<f32>((300, 60, 257), &[Then::Nothing], &[best()]);
    check::<f32>((300, 60, 255), &[Then::Nothing], &[best()]);
    check::<f64>((80, 60, 257), &[Then::Nothing], &[best()]);
    check::<f32>((5, 7, 65_537), &[Then::Nothing], &[best()]);
}

#[test]
fn every_instruction_set_streams_right() {
    check::<f32>((5, 7, 65_537), &[Then::AddRelu], &sets());
    check::<f32>((1300, 33, 100), &[Then::AddRelu], &sets());
    check::<f64>((400, 33, 200), &[Then::AddRelu], &sets());
    check::<f32>((500, 701, 7), &[Then::AddRelu], &sets());
}

/// More than the caches hold, in rows so wide that only a few are folded at once.
#[test]
fn tall_tensors_of_wide_rows_are_right_and_the_same_for_any_threads() {
    for then in [Then::Nothing, Then::AddRelu] {
        let tensors = Tensors::<f32>::normal((4211, 1040, 1), 8);
        let alone = pool(1).install(|| tensors.through(&best(), then));
        if then == Then::Nothing {
            judge::agree(&tensors, &alone, &tensors.through(&Reference, then));
        }
        let several = pool(3).install(|| tensors.through(&best(), then));
        several.assert_same(&alone, &|| format!("{}, {then:?}", tensors.shape));
    }
}
