//! The activation that a layer applies on the way out, without another sweep over the tensor, and what of both is kept for the
//! way back.

use batchnorm::{Epilogue, Gate, View};
use burn::config::Config;

/// What becomes of `z = gamma (x - mean) / sqrt(variance + eps) + beta` before it is written.
///
/// ```
/// use batchnorm_burn::{Activation, BatchNormConfig};
/// use burn::tensor::{Device, Tensor, activation};
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_data([[-1.0f32, 0.5], [2.0, -3.0]], &device);
/// let plain = BatchNormConfig::new(2).init(&device);
/// let fused = BatchNormConfig::new(2).with_activation(Activation::Relu).init(&device);
/// let expected = activation::relu(plain.forward(x.clone()));
/// fused.forward(x).into_data().assert_eq(&expected.into_data(), true);
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub enum Activation {
    /// `y = z`.
    None,
    /// `y = max(z, 0)`.
    Relu,
    /// `y = z` where `z > 0`, else `slope z`.
    LeakyRelu {
        /// The slope for negative values.
        slope: f64,
    },
}

impl Activation {
    /// The engine's name for it in a forward pass.
    pub(crate) fn epilogue<E>(self) -> Epilogue<'static, E> {
        match self {
            Self::None => Epilogue::None,
            Self::Relu => Epilogue::Relu,
            Self::LeakyRelu { slope } => Epilogue::LeakyRelu { slope },
        }
    }

    /// The engine's name for its derivative, which computes z from x again.
    pub(crate) fn gate<E>(self, x: Option<View<'_, E>>) -> Gate<'_, E> {
        match (self, x) {
            (Self::None, _) | (_, None) => Gate::None,
            (Self::Relu, Some(x)) => Gate::Relu { x },
            (Self::LeakyRelu { slope }, Some(x)) => Gate::LeakyRelu { x, slope },
        }
    }

    /// The same where y alone was kept.
    pub(crate) fn gate_of_output<E>(self, y: Option<View<'_, E>>) -> Gate<'_, E> {
        y.map_or(Gate::None, |y| Gate::Output { y, slope: self.slope() })
    }

    /// What negative values are multiplied by.
    pub(crate) fn slope(self) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Relu => 0.0,
            Self::LeakyRelu { slope } => slope,
        }
    }
}

/// Which tensor a layer keeps from the forward pass for the backward pass.
///
/// ```
/// use batchnorm_burn::{Activation, BatchNormConfig, Keep};
/// use burn::tensor::Device;
///
/// let device = Device::flex().autodiff();
/// let leaky = Activation::LeakyRelu { slope: 0.01 };
/// let layer = BatchNormConfig::new(64).with_activation(leaky).with_keep(Keep::Output).try_init(&device)?;
/// // A ReLU cannot be inverted.
/// let relu = BatchNormConfig::new(64).with_activation(Activation::Relu).with_keep(Keep::Output);
/// assert!(relu.try_init(&device).is_err());
/// # Ok::<(), batchnorm_burn::Error>(())
/// ```
#[derive(Config, Copy, Debug, PartialEq)]
pub enum Keep {
    /// x: the convolution's output, which nobody else needs.
    Input,
    /// y, which the next layer keeps in any case: x is freed, half of what the two of them hold. The gradient takes
    /// `xhat = (z - beta) / gamma` with the z of which y is the activation.
    ///
    /// For [`Activation::None`] and [`Activation::LeakyRelu`] with a positive slope. A gamma of 0, or one that is lost beside
    /// beta, is an error of the backward pass, which panics with its message: start gamma at 1, and do not decay it.
    /// [`forward_add_relu`](crate::BatchNorm::forward_add_relu) keeps its x.
    ///
    /// Source: Rota Bulò, Porzi and Kontschieder, "In-Place Activated BatchNorm for Memory-Optimized Training of DNNs",
    /// 2018, arXiv 1712.02616.
    Output,
}
