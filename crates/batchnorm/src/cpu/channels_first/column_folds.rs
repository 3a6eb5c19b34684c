//! The folds of columns: [`columns`](super::columns) says what they are.

use std::ops::Range;

use super::super::dispatch::{InstructionSet, Job, on};
use super::super::lanes::{Isa, LANES, Lanes};
use super::blocks::{Block, Blocks};
use super::columns::{AHEAD, FEWEST, TILE, each};
use super::folds::Folded;
use super::gates::Affine;
use super::room::{self, Computed, FoldRoom, Kept, Known};
use super::sweep::{Computing, Sums};
use crate::Real;
use crate::scratch;

/// Rows that are folded at once, at most: their sums are registers, which enter those of the block once for all.
const AT_ONCE: usize = 8;

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
            let channel = fold.channel(c, &block);
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
    // Lines of rows of one tile follow each other in memory: the processor foresees them.
    let far = columns > TILE * LANES && block.outer() * block.row() * size_of::<F::Element>() >= FAR;
    let asks = far && picked.is_none();
    let (mut row, end) = (0, picked.map_or(block.rows.len(), <[usize]>::len));
    while row < end {
        let (count, columns) = match (end - row) / joined {
            0 => (1, columns / joined * (end - row)),
            whole => (whole.min(AT_ONCE), columns),
        };
        let start = block.start(block.rows.start + row, first);
        let of = Rows { start, stride, count, picked: picked.map(|picked| &picked[row..]), block, first, asks };
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

    /// The element to ask for while row `row` is folded from column `i` on. Of rows that are folded whole, `columns` wide, lines are
    /// asked for in their order.
    #[inline(always)]
    fn ahead(&self, row: usize, i: usize, columns: usize) -> usize {
        let step = AT_ONCE * self.stride;
        let ahead = step * AHEAD.div_ceil(step);
        let at = if columns == self.stride { i * AT_ONCE + row * TILE * LANES } else { row * self.stride + i };
        self.start + ahead + at
    }
}

/// Bytes of a tensor from which on lines are asked for ahead of its fold: below, it is in the cache, and asking costs a tenth.
const FAR: usize = 8 << 20;

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
        while i + TILE * LANES <= len {
            fold_near::<I, F, TILE>(isa, fold, rows, i, None, known, kept, rows.asks.then_some(len));
            i += TILE * LANES;
        }
        while i + LANES <= len {
            fold_near::<I, F, 1>(isa, fold, rows, i, None, known, kept, None);
            i += LANES;
        }
        if i < len {
            fold_near::<I, F, 1>(isa, fold, rows, i, Some(len - i), known, kept, None);
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

/// Folds `T` vectors of columns, from column `i` on, in what maps compute in: whole ones, or one of `len`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the state of a loop")]
fn fold_near<I: Isa, F: Folded, const T: usize>(
    isa: I,
    fold: &F,
    rows: &Rows<'_>,
    i: usize,
    len: Option<usize>,
    known: &Known<'_, Computed<F::Element>>,
    kept: &mut Kept<'_>,
    asks: Option<usize>,
) {
    let zero = F::Element::splat(isa, Real::ZERO);
    let constants: [Affine<Computing<F::Element, I>>; T] = each(
        #[inline(always)]
        |t| known.affine::<I, F::Element>(isa, i + t * LANES, len),
    );
    let mut sums = [Sums { sum: zero, products: zero }; T];
    for row in 0..rows.count {
        let of_row = fold.run(rows.start(row) + i, len.unwrap_or(T * LANES));
        for (t, sums) in sums.iter_mut().enumerate() {
            of_row.step_near(isa, &constants[t], sums, t * LANES, len);
        }
        if let Some(columns) = asks {
            let ahead = rows.ahead(row, i, columns);
            for t in 0..T {
                if (t * LANES * size_of::<F::Element>()).is_multiple_of(LINE) {
                    fold.prefetch_far(isa, ahead + t * LANES);
                }
            }
        }
    }
    for (t, near) in sums.into_iter().enumerate() {
        let (sum, products) = (near.sum, near.products);
        let wide =
            Sums { sum: F::Element::widen_lanes(isa, sum), products: F::Element::widen_lanes(isa, products) };
        kept.add(isa, i + t * LANES, wide, len);
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
    if run == 1 && width == columns {
        return kept.one(first);
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
