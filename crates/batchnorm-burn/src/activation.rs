//! The activation that a layer applies on the way out, without another sweep over the tensor.

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
}
