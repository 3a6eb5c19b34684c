//! The two maps.
//!
//! ```text
//! normalize:        y  = epilogue(scale (x - mean) + beta)
//! input gradient:   dx = scale ((dz - mean_dy) - (x - mean) slope) + rest,    dz = gate(dy)
//! ```
//!
//! Deviation from this pseudo-code:
//! 1. With fixed statistics mean_dy, slope and rest are zero and x is not read: dx = scale dz.

use super::super::lanes::{Isa, Vector};
use super::super::memory::{Part, Source, Target, load};
use super::super::narrow::FIELDS;
use super::gates::{Affine, End, Opening};
use super::room::AFFINE;
use super::sweep::Map;
use crate::Element;

/// The shortest run whose stores are aligned: a store across two lines costs as much as two.
const ALIGNED: usize = 128;

/// How far ahead of a map lines are asked for, in bytes: of the one tensor that it reads, of each of two.
const AHEAD: (usize, usize) = (8 << 10, 4 << 10);

/// Where a map writes, and how.
#[derive(Clone, Copy)]
pub struct Output<'a, E> {
    pub to: Target<'a, E>,
    /// Past the cache.
    pub streams: bool,
}

impl<E: Element> Output<'_, E> {
    #[inline(always)]
    fn part(self, part: impl Part) -> Self {
        Self { to: part.of_target(self.to), ..self }
    }

    #[inline(always)]
    fn write<I: Isa>(&self, isa: I, i: usize, v: E::V<I>, len: Option<usize>) {
        match len {
            Some(len) => self.to.store_part(isa, i, v, len),
            None if self.streams => self.to.stream(isa, i, v),
            None => self.to.store(isa, i, v),
        }
    }

    /// Two whole vectors.
    #[inline(always)]
    fn write_pair<I: Isa>(&self, isa: I, i: usize, first: E::V<I>, second: E::V<I>) {
        if self.streams {
            self.to.stream_pair(isa, i, first, second);
        } else {
            self.to.store_pair(isa, i, first, second);
        }
    }

    /// Whole vectors begin at a line, if they are streamed, or if the run is long enough to gain by it.
    #[inline(always)]
    fn anywhere(&self, len: usize) -> bool {
        !self.streams && len < ALIGNED
    }

    #[inline(always)]
    fn until_line(&self, i: usize, len: usize) -> usize {
        if self.anywhere(len) { 0 } else { self.to.until_line(i) }
    }
}

/// y of x.
#[derive(Clone, Copy)]
pub struct MapNormalize<'a, E, A> {
    pub x: Source<'a, E>,
    pub end: A,
    pub y: Output<'a, E>,
}

impl<E: Element, A: End<E>> Map for MapNormalize<'_, E, A> {
    type Element = E;
    type Constants<I: Isa> = Affine<E::V<I>>;
    type Values<I: Isa> = E::V<I>;
    const FIELDS: usize = AFFINE;

    #[inline(always)]
    fn part(self, part: impl Part) -> Self {
        Self { x: part.of(self.x), end: self.end.part(part), y: self.y.part(part) }
    }

    #[inline(always)]
    fn constants<I: Isa>(&self, field: impl Fn(usize) -> E::V<I>) -> Affine<E::V<I>> {
        Affine::new(field)
    }

    #[inline(always)]
    fn values<I: Isa>(&self, isa: I, affine: &Self::Constants<I>, i: usize, len: Option<usize>) -> E::V<I> {
        self.end.apply(isa, affine.apply(load(isa, &self.x, i, len)), i, len)
    }

    #[inline(always)]
    fn prefetch<I: Isa>(&self, isa: I, i: usize) {
        self.x.prefetch(isa, i + AHEAD.0 / size_of::<E>());
    }

    #[inline(always)]
    fn elements_of(&self, bytes: usize) -> usize {
        bytes / size_of::<E>()
    }

    #[inline(always)]
    fn write<I: Isa>(&self, isa: I, i: usize, y: E::V<I>, len: Option<usize>) {
        self.y.write(isa, i, y, len);
    }

    #[inline(always)]
    fn write_pair<I: Isa>(&self, isa: I, i: usize, [first, second]: [E::V<I>; 2]) {
        self.y.write_pair(isa, i, first, second);
    }

    #[inline(always)]
    fn streams(&self) -> bool {
        self.y.streams
    }

    #[inline(always)]
    fn anywhere(&self, len: usize) -> bool {
        self.y.anywhere(len)
    }

    #[inline(always)]
    fn until_line(&self, i: usize, len: usize) -> usize {
        self.y.until_line(i, len)
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
    /// None without a gate: dz is dy.
    pub d_addend: Option<Target<'a, E>>,
}

#[derive(Clone, Copy)]
pub struct GradientConstants<V> {
    affine: Affine<V>,
    mean_dy: V,
    slope: V,
    rest: V,
}

/// Gradients of x and of the addend.
#[derive(Clone, Copy)]
pub struct Gradients<V> {
    dx: V,
    dz: V,
}

impl<E: Element, G: Opening<E>> Map for MapGradient<'_, E, G> {
    type Element = E;
    type Constants<I: Isa> = GradientConstants<E::V<I>>;
    type Values<I: Isa> = Gradients<E::V<I>>;
    const FIELDS: usize = FIELDS;

    #[inline(always)]
    fn part(self, part: impl Part) -> Self {
        Self {
            x: self.x.map(|x| part.of(x)),
            dy: part.of(self.dy),
            gate: self.gate.part(part),
            dx: self.dx.part(part),
            d_addend: self.d_addend.map(|d_addend| part.of_target(d_addend)),
        }
    }

    #[inline(always)]
    fn constants<I: Isa>(&self, field: impl Fn(usize) -> E::V<I>) -> Self::Constants<I> {
        let (mean_dy, slope, rest) = (field(3), field(4), field(5));
        GradientConstants { affine: Affine::new(field), mean_dy, slope, rest }
    }

    #[inline(always)]
    fn values<I: Isa>(
        &self,
        isa: I,
        of: &Self::Constants<I>,
        i: usize,
        len: Option<usize>,
    ) -> Gradients<E::V<I>> {
        let dy = load(isa, &self.dy, i, len);
        let x = self.x.as_ref().map(
            #[inline(always)]
            |x| load(isa, x, i, len),
        );
        let dz = self.gate.apply(isa, &of.affine, x, dy, i, len);
        let dx = match x {
            None => of.affine.scale * dz,
            Some(x) => {
                let deviation = of.affine.deviation(self.gate.input(isa, x));
                deviation.mul_add(of.slope, dz - of.mean_dy).mul_add(of.affine.scale, of.rest)
            }
        };
        Gradients { dx, dz }
    }

    #[inline(always)]
    fn prefetch<I: Isa>(&self, isa: I, i: usize) {
        // No more than two streams are foreseen.
        if let Some(x) = &self.x {
            let i = i + AHEAD.1 / size_of::<E>();
            self.dy.prefetch(isa, i);
            x.prefetch(isa, i);
        }
    }

    #[inline(always)]
    fn elements_of(&self, bytes: usize) -> usize {
        let tensors = if self.x.is_some() { 2 } else { 1 };
        bytes / (tensors * size_of::<E>())
    }

    #[inline(always)]
    fn write<I: Isa>(&self, isa: I, i: usize, of: Gradients<E::V<I>>, len: Option<usize>) {
        if G::LOOKS
            && let Some(d_addend) = &self.d_addend
        {
            match len {
                None => d_addend.store(isa, i, of.dz),
                Some(len) => d_addend.store_part(isa, i, of.dz, len),
            }
        }
        self.dx.write(isa, i, of.dx, len);
    }

    #[inline(always)]
    fn write_pair<I: Isa>(&self, isa: I, i: usize, [first, second]: [Gradients<E::V<I>>; 2]) {
        if G::LOOKS
            && let Some(d_addend) = &self.d_addend
        {
            d_addend.store_pair(isa, i, first.dz, second.dz);
        }
        self.dx.write_pair(isa, i, first.dx, second.dx);
    }

    #[inline(always)]
    fn streams(&self) -> bool {
        self.dx.streams
    }

    #[inline(always)]
    fn anywhere(&self, len: usize) -> bool {
        self.dx.anywhere(len)
    }

    #[inline(always)]
    fn until_line(&self, i: usize, len: usize) -> usize {
        self.dx.until_line(i, len)
    }
}
