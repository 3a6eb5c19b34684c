//! Which positions are folded: all of them, or those that a mask counts.
//!
//! ```text
//! runs of one channel:     a term is chosen where the position counts, and zero elsewhere: what does not count may be NaN
//! rows (channels last):    the rows that count are folded, eight at a time, wherever they lie
//! ```
//!
//! What is chosen depends on the shape and the mask alone, so sums are the same for any number of threads.

use super::super::lanes::{Isa, Vector};
use super::super::memory::Source;
use super::blocks::{Block, Blocks};
use crate::{Mask, Shape};

/// Values of a block whose mean is its shift, at most.
const FIRST: usize = 4;

/// Which positions are folded.
pub trait Picks: Copy + Sync {
    /// The same of the `len` elements from `start` on, which are of one channel, or in rows that are picked as a whole.
    fn run(self, start: usize, len: usize) -> Self;
    /// `v` where the positions of the elements from `i` on are picked, else zeros.
    fn keep<I: Isa>(&self, isa: I, v: I::F64, i: usize, len: Option<usize>) -> I::F64;
    /// How many are, in a block.
    fn count(&self, block: &Block) -> usize;
    /// The rows of a block to fold, unless those are all.
    fn rows(&self, block: &Block) -> Option<&[usize]>;
    /// The mean of a channel's first ones, of which `value` gives each by its element.
    fn first_mean(&self, block: &Block, channel: usize, value: impl Fn(usize) -> f64) -> f64;
}

/// All of them.
#[derive(Clone, Copy, Debug)]
pub struct All;

impl Picks for All {
    #[inline(always)]
    fn run(self, _: usize, _: usize) -> Self {
        self
    }

    #[inline(always)]
    fn keep<I: Isa>(&self, _: I, v: I::F64, _: usize, _: Option<usize>) -> I::F64 {
        v
    }

    #[inline(always)]
    fn count(&self, block: &Block) -> usize {
        block.positions()
    }

    #[inline(always)]
    fn rows(&self, _: &Block) -> Option<&[usize]> {
        None
    }

    #[inline(always)]
    fn first_mean(&self, block: &Block, channel: usize, value: impl Fn(usize) -> f64) -> f64 {
        let (run, count) = (block.run(), block.positions().min(FIRST));
        let (part, mut mean) = (part_of(count), 0.0);
        let (mut i, mut in_run) = (block.start(block.rows.start, channel), 0);
        for _ in 0..count {
            mean += value(i) * part;
            in_run += 1;
            (i, in_run) = if in_run == run { (i + block.row() + 1 - run, 0) } else { (i + 1, in_run) };
        }
        mean
    }
}

/// Of each of `count` values a part before they are added: no sum overflows.
#[inline(always)]
fn part_of(count: usize) -> f64 {
    1.0 / count as f64
}

/// What a mask counts, block by block.
#[derive(Debug)]
pub struct Counted {
    shape: Shape,
    blocks: Vec<OfBlock>,
    /// Where a position is a row: those that count.
    rows: Vec<usize>,
    /// Where runs are longer: 1 for each position that counts, else 0.
    kept: Vec<f32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct OfBlock {
    count: usize,
    /// Of the rows that count, its first.
    row: usize,
    /// Its first positions that count: a row, and how far into the block's run.
    first: [(usize, usize); FIRST],
}

impl Counted {
    pub fn new(shape: Shape, mask: Mask<'_>) -> Self {
        let (inner, blocks, by_rows) = (shape.inner(), Blocks::new(shape), shape.inner() == 1);
        let mut rows = Vec::with_capacity(if by_rows { shape.outer() } else { 0 });
        let of_blocks = (0..blocks.count()).map(|i| {
            let block = blocks.get(i);
            let mut of_block = OfBlock { row: rows.len(), ..OfBlock::default() };
            for row in block.rows.clone() {
                let inside = block.inside();
                let counts = &mask.counts()[row * inner + inside.start..row * inner + inside.end];
                if of_block.count < FIRST {
                    let found = counts.iter().enumerate().filter(|(_, counts)| **counts);
                    for (first, (at, _)) in of_block.first[of_block.count..].iter_mut().zip(found) {
                        *first = (row, at);
                    }
                }
                let count = counts.iter().map(|&counts| usize::from(counts)).sum::<usize>();
                of_block.count += count;
                if by_rows && count > 0 {
                    rows.push(row);
                }
            }
            of_block
        });
        let blocks = of_blocks.collect();
        let kept = |&counts: &bool| if counts { 1.0 } else { 0.0 };
        let kept = if by_rows { Vec::new() } else { mask.counts().iter().map(kept).collect() };
        Self { shape, blocks, rows, kept }
    }

    pub fn picks(&self) -> Picked<'_> {
        let kept = (self.shape.inner() > 1).then(|| Source::new(&self.kept[..]));
        Picked { shape: self.shape, blocks: &self.blocks, rows: &self.rows, kept }
    }
}

/// What a mask counts.
#[derive(Clone, Copy)]
pub struct Picked<'a> {
    shape: Shape,
    blocks: &'a [OfBlock],
    rows: &'a [usize],
    kept: Option<Source<'a, f32>>,
}

impl Picks for Picked<'_> {
    #[inline(always)]
    fn run(self, start: usize, len: usize) -> Self {
        let (row, inner) = (self.shape.channels() * self.shape.inner(), self.shape.inner());
        let kept = self.kept.map(
            #[inline(always)]
            |kept| kept.run(start / row * inner + start % inner, len),
        );
        Self { kept, ..self }
    }

    #[inline(always)]
    fn keep<I: Isa>(&self, isa: I, v: I::F64, i: usize, len: Option<usize>) -> I::F64 {
        match &self.kept {
            None => v,
            Some(kept) => kept.load_wide(isa, i, len).where_positive(v, isa.splat_f64(0.0)),
        }
    }

    #[inline(always)]
    fn count(&self, block: &Block) -> usize {
        self.blocks[block.index].count
    }

    #[inline(always)]
    fn rows(&self, block: &Block) -> Option<&[usize]> {
        let of_block = &self.blocks[block.index];
        self.kept.is_none().then(|| &self.rows[of_block.row..of_block.row + of_block.count])
    }

    #[inline(always)]
    fn first_mean(&self, block: &Block, channel: usize, value: impl Fn(usize) -> f64) -> f64 {
        let of_block = &self.blocks[block.index];
        let count = of_block.count.min(FIRST);
        let (part, mut mean) = (part_of(count), 0.0);
        for (row, at) in &of_block.first[..count] {
            mean += value(block.start(*row, channel) + at) * part;
        }
        mean
    }
}
