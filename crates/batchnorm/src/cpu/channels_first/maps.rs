//! The two maps.
//!
//! ```text
//! normalize:        y  = epilogue(scale ((x - mean_hi) - mean_lo) + beta)
//! input gradient:   dx = scale (((dz - k_hi) - k_lo) - ((x - mean_hi) - mean_lo) slope),    dz = gate(dy)
//! ```
//!
//! Deviation from this pseudo-code:
//! 1. With fixed statistics k and slope are zero and x is not read: dx = scale dz.

use super::super::lanes::{Isa, Vector};
use super::super::memory::{Source, Target, load};
use super::super::narrow::Narrow;
use super::gates::{Affine, End, Opening};
use super::sweep::Map;
use crate::Element;

/// The shortest run whose stores are aligned: a store across two lines costs as much as two.
const ALIGNED: usize = 128;

/// Where a map writes, and how.
#[derive(Clone, Copy)]
pub struct Output<'a, E> {
    pub to: Target<'a, E>,
    /// The element of the tensor that is the first there.
    pub first: usize,
    /// Past the cache.
    pub streams: bool,
}

impl<E: Element> Output<'_, E> {
    #[inline(always)]
    fn run(self, start: usize, len: usize) -> Self {
        Self { to: self.to.run(start - self.first, len), first: 0, ..self }
    }

    #[inline(always)]
    fn write<I: Isa>(&self, isa: I, i: usize, v: E::V<I>, len: Option<usize>) {
        match len {
            Some(len) => self.to.store_part(isa, i, v, len),
            None if self.streams => self.to.stream(isa, i, v),
            None => self.to.store(isa, i, v),
        }
    }

    /// Where a run's whole vectors are to begin: at a line, if they are streamed, or if the run is long enough to gain by it.
    #[inline(always)]
    fn until_line(&self, i: usize, len: usize) -> usize {
        if self.streams || len >= ALIGNED { self.to.until_line(i - self.first) } else { 0 }
    }
}

/// A map that can write elsewhere.
pub trait Redirected<'a, E: Element>: Sized {
    fn output(&self) -> Output<'a, E>;
    fn with_output(self, output: Output<'a, E>) -> Self;
}

/// y of x.
#[derive(Clone, Copy)]
pub struct MapNormalize<'a, E, A> {
    pub x: Source<'a, E>,
    pub end: A,
    pub y: Output<'a, E>,
}

impl<E: Element, A: End<E>> MapNormalize<'_, E, A> {
    #[inline(always)]
    fn step<I: Isa>(&self, isa: I, affine: &Affine<E::V<I>>, i: usize, len: Option<usize>) {
        let z = affine.apply(load(isa, &self.x, i, len));
        self.y.write(isa, i, self.end.apply(isa, z, i, len), len);
    }
}

impl<E: Element, A: End<E>> Map for MapNormalize<'_, E, A> {
    type Channel = Narrow<E::Parameter>;
    type Constants<I: Isa> = Affine<E::V<I>>;

    #[inline(always)]
    fn run(self, start: usize, len: usize) -> Self {
        let (x, end, y) = (self.x.run(start, len), self.end.run(start, len), self.y.run(start, len));
        Self { x, end, y }
    }

    #[inline(always)]
    fn constants<I: Isa>(&self, isa: I, narrow: &Self::Channel) -> Self::Constants<I> {
        Affine::new::<I, E>(isa, narrow)
    }

    #[inline(always)]
    fn whole<I: Isa>(&self, isa: I, affine: &Self::Constants<I>, i: usize) {
        self.step(isa, affine, i, None);
    }

    #[inline(always)]
    fn part<I: Isa>(&self, isa: I, affine: &Self::Constants<I>, i: usize, len: usize) {
        self.step(isa, affine, i, Some(len));
    }

    #[inline(always)]
    fn until_line(&self, i: usize, len: usize) -> usize {
        self.y.until_line(i, len)
    }
}

impl<'a, E: Element, A: End<E>> Redirected<'a, E> for MapNormalize<'a, E, A> {
    fn output(&self) -> Output<'a, E> {
        self.y
    }

    fn with_output(self, y: Output<'a, E>) -> Self {
        Self { y, ..self }
    }
}

/// dx of x and dy, and dz into `d_addend`.
#[derive(Clone, Copy)]
pub struct MapGradient<'a, E, G> {
    /// None with fixed statistics.
    pub x: Option<Source<'a, E>>,
    pub dy: Source<'a, E>,
    pub gate: G,
    pub dx: Output<'a, E>,
    pub d_addend: Option<Target<'a, E>>,
}

#[derive(Clone, Copy)]
pub struct GradientConstants<V> {
    affine: Affine<V>,
    mean_dy_hi: V,
    mean_dy_lo: V,
    slope: V,
}

impl<E: Element, G: Opening<E>> MapGradient<'_, E, G> {
    #[inline(always)]
    fn step<I: Isa>(&self, isa: I, of: &GradientConstants<E::V<I>>, i: usize, len: Option<usize>) {
        let dy = load(isa, &self.dy, i, len);
        let dz = self.gate.apply(isa, &of.affine, dy, i, len);
        if let Some(d_addend) = &self.d_addend {
            match len {
                None => d_addend.store(isa, i, dz),
                Some(len) => d_addend.store_part(isa, i, dz, len),
            }
        }
        let dx = match &self.x {
            None => of.affine.scale() * dz,
            Some(x) => {
                let centred = (dz - of.mean_dy_hi) - of.mean_dy_lo;
                let deviation = of.affine.deviation(load(isa, x, i, len));
                of.affine.scale() * deviation.mul_add(of.slope, centred)
            }
        };
        self.dx.write(isa, i, dx, len);
    }
}

impl<E: Element, G: Opening<E>> Map for MapGradient<'_, E, G> {
    type Channel = Narrow<E::Parameter>;
    type Constants<I: Isa> = GradientConstants<E::V<I>>;

    #[inline(always)]
    fn run(self, start: usize, len: usize) -> Self {
        Self {
            x: self.x.map(|x| x.run(start, len)),
            dy: self.dy.run(start, len),
            gate: self.gate.run(start, len),
            dx: self.dx.run(start, len),
            d_addend: self.d_addend.map(|d_addend| d_addend.run(start, len)),
        }
    }

    #[inline(always)]
    fn constants<I: Isa>(&self, isa: I, narrow: &Self::Channel) -> Self::Constants<I> {
        GradientConstants {
            affine: Affine::new::<I, E>(isa, narrow),
            mean_dy_hi: E::splat(isa, narrow.mean_dy_hi),
            mean_dy_lo: E::splat(isa, narrow.mean_dy_lo),
            // Negated, so that the difference is a fused sum.
            slope: E::splat(isa, -narrow.slope),
        }
    }

    #[inline(always)]
    fn whole<I: Isa>(&self, isa: I, constants: &Self::Constants<I>, i: usize) {
        self.step(isa, constants, i, None);
    }

    #[inline(always)]
    fn part<I: Isa>(&self, isa: I, constants: &Self::Constants<I>, i: usize, len: usize) {
        self.step(isa, constants, i, Some(len));
    }

    #[inline(always)]
    fn until_line(&self, i: usize, len: usize) -> usize {
        self.dx.until_line(i, len)
    }
}

impl<'a, E: Element, G: Opening<E>> Redirected<'a, E> for MapGradient<'a, E, G> {
    fn output(&self) -> Output<'a, E> {
        self.dx
    }

    fn with_output(self, dx: Output<'a, E>) -> Self {
        Self { dx, ..self }
    }
}
