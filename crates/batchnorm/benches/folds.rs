//! One fold, written in several ways: `cargo bench -p batchnorm --bench folds`.
//!
//! `sum(x - x0)` and `sum((x - x0)^2)` of f32 values in f64, on one thread: the engine's kernel on every instruction set of this
//! machine, the same over `pulp`'s `Simd`, and as a plain loop that the compiler vectorizes. GB/s read, of the median.

use std::hint::black_box;
use std::time::Instant;

use batchnorm::{CpuOn, InstructionSet, Kernels, Moments, Shape, View};

const ROUNDS: usize = 15;
/// Elements that a round reads, at least.
const READ: usize = 1 << 23;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    let sizes = [1 << 12, 1 << 16, 1 << 20, 1 << 24];
    let mut names: Vec<String> = InstructionSet::available().map(|set| format!("engine, {set}")).collect();
    names.extend(["pulp".into(), "plain loop".into(), "sum of f32".into()]);
    println!("{:<20} {}", "GB/s", sizes.map(|size| format!("{:>10}", format!("{} KiB", size / 256))).join(" "));
    let columns: Vec<Vec<f64>> =
        sizes.iter().map(|&size| pool.install(|| measure(size, names.len()))).collect();
    for (i, name) in names.iter().enumerate() {
        let row: Vec<String> = columns.iter().map(|column| format!("{:>10.1}", column[i])).collect();
        println!("{name:<20} {}", row.join(" "));
    }
}

fn measure(len: usize, ways: usize) -> Vec<f64> {
    let x: Vec<f32> = (0..len).map(|i| 3.0 + (i * 31 % 101) as f32 / 100.0).collect();
    let shape = Shape::new(1, 1, len).expect("a small shape");
    let sets: Vec<InstructionSet> = InstructionSet::available().collect();
    let mut times = vec![Vec::new(); ways];
    for _ in 0..ROUNDS {
        for (way, times) in times.iter_mut().enumerate() {
            let start = Instant::now();
            for _ in 0..READ.div_ceil(len) {
                let x = black_box(x.as_slice());
                match sets.get(way) {
                    Some(&set) => {
                        let mut moments = [Moments::EMPTY];
                        let on = CpuOn::new(set).expect("available");
                        on.moments(View::new("x", shape, x).expect("of this shape"), &mut moments);
                        black_box(moments);
                    }
                    None if way == sets.len() => {
                        black_box(pulp::Arch::new().dispatch(Pulp { x, shift: 3.0 }));
                    }
                    None if way == sets.len() + 1 => {
                        black_box(pulp::Arch::new().dispatch(|| plain(x, 3.0)));
                    }
                    None => {
                        black_box(pulp::Arch::new().dispatch(|| sum(x)));
                    }
                }
            }
            times.push(start.elapsed().as_secs_f64() / READ.div_ceil(len) as f64);
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    };
    times.into_iter().map(|times| len as f64 * 4.0 / median(times) / 1e9).collect()
}

struct Pulp<'a> {
    x: &'a [f32],
    shift: f64,
}

impl pulp::WithSimd for Pulp<'_> {
    type Output = (f64, f64);

    /// The trait has no conversion from f32 to f64, so values go through an array.
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> (f64, f64) {
        let shift = simd.splat_f64s(self.shift);
        let (mut sums, mut squares) = ([simd.splat_f64s(0.0); 2], [simd.splat_f64s(0.0); 2]);
        let mut wide = [0f64; 16];
        for values in self.x.chunks_exact(2 * S::F64_LANES) {
            for (wide, value) in wide.iter_mut().zip(values) {
                *wide = f64::from(*value);
            }
            let (vectors, _) = S::as_simd_f64s(&wide);
            for ((sum, squares), &v) in sums.iter_mut().zip(&mut squares).zip(vectors) {
                let d = simd.sub_f64s(v, shift);
                *sum = simd.add_f64s(*sum, d);
                *squares = simd.mul_add_e_f64s(d, d, *squares);
            }
        }
        let total = |lanes: [S::f64s; 2]| simd.reduce_sum_f64s(simd.add_f64s(lanes[0], lanes[1]));
        (total(sums), total(squares))
    }
}

#[inline(always)]
fn plain(x: &[f32], shift: f64) -> (f64, f64) {
    let (mut sums, mut squares) = ([0f64; 16], [0f64; 16]);
    for values in x.chunks_exact(16) {
        for ((sum, squares), value) in sums.iter_mut().zip(&mut squares).zip(values) {
            let d = f64::from(*value) - shift;
            *sum += d;
            *squares += d * d;
        }
    }
    (sums.iter().sum(), squares.iter().sum())
}

/// Nothing but reading: the limit.
#[inline(always)]
fn sum(x: &[f32]) -> f32 {
    let mut sums = [0f32; 64];
    for values in x.chunks_exact(64) {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    sums.iter().sum()
}
