//! The two maps over a run of consecutive elements, and the gate before a gradient.
//!
//! ```text
//! normalize:       z = scale * (x - mean) + beta;    y = epilogue(z)
//! gate:            dz = dy where z > 0, else slope * dy
//! input gradient:  dx = scale * ((dz - mean_dy) - (x - mean) * slope) + rest
//! ```
//!
//! All of it in the parameters' type, and rounded once to the tensors'.
//!
//! Deviations from this pseudo-code:
//! 1. A gate makes a pass of its own over the run while it is in cache, so that one body serves every combination.
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
    let x = &x.data()[range.clone()];
    let zero = E::Parameter::ZERO;
    match epilogue {
        Epilogue::None => each(coefficients, x, y, |_, z| z),
        Epilogue::Relu => each(coefficients, x, y, |_, z| if z < zero { zero } else { z }),
        Epilogue::LeakyRelu { slope } => {
            let slope = E::Parameter::from_f64(slope);
            each(coefficients, x, y, |_, z| if z < zero { slope * z } else { z });
        }
        Epilogue::AddRelu { addend } => {
            let addend = &addend.data()[range][..y.len()];
            each(coefficients, x, y, |i, z| {
                let z = z + addend[i].widen();
                if z < zero { zero } else { z }
            });
        }
    }
}

/// `y = then(z)` for each element and its index.
#[inline(always)]
fn each<E: Element>(
    coefficients: impl Run<E::Parameter>,
    x: &[E],
    y: &mut [E],
    then: impl Fn(usize, E::Parameter) -> E::Parameter,
) {
    let coefficients = coefficients.part(0..y.len());
    for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
        *y = E::narrow(then(i, coefficients.at(i).affine(*x)));
    }
}

/// dz of the elements `range` of the tensor, in `dz`, which has the range's length.
#[inline(always)]
pub fn gated<E: Element>(
    coefficients: impl Run<E::Parameter>,
    dy: View<'_, E>,
    gate: Gate<'_, E>,
    range: Range<usize>,
    dz: &mut [E::Parameter],
) {
    let dy = &dy.data()[range.clone()];
    let (x, slope, addend) = match gate {
        Gate::None => return dz.iter_mut().zip(dy).for_each(|(dz, dy)| *dz = dy.widen()),
        Gate::Relu { x } => (x, None, None),
        Gate::LeakyRelu { x, slope } => (x, Some(E::Parameter::from_f64(slope)), None),
        Gate::AddRelu { x, addend } => (x, None, Some(addend)),
        Gate::Output { y, slope } => (y, Some(E::Parameter::from_f64(slope)), None),
    };
    let (zero, coefficients) = (E::Parameter::ZERO, coefficients.part(0..dz.len()));
    let x = &x.data()[range.clone()];
    match gate {
        // The output has z's sign.
        Gate::Output { .. } => dz.iter_mut().zip(x).for_each(|(z, y)| *z = y.widen()),
        _ => {
            for (i, (z, x)) in dz.iter_mut().zip(x).enumerate() {
                *z = coefficients.at(i).affine(*x);
            }
        }
    }
    if let Some(addend) = addend {
        for (z, addend) in dz.iter_mut().zip(&addend.data()[range]) {
            *z = *z + addend.widen();
        }
    }
    match slope {
        // Not a product by zero: a closed gate lets no infinity through as NaN.
        None => {
            for (z, dy) in dz.iter_mut().zip(dy) {
                *z = if *z > zero { dy.widen() } else { zero };
            }
        }
        Some(slope) => {
            for (z, dy) in dz.iter_mut().zip(dy) {
                let dy = dy.widen();
                *z = if *z > zero { dy } else { slope * dy };
            }
        }
    }
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
    let mut buffer = [E::Parameter::ZERO; GATED];
    let inverse = gate.inverse().map(E::Parameter::from_f64);
    for offset in (0..dx.len()).step_by(GATED) {
        let run = offset..(offset + GATED).min(dx.len());
        let range = start + run.start..start + run.end;
        let coefficients = coefficients.part(run.clone());
        let dz = &mut buffer[..run.len()];
        gated(coefficients, dy, gate, range.clone(), dz);
        if let Some(d_addend) = &mut d_addend {
            // Exact: it is dy or 0.
            d_addend[run.clone()].iter_mut().zip(&*dz).for_each(|(d_addend, dz)| *d_addend = E::narrow(*dz));
        }
        let dx = &mut dx[run];
        match x {
            Some(x) => {
                for (i, ((dx, dz), x)) in dx.iter_mut().zip(&*dz).zip(&x.data()[range]).enumerate() {
                    *dx = E::narrow(coefficients.at(i).input_gradient(Gate::undone(inverse, *x), *dz));
                }
            }
            None => {
                for (i, (dx, dz)) in dx.iter_mut().zip(&*dz).enumerate() {
                    *dx = E::narrow(coefficients.at(i).scale * *dz);
                }
            }
        }
    }
}
