//! Evaluation with what it normalizes by computed once: for serving many batches with statistics that stay.

use crate::{Coefficients, Cpu, Element, Epilogue, Error, Kernels, Real, Shape, View, ViewMut, coefficients};
use crate::{Parameters, RunningStatistics};

/// A layer at inference: its coefficients, computed once from running statistics, gamma and beta.
///
/// ```text
/// y = gamma (x - mean) / sqrt(variance + eps) + beta
/// ```
///
/// [`BatchNorm::inference`](crate::BatchNorm::inference) makes one. It computes the bits of
/// [`BatchNorm::forward_eval`](crate::BatchNorm::forward_eval), without a square root and a division per channel in every
/// call, and without allocating; and it can write over its input.
///
/// ```
/// use batchnorm::{BatchNorm, BatchNormConfig, RunningStatistics, Shape};
///
/// let mut layer = BatchNorm::<f32>::new(1, BatchNormConfig::pytorch().with_eps(0.0))?;
/// layer.set_running(RunningStatistics { mean: vec![3.0], variance: vec![4.0], batches: 1 })?;
/// let inference = layer.inference()?;
///
/// let mut data = [1.0f32, 3.0, 7.0];
/// inference.forward_in_place(Shape::channels_last(&[3, 1])?, &mut data)?;
/// assert_eq!(data, [-1.0, 0.0, 2.0]);
/// # Ok::<(), batchnorm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Inference<K = Cpu> {
    coefficients: Vec<Coefficients>,
    kernels: K,
}

impl<K> Inference<K> {
    pub(crate) fn new<P: Real>(
        eps: f64,
        parameters: &Parameters<'_, P>,
        running: &RunningStatistics<P>,
        kernels: K,
    ) -> Result<Self, Error> {
        let mut all = Vec::new();
        coefficients::of_statistics(&running.mean, &running.variance, eps, parameters, &mut all)?;
        coefficients::check_scales::<P>(&all)?;
        Ok(Self { coefficients: all, kernels })
    }

    /// What each channel is normalized with.
    pub fn coefficients(&self) -> &[Coefficients] {
        &self.coefficients
    }

    /// Normalizes `x` into `y`, both of `shape.len()` elements.
    ///
    /// # Errors
    ///
    /// [`Error::ChannelMismatch`] and [`Error::LengthMismatch`].
    pub fn forward<E: Element>(&self, shape: Shape, x: &[E], y: &mut [E]) -> Result<(), Error>
    where
        K: Kernels<E>,
    {
        self.check(shape)?;
        let (x, y) = (View::new("x", shape, x)?, ViewMut::new("y", shape, y)?);
        self.kernels.normalize(&self.coefficients, x, Epilogue::None, y);
        Ok(())
    }

    /// Normalizes `data` where it is.
    ///
    /// # Errors
    ///
    /// As for [`Inference::forward`].
    pub fn forward_in_place<E: Element>(&self, shape: Shape, data: &mut [E]) -> Result<(), Error>
    where
        K: Kernels<E>,
    {
        self.check(shape)?;
        self.kernels.normalize_in_place(&self.coefficients, Epilogue::None, ViewMut::new("data", shape, data)?);
        Ok(())
    }

    fn check(&self, shape: Shape) -> Result<(), Error> {
        let expected = self.coefficients.len();
        if shape.channels() == expected {
            Ok(())
        } else {
            Err(Error::ChannelMismatch { expected, found: shape.channels(), shape })
        }
    }
}
