//! Small tensors next to a plain loop: `cargo bench -p batchnorm --bench small`.
//!
//! A training pass and an evaluation of channels-first f32 tensors, by a layer (which checks its operands, keeps what a backward
//! pass needs and updates the running statistics) and by the loops that one would write by hand, which do none of this: the mean,
//! then the variance, then y, in f32. Microseconds of the median, on one thread, and the loops' time over ours.

use std::hint::black_box;
use std::time::Instant;

use batchnorm::{BatchNorm, BatchNormConfig, Saved, Shape};

const ROUNDS: usize = 101;

fn main() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    println!("{:<12} {:<8} {:>8} {:>11} {:>6}", "shape", "op", "ours us", "loops us", "ratio");
    for extents in [&[4, 32, 8, 8][..], &[12, 4, 4, 4], &[1, 24, 14, 14], &[32, 27, 7], &[9, 128], &[60, 100]] {
        let name = extents.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
        for (op, [ours, loops]) in pool.install(|| measure(extents)) {
            println!("{name:<12} {op:<8} {ours:>8.2} {loops:>11.2} {:>6.1}", loops / ours);
        }
    }
}

fn measure(extents: &[usize]) -> [(&'static str, [f64; 2]); 2] {
    let shape = Shape::channels_first(extents).expect("a small shape");
    let mut layer = BatchNorm::<f32>::new(shape.channels(), BatchNormConfig::pytorch()).expect("channels");
    let x: Vec<f32> = (0..shape.len()).map(|i| (i * 31 % 101) as f32 / 50.0).collect();
    let (mut y, mut saved) = (vec![0.0; shape.len()], Saved::default());
    let (mean, variance) = (vec![0.5; shape.channels()], vec![2.0; shape.channels()]);
    let mut plain = y.clone();
    let forward = time([
        &mut || {
            let _ = layer.forward_train_into(shape, black_box(&x), &mut y, &mut saved).expect("of this shape");
        },
        &mut || plain_forward(shape, black_box(&x), &mut plain),
    ]);
    let inference = layer.inference().expect("statistics");
    let mut out = vec![0.0; shape.len()];
    let mut other = out.clone();
    let eval =
        time([&mut || inference.forward(shape, black_box(&x), &mut out).expect("of this shape"), &mut || {
            plain_eval(shape, &mean, &variance, black_box(&x), &mut other)
        }]);
    [("forward", forward), ("eval", eval)]
}

/// Microseconds of each, by turns.
fn time(mut ways: [&mut dyn FnMut(); 2]) -> [f64; 2] {
    let mut times = [(); 2].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (0..50).for_each(|_| way());
            times.push(start.elapsed().as_secs_f64() * 1e6 / 50.0);
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    })
}

/// The runs of a channel.
fn runs(shape: Shape, channel: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let (channels, inner) = (shape.channels(), shape.inner());
    (0..shape.outer()).map(move |row| {
        let start = (row * channels + channel) * inner;
        start..start + inner
    })
}

fn plain_forward(shape: Shape, x: &[f32], y: &mut [f32]) {
    for channel in 0..shape.channels() {
        let n = shape.positions() as f32;
        let mean = runs(shape, channel).flat_map(|run| &x[run]).sum::<f32>() / n;
        let squares = runs(shape, channel).flat_map(|run| &x[run]).map(|x| (x - mean) * (x - mean));
        normalize(shape, channel, mean, squares.sum::<f32>() / n, x, y);
    }
}

fn plain_eval(shape: Shape, mean: &[f32], variance: &[f32], x: &[f32], y: &mut [f32]) {
    for channel in 0..shape.channels() {
        normalize(shape, channel, mean[channel], variance[channel], x, y);
    }
}

fn normalize(shape: Shape, channel: usize, mean: f32, variance: f32, x: &[f32], y: &mut [f32]) {
    let rstd = 1.0 / (variance + BatchNormConfig::pytorch().eps as f32).sqrt();
    for run in runs(shape, channel) {
        for (y, x) in y[run.clone()].iter_mut().zip(&x[run]) {
            *y = (x - mean) * rstd;
        }
    }
}
