//! A block of a few neighbouring channels: folded, mapped, or one folded while another is mapped.
//!
//! Neighbouring channels are taken together where runs are short, row by row: then what is read and written lies together,
//! and the processor foresees it.

use std::ops::Range;

use super::super::lanes::{Isa, LANES};
use super::super::memory::{Source, Target};
use super::super::narrow::Narrow;
use super::blocks::Block;
use super::folds::Folded;
use super::maps::{Output, Redirected};
use super::sweep::{self, AHEAD, Ahead, Map};
use crate::Element;

/// The most channels of a group: what is kept of them fits the first-level cache.
pub const MOST: usize = 32;

/// The shortest run whose results are streamed directly. Shorter ones, whose ends lie within lines, are put together first.
pub const STREAMED_RUN: usize = 256;

/// The most elements that are put together before they are streamed.
pub const TOGETHER: usize = 2048;

/// Room for them, at the beginning of a line.
#[repr(align(64))]
pub struct Buffer<E>([E; TOGETHER + LANES]);

impl<E: Element> Buffer<E> {
    #[inline(always)]
    pub fn new() -> Self {
        Self([E::default(); TOGETHER + LANES])
    }
}

/// Folds a block of the channels `folded` into `totals`, and maps that of the channels `mapped`, whose coefficients are
/// `narrows`. Either may be none.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a fold and a map")]
pub fn block<'a, I: Isa, E: Element, F: Folded, M>(
    isa: I,
    block: &Block,
    fold: &F,
    folded: &Range<usize>,
    totals: &mut [F::Total],
    map: &M,
    mapped: &Range<usize>,
    narrows: &[Narrow<E::Parameter>],
    buffer: &mut Buffer<E>,
) where
    M: Map<Channel = Narrow<E::Parameter>> + Redirected<'a, E>,
{
    if mapped.is_empty() {
        return fold_block(isa, block, fold, folded, totals);
    }
    let (run, whole) = (block.run(), block.has_whole_runs());
    let first = fold.channel(folded.start.min(mapped.start), block);
    let mut channels = [first; MOST];
    let mut sums = [fold.zero(isa); MOST];
    for (j, c) in folded.clone().enumerate() {
        channels[j] = fold.channel(c, block);
    }
    let channels = &channels[..folded.len()];
    for row in block.rows.clone() {
        if map.output().streams && whole && run < STREAMED_RUN {
            let start = block.start(row, mapped.start);
            streamed_together(
                isa,
                map,
                start,
                mapped.len() * run,
                buffer,
                #[inline(always)]
                |map| one_row(isa, block, row, fold, folded, channels, &mut sums, map, mapped, narrows),
            );
        } else {
            one_row(isa, block, row, fold, folded, channels, &mut sums, map, mapped, narrows);
        }
    }
    for (j, c) in folded.clone().enumerate() {
        totals[j] = F::merge(totals[j], fold.total(isa, &channels[j], &sums[j], c, block));
    }
}

/// One row of [`block`]: run after run.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "a fold and a map")]
fn one_row<I: Isa, F: Folded, M: Map>(
    isa: I,
    block: &Block,
    row: usize,
    fold: &F,
    folded: &Range<usize>,
    channels: &[F::Channel],
    sums: &mut [F::Sums<I>],
    map: &M,
    mapped: &Range<usize>,
    narrows: &[M::Channel],
) {
    let run = block.run();
    let stream = Stream::new(block, row, folded, block.has_whole_runs());
    for j in 0..folded.len().max(mapped.len()) {
        let (from, to) = (block.start(row, folded.start + j), block.start(row, mapped.start + j));
        let ahead = stream.of_run(from, j, run);
        match (j < folded.len(), j < mapped.len()) {
            (true, true) => {
                let (of, sums) = (&channels[j], &mut sums[j]);
                sweep::both(isa, fold, of, sums, from, map, &narrows[j], to, run, ahead);
            }
            (true, false) => sweep::fold(isa, fold, &channels[j], &mut sums[j], from, run, ahead),
            _ => sweep::map(isa, map, &narrows[j], to, run),
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
            let mut sums = fold.zero(isa);
            let of_one = c..c + 1;
            for row in block.rows.clone() {
                let start = block.start(row, c);
                let ahead = Stream::new(block, row, &of_one, whole).of_run(start, 0, run);
                sweep::fold(isa, fold, &channel, &mut sums, start, run, ahead);
            }
            totals[j] = F::merge(totals[j], fold.total(isa, &channel, &sums, c, block));
        }
        return;
    }
    let mut channels = [fold.channel(folded.start, block); MOST];
    let mut sums = [fold.zero(isa); MOST];
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
        totals[j] = F::merge(totals[j], fold.total(isa, &channels[j], &sums[j], c, block));
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

/// Lets `write` write the `len` elements from `start` on into the first-level cache, and streams them from there: runs that
/// end within a line would else write that line in two parts.
#[inline(always)]
pub fn streamed_together<'a, I: Isa, E: Element, M: Redirected<'a, E> + Copy>(
    isa: I,
    map: &M,
    start: usize,
    len: usize,
    buffer: &mut Buffer<E>,
    write: impl FnOnce(&M),
) {
    let output = map.output();
    let to = output.to.run(start, len);
    let head = to.until_line(0).min(len);
    // Lines of the output are lines of the buffer.
    let shift = (LANES - head) % LANES;
    let room = &mut buffer.0[shift..shift + len];
    // SAFETY: only this thread uses it, and not after this function.
    let (here, from) = unsafe {
        let here = Target::new(std::slice::from_raw_parts_mut(room.as_mut_ptr(), len));
        (here, Source::of_target(here))
    };
    write(&map.with_output(Output { to: here, first: start, streams: false }));
    if head > 0 {
        to.store_part(isa, 0, from.load_part(isa, 0, head), head);
    }
    let (from, to, len) = (from.run(head, len - head), to.run(head, len - head), len - head);
    let mut i = 0;
    while i + LANES <= len {
        to.stream(isa, i, from.load(isa, i));
        i += LANES;
    }
    if i < len {
        to.store_part(isa, i, from.load_part(isa, i, len - i), len - i);
    }
}
