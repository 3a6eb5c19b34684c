//! Why a model's statistics cannot be estimated anew.

use std::path::PathBuf;

use crate::FileError;
use crate::onnx::document::DocumentError;
use crate::runtime::RuntimeError;

/// What went wrong with a recalibration. Nothing was written then, but for the state from which to go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecalibrateError {
    /// The model cannot be read or written.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The model does not run.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The samples cannot be had.
    #[error("cannot read the samples from {first} on")]
    Samples {
        /// The first sample of those asked for.
        first: u64,
        /// What was wrong with them.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There are no samples.
    #[error("there are no samples, and statistics of nothing do not exist; give at least one")]
    NoSamples,
    /// Samples came in another number than was asked for.
    #[error(
        "asked for {expected} samples from {first} on, found {found}; the data changed while they were read"
    )]
    SampleCount {
        /// The first sample of those asked for.
        first: u64,
        /// How many were asked for.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// The model has no batch-norm layer whose statistics could be estimated.
    #[error("the model has no batch-norm layer to recalibrate{}", because(.reasons))]
    NoLayers {
        /// Why those that it has were left out.
        reasons: Vec<String>,
    },
    /// No layer has a name like this.
    #[error("no batch-norm layer has a name like `{pattern}`; their names are {}", some(.layers))]
    NoMatch {
        /// The pattern.
        pattern: String,
        /// The layers there are.
        layers: Vec<String>,
    },
    /// A layer's statistics are no constants.
    #[error(
        "layer `{layer}`: its {statistic} `{value}` is computed or given when the model runs, expected numbers in the \
         model; leave the layer out by naming others with `--layers`"
    )]
    RuntimeStatistics {
        /// The layer.
        layer: String,
        /// Which of the two.
        statistic: &'static str,
        /// The value's name; empty where it is left out.
        value: String,
    },
    /// A layer's parts do not go together.
    #[error("layer `{layer}` has {channels} channels by its {what}, found {found}; the model is damaged")]
    Channels {
        /// The layer.
        layer: String,
        /// What tells the number of channels.
        what: &'static str,
        /// The number.
        channels: usize,
        /// What was found.
        found: String,
    },
    /// A layer's input has a type that the engine does not compute with.
    #[error("layer `{layer}` normalizes {found}, expected f32, f64, f16 or bf16")]
    Element {
        /// The layer.
        layer: String,
        /// The type.
        found: String,
    },
    /// There is but one value for each channel.
    #[error(
        "layer `{layer}` has {found} value per channel{}, and a variance takes two; give more samples or larger batches",
        if *.in_batch { " in a batch" } else { "" }
    )]
    OneValue {
        /// The layer.
        layer: String,
        /// The number of values.
        found: u64,
        /// Whether that is of each batch, not of all.
        in_batch: bool,
    },
    /// NaN or infinity came into a layer.
    #[error(
        "layer `{layer}`, channel {channel}: what comes in is NaN or infinite for one of the samples {first} to {}; look \
         at those samples, and at the layers before it with `batchnorm inspect`", .first + .count - 1
    )]
    NotFinite {
        /// The layer.
        layer: String,
        /// The first such channel.
        channel: usize,
        /// The first sample of the batch.
        first: u64,
        /// The samples in the batch.
        count: u64,
    },
    /// A statistic does not fit the type in which the model keeps it.
    #[error(
        "layer `{layer}`, channel {channel}: the {statistic} {value:e} does not fit {element}, in which the model keeps \
         it; leave the layer out by naming others with `--layers`, or convert the model to a wider type"
    )]
    Overflow {
        /// The layer.
        layer: String,
        /// The channel.
        channel: usize,
        /// Which of the two.
        statistic: &'static str,
        /// Its value.
        value: f64,
        /// The type.
        element: String,
    },
    /// The running statistics that a layer makes are used elsewhere.
    #[error(
        "layer `{layer}` is in training mode, and its output `{output}` is used by others: it cannot run with fixed \
         statistics; export the model in evaluation mode"
    )]
    ExtraOutputs {
        /// The layer.
        layer: String,
        /// The output.
        output: String,
    },
    /// The operators of the model are too old to be put together anew.
    #[error(
        "the method normalizes by batches, which needs operator set 7 or later, found {found}; use `--method sequential`"
    )]
    OldOperators {
        /// The version found.
        found: i64,
    },
    /// Two inputs want different batches.
    #[error(
        "the model wants batches of {first} by one input and of {other} by `{input}`; export it with one batch size"
    )]
    FixedBatches {
        /// The batch of the inputs before.
        first: u64,
        /// The input that differs.
        input: String,
        /// Its batch.
        other: u64,
    },
    /// The model insists on batches that no memory holds.
    #[error("the model takes batches of {found}, expected at most {limit}; export it with another batch size")]
    LargeBatch {
        /// Its batch.
        found: u64,
        /// The largest that is taken.
        limit: u64,
    },
    /// There are fewer samples than a batch that the model insists on.
    #[error(
        "the model takes batches of {batch}, found {samples} samples: no whole batch to normalize by; give more"
    )]
    NoWholeBatch {
        /// The batch.
        batch: usize,
        /// The samples.
        samples: u64,
    },
    /// A batch of nothing.
    #[error("expected batches of at least one sample, found {found}; leave the batch size out for {default}")]
    BatchSize {
        /// What was asked for.
        found: usize,
        /// What is taken otherwise.
        default: usize,
    },
    /// The weight of the old statistics is none.
    #[error("expected a number of samples that the old statistics stand for, at least 0, found {found}")]
    Blend {
        /// What was asked for.
        found: f64,
    },
    /// The old statistics of a layer cannot be blended with.
    #[error(
        "layer `{layer}`, channel {channel}: its old statistics are not finite, and nothing can be blended with them; \
         leave `--blend` out"
    )]
    OldStatistics {
        /// The layer.
        layer: String,
        /// The channel.
        channel: usize,
    },
    /// A label names no class of the model.
    #[error(
        "sample {sample} has the label {label}, and the model tells {classes} classes apart; give the right labels"
    )]
    Label {
        /// The sample.
        sample: u64,
        /// Its label.
        label: u32,
        /// The classes of the model.
        classes: usize,
    },
    /// The state of an interrupted run cannot be read.
    #[error("cannot go on from `{}`: {found}; delete it to begin anew", .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        found: String,
    },
    /// The state is that of another model, other data or other options.
    #[error(
        "`{}` was left by a run with another model, other data, another runtime or other options; repeat that run to \
         finish it, or delete the file to begin anew", .path.display()
    )]
    OtherRun {
        /// The file.
        path: PathBuf,
    },
}

fn because(reasons: &[String]) -> String {
    match reasons {
        [] => "; exporters fold them away unless they are told not to".to_owned(),
        reasons => format!(": {}", reasons.join("; ")),
    }
}

/// The first of many names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}
