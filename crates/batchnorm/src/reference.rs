//! The definition of the four primitives, as plain f64 loops. Never optimised: it judges every backend.

use crate::{
    Coefficients, Element, Epilogue, Gate, GradientMeans, GradientSums, Kernels, Moments, Shape, View, ViewMut,
};

/// The reference backend: every equation as it is written, in f64, one element after another.
///
/// Slow, and so simple that it is unlikely to be wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

/// Index of every element of a channel, in memory order.
fn elements(shape: Shape, channel: usize) -> impl Iterator<Item = usize> {
    let (channels, inner) = (shape.channels(), shape.inner());
    (0..shape.outer()).flat_map(move |outer| {
        let start = (outer * channels + channel) * inner;
        start..start + inner
    })
}

/// Whether element `i` counts: always, without a mask.
fn counts<E>(view: View<'_, E>, i: usize) -> bool {
    let (channels, inner) = (view.shape().channels(), view.shape().inner());
    let (outer, inside) = (i / (channels * inner), i % inner);
    view.mask().is_none_or(|mask| mask.counts()[outer * inner + inside])
}

/// `z = gamma xhat + beta`.
fn affine<E: Element>(coefficients: &Coefficients, x: E) -> f64 {
    coefficients.gamma * xhat(coefficients, x) + coefficients.beta
}

/// `xhat = (x - mean) rstd`.
fn xhat<E: Element>(coefficients: &Coefficients, x: E) -> f64 {
    (x.to_f64() - coefficients.mean) * coefficients.rstd
}

/// The same, of the z that the gate says if x is an output.
fn xhat_of<E: Element>(gate: Gate<'_, E>, coefficients: &Coefficients, x: E) -> f64 {
    match gate {
        Gate::Output { slope, .. } if x.to_f64() < 0.0 => {
            (x.to_f64() / slope - coefficients.mean) * coefficients.rstd
        }
        _ => xhat(coefficients, x),
    }
}

/// `dz` of element `i`.
fn gated<E: Element>(gate: Gate<'_, E>, coefficients: &Coefficients, dy: View<'_, E>, i: usize) -> f64 {
    let dy = dy.data()[i].to_f64();
    // z in the tensor's own type: the gate must agree with what the forward pass wrote.
    let z = |x: View<'_, E>, addend: f64| E::from_f64(affine(coefficients, x.data()[i]) + addend).to_f64();
    match gate {
        Gate::None => dy,
        Gate::Relu { x } if z(x, 0.0) > 0.0 => dy,
        Gate::Relu { .. } => 0.0,
        Gate::LeakyRelu { x, .. } if z(x, 0.0) > 0.0 => dy,
        Gate::LeakyRelu { slope, .. } => slope * dy,
        Gate::AddRelu { x, addend } if z(x, addend.data()[i].to_f64()) > 0.0 => dy,
        Gate::AddRelu { .. } => 0.0,
        Gate::Output { y, .. } if y.data()[i].to_f64() > 0.0 => dy,
        Gate::Output { slope, .. } => slope * dy,
    }
}

impl<E: Element> Kernels<E> for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn moments(&self, x: View<'_, E>, moments: &mut [Moments]) {
        for (channel, moments) in moments.iter_mut().enumerate() {
            let counted = elements(x.shape(), channel).filter(|&i| counts(x, i));
            let values: Vec<f64> = counted.map(|i| x.data()[i].to_f64()).collect();
            *moments = Moments::of(&values);
        }
    }

    fn normalize(
        &self,
        coefficients: &[Coefficients],
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        mut y: ViewMut<'_, E>,
    ) {
        for (channel, coefficients) in coefficients.iter().enumerate() {
            for i in elements(x.shape(), channel) {
                if !counts(x, i) {
                    y.data()[i] = E::default();
                    continue;
                }
                let z = affine(coefficients, x.data()[i]);
                y.data()[i] = E::from_f64(match epilogue {
                    Epilogue::None => z,
                    Epilogue::Relu if z < 0.0 => 0.0,
                    Epilogue::Relu => z,
                    Epilogue::LeakyRelu { slope } if z < 0.0 => slope * z,
                    Epilogue::LeakyRelu { .. } => z,
                    Epilogue::AddRelu { addend } if z + addend.data()[i].to_f64() < 0.0 => 0.0,
                    Epilogue::AddRelu { addend } => z + addend.data()[i].to_f64(),
                });
            }
        }
    }

    fn gradient_sums(
        &self,
        coefficients: &[Coefficients],
        x: Option<View<'_, E>>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        sums: &mut [GradientSums],
    ) {
        for (channel, (coefficients, sums)) in coefficients.iter().zip(sums).enumerate() {
            *sums = GradientSums::default();
            for i in elements(dy.shape(), channel).filter(|&i| counts(dy, i)) {
                let dz = gated(gate, coefficients, dy, i);
                sums.dy += dz;
                if let Some(x) = x {
                    sums.dy_xhat += dz * xhat_of(gate, coefficients, x.data()[i]);
                }
            }
        }
    }

    fn input_gradient(
        &self,
        coefficients: &[Coefficients],
        batch: Option<(View<'_, E>, &[GradientMeans])>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        mut dx: ViewMut<'_, E>,
        mut d_addend: Option<ViewMut<'_, E>>,
    ) {
        for (channel, coefficients) in coefficients.iter().enumerate() {
            for i in elements(dy.shape(), channel) {
                let (mut dz, mut gradient) = (0.0, 0.0);
                if counts(dy, i) {
                    dz = gated(gate, coefficients, dy, i);
                    let correction = batch.map_or(0.0, |(x, means)| {
                        means[channel].dy + xhat_of(gate, coefficients, x.data()[i]) * means[channel].dy_xhat
                    });
                    gradient = coefficients.scale() * (dz - correction);
                }
                dx.data()[i] = E::from_f64(gradient);
                if let Some(d_addend) = &mut d_addend {
                    d_addend.data()[i] = E::from_f64(dz);
                }
            }
        }
    }
}
