//! Everything that can be wrong with what a caller passes in, in one enum.
//!
//! Every message says what was expected, what was found, and the way out. Nothing in this crate panics on
//! user input.

use crate::Shape;

/// What was wrong with the arguments of an operation.
///
/// When an operation returns an error, running statistics and the batch counter are as they were; output
/// slices may hold partial results.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `eps` was negative, infinite or NaN.
    #[error("eps must be a finite number >= 0, found {found}; use a small positive one, as every preset has")]
    InvalidEps {
        /// The value passed.
        found: f64,
    },
    /// The momentum was infinite or NaN.
    #[error(
        "momentum must be a finite number, found {found}; it is a weight between 0 and 1, \
         of the new batch (`of_new`) or of the old value (`of_old`)"
    )]
    InvalidMomentum {
        /// The weight passed.
        found: f64,
    },
    /// `outer * channels * inner` is more than memory can address.
    #[error(
        "a tensor of {outer} x {channels} x {inner} (outer x channels x inner) has more elements than this \
         machine can address; split the batch"
    )]
    TooLarge {
        /// Product of the axes before the channel axis.
        outer: usize,
        /// Length of the channel axis.
        channels: usize,
        /// Product of the axes after the channel axis.
        inner: usize,
    },
    /// The channel axis does not exist.
    #[error(
        "channel axis {axis} does not exist in a tensor of rank {rank} (shape {dims:?}); \
         expected {min} <= axis < {rank} (negative axes count from the end)",
        min = -(*rank as isize)
    )]
    InvalidAxis {
        /// The axis passed.
        axis: isize,
        /// The number of axes.
        rank: usize,
        /// The tensor's shape.
        dims: Vec<usize>,
    },
    /// A layer of no channels.
    #[error("a batch-norm layer needs at least one channel, found 0")]
    NoChannels,
    /// The input's channels are not the layer's.
    #[error(
        "expected {expected} channels, found {found} in {shape}; \
         check the channel axis (axis 1 is usual for channels-first data, the last one for channels-last)"
    )]
    ChannelMismatch {
        /// The layer's channels.
        expected: usize,
        /// The input's channels.
        found: usize,
        /// The input's shape.
        shape: Shape,
    },
    /// A slice's length is not its shape's.
    #[error("`{what}` must have {expected} elements for {shape}, found {found}")]
    LengthMismatch {
        /// The argument's name.
        what: &'static str,
        /// The number of elements that the shape asks for.
        expected: usize,
        /// The slice's length.
        found: usize,
        /// The shape.
        shape: Shape,
    },
    /// Two tensors that must have the same shape differ.
    #[error("`{what}` must have the shape of x, {expected}; found {found}")]
    ShapeMismatch {
        /// The argument's name.
        what: &'static str,
        /// The shape of `x`.
        expected: Shape,
        /// The argument's shape.
        found: Shape,
    },
    /// A per-channel slice does not have one value per channel.
    #[error("`{what}` must have one value for each of the {expected} channels, found {found}")]
    PerChannelMismatch {
        /// The argument's name.
        what: &'static str,
        /// The number of channels.
        expected: usize,
        /// The slice's length.
        found: usize,
    },
    /// Training on one value per channel: its variance is zero and every output would be beta.
    #[error(
        "expected more than one value per channel in training, found {shape}; use a larger batch (drop the last \
         partial one), evaluate with running statistics, or set `one_value` to `Policy::Allow`"
    )]
    OneValuePerChannel {
        /// The input's shape.
        shape: Shape,
    },
    /// Training on an empty batch under `empty_batch = Policy::Error`.
    #[error(
        "expected a batch of at least one value, found {shape}; skip empty batches or set `empty_batch` to `Policy::Allow`"
    )]
    EmptyBatch {
        /// The input's shape.
        shape: Shape,
    },
    /// A batch statistic was NaN or infinite under `non_finite = Policy::Error`.
    #[error(
        "channel {channel} has mean {mean} and variance {variance}: its input holds NaN, infinity or values too \
         large to square; running statistics were left as they were"
    )]
    NonFiniteStatistics {
        /// The first such channel.
        channel: usize,
        /// Its mean.
        mean: f64,
        /// Its variance.
        variance: f64,
    },
    /// Variance zero with eps = 0: the output would be 0/0.
    #[error(
        "channel {channel} is constant (variance 0) and eps is 0, so 1/sqrt(variance + eps) is infinite; use eps > 0"
    )]
    ZeroVariance {
        /// The first such channel.
        channel: usize,
    },
    /// gamma / sqrt(variance + eps) does not fit the type that the tensor is computed in.
    #[error(
        "channel {channel}: gamma / sqrt(variance + eps) = {scale:e} does not fit the tensor's type; use a larger \
         eps, or f64"
    )]
    ScaleOverflow {
        /// The first such channel.
        channel: usize,
        /// Its scale.
        scale: f64,
    },
    /// A given mean or variance cannot be normalized with.
    #[error(
        "channel {channel} has the given mean {mean} and variance {variance}, which with eps = {eps} cannot be \
         normalized with: both must be finite and variance + eps > 0; re-estimate the statistics on data"
    )]
    InvalidStatistics {
        /// The first such channel.
        channel: usize,
        /// Its mean.
        mean: f64,
        /// Its variance.
        variance: f64,
        /// The eps added to it.
        eps: f64,
    },
    /// A mean or variance does not fit the type that running statistics are stored in.
    #[error(
        "channel {channel} has mean {mean:e} and variance {variance:e}, which do not fit the type that running \
         statistics are stored in; scale the input down, or use f64"
    )]
    StatisticOverflow {
        /// The first such channel.
        channel: usize,
        /// Its mean.
        mean: f64,
        /// Its variance.
        variance: f64,
    },
    /// The output of a channel does not tell its input.
    #[error(
        "channel {channel} has gamma {gamma:e} and beta {beta:e}: the normalized input cannot be read out of an output that was \
         rounded to the tensor's type; keep x for this layer, or keep gamma away from 0"
    )]
    NotInvertible {
        /// The first such channel.
        channel: usize,
        /// Its gamma.
        gamma: f64,
        /// Its beta.
        beta: f64,
    },
    /// A slope of an activation that is to be inverted.
    #[error(
        "an activation can be inverted from its output if its slope for negative values is positive (and 1 / slope a number of \
         the tensor's type), found a slope of {found:e}; ReLU, whose slope is 0, needs x"
    )]
    SlopeNotInvertible {
        /// The slope found.
        found: f64,
    },
    /// A tensor that this pass has to read was not passed.
    #[error("`{what}` is needed {reason}, but was not passed")]
    Missing {
        /// The argument's name.
        what: &'static str,
        /// What it is needed for.
        reason: &'static str,
    },
    /// The layer has no running statistics.
    #[error(
        "this layer tracks no running statistics (`track_running_statistics` is false), so {what}; \
         create it with tracking on"
    )]
    NotTracked {
        /// What could not be done.
        what: &'static str,
    },
    /// An estimate was asked for before any data was seen.
    #[error(
        "population statistics need at least one training batch with two or more values per channel, found none"
    )]
    NoBatches,
    /// A mask that is not of the tensor's positions.
    #[error(
        "a mask must have one entry for each of the {expected} positions (outer * inner) of {shape}, found {found}; \
         it is shared by all channels"
    )]
    MaskMismatch {
        /// The positions of the shape.
        expected: usize,
        /// The entries found.
        found: usize,
        /// The tensor's shape.
        shape: Shape,
    },
    /// The gradient of a masked pass came without the mask, or with another one.
    #[error(
        "the forward pass counted {expected} of {positions} positions, and the mask of `dy` counts {found}{others}; pass \
         the same mask",
        others = if expected == found { " others" } else { "" }
    )]
    OtherMask {
        /// The positions that the forward pass counted.
        expected: u64,
        /// The positions that the mask of dy counts.
        found: u64,
        /// All positions.
        positions: usize,
    },
    /// A number of examples that the rows of a tensor cannot be cut into.
    #[error("a batch of {samples} examples cannot be {shape}: outer must be a multiple of the examples")]
    SamplesMismatch {
        /// The number of examples.
        samples: usize,
        /// The tensor's shape.
        shape: Shape,
    },
    /// Ghost batches of no example.
    #[error("a ghost batch needs at least one example (two, for data without positions), found a size of 0")]
    GhostSize,
    /// Groups that do not divide the channels.
    #[error("{groups} groups do not divide {channels} channels; use a divisor of {channels}")]
    GroupsMismatch {
        /// The number of groups.
        groups: usize,
        /// The number of channels.
        channels: usize,
    },
    /// A bank (of statistics or of parameters) that does not exist: an unknown domain, class or part.
    #[error("example {example} asks for bank {found} of {what}, and there are {banks}: 0 to {last}", last = banks.saturating_sub(1))]
    UnknownBank {
        /// What the banks hold: statistics or parameters.
        what: &'static str,
        /// The example.
        example: usize,
        /// The bank asked for.
        found: usize,
        /// The banks there are.
        banks: usize,
    },
    /// As many assignments to banks as there are examples were expected.
    #[error("expected one bank of {what} for each of the {expected} examples, found {found}")]
    BanksMismatch {
        /// What the banks hold: statistics or parameters.
        what: &'static str,
        /// The number of examples.
        expected: usize,
        /// The number of assignments.
        found: usize,
    },
    /// Limits of batch renormalization that limit nothing.
    #[error(
        "batch renormalization needs r_max >= 1 and d_max >= 0, found r_max {r_max} and d_max {d_max}; 1 and 0 are plain batch normalization"
    )]
    RenormLimits {
        /// The limit of r.
        r_max: f64,
        /// The limit of d.
        d_max: f64,
    },
    /// A weight that is none.
    #[error(
        "the batch's weight in blended statistics must be in [0, 1], found {found}; 0 is the running statistics alone, 1 the batch's"
    )]
    BlendWeight {
        /// The weight found.
        found: f64,
    },
    /// Given statistics that are not those of the sets.
    #[error(
        "expected running statistics for each of the {expected} statistics sets, or one for all of them; found {found}"
    )]
    SetsMismatch {
        /// The sets of the batch.
        expected: usize,
        /// The statistics given.
        found: usize,
    },
    /// Options that exclude each other.
    #[error("{first} cannot be combined with {second}: {reason}")]
    Incompatible {
        /// The one.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// Ranks that call different things, or with different arguments.
    #[error(
        "ranks disagree on {what}: rank {rank} has {found}, rank {other} has {expected}; all ranks must make the same calls in the same order"
    )]
    RanksDisagree {
        /// On what.
        what: &'static str,
        /// This rank.
        rank: usize,
        /// What this rank has.
        found: f64,
        /// The first rank that differs.
        other: usize,
        /// What that one has.
        expected: f64,
    },
    /// A rank is gone, so that the others cannot go on.
    #[error("rank {rank} left while the others were exchanging statistics; look for its error first")]
    RankLeft {
        /// The rank.
        rank: usize,
    },
    /// A backward pass over micro-batches that are not those of the forward pass.
    #[error(
        "the micro-batches of the forward pass held {expected} values per channel, those of the backward pass {found}; \
         push each of them once, with the same mask"
    )]
    MicroBatchesMismatch {
        /// The values per channel of the forward pass.
        expected: u64,
        /// Those of the backward pass.
        found: u64,
    },
    /// Groups of no rank.
    #[error("a group of ranks that exchange statistics needs at least one rank, found a size of 0")]
    RankGroupSize,
    /// The transport between ranks failed.
    #[error("the exchange between ranks failed: {message}")]
    Exchange {
        /// What the transport said.
        message: String,
    },
    /// A named tensor of a saved state is missing.
    #[error("the state has no `{name}`; expected {expected}")]
    MissingState {
        /// The name looked for.
        name: &'static str,
        /// All names this layer has.
        expected: String,
    },
    /// A named tensor of a saved state is not one of this layer's.
    #[error("the state has `{name}`, which this layer has not; expected {expected}")]
    UnexpectedState {
        /// The name found.
        name: String,
        /// All names this layer has.
        expected: String,
    },
    /// A named value of a saved state has the wrong kind or an impossible value.
    #[error("state `{name}`: expected {expected}, found {found}")]
    InvalidState {
        /// The tensor's name.
        name: String,
        /// What it must be.
        expected: &'static str,
        /// What it was.
        found: String,
    },
}
