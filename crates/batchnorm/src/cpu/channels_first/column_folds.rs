//! The folds of columns: [`columns`](super::columns) says what they are.

use std::ops::Range;

use super::super::dispatch::{InstructionSet, Job, on};
use super::super::lanes::{Isa, LANES, Lanes};
use super::blocks::{Block, Blocks};
use super::columns::{AHEAD, FEWEST, ROWS, rows};
use super::folds::Folded;
use super::room::{self, Computed, FoldRoom, Kept, Known};
use super::sweep::Sums;
use crate::Real;

/// Rows that are folded at once where there are as many: their sums are read and written once for all.
const MANY_ROWS: usize = 8;

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
    room::to_fold(joined * width, |room| on(set, Fold { fold, block, channels, joined, totals, room }));
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
    room: FoldRoom<'m, Computed<F::Element>>,
}

impl<F: Folded> Job for Fold<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { fold, block, channels, joined, totals, mut room } = self;
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
        let mut lost = Vec::new();
        for (j, c) in channels.clone().enumerate() {
            let (channel, sums) = (fold.channel(c, &block), sums_of(isa, &kept, columns, width, j * run, run));
            if F::NEAR && !fold.held(&channel, &sums, &block) {
                lost.push(j);
                continue;
            }
            totals[j] = F::merge(totals[j], fold.total(isa, &channel, &sums, c, &block));
        }
        if lost.is_empty() {
            return;
        }
        room.clear();
        let (known, mut kept) = room.parts();
        fold_rows(isa, fold, &block, channels.start, (joined, columns), &known, &mut kept, false);
        for j in lost {
            let (c, sums) = (channels.start + j, sums_of(isa, &kept, columns, width, j * run, run));
            totals[j] = F::merge(totals[j], fold.total(isa, &fold.channel(c, &block), &sums, c, &block));
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
    let stride = joined * block.row();
    let rows = Rows { block, picked: fold.rows(block), first };
    let (mut row, end) = (0, rows.len());
    while row < end {
        let left = end - row;
        if left >= MANY_ROWS * joined {
            let at_once: [usize; MANY_ROWS] = rows.starts(row, joined);
            fold_columns(isa, fold, at_once, stride, columns, known, kept, near);
            row += MANY_ROWS * joined;
        } else if left >= ROWS * joined {
            let at_once: [usize; ROWS] = rows.starts(row, joined);
            fold_columns(isa, fold, at_once, stride, columns, known, kept, near);
            row += ROWS * joined;
        } else {
            let (len, at_once) = (joined.min(left), rows.starts::<1>(row, joined));
            fold_columns(isa, fold, at_once, stride, columns / joined * len, known, kept, near);
            row += len;
        }
    }
}

/// The rows of a block that are folded: all, or some.
struct Rows<'r> {
    block: &'r Block,
    picked: Option<&'r [usize]>,
    /// Of which channel they begin.
    first: usize,
}

impl Rows<'_> {
    #[inline(always)]
    fn len(&self) -> usize {
        self.picked.map_or(self.block.rows.len(), <[usize]>::len)
    }

    /// Where every `joined`-th of them from `row` on begins.
    #[inline(always)]
    fn starts<const N: usize>(&self, row: usize, joined: usize) -> [usize; N] {
        rows(
            #[inline(always)]
            |i| {
                let row = row + i * joined;
                let row = match self.picked {
                    None => self.block.rows.start + row,
                    Some(picked) => picked[row],
                };
                self.block.start(row, self.first)
            },
        )
    }
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
) -> Sums<I::F64> {
    let mut lanes = Sums::zero(isa);
    for first in (first..columns).step_by(width) {
        let mut i = 0;
        while i < run {
            let part = kept.load(isa, first + i, (run - i < LANES).then_some(run - i));
            lanes = Sums { sum: lanes.sum + part.sum, products: lanes.products + part.products };
            i += LANES;
        }
    }
    lanes
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the state of a loop")]
fn fold_step<I: Isa, F: Folded, const N: usize>(
    isa: I,
    folds: &[F; N],
    known: &Known<'_, Computed<F::Element>>,
    kept: &mut Kept<'_>,
    i: usize,
    len: Option<usize>,
    ahead: usize,
    near: bool,
) {
    let mut sums = kept.load(isa, i, len);
    if F::NEAR && N > 1 && near {
        let constants = known.affine::<I, F::Element>(isa, i, len);
        let zero = F::Element::splat(isa, Real::ZERO);
        let mut near = Sums { sum: zero, products: zero };
        for fold in folds {
            fold.step_near(isa, &constants, &mut near, i, len);
            fold.prefetch(isa, i + ahead);
        }
        sums.sum = sums.sum + F::Element::widen_lanes(isa, near.sum);
        sums.products = sums.products + F::Element::widen_lanes(isa, near.products);
        return kept.store(isa, i, sums, len);
    }
    let constants = folds[0].constants_of(isa, known, i, len);
    for fold in folds {
        fold.step(isa, &constants, &mut sums, i, len);
        fold.prefetch(isa, i + ahead);
    }
    kept.store(isa, i, sums, len);
}

/// Folds the first `len` columns of `N` rows, which have column 0 at `starts`, `stride` elements from each other more or less.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the state of a loop")]
fn fold_columns<I: Isa, F: Folded, const N: usize>(
    isa: I,
    fold: &F,
    starts: [usize; N],
    stride: usize,
    len: usize,
    known: &Known<'_, Computed<F::Element>>,
    kept: &mut Kept<'_>,
    near: bool,
) {
    let folds: [F; N] = rows(
        #[inline(always)]
        |row| fold.run(starts[row], len),
    );
    let ahead = N * stride * AHEAD.div_ceil(N * stride);
    let mut i = 0;
    while i + LANES <= len {
        fold_step(isa, &folds, known, kept, i, None, ahead, near);
        i += LANES;
    }
    if i < len {
        fold_step(isa, &folds, known, kept, i, Some(len - i), 0, near);
    }
}
