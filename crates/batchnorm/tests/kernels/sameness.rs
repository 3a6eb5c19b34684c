//! The same bits for every instruction set and for any number of threads.

use batchnorm::{CpuOn, Element, Gate, GradientSums, Kernels, Moments, View, ViewMut};

use crate::tensors::{ALL, Tensors, Then, assert_same_values, pool, sets};

/// Up to so many elements a pass stays on the calling thread.
const ONE_THREAD: usize = 32 * 1024;

/// All of it for one tensor, against the best instruction set on one thread.
pub fn check<E: Element>(extents: (usize, usize, usize), seed: u64, then: &[Then], threads: &[usize])
where
    CpuOn: Kernels<E>,
{
    let (tensors, sets) = (Tensors::<E>::normal(extents, seed), sets());
    let alone = pool(1);
    for &then in then {
        let expected = alone.install(|| tensors.through(&sets[0], then));
        for &threads in threads {
            let pool = pool(threads);
            for kernels in &sets {
                let found = pool.install(|| tensors.through(kernels, then));
                found.assert_same(&expected, &|| {
                    let set = kernels.instruction_set();
                    format!("{}, {then:?}, {set} on {threads} threads against one", tensors.shape)
                });
            }
        }
    }
}

/// In both element types; where one thread does it all, two pools are enough.
fn check_both(extents: (usize, usize, usize), then: &[Then]) {
    let (outer, channels, inner) = extents;
    let small = outer * channels * inner <= ONE_THREAD;
    let threads: &[usize] = if small { &[1, 8] } else { &[1, 2, 3, 5, 8] };
    check::<f32>(extents, 1, then, threads);
    check::<f64>(extents, 2, then, threads);
}

/// The lengths of runs around one vector, two, three and four, and around what is streamed directly.
const RUNS: [usize; 14] = [16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 255, 256, 257];

#[test]
fn runs_of_any_length_compute_the_same_bits_on_one_thread() {
    for inner in RUNS {
        check_both((3, 5, inner), &ALL);
    }
}

/// Just over the limit of one thread, with a channel more than a group holds.
#[test]
fn runs_of_any_length_compute_the_same_bits_on_many_threads() {
    for inner in RUNS {
        let outer = ONE_THREAD / (33 * inner) + 1;
        check_both((outer, 33, inner), &[Then::Nothing, Then::AddRelu]);
    }
}

#[test]
fn many_channels_of_small_images_compute_the_same_bits() {
    for extents in
        [(9, 100, 49), (2, 200, 196), (3, 257, 49), (9, 300, 13), (70, 300, 1), (7, 90, 63), (7, 90, 64)]
    {
        check_both(extents, &ALL);
    }
}

/// A channel of one run, whose runs may be as short as four.
#[test]
fn many_channels_of_one_row_compute_the_same_bits() {
    for extents in [(1, 9000, 4), (1, 5000, 7), (1, 2100, 16), (1, 700, 49), (1, 3, 4), (1, 1, 5)] {
        check_both(extents, &[Then::Nothing, Then::AddRelu]);
    }
}

/// Blocks are of 16384 positions: pieces of long rows, or as many rows as fit.
#[test]
fn channels_of_several_blocks_compute_the_same_bits() {
    for extents in [(1, 3, 16384), (1, 3, 16385), (1, 3, 40000), (2, 2, 40000)] {
        check_both(extents, &[Then::Nothing, Then::AddRelu]);
    }
    // 334 rows of 49 are 18 positions below a block; then one row more, and three blocks.
    for extents in [(334, 3, 49), (335, 3, 49), (669, 2, 49)] {
        check_both(extents, &[Then::Nothing, Then::LeakyRelu]);
    }
}

/// Fewer channels than threads: positions are cut instead.
#[test]
fn few_channels_on_many_threads_compute_the_same_bits() {
    for channels in [1, 2, 3, 5] {
        check_both((40, channels, 900), &[Then::Nothing, Then::Relu]);
    }
}

/// A channel that does not fit a thread's share of the cache (16 MiB over eight threads), so that some pools cut by
/// channels and others by positions, a few channels at a time.
#[test]
fn channels_larger_than_a_share_of_the_cache_compute_the_same_bits() {
    check::<f32>((1, 9, 600_000), 3, &[Then::Nothing], &[1, 3, 8]);
    check::<f64>((2, 4, 150_000), 4, &[Then::AddRelu], &[2, 5]);
}

/// A pass is a fold and a map, which go about their work otherwise when they are called by themselves.
#[test]
fn passes_compute_the_bits_of_their_primitives() {
    let shapes = [
        (3, 5, 17),
        (9, 100, 49),
        (1, 9000, 4),
        (2, 3, 16_385),
        (335, 3, 49),
        (40, 2, 900),
        (90, 1024, 49),
        (4500, 3, 1),
        (200, 1, 1),
        (2600, 70, 1),
        (2049, 17, 5),
        (1100, 1040, 1),
        (70_000, 33, 1),
    ];
    for extents in shapes {
        for kernels in sets() {
            for threads in [1, 3] {
                pool(threads).install(|| primitives::<f32>(extents, &kernels));
                pool(threads).install(|| primitives::<f64>(extents, &kernels));
            }
        }
    }
}

fn primitives<E: Element>(extents: (usize, usize, usize), kernels: &CpuOn)
where
    CpuOn: Kernels<E>,
{
    let tensors = Tensors::<E>::normal(extents, 6);
    let (shape, channels) = (tensors.shape, tensors.shape.channels());
    let found = tensors.through(kernels, Then::AddRelu);
    let view = |data| View::<E>::new("a tensor", shape, data).unwrap();
    let (x, dy, addend) = (view(&tensors.x), view(&tensors.dy), view(&tensors.addend));
    let (gate, coefficients) = (Gate::AddRelu { x, addend }, &found.coefficients);
    let what = || format!("{shape}, {}", kernels.instruction_set());

    let mut moments = vec![Moments::EMPTY; channels];
    kernels.moments(x, &mut moments);
    assert_eq!(moments, found.moments, "{}", what());
    assert_same_values(&found.evaluated, &found.y, &|| format!("y, {}", what()));

    let mut sums = vec![GradientSums::default(); channels];
    kernels.gradient_sums(coefficients, Some(x), dy, gate, &mut sums);
    assert_eq!(sums, found.sums, "{}", what());
    let mut without_x = vec![GradientSums::default(); channels];
    kernels.gradient_sums(coefficients, None, dy, gate, &mut without_x);
    for (without_x, sums) in without_x.iter().zip(&sums) {
        assert_eq!(*without_x, GradientSums { dy_xhat: 0.0, ..*sums }, "{}", what());
    }

    let means: Vec<_> = sums.iter().map(|sums| sums.means(shape.positions() as u64)).collect();
    let (mut dx, mut d_addend) = (vec![E::default(); shape.len()], vec![E::default(); shape.len()]);
    let out = ViewMut::new("dx", shape, &mut dx).unwrap();
    let dz = ViewMut::new("d_addend", shape, &mut d_addend).unwrap();
    kernels.input_gradient(coefficients, Some((x, &means)), dy, gate, out, Some(dz));
    assert_same_values(&dx, &found.dx, &|| format!("dx, {}", what()));
    assert_same_values(&d_addend, &found.d_addend, &|| format!("d addend, {}", what()));
}
