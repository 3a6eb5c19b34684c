//! The two folds.
//!
//! ```text
//! moments:         d = x - shift;    sum += d;     squares += d d
//! gradient sums:   dz = gate(dy);    sum += dz;    products += dz (x - mean)
//! ```
//!
//! in f64, sixteen lanes each. Of a block of n values, with the mean of its first four as the shift,
//!
//! ```text
//! mean = shift + sum / n,    M2 = squares - sum^2 / n
//! ```
//!
//! Deviation from this pseudo-code:
//! 1. Where the shift lies many deviations from the mean, the difference cancels: then the block is folded once more, about
//!    its mean. Outliers in first place cost a second read from the cache, and no digits; nor do some whose squares overflow.
//! 2. f32 and half types are added up in f32 over the few rows that columns take at once, about a shift (or mean) that f32 holds: sums
//!    are off by at most nine roundings of 2^-24 (a difference, seven additions, one of both halves), squares by eleven, of either
//!    sign. What f32 cannot hold, squares of 1e-25 or of 1e25, shows in the sums: then the columns are folded once more, in f64, for
//!    the channels that it shows in. dz is not added up about a shift of its own: where one dy is large and the others are not, that
//!    would cost what it gains where all are alike.
//! 3. `sum` grows by a product with 1, which is exact: additions are what these loops wait for, and multipliers are idle.

use super::super::lanes::{Isa, Vector, Wide};
use super::super::memory::{Part, Source, load};
use super::super::narrow::Narrow;
use super::blocks::Block;
use super::gates::{Affine, Opening};
use super::picks::Picks;
use super::room::{Computed, Known};
use super::sweep::{Ahead, Computing, Fold, Sums, fold};
use crate::scratch::Scratch;
use crate::{Coefficients, Element, GradientSums, Moments};

/// `sum^2 / n` may be so many times M2: the difference loses four bits of 53 then.
const CANCELLATION: f64 = 4.0;

/// Of squares in f32, the smallest mean: each is off by 2^-150 at most.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64 * 64.0;

/// The largest rstd of products in f32: they are off by 2^-150 at most, and what is divided by it is not small then.
const STEEPEST: f64 = 32768.0;

/// A fold whose lanes become a channel's result.
pub trait Folded: Fold {
    type Total: Copy + Default + Send + Sync + Scratch;
    /// What the fold needs to know of channel `channel` in a block.
    fn channel(&self, channel: usize, block: &Block) -> Self::Channel;
    /// The same once more, of a channel whose elements are folded about `centre`.
    #[inline(always)]
    fn channel_about(&self, _centre: f64, channel: usize, block: &Block) -> Self::Channel {
        self.channel(channel, block)
    }
    /// What a channel's elements are folded about.
    fn centre(channel: &Self::Channel) -> f64;
    /// The coefficients that it needs to look at z, if it does.
    fn narrow(channel: &Self::Channel) -> Option<&Narrow<Computed<Self::Element>>>;
    /// The rows of a block to fold, unless those are all.
    fn rows(&self, block: &Block) -> Option<&[usize]>;
    /// Whether sums by [`Fold::step_near`] lost nothing that f64 would have held.
    fn held(&self, channel: &Self::Channel, sums: &Sums<f64>, block: &Block) -> bool;
    /// The result of a block.
    fn total<I: Isa>(
        &self,
        isa: I,
        of: &Self::Channel,
        sums: &Sums<f64>,
        channel: usize,
        block: &Block,
    ) -> Self::Total;
    /// Of two blocks, one after the other.
    fn merge(first: Self::Total, second: Self::Total) -> Self::Total;
}

/// Moments of x. A channel is its shift.
#[derive(Clone, Copy)]
pub struct FoldMoments<'a, E, K> {
    x: Source<'a, E>,
    picks: K,
    one: f64,
}

/// What is picked of a part of the elements. Rows of which parts are taken one after the other are picked as a whole.
#[inline(always)]
fn picked<K: Picks>(picks: K, part: impl Part) -> K {
    match part.as_run() {
        Some(run) => picks.run(run.start, run.len),
        None => picks,
    }
}

/// 1, which the compiler does not know.
fn one() -> f64 {
    std::hint::black_box(1.0)
}

impl<'a, E: Element, K: Picks> FoldMoments<'a, E, K> {
    pub fn new(x: Source<'a, E>, picks: K) -> Self {
        Self { x, picks, one: one() }
    }
}

#[derive(Clone, Copy)]
pub struct MomentsConstants<W> {
    shift: W,
    one: W,
}

impl<E: Element, K: Picks> Fold for FoldMoments<'_, E, K> {
    type Element = E;
    type Channel = f64;
    type Constants<I: Isa> = MomentsConstants<I::F64>;
    const TENSORS: usize = 1;

    #[inline(always)]
    fn part(self, part: impl Part) -> Self {
        Self { x: part.of(self.x), picks: picked(self.picks, part), ..self }
    }

    #[inline(always)]
    fn constants<I: Isa>(&self, isa: I, shift: &f64) -> Self::Constants<I> {
        MomentsConstants { shift: isa.splat_f64(*shift), one: isa.splat_f64(self.one) }
    }

    #[inline(always)]
    fn constants_of<I: Isa>(
        &self,
        isa: I,
        columns: &Known<'_, Computed<E>>,
        i: usize,
        len: Option<usize>,
    ) -> Self::Constants<I> {
        MomentsConstants { shift: columns.centre(isa, i, len), one: isa.splat_f64(self.one) }
    }

    #[inline(always)]
    fn step<I: Isa>(
        &self,
        isa: I,
        of: &Self::Constants<I>,
        sums: &mut Sums<I::F64>,
        i: usize,
        len: Option<usize>,
    ) {
        let mut d = self.x.load_wide(isa, i, len) - of.shift;
        if let Some(len) = len {
            d = d.first(len);
        }
        d = self.picks.keep(isa, d, i, len);
        sums.sum = d.mul_add(of.one, sums.sum);
        sums.products = d.mul_add(d, sums.products);
    }

    #[inline(always)]
    fn step_near<I: Isa>(
        &self,
        isa: I,
        of: &Affine<Computing<E, I>>,
        sums: &mut Sums<Computing<E, I>>,
        i: usize,
        len: Option<usize>,
    ) {
        let d = of.deviation(load(isa, &self.x, i, len));
        sums.sum = sums.sum + d;
        sums.products = d.mul_add(d, sums.products);
    }

    #[inline(always)]
    fn prefetch<I: Isa>(&self, isa: I, i: usize) {
        self.x.prefetch(isa, i);
    }

    #[inline(always)]
    fn elements_of(&self, bytes: usize) -> usize {
        bytes / size_of::<E>()
    }
}

impl<E: Element, K: Picks> Folded for FoldMoments<'_, E, K> {
    type Total = Moments;

    #[inline(always)]
    fn centre(shift: &f64) -> f64 {
        *shift
    }

    #[inline(always)]
    fn narrow(_: &f64) -> Option<&Narrow<Computed<E>>> {
        None
    }

    #[inline(always)]
    fn channel(&self, channel: usize, block: &Block) -> f64 {
        let shift = self.picks.first_mean(
            block,
            channel,
            #[inline(always)]
            |i| self.x.at(i).to_f64(),
        );
        if Self::NEAR { E::Parameter::from_f64(shift).to_f64() } else { shift }
    }

    #[inline(always)]
    fn channel_about(&self, shift: f64, _: usize, _: &Block) -> f64 {
        shift
    }

    #[inline(always)]
    fn rows(&self, block: &Block) -> Option<&[usize]> {
        self.picks.rows(block)
    }

    #[inline(always)]
    fn held(&self, _: &f64, sums: &Sums<f64>, block: &Block) -> bool {
        let squares = sums.products;
        squares >= self.picks.count(block) as f64 * SMALLEST && squares.is_finite()
    }

    #[inline(always)]
    fn total<I: Isa>(&self, isa: I, shift: &f64, sums: &Sums<f64>, channel: usize, block: &Block) -> Moments {
        let count = self.picks.count(block);
        if count == 0 {
            return Moments::EMPTY;
        }
        let (mean, m2, cancels) = self.moments(sums, count);
        if !cancels {
            return Moments { count: count as u64, mean: shift + mean, m2 };
        }
        let shift = shift + mean;
        let mut sums = Sums::zero(isa);
        let rows = self.picks.rows(block);
        for i in 0..rows.map_or(block.rows.len(), <[usize]>::len) {
            let row = rows.map_or(block.rows.start + i, |rows| rows[i]);
            let start = block.start(row, channel);
            fold(isa, self, &shift, &mut sums, start, block.run(), Ahead::NOTHING);
        }
        let (mean, m2, _) = self.moments(&sums.totals(), count);
        Moments { count: count as u64, mean: shift + mean, m2 }
    }

    #[inline(always)]
    fn merge(first: Moments, second: Moments) -> Moments {
        first.merge(second)
    }
}

impl<E: Element, K> FoldMoments<'_, E, K> {
    /// The mean of d, M2, and whether it lost too many digits.
    #[inline(always)]
    fn moments(&self, sums: &Sums<f64>, count: usize) -> (f64, f64, bool) {
        let Sums { sum, products: squares } = *sums;
        let mean = sum / count as f64;
        let between = sum * mean;
        let m2 = squares - between;
        // A NaN stays one.
        (mean, if m2 < 0.0 { 0.0 } else { m2 }, between > CANCELLATION * m2 || m2.is_nan())
    }
}

/// Sums of dz, and of dz (x - mean) where x is there.
#[derive(Clone, Copy)]
pub struct FoldGradients<'a, E, G, K> {
    coefficients: &'a [Coefficients],
    x: Option<Source<'a, E>>,
    dy: Source<'a, E>,
    gate: G,
    picks: K,
    one: f64,
}

impl<'a, E: Element, G, K: Picks> FoldGradients<'a, E, G, K> {
    pub fn new(
        coefficients: &'a [Coefficients],
        x: Option<Source<'a, E>>,
        dy: Source<'a, E>,
        gate: G,
        picks: K,
    ) -> Self {
        Self { coefficients, x, dy, gate, picks, one: one() }
    }
}

#[derive(Clone, Copy)]
pub struct GradientChannel<P> {
    /// What is subtracted from x, and what of the mean that leaves.
    mean: f64,
    rest: f64,
    rstd: f64,
    narrow: Narrow<P>,
}

#[derive(Clone, Copy)]
pub struct GradientConstants<V, W> {
    mean: W,
    one: W,
    affine: Affine<V>,
}

impl<E: Element, G: Opening<E>, K: Picks> Fold for FoldGradients<'_, E, G, K> {
    type Element = E;
    type Channel = GradientChannel<E::Parameter>;
    type Constants<I: Isa> = GradientConstants<E::V<I>, I::F64>;
    const TENSORS: usize = 2;

    #[inline(always)]
    fn part(self, part: impl Part) -> Self {
        let (x, dy) = (self.x.map(|x| part.of(x)), part.of(self.dy));
        let (gate, picks) = (self.gate.part(part), picked(self.picks, part));
        Self { x, dy, gate, picks, ..self }
    }

    #[inline(always)]
    fn constants<I: Isa>(&self, isa: I, channel: &Self::Channel) -> Self::Constants<I> {
        GradientConstants {
            mean: isa.splat_f64(channel.mean),
            one: isa.splat_f64(self.one),
            affine: Affine::new(
                #[inline(always)]
                |field| E::splat(isa, channel.narrow.fields()[field]),
            ),
        }
    }

    #[inline(always)]
    fn constants_of<I: Isa>(
        &self,
        isa: I,
        columns: &Known<'_, Computed<E>>,
        i: usize,
        len: Option<usize>,
    ) -> Self::Constants<I> {
        GradientConstants {
            mean: columns.centre(isa, i, len),
            one: isa.splat_f64(self.one),
            affine: columns.affine::<I, E>(isa, i, len),
        }
    }

    #[inline(always)]
    fn step<I: Isa>(
        &self,
        isa: I,
        of: &Self::Constants<I>,
        sums: &mut Sums<I::F64>,
        i: usize,
        len: Option<usize>,
    ) {
        let mut dz = if G::LOOKS {
            let x = self.x.as_ref().map(
                #[inline(always)]
                |x| load(isa, x, i, len),
            );
            E::widen_lanes(isa, self.gate.apply(isa, &of.affine, x, load(isa, &self.dy, i, len), i, len))
        } else {
            self.dy.load_wide(isa, i, len)
        };
        if let Some(len) = len {
            // A closed gate with a slope: zeros beyond the run stay zeros, but -0.
            dz = dz.first(len);
        }
        dz = self.picks.keep(isa, dz, i, len);
        sums.sum = dz.mul_add(of.one, sums.sum);
        if let Some(x) = &self.x {
            let x = if self.gate.inverts() {
                E::widen_lanes(isa, self.gate.input(isa, load(isa, x, i, len)))
            } else {
                x.load_wide(isa, i, len)
            };
            let mut deviation = x - of.mean;
            if let Some(len) = len {
                // The mean may be infinite.
                deviation = deviation.first(len);
            }
            deviation = self.picks.keep(isa, deviation, i, len);
            sums.products = dz.mul_add(deviation, sums.products);
        }
    }

    #[inline(always)]
    fn step_near<I: Isa>(
        &self,
        isa: I,
        of: &Affine<Computing<E, I>>,
        sums: &mut Sums<Computing<E, I>>,
        i: usize,
        len: Option<usize>,
    ) {
        let x = self.x.as_ref().map(
            #[inline(always)]
            |x| load(isa, x, i, len),
        );
        let dz = self.gate.apply(isa, of, x, load(isa, &self.dy, i, len), i, len);
        sums.sum = sums.sum + dz;
        if let Some(x) = x {
            sums.products = dz.mul_add(of.deviation(self.gate.input(isa, x)), sums.products);
        }
    }

    #[inline(always)]
    fn prefetch<I: Isa>(&self, isa: I, i: usize) {
        self.dy.prefetch(isa, i);
        if let Some(x) = &self.x {
            x.prefetch(isa, i);
        }
    }

    #[inline(always)]
    fn elements_of(&self, bytes: usize) -> usize {
        let tensors = if self.x.is_some() { 2 } else { 1 };
        bytes / (tensors * size_of::<E>())
    }
}

impl<E: Element, G: Opening<E>, K: Picks> Folded for FoldGradients<'_, E, G, K> {
    type Total = GradientSums;

    #[inline(always)]
    fn centre(channel: &Self::Channel) -> f64 {
        channel.mean
    }

    #[inline(always)]
    fn narrow(channel: &Self::Channel) -> Option<&Narrow<Computed<E>>> {
        G::LOOKS.then_some(&channel.narrow)
    }

    #[inline(always)]
    fn channel(&self, channel: usize, _: &Block) -> Self::Channel {
        let coefficients = &self.coefficients[channel];
        let narrow = if G::LOOKS { Narrow::new(coefficients, None) } else { Narrow::default() };
        let Coefficients { mean: exact, rstd, .. } = *coefficients;
        let mean = if Self::NEAR { E::Parameter::from_f64(exact).to_f64() } else { exact };
        // An infinite mean leaves nothing.
        let rest = if mean.is_finite() { exact - mean } else { 0.0 };
        GradientChannel { mean, rest, rstd, narrow }
    }

    #[inline(always)]
    fn rows(&self, block: &Block) -> Option<&[usize]> {
        self.picks.rows(block)
    }

    #[inline(always)]
    fn held(&self, of: &Self::Channel, sums: &Sums<f64>, _: &Block) -> bool {
        sums.sum.is_finite() && sums.products.is_finite() && of.rstd.abs() < STEEPEST
    }

    #[inline(always)]
    fn total<I: Isa>(
        &self,
        _: I,
        of: &Self::Channel,
        sums: &Sums<f64>,
        _: usize,
        block: &Block,
    ) -> GradientSums {
        if self.picks.count(block) == 0 {
            return GradientSums::default();
        }
        let (sum, products) = (sums.sum, sums.products);
        // Without a rest there is nothing to correct, and 0 times infinity is no 0.
        let products = if of.rest == 0.0 { products } else { products - of.rest * sum };
        GradientSums { dy: sum, dy_xhat: if self.x.is_some() { products * of.rstd } else { 0.0 } }
    }

    #[inline(always)]
    fn merge(first: GradientSums, second: GradientSums) -> GradientSums {
        first.merge(second)
    }
}
