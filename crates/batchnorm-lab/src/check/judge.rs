//! How far off a backend is, and how far off it may be.
//!
//! u is the unit roundoff of f64 throughout, n the values of a channel, and
//!
//! ```text
//! r = max(|x|) rstd        the size of the data in standard deviations: what a mean is rounded by
//! f = u (16 + 4 sqrt(n))   a fold: n roundings of either sign, four deviations of their sum, and a few more
//! ```
//!
//! In half types f = u (16 + n): equal values, of which there are many, are rounded alike, so that n roundings may all have one sign
//! (the reference's do, which adds up one value after the other). In these and in f32, columns (runs of less than 64 elements) are added
//! up in f32 over at most sixteen rows, eight at a time: eleven roundings of 2^-24, of squares that may be 5 times the variance. In what
//! f32's y and dx inherit, the root of the number of groups of sixteen divides that, as roundings have no sign in common: f' in the place of f.
//!
//! | quantity | error | bound |
//! |---|---|---|
//! | variance | relative to variance | f + 16 u r |
//! | mean | in deviations, 1 / rstd | f + 16 u r |
//! | y in training | RMS of the difference, relative to that of gamma, beta and addend | m + f' + 16 u r |
//! | y in evaluation | the same: the statistics are given | m; in f32 m + 16 u r, as the mean is a float and a rest |
//! | sum(dz), sum(dz xhat) | relative to sum(abs(dz)), sum(abs(dz) (1 + abs(xhat))) | f + 16 u r |
//! | dx | RMS of the difference, relative to that of gamma rstd dz | m + f' + 16 u r |
//! | d_addend | as dx, relative to dz | 0: it is dy or 0 |
//!
//! A half type is computed with as f32 is, and what is written is rounded once more, by at most h of itself: 2^-8 in bf16, 2^-11 in
//! f16. An output may be up to sqrt(3) times as large as the terms that it is measured by: 2 h are added to m. d_addend is not
//! rounded.
//!
//! m is the map's: in f32, 2e-7, the project's goal; of fewer than 256 elements, whose roundings have no mean yet, twelve
//! roundings of 2^-24, all the same way; in f64, 16 u. In training xhat has mean 0 and variance 1, so the size of y by gamma and
//! beta is y's own RMS. dx is measured by the size of its first term because it can be a small difference of large ones.

use batchnorm::{Element, GradientSums};

use super::data::{Data, counted};
use super::problem::{Activation, Work};
use super::run::Computed;
use crate::bench::Dtype;

/// One quantity of a problem: how far off it is, and may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measurement {
    pub(super) what: &'static str,
    pub(super) error: f64,
    pub(super) bound: f64,
}

impl Measurement {
    pub(super) fn is_good(&self) -> bool {
        self.error <= self.bound
    }
}

/// The goal for f32 maps, relative RMS.
const GOAL: f64 = 2e-7;
/// Of fewer elements, roundings have no mean.
const MANY: usize = 256;
const FEW_F32: f64 = 12.0 / (1 << 24) as f64;
const UNIT: f64 = f64::EPSILON / 2.0;
/// Shorter runs are columns.
const COLUMNS: usize = 64;

/// What the reference says about a problem, ready to be compared with.
pub(super) struct Judge {
    dtype: Dtype,
    data: Data<f64>,
    expected: Computed<f64>,
    /// Of all channels, the largest.
    size_in_deviations: f64,
}

impl Judge {
    /// `expected` is what the reference computed of `data`.
    pub(super) fn new(dtype: Dtype, data: Data<f64>, expected: Computed<f64>) -> Self {
        let rstd = data.given.iter().map(|given| given.rstd).fold(0.0, f64::max);
        let size_in_deviations = rstd * data.largest();
        Self { dtype, data, expected, size_in_deviations }
    }

    /// Everything that can be measured of what a backend computed.
    pub(super) fn measure<E: Element>(&self, found: &Computed<E>) -> Vec<Measurement> {
        let mut measurements = Vec::new();
        match self.data.work {
            Work::Forward | Work::ForwardInPlace => {
                self.moments(found, &mut measurements);
                measurements.push(self.y(found));
            }
            Work::Eval | Work::EvalInPlace => measurements.push(self.y(found)),
            Work::Backward | Work::BackwardFixed => {
                self.sums(found, &mut measurements);
                self.gradients(found, &mut measurements);
            }
        }
        measurements
    }

    /// f + 16 u r.
    fn folded(&self) -> f64 {
        let count = self.data.count() as f64;
        let roundings = match self.dtype {
            Dtype::F32 | Dtype::F64 => 4.0 * count.sqrt(),
            Dtype::Bf16 | Dtype::F16 => count,
        };
        UNIT * (16.0 + roundings) + self.near() + self.rounded_mean()
    }

    /// f' + 16 u r: what y and dx inherit.
    fn inherited(&self) -> f64 {
        match self.dtype {
            Dtype::F32 => {
                let groups = (self.data.count() as f64 / 16.0).max(1.0);
                self.folded() - self.near() * (1.0 - 1.0 / groups.sqrt())
            }
            Dtype::F64 | Dtype::Bf16 | Dtype::F16 => self.folded(),
        }
    }

    /// What columns are off by that are added up in f32.
    fn near(&self) -> f64 {
        let columns = self.data.shape.inner() < COLUMNS;
        let near = match self.dtype {
            Dtype::F64 => false,
            Dtype::F32 => columns,
            Dtype::Bf16 | Dtype::F16 => true,
        };
        if near { 5.0 * 11.0 / (1 << 24) as f64 } else { 0.0 }
    }

    /// 16 u r.
    fn rounded_mean(&self) -> f64 {
        UNIT * 16.0 * self.size_in_deviations
    }

    /// m.
    fn mapped(&self) -> f64 {
        match self.dtype {
            Dtype::F64 => 16.0 * UNIT,
            Dtype::F32 | Dtype::Bf16 | Dtype::F16 => {
                let computed = if self.data.shape.len() < MANY { FEW_F32 } else { GOAL };
                computed + 2.0 * self.rounded_once_more()
            }
        }
    }

    /// h.
    fn rounded_once_more(&self) -> f64 {
        match self.dtype {
            Dtype::F32 | Dtype::F64 => 0.0,
            Dtype::Bf16 => 1.0 / (1 << 8) as f64,
            Dtype::F16 => 1.0 / (1 << 11) as f64,
        }
    }

    fn moments<E>(&self, found: &Computed<E>, measurements: &mut Vec<Measurement>) {
        let (mut variance, mut mean) = (0f64, 0f64);
        let channels = found.moments.iter().zip(&self.expected.moments).zip(&self.data.given);
        for ((found, expected), given) in channels {
            if found.count != expected.count {
                mean = f64::INFINITY;
            }
            mean = worst(mean, (found.mean - expected.mean).abs() * given.rstd);
            variance = worst(variance, relative((found.m2 - expected.m2).abs(), expected.m2));
        }
        measurements.push(Measurement { what: "variance", error: variance, bound: self.folded() });
        measurements.push(Measurement { what: "mean", error: mean, bound: self.folded() });
    }

    fn y<E: Element>(&self, found: &Computed<E>) -> Measurement {
        let channels = self.data.given.iter();
        let square: f64 = channels.map(|given| given.gamma.powi(2) + given.beta.powi(2)).sum();
        let mut size = square * self.data.count() as f64;
        if self.data.activation == Activation::AddRelu {
            size += self.squares(self.data.addend.get().iter().copied());
        }
        let error = relative(difference(&found.y, &self.expected.y), size.sqrt());
        let given = match (self.data.work, self.dtype) {
            (Work::Eval | Work::EvalInPlace, Dtype::F64) => 0.0,
            (Work::Eval | Work::EvalInPlace, _) => self.rounded_mean(),
            _ => self.inherited(),
        };
        Measurement { what: "y", error, bound: self.mapped() + given }
    }

    fn sums<E>(&self, found: &Computed<E>, measurements: &mut Vec<Measurement>) {
        let (inner, channels) = (self.data.shape.inner(), self.data.shape.channels());
        let mut sizes = vec![GradientSums::default(); channels];
        for (i, counts) in self.counted().enumerate() {
            if counts {
                let channel = i / inner % channels;
                let (given, size) = (&self.data.given[channel], &mut sizes[channel]);
                let xhat = (self.data.x.get()[i] - given.mean) * given.rstd;
                let dy = self.data.dy.get()[i].abs();
                size.dy += dy;
                size.dy_xhat += dy * (1.0 + xhat.abs());
            }
        }
        let (mut dy, mut dy_xhat) = (0f64, 0f64);
        for ((found, expected), size) in found.sums.iter().zip(&self.expected.sums).zip(&sizes) {
            dy = worst(dy, relative((found.dy - expected.dy).abs(), size.dy));
            dy_xhat = worst(dy_xhat, relative((found.dy_xhat - expected.dy_xhat).abs(), size.dy_xhat));
        }
        measurements.push(Measurement { what: "sum(dy)", error: dy, bound: self.folded() });
        measurements.push(Measurement { what: "sum(dy xhat)", error: dy_xhat, bound: self.folded() });
    }

    fn gradients<E: Element>(&self, found: &Computed<E>, measurements: &mut Vec<Measurement>) {
        let (inner, channels) = (self.data.shape.inner(), self.data.shape.channels());
        let scaled = self.data.dy.get().iter().enumerate();
        let scaled = scaled.map(|(i, dy)| dy * self.data.given[i / inner % channels].scale());
        let size = self.squares(scaled).sqrt();
        let error = relative(difference(&found.dx, &self.expected.dx), size);
        measurements.push(Measurement { what: "dx", error, bound: self.mapped() + self.inherited() });
        if self.data.activation == Activation::AddRelu {
            let size = self.squares(self.data.dy.get().iter().copied()).sqrt();
            let error = relative(difference(&found.d_addend, &self.expected.d_addend), size);
            measurements.push(Measurement { what: "d_addend", error, bound: 0.0 });
        }
    }

    /// The sum of the squares of the elements that count.
    fn squares(&self, values: impl Iterator<Item = f64>) -> f64 {
        values.zip(self.counted()).filter(|(_, counts)| *counts).map(|(value, _)| value * value).sum()
    }

    fn counted(&self) -> Box<dyn Iterator<Item = bool> + '_> {
        match &self.data.mask {
            Some(mask) => Box::new(counted(self.data.shape, mask)),
            None => Box::new(std::iter::repeat_n(true, self.data.shape.len())),
        }
    }
}

/// The square root of the sum of squared differences.
fn difference<E: Element>(found: &[E], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "both were computed of the same problem");
    let squares = found.iter().zip(expected).map(|(found, expected)| (found.to_f64() - expected).powi(2));
    squares.sum::<f64>().sqrt()
}

/// An error relative to a size; of nothing, every error is infinite, and so is one that is no number.
fn relative(error: f64, size: f64) -> f64 {
    match error / size {
        _ if error == 0.0 => 0.0,
        relative if relative.is_nan() => f64::INFINITY,
        relative => relative,
    }
}

/// The larger error; one that is no number is the largest.
fn worst(one: f64, other: f64) -> f64 {
    if other.is_nan() { f64::INFINITY } else { one.max(other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_are_no_numbers_are_infinite() {
        assert_eq!(relative(0.0, 0.0), 0.0);
        assert_eq!(relative(1e-9, 0.0), f64::INFINITY);
        assert_eq!(relative(f64::NAN, 1.0), f64::INFINITY);
        assert_eq!(relative(1.0, 4.0), 0.25);
        assert_eq!(worst(1.0, f64::NAN), f64::INFINITY);
        assert_eq!(worst(1.0, 2.0), 2.0);
        assert_eq!(difference(&[1f32, 2.0], &[1.0, 5.0]), 3.0);
    }
}
