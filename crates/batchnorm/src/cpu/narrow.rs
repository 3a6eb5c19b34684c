//! Coefficients in the type that the maps compute in, for runs of elements.
//!
//! An f32 cannot hold a mean of 1e6 to better than 0.03. So of `mean = hi + lo`, with hi the nearest f32, the maps subtract
//! hi, which is exact where it matters (x near the mean, by Sterbenz's lemma), and the constant that they add at the end
//! has lo's part, `-scale lo`, in it: y keeps the precision that x has, at no operation more.

use std::ops::Range;

use crate::{Coefficients, Element, GradientMeans, Real};

/// One channel's coefficients in `P`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Narrow<P> {
    /// The nearest number to the mean.
    pub mean: P,
    /// `gamma rstd`.
    pub scale: P,
    /// `beta - scale lo`.
    pub beta: P,
    /// The nearest number to `mean(dz)`.
    pub mean_dy: P,
    /// `rstd mean(dz xhat)`: what a deviation of x is multiplied by.
    pub slope: P,
    /// `scale (lo slope - lo_dy)`: what is left of both means.
    pub rest: P,
}

/// The nearest number, and what is left.
fn split<P: Real>(value: f64) -> (P, f64) {
    let nearest = P::from_f64(value);
    // An infinite or NaN value leaves nothing: inf - inf would turn it into NaN.
    (nearest, if nearest.is_finite() { value - nearest.to_f64() } else { 0.0 })
}

/// What is left of a value that is not added where it is no number: 0 times infinity is none.
fn finite(rest: f64) -> f64 {
    if rest.is_finite() { rest } else { 0.0 }
}

impl<P: Real> Narrow<P> {
    pub fn new(coefficients: &Coefficients, means: Option<&GradientMeans>) -> Self {
        let (mean, left) = split(coefficients.mean);
        let scale = coefficients.scale();
        let narrow = Self {
            mean,
            scale: P::from_f64(scale),
            beta: P::from_f64(coefficients.beta - finite(scale * left)),
            ..Self::default()
        };
        let Some(means) = means else { return narrow };
        let (mean_dy, left_dy) = split::<P>(means.dy);
        let slope = coefficients.rstd * means.dy_xhat;
        let rest = P::from_f64(finite(scale * (left * slope - left_dy)));
        Self { mean_dy, slope: P::from_f64(slope), rest, ..narrow }
    }

    /// As vectors need them: the slope is negated, so that the difference is a fused sum.
    #[inline(always)]
    pub fn fields(&self) -> [P; FIELDS] {
        let Self { mean, scale, beta, mean_dy, slope, rest } = *self;
        [mean, scale, beta, mean_dy, -slope, rest]
    }

    /// `z = gamma rstd (x - mean) + beta`.
    #[inline(always)]
    pub fn affine<E: Element<Parameter = P>>(&self, x: E) -> P {
        self.scale * (x.widen() - self.mean) + self.beta
    }

    /// `dx = gamma rstd (dz - mean(dz) - xhat mean(dz xhat))`.
    #[inline(always)]
    pub fn input_gradient(&self, x: P, dz: P) -> P {
        self.scale * ((dz - self.mean_dy) - (x - self.mean) * self.slope) + self.rest
    }
}

/// Coefficients for a run of consecutive elements: one channel's for all, or one for each.
pub trait Run<P>: Copy {
    /// The coefficients of the run's elements `range`, whose loops need no bounds checks.
    fn part(&self, range: Range<usize>) -> Self;
    /// The coefficients of element `i`.
    fn at(&self, i: usize) -> Narrow<P>;
}

impl<P: Real> Run<P> for Narrow<P> {
    #[inline(always)]
    fn part(&self, _: Range<usize>) -> Self {
        *self
    }

    #[inline(always)]
    fn at(&self, _: usize) -> Self {
        *self
    }
}

/// One element's coefficients each, as separate slices, so that loops over them are vectors.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a, P> {
    fields: [&'a [P]; FIELDS],
}

impl<P: Real> Run<P> for Columns<'_, P> {
    #[inline(always)]
    fn part(&self, range: Range<usize>) -> Self {
        Self { fields: self.fields.map(|field| &field[range.clone()]) }
    }

    #[inline(always)]
    fn at(&self, i: usize) -> Narrow<P> {
        let [mean, scale, beta, mean_dy, slope, rest] = self.fields.map(|field| field[i]);
        Narrow { mean, scale, beta, mean_dy, slope, rest }
    }
}

/// The number of fields of [`Narrow`].
pub const FIELDS: usize = 6;

/// What [`Columns`] borrows: field after field.
pub struct ColumnsBuffer<P> {
    values: Vec<P>,
    columns: usize,
}

impl<P: Real> ColumnsBuffer<P> {
    /// The coefficients of `columns` consecutive elements, `inner` of each channel after the other, over and over.
    pub fn new(
        columns: usize,
        inner: usize,
        coefficients: &[Coefficients],
        means: Option<&[GradientMeans]>,
    ) -> Self {
        let mut values = vec![P::ZERO; FIELDS * columns];
        let mut fields = values.chunks_exact_mut(columns.max(1));
        let mut field = || fields.next().unwrap_or_default();
        {
            let (mean, scale, beta) = (field(), field(), field());
            let (mean_dy, slope, rest) = (field(), field(), field());
            for (channel, coefficients) in coefficients.iter().enumerate() {
                let narrow = Narrow::<P>::new(coefficients, means.map(|means| &means[channel]));
                for column in channel * inner..(channel + 1) * inner {
                    mean[column] = narrow.mean;
                    scale[column] = narrow.scale;
                    beta[column] = narrow.beta;
                    mean_dy[column] = narrow.mean_dy;
                    slope[column] = narrow.slope;
                    rest[column] = narrow.rest;
                }
            }
        }
        let period = coefficients.len() * inner;
        for field in values.chunks_exact_mut(columns.max(1)) {
            for start in (period..columns).step_by(period.max(1)) {
                field.copy_within(..period, start);
            }
        }
        Self { values, columns }
    }

    /// For loops that look at no coefficients.
    pub fn unused() -> Self {
        Self { values: Vec::new(), columns: 0 }
    }

    pub fn borrow(&self) -> Columns<'_, P> {
        let field = |field: usize| &self.values[field * self.columns..(field + 1) * self.columns];
        Columns { fields: std::array::from_fn(field) }
    }
}
