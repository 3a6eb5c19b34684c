//! The sweep for long runs of one channel (inner >= [`MIN_INNER`]): images and sequences, channels first.
//!
//! A channel's values are `outer` runs of `inner` consecutive elements. Folds cut the positions of each
//! channel into blocks of [`BLOCK`], a cut that depends on the shape alone:
//!
//! ```text
//! for each channel, for each block of its positions, on any thread:
//!     mean  = x0 + sum(x - x0) / n             first pass, from memory
//!     M2    = sum((x - mean)^2)                second pass, from cache
//! for each channel: merge its blocks, first to last
//! ```
//!
//! Deviations from this pseudo-code:
//! 1. Sums run in [`LANES`] independent f64 lanes, so that the compiler can use vectors without reordering.

use super::narrow::Narrow;
use super::{runs, threads};
use crate::{
    Coefficients, Element, Epilogue, Gate, GradientMeans, GradientSums, Moments, Shape, View, ViewMut,
};

/// The shortest run that this sweep is worth.
pub const MIN_INNER: usize = 16;

/// Positions of one channel that are folded together: even, and 16 KiB of f32, so that the second pass finds
/// them in the first-level cache.
const BLOCK: usize = 4096;

/// Independent sums of a fold.
const LANES: usize = 16;

/// The blocks of every channel, in order.
#[derive(Clone, Copy)]
struct Blocks {
    shape: Shape,
    per_channel: usize,
}

impl Blocks {
    fn new(shape: Shape) -> Self {
        Self { shape, per_channel: shape.positions().div_ceil(BLOCK).max(1) }
    }

    /// The channel of block `i`.
    #[inline(always)]
    fn channel(&self, i: usize) -> usize {
        i / self.per_channel
    }

    /// Calls `visit(start, length)` for every run of consecutive elements in block `i`.
    #[inline(always)]
    fn for_each_run(&self, i: usize, mut visit: impl FnMut(usize, usize)) {
        let (channel, block) = (self.channel(i), i % self.per_channel);
        let (channels, inner) = (self.shape.channels(), self.shape.inner());
        let mut position = block * BLOCK;
        let end = (position + BLOCK).min(self.shape.positions());
        while position < end {
            let (outer, offset) = (position / inner, position % inner);
            let len = (inner - offset).min(end - position);
            visit((outer * channels + channel) * inner + offset, len);
            position += len;
        }
    }

    /// Folds every block by `fold`, then the blocks of each channel by `merge`, first to last.
    fn fold<T: Copy + Default + Send + Sync>(
        &self,
        results: &mut [T],
        fold: impl Fn(usize) -> T + Sync,
        merge: impl Fn(T, T) -> T,
    ) {
        let elements_each = self.shape.positions().min(BLOCK);
        if self.per_channel == 1 {
            return threads::fill(results, elements_each, fold);
        }
        let mut blocks = vec![T::default(); results.len() * self.per_channel];
        threads::fill(&mut blocks, elements_each, fold);
        for (result, blocks) in results.iter_mut().zip(blocks.chunks_exact(self.per_channel)) {
            *result = blocks.iter().copied().fold(T::default(), &merge);
        }
    }
}

/// `lanes[i % LANES] += term(i)` for `i` in `0..len`.
#[inline(always)]
fn accumulate(lanes: &mut [f64; LANES], len: usize, term: impl Fn(usize) -> f64) {
    let whole = len - len % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
    }
    for (sum, i) in lanes.iter_mut().zip(whole..len) {
        *sum += term(i);
    }
}

/// The lanes added up in a fixed order.
#[inline(always)]
fn total(lanes: &[f64; LANES]) -> f64 {
    lanes.iter().sum()
}

pub fn moments<E: Element>(x: View<'_, E>, moments: &mut [Moments]) {
    let blocks = Blocks::new(x.shape());
    blocks.fold(
        moments,
        #[inline(always)]
        |i| moments_of_block(&blocks, x, i),
        Moments::merge,
    );
}

#[inline(always)]
fn moments_of_block<E: Element>(blocks: &Blocks, x: View<'_, E>, i: usize) -> Moments {
    let x = x.data();
    let (mut count, mut first) = (0, 0.0);
    let mut sum = [0.0; LANES];
    blocks.for_each_run(i, |start, len| {
        let run = &x[start..start + len];
        if count == 0 {
            first = run[0].to_f64();
        }
        accumulate(&mut sum, len, |i| run[i].to_f64() - first);
        count += len;
    });
    if count == 0 {
        return Moments::EMPTY;
    }
    let mean = first + total(&sum) / count as f64;
    let mut m2 = [0.0; LANES];
    blocks.for_each_run(i, |start, len| {
        let run = &x[start..start + len];
        accumulate(&mut m2, len, |i| {
            let deviation = run[i].to_f64() - mean;
            deviation * deviation
        });
    });
    Moments { count: count as u64, mean, m2: total(&m2) }
}

pub fn gradient_sums<E: Element>(
    coefficients: &[Coefficients],
    x: Option<View<'_, E>>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    sums: &mut [GradientSums],
) {
    let blocks = Blocks::new(dy.shape());
    blocks.fold(
        sums,
        #[inline(always)]
        |i| sums_of_block(&blocks, &coefficients[blocks.channel(i)], x, dy, gate, i),
        GradientSums::merge,
    );
}

#[inline(always)]
fn sums_of_block<E: Element>(
    blocks: &Blocks,
    coefficients: &Coefficients,
    x: Option<View<'_, E>>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    i: usize,
) -> GradientSums {
    let narrow = Narrow::<E::Parameter>::new(coefficients, None);
    let (mut sum, mut product) = ([0.0; LANES], [0.0; LANES]);
    let mut buffer = [E::default(); runs::GATED];
    blocks.for_each_run(i, |start, len| {
        for offset in (0..len).step_by(runs::GATED) {
            let len = (len - offset).min(runs::GATED);
            let range = start + offset..start + offset + len;
            let dz = &runs::gated(narrow, dy, gate, range.clone(), &mut buffer[..len])[..len];
            accumulate(&mut sum, len, |i| dz[i].to_f64());
            if let Some(x) = x {
                let x = &x.data()[range][..len];
                accumulate(&mut product, len, |i| dz[i].to_f64() * (x[i].to_f64() - coefficients.mean));
            }
        }
    });
    GradientSums {
        dy: total(&sum),
        dy_xhat: if x.is_some() { total(&product) * coefficients.rstd } else { 0.0 },
    }
}

pub fn normalize<E: Element>(
    coefficients: &[Coefficients],
    x: View<'_, E>,
    epilogue: Epilogue<'_, E>,
    mut y: ViewMut<'_, E>,
) {
    let shape = x.shape();
    threads::write_pieces(
        y.data(),
        None,
        1,
        #[inline(always)]
        |start, y, _| {
            for_each_run_of_piece(shape, start, y.len(), |channel, run| {
                let narrow = Narrow::new(&coefficients[channel], None);
                runs::normalize(narrow, x, epilogue, start + run.start, &mut y[run]);
            });
        },
    );
}

pub fn input_gradient<E: Element>(
    coefficients: &[Coefficients],
    batch: Option<(View<'_, E>, &[GradientMeans])>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    mut dx: ViewMut<'_, E>,
    mut d_addend: Option<ViewMut<'_, E>>,
) {
    let shape = dy.shape();
    let x = batch.map(|(x, _)| x);
    let d_addend = d_addend.as_mut().map(ViewMut::data);
    threads::write_pieces(
        dx.data(),
        d_addend,
        1,
        #[inline(always)]
        |start, dx, mut d_addend| {
            for_each_run_of_piece(shape, start, dx.len(), |channel, run| {
                let narrow = Narrow::new(&coefficients[channel], batch.map(|(_, means)| &means[channel]));
                let d_addend = d_addend.as_deref_mut().map(|d_addend| &mut d_addend[run.clone()]);
                runs::input_gradient(narrow, x, dy, gate, start + run.start, &mut dx[run], d_addend);
            });
        },
    );
}

/// Calls `visit(channel, range within the piece)` for every run in the piece of `len` elements at `start`.
#[inline(always)]
fn for_each_run_of_piece(
    shape: Shape,
    start: usize,
    len: usize,
    mut visit: impl FnMut(usize, std::ops::Range<usize>),
) {
    let inner = shape.inner();
    let mut offset = 0;
    while offset < len {
        let element = start + offset;
        let end = (offset + inner - element % inner).min(len);
        visit(element / inner % shape.channels(), offset..end);
        offset = end;
    }
}
