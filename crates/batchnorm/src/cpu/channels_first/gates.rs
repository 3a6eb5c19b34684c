//! What maps do after the affine map, and what gradients pass before anything else: on vectors.

use super::super::lanes::{Isa, Vector};
use super::super::memory::{Source, load};
use crate::{Element, Epilogue, Gate, Real};

/// One channel's coefficients of `z = scale (x - mean) + beta`, in vectors.
#[derive(Clone, Copy)]
pub struct Affine<V> {
    pub mean: V,
    pub scale: V,
    pub beta: V,
}

impl<V> Affine<V> {
    /// Of the first three of [`Narrow::fields`](super::super::narrow::Narrow::fields), by their index.
    #[inline(always)]
    pub fn new(field: impl Fn(usize) -> V) -> Self {
        Self { mean: field(0), scale: field(1), beta: field(2) }
    }

    /// `x - mean`.
    #[inline(always)]
    pub fn deviation<P: Real>(&self, x: V) -> V
    where
        V: Vector<P>,
    {
        x - self.mean
    }

    /// `z`.
    #[inline(always)]
    pub fn apply<P: Real>(&self, x: V) -> V
    where
        V: Vector<P>,
    {
        self.deviation(x).mul_add(self.scale, self.beta)
    }
}

/// The end of a forward map: an [`Epilogue`].
pub trait End<E: Element>: Copy + Sync {
    /// The same of the `len` elements from `start` on.
    fn run(self, start: usize, len: usize) -> Self;
    /// y from the z of the elements from `i` on, of which there are [`LANES`](super::super::lanes::LANES), or `Some(len)`.
    fn apply<I: Isa>(&self, isa: I, z: E::V<I>, i: usize, len: Option<usize>) -> E::V<I>;
}

/// The beginning of a backward pass: a [`Gate`].
pub trait Opening<E: Element>: Copy + Sync {
    /// Whether it looks at z.
    const LOOKS: bool;
    /// The elements from `i` on of what is normalized: those of `x`, unless that is an output.
    fn input<I: Isa>(&self, isa: I, x: &Source<'_, E>, i: usize, len: Option<usize>) -> E::V<I>;
    /// The same in f64.
    fn input_wide<I: Isa>(&self, isa: I, x: &Source<'_, E>, i: usize, len: Option<usize>) -> I::F64;
    /// The same of the `len` elements from `start` on.
    fn run(self, start: usize, len: usize) -> Self;
    /// dz from dy, at the elements from `i` on.
    fn apply<I: Isa>(
        &self,
        isa: I,
        affine: &Affine<E::V<I>>,
        dy: E::V<I>,
        i: usize,
        len: Option<usize>,
    ) -> E::V<I>;
}

/// Nothing: `y = z`, and `dz = dy`.
#[derive(Clone, Copy)]
pub struct Plain;

impl<E: Element> End<E> for Plain {
    #[inline(always)]
    fn run(self, _: usize, _: usize) -> Self {
        self
    }

    #[inline(always)]
    fn apply<I: Isa>(&self, _: I, z: E::V<I>, _: usize, _: Option<usize>) -> E::V<I> {
        z
    }
}

impl<E: Element> Opening<E> for Plain {
    const LOOKS: bool = false;

    #[inline(always)]
    fn run(self, _: usize, _: usize) -> Self {
        self
    }

    #[inline(always)]
    fn input<I: Isa>(&self, isa: I, x: &Source<'_, E>, i: usize, len: Option<usize>) -> E::V<I> {
        load(isa, x, i, len)
    }

    #[inline(always)]
    fn input_wide<I: Isa>(&self, isa: I, x: &Source<'_, E>, i: usize, len: Option<usize>) -> I::F64 {
        x.load_wide(isa, i, len)
    }

    #[inline(always)]
    fn apply<I: Isa>(&self, _: I, _: &Affine<E::V<I>>, dy: E::V<I>, _: usize, _: Option<usize>) -> E::V<I> {
        dy
    }
}

/// `y = max(z + addend, 0)`, or with a slope; x is there for gates. Or the inverse: then x is y, z follows from it, and the
/// gate looks at its sign.
#[derive(Clone, Copy)]
pub struct Rectified<'a, E: Element> {
    x: Option<Source<'a, E>>,
    addend: Option<Source<'a, E>>,
    slope: Option<E::Parameter>,
    /// `1 / slope`, if x is the output.
    inverse: Option<E::Parameter>,
}

impl<'a, E: Element> Rectified<'a, E> {
    /// Of an epilogue, unless it is none.
    pub fn of_epilogue(epilogue: Epilogue<'a, E>) -> Option<Self> {
        let (addend, slope) = match epilogue {
            Epilogue::None => return None,
            Epilogue::Relu => (None, None),
            Epilogue::LeakyRelu { slope } => (None, Some(E::Parameter::from_f64(slope))),
            Epilogue::AddRelu { addend } => (Some(Source::new(addend.data())), None),
        };
        Some(Self { x: None, addend, slope, inverse: None })
    }

    /// Of a gate, unless it is none.
    pub fn of_gate(gate: Gate<'a, E>) -> Option<Self> {
        let (x, addend, slope) = match gate {
            Gate::None => return None,
            Gate::Relu { x } => (x, None, None),
            Gate::LeakyRelu { x, slope } => (x, None, Some(E::Parameter::from_f64(slope))),
            Gate::AddRelu { x, addend } => (x, Some(Source::new(addend.data())), None),
            Gate::Output { y, slope } => (y, None, Some(E::Parameter::from_f64(slope))),
        };
        let inverse = gate.inverse().map(E::Parameter::from_f64);
        Some(Self { x: Some(Source::new(x.data())), addend, slope, inverse })
    }

    #[inline(always)]
    fn on(self, start: usize, len: usize) -> Self {
        let run = |tensor: Option<Source<'a, E>>| tensor.map(|tensor| tensor.run(start, len));
        Self { x: run(self.x), addend: run(self.addend), ..self }
    }

    #[inline(always)]
    fn with_addend<I: Isa>(&self, isa: I, z: E::V<I>, i: usize, len: Option<usize>) -> E::V<I> {
        match &self.addend {
            None => z,
            Some(addend) => z + load(isa, addend, i, len),
        }
    }

    /// What is left of `v` on the side where z is negative.
    #[inline(always)]
    fn damped<I: Isa>(&self, isa: I, v: E::V<I>) -> E::V<I> {
        match self.slope {
            // Not a product by zero: a closed gate lets no infinity through as NaN.
            None => E::splat(isa, E::Parameter::ZERO),
            Some(slope) => E::splat(isa, slope) * v,
        }
    }
}

impl<E: Element> End<E> for Rectified<'_, E> {
    #[inline(always)]
    fn run(self, start: usize, len: usize) -> Self {
        self.on(start, len)
    }

    #[inline(always)]
    fn apply<I: Isa>(&self, isa: I, z: E::V<I>, i: usize, len: Option<usize>) -> E::V<I> {
        let z = self.with_addend(isa, z, i, len);
        z.where_negative(self.damped(isa, z), z)
    }
}

impl<E: Element> Opening<E> for Rectified<'_, E> {
    const LOOKS: bool = true;

    #[inline(always)]
    fn run(self, start: usize, len: usize) -> Self {
        self.on(start, len)
    }

    #[inline(always)]
    fn input<I: Isa>(&self, isa: I, x: &Source<'_, E>, i: usize, len: Option<usize>) -> E::V<I> {
        let x = load(isa, x, i, len);
        match self.inverse {
            None => x,
            Some(inverse) => x.where_negative(E::splat(isa, inverse) * x, x),
        }
    }

    #[inline(always)]
    fn input_wide<I: Isa>(&self, isa: I, x: &Source<'_, E>, i: usize, len: Option<usize>) -> I::F64 {
        match self.inverse {
            None => x.load_wide(isa, i, len),
            Some(_) => E::widen_lanes(isa, self.input(isa, x, i, len)),
        }
    }

    #[inline(always)]
    fn apply<I: Isa>(
        &self,
        isa: I,
        affine: &Affine<E::V<I>>,
        dy: E::V<I>,
        i: usize,
        len: Option<usize>,
    ) -> E::V<I> {
        let Some(x) = &self.x else { return dy };
        let x = load(isa, x, i, len);
        let z = if self.inverse.is_some() { x } else { self.with_addend(isa, affine.apply(x), i, len) };
        z.where_positive(dy, self.damped(isa, dy))
    }
}
