//! The loop over runs of one channel: a fold, a map, or both at once.
//!
//! ```text
//! for each 16 elements:   map those of this channel;   fold those of the channel that comes next
//! ```
//!
//! A map writes and a fold reads from memory, so together they keep it busy both ways, as a copy does: a map of what is in
//! the cache alone, or a fold alone, reaches about half of that.
//!
//! Deviations from this pseudo-code:
//! 1. Stores begin at the beginning of a line, so a map may run a few elements ahead of the fold beside it.
//! 2. Towards the end of what lies together, lines [`AHEAD`] elements further on in what is folded next are asked for: the
//!    processor foresees lines within a run, but not where the next one begins.
//! 3. Where runs of neighbouring channels are mapped together, the last vector of a run goes on into the next one, with the
//!    constants of both: so every line is written once, as a whole, in the order of memory, wherever runs end.

use std::ops::Range;

use super::super::lanes::{Isa, LANES, Lanes, Wide};
use super::super::memory::{Part, Run};
use super::super::narrow::Narrow;
use super::gates::Affine;
use super::room::{Computed, Known};
use crate::Element;

/// How far ahead lines are asked for, in elements.
pub const AHEAD: usize = 512;

/// Which elements are asked for at the end of a run, after `until` of its elements: those from `then` on, the beginning of
/// the run that is folded next. `then` is a distance from the beginning of this run, which wraps around.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    pub until: usize,
    pub then: usize,
}

impl Ahead {
    pub const NOTHING: Self = Self { until: usize::MAX, then: 0 };

    /// Asks for the line that belongs to element `i`.
    #[inline(always)]
    fn ask<I: Isa, F: Fold>(&self, isa: I, fold: &F, i: usize) {
        if i >= self.until {
            fold.prefetch(isa, self.then.wrapping_add(i));
        }
    }
}

/// The lanes of a sum, and of a sum of products.
#[derive(Clone, Copy)]
pub struct Sums<W> {
    pub sum: W,
    pub products: W,
}

impl<W: Wide> Sums<W> {
    /// Of nothing.
    #[inline(always)]
    pub fn zero<I: Isa<F64 = W>>(isa: I) -> Self {
        Self { sum: isa.splat_f64(0.0), products: isa.splat_f64(0.0) }
    }

    /// The sums of the lanes.
    #[inline(always)]
    pub fn totals(&self) -> Sums<f64> {
        Sums { sum: self.sum.total(), products: self.products.total() }
    }
}

/// A fold: sums over the elements of a channel.
pub trait Fold: Copy + Sync {
    type Element: Element;
    /// What it needs to know of a channel in a block.
    type Channel: Copy;
    /// The same, in vectors.
    type Constants<I: Isa>: Copy;

    /// The same of a part of the elements, which are element 0 and so on then.
    fn part(self, part: impl Part) -> Self;
    /// The same of the `len` elements from `start` on.
    #[inline(always)]
    fn run(self, start: usize, len: usize) -> Self {
        self.part(Run { start, len })
    }
    /// The channel's constants.
    fn constants<I: Isa>(&self, isa: I, channel: &Self::Channel) -> Self::Constants<I>;
    /// The constants of the columns from `i` on.
    fn constants_of<I: Isa>(
        &self,
        isa: I,
        columns: &Known<'_, Computed<Self::Element>>,
        i: usize,
        len: Option<usize>,
    ) -> Self::Constants<I>;
    /// Folds the elements from `i` on: [`LANES`], or `Some(len)`.
    fn step<I: Isa>(
        &self,
        isa: I,
        constants: &Self::Constants<I>,
        sums: &mut Sums<I::F64>,
        i: usize,
        len: Option<usize>,
    );
    /// Tensors that it reads, at most.
    const TENSORS: usize;
    /// Whether the elements of a few rows are added up in what maps compute in, before their sums enter those in f64.
    const NEAR: bool = size_of::<Self::Element>() < size_of::<f64>();
    /// Such a step, about the mean of `constants`.
    fn step_near<I: Isa>(
        &self,
        isa: I,
        constants: &Affine<Computing<Self::Element, I>>,
        sums: &mut Sums<Computing<Self::Element, I>>,
        i: usize,
        len: Option<usize>,
    );
    /// Asks for the line of element `i`, which need not exist.
    fn prefetch<I: Isa>(&self, isa: I, i: usize);
    /// How many elements are `bytes` of all of its tensors.
    fn elements_of(&self, bytes: usize) -> usize;
}

/// Vectors of what maps compute in.
pub type Computing<E, I> = <E as Lanes>::V<I>;

/// A map: elements of a channel to others.
pub trait Map: Copy + Sync {
    type Element: Element;
    /// The channel's constants, in vectors.
    type Constants<I: Isa>: Copy;
    /// A vector of each tensor that is written.
    type Values<I: Isa>: Copy;
    /// The fields of a [`Narrow`] that it needs: the first so many.
    const FIELDS: usize;

    /// The same of a part of the elements, which are element 0 and so on then.
    fn part(self, part: impl Part) -> Self;
    /// The same of the `len` elements from `start` on.
    #[inline(always)]
    fn run(self, start: usize, len: usize) -> Self {
        self.part(Run { start, len })
    }
    /// Constants, of the [`Narrow::fields`] by their index.
    fn constants<I: Isa>(&self, field: impl Fn(usize) -> <Self::Element as Lanes>::V<I>) -> Self::Constants<I>;
    /// What the elements from `i` on are mapped to: [`LANES`], or `Some(len)`.
    fn values<I: Isa>(
        &self,
        isa: I,
        constants: &Self::Constants<I>,
        i: usize,
        len: Option<usize>,
    ) -> Self::Values<I>;
    /// How many elements are `bytes` of all tensors that it reads.
    fn elements_of(&self, bytes: usize) -> usize;
    /// Asks for lines some way ahead of the elements from `i` on.
    fn prefetch<I: Isa>(&self, isa: I, i: usize);
    /// Writes them.
    fn write<I: Isa>(&self, isa: I, i: usize, values: Self::Values<I>, len: Option<usize>);
    /// Writes those of two whole vectors, one after the other.
    fn write_pair<I: Isa>(&self, isa: I, i: usize, values: [Self::Values<I>; 2]);
    /// Computes and writes.
    #[inline(always)]
    fn step<I: Isa>(&self, isa: I, constants: &Self::Constants<I>, i: usize, len: Option<usize>) {
        self.write(isa, i, self.values(isa, constants, i, len), len);
    }
    /// Whether it writes past the cache.
    fn streams(&self) -> bool;
    /// Whether whole vectors of runs of `len` elements may begin anywhere.
    fn anywhere(&self, len: usize) -> bool;
    /// If not, how many of the `len` elements from `i` on are mapped before the first whole vector.
    fn until_line(&self, i: usize, len: usize) -> usize;
}

/// Folds the `len` elements from `start` on.
#[inline(always)]
pub fn fold<I: Isa, F: Fold>(
    isa: I,
    fold: &F,
    channel: &F::Channel,
    sums: &mut Sums<I::F64>,
    start: usize,
    len: usize,
    ahead: Ahead,
) {
    // Copies, which no store can change: they stay in registers.
    let (fold, constants) = (fold.run(start, len), fold.constants(isa, channel));
    let mut lanes = *sums;
    let mut i = 0;
    while i + LANES <= len {
        ahead.ask(isa, &fold, i);
        fold.step(isa, &constants, &mut lanes, i, None);
        i += LANES;
    }
    if i < len {
        fold.step(isa, &constants, &mut lanes, i, Some(len - i));
    }
    *sums = lanes;
}

/// The constants of one channel.
#[inline(always)]
fn of_channel<I: Isa, M: Map>(isa: I, map: &M, channel: &Narrow<Computed<M::Element>>) -> M::Constants<I> {
    let fields = channel.fields();
    map.constants(
        #[inline(always)]
        |field| M::Element::splat(isa, fields[field]),
    )
}

/// A run that is mapped, and what lies beyond it.
#[derive(Clone, Copy)]
pub struct Mapped<'n, P> {
    pub channel: &'n Narrow<P>,
    /// Its elements. The first ones may have been mapped already.
    pub start: usize,
    pub end: usize,
    /// The length of the whole run.
    pub run: usize,
}

/// Begins a run's map, up to the beginning of a line; returns its constants, and where the whole vectors begin.
#[inline(always)]
fn begin<I: Isa, M: Map>(isa: I, map: &M, run: &Mapped<'_, Computed<M::Element>>) -> (M::Constants<I>, usize) {
    let constants = of_channel(isa, map, run.channel);
    let head = map.until_line(run.start, run.run).min(run.end - run.start);
    if head > 0 {
        map.run(run.start, head).step(isa, &constants, 0, Some(head));
    }
    (constants, run.start + head)
}

/// Maps what is left of a run from `start` on. Its last vector goes on into the next run, if there is one and it is long enough:
/// `next` says whose it is, and its length. Returns where it ends.
#[inline(always)]
fn finish<'n, I: Isa, M: Map>(
    isa: I,
    map: &M,
    run: &Mapped<'_, Computed<M::Element>>,
    constants: &M::Constants<I>,
    start: usize,
    next: impl FnOnce() -> Option<(&'n Narrow<Computed<M::Element>>, usize)>,
) -> usize {
    let len = run.end - start;
    let of_run = map.run(start, len);
    let mut i = 0;
    while i + LANES <= len {
        of_run.step(isa, constants, i, None);
        i += LANES;
    }
    let left = len - i;
    if left == 0 {
        return run.end;
    }
    match next() {
        Some((next, of_next)) if left + of_next >= LANES => {
            let (first, then) = (run.channel.fields(), next.fields());
            let constants = map.constants(
                #[inline(always)]
                |field| M::Element::splat_two(isa, first[field], left, then[field]),
            );
            map.run(start + i, LANES).step(isa, &constants, 0, None);
            start + i + LANES
        }
        _ => {
            of_run.step(isa, constants, i, Some(left));
            run.end
        }
    }
}

/// Maps a run. Returns where it ends.
#[inline(always)]
pub fn map<'n, I: Isa, M: Map>(
    isa: I,
    map: &M,
    run: &Mapped<'_, Computed<M::Element>>,
    next: impl FnOnce() -> Option<(&'n Narrow<Computed<M::Element>>, usize)>,
) -> usize {
    let (constants, start) = begin(isa, map, run);
    finish(isa, map, run, &constants, start, next)
}

/// Maps whole runs of consecutive channels, from `channel` on, whose vectors are whole and may begin anywhere: as a plain loop
/// would, which is what short runs of small tensors take most of their time for.
#[inline(always)]
pub fn map_whole<I: Isa, M: Map>(
    isa: I,
    map: &M,
    channels: &[Narrow<Computed<M::Element>>],
    mut channel: usize,
    elements: Range<usize>,
    run: usize,
) {
    let len = elements.len();
    let map = map.run(elements.start, len);
    let mut i = 0;
    while i + run <= len {
        let constants = of_channel(isa, &map, &channels[channel]);
        let end = i + run;
        while i + LANES <= end {
            map.step(isa, &constants, i, None);
            i += LANES;
        }
        channel = if channel + 1 == channels.len() { 0 } else { channel + 1 };
    }
}

/// Maps a run, and folds the `len` elements from `from` on. Returns where the map ends.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "two loops in one")]
pub fn both<'n, I: Isa, F: Fold, M: Map<Element = F::Element>>(
    isa: I,
    fold: &F,
    fold_channel: &F::Channel,
    sums: &mut Sums<I::F64>,
    from: usize,
    len: usize,
    ahead: Ahead,
    map: &M,
    run: &Mapped<'_, Computed<M::Element>>,
    next: impl FnOnce() -> Option<(&'n Narrow<Computed<M::Element>>, usize)>,
) -> usize {
    let fold_constants = fold.constants(isa, fold_channel);
    let (map_constants, to) = begin(isa, map, run);
    let mut lanes = *sums;
    let together = len.min(run.end - to);
    let (fold_run, of_run) = (fold.run(from, together), map.run(to, together));
    let mut i = 0;
    while i + LANES <= together {
        ahead.ask(isa, &fold_run, i);
        fold_run.step(isa, &fold_constants, &mut lanes, i, None);
        of_run.step(isa, &map_constants, i, None);
        i += LANES;
    }
    let end = finish(isa, map, run, &map_constants, to + i, next);
    // What the map was ahead, and what is no whole vector.
    let (fold, rest) = (fold.run(from + i, len - i), len - i);
    let mut i = 0;
    while i + LANES <= rest {
        fold.step(isa, &fold_constants, &mut lanes, i, None);
        i += LANES;
    }
    if i < rest {
        fold.step(isa, &fold_constants, &mut lanes, i, Some(rest - i));
    }
    *sums = lanes;
    end
}
