//! The one loop of all kernels: over a run of one channel, a fold, a map, or both at once.
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

use super::super::lanes::{Isa, LANES};

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
}

/// A fold: sums over the elements of a channel.
pub trait Fold: Copy + Sync {
    /// What it needs to know of a channel in a block.
    type Channel: Copy;
    /// The same, in vectors.
    type Constants<I: Isa>: Copy;
    /// The lanes of a channel's sums.
    type Sums<I: Isa>: Copy;

    /// The same of the `len` elements from `start` on, which are element 0 and so on then.
    fn run(self, start: usize, len: usize) -> Self;
    /// The channel's constants.
    fn constants<I: Isa>(&self, isa: I, channel: &Self::Channel) -> Self::Constants<I>;
    /// Sums of nothing.
    fn zero<I: Isa>(&self, isa: I) -> Self::Sums<I>;
    /// Folds [`LANES`] elements.
    fn whole<I: Isa>(&self, isa: I, constants: &Self::Constants<I>, sums: &mut Self::Sums<I>, i: usize);
    /// Folds `len < LANES` elements.
    fn part<I: Isa>(
        &self,
        isa: I,
        constants: &Self::Constants<I>,
        sums: &mut Self::Sums<I>,
        i: usize,
        len: usize,
    );
    /// Asks for the line of element `i`, which need not exist.
    fn prefetch<I: Isa>(&self, isa: I, i: usize);
}

/// A map: elements of a channel to others.
pub trait Map: Copy + Sync {
    /// What it needs to know of a channel.
    type Channel: Copy;
    /// The same, in vectors.
    type Constants<I: Isa>: Copy;

    /// The same of the `len` elements from `start` on, which are element 0 and so on then.
    fn run(self, start: usize, len: usize) -> Self;
    /// The channel's constants.
    fn constants<I: Isa>(&self, isa: I, channel: &Self::Channel) -> Self::Constants<I>;
    /// Maps [`LANES`] elements.
    fn whole<I: Isa>(&self, isa: I, constants: &Self::Constants<I>, i: usize);
    /// Maps `len < LANES` elements.
    fn part<I: Isa>(&self, isa: I, constants: &Self::Constants<I>, i: usize, len: usize);
    /// How many of the `len` elements from `i` on are mapped before the first whole vector.
    fn until_line(&self, i: usize, len: usize) -> usize;
}

/// Folds the `len` elements from `start` on.
#[inline(always)]
pub fn fold<I: Isa, F: Fold>(
    isa: I,
    fold: &F,
    channel: &F::Channel,
    sums: &mut F::Sums<I>,
    start: usize,
    len: usize,
    ahead: Ahead,
) {
    // Copies, which no store can change: they stay in registers.
    let (fold, constants) = (fold.run(start, len), fold.constants(isa, channel));
    let mut lanes = *sums;
    let mut i = 0;
    while i + LANES <= len {
        if i >= ahead.until {
            fold.prefetch(isa, ahead.then.wrapping_add(i));
        }
        fold.whole(isa, &constants, &mut lanes, i);
        i += LANES;
    }
    if i < len {
        fold.part(isa, &constants, &mut lanes, i, len - i);
    }
    *sums = lanes;
}

/// Maps the `len` elements from `start` on.
#[inline(always)]
pub fn map<I: Isa, M: Map>(isa: I, map: &M, channel: &M::Channel, start: usize, len: usize) {
    let constants = map.constants(isa, channel);
    let head = map.until_line(start, len).min(len);
    if head > 0 {
        map.run(start, head).part(isa, &constants, 0, head);
    }
    let len = len - head;
    let map = map.run(start + head, len);
    let mut i = 0;
    while i + LANES <= len {
        map.whole(isa, &constants, i);
        i += LANES;
    }
    if i < len {
        map.part(isa, &constants, i, len - i);
    }
}

/// Maps the `len` elements from `to` on, and folds as many from `from` on.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "two loops in one")]
pub fn both<I: Isa, F: Fold, M: Map>(
    isa: I,
    fold: &F,
    fold_channel: &F::Channel,
    sums: &mut F::Sums<I>,
    from: usize,
    map: &M,
    map_channel: &M::Channel,
    to: usize,
    len: usize,
    ahead: Ahead,
) {
    let (fold_constants, map_constants) = (fold.constants(isa, fold_channel), map.constants(isa, map_channel));
    let mut lanes = *sums;
    let head = map.until_line(to, len).min(len);
    if head > 0 {
        map.run(to, head).part(isa, &map_constants, 0, head);
    }
    let rest = len - head;
    let (fold_run, map) = (fold.run(from, rest), map.run(to + head, rest));
    let mut i = 0;
    while i + LANES <= rest {
        if i >= ahead.until {
            fold_run.prefetch(isa, ahead.then.wrapping_add(i));
        }
        fold_run.whole(isa, &fold_constants, &mut lanes, i);
        map.whole(isa, &map_constants, i);
        i += LANES;
    }
    if i < rest {
        map.part(isa, &map_constants, i, rest - i);
    }
    // What the map was ahead, and what is no whole vector.
    let (fold, rest) = (fold.run(from + i, len - i), len - i);
    let mut i = 0;
    while i + LANES <= rest {
        fold.whole(isa, &fold_constants, &mut lanes, i);
        i += LANES;
    }
    if i < rest {
        fold.part(isa, &fold_constants, &mut lanes, i, rest - i);
    }
    *sums = lanes;
}
