//! Neighbouring channels whose runs are short: a vector of columns after the other, across the ends of runs.
//!
//! The elements of the channels in a row lie together. Position `p` of channel `c` is column `c inner + p` in every row:
//!
//! ```text
//! for each group of channels:
//!     for each 16 rows, for each 64 columns:   fold 16 x 64 elements into the sums of 64 columns, which are registers
//!     for each channel:                        add up the sums of its columns; its coefficients, for each column
//!     for each row, for each 16 columns:       map 16 elements
//! ```
//!
//! So there are no parts of vectors but at the end of a row.
//!
//! Deviations from this pseudo-code:
//! 1. Rows that follow each other in memory and are narrower than [`FEWEST`] columns are folded as one row, as many as make whole
//!    vectors: three channels use the vectors as well as sixty-four.
//! 2. Rows that are mapped whole are mapped by vectors that go on from the end of a row into the next ([`map_rows`]): every line is
//!    written once, as a whole, wherever rows begin. What is known of 64 columns, if rows are as narrow, stays in registers.
//! 3. Rows that are near each other are mapped by tiles of a few rows and 64 columns ([`together`]): a vector of a gradient's map takes six
//!    vectors of constants, which are read once for all rows. From memory rows come faster one after the other.
//! 4. Of tall tensors with wide rows, fewer than 16 rows are folded at once, for the same reason.

use std::ops::Range;

use super::super::dispatch::{InstructionSet, Job, on};
use super::super::lanes::{Isa, LANES, Lanes};
use super::super::memory::{FirstRow, NextRow};
use super::super::narrow::Narrow;
use super::room::{self, Computed, Known, MapRoom};
use super::sweep::Map;
use crate::{Real, Shape};

/// The fewest rows that are folded at once.
pub const ROWS: usize = 4;

/// Vectors whose sums, or coefficients, stay in registers.
pub const TILE: usize = 4;

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

/// What is known of the columns of rows that are mapped whole, for all threads.
#[derive(Clone, Copy)]
pub struct Laid<'a, P> {
    known: Known<'a, P>,
    /// Elements of a row.
    row: usize,
    /// The column that it begins with.
    first: usize,
    /// Rows that are mapped together.
    together: usize,
    /// After so many everything begins again. A vector more is there, so that one may begin at the last.
    period: usize,
}

impl<P: Real + Lanes> Laid<'_, P> {
    /// Where column `column` of a row is, the first time.
    #[inline(always)]
    fn at(&self, column: usize) -> usize {
        (column + self.row - self.first) % self.row
    }
}

/// Lays out what is known of all channels.
pub fn lay<M: Map, R>(
    map: &M,
    shape: Shape,
    narrows: &[Narrow<Computed<M::Element>>],
    then: impl FnOnce(Laid<'_, Computed<M::Element>>) -> R,
) -> R {
    let run = shape.inner();
    let row = narrows.len() * run;
    let period = period(row, LINE / size_of::<M::Element>());
    // It begins with what the first whole vector needs, and so at a line, as the vector does.
    let first = map.until_line(0, row) % row;
    room::to_map(period + LANES, |mut room| {
        let mut start = (row - first) % row;
        for narrow in narrows {
            let end = start + run;
            room.open(start..end.min(row), narrow, M::FIELDS);
            start = end;
            if end >= row {
                start = end - row;
                room.open(0..start, narrow, M::FIELDS);
            }
        }
        room.repeat(row, M::FIELDS);
        then(Laid { known: room.known(), row, first, together: together(map, shape), period })
    })
}

/// Maps some rows whole: vectors go on from the end of a row into the next.
pub fn map_rows<M: Map>(
    set: InstructionSet,
    map: &M,
    laid: &Laid<'_, Computed<M::Element>>,
    rows: Range<usize>,
) {
    let elements = rows.start * laid.row..rows.end * laid.row;
    on(set, MapRows { map, laid, elements });
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// After how many elements everything begins again. Short rows are repeated, so that there is something to do between their ends,
/// and until they end with a line of `line` elements, if that is soon.
fn period(row: usize, line: usize) -> usize {
    if (TILE * LANES).is_multiple_of(row) {
        return TILE * LANES;
    }
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
    const BF16: bool = M::Element::BF16;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { map, shape, narrows, first, rows, mut room } = self;
        let run = shape.inner();
        for (j, narrow) in narrows.iter().enumerate() {
            room.open(j * run..(j + 1) * run, narrow, M::FIELDS);
        }
        let (known, width, stride) = (room.known(), narrows.len() * run, shape.channels() * run);
        for row in rows {
            map_columns(isa, map, row * stride + first * run, width, known);
        }
        isa.fence();
    }
}

struct MapRows<'p, M: Map> {
    map: &'p M,
    laid: &'p Laid<'p, Computed<M::Element>>,
    elements: Range<usize>,
}

impl<M: Map> Job for MapRows<'_, M> {
    type Output = ();
    const BF16: bool = M::Element::BF16;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { map, laid: &Laid { known, row, period, together, .. }, elements } = self;
        // A copy, which no store can change: it stays in registers.
        let map = &{ *map };
        let head = map.until_line(elements.start, row).min(elements.len());
        if head > 0 {
            map_part(isa, map, elements.start, head, known.run(self.laid.at(0), head));
        }
        let (mut i, mut column) = (elements.start + head, self.laid.at(head % row));
        if period == TILE * LANES && column == 0 {
            i = map_tiles(isa, map, &known, i..elements.end);
        }
        if column == 0 {
            i = map_together(isa, map, &known, (together, row), i..elements.end);
        }
        while i + LANES <= elements.end {
            let vectors = (period - column).div_ceil(LANES).min((elements.end - i) / LANES);
            let len = vectors * LANES;
            map_lines(isa, &map.run(i, len), &known.run(column, len), len);
            (i, column) = (i + len, (column + len) % period);
        }
        if i < elements.end {
            let rest = elements.end - i;
            map_part(isa, map, i, rest, known.run(column, rest));
        }
        isa.fence();
    }
}

/// Maps elements whose columns begin again after [`TILE`] vectors, as many times as they do, and returns where the rest begins.
#[inline(always)]
fn map_tiles<I: Isa, M: Map>(
    isa: I,
    map: &M,
    known: &Known<'_, Computed<M::Element>>,
    elements: Range<usize>,
) -> usize {
    let rows = elements.len() / (TILE * LANES);
    if rows > 0 {
        let first = FirstRow { start: elements.start, rows, stride: TILE * LANES, width: TILE * LANES };
        // What comes from the caches is foreseen, as it is read in order.
        map_tile(isa, map, known, 0, first, map.streams());
    }
    elements.start + rows * TILE * LANES
}

/// Maps a few rows at once, if they lie near each other, as many times as there are so many, and returns where the rest begins.
#[inline(always)]
fn map_together<I: Isa, M: Map>(
    isa: I,
    map: &M,
    known: &Known<'_, Computed<M::Element>>,
    (rows, row): (usize, usize),
    elements: Range<usize>,
) -> usize {
    let mut i = elements.start;
    // Not known to the compiler, which would take some together.
    let rows = std::hint::black_box(rows);
    while rows > 1 && i + rows * row <= elements.end {
        let mut column = 0;
        while column + TILE * LANES <= row {
            let first = FirstRow { start: i + column, rows, stride: row, width: TILE * LANES };
            map_tile(isa, map, known, column, first, true);
            column += TILE * LANES;
        }
        if column < row {
            let (known, len) = (known.run(column, row - column), row - column);
            for r in 0..rows {
                map_lines(isa, &map.run(i + r * row + column, len), &known, len);
            }
        }
        i += rows * row;
    }
    i
}

/// Maps [`TILE`] vectors of columns, from column `i` on, of some rows, and asks for lines ahead, if so.
#[inline(always)]
fn map_tile<I: Isa, M: Map>(
    isa: I,
    map: &M,
    known: &Known<'_, Computed<M::Element>>,
    i: usize,
    first: FirstRow,
    asks: bool,
) {
    let known = known.run(i, TILE * LANES);
    let constants = each(
        #[inline(always)]
        |t| constants(isa, map, &known, t * LANES, None),
    );
    let mut of_row = map.part(first);
    let mut left = first.rows;
    loop {
        map_pair(isa, &of_row, [&constants[0], &constants[1]], 0);
        map_pair(isa, &of_row, [&constants[2], &constants[3]], 2 * LANES);
        if asks {
            for i in (0..TILE * LANES).step_by(LINE / size_of::<M::Element>()) {
                of_row.prefetch(isa, i);
            }
        }
        left -= 1;
        if left == 0 {
            break;
        }
        // SAFETY: there is one more of so many rows, of which the first was made for all.
        of_row = of_row.part(unsafe { NextRow::new(first.stride) });
    }
}

/// Rows that are mapped together: what is known of a tile of columns is read once for all of them, so that there is more to do for each
/// vector than to read that. From memory, rows come faster one after the other.
fn together<M: Map>(map: &M, shape: Shape) -> usize {
    let row = shape.channels() * shape.inner();
    // All rows begin at lines, if one does, and are whole vectors.
    if !row.is_multiple_of(LANES.max(LINE / size_of::<M::Element>())) {
        return 1;
    }
    let most = match shape.len() * size_of::<M::Element>() {
        ..NEAR => 8,
        NEAR..FAR => 4,
        _ => 1,
    };
    (map.elements_of(TOGETHER) / row).min(most)
}

/// Bytes of rows that are mapped together, at most, of all tensors that are read.
const TOGETHER: usize = 8 << 10;

/// Bytes of a tensor from which on it is not in the cache as a whole any more, and from which on little of it is.
const NEAR: usize = 8 << 20;
const FAR: usize = 32 << 20;

/// Maps two vectors. Both are read before one is written: a load waits for a store that is as far from the beginning of its page.
#[inline(always)]
fn map_pair<I: Isa, M: Map>(isa: I, map: &M, of: [&M::Constants<I>; 2], i: usize) {
    let first = map.values(isa, of[0], i, None);
    let second = map.values(isa, of[1], i + LANES, None);
    map.write_pair(isa, i, [first, second]);
}

/// `of` each vector of a tile. Not by a loop, nor by `array::from_fn`: neither is always unrolled, and then what is for registers is in
/// memory.
#[inline(always)]
pub fn each<T>(of: impl Fn(usize) -> T) -> [T; TILE] {
    [of(0), of(1), of(2), of(3)]
}

#[inline(always)]
fn constants<I: Isa, M: Map>(
    isa: I,
    map: &M,
    known: &Known<'_, Computed<M::Element>>,
    i: usize,
    len: Option<usize>,
) -> M::Constants<I> {
    map.constants(
        #[inline(always)]
        |field| known.field::<I, M::Element>(isa, field, i, len),
    )
}

#[inline(always)]
fn map_step<I: Isa, M: Map>(
    isa: I,
    map: &M,
    known: &Known<'_, Computed<M::Element>>,
    i: usize,
    len: Option<usize>,
) {
    let values = map.values(isa, &constants(isa, map, known, i, len), i, len);
    map.write(isa, i, values, len);
}

/// Maps as many whole vectors of `len` columns as there are, and returns how many elements they have.
#[inline(always)]
fn map_lines<I: Isa, M: Map>(isa: I, map: &M, known: &Known<'_, Computed<M::Element>>, len: usize) -> usize {
    let mut i = 0;
    while i + TILE * LANES <= len {
        // Checked once for a tile.
        let (of_tile, known) = (map.run(i, TILE * LANES), known.run(i, TILE * LANES));
        let constants = each(
            #[inline(always)]
            |t| constants(isa, map, &known, t * LANES, None),
        );
        map_pair(isa, &of_tile, [&constants[0], &constants[1]], 0);
        map_pair(isa, &of_tile, [&constants[2], &constants[3]], 2 * LANES);
        for i in (0..TILE * LANES).step_by(LINE / size_of::<M::Element>()) {
            of_tile.prefetch(isa, i);
        }
        i += TILE * LANES;
    }
    while i + LANES <= len {
        map_step(isa, map, known, i, None);
        i += LANES;
    }
    i
}

/// Maps `len` columns of a row, which has them at `to`.
#[inline(always)]
fn map_columns<I: Isa, M: Map>(isa: I, map: &M, to: usize, len: usize, known: Known<'_, Computed<M::Element>>) {
    let head = map.until_line(to, len).min(len);
    if head > 0 {
        map_part(isa, map, to, head, known.run(0, head));
    }
    let len = len - head;
    let (map, known) = (map.run(to + head, len), known.run(head, len));
    let i = map_lines(isa, &map, &known, len);
    if i < len {
        map_step(isa, &map, &known, i, Some(len - i));
    }
}

/// Maps `len < LANES` columns of a row.
#[inline(always)]
fn map_part<I: Isa, M: Map>(isa: I, map: &M, to: usize, len: usize, known: Known<'_, Computed<M::Element>>) {
    map_step(isa, &map.run(to, len), &known, 0, Some(len));
}
