//! The vector kernels, for everything but a few rows of very short runs.
//!
//! ```text
//! for each few channels:
//!     fold:  sums over all of their positions, from memory into the cache      ([`folds`])
//!     turn:  the channel's coefficients                                        (arithmetic on C numbers)
//!     map:   from the cache to memory                                          ([`maps`])
//! ```
//!
//! [`sweep`] is the loop over runs of one channel, and [`groups`] takes those of neighbouring channels together; [`columns`] is
//! the loop over short runs, by vectors that go on across their ends, with what [`room`] knows of each column. [`ways`] spreads
//! the work over threads, and [`blocks`] says what is added up together.
//!
//! With a mask folds take what [`picks`] says, and maps go over everything: what does not count is cleared then.

mod blocks;
mod column_folds;
mod columns;
mod entries;
mod folds;
mod gates;
mod groups;
mod maps;
mod picks;
mod room;
mod sweep;
mod ways;

pub use entries::ChannelsFirst;

use super::dispatch::InstructionSet;
use super::masked;
use super::memory::{PerChannel, Source, Target};
use super::narrow::Narrow;
use crate::{
    Coefficients, Element, Epilogue, Gate, GradientMeans, GradientSums, Mask, Moments, Parameters, Shape, View,
    ViewMut,
};
use folds::{FoldGradients, FoldMoments, Folded};
use gates::{Plain, Rectified};
use maps::{MapGradient, MapNormalize, Output};
use picks::{All, Counted, Picks};
use ways::Pass;
pub use ways::{CACHE, Cut, LONG, by_columns};

/// The shortest run that these kernels are worth.
pub const MIN_INNER: usize = 16;

/// The shortest run that they are worth where it is all of a channel.
pub const MIN_ALONE: usize = 4;

/// Bytes of an output from which on it is written past the cache.
const STREAMED: usize = 8 << 20;

/// The same of an output that is not folded before, by one thread and by several: up to here the caches keep it for whoever
/// reads it next, and several threads are as fast.
const STREAMED_MAP: (usize, usize) = (12 << 20, 32 << 20);

/// Whether an output is written past the cache.
pub fn streams(shape: Shape, bytes: usize) -> bool {
    shape.len() * bytes >= STREAMED
}

/// The same of a map alone.
pub fn map_streams(shape: Shape, bytes: usize, threads: usize) -> bool {
    shape.len() * bytes >= if threads == 1 { STREAMED_MAP.0 } else { STREAMED_MAP.1 }
}

fn cut<E: Element>(shape: Shape, tensors: usize) -> Cut {
    let bytes = size_of::<E>();
    Cut::new(shape, tensors, bytes, rayon::current_num_threads())
}

fn output<'a, E: Element>(shape: Shape, data: &'a mut [E]) -> Output<'a, E> {
    // SAFETY: the ways give every element to one thread.
    Output { to: unsafe { Target::new(data) }, streams: streams(shape, size_of::<E>()) }
}

/// How a fold is cut, with a mask or without.
fn cut_fold<E: Element>(shape: Shape, tensors: usize, masked: bool) -> Cut {
    let cut = if masked { Cut::masked } else { Cut::new };
    cut(shape, tensors, size_of::<E>(), rayon::current_num_threads())
}

fn moments<E: Element>(set: InstructionSet, x: View<'_, E>, moments: &mut [Moments]) {
    fn with<E: Element, K: Picks>(
        set: InstructionSet,
        cut: Cut,
        x: View<'_, E>,
        picks: K,
        moments: &mut [Moments],
    ) {
        let (shape, fold) = (x.shape(), FoldMoments::new(Source::new(x.data()), picks));
        ways::fold_channels(set, shape, cut, &fold, 0..shape.channels(), |channel, total| {
            moments[channel] = total;
        });
    }
    let (shape, mask) = (x.shape(), masked::partial(x.mask()));
    let cut = cut_fold::<E>(shape, 1, mask.is_some());
    match mask {
        None => with(set, cut, x, All, moments),
        Some(mask) => with(set, cut, x, Counted::new(shape, mask).picks(), moments),
    }
}

fn gradient_sums<E: Element>(
    set: InstructionSet,
    coefficients: &[Coefficients],
    x: Option<View<'_, E>>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    sums: &mut [GradientSums],
) {
    fn with<E: Element, F: Folded<Total = GradientSums, Element = E>>(
        set: InstructionSet,
        shape: Shape,
        cut: Cut,
        fold: &F,
        sums: &mut [GradientSums],
    ) {
        ways::fold_channels(set, shape, cut, fold, 0..shape.channels(), |channel, total| {
            sums[channel] = total;
        });
    }
    let (shape, mask) = (dy.shape(), masked::partial(dy.mask()));
    let cut = cut_fold::<E>(shape, 2, mask.is_some());
    let (x, dy) = (x.map(|x| Source::new(x.data())), Source::new(dy.data()));
    let counted = mask.map(|mask| Counted::new(shape, mask));
    match (Rectified::of_gate(gate, x), &counted) {
        (None, None) => {
            with(set, shape, cut, &FoldGradients::new(coefficients, x, dy, Plain, All), sums);
        }
        (Some(gate), None) => {
            with(set, shape, cut, &FoldGradients::new(coefficients, x, dy, gate, All), sums);
        }
        (None, Some(counted)) => {
            let fold = FoldGradients::new(coefficients, x, dy, Plain, counted.picks());
            with(set, shape, cut, &fold, sums);
        }
        (Some(gate), Some(counted)) => {
            let fold = FoldGradients::new(coefficients, x, dy, gate, counted.picks());
            with(set, shape, cut, &fold, sums);
        }
    }
}

/// Where x is: a tensor of its own, or what y overwrites.
pub enum From<'a, E> {
    View(View<'a, E>),
    InPlace,
}

impl<'a, E: Element> From<'a, E> {
    fn mask(&self) -> Option<Mask<'a>> {
        match self {
            From::View(x) => x.mask(),
            From::InPlace => None,
        }
    }

    fn source<'s>(&'s self, y: Output<'s, E>) -> Source<'s, E> {
        match self {
            From::View(x) => Source::new(x.data()),
            // SAFETY: a thread reads the channels that it writes, before it writes them.
            From::InPlace => unsafe { Source::of_target(y.to) },
        }
    }
}

fn normalize<E: Element>(
    set: InstructionSet,
    coefficients: &[Coefficients],
    x: From<'_, E>,
    epilogue: Epilogue<'_, E>,
    mut y: ViewMut<'_, E>,
) {
    let shape = y.shape();
    let streams = map_streams(shape, size_of::<E>(), rayon::current_num_threads());
    let mask = x.mask();
    let out = Output { streams, ..output(shape, y.data()) };
    let x = x.source(out);
    let cut = cut::<E>(shape, 1);
    E::with_narrows(coefficients.len(), |narrows| {
        for (narrow, coefficients) in narrows.iter_mut().zip(coefficients) {
            *narrow = Narrow::new(coefficients, None);
        }
        let channels = 0..shape.channels();
        match Rectified::of_epilogue(epilogue) {
            None => {
                let map = MapNormalize { x, end: Plain, y: out };
                ways::map_channels(set, shape, cut, &map, channels, narrows, false);
            }
            Some(end) => {
                let map = MapNormalize { x, end, y: out };
                ways::map_channels(set, shape, cut, &map, channels, narrows, false);
            }
        }
    });
    masked::clear(shape, mask, y.data());
}

fn input_gradient<E: Element>(
    set: InstructionSet,
    coefficients: &[Coefficients],
    batch: Option<(View<'_, E>, &[GradientMeans])>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    mut dx: ViewMut<'_, E>,
    mut d_addend: Option<ViewMut<'_, E>>,
) {
    let shape = dy.shape();
    let x = batch.map(|(x, _)| Source::new(x.data()));
    let mask = dy.mask();
    pass_on(gate, dy, d_addend.as_mut());
    let (dy, out) = (Source::new(dy.data()), output(shape, dx.data()));
    let to_addend = d_addend.as_mut().map(|d_addend| output(shape, d_addend.data()).to);
    let cut = cut::<E>(shape, 2);
    E::with_narrows(coefficients.len(), |narrows| {
        for (channel, (narrow, coefficients)) in narrows.iter_mut().zip(coefficients).enumerate() {
            *narrow = Narrow::new(coefficients, batch.map(|(_, means)| &means[channel]));
        }
        let channels = 0..shape.channels();
        match Rectified::of_gate(gate, x) {
            None => {
                let map = MapGradient { x, dy, gate: Plain, dx: out, d_addend: None };
                ways::map_channels(set, shape, cut, &map, channels, narrows, false);
            }
            Some(gate) => {
                let map = MapGradient { x, dy, gate, dx: out, d_addend: to_addend };
                ways::map_channels(set, shape, cut, &map, channels, narrows, false);
            }
        }
    });
    masked::clear(shape, mask, dx.data());
    if let Some(mut d_addend) = d_addend {
        masked::clear(shape, mask, d_addend.data());
    }
}

/// Without a gate the addend's gradient is dy.
fn pass_on<E: Element>(gate: Gate<'_, E>, dy: View<'_, E>, d_addend: Option<&mut ViewMut<'_, E>>) {
    if let (Gate::None, Some(d_addend)) = (gate, d_addend) {
        d_addend.data().copy_from_slice(dy.data());
    }
}

/// Moments become coefficients.
#[derive(Clone, Copy)]
struct Forward<'a, P: crate::Real> {
    eps: f64,
    parameters: Parameters<'a, P>,
    moments: PerChannel<'a, Moments>,
    coefficients: PerChannel<'a, Coefficients>,
}

impl<P: crate::Real> Forward<'_, P> {
    fn turn(&self, channel: usize, total: &Moments) -> Narrow<P> {
        let coefficients = Coefficients::of_batch(total, self.eps, self.parameters.of(channel));
        self.moments.set(channel, *total);
        self.coefficients.set(channel, coefficients);
        Narrow::new(&coefficients, None)
    }
}

/// A forward pass of tensors of `E`.
#[derive(Clone, Copy)]
struct ForwardPass<'a, E: Element>(Forward<'a, E::Parameter>);

impl<E: Element> Pass for ForwardPass<'_, E> {
    type Total = Moments;
    type Element = E;
    #[inline(always)]
    fn turn(&self, channel: usize, total: &Moments) -> Narrow<E::Parameter> {
        self.0.turn(channel, total)
    }
}

#[allow(clippy::too_many_arguments, reason = "the operands of a forward pass")]
fn forward_train<E: Element>(
    set: InstructionSet,
    eps: f64,
    parameters: Parameters<'_, E::Parameter>,
    x: From<'_, E>,
    epilogue: Epilogue<'_, E>,
    mut y: ViewMut<'_, E>,
    moments: &mut [Moments],
    coefficients: &mut [Coefficients],
) {
    let shape = y.shape();
    let y = output(shape, y.data());
    let x = x.source(y);
    // SAFETY: the ways give every channel to one thread.
    let (moments, coefficients) = unsafe { (PerChannel::new(moments), PerChannel::new(coefficients)) };
    let pass = ForwardPass::<E>(Forward { eps, parameters, moments, coefficients });
    let (fold, cut) = (FoldMoments::new(x, All), cut::<E>(shape, 1));
    match Rectified::of_epilogue(epilogue) {
        None => ways::fold_and_map(set, shape, cut, &pass, &fold, &MapNormalize { x, end: Plain, y }),
        Some(end) => ways::fold_and_map(set, shape, cut, &pass, &fold, &MapNormalize { x, end, y }),
    }
}

/// Sums become means.
#[derive(Clone, Copy)]
struct BackwardPass<'a, E> {
    coefficients: &'a [Coefficients],
    count: u64,
    sums: PerChannel<'a, GradientSums>,
    of: std::marker::PhantomData<E>,
}

impl<E: Element> Pass for BackwardPass<'_, E> {
    type Total = GradientSums;
    type Element = E;
    #[inline(always)]
    fn turn(&self, channel: usize, total: &GradientSums) -> Narrow<E::Parameter> {
        self.sums.set(channel, *total);
        Narrow::new(&self.coefficients[channel], Some(&total.means(self.count)))
    }
}

#[allow(clippy::too_many_arguments, reason = "the tensors of a backward pass")]
fn backward<E: Element>(
    set: InstructionSet,
    coefficients: &[Coefficients],
    count: u64,
    x: View<'_, E>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    mut dx: ViewMut<'_, E>,
    mut d_addend: Option<ViewMut<'_, E>>,
    sums: &mut [GradientSums],
) {
    let shape = dy.shape();
    pass_on(gate, dy, d_addend.as_mut());
    let (x, dy, dx) = (Source::new(x.data()), Source::new(dy.data()), output(shape, dx.data()));
    let d_addend = d_addend.as_mut().map(|d_addend| output(shape, d_addend.data()).to);
    // SAFETY: the ways give every channel to one thread.
    let sums = unsafe { PerChannel::new(sums) };
    let pass = BackwardPass { coefficients, count, sums, of: std::marker::PhantomData };
    let cut = cut::<E>(shape, 2);
    match Rectified::of_gate(gate, Some(x)) {
        None => {
            let fold = FoldGradients::new(coefficients, Some(x), dy, Plain, All);
            let map = MapGradient { x: Some(x), dy, gate: Plain, dx, d_addend: None };
            ways::fold_and_map(set, shape, cut, &pass, &fold, &map);
        }
        Some(gate) => {
            let fold = FoldGradients::new(coefficients, Some(x), dy, gate, All);
            let map = MapGradient { x: Some(x), dy, gate, dx, d_addend };
            ways::fold_and_map(set, shape, cut, &pass, &fold, &map);
        }
    }
}
