//! What a training step keeps if batch normalization's gradient is computed from its output: ResNet-50's layers, measured.
//!
//! ```sh
//! cargo run --release -p batchnorm --example output_only -- 4
//! ```
//!
//! The number is the batch. Each of the 53 layers gets a tensor as a convolution would leave it, normalizes it and applies a
//! LeakyReLU. The next convolution keeps y in any case; batch normalization keeps x beside it, or nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use batchnorm::passes::{self, Backward, Plan};
use batchnorm::{BatchNormConfig, Cpu, Epilogue, Error, Gate, Parameters, Saved, Shape, View, ViewMut, Wanted};

/// The system's allocator, counting what is there.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does it; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let bytes = BYTES.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(bytes, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The layers of ResNet-50 by their form: how many, channels, side.
const LAYERS: [(&str, usize, usize, usize); 11] = [
    ("conv1", 1, 64, 112),
    ("conv2", 6, 64, 56),
    ("conv2, ends", 4, 256, 56),
    ("conv3, before its stride", 1, 128, 56),
    ("conv3", 7, 128, 28),
    ("conv3, ends", 5, 512, 28),
    ("conv4, before its stride", 1, 256, 28),
    ("conv4", 11, 256, 14),
    ("conv4, ends", 7, 1024, 14),
    ("conv5", 6, 512, 7),
    ("conv5, ends", 4, 2048, 7),
];
const SLOPE: f64 = 0.01;

/// What a layer keeps for its backward pass, beside its y.
struct Layer {
    shape: Shape,
    y: Vec<f32>,
    x: Option<Vec<f32>>,
    saved: Saved,
}

/// Repeated noise about 0, of about one standard deviation: a sum of uniform values.
fn noise(len: usize, seed: usize) -> Vec<f32> {
    let mut state = seed as u64 * 2 + 1;
    let mut uniform = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..len).map(|_| (uniform() + uniform() + uniform() - 1.5) * 2.0).collect()
}

fn forward(shape: Shape, seed: usize, keeps_x: bool) -> Result<Layer, Error> {
    let (config, epilogue) = (BatchNormConfig::pytorch(), Epilogue::LeakyRelu { slope: SLOPE });
    let mut x = noise(shape.len(), seed);
    // A third of the gammas is negative, as training may leave them.
    let sign = |i: usize| if i.is_multiple_of(3) { -1.0 } else { 1.0 };
    let gamma: Vec<f32> = (0..shape.channels()).map(|i| sign(i) * (0.5 + (i % 7) as f32 / 7.0)).collect();
    let beta: Vec<f32> = (0..shape.channels()).map(|i| (i % 5) as f32 / 10.0 - 0.2).collect();
    let parameters = Parameters { gamma: Some(&gamma), beta: Some(&beta) };
    let plan = Plan { parameters, ..Plan::of(&config, shape) };
    let mut saved = Saved::default();
    let (x, y) = if keeps_x {
        let mut y = vec![0.0; shape.len()];
        let out = ViewMut::new("y", shape, &mut y)?;
        passes::forward_into(&Cpu, &plan, View::new("x", shape, &x)?, epilogue, out, &mut saved)?;
        (Some(x), y)
    } else {
        passes::forward_in_place(&Cpu, &plan, epilogue, ViewMut::new("x", shape, &mut x)?, &mut saved)?;
        (None, x)
    };
    Ok(Layer { shape, y, x, saved })
}

/// dx, gamma's gradient, and how long it took.
fn backward(layer: &Layer, seed: usize) -> Result<(Vec<f32>, Vec<f64>, Duration), Error> {
    let shape = layer.shape;
    let (dy, mut dx) = (noise(shape.len(), seed + 1000), vec![0.0; shape.len()]);
    let x = layer.x.as_deref().map(|x| View::new("x", shape, x)).transpose()?;
    let gate = match x {
        Some(x) => Gate::LeakyRelu { x, slope: SLOPE },
        None => Gate::Output { y: View::new("y", shape, &layer.y)?, slope: SLOPE },
    };
    let (dy, out) = (View::new("dy", shape, &dy)?, ViewMut::new("dx", shape, &mut dx)?);
    let tensors = Backward { x, dy, gate, dx: Some(out), d_addend: None };
    let start = Instant::now();
    let gradients = passes::backward(&Cpu, &layer.saved, Wanted::ALL, tensors)?;
    let took = start.elapsed();
    Ok((dx, gradients.gamma.unwrap_or_default(), took))
}

/// All layers forward, then backward: bytes kept by each form of layer, the most bytes at once, and the gradients.
#[allow(clippy::type_complexity, reason = "a table")]
fn step(
    batch: usize,
    keeps_x: bool,
) -> Result<(Vec<usize>, usize, Duration, Vec<(Vec<f32>, Vec<f64>)>), Error> {
    let before = BYTES.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let (mut layers, mut kept) = (Vec::new(), Vec::new());
    for (i, (_, count, channels, side)) in LAYERS.into_iter().enumerate() {
        let start = BYTES.load(Ordering::Relaxed);
        for layer in 0..count {
            layers.push(forward(
                Shape::channels_first(&[batch, channels, side, side])?,
                i * 20 + layer,
                keeps_x,
            )?);
        }
        kept.push((BYTES.load(Ordering::Relaxed) - start) / count);
    }
    // Gradients are kept of one layer of each form, the first, to be compared.
    let (mut seconds, mut gradients) = (Duration::ZERO, Vec::new());
    let most_forward = MOST.load(Ordering::Relaxed) - before;
    let mut last = None;
    let mut seed = layers.len();
    while let Some(layer) = layers.pop() {
        seed -= 1;
        let (dx, gamma, took) = backward(&layer, seed)?;
        seconds += took;
        if last.replace(layer.shape) != Some(layer.shape) {
            gradients.push((dx, gamma));
        }
    }
    Ok((kept, most_forward, seconds, gradients))
}

fn relative_rms(found: impl Iterator<Item = f64>, expected: impl Iterator<Item = f64>) -> f64 {
    let (mut error, mut size) = (0.0, 0.0);
    for (found, expected) in found.zip(expected) {
        error += (found - expected).powi(2);
        size += expected.powi(2);
    }
    (error / size).sqrt()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let batch = match std::env::args().nth(1) {
        None => 4,
        Some(batch) => batch.parse().map_err(|_| format!("expected a batch size, found `{batch}`"))?,
    };
    // Once for the allocator's and the processor's sake.
    step(batch, true)?;
    step(batch, false)?;
    let (with_x, most_with_x, seconds_with_x, expected) = step(batch, true)?;
    let (from_output, most, seconds, found) = step(batch, false)?;

    let mb = |bytes: usize| bytes as f64 / 1e6;
    println!("ResNet-50 at a batch of {batch}, f32: MB that a layer keeps until its backward pass\n");
    println!(
        "{:<25} {:>6} {:>9} {:>9} {:>8} {:>6}",
        "layers", "number", "x and y", "y alone", "saved", "share"
    );
    for ((name, count, ..), (with_x, from_output)) in LAYERS.into_iter().zip(with_x.iter().zip(&from_output)) {
        let (saved, share) = (mb(with_x - from_output), 1.0 - *from_output as f64 / *with_x as f64);
        let (with_x, from_output) = (mb(*with_x), mb(*from_output));
        println!("{name:<25} {count:>6} {with_x:>9.3} {from_output:>9.3} {saved:>8.3} {:>5.1}%", 100.0 * share);
    }
    let (most_with_x, most) = (mb(most_with_x), mb(most));
    let (saved, share) = (most_with_x - most, 100.0 * (1.0 - most / most_with_x));
    println!("{:<25} {:>6} {most_with_x:>9.1} {most:>9.1} {saved:>8.1} {share:>5.1}%", "the most at once", 53);
    println!("\nbackward passes, together: {seconds_with_x:.1?} from x, {seconds:.1?} from y");
    let (mut dx, mut gamma) = (0f64, 0f64);
    for (found, expected) in found.iter().zip(&expected) {
        let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<_>>().into_iter();
        dx = dx.max(relative_rms(wide(&found.0), wide(&expected.0)));
        gamma = gamma.max(relative_rms(found.1.iter().copied(), expected.1.iter().copied()));
    }
    println!("gradients differ, relative RMS, of the worst layer: dx {dx:.1e}, gamma {gamma:.1e}");
    Ok(())
}
