//! The passes of one layer against a plain copy of the same size (for the backward pass: two reads and one
//! write), interleaved in one run: `cargo bench -p batchnorm`.
//!
//! Times drift on shared machines; the ratio to the copy is what to look at.

use std::hint::black_box;
use std::time::Instant;

use batchnorm::{BatchNorm, BatchNormConfig, Shape, Wanted};
use rayon::prelude::*;

const ROUNDS: usize = 15;

fn main() {
    let shapes: [(&str, &[usize], isize); 10] = [
        ("60x100", &[60, 100], 1),
        ("4096x512", &[4096, 512], 1),
        ("4x32x8x8", &[4, 32, 8, 8], 1),
        ("64x3x32x32", &[64, 3, 32, 32], 1),
        ("8x512x7x7", &[8, 512, 7, 7], 1),
        ("32x64x56x56", &[32, 64, 56, 56], 1),
        ("32x512x28x28", &[32, 512, 28, 28], 1),
        ("32x2048x7x7", &[32, 2048, 7, 7], 1),
        ("32x56x56x64 last", &[32, 56, 56, 64], -1),
        ("32x7x7x2048 last", &[32, 7, 7, 2048], -1),
    ];
    println!(
        "{:<18} {:>11} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9}",
        "f32", "copy us", "train us", "eval us", "backward us", "train/c", "eval/c", "back/c"
    );
    for (name, dims, axis) in shapes {
        let shape = Shape::of(dims, axis).expect("the table's shapes are valid");
        measure(name, shape);
    }
}

fn measure(name: &str, shape: Shape) {
    let len = shape.len();
    let x: Vec<f32> = (0..len).map(|i| (i * 31 % 101) as f32 / 10.0).collect();
    let dy: Vec<f32> = (0..len).map(|i| (i * 17 % 89) as f32 / 50.0 - 0.8).collect();
    let (mut y, mut dx) = (vec![0.0f32; len], vec![0.0f32; len]);
    let mut layer =
        BatchNorm::<f32>::new(shape.channels(), BatchNormConfig::pytorch()).expect("a valid configuration");
    let mut times = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        let mut clock = |slot: usize, job: &mut dyn FnMut()| {
            let start = Instant::now();
            job();
            times[slot].push(start.elapsed().as_secs_f64() * 1e6);
        };
        clock(0, &mut || {
            y.par_chunks_mut(16 * 1024).zip(x.par_chunks(16 * 1024)).for_each(|(y, x)| y.copy_from_slice(x));
            black_box(&y);
        });
        clock(1, &mut || {
            dx.par_chunks_mut(16 * 1024)
                .zip(x.par_chunks(16 * 1024))
                .zip(dy.par_chunks(16 * 1024))
                .for_each(|((dx, x), dy)| dx.iter_mut().zip(x).zip(dy).for_each(|((dx, x), dy)| *dx = x + dy));
            black_box(&dx);
        });
        let mut saved = None;
        clock(2, &mut || saved = Some(layer.forward_train(shape, &x, &mut y).expect("finite data").saved));
        clock(3, &mut || drop(layer.forward_eval(shape, &x, &mut y)));
        let saved = saved.expect("set above");
        clock(4, &mut || drop(layer.backward(&saved, &x, &dy, Some(&mut dx), Wanted::ALL)));
    }
    let [copy, triad, train, eval, backward] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[ROUNDS / 2]
    });
    println!(
        "{name:<18} {copy:>11.1} {train:>11.1} {eval:>11.1} {backward:>11.1} {:>9.2} {:>9.2} {:>9.2}",
        train / copy,
        eval / copy,
        backward / triad
    );
}
