//! Folded weights: read from where they were and scaled while they are written, and looked at once before.

use std::sync::Arc;

use batchnorm::fold::{FoldError, Storable, WeightLayout, store};
use half::{bf16, f16};

use super::Attempt;
use super::refusal::Refusal;
use crate::onnx::document::{DocumentError, ElementType, Made};

/// So many elements are looked at at once.
const CHUNK: usize = 1 << 15;

/// Which channels of a map the layer's are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The layer comes after the map.
    Outputs,
    /// The layer comes before the map.
    Inputs,
}

/// A weight times a scale for each output or input, computed when it is read.
#[derive(Debug)]
pub(super) struct Scaled {
    pub(super) weight: Arc<dyn Made>,
    pub(super) layout: WeightLayout,
    pub(super) side: Side,
    pub(super) scale: Vec<f64>,
}

impl Made for Scaled {
    fn read(&self, first: u64, out: &mut [f64]) -> Result<(), DocumentError> {
        self.weight.read(first, out)?;
        let first = first as usize;
        match self.side {
            Side::Outputs => self.layout.scale_by_output(first, out, &self.scale),
            Side::Inputs => self.layout.scale_by_input(first, out, &self.scale),
        }
        // The layout was checked against the weight, and the scale against the layout, before anything was folded.
        .map_err(|error| DocumentError::Tensor { tensor: String::new(), found: error.to_string() })
    }
}

/// Numbers that are moved by a part of themselves, up or down at random.
#[derive(Debug)]
struct Disturbed {
    numbers: Arc<dyn Made>,
    by: f64,
    seed: u64,
}

impl Made for Disturbed {
    fn read(&self, first: u64, out: &mut [f64]) -> Result<(), DocumentError> {
        self.numbers.read(first, out)?;
        for (index, value) in (first..).zip(out) {
            *value *= 1.0 + sign(self.seed, index) * self.by;
        }
        Ok(())
    }
}

/// The numbers as they are, or moved.
pub(super) fn moved(numbers: Arc<dyn Made>, by: f64, seed: Option<u64>) -> Arc<dyn Made> {
    match seed {
        Some(seed) => Arc::new(Disturbed { numbers, by, seed }),
        None => numbers,
    }
}

/// 1 or -1, by the last steps of SplitMix64.
pub(super) fn sign(seed: u64, index: u64) -> f64 {
    let mut bits = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    if (bits ^ bits >> 31) & 1 == 0 { 1.0 } else { -1.0 }
}

/// What a weight comes to.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    /// The sum of |w'| of each output.
    pub(super) sizes: Vec<f64>,
    /// The sum of w t of each output, t being a shift of each input.
    pub(super) shifted: Vec<f64>,
    /// The sum of |w| times the shift's magnitude of each output.
    pub(super) magnitudes: Vec<f64>,
    /// Weights that were not 0 and are now: too small for their type.
    pub(super) flushed: u64,
}

/// Goes through a scaled weight once: does it fit its type, and what are its sums?
pub(super) fn look(scaled: &Scaled, element: ElementType, shift: Option<(&[f64], &[f64])>) -> Attempt<Sums> {
    let layout = &scaled.layout;
    let mut sums = Sums { sizes: vec![0.0; layout.outputs()], ..Sums::default() };
    if shift.is_some() {
        sums.shifted = vec![0.0; layout.outputs()];
        sums.magnitudes = vec![0.0; layout.outputs()];
    }
    let (mut first, count) = (0, layout.elements());
    let mut chunk = vec![0.0; CHUNK.min(count)];
    while first < count {
        let chunk = &mut chunk[..(count - first).min(CHUNK)];
        if let Some((shift, magnitude)) = shift {
            scaled.weight.read(first as u64, chunk)?;
            layout.shift_through(first, chunk, shift, &mut sums.shifted).map_err(Refusal::from)?;
            layout.abs_sums(first, chunk, Some(magnitude), &mut sums.magnitudes).map_err(Refusal::from)?;
        }
        scaled.read(first as u64, chunk)?;
        layout.abs_sums(first, chunk, None, &mut sums.sizes).map_err(Refusal::from)?;
        sums.flushed += fits(element, chunk).map_err(Refusal::from)?;
        first += chunk.len();
    }
    Ok(sums)
}

/// Whether numbers fit a type; how many of them become 0 by it.
pub(super) fn fits(element: ElementType, values: &[f64]) -> Result<u64, FoldError> {
    fn into<E: Storable>(values: &[f64]) -> Result<u64, FoldError> {
        let mut stored = vec![E::default(); values.len()];
        Ok(store(values, &mut stored)?.flushed)
    }
    match element {
        ElementType::Double => into::<f64>(values),
        ElementType::Float16 => into::<f16>(values),
        ElementType::Bfloat16 => into::<bf16>(values),
        _ => into::<f32>(values),
    }
}

/// The engine's name of a type.
pub(super) fn engine_type(element: ElementType) -> batchnorm::ElementType {
    match element {
        ElementType::Double => batchnorm::ElementType::F64,
        ElementType::Float16 => batchnorm::ElementType::F16,
        ElementType::Bfloat16 => batchnorm::ElementType::Bf16,
        _ => batchnorm::ElementType::F32,
    }
}
