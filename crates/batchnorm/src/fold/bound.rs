//! How far folding may move an output, at most.
//!
//! Compared are two computations of the same number: the map, then the layer (or the layer, then the map), and the folded map.
//! With exact arithmetic both are the same sum of terms,
//!
//! ```text
//! after:   y = sum_k s w_k x_k + s b + beta - mean s
//! before:  y = sum_k w_k (s_k x_k + beta_k - mean_k s_k) + b
//! ```
//!
//! and S is the sum of the terms' sizes: `sum |w'_k| |x_k|` with the folded weights w', plus the [bias's
//! magnitude](super::Bias::magnitude). Each operation rounds by a factor `1 + d`, `|d| <= u`, and a factor (or its inverse, in a
//! divisor or under a root) of a sum is one of each of its terms. A term that p factors reach is off by `gamma_p` of itself,
//!
//! ```text
//! prod (1 + d_i)^(+-1) = 1 + theta,    |theta| <= gamma_p = p u / (1 - p u)
//! ```
//!
//! (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., lemma 3.1). What reaches a term, at most:
//!
//! - A sum of n products and a bias, in any order, with or without fused multiplication: one product and n additions, n + 1
//!   roundings of the accumulators' u. Both computations have them.
//! - A batch norm in whatever way a runtime computes it. Centred: z stored, z - mean, variance + eps, root, division, times
//!   gamma, times `z - mean`, plus beta. Uncentred: `a = gamma / sqrt(variance + eps)` (4), `mean a` and `beta - mean a` (2),
//!   `a z` and the addition (2). Folded by the runtime itself, in its own type, while it loads: a and `w a` (5), or the bias's
//!   `(b - mean) a + beta` (7). With the output stored in a narrower type none has more than 9, those of
//!   [`Affine::roundings`](super::Affine::roundings).
//! - The folded map: one rounding of each weight and bias to the stored type, those of this module's own arithmetic in f64,
//!   which adds up as many terms as there are, and one of the output.
//!
//! Together, with u_s of the stored weights, u_c of the elements computed, u_a of the accumulators and u of f64,
//!
//! ```text
//! |folded - original| <= S ((1 + gamma_a(n + 1)) ((1 + gamma_c(r)) + (1 + u_s) (1 + gamma_64(n + r + 2)) (1 + u_c)) - 2)
//!                        + (sum |x_k| + 1) smallest
//! ```
//!
//! the last line for weights that were flushed to zero. It holds for sums of products as they are; not for Winograd's or
//! Fourier transforms, TF32, approximate reciprocal roots, or numbers that overflow or underflow on the way.

use super::store::Storable;
use crate::{Element, ElementType, bf16, f16};

/// The unit roundoffs of a model's arithmetic: half the distance from 1 to the next larger number of a type.
///
/// ```
/// use batchnorm::ElementType;
/// use batchnorm::fold::Rounding;
///
/// let rounding = Rounding::of(ElementType::F16);
/// assert_eq!((rounding.stored, rounding.accumulated), (2f64.powi(-11), 2f64.powi(-24)));
/// // A convolution of 64 channels, 3 x 3, and a batch norm: ten roundings to f16 and one more of the weights, with the sums' own.
/// let relative = rounding.relative(64 * 9, 9);
/// assert!(relative > 11.0 * rounding.stored && relative < 11.2 * rounding.stored);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounding {
    /// That of the stored weights and biases.
    pub stored: f64,
    /// The smallest normal number of the stored type: what flushing a weight to 0 loses, at most.
    pub smallest: f64,
    /// That of what is computed element by element, and of the tensors between operators.
    pub computed: f64,
    /// That of the accumulators of sums.
    pub accumulated: f64,
}

impl Rounding {
    /// A model whose weights and tensors are of `element`. Half types accumulate in f32, as runtimes do; for one that does not,
    /// set [`accumulated`](Self::accumulated).
    pub fn of(element: ElementType) -> Self {
        fn of<E: Storable>() -> Rounding {
            let u = E::roundoff();
            Rounding {
                stored: u,
                smallest: E::SMALLEST,
                computed: u,
                accumulated: <E::Parameter as Element>::roundoff(),
            }
        }
        match element {
            ElementType::F64 => of::<f64>(),
            ElementType::F32 => of::<f32>(),
            ElementType::Bf16 => of::<bf16>(),
            ElementType::F16 => of::<f16>(),
        }
    }

    /// The bound relative to S, for sums of `terms` products ([`WeightLayout::terms`](super::WeightLayout::terms)) and a layer
    /// of `roundings` ([`Affine::roundings`](super::Affine::roundings), and one for each operator in between): the figure of a
    /// whole layer, which says how many digits agree where terms do not cancel. Infinite where the accumulators hold no such
    /// sum: `(terms + 1) u >= 1`.
    pub fn relative(&self, terms: usize, roundings: usize) -> f64 {
        let accumulated = gamma(terms.saturating_add(1), self.accumulated);
        let original = both(accumulated, gamma(roundings, self.computed));
        let arithmetic = gamma(terms.saturating_add(roundings).saturating_add(2), f64::roundoff());
        let folded = both(both(accumulated, both(self.stored, arithmetic)), self.computed);
        original + folded
    }

    /// As [`relative`](Self::relative), for roundings that go up as often as down: n of them are then as bad as `4 sqrt(n)` but
    /// with a probability of `2 exp(-8)`, seven in ten thousand. What is seen in practice, and enough to tell a rounding from a
    /// mistake.
    ///
    /// Source: N. J. Higham and T. Mary, "A New Approach to Probabilistic Rounding Error Analysis", 2019, theorem 2.4.
    pub fn likely(&self, terms: usize, roundings: usize) -> f64 {
        let effective = (4.0 * (terms as f64).sqrt()).ceil() as usize;
        self.relative(terms.min(effective), roundings)
    }

    /// The bound of one output: for the size S of its terms, `sum |w'| |x|` over its products and the bias's magnitude, and
    /// the sum of its `|x|`.
    pub fn output_bound(&self, size: f64, inputs: f64, terms: usize, roundings: usize) -> f64 {
        size * self.relative(terms, roundings) + (inputs + 1.0) * self.smallest
    }

    /// The bounds of a layer whose inputs have at most `largest_input` as |x|: `weights` are the outputs' sums of `|w'|`
    /// ([`WeightLayout::abs_sums`](super::WeightLayout::abs_sums) without bounds), `bias` their biases' magnitudes.
    ///
    /// Slices of different lengths are compared as far as the shorter one goes.
    ///
    /// ```
    /// use batchnorm::ElementType;
    /// use batchnorm::fold::Rounding;
    ///
    /// let bound = Rounding::of(ElementType::F32).layer_bound(&[1.0, 8.0], &[0.5, 0.0], 2.0, 9, 9);
    /// assert_eq!(bound.channel, 1);
    /// assert!(bound.worst >= 16.0 * bound.relative && bound.worst < 16.001 * bound.relative);
    /// ```
    pub fn layer_bound(
        &self,
        weights: &[f64],
        bias: &[f64],
        largest_input: f64,
        terms: usize,
        roundings: usize,
    ) -> LayerBound {
        let relative = self.relative(terms, roundings);
        let inputs = terms as f64 * largest_input;
        let bounds = weights
            .iter()
            .zip(bias)
            .map(|(weights, bias)| self.output_bound(weights * largest_input + bias, inputs, terms, roundings));
        // A bound that is NaN (infinite sizes without a bound) is none, and the worst.
        let worst =
            bounds.enumerate().map(|(c, bound)| (c, if bound.is_nan() { f64::INFINITY } else { bound }));
        let (channel, worst) =
            worst.fold((0, 0.0), |worst, bound| if bound.1 > worst.1 { bound } else { worst });
        LayerBound { relative, worst, channel }
    }
}

/// How far folding may move the outputs of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerBound {
    /// Relative to the sum of the sizes of an output's terms; the same for all outputs.
    pub relative: f64,
    /// In absolute terms, of the output with the largest.
    pub worst: f64,
    /// That output's channel.
    pub channel: usize,
}

/// How far the product of `count` factors of `1 + d`, or their inverses, is from 1.
fn gamma(count: usize, u: f64) -> f64 {
    let factors = count as f64 * u;
    if factors < 1.0 { factors / (1.0 - factors) } else { f64::INFINITY }
}

/// `(1 + a) (1 + b) - 1`, without the 1 that would round them away.
fn both(a: f64, b: f64) -> f64 {
    a + b + a * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_accumulator_holds_has_no_bound() {
        let narrow = Rounding { accumulated: f16::roundoff(), ..Rounding::of(ElementType::F16) };
        assert!(narrow.relative(2000, 9).is_finite());
        assert_eq!(narrow.relative(2047, 9), f64::INFINITY);
        assert_eq!(narrow.layer_bound(&[0.0], &[0.0], 1.0, 5000, 9).worst, f64::INFINITY);
    }

    #[test]
    fn a_layer_is_bounded_by_its_worst_output() {
        let rounding = Rounding::of(ElementType::F32);
        let bound = rounding.layer_bound(&[3.0, 5.0, 4.0], &[0.0, 0.0, 9.0], 2.0, 5, 9);
        assert_eq!((bound.channel, bound.worst), (2, rounding.output_bound(17.0, 10.0, 5, 9)));
        assert_eq!(bound.relative, rounding.relative(5, 9));
    }
}
