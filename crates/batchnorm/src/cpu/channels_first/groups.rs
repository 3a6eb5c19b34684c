//! A block of a few neighbouring channels: folded, mapped, or one folded while another is mapped.
//!
//! Neighbouring channels are taken together where runs are short, row by row: then what is read and written lies together,
//! and the processor foresees it.

use std::ops::Range;

use super::super::lanes::Isa;
use super::super::narrow::Narrow;
use super::blocks::Block;
use super::folds::Folded;
use super::room::Computed;
use super::sweep::{self, AHEAD, Ahead, Map, Mapped, Sums};

/// The most channels of a group: what is kept of them fits the first-level cache.
pub const MOST: usize = 32;

/// Folds a block of the channels `folded` into `totals`, and maps that of the channels `mapped`, whose coefficients are
/// `narrows`. Either may be none.
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
    narrows: &[Narrow<Computed<M::Element>>],
) {
    if mapped.is_empty() {
        return fold_block(isa, block, fold, folded, totals);
    }
    let first = fold.channel(folded.start.min(mapped.start), block);
    let mut channels = [first; MOST];
    let mut sums = [Sums::zero(isa); MOST];
    for (j, c) in folded.clone().enumerate() {
        channels[j] = fold.channel(c, block);
    }
    let channels = &channels[..folded.len()];
    for row in block.rows.clone() {
        one_row(isa, block, row, fold, folded, channels, &mut sums, map, mapped, narrows);
    }
    for (j, c) in folded.clone().enumerate() {
        totals[j] = F::merge(totals[j], fold.total(isa, &channels[j], &sums[j].totals(), c, block));
    }
}

/// One row of [`block`]: run after run.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a fold and a map")]
fn one_row<I: Isa, F: Folded, M: Map<Element = F::Element>>(
    isa: I,
    block: &Block,
    row: usize,
    fold: &F,
    folded: &Range<usize>,
    channels: &[F::Channel],
    sums: &mut [Sums<I::F64>],
    map: &M,
    mapped: &Range<usize>,
    narrows: &[Narrow<Computed<M::Element>>],
) {
    let (run, whole) = (block.run(), block.has_whole_runs());
    let stream = Stream::new(block, row, folded, whole);
    let mut until = block.start(row, mapped.start);
    for j in 0..folded.len().max(mapped.len()) {
        let from = block.start(row, folded.start + j);
        let next = || if whole && j + 1 < mapped.len() { Some((&narrows[j + 1], run)) } else { None };
        let of_map = if j < mapped.len() {
            let start = block.start(row, mapped.start + j);
            // Of runs that follow each other in memory, the one before has gone on into this one.
            let (start, end) = (if whole { until } else { start }, start + run);
            Some(Mapped { channel: &narrows[j], start, end, run })
        } else {
            None
        };
        let ahead = stream.of_run(from, j, run);
        match (of_map, j < folded.len()) {
            (Some(of_map), true) => {
                until =
                    sweep::both(isa, fold, &channels[j], &mut sums[j], from, run, ahead, map, &of_map, next);
            }
            (Some(of_map), false) => until = sweep::map(isa, map, &of_map, next),
            (None, _) => sweep::fold(isa, fold, &channels[j], &mut sums[j], from, run, ahead),
        }
    }
}

/// Folds a block of a few channels into `totals`.
#[inline(always)]
pub fn fold_block<I: Isa, F: Folded>(
    isa: I,
    block: &Block,
    fold: &F,
    folded: &Range<usize>,
    totals: &mut [F::Total],
) {
    let (run, whole) = (block.run(), block.has_whole_runs());
    if folded.len() == 1 || !whole {
        // One channel's sums stay in registers.
        for (j, c) in folded.clone().enumerate() {
            let channel = fold.channel(c, block);
            let mut sums = Sums::zero(isa);
            let of_one = c..c + 1;
            for row in block.rows.clone() {
                let start = block.start(row, c);
                let ahead = Stream::new(block, row, &of_one, whole).of_run(start, 0, run);
                sweep::fold(isa, fold, &channel, &mut sums, start, run, ahead);
            }
            totals[j] = F::merge(totals[j], fold.total(isa, &channel, &sums.totals(), c, block));
        }
        return;
    }
    let mut channels = [fold.channel(folded.start, block); MOST];
    let mut sums = [Sums::zero(isa); MOST];
    for (j, c) in folded.clone().enumerate() {
        channels[j] = fold.channel(c, block);
    }
    for row in block.rows.clone() {
        let ahead = Stream::new(block, row, folded, whole);
        for j in 0..folded.len() {
            let start = block.start(row, folded.start + j);
            let ahead = ahead.of_run(start, j, run);
            sweep::fold(isa, fold, &channels[j], &mut sums[j], start, run, ahead);
        }
    }
    for (j, c) in folded.clone().enumerate() {
        totals[j] = F::merge(totals[j], fold.total(isa, &channels[j], &sums[j].totals(), c, block));
    }
}

/// Where the fold reads next: the group's elements of this row, then those of the next.
struct Stream {
    /// Elements of the group in a row.
    width: usize,
    next_row: usize,
    whole: bool,
}

impl Stream {
    #[inline(always)]
    fn new(block: &Block, row: usize, folded: &Range<usize>, whole: bool) -> Self {
        let next_row = if row + 1 < block.outer() {
            block.start(row + 1, folded.start)
        } else {
            block.start(0, folded.end)
        };
        Self { width: folded.len() * block.run(), next_row, whole }
    }

    /// Ahead of the group's run `j`, which begins at `start`.
    #[inline(always)]
    fn of_run(&self, start: usize, j: usize, run: usize) -> Ahead {
        if !self.whole {
            return Ahead::NOTHING;
        }
        let (done, distance) = (j * run, AHEAD.min(self.width));
        Ahead {
            until: self.width.saturating_sub(done + distance),
            then: (self.next_row + done + distance).wrapping_sub(self.width + start),
        }
    }
}
