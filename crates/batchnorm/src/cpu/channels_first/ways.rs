//! How the work of a call is spread: over channels, or over the positions of a few of them.
//!
//! ```text
//! by channels:    each thread takes neighbouring channels; while one group is mapped, the next one is folded (of columns, a
//!                 group is folded, then mapped)
//! by positions:   all threads fold the same few channels, then all map them; those that fit the cache at a time
//! ```
//!
//! Which way it goes never shows in a bit: blocks are folded as the shape says, and merged in their order.

use std::ops::Range;

use rayon::prelude::*;

use super::super::dispatch::{InstructionSet, Job, on};
use super::super::lanes::{Isa, LANES, Lanes};
use super::super::memory::PerChannel;
use super::super::narrow::Narrow;
use super::blocks::{Blocks, TALL};
use super::folds::Folded;
use super::groups::{self, MOST};
use super::room::Computed;
use super::sweep::{self, Map, Mapped};
use super::{MIN_INNER, column_folds, columns};
use crate::scratch::{self, Scratch};
use crate::{Element, Shape};

/// A fold, a map, and what of the fold's result the map needs.
pub trait Pass: Copy + Sync {
    type Total: Copy + Default + Send + Sync + Scratch;
    type Element: Element;
    /// Keeps a channel's result, and returns what it is mapped with.
    fn turn(&self, channel: usize, total: &Self::Total) -> Narrow<<Self::Element as Element>::Parameter>;
}

/// How a call's work is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Whether vectors of columns are folded.
    pub columns: bool,
    /// Channels that are taken together.
    pub group: usize,
    /// Ranges of channels that different threads take; 0 to cut by positions.
    pub strips: usize,
    /// By positions: channels that fit the cache together.
    pub chunk: usize,
    /// Whether one thread does it all.
    pub alone: bool,
}

/// Bytes of the runs of a group in a row.
const GROUP_ROW: usize = 64 * 1024;

/// The same of columns: what is known of them fits the first caches, too.
const COLUMNS_ROW: usize = 4 * 1024;

/// The fewest columns of a group, if there are so many: what is read of a row at once.
const FEWEST_COLUMNS: usize = columns::FEWEST;

/// Runs from this length on are folded one by one.
pub const LONG: usize = 64;

/// Bytes of a group: what of it is read stays in the cache until it is mapped. One thread alone has more of the cache.
const GROUP: (usize, usize) = (3 << 20, 3 << 19);

/// Bytes that all threads together keep in cache between fold and map.
pub const CACHE: usize = 16 << 20;

/// Elements up to which one thread is as fast as several.
const SMALL: usize = 32 * 1024;

/// Groups that a thread takes in a row, where there are so many: the first is only folded, the last only mapped.
const GROUPS_OF_STRIP: usize = 16;

impl Cut {
    /// Whether a channel, or as many as are folded together, stays in the cache until it is mapped.
    pub fn keeps(&self, shape: Shape, tensors: usize, bytes: usize) -> bool {
        self.strips > 0 || self.chunk * shape.positions() * tensors * bytes <= CACHE
    }

    /// For tensors of `shape`, of which `tensors` are read, elements of `bytes` each.
    pub fn new(shape: Shape, tensors: usize, bytes: usize, threads: usize) -> Self {
        Self::by(by_columns(shape), shape, tensors, bytes, threads)
    }

    /// The same of a fold with a mask: of runs longer than one element, each channel's are folded on their own.
    pub fn masked(shape: Shape, tensors: usize, bytes: usize, threads: usize) -> Self {
        Self::by(shape.inner() == 1, shape, tensors, bytes, threads)
    }

    fn by(columns: bool, shape: Shape, tensors: usize, bytes: usize, threads: usize) -> Self {
        let (channels, run) = (shape.channels(), shape.inner().max(1));
        let of_channel = shape.positions() * tensors * bytes;
        let alone = threads <= 1 || shape.len() <= SMALL;
        let threads = if alone { 1 } else { threads };
        if columns && run < MIN_INNER && (shape.outer() >= TALL || channels * run < FEWEST_COLUMNS) {
            return Self::tall(shape, bytes, threads);
        }
        let most = if alone { GROUP.0 } else { GROUP.1 } / of_channel.max(1);
        let mut group = if columns {
            (COLUMNS_ROW / (run * bytes)).min(most).max(FEWEST_COLUMNS.div_ceil(run))
        } else {
            (GROUP_ROW / (run * bytes)).min(most).clamp(1, MOST)
        };
        let fits = of_channel <= CACHE / threads;
        // The last of the threads' ranges of channels may be shorter: what the others wait for is lost.
        let lost = channels.div_ceil(threads) * threads * 8 > channels * 9;
        let strips = if !fits || lost {
            0
        } else {
            // Several a thread where there are many groups: a thread that is held up leaves the others some.
            let groups = channels.div_ceil(threads) / group.min(channels.div_ceil(threads));
            threads * if alone { 1 } else { (groups / GROUPS_OF_STRIP).clamp(1, 4) }
        };
        if strips > 0 {
            group = group.min(channels.div_ceil(strips)).max(1);
        } else if columns {
            group = (COLUMNS_ROW / (run * bytes)).max(1);
        }
        let chunk = if fits && strips > 0 { channels } else { (CACHE / of_channel.max(1)).clamp(1, channels) };
        Self { columns, group, strips, chunk, alone }
    }
}

impl Cut {
    /// Of a tall tensor: by positions, and all channels together, as memory wants to be read in order.
    fn tall(shape: Shape, bytes: usize, threads: usize) -> Self {
        let (channels, run) = (shape.channels(), shape.inner());
        // Several units a thread, if only some columns of all rows.
        let blocks = Blocks::new(shape).count();
        let units = if threads == 1 { 1 } else { (2 * threads).div_ceil(blocks) };
        let columns = (channels * run).div_ceil(units).next_multiple_of(FEWEST_COLUMNS);
        let group = (columns.min(COLUMNS_ROW / bytes) / run).max(1);
        Self { columns: true, group, strips: 0, chunk: channels, alone: threads == 1 }
    }
}

/// Whether vectors of columns are folded, across the ends of runs: where those are short, and rows not so few that it is not worth
/// to know each column. Of the shortest runs, narrow rows are joined.
pub fn by_columns(shape: Shape) -> bool {
    let (row, rows) = (shape.channels() * shape.inner(), shape.outer());
    let enough = if row >= FEWEST_COLUMNS { columns::ROWS } else { FEWEST_COLUMNS };
    let joined = row >= FEWEST_COLUMNS || shape.inner() < MIN_INNER;
    shape.inner() < LONG && joined && rows >= enough
}

/// The groups of `channels`.
fn groups(channels: Range<usize>, group: usize) -> impl Iterator<Item = Range<usize>> {
    let end = channels.end;
    channels.step_by(group.max(1)).map(move |start| start..(start + group).min(end))
}

/// Calls `job(i)` for `i` in `0..count`, on all threads unless `alone`.
fn for_each(alone: bool, count: usize, job: impl Fn(usize) + Sync + Send) {
    if alone || count <= 1 {
        (0..count).for_each(job);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(job);
    }
}

/// A thread's range of channels: while one group is mapped, the next one is folded.
struct Strip<'p, P, F, M> {
    pass: &'p P,
    fold: &'p F,
    map: &'p M,
    blocks: Blocks,
    channels: Range<usize>,
    group: usize,
}

/// Of channels taken in groups of `group`: the next group after `mapped`, which is folded while that one is mapped.
#[inline(always)]
fn next_group(channels: &Range<usize>, mapped: &Range<usize>, group: usize) -> Range<usize> {
    mapped.end..(mapped.end + group).min(channels.end)
}

impl<P, F, M> Job for Strip<'_, P, F, M>
where
    P: Pass<Total = F::Total, Element = F::Element>,
    F: Folded,
    M: Map<Element = F::Element>,
{
    type Output = ();
    const BF16: bool = M::Element::BF16;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let Self { pass, fold, map, blocks, channels, group } = self;
        let mut narrows = [Narrow::default(); MOST];
        let mut mapped = channels.start..channels.start;
        loop {
            let folded = next_group(&channels, &mapped, group);
            if folded.is_empty() && mapped.is_empty() {
                break;
            }
            let mut totals = [P::Total::default(); MOST];
            for i in 0..blocks.count() {
                groups::block(isa, &blocks.get(i), fold, &folded, &mut totals, map, &mapped, &narrows);
            }
            for (j, channel) in folded.clone().enumerate() {
                narrows[j] = pass.turn(channel, &totals[j]);
            }
            mapped = folded;
        }
        isa.fence();
    }
}

/// A thread's range of channels by columns: a group after the other, folded, then mapped.
fn strip_of_columns<P, F, M>(set: InstructionSet, shape: Shape, strip: Strip<'_, P, F, M>)
where
    P: Pass<Total = F::Total, Element = F::Element>,
    F: Folded,
    M: Map<Element = F::Element>,
{
    let Strip { pass, fold, map, blocks, channels, group } = strip;
    <P::Element as Lanes>::with_narrows(group, |narrows| {
        for channels in groups(channels, group) {
            scratch::with(channels.len(), P::Total::default(), |totals| {
                for block in 0..blocks.count() {
                    column_folds::fold(set, fold, &blocks, block, channels.clone(), totals);
                }
                for ((narrow, total), channel) in narrows.iter_mut().zip(totals).zip(channels.clone()) {
                    *narrow = pass.turn(channel, total);
                }
            });
            columns::map(set, map, shape, &narrows[..channels.len()], channels, 0..shape.outer());
        }
    });
}

/// A fold and a map of everything.
pub fn fold_and_map<P, F, M>(set: InstructionSet, shape: Shape, cut: Cut, pass: &P, fold: &F, map: &M)
where
    P: Pass<Total = F::Total, Element = F::Element>,
    F: Folded,
    M: Map<Element = F::Element>,
{
    let (channels, blocks, group) = (shape.channels(), Blocks::new(shape), cut.group);
    if cut.strips > 0 {
        return for_each(cut.alone, cut.strips, |strip| {
            let channels = channels * strip / cut.strips..channels * (strip + 1) / cut.strips;
            let strip = Strip { pass, fold, map, blocks, channels, group };
            if cut.columns { strip_of_columns(set, shape, strip) } else { on(set, strip) }
        });
    }
    <P::Element as Lanes>::with_narrows(channels, |narrows| {
        for chunk in groups(0..channels, cut.chunk) {
            let of_chunk = &mut narrows[chunk.clone()];
            fold_channels(set, shape, cut, fold, chunk.clone(), |channel, total| {
                of_chunk[channel - chunk.start] = pass.turn(channel, &total);
            });
            map_channels(set, shape, cut, map, chunk, narrows, true);
        }
    });
}

struct FoldUnit<'p, F: Folded> {
    fold: &'p F,
    blocks: Blocks,
    block: usize,
    channels: Range<usize>,
    totals: &'p mut [F::Total],
}

impl<F: Folded> Job for FoldUnit<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        groups::fold_block(isa, &self.blocks.get(self.block), self.fold, &self.channels, self.totals);
    }
}

/// Folds some channels, by channels and positions, and calls `keep` with each result.
pub fn fold_channels<F: Folded>(
    set: InstructionSet,
    shape: Shape,
    cut: Cut,
    fold: &F,
    channels: Range<usize>,
    mut keep: impl FnMut(usize, F::Total),
) where
    F::Total: Scratch,
{
    let (blocks, width) = (Blocks::new(shape), channels.len());
    let (per_channel, in_row) = (blocks.count(), width.div_ceil(cut.group));
    scratch::with(per_channel * width, F::Total::default(), |totals| {
        // SAFETY: every unit writes the totals of its own block and channels.
        let shared = unsafe { PerChannel::new(totals) };
        for_each(cut.alone, per_channel * in_row, |unit| {
            let (block, group) = (unit / in_row, unit % in_row);
            let first = group * cut.group;
            let of_unit = first..(first + cut.group).min(width);
            let channels = channels.start + of_unit.start..channels.start + of_unit.end;
            scratch::with(of_unit.len(), F::Total::default(), |totals| {
                if cut.columns {
                    column_folds::fold(set, fold, &blocks, block, channels, totals);
                } else {
                    on(set, FoldUnit { fold, blocks, block, channels, totals: &mut *totals });
                }
                for (channel, total) in of_unit.zip(totals) {
                    shared.set(block * width + channel, *total);
                }
            });
        });
        for channel in 0..width {
            let of_channel = (0..per_channel).map(|block| totals[block * width + channel]);
            keep(channels.start + channel, of_channel.reduce(F::merge).unwrap_or_default());
        }
    });
}

/// Elements that one call of a map takes, at least and at most: what is known of columns is laid out once a call.
const MAPPED: (usize, usize) = (32 * 1024, 256 * 1024);

/// Bytes of a row, at most, that is mapped whole: what is known of its columns stays near.
const MAPPED_ROW: usize = 32 * 1024;

/// So many calls for each thread, if there are as many elements.
const CALLS: usize = 8;

struct MapUnit<'p, M: Map> {
    map: &'p M,
    shape: Shape,
    narrows: &'p [Narrow<Computed<M::Element>>],
    elements: Range<usize>,
}

impl<M: Map> Job for MapUnit<'_, M> {
    type Output = ();
    const BF16: bool = M::Element::BF16;

    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let MapUnit { map, shape, narrows, elements } = self;
        map_runs(isa, shape, map, narrows, elements);
        isa.fence();
    }
}

/// Maps consecutive elements, run by run.
#[inline(always)]
fn map_runs<I: Isa, M: Map>(
    isa: I,
    shape: Shape,
    map: &M,
    narrows: &[Narrow<Computed<M::Element>>],
    elements: Range<usize>,
) {
    let (channels, inner) = (shape.channels(), shape.inner());
    let whole_runs = elements.start.is_multiple_of(inner) && elements.len().is_multiple_of(inner);
    if whole_runs && inner.is_multiple_of(LANES) && map.anywhere(inner) {
        return sweep::map_whole(isa, map, narrows, elements.start / inner % channels, elements, inner);
    }
    let mut start = elements.start;
    let (mut channel, mut end) = (start / inner % channels, start / inner * inner);
    while start < elements.end {
        end = (end + inner).min(elements.end);
        let next_channel = if channel + 1 == channels { 0 } else { channel + 1 };
        if start < end {
            let next = || (end < elements.end).then(|| (&narrows[next_channel], inner.min(elements.end - end)));
            start = sweep::map(isa, map, &Mapped { channel: &narrows[channel], start, end, run: inner }, next);
        }
        channel = next_channel;
    }
}

/// The unit to take in place of `unit` of `units`, so that each thread goes backwards through its own part: what it folded last is in
/// its own cache still. Threads halve what there is until each has something.
fn backwards_by_parts(unit: usize, units: usize, parts: usize) -> usize {
    let half = units / 2;
    match parts {
        0 | 1 => units - 1 - unit,
        _ if unit < half => backwards_by_parts(unit, half, parts / 2),
        _ => half + backwards_by_parts(unit - half, units - half, parts / 2),
    }
}

/// Maps some channels, from the last position to the first if `backwards`: what was folded last is in the cache still.
pub fn map_channels<M: Map>(
    set: InstructionSet,
    shape: Shape,
    cut: Cut,
    map: &M,
    channels: Range<usize>,
    narrows: &[Narrow<Computed<M::Element>>],
    backwards: bool,
) {
    let threads = if cut.alone { 1 } else { rayon::current_num_threads() };
    let parts = threads.next_power_of_two();
    let mapped = (shape.len() / (CALLS * threads)).clamp(MAPPED.0, MAPPED.1).next_multiple_of(LANES);
    let in_order =
        |units: usize, unit: usize| if backwards { backwards_by_parts(unit, units, parts) } else { unit };
    if cut.columns && shape.inner() < MIN_INNER {
        let (row, whole) = (shape.channels() * shape.inner(), channels.len() == shape.channels());
        if whole && row * size_of::<M::Element>() <= MAPPED_ROW {
            let rows = mapped.div_ceil(row);
            let units = shape.outer().div_ceil(rows);
            return columns::lay(map, shape, narrows, |laid| {
                for_each(cut.alone, units, |unit| {
                    let first = in_order(units, unit) * rows;
                    columns::map_rows(set, map, &laid, first..(first + rows).min(shape.outer()));
                });
            });
        }
        let group = (COLUMNS_ROW / (shape.inner() * size_of::<M::Element>())).clamp(1, channels.len().max(1));
        let width = group * shape.inner();
        let (in_row, rows) = (channels.len().div_ceil(group), mapped.div_ceil(width));
        let units = in_row * shape.outer().div_ceil(rows);
        return for_each(cut.alone, units, |unit| {
            let unit = in_order(units, unit);
            let (row, first) = (unit / in_row * rows, channels.start + unit % in_row * group);
            let rows = row..(row + rows).min(shape.outer());
            let channels = first..(first + group).min(channels.end);
            columns::map(set, map, shape, &narrows[channels.clone()], channels, rows);
        });
    }
    // The elements of these channels in a row lie together; all channels' rows do.
    let all = channels.len() == shape.channels();
    let (rows, row) = if all { (1, shape.len()) } else { (shape.outer(), channels.len() * shape.inner()) };
    let stride = shape.channels() * shape.inner();
    let in_row = row.div_ceil(mapped);
    let units = rows * in_row;
    for_each(cut.alone, units, |unit| {
        let unit = in_order(units, unit);
        let (row_of, part) = (unit / in_row, unit % in_row);
        let first = row_of * stride + channels.start * shape.inner();
        let elements = first + part * mapped..first + ((part + 1) * mapped).min(row);
        on(set, MapUnit { map, shape, narrows, elements });
    });
}
