//! The sweep for short runs of one channel (inner < 16): channels last and 2-D data, where inner is 1.
//!
//! The tensor is seen as rows of columns, each column of one channel. Folds cut the rows into blocks of
//! [`ROWS`] and the columns into strips of [`WIDTH`], a cut that depends on the shape alone:
//!
//! ```text
//! for each block of rows, for each strip of columns, on any thread; for each column j of the strip:
//!     mean_j = x0_j + sum_j(x - x0_j) / n      first pass, from memory
//!     M2_j   = sum_j((x - mean_j)^2)           second pass, from cache
//! for each channel: merge the blocks of its columns, first to last
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

/// Columns that are folded together: one vector register's worth of sums, several times over.
const WIDTH: usize = 64;

/// Rows that are folded together: 64 KiB of f32 with [`WIDTH`], so that the second pass finds them in cache.
const ROWS: usize = 256;

/// A tensor seen as rows of columns.
#[derive(Clone, Copy)]
struct Grid {
    shape: Shape,
    columns: usize,
    strips: usize,
    row_blocks: usize,
}

impl Grid {
    fn new(shape: Shape) -> Self {
        let period = (shape.channels() * shape.inner()).max(1);
        let columns = period * (WIDTH / period).max(1);
        Self {
            shape,
            columns,
            strips: columns.div_ceil(WIDTH),
            row_blocks: shape.len().div_ceil(columns * ROWS),
        }
    }

    /// The channel of a column.
    #[inline(always)]
    fn channel(&self, column: usize) -> usize {
        column / self.shape.inner() % self.shape.channels()
    }

    /// Calls `visit(start, length)` for every row of tile `i` that is not empty, `start` being the row's first
    /// element in the strip.
    #[inline(always)]
    fn for_each_row(&self, i: usize, mut visit: impl FnMut(usize, usize)) {
        let (block, strip) = (i / self.strips, i % self.strips);
        let first_column = strip * WIDTH;
        let width = WIDTH.min(self.columns - first_column);
        for row in block * ROWS..(block + 1) * ROWS {
            let start = row * self.columns + first_column;
            if start >= self.shape.len() {
                break;
            }
            visit(start, width.min(self.shape.len() - start));
        }
    }

    /// Folds every tile by `fold`, then what belongs to each channel by `merge`: its columns in order, each
    /// from its first block to its last.
    fn fold<T: Copy + Default + Send + Sync>(
        &self,
        results: &mut [T],
        fold: impl Fn(usize) -> [T; WIDTH] + Sync,
        merge: impl Fn(T, T) -> T + Sync,
    ) {
        let mut tiles = vec![[T::default(); WIDTH]; self.row_blocks * self.strips];
        threads::fill(&mut tiles, ROWS * WIDTH.min(self.columns), fold);
        let inner = self.shape.inner();
        let period = results.len() * inner;
        threads::fill(results, self.row_blocks * inner * 8, |channel| {
            let mut result = T::default();
            for first in (channel * inner..self.columns).step_by(period.max(1)) {
                for column in first..first + inner {
                    for block in 0..self.row_blocks {
                        let tile = &tiles[block * self.strips + column / WIDTH];
                        result = merge(result, tile[column % WIDTH]);
                    }
                }
            }
            result
        });
    }
}

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
    grid.fold(moments, |i| moments_of_tile(&grid, x.data(), i), Moments::merge);
}

#[inline(always)]
fn moments_of_tile<E: Element>(grid: &Grid, x: &[E], i: usize) -> [Moments; WIDTH] {
    let (mut first, mut sum, mut m2) = ([0.0; WIDTH], [0.0; WIDTH], [0.0; WIDTH]);
    let mut count = [0u64; WIDTH];
    let (mut full_rows, mut rest) = (0, 0);
    let mut width = 0;
    grid.for_each_row(i, |start, len| {
        let row = &x[start..start + len];
        if width == 0 {
            width = len;
            for (first, x) in first.iter_mut().zip(row) {
                *first = x.to_f64();
            }
        }
        if len == width {
            full_rows += 1;
        } else {
            rest = len;
        }
        accumulate(&mut sum, len, |j| row[j].to_f64() - first[j]);
    });
    for (j, count) in count.iter_mut().enumerate().take(width) {
        *count = full_rows + u64::from(j < rest);
    }
    let mut mean = [0.0; WIDTH];
    for j in 0..width {
        mean[j] = first[j] + sum[j] / count[j] as f64;
    }
    grid.for_each_row(i, |start, len| {
        let row = &x[start..start + len];
        accumulate(&mut m2, len, |j| {
            let deviation = row[j].to_f64() - mean[j];
            deviation * deviation
        });
    });
    std::array::from_fn(|j| Moments { count: count[j], mean: mean[j], m2: m2[j] })
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
    let of_tile = |i| sums_of_tile(&grid, coefficients, narrow.borrow(), x, dy, gate, i);
    grid.fold(sums, of_tile, GradientSums::merge);
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
    let first_column = i % grid.strips * WIDTH;
    let of_column = |j: usize| coefficients[grid.channel((first_column + j).min(grid.columns - 1))];
    let mean: [f64; WIDTH] = std::array::from_fn(|j| of_column(j).mean);
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
    std::array::from_fn(|j| GradientSums {
        dy: sum[j],
        dy_xhat: if x.is_some() { product[j] * of_column(j).rstd } else { 0.0 },
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
    threads::write_pieces(y.data(), None, grid.columns, |start, y, _| {
        for (row, y) in y.chunks_mut(grid.columns).enumerate() {
            runs::normalize(narrow.borrow(), x, epilogue, start + row * grid.columns, y);
        }
    });
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
    threads::write_pieces(dx.data(), d_addend, grid.columns, |start, dx, mut d_addend| {
        for (row, dx) in dx.chunks_mut(grid.columns).enumerate() {
            let offset = row * grid.columns;
            let d_addend = d_addend.as_deref_mut().map(|d_addend| &mut d_addend[offset..offset + dx.len()]);
            runs::input_gradient(narrow.borrow(), x, dy, gate, start + offset, dx, d_addend);
        }
    });
}
