//! What an activation costs within the kernels, and a mask: fused passes over plain ones, interleaved in one run.
//!
//! ```sh
//! cargo bench -p batchnorm --bench fusions
//! ```
//!
//! By bytes, ReLU and leaky ReLU are free: forward and evaluation read x and write y, backward reads x and dy twice and writes dx, with
//! them or without. Add + ReLU reads one tensor more forward (3 transfers for 2), and backward one more in each sweep, and writes one
//! more (the addend's gradient). "apart" is a ReLU of one's own behind the plain pass, over the result in place. "masked" is the plain pass with a mask that
//! counts the first three quarters of each image: all is read and written, once more where nothing counts.
//!
//! Figures are medians of the rounds' ratios to the plain pass beside it.

use std::time::Instant;

use batchnorm::{
    Coefficients, Cpu, Epilogue, Gate, GradientSums, Kernels, Mask, Moments, Parameters, Shape, View, ViewMut,
};
use rayon::prelude::*;

const ROUNDS: usize = 31;
const SLOPE: f64 = 0.01;
/// The plain pass, ReLU, leaky ReLU, add + ReLU, the gradient from the output; a ReLU apart; a mask.
const NAMES: [&str; 7] = ["plain", "relu", "leaky", "add+relu", "output", "apart", "masked"];

struct Layer {
    shape: Shape,
    x: Vec<f32>,
    dy: Vec<f32>,
    addend: Vec<f32>,
    y: Vec<f32>,
    dx: Vec<f32>,
    d_addend: Vec<f32>,
    mask: Vec<bool>,
    moments: Vec<Moments>,
    coefficients: Vec<Coefficients>,
    of_output: Vec<Coefficients>,
    sums: Vec<GradientSums>,
}

impl Layer {
    /// Of images of so many positions.
    fn new(shape: Shape, image: usize) -> Self {
        let tensor = |step: usize| -> Vec<f32> {
            (0..shape.len()).map(|i| (i * step % 101) as f32 / 20.0 - 2.5).collect()
        };
        let channels = shape.channels();
        let coefficients = vec![Coefficients::new(0.1, 2.0, 1e-5, (1.0, 0.2)); channels];
        let of_output = coefficients.iter().map(|c| c.of_output::<f32>(0).expect("gamma is 1")).collect();
        Self {
            shape,
            x: tensor(31),
            dy: tensor(17),
            addend: tensor(13),
            y: vec![0.0; shape.len()],
            dx: vec![0.0; shape.len()],
            d_addend: vec![0.0; shape.len()],
            mask: (0..shape.positions()).map(|i| i % image < image * 3 / 4).collect(),
            moments: vec![Moments::EMPTY; channels],
            coefficients,
            of_output,
            sums: vec![GradientSums::default(); channels],
        }
    }

    /// Seconds of a pass with activation `then`.
    fn time(&mut self, pass: usize, then: usize) -> f64 {
        let shape = self.shape;
        let mask = (NAMES[then] == "masked").then(|| Mask::new(shape, &self.mask).expect("of this shape"));
        let view = |data| {
            let view = View::<f32>::new("a tensor", shape, data).expect("of this shape");
            view.with_mask(mask).expect("of this shape")
        };
        let (x, dy, addend) = (view(&self.x), view(&self.dy), view(&self.addend));
        let (epilogue, gate) = match NAMES[then] {
            "relu" => (Epilogue::Relu, Gate::Relu { x }),
            "leaky" => (Epilogue::LeakyRelu { slope: SLOPE }, Gate::LeakyRelu { x, slope: SLOPE }),
            "add+relu" => (Epilogue::AddRelu { addend }, Gate::AddRelu { x, addend }),
            "output" => (Epilogue::None, Gate::Output { y: x, slope: SLOPE }),
            _ => (Epilogue::None, Gate::None),
        };
        let adds = NAMES[then] == "add+relu";
        let out = ViewMut::new("y", shape, if pass == 2 { &mut self.dx } else { &mut self.y })
            .expect("of this shape");
        let d_addend =
            adds.then(|| ViewMut::new("d_addend", shape, &mut self.d_addend).expect("of this shape"));
        let count = mask.map_or(shape.positions(), |mask| mask.count()) as u64;
        let start = Instant::now();
        match pass {
            0 => Cpu.forward_train(
                1e-5,
                Parameters::default(),
                x,
                epilogue,
                out,
                &mut self.moments,
                &mut vec![self.coefficients[0]; shape.channels()],
            ),
            1 => Cpu.normalize(&self.coefficients, x, epilogue, out),
            _ => {
                let of = if NAMES[then] == "output" { &self.of_output } else { &self.coefficients };
                Cpu.backward(of, count, x, dy, gate, out, d_addend, &mut self.sums);
            }
        }
        if NAMES[then] == "apart" {
            let relu = |part: &mut [f32]| part.iter_mut().for_each(|y| *y = y.max(0.0));
            if pass == 2 {
                // What the gate would do: dy where y is positive, before the pass; here after it, at the same price.
                let parts = self.dx.par_chunks_mut(16 * 1024).zip(self.y.par_chunks(16 * 1024));
                parts.for_each(|(dx, y)| {
                    dx.iter_mut().zip(y).for_each(|(dx, y)| *dx = if *y > 0.0 { *dx } else { 0.0 });
                });
            } else {
                self.y.par_chunks_mut(16 * 1024).for_each(relu);
            }
        }
        start.elapsed().as_secs_f64()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    println!(
        "f32, {} threads; time over the plain pass's\n\n{:<24} {:<9} {:>10} {:>7} {:>7} {:>9} {:>7} {:>7} {:>7}",
        rayon::current_num_threads(),
        "shape",
        "pass",
        "plain us",
        NAMES[1],
        NAMES[2],
        NAMES[3],
        NAMES[4],
        NAMES[5],
        NAMES[6]
    );
    for dims in [
        [32, 64, 112, 112],
        [32, 256, 56, 56],
        [32, 128, 28, 28],
        [32, 256, 14, 14],
        [32, 512, 7, 7],
        [8, 64, 32, 32],
    ] {
        let [n, c, h, w] = dims;
        for (layout, shape) in
            [("first", Shape::channels_first(&dims)), ("last", Shape::channels_last(&[n, h, w, c]))]
        {
            let mut layer = Layer::new(shape.expect("a shape"), h * w);
            for (pass, name) in ["forward", "eval", "backward"].into_iter().enumerate() {
                let mut ratios = vec![Vec::new(); NAMES.len()];
                let mut plain = Vec::new();
                for round in 0..ROUNDS {
                    // What the last of a round leaves in the cache is not what the first meets elsewhere.
                    layer.time(pass, 0);
                    let times: Vec<f64> = (0..NAMES.len()).map(|then| layer.time(pass, then)).collect();
                    // The first rounds warm up.
                    if round >= 2 {
                        plain.push(times[0] * 1e6);
                        ratios.iter_mut().zip(&times).for_each(|(ratios, time)| ratios.push(time / times[0]));
                    }
                }
                let [_, relu, leaky, add, output, apart, masked] =
                    std::array::from_fn(|then| median(ratios[then].clone()));
                let output = if pass == 2 { format!("{output:.2}") } else { "-".to_owned() };
                println!(
                    "{:<24} {name:<9} {:>10.1} {relu:>7.2} {leaky:>7.2} {add:>9.2} {output:>7} {apart:>7.2} {masked:>7.2}",
                    format!("{n}x{c}x{h}x{w} {layout}"),
                    median(plain),
                );
            }
        }
    }
}
