//! How the positions of a channel are cut: by the shape alone, so that sums are the same for any number of threads.

use std::ops::Range;

use super::MIN_INNER;
use crate::Shape;

/// Positions of a channel that are folded together, at most (but for a row that is a little longer).
const BLOCK: usize = 16 * 1024;

/// The blocks of a channel: several rows each, or a piece of a row where rows are long.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    shape: Shape,
    /// Rows of a block.
    rows: usize,
    /// Pieces of a row, and their length.
    pieces: usize,
    piece: usize,
}

/// A block of every channel: the same positions in each.
#[derive(Clone, Debug)]
pub struct Block {
    shape: Shape,
    /// Which of the blocks it is.
    pub index: usize,
    /// Indices along `outer`.
    pub rows: Range<usize>,
    /// Indices along `inner`.
    inside: Range<usize>,
}

/// Rows of the shortest runs that are folded together, and elements at least: many blocks, so that all threads have some.
const SHORT: (usize, usize) = (4 * 1024, 256 * 1024);

/// Rows from which on a tensor of the shortest runs is tall: it is folded by rows, all of their channels, and then mapped.
pub const TALL: usize = 1025;

/// The fewest rows of such a block, and elements.
const FEWEST: (usize, usize) = (1536, 64 * 1024);

impl Blocks {
    pub fn new(shape: Shape) -> Self {
        let inner = shape.inner().max(1);
        let pieces = inner.div_ceil(BLOCK);
        // Pieces begin at multiples of a cache line, as far as the row does.
        let piece = inner.div_ceil(pieces).next_multiple_of(16).min(inner);
        let row = (shape.channels() * inner).max(1);
        let rows = if inner < MIN_INNER {
            let most = SHORT.0.max(SHORT.1 / row);
            // Of equal size and a multiple of four, so that threads end together; but what blocks are merged by takes time, too.
            let fewest = FEWEST.0.max(FEWEST.1 / row);
            let blocks = shape.outer().div_ceil(most).next_multiple_of(4).min((shape.outer() / fewest).max(1));
            shape.outer().div_ceil(blocks)
        } else {
            BLOCK / inner
        };
        Self { shape, rows: rows.max(1), pieces: inner.div_ceil(piece), piece }
    }

    /// The number of blocks of a channel.
    pub fn count(&self) -> usize {
        self.shape.outer().div_ceil(self.rows) * self.pieces
    }

    /// Block `i`.
    #[inline(always)]
    pub fn get(&self, i: usize) -> Block {
        let (row, piece) = (i / self.pieces * self.rows, i % self.pieces * self.piece);
        Block {
            shape: self.shape,
            index: i,
            rows: row..(row + self.rows).min(self.shape.outer()),
            inside: piece..(piece + self.piece).min(self.shape.inner()),
        }
    }
}

impl Block {
    /// The first element of a channel's run in a row.
    #[inline(always)]
    pub fn start(&self, row: usize, channel: usize) -> usize {
        (row * self.shape.channels() + channel) * self.shape.inner() + self.inside.start
    }

    /// The rows of the tensor.
    #[inline(always)]
    pub fn outer(&self) -> usize {
        self.shape.outer()
    }

    /// Whether it is of a tall tensor of the shortest runs, which is folded by rows, all of their channels.
    #[inline(always)]
    pub fn is_tall(&self) -> bool {
        self.shape.inner() < MIN_INNER && self.shape.outer() >= TALL
    }

    /// The elements of a row.
    #[inline(always)]
    pub fn row(&self) -> usize {
        self.shape.channels() * self.shape.inner()
    }

    /// The elements of a run.
    #[inline(always)]
    pub fn run(&self) -> usize {
        self.inside.len()
    }

    /// Indices along `inner`.
    #[inline(always)]
    pub fn inside(&self) -> Range<usize> {
        self.inside.clone()
    }

    /// The positions of the block.
    #[inline(always)]
    pub fn positions(&self) -> usize {
        self.rows.len() * self.inside.len()
    }

    /// Whether the runs of neighbouring channels are neighbours in memory.
    #[inline(always)]
    pub fn has_whole_runs(&self) -> bool {
        self.inside.len() == self.shape.inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_position_of_a_channel_once() {
        for (outer, channels, inner) in
            [(1, 1, 1), (3, 2, 49), (400, 3, 49), (32, 2, 12544), (2, 3, 16384), (2, 1, 16385), (1, 2, 100_003)]
        {
            let shape = Shape::new(outer, channels, inner).unwrap();
            let blocks = Blocks::new(shape);
            let mut seen = vec![0; shape.len()];
            for i in 0..blocks.count() {
                let block = blocks.get(i);
                assert!(block.positions() > 0 && block.positions() <= BLOCK + 16, "{shape}, block {i}");
                for row in block.rows.clone() {
                    let start = block.start(row, channels - 1);
                    seen[start..start + block.run()].iter_mut().for_each(|seen| *seen += 1);
                }
            }
            for (i, seen) in seen.into_iter().enumerate() {
                assert_eq!(seen, usize::from(i / inner % channels == channels - 1), "{shape}, element {i}");
            }
        }
    }
}
