//! Why a layer stays in a checkpoint.

use batchnorm::fold::FoldError;

use super::super::Dtype;

/// Why a pair is not folded: its tensors stay as they are.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No linear map has the name.
    #[error(
        "there is no weight of two to five axes under `{map}`; `inspect` lists the names of layers, and of the maps that they \
         may follow"
    )]
    NoSuchMap {
        /// The map asked for.
        map: String,
    },
    /// The map's weight is computed from others each time.
    #[error(
        "`{map}` computes its weight from `{tensor}`; in Python, remove the parametrization (`remove_weight_norm`, \
         `remove_parametrizations`) and save anew"
    )]
    Reparametrized {
        /// The map.
        map: String,
        /// The tensor that its weight is computed from.
        tensor: String,
    },
    /// No batch-norm layer has the name.
    #[error(
        "there is no batch-norm layer `{norm}`: expected a running mean and a running variance of one length under this name, \
         and scale and shift, if any, of the same; `inspect` lists the layers"
    )]
    NoSuchLayer {
        /// The layer asked for.
        norm: String,
    },
    /// A pair with stars stands for nothing in the file.
    #[error(
        "`{pair}` stands for no map and layer of this file; `*` alone is one part of a name or more, `inspect` lists the names"
    )]
    NoMatch {
        /// The pair.
        pair: String,
    },
    /// One map is followed by two layers.
    #[error(
        "`{map}` is paired with `{norm}` and with `{other}`; a map is followed by one layer: leave one pair out"
    )]
    MapTwice {
        /// The map.
        map: String,
        /// The layer.
        norm: String,
        /// The other layer.
        other: String,
    },
    /// One layer follows two maps.
    #[error(
        "`{norm}` is paired with `{map}` and with `{other}`; a layer that is used behind two maps has to stay: leave one \
         pair out if it is not"
    )]
    LayerTwice {
        /// The layer.
        norm: String,
        /// The map.
        map: String,
        /// The other map.
        other: String,
    },
    /// Nobody says eps.
    #[error(
        "eps is not in the file; pass the one that the layers had in training with `--eps` ({library}'s default is \
         {default:e})"
    )]
    NoEps {
        /// The library whose names the layer's tensors have.
        library: &'static str,
        /// That library's default.
        default: f64,
    },
    /// The weight is of a type that is not computed with.
    #[error("`{tensor}` holds {dtype}, expected F64, F32, F16 or BF16; fold before quantizing")]
    WeightType {
        /// The weight or bias.
        tensor: String,
        /// Its type.
        dtype: Dtype,
    },
    /// The map has outputs in another number than the layer has channels.
    #[error("`{map}` has {outputs} outputs and `{norm}` {channels} channels; the layer follows another map")]
    Channels {
        /// The map.
        map: String,
        /// The layer.
        norm: String,
        /// The map's outputs.
        outputs: usize,
        /// The layer's channels.
        channels: usize,
    },
    /// The channels are on the second axis of the weight alone.
    #[error(
        "`{map}` has {outputs} outputs, and the {channels} channels of `{norm}` are on the second axis of its weight: where it \
         is a transposed convolution, which a file does not tell, say so with `--transposed {map}`; otherwise `{norm}` comes \
         before it, not after it"
    )]
    NeedsTransposed {
        /// The map.
        map: String,
        /// The layer.
        norm: String,
        /// The map's outputs, read as a convolution.
        outputs: usize,
        /// The layer's channels.
        channels: usize,
    },
    /// What was said to be a transposed convolution cannot be one for this layer.
    #[error(
        "`{map}` with a weight of shape {shape:?} is no transposed convolution in front of {channels} channels: expected \
         `[inputs, channels / groups, kernel..]` with groups that divide inputs and channels; leave out `--transposed` if it \
         is another map"
    )]
    NotTransposed {
        /// The map.
        map: String,
        /// Its weight's shape.
        shape: Vec<usize>,
        /// The layer's channels.
        channels: usize,
    },
    /// The bias is not one value per output.
    #[error("`{tensor}` has the shape {shape:?}, expected [{channels}]: is it this map's bias?")]
    BiasShape {
        /// The bias.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The map's outputs.
        channels: usize,
    },
    /// The numbers of layer or map do not allow it.
    #[error("{source}")]
    Numbers {
        /// What is wrong with them.
        source: FoldError,
    },
}

impl Refusal {
    /// A name that stays the same from version to version, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchMap { .. } => "no-such-map",
            Self::Reparametrized { .. } => "reparametrized-weight",
            Self::NoSuchLayer { .. } => "no-such-layer",
            Self::NoMatch { .. } => "no-match",
            Self::MapTwice { .. } => "map-with-two-layers",
            Self::LayerTwice { .. } => "layer-with-two-maps",
            Self::NoEps { .. } => "no-eps",
            Self::WeightType { .. } => "weight-type",
            Self::Channels { .. } => "channel-mismatch",
            Self::NeedsTransposed { .. } => "needs-transposed",
            Self::NotTransposed { .. } => "not-transposed",
            Self::BiasShape { .. } => "bias-shape",
            Self::Numbers { source } => match source {
                FoldError::InvalidEps { .. } => "invalid-eps",
                FoldError::NegativeVariance { .. } => "negative-variance",
                FoldError::ZeroVariance { .. } => "zero-variance",
                FoldError::NonFinite { .. } => "non-finite",
                FoldError::Overflow { .. } => "overflow",
                FoldError::NotANumber { .. } => "non-finite-weights",
                _ => "weight-layout",
            },
        }
    }
}

impl From<FoldError> for Refusal {
    fn from(source: FoldError) -> Self {
        Self::Numbers { source }
    }
}
