//! The kernels of each element type, compiled here once and not in every crate that calls them.

use super::super::dispatch::InstructionSet;
use super::From;
use crate::{
    Coefficients, Element, Epilogue, Gate, GradientMeans, GradientSums, Moments, Parameters, View, ViewMut,
};

/// What [`Kernels`](crate::Kernels) asks of an element type.
#[allow(missing_docs, reason = "the functions of this module's parent")]
#[allow(clippy::too_many_arguments, reason = "the operands of a pass")]
pub trait ChannelsFirst: Sized {
    type Computed;

    fn moments(set: InstructionSet, x: View<'_, Self>, moments: &mut [Moments]);

    fn normalize(
        set: InstructionSet,
        coefficients: &[Coefficients],
        x: From<'_, Self>,
        epilogue: Epilogue<'_, Self>,
        y: ViewMut<'_, Self>,
    );

    fn gradient_sums(
        set: InstructionSet,
        coefficients: &[Coefficients],
        x: Option<View<'_, Self>>,
        dy: View<'_, Self>,
        gate: Gate<'_, Self>,
        sums: &mut [GradientSums],
    );

    fn input_gradient(
        set: InstructionSet,
        coefficients: &[Coefficients],
        batch: Option<(View<'_, Self>, &[GradientMeans])>,
        dy: View<'_, Self>,
        gate: Gate<'_, Self>,
        dx: ViewMut<'_, Self>,
        d_addend: Option<ViewMut<'_, Self>>,
    );

    fn forward_train(
        set: InstructionSet,
        eps: f64,
        parameters: Parameters<'_, Self::Computed>,
        x: From<'_, Self>,
        epilogue: Epilogue<'_, Self>,
        y: ViewMut<'_, Self>,
        moments: &mut [Moments],
        coefficients: &mut [Coefficients],
    );

    fn backward(
        set: InstructionSet,
        coefficients: &[Coefficients],
        count: u64,
        x: View<'_, Self>,
        dy: View<'_, Self>,
        gate: Gate<'_, Self>,
        dx: ViewMut<'_, Self>,
        d_addend: Option<ViewMut<'_, Self>>,
        sums: &mut [GradientSums],
    );
}

macro_rules! entries {
    ($type:ty) => {
        impl ChannelsFirst for $type {
            type Computed = <$type as Element>::Parameter;

            fn moments(set: InstructionSet, x: View<'_, Self>, moments: &mut [Moments]) {
                super::moments(set, x, moments);
            }

            fn normalize(
                set: InstructionSet,
                coefficients: &[Coefficients],
                x: From<'_, Self>,
                epilogue: Epilogue<'_, Self>,
                y: ViewMut<'_, Self>,
            ) {
                super::normalize(set, coefficients, x, epilogue, y);
            }

            fn gradient_sums(
                set: InstructionSet,
                coefficients: &[Coefficients],
                x: Option<View<'_, Self>>,
                dy: View<'_, Self>,
                gate: Gate<'_, Self>,
                sums: &mut [GradientSums],
            ) {
                super::gradient_sums(set, coefficients, x, dy, gate, sums);
            }

            fn input_gradient(
                set: InstructionSet,
                coefficients: &[Coefficients],
                batch: Option<(View<'_, Self>, &[GradientMeans])>,
                dy: View<'_, Self>,
                gate: Gate<'_, Self>,
                dx: ViewMut<'_, Self>,
                d_addend: Option<ViewMut<'_, Self>>,
            ) {
                super::input_gradient(set, coefficients, batch, dy, gate, dx, d_addend);
            }

            fn forward_train(
                set: InstructionSet,
                eps: f64,
                parameters: Parameters<'_, Self::Computed>,
                x: From<'_, Self>,
                epilogue: Epilogue<'_, Self>,
                y: ViewMut<'_, Self>,
                moments: &mut [Moments],
                coefficients: &mut [Coefficients],
            ) {
                super::forward_train(set, eps, parameters, x, epilogue, y, moments, coefficients);
            }

            fn backward(
                set: InstructionSet,
                coefficients: &[Coefficients],
                count: u64,
                x: View<'_, Self>,
                dy: View<'_, Self>,
                gate: Gate<'_, Self>,
                dx: ViewMut<'_, Self>,
                d_addend: Option<ViewMut<'_, Self>>,
                sums: &mut [GradientSums],
            ) {
                super::backward(set, coefficients, count, x, dy, gate, dx, d_addend, sums);
            }
        }
    };
}

entries!(f32);
entries!(f64);
entries!(half::bf16);
entries!(half::f16);
