//! The folds of columns: [`columns`](super::columns) says what they are.

use std::ops::Range;

use super::super::dispatch::{InstructionSet, Job, on};
use super::super::lanes::{Isa, LANES, Lanes};
use super::super::memory::{FirstRow, NextRow};
use super::blocks::{Block, Blocks};
use super::columns::{FEWEST, TILE, each};
use super::folds::Folded;
use super::gates::Affine;
use super::room::{self, Computed, FoldRoom, Kept, Known};
use super::sweep::{Computing, Sums};
use super::ways::CACHE;
use crate::Real;
use crate::scratch;

/// Rows that are folded at once, at most: their sums are registers, which enter those of the block once for all. Every other row has
/// sums of its own, so that each is of half as many numbers.
const AT_ONCE: usize = 16;

/// Bytes of the rows of a tall tensor that are folded at once, of all tensors that are read, if those fit the cache, and if they do not:
/// tiles go from row to row, and what comes from memory comes faster the less they do.
const NEAR: (usize, usize) = (16 << 10, 8 << 10);

/// Rows that are folded at once. Bits depend on it, so it follows from what blocks follow from: not from the number of threads, nor, but
/// for tall tensors, from that of the channels; nor from whether x is read.
fn at_once<F: Folded>(block: &Block) -> usize {
    if !block.is_tall() {
        return AT_ONCE;
    }
    let row = block.row() * size_of::<F::Element>() * F::TENSORS;
    // Fewer rows, of as many elements as are 8 bytes, are not worth an addition in f64.
    let (near, least) = match block.outer() * row <= CACHE {
        true => (NEAR.0, AT_ONCE / 2),
        false => (NEAR.1, 8 / size_of::<F::Element>()),
    };
    (near / row).clamp(least, AT_ONCE)
}

/// Folds a block of a few channels into `totals`.
pub fn fold<F: Folded>(
    set: InstructionSet,
    fold: &F,
    blocks: &Blocks,
    block: usize,
    channels: Range<usize>,
    totals: &mut [F::Total],
) {
    let block = blocks.get(block);
    // Rows that follow each other in memory are taken as one until they fill a few vectors.
    let width = channels.len() * block.run();
    let joined = if width == block.row() && fold.rows(&block).is_none() { rows_joined(width) } else { 1 };
    scratch::with(channels.len(), 0.0, |lost| {
        room::to_fold(joined * width, |room| {
            on(set, Fold { fold, block, channels, joined, totals, lost, room })
        });
    });
}

/// How many rows of `row` columns are taken as one: enough for whole vectors, and for [`FEWEST`] columns.
fn rows_joined(row: usize) -> usize {
    if row >= FEWEST {
        return 1;
    }
    let whole = LANES >> row.trailing_zeros().min(LANES.trailing_zeros());
    whole * FEWEST.div_ceil(whole * row)
}

struct Fold<'p, 'm, F: Folded> {
    fold: &'p F,
    block: Block,
    channels: Range<usize>,
    /// Rows that are taken as one.
    joined: usize,
    totals: &'p mut [F::Total],
    /// Zeros; not so any more for a channel whose sums f32 does not hold.
    lost: &'m mut [f64],
    room: FoldRoom<'m, Computed<F::Element>>,
}

impl<F: Folded> Job for Fold<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { fold, block, channels, joined, totals, lost, mut room } = self;
        let (run, width) = (block.run(), channels.len() * block.run());
        room.clear();
        for (j, c) in channels.clone().enumerate() {
            let channel = fold.channel(c, &block);
            for row in 0..joined {
                let first = row * width + j * run;
                room.open(first..first + run, F::centre(&channel), F::narrow(&channel), F::NEAR);
            }
        }
        let columns = joined * width;
        let (known, mut kept) = room.parts();
        fold_rows(isa, fold, &block, channels.start, (joined, columns), &known, &mut kept, F::NEAR);
        // Constant channels, and numbers that f32 does not hold. Each on its own: bits depend on no other channel.
        let mut any = false;
        for (j, c) in channels.clone().enumerate() {
            let channel = fold.channel_about(known.centre_of(j * run), c, &block);
            let sums = sums_of(isa, &kept, columns, width, j * run, run);
            if F::NEAR && !fold.held(&channel, &sums, &block) {
                (any, lost[j]) = (true, 1.0);
                continue;
            }
            totals[j] = F::merge(totals[j], fold.total(isa, &channel, &sums, c, &block));
        }
        if !any {
            return;
        }
        room.clear();
        let (known, mut kept) = room.parts();
        fold_rows(isa, fold, &block, channels.start, (joined, columns), &known, &mut kept, false);
        for (j, c) in channels.clone().enumerate() {
            if lost[j] > 0.0 {
                let sums = sums_of(isa, &kept, columns, width, j * run, run);
                totals[j] = F::merge(totals[j], fold.total(isa, &fold.channel(c, &block), &sums, c, &block));
            }
        }
    }
}

/// Folds the rows of a block, of which `joined` are taken as one of `columns`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the state of a loop")]
fn fold_rows<I: Isa, F: Folded>(
    isa: I,
    fold: &F,
    block: &Block,
    first: usize,
    (joined, columns): (usize, usize),
    known: &Known<'_, Computed<F::Element>>,
    kept: &mut Kept<'_>,
    near: bool,
) {
    let picked = fold.rows(block);
    let stride = joined * block.row();
    let asks = picked.is_none() && block.outer() * block.row() * size_of::<F::Element>() >= FAR;
    // Not known to the compiler, which would take rows together, load all of a tile first, and have no registers for it.
    let at_once = std::hint::black_box(at_once::<F>(block));
    let (mut row, end) = (0, picked.map_or(block.rows.len(), <[usize]>::len));
    while row < end {
        let (count, columns) = match (end - row) / joined {
            0 => (1, columns / joined * (end - row)),
            whole => (whole.min(at_once), columns),
        };
        let start = block.start(block.rows.start + row, first);
        let of = Rows {
            start,
            stride,
            count,
            at_once,
            picked: picked.map(|picked| &picked[row..]),
            block,
            first,
            asks,
        };
        fold_columns(isa, fold, &of, columns, known, kept, near);
        row += count * joined;
    }
}

/// A few rows that are folded at once.
struct Rows<'r> {
    /// Where the first begins, and how far the next ones are from each other.
    start: usize,
    stride: usize,
    count: usize,
    /// How many they are, but for the last ones of a block.
    at_once: usize,
    /// Or which rows of the tensor they are, and of which channel they begin.
    picked: Option<&'r [usize]>,
    block: &'r Block,
    first: usize,
    /// Whether lines are asked for ahead.
    asks: bool,
}

impl Rows<'_> {
    #[inline(always)]
    fn start(&self, row: usize) -> usize {
        match self.picked {
            None => self.start + row * self.stride,
            Some(picked) => self.block.start(picked[row], self.first),
        }
    }

    /// What to ask for while the tile from column `i` on is folded, of `columns`: the first element, and how far from each other those
    /// of its rows are. Of rows that are folded whole, lines are asked for in their order.
    #[inline(always)]
    fn ahead(&self, i: usize, columns: usize, least: usize) -> (Option<usize>, usize) {
        if columns == self.stride {
            return (Some(self.start + i * self.at_once + least), TILE * LANES);
        }
        let group = self.at_once * self.stride;
        (Some(self.start + i + group * least.div_ceil(group)), self.stride)
    }
}

/// Bytes of a tensor from which on lines are asked for ahead of its fold: below, it is in the second-level cache.
const FAR: usize = 512 << 10;

/// How far ahead, in bytes of all tensors together, which fit the first-level cache: while sums enter those of the block nothing is
/// loaded, and what the processor asks for on its own ends.
const AHEAD: usize = 14 << 10;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Folds the first `len` columns of some rows.
#[inline(always)]
fn fold_columns<I: Isa, F: Folded>(
    isa: I,
    fold: &F,
    rows: &Rows<'_>,
    len: usize,
    known: &Known<'_, Computed<F::Element>>,
    kept: &mut Kept<'_>,
    near: bool,
) {
    let mut i = 0;
    if F::NEAR && near {
        let whole = rows.picked.is_none();
        while whole && i + TILE * LANES <= len {
            match rows.asks {
                true => fold_tile(isa, fold, rows, i, known, kept, rows.ahead(i, len, fold.elements_of(AHEAD))),
                false => fold_tile(isa, fold, rows, i, known, kept, (None, 0)),
            }
            i += TILE * LANES;
        }
        while i + LANES <= len {
            fold_near(isa, fold, rows, i, None, known, kept);
            i += LANES;
        }
        if i < len {
            fold_near(isa, fold, rows, i, Some(len - i), known, kept);
        }
        return;
    }
    while i + LANES <= len {
        fold_wide(isa, fold, rows, i, None, known, kept);
        i += LANES;
    }
    if i < len {
        fold_wide(isa, fold, rows, i, Some(len - i), known, kept);
    }
}

/// Folds [`TILE`] vectors of columns, from column `i` on, in what maps compute in, and asks for lines: the first, if any, and how far
/// from each other those of its rows are.
#[inline(always)]
fn fold_tile<I: Isa, F: Folded>(
    isa: I,
    fold: &F,
    rows: &Rows<'_>,
    i: usize,
    known: &Known<'_, Computed<F::Element>>,
    kept: &mut Kept<'_>,
    ahead: (Option<usize>, usize),
) {
    let (known, mut kept) = (known.run_affine(i, TILE * LANES), kept.run(i, TILE * LANES));
    let constants = each(
        #[inline(always)]
        |t| known.affine::<I, F::Element>(isa, t * LANES, None),
    );
    let (mut even, mut odd) = ([nothing::<I, F>(isa); TILE], [nothing::<I, F>(isa); TILE]);
    let first = FirstRow { start: rows.start + i, rows: rows.count, stride: rows.stride, width: TILE * LANES };
    let mut of_row = fold.part(first);
    let (mut ahead, stride) = ahead;
    let mut left = rows.count;
    loop {
        step_row(isa, fold, &of_row, &constants, &mut even, ahead);
        if left == 1 {
            break;
        }
        // SAFETY: there is one more of so many rows, of which the first was made for all.
        of_row = of_row.part(unsafe { NextRow::new(rows.stride) });
        ahead = ahead.map(|ahead| ahead + stride);
        step_row(isa, fold, &of_row, &constants, &mut odd, ahead);
        if left == 2 {
            break;
        }
        // SAFETY: likewise.
        of_row = of_row.part(unsafe { NextRow::new(rows.stride) });
        ahead = ahead.map(|ahead| ahead + stride);
        left -= 2;
    }
    for (t, (even, odd)) in even.into_iter().zip(odd).enumerate() {
        kept.add(isa, t * LANES, widened::<I, F>(isa, even, odd), None);
    }
}

/// Folds a row of a tile, and asks for the lines of `ahead`.
#[inline(always)]
fn step_row<I: Isa, F: Folded>(
    isa: I,
    fold: &F,
    of_row: &F,
    constants: &[Affine<Computing<F::Element, I>>; TILE],
    sums: &mut [Sums<Computing<F::Element, I>>; TILE],
    ahead: Option<usize>,
) {
    for (t, sums) in sums.iter_mut().enumerate() {
        of_row.step_near(isa, &constants[t], sums, t * LANES, None);
        if let Some(ahead) = ahead
            && (t * LANES * size_of::<F::Element>()).is_multiple_of(LINE)
        {
            fold.prefetch(isa, ahead + t * LANES);
        }
    }
}

/// Folds a vector of columns, from column `i` on, in what maps compute in: a whole one, or one of `len`.
#[inline(always)]
fn fold_near<I: Isa, F: Folded>(
    isa: I,
    fold: &F,
    rows: &Rows<'_>,
    i: usize,
    len: Option<usize>,
    known: &Known<'_, Computed<F::Element>>,
    kept: &mut Kept<'_>,
) {
    let constants = known.affine::<I, F::Element>(isa, i, len);
    let mut sums = [nothing::<I, F>(isa); 2];
    for row in 0..rows.count {
        let of_row = fold.run(rows.start(row) + i, len.unwrap_or(LANES));
        of_row.step_near(isa, &constants, &mut sums[row % 2], 0, len);
    }
    kept.add(isa, i, widened::<I, F>(isa, sums[0], sums[1]), len);
}

#[inline(always)]
fn nothing<I: Isa, F: Folded>(isa: I) -> Sums<Computing<F::Element, I>> {
    let zero = F::Element::splat(isa, Real::ZERO);
    Sums { sum: zero, products: zero }
}

/// The sums of every other row and of those between, together.
#[inline(always)]
fn widened<I: Isa, F: Folded>(
    isa: I,
    even: Sums<Computing<F::Element, I>>,
    odd: Sums<Computing<F::Element, I>>,
) -> Sums<I::F64> {
    Sums {
        sum: F::Element::widen_lanes(isa, even.sum + odd.sum),
        products: F::Element::widen_lanes(isa, even.products + odd.products),
    }
}

/// Folds a vector of columns, from column `i` on, in f64: a whole one, or one of `len`.
#[inline(always)]
fn fold_wide<I: Isa, F: Folded>(
    isa: I,
    fold: &F,
    rows: &Rows<'_>,
    i: usize,
    len: Option<usize>,
    known: &Known<'_, Computed<F::Element>>,
    kept: &mut Kept<'_>,
) {
    let mut sums = kept.load(isa, i, len);
    let constants = fold.constants_of(isa, known, i, len);
    for row in 0..rows.count {
        let of_row = fold.run(rows.start(row) + i, len.unwrap_or(LANES));
        of_row.step(isa, &constants, &mut sums, 0, len);
    }
    kept.store(isa, i, sums, len);
}

/// The sums of a channel: of its `run` columns from `first` on, in each row of `width` that `columns` holds.
#[inline(always)]
fn sums_of<I: Isa>(
    isa: I,
    kept: &Kept<'_>,
    columns: usize,
    width: usize,
    first: usize,
    run: usize,
) -> Sums<f64> {
    if run == 1 {
        let mut sums = kept.one(first);
        for i in (first + width..columns).step_by(width) {
            let more = kept.one(i);
            sums = Sums { sum: sums.sum + more.sum, products: sums.products + more.products };
        }
        return sums;
    }
    let mut lanes = Sums::zero(isa);
    for first in (first..columns).step_by(width) {
        let mut i = 0;
        while i < run {
            let part = kept.load(isa, first + i, (run - i < LANES).then_some(run - i));
            lanes = Sums { sum: lanes.sum + part.sum, products: lanes.products + part.products };
            i += LANES;
        }
    }
    lanes.totals()
}
