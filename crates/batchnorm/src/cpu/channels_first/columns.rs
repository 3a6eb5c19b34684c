//! Neighbouring channels whose runs are short: a vector of columns after the other, across the ends of runs.
//!
//! The elements of the channels in a row lie together. Position `p` of channel `c` is column `c inner + p` in every row:
//!
//! ```text
//! for each group of channels:
//!     for each 4 rows, for each 16 columns:    fold 4 x 16 elements into the sums of 16 columns
//!     for each channel:                        add up the sums of its columns; its coefficients, for each column
//!     for each 4 rows, for each 16 columns:    map 4 x 16 elements
//! ```
//!
//! So there are no parts of vectors but at the end of a row, and what each column needs is read once for four rows.
//!
//! Deviations from this pseudo-code:
//! 1. Rows that follow each other in memory and are narrower than [`FEWEST`] columns are folded as one row, as many as make whole
//!    vectors: three channels use the vectors as well as sixty-four.
//! 2. Such rows, and others of no whole vectors or of few, are mapped by vectors that go on from the end of a row into the next
//!    ([`map_on`]): every line is written once, as a whole, wherever rows begin.

use std::ops::Range;

use super::super::dispatch::{InstructionSet, Job, on};
use super::super::lanes::{Isa, LANES};
use super::super::narrow::Narrow;
use super::room::{self, Computed, Known, MapRoom};
use super::sweep::Map;
use crate::Shape;

/// Rows that are taken at once.
pub const ROWS: usize = 4;

/// How far ahead of a fold or a map lines are asked for, in elements: rows that are read side by side are more streams than the
/// processor foresees.
pub const AHEAD: usize = 2 * 1024;

/// Maps some rows of a few channels, whose coefficients are `narrows`.
pub fn map<M: Map>(
    set: InstructionSet,
    map: &M,
    shape: Shape,
    narrows: &[Narrow<Computed<M::Element>>],
    channels: Range<usize>,
    rows: Range<usize>,
) {
    let width = channels.len() * shape.inner();
    room::to_map(width, |room| on(set, Mapping { map, shape, narrows, first: channels.start, rows, room }));
}

/// Maps consecutive elements of rows that are mapped whole: vectors go on from the end of a row into the next.
pub fn map_on<M: Map>(
    set: InstructionSet,
    map: &M,
    run: usize,
    narrows: &[Narrow<Computed<M::Element>>],
    elements: Range<usize>,
) {
    let row = narrows.len() * run;
    let period = period(row, LINE / size_of::<M::Element>());
    room::to_map(period + LANES, |room| on(set, MapOn { map, run, narrows, period, elements, room }));
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// After how many elements everything begins again. Short rows are repeated, so that there is something to do between their ends,
/// and until they end with a line of `line` elements, if that is soon.
fn period(row: usize, line: usize) -> usize {
    let whole = row * (line >> row.trailing_zeros().min(line.trailing_zeros()));
    let row = if whole <= LONGEST_ROW { whole } else { row };
    row * LONG_ROW.div_ceil(row)
}

/// Columns that rows are joined for.
pub const FEWEST: usize = 64;

/// Elements that are mapped between two looks at where a row ends, at least.
const LONG_ROW: usize = 256;

/// What is known of so many columns fits the first cache.
const LONGEST_ROW: usize = 2 * 1024;

struct Mapping<'p, 'm, M: Map> {
    map: &'p M,
    shape: Shape,
    narrows: &'p [Narrow<Computed<M::Element>>],
    /// The first channel.
    first: usize,
    rows: Range<usize>,
    room: MapRoom<'m, Computed<M::Element>>,
}

impl<M: Map> Job for Mapping<'_, '_, M> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { map, shape, narrows, first, rows, mut room } = self;
        let run = shape.inner();
        for (j, narrow) in narrows.iter().enumerate() {
            room.open(j * run..(j + 1) * run, narrow, M::FIELDS);
        }
        let (known, width, stride) = (room.known(), narrows.len() * run, shape.channels() * run);
        let mut row = rows.start;
        while row < rows.end {
            let (at_once, to) = (at_once(row, &rows), row * stride + first * run);
            if at_once == ROWS && begin_alike::<M, ROWS>(map, to, stride, width) {
                map_columns::<I, M, ROWS>(isa, map, to, stride, width, known);
                row += ROWS;
            } else {
                map_columns::<I, M, 1>(isa, map, to, stride, width, known);
                row += 1;
            }
        }
        isa.fence();
    }
}

struct MapOn<'p, 'm, M: Map> {
    map: &'p M,
    /// Elements of a channel in a row.
    run: usize,
    /// All channels'.
    narrows: &'p [Narrow<Computed<M::Element>>],
    /// After so many elements everything begins again.
    period: usize,
    elements: Range<usize>,
    /// Has a vector more than the period, so that one may begin at its last element.
    room: MapRoom<'m, Computed<M::Element>>,
}

impl<M: Map> Job for MapOn<'_, '_, M> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { map, run, narrows, period, elements, mut room } = self;
        let row = narrows.len() * run;
        let head = map.until_line(elements.start, elements.len()).min(elements.len());
        // What is known begins with what the first whole vector needs, and so at a line, as the vector does.
        let first = (elements.start + head) % row;
        for (j, narrow) in narrows.iter().enumerate() {
            let start = (j * run + row - first) % row;
            room.open(start..(start + run).min(row), narrow, M::FIELDS);
            if start + run > row {
                room.open(0..start + run - row, narrow, M::FIELDS);
            }
        }
        room.repeat(row, M::FIELDS);
        let known = room.known();
        if head > 0 {
            map_part::<I, M, 1>(isa, map, elements.start, 0, head, known.run(period - head, head));
        }
        let (mut i, mut column) = (elements.start + head, 0);
        // Vectors of several periods side by side: what is known of a column is read once for all of them.
        if period.is_multiple_of(LANES) && begin_alike::<M, ROWS>(map, i, period, elements.end - i) {
            let known = known.run(0, period);
            while i + ROWS * period <= elements.end {
                let maps: [M; ROWS] = rows(
                    #[inline(always)]
                    |row| map.run(i + row * period, period),
                );
                map_lines(isa, &maps, &known, period, AHEAD);
                i += ROWS * period;
            }
        }
        while i + LANES <= elements.end {
            let vectors = (period - column).div_ceil(LANES).min((elements.end - i) / LANES);
            let len = vectors * LANES;
            let (known, maps) = (known.run(column, len), [map.run(i, len)]);
            let mut j = 0;
            while j + LANES <= len {
                map_step(isa, &maps, &known, j, None);
                j += LANES;
            }
            (i, column) = (i + len, (column + len) % period);
        }
        if i < elements.end {
            let rest = elements.end - i;
            map_part::<I, M, 1>(isa, map, i, 0, rest, known.run(column, rest));
        }
        isa.fence();
    }
}

/// The rows to take at once from `row` on: [`ROWS`], or one.
#[inline(always)]
fn at_once(row: usize, rows: &Range<usize>) -> usize {
    if rows.end - row >= ROWS { ROWS } else { 1 }
}

#[inline(always)]
pub fn rows<T: Copy, const N: usize>(row: impl Fn(usize) -> T) -> [T; N] {
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

/// Maps as many whole vectors of `len` columns as there are, and returns how many elements they have.
#[inline(always)]
fn map_lines<I: Isa, M: Map, const N: usize>(
    isa: I,
    maps: &[M; N],
    known: &Known<'_, Computed<M::Element>>,
    len: usize,
    ahead: usize,
) -> usize {
    let mut i = 0;
    if maps[0].streams() && LANES * size_of::<M::Element>() < LINE {
        // A line of a row after the other: halves of lines that are streamed by turns go to memory one by one.
        if len >= LANES && maps[0].mid_line(0) {
            map_step(isa, maps, known, 0, None);
            i = LANES;
        }
        while i + 2 * LANES <= len {
            map_pair(isa, maps, known, i);
            ask(isa, maps, i + ahead);
            i += 2 * LANES;
        }
    }
    while i + LANES <= len {
        map_step(isa, maps, known, i, None);
        ask(isa, maps, i + ahead);
        i += LANES;
    }
    i
}

#[inline(always)]
fn ask<I: Isa, M: Map, const N: usize>(isa: I, maps: &[M; N], i: usize) {
    for map in maps {
        map.prefetch(isa, i);
    }
}

/// Two vectors of each row.
#[inline(always)]
fn map_pair<I: Isa, M: Map, const N: usize>(
    isa: I,
    maps: &[M; N],
    known: &Known<'_, Computed<M::Element>>,
    i: usize,
) {
    let first = maps[0].constants(
        #[inline(always)]
        |field| known.field::<I, M::Element>(isa, field, i, None),
    );
    let second = maps[0].constants(
        #[inline(always)]
        |field| known.field::<I, M::Element>(isa, field, i + LANES, None),
    );
    let values: [(M::Values<I>, M::Values<I>); N] = rows(
        #[inline(always)]
        |row| (maps[row].values(isa, &first, i, None), maps[row].values(isa, &second, i + LANES, None)),
    );
    for (map, (first, second)) in maps.iter().zip(values) {
        map.write(isa, i, first, None);
        map.write(isa, i + LANES, second, None);
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
    let ahead = N * stride * AHEAD.div_ceil(N * stride);
    let i = map_lines(isa, &maps, &known, len, ahead);
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
