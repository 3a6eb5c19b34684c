//! The sweep for long runs of one channel of which a mask picks some: images and sequences, channels first.
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
//! 2. With a mask only the positions that count are summed ([`masked`]); x0 is the first of them.

use std::ops::Range;

use super::masked::{self, All, Block, Counted, Tally};
use super::narrow::Narrow;
use super::{runs, threads};
use crate::{
    Coefficients, Element, Epilogue, Gate, GradientMeans, GradientSums, Mask, Moments, Real, Shape, View,
    ViewMut,
};

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

    /// The index of block `i` among those of its channel.
    #[inline(always)]
    fn block(&self, i: usize) -> usize {
        i % self.per_channel
    }

    /// The element of a channel at one of its positions, and how many of its run follow from there.
    #[inline(always)]
    fn element(&self, channel: usize, position: usize) -> (usize, usize) {
        let (channels, inner) = (self.shape.channels(), self.shape.inner());
        let (outer, offset) = (position / inner, position % inner);
        ((outer * channels + channel) * inner + offset, inner - offset)
    }

    /// Calls `visit(start, positions within the block)` for every run of consecutive elements in block `i`.
    #[inline(always)]
    fn for_each_run(&self, i: usize, mut visit: impl FnMut(usize, Range<usize>)) {
        let (channel, first) = (self.channel(i), self.block(i) * BLOCK);
        let mut position = first;
        let end = (position + BLOCK).min(self.shape.positions());
        while position < end {
            let (start, len) = self.element(channel, position);
            let len = len.min(end - position);
            visit(start, position - first..position - first + len);
            position += len;
        }
    }

    /// What counts in the blocks of a channel: the same in every channel.
    fn tally<'a>(&self, mask: Option<Mask<'a>>) -> Tally<'a> {
        Tally::new(mask, self.shape.positions(), BLOCK)
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
    let tally = blocks.tally(x.mask());
    blocks.fold(
        moments,
        #[inline(always)]
        |i| match tally.block(blocks.block(i)) {
            Block::Empty => Moments::EMPTY,
            Block::Whole(count) => moments_of_block(&blocks, x, i, count, All),
            Block::Partial(count, counted) => moments_of_block(&blocks, x, i, count, counted),
        },
        Moments::merge,
    );
}

#[inline(always)]
fn moments_of_block<E: Element>(
    blocks: &Blocks,
    x: View<'_, E>,
    i: usize,
    count: usize,
    counted: impl Counted,
) -> Moments {
    let x = x.data();
    let (first, _) = blocks.element(blocks.channel(i), blocks.block(i) * BLOCK + counted.first());
    let first = x[first].to_f64();
    let mut sum = [0.0; LANES];
    blocks.for_each_run(i, |start, positions| {
        let len = positions.len();
        let (run, counted) = (&x[start..start + len], counted.part(positions));
        accumulate(&mut sum, len, |i| counted.keep(i, run[i].to_f64() - first));
    });
    let mean = first + total(&sum) / count as f64;
    let mut m2 = [0.0; LANES];
    blocks.for_each_run(i, |start, positions| {
        let len = positions.len();
        let (run, counted) = (&x[start..start + len], counted.part(positions));
        accumulate(&mut m2, len, |i| {
            let deviation = run[i].to_f64() - mean;
            counted.keep(i, deviation * deviation)
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
    let tally = blocks.tally(dy.mask());
    blocks.fold(
        sums,
        #[inline(always)]
        |i| {
            let coefficients = &coefficients[blocks.channel(i)];
            match tally.block(blocks.block(i)) {
                Block::Empty => GradientSums::default(),
                Block::Whole(_) => sums_of_block(&blocks, coefficients, x, dy, gate, i, All),
                Block::Partial(_, counted) => sums_of_block(&blocks, coefficients, x, dy, gate, i, counted),
            }
        },
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
    counted: impl Counted,
) -> GradientSums {
    let narrow = Narrow::<E::Parameter>::new(coefficients, None);
    let (mut sum, mut product) = ([0.0; LANES], [0.0; LANES]);
    let mut buffer = [E::Parameter::ZERO; runs::GATED];
    let inverse = gate.inverse().map(E::Parameter::from_f64);
    blocks.for_each_run(i, |start, positions| {
        let counted = counted.part(positions.clone());
        for offset in (0..positions.len()).step_by(runs::GATED) {
            let len = (positions.len() - offset).min(runs::GATED);
            let counted = counted.part(offset..offset + len);
            let range = start + offset..start + offset + len;
            let dz = &mut buffer[..len];
            runs::gated(narrow, dy, gate, range.clone(), dz);
            accumulate(&mut sum, len, |i| counted.keep(i, dz[i].to_f64()));
            if let Some(x) = x {
                let x = &x.data()[range][..len];
                accumulate(&mut product, len, |i| {
                    counted.keep(i, dz[i].to_f64() * (Gate::undone(inverse, x[i]).to_f64() - coefficients.mean))
                });
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
            for_each_run_of_piece(shape, x.mask(), start, y.len(), |channel, run, counts| {
                let narrow = Narrow::new(&coefficients[channel], None);
                let (start, y) = (start + run.start, &mut y[run]);
                if !masked::is_empty(counts) {
                    runs::normalize(narrow, x, epilogue, start, y);
                }
                masked::clear_run(counts, y);
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
            for_each_run_of_piece(shape, dy.mask(), start, dx.len(), |channel, run, counts| {
                let narrow = Narrow::new(&coefficients[channel], batch.map(|(_, means)| &means[channel]));
                let mut d_addend = d_addend.as_deref_mut().map(|d_addend| &mut d_addend[run.clone()]);
                let (start, dx) = (start + run.start, &mut dx[run]);
                if !masked::is_empty(counts) {
                    runs::input_gradient(narrow, x, dy, gate, start, dx, d_addend.as_deref_mut());
                }
                masked::clear_run(counts, dx);
                if let Some(d_addend) = d_addend {
                    masked::clear_run(counts, d_addend);
                }
            });
        },
    );
}

/// Calls `visit(channel, range within the piece, which of it counts)` for every run in the piece of `len` elements
/// at `start`.
#[inline(always)]
fn for_each_run_of_piece<'a>(
    shape: Shape,
    mask: Option<Mask<'a>>,
    start: usize,
    len: usize,
    mut visit: impl FnMut(usize, Range<usize>, Option<&'a [bool]>),
) {
    let (channels, inner) = (shape.channels(), shape.inner());
    let mut offset = 0;
    while offset < len {
        let element = start + offset;
        let end = (offset + inner - element % inner).min(len);
        let counts = mask.map(|mask| {
            let position = element / (channels * inner) * inner + element % inner;
            &mask.counts()[position..position + (end - offset)]
        });
        visit(element / inner % channels, offset..end, counts);
        offset = end;
    }
}
