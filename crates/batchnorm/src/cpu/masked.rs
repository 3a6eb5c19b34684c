//! Masks: which positions of a tensor count.
//!
//! ```text
//! fold:  for each block of positions
//!            none count:  nothing is read
//!            all count:   as without a mask
//!            some count:  the same sums, whose terms are zero where the position does not count
//! map:   for each run of elements
//!            none count:  nothing is read, zeros are written
//!            some count:  as without a mask; then, in cache, zero where the position does not count
//! ```
//!
//! A term is chosen, not multiplied: what does not count may be NaN. Terms keep their places in the sums, so a mask
//! that counts everything computes the bits of no mask.

use std::ops::Range;

use rayon::prelude::*;

use crate::{Element, Mask, Shape};

/// Which elements of a block count, as the loops of a fold ask.
pub trait Counted: Copy {
    /// The elements `range`, whose loops need no bounds checks.
    fn part(self, range: Range<usize>) -> Self;
    /// The first element that counts.
    fn first(self) -> usize;
    /// `term` if element `i` counts, else zero.
    fn keep(self, i: usize, term: f64) -> f64;
}

/// All elements count: compiles to nothing.
#[derive(Clone, Copy, Debug)]
pub struct All;

impl Counted for All {
    #[inline(always)]
    fn part(self, _: Range<usize>) -> Self {
        self
    }

    #[inline(always)]
    fn first(self) -> usize {
        0
    }

    #[inline(always)]
    fn keep(self, _: usize, term: f64) -> f64 {
        term
    }
}

impl Counted for &[bool] {
    #[inline(always)]
    fn part(self, range: Range<usize>) -> Self {
        &self[range]
    }

    #[inline(always)]
    fn first(self) -> usize {
        self.iter().position(|&counts| counts).unwrap_or(0)
    }

    #[inline(always)]
    fn keep(self, i: usize, term: f64) -> f64 {
        // Not an `if`, which may become a branch, and which the processor cannot foresee in a random mask.
        f64::from_bits(term.to_bits() & u64::from(self[i]).wrapping_neg())
    }
}

/// What counts in one block of positions.
#[derive(Clone, Copy, Debug)]
pub enum Block<'a> {
    /// Nothing.
    Empty,
    /// All of so many positions.
    Whole(usize),
    /// So many positions: those of the slice that are true.
    Partial(usize, &'a [bool]),
}

/// What counts in every block of positions that a fold is cut into.
#[derive(Debug)]
pub struct Tally<'a> {
    mask: Option<Mask<'a>>,
    positions: usize,
    /// Positions of a block; the last may have fewer.
    block: usize,
    /// How many count in each block; not filled without a mask.
    counted: Vec<usize>,
}

impl<'a> Tally<'a> {
    pub fn new(mask: Option<Mask<'a>>, positions: usize, block: usize) -> Self {
        let count = |counts: &[bool]| counts.iter().filter(|&&counts| counts).count();
        let counted = mask.map_or_else(Vec::new, |mask| mask.counts().chunks(block).map(count).collect());
        Self { mask, positions, block, counted }
    }

    /// What counts in block `i`.
    #[inline(always)]
    pub fn block(&self, i: usize) -> Block<'a> {
        let positions = i * self.block..((i + 1) * self.block).min(self.positions);
        match (self.mask, self.counted.get(i)) {
            (Some(_), Some(0)) => Block::Empty,
            (Some(mask), Some(&count)) if count < positions.len() => {
                Block::Partial(count, &mask.counts()[positions])
            }
            _ => Block::Whole(positions.len()),
        }
    }
}

/// Whether there is a mask, and nothing of it counts.
#[inline(always)]
pub fn is_empty(counts: Option<&[bool]>) -> bool {
    // Not `contains`: without an early end this is a vector loop.
    counts.is_some_and(|counts| !counts.iter().fold(false, |any, &counts| any | counts))
}

/// The mask, if there is one that does not count everything.
pub fn partial(mask: Option<Mask<'_>>) -> Option<Mask<'_>> {
    // Not `all`: without an early end this is a vector loop.
    mask.filter(|mask| !mask.counts().iter().fold(true, |all, &counts| all & counts))
}

/// Elements that are chosen one by one in the time that filling a stretch of them takes to begin.
const FEW_ENDS: usize = 16;

/// Elements up to which one thread is as fast as several.
const SMALL: usize = 32 * 1024;

/// Writes zeros over the elements of a tensor that do not count.
pub fn clear<E: Element>(shape: Shape, mask: Option<Mask<'_>>, data: &mut [E]) {
    let Some(mask) = partial(mask) else { return };
    let (inner, row) = (shape.inner(), shape.channels() * shape.inner());
    let clear_row = |(counts, row): (&[bool], &mut [E])| {
        let ends = counts.windows(2).filter(|pair| pair[0] != pair[1]).count();
        if ends * FEW_ENDS > inner {
            // Scattered: a choice for every element, which is a vector loop.
            for run in row.chunks_exact_mut(inner) {
                for (value, &counts) in run.iter_mut().zip(counts) {
                    *value = if counts { *value } else { E::default() };
                }
            }
            return;
        }
        let mut end = 0;
        while let Some(start) = counts[end..].iter().position(|&counts| !counts).map(|first| end + first) {
            end = counts[start..].iter().position(|&counts| counts).map_or(inner, |len| start + len);
            if end - start == inner {
                return row.fill(E::default());
            }
            row.chunks_exact_mut(inner).for_each(|run| run[start..end].fill(E::default()));
        }
    };
    if shape.len() <= SMALL {
        mask.counts().chunks_exact(inner).zip(data.chunks_exact_mut(row)).for_each(clear_row);
    } else {
        let rows = mask.counts().par_chunks_exact(inner).zip(data.par_chunks_exact_mut(row));
        rows.with_min_len(SMALL / row.min(SMALL)).for_each(clear_row);
    }
}

/// Writes zeros over the elements of whole examples (`channels` runs of `inner`) that do not count.
#[inline(always)]
pub fn clear_examples<E: Element>(counts: Option<&[bool]>, shape: Shape, examples: &mut [E]) {
    let Some(counts) = counts else { return };
    let (channels, inner) = (shape.channels(), shape.inner());
    for (counts, example) in counts.chunks_exact(inner).zip(examples.chunks_exact_mut(channels * inner)) {
        if is_empty(Some(counts)) {
            example.fill(E::default());
            continue;
        }
        for (i, _) in counts.iter().enumerate().filter(|(_, counts)| !**counts) {
            example.iter_mut().skip(i).step_by(inner).for_each(|value| *value = E::default());
        }
    }
}
