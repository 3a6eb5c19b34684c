//! A block of a few neighbouring channels whose runs are short: a vector of columns after the other, across the ends of runs.
//!
//! The elements of the channels in a row lie together. Position `p` of channel `c` is column `c inner + p` in every row:
//!
//! ```text
//! for each 4 rows, for each 16 columns:    map 4 x 16 elements;    fold 4 x 16 elements into the sums of 16 columns
//! for each channel of what was folded:     add up the sums of its columns
//! ```
//!
//! So there are no parts of vectors but at the end of a row, and what each column needs is read once for four rows.

use std::ops::Range;

use super::super::lanes::{Isa, LANES};
use super::blocks::Block;
use super::folds::Folded;
use super::room::{Computed, Kept, Known, Room};
use super::sweep::{Map, Sums};

/// Rows that are taken at once.
pub const ROWS: usize = 4;

/// Folds a block of the channels `folded` into `totals`, and maps that of the channels `mapped`, of which `room` knows the
/// coefficients. Either may be none.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a fold and a map")]
pub fn block<I: Isa, F: Folded, M: Map<Element = F::Element>>(
    isa: I,
    block: &Block,
    fold: &F,
    folded: &Range<usize>,
    totals: &mut [F::Total],
    map: &M,
    mapped: &Range<usize>,
    room: &mut Room<'_, Computed<F::Element>>,
) {
    open(block, fold, folded, room);
    let (width, mapped_width) = (folded.len() * block.run(), mapped.len() * block.run());
    let mut row = block.rows.start;
    while row < block.rows.end {
        let rows = at_once(row, &block.rows);
        let (from, to) = (block.start(row, folded.start), block.start(row, mapped.start));
        if rows == ROWS {
            both::<I, F, M, ROWS>(isa, block, fold, from, width, map, to, mapped_width, room);
        } else {
            both::<I, F, M, 1>(isa, block, fold, from, width, map, to, mapped_width, room);
        }
        row += rows;
    }
    close(isa, block, fold, folded, totals, room);
}

/// Folds a block of a few channels into `totals`.
#[inline(always)]
pub fn fold_block<I: Isa, F: Folded>(
    isa: I,
    block: &Block,
    fold: &F,
    folded: &Range<usize>,
    totals: &mut [F::Total],
    room: &mut Room<'_, Computed<F::Element>>,
) {
    open(block, fold, folded, room);
    let width = folded.len() * block.run();
    let mut row = block.rows.start;
    while row < block.rows.end {
        let rows = at_once(row, &block.rows);
        let from = block.start(row, folded.start);
        let (known, kept) = room.folded(width);
        if rows == ROWS {
            fold_columns::<I, F, ROWS>(isa, fold, from, block.row(), 0..width, known, kept);
        } else {
            fold_columns::<I, F, 1>(isa, fold, from, block.row(), 0..width, known, kept);
        }
        row += rows;
    }
    close(isa, block, fold, folded, totals, room);
}

/// Maps some rows of the `width` columns that begin at `first` in the first row, rows of `stride`. `room` knows their coefficients.
#[inline(always)]
pub fn map_rows<I: Isa, M: Map>(
    isa: I,
    map: &M,
    first: usize,
    stride: usize,
    rows: Range<usize>,
    width: usize,
    room: &Room<'_, Computed<M::Element>>,
) {
    let known = room.mapped(width);
    let mut row = rows.start;
    while row < rows.end {
        let at_once = at_once(row, &rows);
        let to = first + row * stride;
        if at_once == ROWS && begin_alike::<M, ROWS>(map, to, stride, width) {
            map_columns::<I, M, ROWS>(isa, map, to, stride, width, known);
        } else {
            for row in 0..at_once {
                map_columns::<I, M, 1>(isa, map, to + row * stride, stride, width, known);
            }
        }
        row += at_once;
    }
}

/// The rows to take at once from `row` on: [`ROWS`], or one.
#[inline(always)]
fn at_once(row: usize, rows: &Range<usize>) -> usize {
    if rows.end - row >= ROWS { ROWS } else { 1 }
}

#[inline(always)]
fn open<F: Folded>(block: &Block, fold: &F, folded: &Range<usize>, room: &mut Room<'_, Computed<F::Element>>) {
    for (j, c) in folded.clone().enumerate() {
        let channel = fold.channel(c, block);
        room.open(j * block.run()..(j + 1) * block.run(), F::centre(&channel), F::narrow(&channel));
    }
}

#[inline(always)]
fn close<I: Isa, F: Folded>(
    isa: I,
    block: &Block,
    fold: &F,
    folded: &Range<usize>,
    totals: &mut [F::Total],
    room: &mut Room<'_, Computed<F::Element>>,
) {
    let run = block.run();
    let (_, kept) = room.folded(folded.len() * run);
    for (j, c) in folded.clone().enumerate() {
        let mut lanes = Sums::zero(isa);
        let mut i = 0;
        while i < run {
            let part = kept.load(isa, j * run + i, (run - i < LANES).then_some(run - i));
            lanes = Sums { sum: lanes.sum + part.sum, products: lanes.products + part.products };
            i += LANES;
        }
        totals[j] = F::merge(totals[j], fold.total(isa, &fold.channel(c, block), &lanes, c, block));
    }
}

/// `N` rows: a fold of the `width` columns from `from` on, and a map of the `mapped` columns from `to` on.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a fold and a map")]
fn both<I: Isa, F: Folded, M: Map<Element = F::Element>, const N: usize>(
    isa: I,
    block: &Block,
    fold: &F,
    from: usize,
    width: usize,
    map: &M,
    to: usize,
    mapped: usize,
    room: &mut Room<'_, Computed<F::Element>>,
) {
    let stride = block.row();
    let alike = begin_alike::<M, N>(map, to, stride, mapped);
    let head = if alike { map.until_line(to, mapped).min(mapped) } else { 0 };
    // Whole vectors of both.
    let len = if alike { width.min(mapped - head) / LANES * LANES } else { 0 };
    if len > 0 {
        let known = room.mapped(mapped);
        if head > 0 {
            map_part::<I, M, N>(isa, map, to, stride, head, known.run(0, head));
        }
        // Known of both at once.
        let (known_of_map, (known, mut kept)) = room.both(head, len);
        let folds: [F; N] = rows(
            #[inline(always)]
            |row| fold.run(from + row * stride, len),
        );
        let maps: [M; N] = rows(
            #[inline(always)]
            |row| map.run(to + head + row * stride, len),
        );
        let mut i = 0;
        while i + LANES <= len {
            fold_step(isa, &folds, &known, &mut kept, i, None);
            map_step(isa, &maps, &known_of_map, i, None);
            i += LANES;
        }
    }
    let done = if len > 0 { head + len } else { 0 };
    if mapped > done {
        let known = room.mapped(mapped).run(done, mapped - done);
        if alike {
            map_columns::<I, M, N>(isa, map, to + done, stride, mapped - done, known);
        } else {
            for row in 0..N {
                map_columns::<I, M, 1>(isa, map, to + row * stride, stride, mapped, known);
            }
        }
    }
    let (known, kept) = room.folded(width);
    fold_columns::<I, F, N>(isa, fold, from, stride, len..width, known, kept);
}

#[inline(always)]
fn rows<T: Copy, const N: usize>(row: impl Fn(usize) -> T) -> [T; N] {
    // Not `array::from_fn`, which is not always inlined.
    let mut all = [row(0); N];
    for (i, of) in all.iter_mut().enumerate().skip(1) {
        *of = row(i);
    }
    all
}

/// Whether lines begin at the same columns of `N` rows.
#[inline(always)]
fn begin_alike<M: Map, const N: usize>(map: &M, to: usize, stride: usize, width: usize) -> bool {
    let head = map.until_line(to, width);
    let mut alike = true;
    for row in 1..N {
        alike &= map.until_line(to + row * stride, width) == head;
    }
    alike
}

#[inline(always)]
fn fold_step<I: Isa, F: Folded, const N: usize>(
    isa: I,
    folds: &[F; N],
    known: &Known<'_, Computed<F::Element>>,
    kept: &mut Kept<'_>,
    i: usize,
    len: Option<usize>,
) {
    let constants = folds[0].constants_of(isa, known, i, len);
    let mut sums = kept.load(isa, i, len);
    for fold in folds {
        fold.step(isa, &constants, &mut sums, i, len);
    }
    kept.store(isa, i, sums, len);
}

#[inline(always)]
fn map_step<I: Isa, M: Map, const N: usize>(
    isa: I,
    maps: &[M; N],
    known: &Known<'_, Computed<M::Element>>,
    i: usize,
    len: Option<usize>,
) {
    let constants = maps[0].constants(
        #[inline(always)]
        |field| known.field::<I, M::Element>(isa, field, i, len),
    );
    // All are read before one is written: rows are often a multiple of 4096 bytes apart, and a load waits for a store that
    // is as far from the beginning of its page.
    let values: [M::Values<I>; N] = rows(
        #[inline(always)]
        |row| maps[row].values(isa, &constants, i, len),
    );
    for (map, values) in maps.iter().zip(values) {
        map.write(isa, i, values, len);
    }
}

/// Folds some columns of `N` rows, the first of which has column 0 at `from`.
#[inline(always)]
fn fold_columns<I: Isa, F: Folded, const N: usize>(
    isa: I,
    fold: &F,
    from: usize,
    stride: usize,
    columns: Range<usize>,
    known: Known<'_, Computed<F::Element>>,
    mut kept: Kept<'_>,
) {
    let len = columns.end;
    let folds: [F; N] = rows(
        #[inline(always)]
        |row| fold.run(from + row * stride, len),
    );
    let mut i = columns.start;
    while i + LANES <= len {
        fold_step(isa, &folds, &known, &mut kept, i, None);
        i += LANES;
    }
    if i < len {
        fold_step(isa, &folds, &known, &mut kept, i, Some(len - i));
    }
}

/// Maps `len` columns of `N` rows, the first of which has them at `to`.
#[inline(always)]
fn map_columns<I: Isa, M: Map, const N: usize>(
    isa: I,
    map: &M,
    to: usize,
    stride: usize,
    len: usize,
    known: Known<'_, Computed<M::Element>>,
) {
    let head = map.until_line(to, len).min(len);
    if head > 0 {
        map_part::<I, M, N>(isa, map, to, stride, head, known.run(0, head));
    }
    let len = len - head;
    let known = known.run(head, len);
    let maps: [M; N] = rows(
        #[inline(always)]
        |row| map.run(to + head + row * stride, len),
    );
    let mut i = 0;
    while i + LANES <= len {
        map_step(isa, &maps, &known, i, None);
        i += LANES;
    }
    if i < len {
        map_step(isa, &maps, &known, i, Some(len - i));
    }
}

/// Maps `len < LANES` columns of `N` rows.
#[inline(always)]
fn map_part<I: Isa, M: Map, const N: usize>(
    isa: I,
    map: &M,
    to: usize,
    stride: usize,
    len: usize,
    known: Known<'_, Computed<M::Element>>,
) {
    let maps: [M; N] = rows(
        #[inline(always)]
        |row| map.run(to + row * stride, len),
    );
    map_step(isa, &maps, &known, 0, Some(len));
}
