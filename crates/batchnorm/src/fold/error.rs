//! What keeps a layer from being folded, as far as numbers can tell.

use crate::ElementType;
use crate::health::Channels;

/// Why numbers cannot be folded, or were not passed as they must be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// `eps` was negative, infinite or NaN.
    #[error("eps must be a finite number >= 0, found {found}; a file that lost it needs it from you")]
    InvalidEps {
        /// The value passed.
        found: f64,
    },
    /// Running variances below 0.
    #[error(
        "{}: the running variance is below 0, which no variance is; re-estimate the statistics on data before folding",
        Channels(channels)
    )]
    NegativeVariance {
        /// The channels concerned, in rising order.
        channels: Vec<usize>,
    },
    /// Running variances of 0 without eps: 1 / sqrt(variance + eps) is infinite.
    #[error(
        "{}: variance + eps is 0, so that the scale is infinite; use eps > 0, or re-estimate the statistics",
        Channels(channels)
    )]
    ZeroVariance {
        /// The channels concerned, in rising order.
        channels: Vec<usize>,
    },
    /// A number of the layer is NaN or infinite, or the scale or shift that it makes is.
    #[error(
        "{}: the {what} is NaN, infinite or too large to compute with; re-estimate or retrain, then fold",
        Channels(channels)
    )]
    NonFinite {
        /// Which number: "running mean", "gamma", "scale", ...
        what: &'static str,
        /// The channels concerned, in rising order.
        channels: Vec<usize>,
    },
    /// A slice does not have the length that the others or the layout ask for.
    #[error("`{what}` must have {expected} values, found {found}; check that layer and weight belong together")]
    LengthMismatch {
        /// The argument's name.
        what: &'static str,
        /// The length asked for.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// A chunk that ends beyond the weight's last element.
    #[error(
        "a chunk of {length} elements from element {first} on ends beyond the weight's {elements} elements; \
         check the weight's shape against its data"
    )]
    ChunkPastEnd {
        /// The index of the chunk's first element.
        first: usize,
        /// The chunk's length.
        length: usize,
        /// The weight's elements.
        elements: usize,
    },
    /// Groups that do not divide the channels, or an extent of 0.
    #[error(
        "{groups} groups of a map from {inputs} inputs to {outputs} outputs with {taps} taps: all must be at least 1, and \
         the groups divide inputs and outputs; check `group` and the weight's shape"
    )]
    InvalidLayout {
        /// The number of groups.
        groups: usize,
        /// The outputs of all groups.
        outputs: usize,
        /// The inputs of all groups.
        inputs: usize,
        /// The product of the kernel's extents.
        taps: usize,
    },
    /// More elements than can be addressed.
    #[error(
        "a weight from {inputs} inputs to {outputs} outputs with {taps} taps has more elements than this machine can address"
    )]
    TooLarge {
        /// The outputs of all groups.
        outputs: usize,
        /// The inputs of all groups.
        inputs: usize,
        /// The product of the kernel's extents.
        taps: usize,
    },
    /// A finite number that the type it is to be stored in does not reach.
    #[error(
        "element {index} becomes {value:e}, which {element} cannot hold: leave this layer unfolded, or store the weights in \
         a wider type"
    )]
    Overflow {
        /// The element's index in the slice passed.
        index: usize,
        /// The number.
        value: f64,
        /// The type it was to be stored in.
        element: ElementType,
    },
    /// A weight or bias that is NaN or infinite.
    #[error(
        "element {index} is {value}: the weights are NaN or infinite, or too large for f64 once scaled; retrain before folding"
    )]
    NotANumber {
        /// The element's index in the slice passed.
        index: usize,
        /// The number.
        value: f64,
    },
}

/// Checks a slice's length.
pub(super) fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), FoldError> {
    if expected == found { Ok(()) } else { Err(FoldError::LengthMismatch { what, expected, found }) }
}
