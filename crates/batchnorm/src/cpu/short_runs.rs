//! The sweep for short runs of one channel (inner < 16): channels last and 2-D data, where inner is 1.
//!
//! The tensor is seen as rows of columns, each column of one channel. Folds cut the rows into blocks of
//! [`ROWS`] and the columns into strips of at most [`WIDTH`], a cut that depends on the shape alone:
//!
//! ```text
//! for each block of rows, for each strip of columns, on any thread; for each channel c of the strip:
//!     mean = x0 + sum(x - x0) / n      over the channel's columns; first pass, from memory
//!     M2   = sum((x - mean)^2)         over the channel's columns; second pass, from cache
//! for each channel: merge its blocks, first to last
//! ```
//!
//! Deviations from this pseudo-code:
//! 1. A row has `channels * inner` columns, or a multiple of that when it is shorter than a strip, so that few
//!    channels fill the vectors too. Then the last row may be incomplete.
//! 2. With a mask only the positions that count are summed ([`masked`]); x0 is the channel's first of them. A tile of
//!    which some count gets a mask of its own, an entry for each element.

use super::masked::{self, All, Block, Counted, Tally};
use super::narrow::{Columns, ColumnsBuffer, Run};
use super::{runs, threads};
use crate::{
    Coefficients, Element, Epilogue, Gate, GradientMeans, GradientSums, Mask, Moments, Real, Shape, View,
    ViewMut,
};

/// The most columns that are folded together: one vector register's worth of sums, several times over.
const WIDTH: usize = 64;

/// Rows that are folded together: even, and 64 KiB of f32 with [`WIDTH`], so that the second pass finds them
/// in cache.
const ROWS: usize = 256;

/// A tensor seen as rows of columns, cut into tiles: [`ROWS`] rows by one strip of columns. A strip holds
/// whole channels.
#[derive(Clone, Copy)]
struct Grid {
    shape: Shape,
    /// Columns of a row.
    columns: usize,
    /// Columns of a strip, and the channels they belong to.
    strip: usize,
    strip_channels: usize,
    strips: usize,
    row_blocks: usize,
    /// Positions of a row.
    positions: usize,
}

/// Which elements of a tile count: a row of [`WIDTH`] for each of its rows.
type TileMask = [[bool; WIDTH]; ROWS];

impl Grid {
    fn new(shape: Shape) -> Self {
        let inner = shape.inner().max(1);
        let period = (shape.channels() * inner).max(1);
        let columns = period * (WIDTH / period).max(1);
        let strip = columns.min(WIDTH / inner * inner);
        Self {
            shape,
            columns,
            strip,
            strip_channels: shape.channels().min(strip / inner),
            strips: columns.div_ceil(strip),
            row_blocks: shape.len().div_ceil(columns * ROWS),
            positions: columns / period * inner,
        }
    }

    /// The channel of a column.
    #[inline(always)]
    fn channel(&self, column: usize) -> usize {
        column / self.shape.inner() % self.shape.channels()
    }

    /// The channel of a strip's `j`-th column, counted from the strip's first channel.
    #[inline(always)]
    fn local_channel(&self, j: usize) -> usize {
        // Dividing costs more than folding a column of few rows.
        if self.columns_are_channels() { j } else { j / self.shape.inner() % self.strip_channels }
    }

    /// Whether every column of a strip is a channel of its own: channels-last data of many channels.
    #[inline(always)]
    fn columns_are_channels(&self) -> bool {
        self.strip_channels == self.strip
    }

    /// The first column of tile `i`.
    #[inline(always)]
    fn first_column(&self, i: usize) -> usize {
        i % self.strips * self.strip
    }

    /// The number of columns of tile `i`.
    #[inline(always)]
    fn width(&self, i: usize) -> usize {
        self.strip.min(self.columns - self.first_column(i))
    }

    /// The first element of a row of tile `i`.
    #[inline(always)]
    fn row(&self, i: usize, row: usize) -> usize {
        (i / self.strips * ROWS + row) * self.columns + self.first_column(i)
    }

    /// Calls `visit(row, start, length)` for every row of tile `i` that is not empty, `start` being the row's
    /// first element in the strip.
    #[inline(always)]
    fn for_each_row(&self, i: usize, mut visit: impl FnMut(usize, usize, usize)) {
        let width = self.width(i);
        for row in 0..ROWS {
            let start = self.row(i, row);
            if start >= self.shape.len() {
                break;
            }
            visit(row, start, width.min(self.shape.len() - start));
        }
    }

    /// What counts in the blocks of rows.
    fn tally<'a>(&self, mask: Option<Mask<'a>>) -> Tally<'a> {
        Tally::new(mask, self.shape.positions(), ROWS * self.positions)
    }

    /// What counts in tile `i`.
    #[inline(always)]
    fn block<'a>(&self, tally: &Tally<'a>, i: usize) -> Block<'a> {
        tally.block(i / self.strips)
    }

    /// Which elements of tile `i` count, from which positions of its rows do.
    #[inline(always)]
    fn tile_mask(&self, i: usize, counts: &[bool]) -> TileMask {
        let (inner, period) = (self.shape.inner(), self.shape.channels() * self.shape.inner());
        let positions: [usize; WIDTH] = std::array::from_fn(|j| {
            let column = self.first_column(i) + j;
            column / period * inner + column % inner
        });
        let mut tile = [[false; WIDTH]; ROWS];
        for (row, counts) in tile.iter_mut().zip(counts.chunks(self.positions)) {
            if self.positions == 1 {
                row.fill(counts[0]);
            } else {
                for (counted, &position) in row.iter_mut().zip(&positions) {
                    *counted = counts.get(position).is_some_and(|&counts| counts);
                }
            }
        }
        tile
    }

    /// Which positions count of the `len` elements at `start`, both multiples of an example's.
    #[inline(always)]
    fn counts_of_examples<'a>(&self, mask: Option<Mask<'a>>, start: usize, len: usize) -> Option<&'a [bool]> {
        let channels = self.shape.channels();
        mask.map(|mask| &mask.counts()[start / channels..(start + len) / channels])
    }

    /// Folds every tile by `fold`, which returns a result for each of the strip's channels; then the tiles of
    /// each channel by `merge`, first to last.
    fn fold<T: Copy + Default + Send + Sync>(
        &self,
        results: &mut [T],
        fold: impl Fn(usize) -> [T; WIDTH] + Sync,
        merge: impl Fn(T, T) -> T + Sync,
    ) {
        if self.row_blocks == 1 && self.shape.len() <= SMALL {
            let fold = &fold;
            return threads::alone(
                #[inline(always)]
                || {
                    for (strip, results) in results.chunks_mut(self.strip_channels).enumerate() {
                        results.copy_from_slice(&fold(strip)[..results.len()]);
                    }
                },
            );
        }
        let mut tiles = vec![[T::default(); WIDTH]; self.row_blocks * self.strips];
        let elements_each = self.shape.len() / tiles.len().max(1);
        threads::fill(&mut tiles, elements_each, fold);
        threads::fill(
            results,
            self.row_blocks * MERGE_COST,
            #[inline(always)]
            |channel| {
                let (strip, local) = (channel / self.strip_channels, channel % self.strip_channels);
                let blocks = (0..self.row_blocks).map(|block| tiles[block * self.strips + strip][local]);
                blocks.fold(T::default(), &merge)
            },
        );
    }

    /// `totals[c] = sum of values[j]` over the strip's first `width` columns j of each local channel c.
    #[inline(always)]
    fn by_channel(&self, values: &[f64; WIDTH], width: usize) -> [f64; WIDTH] {
        if self.columns_are_channels() {
            return *values;
        }
        let mut totals = [0.0; WIDTH];
        for (j, value) in values.iter().enumerate().take(width) {
            totals[self.local_channel(j)] += value;
        }
        totals
    }
}

/// Elements up to which one thread folds tile after tile, straight into the results.
const SMALL: usize = 16 * 1024;

/// What merging two results costs, in elements folded: it divides.
const MERGE_COST: usize = 8;

/// `sums[j] += term(j)` for `j` in `0..len`; the whole width is a loop of known length.
#[inline(always)]
fn accumulate(sums: &mut [f64; WIDTH], len: usize, term: impl Fn(usize) -> f64) {
    if len == WIDTH {
        for (j, sum) in sums.iter_mut().enumerate() {
            *sum += term(j);
        }
    } else {
        for (j, sum) in sums.iter_mut().enumerate().take(len) {
            *sum += term(j);
        }
    }
}

pub fn moments<E: Element>(x: View<'_, E>, moments: &mut [Moments]) {
    let grid = Grid::new(x.shape());
    let tally = grid.tally(x.mask());
    grid.fold(
        moments,
        #[inline(always)]
        |i| match grid.block(&tally, i) {
            Block::Empty => [Moments::EMPTY; WIDTH],
            Block::Whole(count) => moments_of_tile(&grid, x.data(), i, count, All),
            Block::Partial(count, counts) => {
                moments_of_tile(&grid, x.data(), i, count, grid.tile_mask(i, counts).as_flattened())
            }
        },
        Moments::merge,
    );
}

#[inline(always)]
fn moments_of_tile<E: Element>(
    grid: &Grid,
    x: &[E],
    i: usize,
    count: usize,
    counted: impl Counted,
) -> [Moments; WIDTH] {
    let (mut first, mut sum) = ([0.0; WIDTH], [0.0; WIDTH]);
    let width = grid.width(i);
    // The first element that counts is the first channel's; those of the others follow at their distance.
    let at = grid.row(i, counted.first() / WIDTH) + counted.first() % WIDTH;
    for (j, first) in first.iter_mut().enumerate().take(width) {
        *first = x[at + grid.local_channel(j) * grid.shape.inner()].to_f64();
    }
    grid.for_each_row(i, |row, start, len| {
        let counted = counted.part(row * WIDTH..row * WIDTH + len);
        let row = &x[start..start + len];
        accumulate(&mut sum, len, |j| counted.keep(j, row[j].to_f64() - first[j]));
    });
    let sum = grid.by_channel(&sum, width);
    let mut mean = [0.0; WIDTH];
    for (j, mean) in mean.iter_mut().enumerate().take(width) {
        *mean = first[j] + sum[grid.local_channel(j)] / count as f64;
    }
    let mut m2 = [0.0; WIDTH];
    grid.for_each_row(i, |row, start, len| {
        let counted = counted.part(row * WIDTH..row * WIDTH + len);
        let row = &x[start..start + len];
        accumulate(&mut m2, len, |j| {
            let deviation = row[j].to_f64() - mean[j];
            counted.keep(j, deviation * deviation)
        });
    });
    let m2 = grid.by_channel(&m2, width);
    std::array::from_fn(|channel| Moments {
        count: count as u64,
        // The channel's first column has the channel's mean.
        mean: mean[(channel * grid.shape.inner()).min(WIDTH - 1)],
        m2: m2[channel],
    })
}

pub fn gradient_sums<E: Element>(
    coefficients: &[Coefficients],
    x: Option<View<'_, E>>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    sums: &mut [GradientSums],
) {
    let grid = Grid::new(dy.shape());
    let narrow = match gate {
        Gate::None => ColumnsBuffer::unused(),
        _ => ColumnsBuffer::new(grid.columns, grid.shape.inner(), coefficients, None),
    };
    let tally = grid.tally(dy.mask());
    grid.fold(
        sums,
        #[inline(always)]
        |i| {
            let narrow = narrow.borrow();
            match grid.block(&tally, i) {
                Block::Empty => [GradientSums::default(); WIDTH],
                Block::Whole(_) => sums_of_tile(&grid, coefficients, narrow, x, dy, gate, i, All),
                Block::Partial(_, counts) => {
                    let tile = grid.tile_mask(i, counts);
                    sums_of_tile(&grid, coefficients, narrow, x, dy, gate, i, tile.as_flattened())
                }
            }
        },
        GradientSums::merge,
    );
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the tensors of a backward pass")]
fn sums_of_tile<E: Element>(
    grid: &Grid,
    coefficients: &[Coefficients],
    narrow: Columns<'_, E::Parameter>,
    x: Option<View<'_, E>>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    i: usize,
    counted: impl Counted,
) -> [GradientSums; WIDTH] {
    let first_column = grid.first_column(i);
    let first_channel = grid.channel(first_column);
    let of_local = |channel: usize| coefficients[(first_channel + channel).min(coefficients.len() - 1)];
    let mean: [f64; WIDTH] = std::array::from_fn(|j| of_local(grid.local_channel(j)).mean);
    let (mut sum, mut product) = ([0.0; WIDTH], [0.0; WIDTH]);
    let mut buffer = [E::Parameter::ZERO; WIDTH];
    let inverse = gate.inverse().map(E::Parameter::from_f64);
    grid.for_each_row(i, |row, start, len| {
        let counted = counted.part(row * WIDTH..row * WIDTH + len);
        let narrow = match gate {
            Gate::None => narrow,
            _ => narrow.part(first_column..first_column + len),
        };
        let dz = &mut buffer[..len];
        runs::gated(narrow, dy, gate, start..start + len, dz);
        accumulate(&mut sum, len, |j| counted.keep(j, dz[j].to_f64()));
        if let Some(x) = x {
            let x = &x.data()[start..start + len];
            accumulate(&mut product, len, |j| {
                counted.keep(j, dz[j].to_f64() * (Gate::undone(inverse, x[j]).to_f64() - mean[j]))
            });
        }
    });
    let (sum, product) = (grid.by_channel(&sum, grid.strip), grid.by_channel(&product, grid.strip));
    std::array::from_fn(|channel| GradientSums {
        dy: sum[channel],
        dy_xhat: if x.is_some() { product[channel] * of_local(channel).rstd } else { 0.0 },
    })
}

pub fn normalize<E: Element>(
    coefficients: &[Coefficients],
    x: View<'_, E>,
    epilogue: Epilogue<'_, E>,
    mut y: ViewMut<'_, E>,
) {
    let shape = x.shape();
    let grid = Grid::new(shape);
    let narrow = ColumnsBuffer::new(grid.columns, shape.inner(), coefficients, None);
    threads::write_pieces(
        y.data(),
        None,
        grid.columns,
        #[inline(always)]
        |start, y, _| {
            for (row, y) in y.chunks_mut(grid.columns).enumerate() {
                let start = start + row * grid.columns;
                let counts = grid.counts_of_examples(x.mask(), start, y.len());
                if !masked::is_empty(counts) {
                    runs::normalize(narrow.borrow(), x, epilogue, start, y);
                }
                masked::clear_examples(counts, shape, y);
            }
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
    let grid = Grid::new(shape);
    let (x, means) = (batch.map(|(x, _)| x), batch.map(|(_, means)| means));
    let narrow = ColumnsBuffer::new(grid.columns, shape.inner(), coefficients, means);
    let d_addend = d_addend.as_mut().map(ViewMut::data);
    threads::write_pieces(
        dx.data(),
        d_addend,
        grid.columns,
        #[inline(always)]
        |start, dx, mut d_addend| {
            for (row, dx) in dx.chunks_mut(grid.columns).enumerate() {
                let offset = row * grid.columns;
                let mut d_addend =
                    d_addend.as_deref_mut().map(|d_addend| &mut d_addend[offset..offset + dx.len()]);
                let counts = grid.counts_of_examples(dy.mask(), start + offset, dx.len());
                if !masked::is_empty(counts) {
                    let d_addend = d_addend.as_deref_mut();
                    runs::input_gradient(narrow.borrow(), x, dy, gate, start + offset, dx, d_addend);
                }
                masked::clear_examples(counts, shape, dx);
                if let Some(d_addend) = d_addend {
                    masked::clear_examples(counts, shape, d_addend);
                }
            }
        },
    );
}
