//! The two maps over a run of consecutive elements, and the gate before a gradient.
//!
//! ```text
//! normalize:       z = scale * (x - mean) + beta;    y = epilogue(z)
//! gate:            dz = dy where z > 0, else slope * dy
//! input gradient:  dx = scale * ((dz - mean_dy) - (x - mean) * slope) + rest
//! ```
//!
//! Deviations from this pseudo-code:
//! 1. An epilogue or a gate makes a second pass over the run while it is in cache, so that one body serves
//!    every combination.
//! 2. With fixed statistics mean_dy, slope and rest are zero and x is not read: dx = scale * dz.

use std::ops::Range;

use super::narrow::Run;
use crate::{Element, Epilogue, Gate, Real, View};

/// Elements of dz kept on the stack between gate and use.
pub const GATED: usize = 256;

/// `y = epilogue(z)` for the run at `start` of the tensor.
#[inline(always)]
pub fn normalize<E: Element>(
    coefficients: impl Run<E::Parameter>,
    x: View<'_, E>,
    epilogue: Epilogue<'_, E>,
    start: usize,
    y: &mut [E],
) {
    let range = start..start + y.len();
    affine(coefficients, &x.data()[range.clone()], y);
    let zero = E::Parameter::ZERO;
    match epilogue {
        Epilogue::None => {}
        Epilogue::Relu => {
            for y in y {
                let z = y.widen();
                *y = E::narrow(if z < zero { zero } else { z });
            }
        }
        Epilogue::LeakyRelu { slope } => {
            let slope = E::Parameter::from_f64(slope);
            for y in y {
                let z = y.widen();
                *y = E::narrow(if z < zero { slope * z } else { z });
            }
        }
        Epilogue::AddRelu { addend } => {
            for (y, addend) in y.iter_mut().zip(&addend.data()[range]) {
                let z = y.widen() + addend.widen();
                *y = E::narrow(if z < zero { zero } else { z });
            }
        }
    }
}

#[inline(always)]
fn affine<E: Element>(coefficients: impl Run<E::Parameter>, x: &[E], z: &mut [E]) {
    let coefficients = coefficients.part(0..z.len());
    for (i, (z, x)) in z.iter_mut().zip(x).enumerate() {
        *z = E::narrow(coefficients.at(i).affine(*x));
    }
}

/// dz of the elements `range` of the tensor: dy itself where there is no gate, else written into `buffer`,
/// which has the range's length.
#[inline(always)]
pub fn gated<'b, E: Element>(
    coefficients: impl Run<E::Parameter>,
    dy: View<'b, E>,
    gate: Gate<'_, E>,
    range: Range<usize>,
    buffer: &'b mut [E],
) -> &'b [E] {
    let dy = &dy.data()[range.clone()];
    let (x, slope, addend) = match gate {
        Gate::None => return dy,
        Gate::Relu { x } => (x, None, None),
        Gate::LeakyRelu { x, slope } => (x, Some(E::Parameter::from_f64(slope)), None),
        Gate::AddRelu { x, addend } => (x, None, Some(addend)),
    };
    let zero = E::Parameter::ZERO;
    affine(coefficients, &x.data()[range.clone()], buffer);
    if let Some(addend) = addend {
        for (z, addend) in buffer.iter_mut().zip(&addend.data()[range]) {
            *z = E::narrow(z.widen() + addend.widen());
        }
    }
    match slope {
        // Not a product by zero: a closed gate lets no infinity through as NaN.
        None => {
            for (z, dy) in buffer.iter_mut().zip(dy) {
                *z = if z.widen() > zero { *dy } else { E::default() };
            }
        }
        Some(slope) => {
            for (z, dy) in buffer.iter_mut().zip(dy) {
                let dy = dy.widen();
                *z = E::narrow(if z.widen() > zero { dy } else { slope * dy });
            }
        }
    }
    buffer
}

/// dx, and dz into `d_addend` where given, for the run at `start` of the tensor.
#[inline(always)]
pub fn input_gradient<E: Element>(
    coefficients: impl Run<E::Parameter>,
    x: Option<View<'_, E>>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    start: usize,
    dx: &mut [E],
    mut d_addend: Option<&mut [E]>,
) {
    let mut buffer = [E::default(); GATED];
    for offset in (0..dx.len()).step_by(GATED) {
        let run = offset..(offset + GATED).min(dx.len());
        let range = start + run.start..start + run.end;
        let coefficients = coefficients.part(run.clone());
        let dz = gated(coefficients, dy, gate, range.clone(), &mut buffer[..run.len()]);
        if let Some(d_addend) = &mut d_addend {
            d_addend[run.clone()].copy_from_slice(dz);
        }
        let dx = &mut dx[run];
        match x {
            Some(x) => {
                for (i, ((dx, dz), x)) in dx.iter_mut().zip(dz).zip(&x.data()[range]).enumerate() {
                    *dx = E::narrow(coefficients.at(i).input_gradient(*x, *dz));
                }
            }
            None => {
                for (i, (dx, dz)) in dx.iter_mut().zip(dz).enumerate() {
                    *dx = E::narrow(coefficients.at(i).scale * dz.widen());
                }
            }
        }
    }
}
