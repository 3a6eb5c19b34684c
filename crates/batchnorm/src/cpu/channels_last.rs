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

use super::narrow::{Columns, ColumnsBuffer, Run};
use super::{runs, threads};
use crate::{
    Coefficients, Element, Epilogue, Gate, GradientMeans, GradientSums, Moments, Shape, View, ViewMut,
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
}

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

    /// Calls `visit(start, length)` for every row of tile `i` that is not empty, `start` being the row's first
    /// element in the strip.
    #[inline(always)]
    fn for_each_row(&self, i: usize, mut visit: impl FnMut(usize, usize)) {
        let (block, first_column) = (i / self.strips, self.first_column(i));
        let width = self.strip.min(self.columns - first_column);
        for row in block * ROWS..(block + 1) * ROWS {
            let start = row * self.columns + first_column;
            if start >= self.shape.len() {
                break;
            }
            visit(start, width.min(self.shape.len() - start));
        }
    }

    /// Folds every tile by `fold`, which returns a result for each of the strip's channels; then the tiles of
    /// each channel by `merge`, first to last.
    fn fold<T: Copy + Default + Send + Sync>(
        &self,
        results: &mut [T],
        fold: impl Fn(usize) -> [T; WIDTH] + Sync,
        merge: impl Fn(T, T) -> T + Sync,
    ) {
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
    grid.fold(
        moments,
        #[inline(always)]
        |i| moments_of_tile(&grid, x.data(), i),
        Moments::merge,
    );
}

#[inline(always)]
fn moments_of_tile<E: Element>(grid: &Grid, x: &[E], i: usize) -> [Moments; WIDTH] {
    let (mut first, mut sum) = ([0.0; WIDTH], [0.0; WIDTH]);
    let (mut width, mut rows, mut last) = (0, 0.0, 0);
    grid.for_each_row(i, |start, len| {
        let row = &x[start..start + len];
        if width == 0 {
            width = len;
            for (j, first) in first.iter_mut().enumerate().take(width) {
                *first = row[grid.local_channel(j) * grid.shape.inner()].to_f64();
            }
        }
        (rows, last) = (rows + 1.0, len);
        accumulate(&mut sum, len, |j| row[j].to_f64() - first[j]);
    });
    // Only the last row may be incomplete.
    let count: [f64; WIDTH] = std::array::from_fn(|j| if j < last { rows } else { rows - 1.0 });
    let (count, sum) = (grid.by_channel(&count, width), grid.by_channel(&sum, width));
    let mut mean = [0.0; WIDTH];
    for (j, mean) in mean.iter_mut().enumerate().take(width) {
        let channel = grid.local_channel(j);
        *mean = first[j] + sum[channel] / count[channel];
    }
    let mut m2 = [0.0; WIDTH];
    grid.for_each_row(i, |start, len| {
        let row = &x[start..start + len];
        accumulate(&mut m2, len, |j| {
            let deviation = row[j].to_f64() - mean[j];
            deviation * deviation
        });
    });
    let m2 = grid.by_channel(&m2, width);
    std::array::from_fn(|channel| Moments {
        count: count[channel] as u64,
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
    let narrow = ColumnsBuffer::new(grid.columns, |column| grid.channel(column), coefficients, None);
    grid.fold(
        sums,
        #[inline(always)]
        |i| sums_of_tile(&grid, coefficients, narrow.borrow(), x, dy, gate, i),
        GradientSums::merge,
    );
}

#[inline(always)]
fn sums_of_tile<E: Element>(
    grid: &Grid,
    coefficients: &[Coefficients],
    narrow: Columns<'_, E::Parameter>,
    x: Option<View<'_, E>>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    i: usize,
) -> [GradientSums; WIDTH] {
    let first_column = grid.first_column(i);
    let first_channel = grid.channel(first_column);
    let of_local = |channel: usize| coefficients[(first_channel + channel).min(coefficients.len() - 1)];
    let mean: [f64; WIDTH] = std::array::from_fn(|j| of_local(grid.local_channel(j)).mean);
    let (mut sum, mut product) = ([0.0; WIDTH], [0.0; WIDTH]);
    let mut buffer = [E::default(); WIDTH];
    grid.for_each_row(i, |start, len| {
        let narrow = narrow.part(first_column..first_column + len);
        let dz = &runs::gated(narrow, dy, gate, start..start + len, &mut buffer[..len])[..len];
        accumulate(&mut sum, len, |j| dz[j].to_f64());
        if let Some(x) = x {
            let x = &x.data()[start..start + len];
            accumulate(&mut product, len, |j| dz[j].to_f64() * (x[j].to_f64() - mean[j]));
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
    let grid = Grid::new(x.shape());
    let narrow = ColumnsBuffer::new(grid.columns, |column| grid.channel(column), coefficients, None);
    threads::write_pieces(
        y.data(),
        None,
        grid.columns,
        #[inline(always)]
        |start, y, _| {
            for (row, y) in y.chunks_mut(grid.columns).enumerate() {
                runs::normalize(narrow.borrow(), x, epilogue, start + row * grid.columns, y);
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
    let grid = Grid::new(dy.shape());
    let (x, means) = (batch.map(|(x, _)| x), batch.map(|(_, means)| means));
    let narrow = ColumnsBuffer::new(grid.columns, |column| grid.channel(column), coefficients, means);
    let d_addend = d_addend.as_mut().map(ViewMut::data);
    threads::write_pieces(
        dx.data(),
        d_addend,
        grid.columns,
        #[inline(always)]
        |start, dx, mut d_addend| {
            for (row, dx) in dx.chunks_mut(grid.columns).enumerate() {
                let offset = row * grid.columns;
                let d_addend = d_addend.as_deref_mut().map(|d_addend| &mut d_addend[offset..offset + dx.len()]);
                runs::input_gradient(narrow.borrow(), x, dy, gate, start + offset, dx, d_addend);
            }
        },
    );
}
