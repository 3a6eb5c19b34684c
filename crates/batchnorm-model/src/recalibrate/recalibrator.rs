//! A model that is to be recalibrated, and one that was.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::report::{Finding, Plan, Progress, Report};
use super::samples::Samples;
use super::selection::Selection;
use super::statistics::Estimate;
use super::{Method, Options, RecalibrateError, run, statistics};
use crate::onnx::document::{Document, DocumentError};
use crate::runtime::Runtime;

type Result<T, E = RecalibrateError> = std::result::Result<T, E>;

/// Batches that a model insists on are filled up in memory, whatever a file says.
const LARGEST_BATCH: u64 = 1 << 16;

/// A model whose population statistics are to be estimated anew.
///
/// ```
/// # #[cfg(feature = "tract")] {
/// use std::error::Error;
/// use std::ops::ControlFlow;
///
/// use batchnorm::Momentum;
/// use batchnorm_model::onnx::document::Document;
/// use batchnorm_model::onnx::{Dim, Graph, Normalization};
/// use batchnorm_model::recalibrate::{Batch, Options, Outcome, Recalibrator, Samples};
/// use batchnorm_model::runtime::{Array, Tract};
///
/// // A layer that was never trained: mean 0, variance 1.
/// let mut graph = Graph::new("net");
/// let x = graph.input("x", &[Dim::Symbol("batch"), Dim::Fixed(1)]);
/// let [ones, zeros] = [("ones", 1.0), ("zeros", 0.0)].map(|(name, value)| graph.tensor(name, &[1], &[value]));
/// let [mean, variance] = [("mean", 0.0), ("variance", 1.0)].map(|(name, value)| graph.tensor(name, &[1], &[value]));
/// let layer = Normalization {
///     gamma: &ones, beta: &zeros, mean: &mean, variance: &variance, eps: 1e-5, momentum: Momentum::of_new(0.1),
/// };
/// let y = graph.batch_normalization("bn", &x, &layer);
/// graph.output("y", &y, &[Dim::Symbol("batch"), Dim::Fixed(1)]);
///
/// struct Numbers(Vec<f32>);
///
/// impl Samples for Numbers {
///     fn len(&self) -> u64 {
///         self.0.len() as u64
///     }
///
///     fn batch(&mut self, first: u64, count: usize) -> Result<Batch, Box<dyn Error + Send + Sync>> {
///         let x = Array::new([count, 1], self.0[first as usize..][..count].to_vec())?;
///         Ok(Batch { inputs: vec![("x".to_owned(), x)], labels: None })
///     }
/// }
///
/// let document = Document::from_bytes(graph.to_bytes()?)?;
/// let recalibrator = Recalibrator::new(&document, Options { batch_size: 3, ..Options::default() })?;
/// let mut numbers = Numbers(vec![1.0, 2.0, 3.0, 4.0, 5.0]);
/// let outcome = recalibrator.run(&Tract, &mut numbers, None, &mut |_| ControlFlow::Continue(()))?;
/// let Outcome::Done(done) = outcome else { panic!("nobody stopped it") };
/// let stored = |name| done.document.storage().values(done.document.graph().initializer(name).unwrap());
/// assert_eq!((stored("mean")?, stored("variance")?), (vec![3.0], vec![2.0]));
/// assert_eq!(done.report.layers[0].values, 5);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Recalibrator<'d> {
    pub(super) document: &'d Document,
    pub(super) options: Options,
    pub(super) selection: Selection,
    /// The batch that the model insists on.
    pub(super) fixed_batch: Option<usize>,
}

/// How a run ended.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub enum Outcome {
    /// All statistics are known.
    Done(Recalibration),
    /// It was told to stop. What it had found out is in the file for the state, if there is one.
    Interrupted,
}

/// A model with its new statistics.
#[derive(Debug)]
pub struct Recalibration {
    /// The model.
    pub document: Document,
    /// What became of it.
    pub report: Report,
    pub(super) state: Option<PathBuf>,
}

impl Recalibration {
    /// Writes the model to a file, which appears whole or not at all, and deletes the state from which an interrupted run
    /// would go on.
    ///
    /// # Errors
    ///
    /// As [`Document::save`].
    pub fn save(&self, path: &Path) -> Result<(), DocumentError> {
        self.document.save(path)?;
        self.forget();
        Ok(())
    }

    /// Deletes the state from which an interrupted run would go on.
    pub fn forget(&self) {
        if let Some(state) = &self.state {
            // One that cannot be deleted is found by the next run, which goes on from its end.
            let _ = std::fs::remove_file(state);
        }
    }
}

impl<'d> Recalibrator<'d> {
    /// Looks for the layers to be recalibrated.
    ///
    /// # Errors
    ///
    /// If there are none, their statistics are not constants, parts of the model are damaged, or the options make no sense.
    pub fn new(document: &'d Document, options: Options) -> Result<Self> {
        if options.batch_size == 0 {
            return Err(RecalibrateError::BatchSize { found: 0, default: Options::BATCH_SIZE });
        }
        if let Some(found) = options.blend.filter(|weight| !(weight.is_finite() && *weight >= 0.0)) {
            return Err(RecalibrateError::Blend { found });
        }
        let selection = Selection::new(document, &options.layers)?;
        let fixed_batch = fixed_batch(document)?;
        Ok(Self { document, options, selection, fixed_batch })
    }

    /// The names of the layers to be recalibrated, in the model's order.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = &str> {
        self.selection.layers.iter().map(|layer| layer.name.as_str())
    }

    /// What was noticed about the layers.
    pub fn findings(&self) -> &[Finding] {
        &self.selection.findings
    }

    /// Samples in a batch: the model's number, if it has one.
    pub fn batch_size(&self) -> usize {
        self.fixed_batch.unwrap_or(self.options.batch_size)
    }

    /// What it will take, for so many samples, with labels or without.
    ///
    /// # Errors
    ///
    /// If the model in training mode has outputs that others use, which cannot be had.
    pub fn plan(&self, samples: u64, labelled: bool) -> Result<Plan> {
        let stages = run::stages(self, labelled && self.options.accuracy);
        let weights = run::weights(self, &stages)?;
        let whole = run::whole_weight(self)?;
        Ok(Plan {
            layers: self.selection.layers.len(),
            passes: stages.len(),
            samples,
            batch_size: self.batch_size(),
            whole_passes: weights.iter().sum::<u64>() as f64 / whole as f64,
        })
    }

    /// Estimates the statistics on all samples. The model in the file stays as it is; [`Recalibration::save`] writes the new
    /// one.
    ///
    /// `watch` is told before each batch how far it is, and may stop it. With a file for its `state`, written every few
    /// seconds and when it is stopped, a later run with the same model, data, runtime and options goes on from there, and
    /// comes to the same bits.
    ///
    /// # Errors
    ///
    /// If samples or model fail, NaN or infinity comes into a layer, a layer sees but one value per channel, a statistic does
    /// not fit its type, or the state is another run's.
    pub fn run(
        &self,
        runtime: &dyn Runtime,
        samples: &mut dyn Samples,
        state: Option<&Path>,
        watch: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Outcome> {
        run::run(self, runtime, samples, state, watch)
    }

    /// Whether samples are taken in whole batches only.
    pub(super) fn whole_batches(&self) -> bool {
        self.options.method != Method::Sequential
    }

    /// What a layer is to keep, by what was found out about its input.
    pub(super) fn kept(&self, layer: usize, new: Estimate, samples: u64) -> Result<Estimate> {
        match self.options.blend {
            Some(old) if old > 0.0 => {
                statistics::blend(&self.selection.layers[layer], &new, old, samples as f64)
            }
            _ => Ok(new),
        }
    }
}

/// The length of the first axis of the model's inputs, where it is fixed.
fn fixed_batch(document: &Document) -> Result<Option<usize>> {
    let graph = document.graph();
    let mut batch: Option<u64> = None;
    for input in graph.inputs().iter().filter(|input| graph.initializer(input.name()).is_none()) {
        let first = input.extents().and_then(<[_]>::first).and_then(|extent| extent.fixed());
        match (batch, first) {
            (Some(first), Some(other)) if first != other => {
                return Err(RecalibrateError::FixedBatches { first, input: input.name().to_owned(), other });
            }
            (_, Some(first)) => batch = Some(first),
            _ => {}
        }
    }
    match batch {
        Some(found) if found > LARGEST_BATCH => {
            Err(RecalibrateError::LargeBatch { found, limit: LARGEST_BATCH })
        }
        batch => Ok(batch.map(|batch| batch as usize)),
    }
}
