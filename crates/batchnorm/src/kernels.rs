//! The four primitives, as the trait that every backend implements.
//!
//! All of batch normalization is two folds and two maps over a tensor seen as (outer, channels, inner):
//!
//! | primitive | kind | computes, per channel |
//! |---|---|---|
//! | [`Kernels::moments`] | fold x | n, mean, M2 |
//! | [`Kernels::normalize`] | map x | `y = gamma rstd (x - mean) + beta` |
//! | [`Kernels::gradient_sums`] | fold (x, dy) | `sum(dy)`, `sum(dy xhat)` |
//! | [`Kernels::input_gradient`] | map (x, dy) | `dx = gamma rstd (dy - mean(dy) - xhat mean(dy xhat))` |
//!
//! Everything else (training, evaluation, frozen layers, Algorithm 2, synchronized statistics ...) is a
//! composition of these and of [`Moments::merge`](crate::Moments::merge).

use crate::coefficients;
use crate::{Coefficients, Element, GradientMeans, GradientSums, Moments, Parameters, View, ViewMut};

/// What a map does to `z = gamma rstd (x - mean) + beta` before it writes y.
#[derive(Clone, Copy, Debug, Default)]
pub enum Epilogue<'a, E> {
    /// `y = z`.
    #[default]
    None,
    /// `y = max(z, 0)`; NaN stays NaN.
    Relu,
    /// `y = z` where `z > 0`, else `slope z`.
    LeakyRelu {
        /// The slope for negative values.
        slope: f64,
    },
    /// `y = max(z + addend, 0)`: the end of a residual block.
    AddRelu {
        /// What is added; of x's shape.
        addend: View<'a, E>,
    },
}

/// The derivative of an [`Epilogue`], by which the gradient kernels multiply dy first.
///
/// z is recomputed from x, so nothing but what is read anyway is needed, and no mask is stored.
#[derive(Clone, Copy, Debug, Default)]
pub enum Gate<'a, E> {
    /// `dz = dy`.
    #[default]
    None,
    /// `dz = dy` where `z > 0`, else 0.
    Relu {
        /// The input of the forward pass.
        x: View<'a, E>,
    },
    /// `dz = dy` where `z > 0`, else `slope dy`.
    LeakyRelu {
        /// The input of the forward pass.
        x: View<'a, E>,
        /// The slope for negative values.
        slope: f64,
    },
    /// `dz = dy` where `z + addend > 0`, else 0; dz is the addend's gradient too.
    AddRelu {
        /// The input of the forward pass.
        x: View<'a, E>,
        /// What the forward pass added.
        addend: View<'a, E>,
    },
    /// `dz = dy` where `y > 0`, else `slope dy`: of a forward pass of which the output alone is left.
    ///
    /// The kernels are given y in the place of x, too: they read `z = y` where `y > 0`, else `y / slope`, and take their
    /// [`Coefficients`] as those of z, which are [`Coefficients::of_output`]: `xhat = (z - beta) / gamma`. The
    /// [passes](crate::passes) see to both.
    ///
    /// Source: Rota Bulò, Porzi and Kontschieder, "In-Place Activated BatchNorm for Memory-Optimized Training of DNNs",
    /// 2018, arXiv 1712.02616.
    Output {
        /// The output of the forward pass.
        y: View<'a, E>,
        /// The slope of [`Epilogue::LeakyRelu`]; 1 for a pass without epilogue.
        slope: f64,
    },
}

impl<E: Element> Gate<'_, E> {
    /// What y is multiplied by where it is not positive, to be z: `1 / slope`, if x is read from the output.
    pub(crate) fn inverse(&self) -> Option<f64> {
        match self {
            Self::Output { slope, .. } => Some(1.0 / slope),
            _ => None,
        }
    }

    /// z of what is read as x; or that, if it is no output.
    #[inline(always)]
    pub(crate) fn undone(inverse: Option<E::Parameter>, x: E) -> E::Parameter {
        let (x, zero) = (x.widen(), E::Parameter::from_f64(0.0));
        match inverse {
            Some(inverse) if x < zero => inverse * x,
            _ => x,
        }
    }
}

/// A backend: something that computes the four primitives for tensors of type `E`.
///
/// All views of one call have the same shape and every per-channel slice has one entry per channel: the
/// [passes](crate::passes) check that before they call, and a kernel called directly may panic or leave values
/// unwritten if it does not hold. Backends judge themselves against [`Reference`](crate::Reference).
///
/// A view may carry a [`Mask`](crate::Mask). The tensor that a primitive reads first decides: x in `moments` and
/// `normalize`, dy in `gradient_sums` and `input_gradient`; a mask on any other view is not looked at. Where the mask
/// does not count a position, the folds take nothing from it and the maps write 0, whatever (NaN, infinity) any
/// tensor holds there; every other result is what it would be if those positions were cut out of all tensors.
///
/// A backend may override the two provided methods to keep a channel in cache between fold and map.
///
/// ```
/// use batchnorm::{Coefficients, Cpu, Epilogue, Kernels, Moments, Shape, View, ViewMut};
///
/// let shape = Shape::new(1, 2, 3)?;
/// let x = View::new("x", shape, &[1.0f32, 2.0, 3.0, 10.0, 10.0, 40.0])?;
/// let mut moments = [Moments::EMPTY; 2];
/// Cpu.moments(x, &mut moments);
/// assert_eq!((moments[1].mean, moments[1].m2), (20.0, 600.0));
///
/// let unit = (1.0, 0.0); // gamma and beta
/// let coefficients = moments.map(|moments| Coefficients::of_batch(&moments, 1e-5, unit));
/// let mut y = [0.0; 6];
/// Cpu.normalize(&coefficients, x, Epilogue::None, ViewMut::new("y", shape, &mut y)?);
/// assert!((y[2] - 1.2247).abs() < 1e-4);
/// # Ok::<(), batchnorm::Error>(())
/// ```
pub trait Kernels<E: Element>: Sync {
    /// The backend's name, for messages and tests.
    fn name(&self) -> &'static str;

    /// Fold: count, mean and M2 of every channel of `x` into `moments`.
    ///
    /// The count is of what x's mask counts: if nothing, the result is [`Moments::EMPTY`].
    fn moments(&self, x: View<'_, E>, moments: &mut [Moments]);

    /// Map: `y = epilogue(gamma rstd (x - mean) + beta)`; 0 where x's mask does not count, whatever the epilogue adds.
    fn normalize(
        &self,
        coefficients: &[Coefficients],
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        y: ViewMut<'_, E>,
    );

    /// Fold: `sum(dz)` and `sum(dz xhat)` of every channel into `sums`, with `dz = gate(dy)`.
    ///
    /// Without `x` only `sum(dz)` is computed, and `dy_xhat` is 0. dy's mask decides which terms there are.
    fn gradient_sums(
        &self,
        coefficients: &[Coefficients],
        x: Option<View<'_, E>>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        sums: &mut [GradientSums],
    );

    /// Map: `dx = gamma rstd (dz - mean(dz) - xhat mean(dz xhat))`, with `dz = gate(dy)`.
    ///
    /// `batch` holds x and the two means when the statistics were the batch's own; with fixed statistics it is
    /// `None`, the last two terms vanish, and x is not read (but by a gate). `d_addend`, when given, receives
    /// dz: the gradient of what [`Epilogue::AddRelu`] added. Both are 0 where dy's mask does not count; the means are
    /// over the positions that do.
    fn input_gradient(
        &self,
        coefficients: &[Coefficients],
        batch: Option<(View<'_, E>, &[GradientMeans])>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        dx: ViewMut<'_, E>,
        d_addend: Option<ViewMut<'_, E>>,
    );

    /// `moments`, then `normalize` with the batch's own statistics. Fills in `moments` and the `coefficients` used.
    #[allow(clippy::too_many_arguments, reason = "the operands of a forward pass")]
    fn forward_train(
        &self,
        eps: f64,
        parameters: Parameters<'_, E::Parameter>,
        x: View<'_, E>,
        epilogue: Epilogue<'_, E>,
        y: ViewMut<'_, E>,
        moments: &mut [Moments],
        coefficients: &mut [Coefficients],
    ) {
        self.moments(x, moments);
        coefficients::fill_of_batch(moments, eps, &parameters, coefficients);
        self.normalize(coefficients, x, epilogue, y);
    }

    /// [`normalize`](Self::normalize) where y overwrites x. The provided method makes a copy of x.
    fn normalize_in_place(
        &self,
        coefficients: &[Coefficients],
        epilogue: Epilogue<'_, E>,
        mut data: ViewMut<'_, E>,
    ) {
        let (shape, x) = (data.shape(), data.data().to_vec());
        self.normalize(coefficients, View::new("x", shape, &x).expect("a copy"), epilogue, data);
    }

    /// [`forward_train`](Self::forward_train) where y overwrites x. The provided method makes a copy of x.
    fn forward_train_in_place(
        &self,
        eps: f64,
        parameters: Parameters<'_, E::Parameter>,
        epilogue: Epilogue<'_, E>,
        mut data: ViewMut<'_, E>,
        moments: &mut [Moments],
        coefficients: &mut [Coefficients],
    ) {
        let (shape, x) = (data.shape(), data.data().to_vec());
        let x = View::new("x", shape, &x).expect("a copy");
        self.forward_train(eps, parameters, x, epilogue, data, moments, coefficients);
    }

    /// `gradient_sums`, then `input_gradient` for statistics that were the batch's own, of `count` values per
    /// channel: the count of the [`Moments`], which with a mask is smaller than the number of positions.
    #[allow(clippy::too_many_arguments, reason = "the tensors of a backward pass")]
    fn backward(
        &self,
        coefficients: &[Coefficients],
        count: u64,
        x: View<'_, E>,
        dy: View<'_, E>,
        gate: Gate<'_, E>,
        dx: ViewMut<'_, E>,
        d_addend: Option<ViewMut<'_, E>>,
        sums: &mut [GradientSums],
    ) {
        self.gradient_sums(coefficients, Some(x), dy, gate, sums);
        let means: Vec<_> = sums.iter().map(|sums| sums.means(count)).collect();
        self.input_gradient(coefficients, Some((x, &means)), dy, gate, dx, d_addend);
    }
}
