//! What can be wrong with a layer's arguments.

use burn::tensor::DType;

/// What was wrong with the arguments of a layer or of a conversion.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused: shapes, configuration, statistics.
    #[error(transparent)]
    Engine(#[from] batchnorm::Error),
    /// The input's type is none that the engine computes in.
    #[error(
        "expected a tensor of f32 or f64, found {found:?}; cast it, for example by `x.cast(FloatDType::F32)`"
    )]
    ElementType {
        /// The input's type.
        found: DType,
    },
    /// The tensor to add is of another type than the input.
    #[error("expected an addend of the input's type {x:?}, found {addend:?}; cast one of them")]
    AddendType {
        /// The input's type.
        x: DType,
        /// The addend's type.
        addend: DType,
    },
    /// Burn's stock layer has no such option.
    #[error("burn::nn::BatchNorm has no {option}: expected {expected}, found {found}")]
    NotInStock {
        /// The option.
        option: &'static str,
        /// What the stock layer can express.
        expected: &'static str,
        /// What this layer has.
        found: String,
    },
}
