//! This layer against Burn's stock layer: the same process, turn by turn, forward and backward.
//!
//! ```sh
//! cargo bench -p batchnorm-burn
//! ```
//!
//! Each figure is the median over rounds, in which the two layers take turns so that neither has the quieter
//! machine. "forward" is training on an autodiff device, "backward" the gradient of x, gamma and beta for a given
//! gradient of y, "evaluate" is without autodiff.

use std::time::{Duration, Instant};

use batchnorm_burn::BatchNorm;
use burn::module::Module;
use burn::nn;
use burn::tensor::{Device, Distribution, Tensor};

/// How long each shape is trained, about; evaluation takes a quarter of it.
const BUDGET: Duration = Duration::from_secs(6);
const MOST_ROUNDS: usize = 301;

fn main() {
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    println!("medians in microseconds, {threads} threads; ratio = stock / ours\n");
    println!(
        "{:>18}  {:>10} {:>10} {:>6}  {:>10} {:>10} {:>6}  {:>10} {:>10} {:>6}",
        "shape", "forward", "stock", "ratio", "backward", "stock", "ratio", "evaluate", "stock", "ratio"
    );
    shape([60, 100]);
    shape([64, 4]);
    shape([256, 1024]);
    shape([64, 3, 32, 32]);
    shape([32, 128, 28, 28]);
    shape([32, 64, 56, 56]);
    shape([8, 512, 7, 7]);
}

fn shape<const D: usize>(dims: [usize; D]) {
    let device = Device::flex().autodiff();
    let stock = nn::BatchNormConfig::new(dims[1]).init(&device);
    let ours = BatchNorm::from(stock.clone());
    let (ours_valid, stock_valid) = (ours.valid(), stock.valid());
    let x = Tensor::<D>::random(dims, Distribution::Normal(3.0, 2.0), &device);
    let dy = Tensor::<D>::random(dims, Distribution::Default, &device);
    let inner = x.clone().inner();

    let mut times: [[Vec<f64>; 2]; 3] = Default::default();
    let start = Instant::now();
    for round in 0..MOST_ROUNDS {
        for layer in [0, 1] {
            let x = x.clone().require_grad();
            let (y, forward) = timed(|| match layer {
                0 => ours.forward(x.clone()),
                _ => stock.forward(x.clone()),
            });
            // The gradient of sum(y dy) for y is dy; the product and the sum are the same for both layers and not
            // the layer's: they are timed alone and taken off.
            let leaf = y.clone().inner();
            let around = Tensor::<D>::from_inner(leaf).require_grad();
            let loss = (around * dy.clone()).sum();
            let (_, other) = timed(|| loss.backward());
            let loss = (y * dy.clone()).sum();
            let (_, backward) = timed(|| loss.backward());
            // The first rounds warm up caches and the allocator.
            if round >= 2 {
                times[0][layer].push(forward);
                times[1][layer].push((backward - other).max(0.0));
            }
        }
        if start.elapsed() > BUDGET && round >= 6 {
            break;
        }
    }
    // Evaluation by itself: what a backward pass leaves in the allocator would be charged to it.
    let start = Instant::now();
    for round in 0..MOST_ROUNDS {
        for layer in [0, 1] {
            let (_, evaluate) = timed(|| match layer {
                0 => ours_valid.forward(inner.clone()),
                _ => stock_valid.forward(inner.clone()),
            });
            if round >= 2 {
                times[2][layer].push(evaluate);
            }
        }
        if start.elapsed() > BUDGET / 4 && round >= 6 {
            break;
        }
    }
    print!("{:>18}", format!("{dims:?}").replace(' ', ""));
    for mut pair in times {
        let [ours, stock] = [0, 1].map(|layer| median(&mut pair[layer]));
        print!("  {ours:>10.1} {stock:>10.1} {:>6.2}", stock / ours);
    }
    println!();
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64() * 1e6)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
