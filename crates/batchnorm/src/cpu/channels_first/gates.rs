//! What maps do after the affine map, and what gradients pass before anything else: on vectors.

use super::super::lanes::{Isa, Vector};
use super::super::memory::{Part, Source, load};
use crate::{Element, Epilogue, Gate, Real, View};

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
    /// The same of a part of the elements.
    fn part(self, part: impl Part) -> Self;
    /// y from the z of the elements from `i` on, of which there are [`LANES`](super::super::lanes::LANES), or `Some(len)`.
    fn apply<I: Isa>(&self, isa: I, z: E::V<I>, i: usize, len: Option<usize>) -> E::V<I>;
}

/// The beginning of a backward pass: a [`Gate`].
pub trait Opening<E: Element>: Copy + Sync {
    /// Whether it looks at z.
    const LOOKS: bool;
    /// Whether what is read as x is an output.
    fn inverts(&self) -> bool;
    /// What was normalized, of what is read as x.
    fn input<I: Isa>(&self, isa: I, x: E::V<I>) -> E::V<I>;
    /// The same of a part of the elements.
    fn part(self, part: impl Part) -> Self;
    /// dz from dy, and from what is read as x where it is, at the elements from `i` on.
    fn apply<I: Isa>(
        &self,
        isa: I,
        affine: &Affine<E::V<I>>,
        x: Option<E::V<I>>,
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
    fn part(self, _: impl Part) -> Self {
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
    fn inverts(&self) -> bool {
        false
    }

    #[inline(always)]
    fn input<I: Isa>(&self, _: I, x: E::V<I>) -> E::V<I> {
        x
    }

    #[inline(always)]
    fn part(self, _: impl Part) -> Self {
        self
    }

    #[inline(always)]
    fn apply<I: Isa>(
        &self,
        _: I,
        _: &Affine<E::V<I>>,
        _: Option<E::V<I>>,
        dy: E::V<I>,
        _: usize,
        _: Option<usize>,
    ) -> E::V<I> {
        dy
    }
}

/// `y = max(z + addend, 0)`, or with a slope. Or the inverse: then what is read as x is y, z follows from it, and the gate looks at
/// its sign.
#[derive(Clone, Copy)]
pub struct Rectified<'a, E: Element> {
    /// x, where nothing but the gate reads it.
    x: Option<Source<'a, E>>,
    addend: Option<Source<'a, E>>,
    /// Whether there is a slope. Without one it is zero, and a number all the same: products by it may be computed before it is
    /// known that nobody needs them, and those of arbitrary bits, which may be subnormal, take a hundred times as long.
    leaks: bool,
    slope: E::Parameter,
    /// Whether what is read as x is the output: then z is that times `inverse`, where it is negative.
    inverts: bool,
    inverse: E::Parameter,
}

impl<'a, E: Element> Rectified<'a, E> {
    fn new(x: Option<Source<'a, E>>, addend: Option<View<'a, E>>, slope: Option<f64>) -> Self {
        Self {
            x,
            addend: addend.map(|addend| Source::new(addend.data())),
            leaks: slope.is_some(),
            slope: E::Parameter::from_f64(slope.unwrap_or(0.0)),
            inverts: false,
            inverse: E::Parameter::from_f64(1.0),
        }
    }

    /// Of an epilogue, unless it is none.
    pub fn of_epilogue(epilogue: Epilogue<'a, E>) -> Option<Self> {
        match epilogue {
            Epilogue::None => None,
            Epilogue::Relu => Some(Self::new(None, None, None)),
            Epilogue::LeakyRelu { slope } => Some(Self::new(None, None, Some(slope))),
            Epilogue::AddRelu { addend } => Some(Self::new(None, Some(addend), None)),
        }
    }

    /// Of a gate, unless it is none. `x` is what is read besides.
    pub fn of_gate(gate: Gate<'a, E>, x: Option<Source<'a, E>>) -> Option<Self> {
        let own = |of_gate: View<'a, E>| {
            let of_gate = Source::new(of_gate.data());
            (!x.is_some_and(|x| x.is(&of_gate))).then_some(of_gate)
        };
        match gate {
            Gate::None => None,
            Gate::Relu { x } => Some(Self::new(own(x), None, None)),
            Gate::LeakyRelu { x, slope } => Some(Self::new(own(x), None, Some(slope))),
            Gate::AddRelu { x, addend } => Some(Self::new(own(x), Some(addend), None)),
            Gate::Output { y, slope } => {
                let inverse = E::Parameter::from_f64(gate.inverse().unwrap_or(1.0));
                Some(Self { inverts: true, inverse, ..Self::new(own(y), None, Some(slope)) })
            }
        }
    }

    #[inline(always)]
    fn on(self, part: impl Part) -> Self {
        let of = |tensor: Option<Source<'a, E>>| tensor.map(|tensor| part.of(tensor));
        Self { x: of(self.x), addend: of(self.addend), ..self }
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
        // Not a product by zero: a closed gate lets no infinity through as NaN.
        if self.leaks { E::splat(isa, self.slope) * v } else { E::splat(isa, E::Parameter::ZERO) }
    }
}

impl<E: Element> End<E> for Rectified<'_, E> {
    #[inline(always)]
    fn part(self, part: impl Part) -> Self {
        self.on(part)
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
    fn inverts(&self) -> bool {
        self.inverts
    }

    #[inline(always)]
    fn input<I: Isa>(&self, isa: I, x: E::V<I>) -> E::V<I> {
        if self.inverts { x.where_negative(E::splat(isa, self.inverse) * x, x) } else { x }
    }

    #[inline(always)]
    fn part(self, part: impl Part) -> Self {
        self.on(part)
    }

    #[inline(always)]
    fn apply<I: Isa>(
        &self,
        isa: I,
        affine: &Affine<E::V<I>>,
        x: Option<E::V<I>>,
        dy: E::V<I>,
        i: usize,
        len: Option<usize>,
    ) -> E::V<I> {
        let x = match (&self.x, x) {
            (Some(own), _) => load(isa, own, i, len),
            (None, Some(x)) => x,
            (None, None) => return dy,
        };
        let z = if self.inverts { x } else { self.with_addend(isa, affine.apply(x), i, len) };
        z.where_positive(dy, self.damped(isa, dy))
    }
}
