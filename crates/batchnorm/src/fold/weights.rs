//! Scaling weights and adding them up, chunk by chunk.
//!
//! Every operation takes a chunk of the weight's elements and the index of the first of them. A channel is looked up once for
//! a run of elements, not for each; sums are added in the order in which the elements are stored, and so are the same bits
//! however the weight was cut, if the chunks come in order.

use super::error::check_length;
use super::layout::{Row, WeightLayout, WeightOrder};
use super::{Affine, Bias, FoldError};

impl WeightLayout {
    /// Multiplies each element by its output's scale: `w' = s w`, folding after the map.
    ///
    /// # Errors
    ///
    /// [`FoldError::LengthMismatch`] where there is not one scale for each output, [`FoldError::ChunkPastEnd`].
    pub fn scale_by_output(&self, first: usize, chunk: &mut [f64], scale: &[f64]) -> Result<(), FoldError> {
        check_length("scale", self.outputs(), scale.len())?;
        match self.order() {
            WeightOrder::OutputsFirst => self.scale_rows(first, chunk, scale),
            WeightOrder::InputsFirst => self.scale_within_rows(first, chunk, scale),
        }
    }

    /// Multiplies each element by its input's scale: `w' = w s`, folding before the map.
    ///
    /// # Errors
    ///
    /// [`FoldError::LengthMismatch`] where there is not one scale for each input, [`FoldError::ChunkPastEnd`].
    pub fn scale_by_input(&self, first: usize, chunk: &mut [f64], scale: &[f64]) -> Result<(), FoldError> {
        check_length("scale", self.inputs(), scale.len())?;
        match self.order() {
            WeightOrder::OutputsFirst => self.scale_within_rows(first, chunk, scale),
            WeightOrder::InputsFirst => self.scale_rows(first, chunk, scale),
        }
    }

    /// Adds what the map makes of a constant for each input, `sum over inputs and taps of w t`, to each output in `into`: the
    /// bias that folding before the map adds. `chunk` holds the weight as it was, not yet scaled.
    ///
    /// This is the map's answer only where every output sees every tap: without padding (or with t = 0), and in a transposed
    /// convolution with one tap, or with t = 0. For outputs that see some of the taps, see
    /// [`shift_through_taps`](Self::shift_through_taps).
    ///
    /// ```
    /// use batchnorm::fold::{WeightLayout, WeightOrder};
    ///
    /// // A matrix from 2 inputs to 3 outputs, [2, 3]: t = (10, 100) becomes t W.
    /// let layout = WeightLayout::new(WeightOrder::InputsFirst, 1, 3, 2, 1)?;
    /// let mut bias = [0.0; 3];
    /// layout.shift_through(0, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[10.0, 100.0], &mut bias)?;
    /// assert_eq!(bias, [410.0, 520.0, 630.0]);
    /// # Ok::<(), batchnorm::fold::FoldError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FoldError::LengthMismatch`] where there is not one shift for each input and one sum for each output,
    /// [`FoldError::ChunkPastEnd`].
    pub fn shift_through(
        &self,
        first: usize,
        chunk: &[f64],
        shift: &[f64],
        into: &mut [f64],
    ) -> Result<(), FoldError> {
        check_length("shift", self.inputs(), shift.len())?;
        check_length("bias", self.outputs(), into.len())?;
        self.add_up(first, chunk, shift, into, |weight, shift| weight * shift)
    }

    /// As [`shift_through`](Self::shift_through), but for each tap apart: adds `sum over inputs of w t` of output o and tap k
    /// to `into[o * taps + k]`. An output that sees only some taps, such as one at a padded border, has the sum over those as
    /// its bias.
    ///
    /// # Errors
    ///
    /// [`FoldError::LengthMismatch`] where there is not one shift for each input and one sum for each output and tap,
    /// [`FoldError::ChunkPastEnd`].
    pub fn shift_through_taps(
        &self,
        first: usize,
        chunk: &[f64],
        shift: &[f64],
        into: &mut [f64],
    ) -> Result<(), FoldError> {
        let taps = self.taps();
        check_length("shift", self.inputs(), shift.len())?;
        check_length("sums", self.outputs().saturating_mul(taps), into.len())?;
        for row in self.rows(first, chunk.len())? {
            let part = &chunk[row.chunk.clone()];
            for (second, run) in row.runs(taps) {
                let second = row.seconds.start + second;
                let (output, input) = match self.order() {
                    WeightOrder::OutputsFirst => (row.channel, second),
                    WeightOrder::InputsFirst => (second, row.channel),
                };
                let tap = (row.column + run.start) % taps;
                let sums = &mut into[output * taps + tap..];
                for (sum, weight) in sums.iter_mut().zip(&part[run]) {
                    *sum += weight * shift[input];
                }
            }
        }
        Ok(())
    }

    /// Adds `sum over inputs and taps of |w| bound` to each output in `into`, with a bound of each input's |x|, or 1: how large
    /// an output can become, and what its roundings are relative to.
    ///
    /// # Errors
    ///
    /// [`FoldError::LengthMismatch`] where there is not one bound for each input and one sum for each output,
    /// [`FoldError::ChunkPastEnd`].
    pub fn abs_sums(
        &self,
        first: usize,
        chunk: &[f64],
        bounds: Option<&[f64]>,
        into: &mut [f64],
    ) -> Result<(), FoldError> {
        check_length("bounds", self.inputs(), bounds.map_or(self.inputs(), <[f64]>::len))?;
        check_length("sums", self.outputs(), into.len())?;
        match bounds {
            Some(bounds) => self.add_up(first, chunk, bounds, into, |weight, bound| weight.abs() * bound),
            None => {
                // One for each channel, beside a weight that has many elements for each.
                let ones = vec![1.0; self.inputs()];
                self.add_up(first, chunk, &ones, into, |weight, _| weight.abs())
            }
        }
    }

    /// One scale for each channel of the first axis.
    fn scale_rows(&self, first: usize, chunk: &mut [f64], scale: &[f64]) -> Result<(), FoldError> {
        for row in self.rows(first, chunk.len())? {
            let scale = scale[row.channel];
            chunk[row.chunk].iter_mut().for_each(|weight| *weight *= scale);
        }
        Ok(())
    }

    /// One scale for each channel of the second axis.
    fn scale_within_rows(&self, first: usize, chunk: &mut [f64], scale: &[f64]) -> Result<(), FoldError> {
        for row in self.rows(first, chunk.len())? {
            let scale = &scale[row.seconds.clone()];
            let part = &mut chunk[row.chunk.clone()];
            if self.taps() == 1 {
                part.iter_mut().zip(&scale[row.column..]).for_each(|(weight, scale)| *weight *= scale);
            } else {
                for (second, run) in row.runs(self.taps()) {
                    part[run].iter_mut().for_each(|weight| *weight *= scale[second]);
                }
            }
        }
        Ok(())
    }

    /// Adds a term of each element and its input's value to its output's sum.
    fn add_up(
        &self,
        first: usize,
        chunk: &[f64],
        of_inputs: &[f64],
        into: &mut [f64],
        term: impl Fn(f64, f64) -> f64 + Copy,
    ) -> Result<(), FoldError> {
        for row in self.rows(first, chunk.len())? {
            let part = &chunk[row.chunk.clone()];
            match self.order() {
                WeightOrder::OutputsFirst => {
                    let of_inputs = &of_inputs[row.seconds.clone()];
                    let sum = &mut into[row.channel];
                    *sum = one_output(&row, self.taps(), part, of_inputs, *sum, term);
                }
                WeightOrder::InputsFirst => {
                    let sums = &mut into[row.seconds.clone()];
                    one_input(&row, self.taps(), part, of_inputs[row.channel], sums, term);
                }
            }
        }
        Ok(())
    }
}

fn one_output(
    row: &Row,
    taps: usize,
    part: &[f64],
    of_inputs: &[f64],
    mut sum: f64,
    term: impl Fn(f64, f64) -> f64,
) -> f64 {
    if taps == 1 {
        for (&weight, &of_input) in part.iter().zip(&of_inputs[row.column..]) {
            sum += term(weight, of_input);
        }
    } else {
        for (input, run) in row.runs(taps) {
            let of_input = of_inputs[input];
            for &weight in &part[run] {
                sum += term(weight, of_input);
            }
        }
    }
    sum
}

fn one_input(
    row: &Row,
    taps: usize,
    part: &[f64],
    of_input: f64,
    sums: &mut [f64],
    term: impl Fn(f64, f64) -> f64,
) {
    if taps == 1 {
        for (&weight, sum) in part.iter().zip(&mut sums[row.column..]) {
            *sum += term(weight, of_input);
        }
    } else {
        for (output, run) in row.runs(taps) {
            for &weight in &part[run] {
                sums[output] += term(weight, of_input);
            }
        }
    }
}

/// A map with a layer folded into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// The weight, in the layout that it had.
    pub weights: Vec<f64>,
    /// The bias, also where there was none.
    pub bias: Bias,
}

/// Folds `affine`, applied to what the map gives, into a weight that is in memory as a whole: `s (W x + b) + t`.
///
/// ```
/// use batchnorm::fold::{Affine, WeightLayout, WeightOrder, fold_after};
///
/// let matrix = WeightLayout::new(WeightOrder::OutputsFirst, 1, 1, 2, 1)?;
/// let folded = fold_after(&matrix, &[1.0, 2.0], Some(&[3.0]), &Affine::of(vec![2.0], vec![1.0])?)?;
/// assert_eq!((folded.weights, folded.bias.values), (vec![2.0, 4.0], vec![7.0]));
/// # Ok::<(), batchnorm::fold::FoldError>(())
/// ```
///
/// # Errors
///
/// [`FoldError::LengthMismatch`] where weight, bias or layer are not the layout's.
pub fn fold_after(
    layout: &WeightLayout,
    weights: &[f64],
    bias: Option<&[f64]>,
    affine: &Affine,
) -> Result<Folded, FoldError> {
    check_length("weights", layout.elements(), weights.len())?;
    let mut weights = weights.to_vec();
    layout.scale_by_output(0, &mut weights, affine.scale())?;
    let bias = Bias::new(bias, layout.outputs())?.then(affine)?;
    Ok(Folded { weights, bias })
}

/// Folds `affine`, applied to what the map reads, into a weight that is in memory as a whole: `W (s x + t) + b`.
///
/// Where the map pads, or is a transposed convolution with more than one tap, `affine` must be
/// [a pure scale](Affine::is_pure_scale): see [`WeightLayout::shift_through`].
///
/// ```
/// use batchnorm::fold::{Affine, WeightLayout, WeightOrder, fold_before};
///
/// let matrix = WeightLayout::new(WeightOrder::OutputsFirst, 1, 1, 2, 1)?;
/// let folded = fold_before(&matrix, &[1.0, 2.0], None, &Affine::of(vec![2.0, 3.0], vec![1.0, 10.0])?)?;
/// assert_eq!((folded.weights, folded.bias.values), (vec![2.0, 6.0], vec![21.0]));
/// # Ok::<(), batchnorm::fold::FoldError>(())
/// ```
///
/// # Errors
///
/// [`FoldError::LengthMismatch`] where weight, bias or layer are not the layout's.
pub fn fold_before(
    layout: &WeightLayout,
    weights: &[f64],
    bias: Option<&[f64]>,
    affine: &Affine,
) -> Result<Folded, FoldError> {
    check_length("weights", layout.elements(), weights.len())?;
    let mut bias = Bias::new(bias, layout.outputs())?;
    layout.shift_through(0, weights, affine.shift(), &mut bias.values)?;
    layout.abs_sums(0, weights, Some(affine.magnitude()), &mut bias.magnitude)?;
    let mut weights = weights.to_vec();
    layout.scale_by_input(0, &mut weights, affine.scale())?;
    Ok(Folded { weights, bias })
}
