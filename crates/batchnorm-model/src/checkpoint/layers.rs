//! What a checkpoint tells of its batch-norm layers.

use std::fmt;

use batchnorm::fold::Affine;
use batchnorm::health::{Finding, Numbers, examine, range};

use super::guess::Guess;
use super::names::{Named, layers};
use super::{Archive, ArchiveError, Convention, Dtype, LayerTensors, guess};

/// The key of the metadata that holds eps: one number for all layers of the file.
pub const EPS_KEY: &str = "batchnorm.eps";

/// What is known of one batch-norm layer in a checkpoint.
///
/// A layer is a running mean and a running variance of equal rank-1 length under one name. Instance normalization that
/// tracks statistics looks the same in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name: what the names of its tensors begin with. Empty for a file that is one layer.
    pub name: String,
    /// Whose names its tensors have.
    pub convention: Convention,
    /// The names of its tensors.
    pub tensors: LayerTensors,
    /// The type of its statistics.
    pub dtype: Dtype,
    /// The number of channels.
    pub channels: usize,
    /// eps, where it was passed or the file says it; checkpoints rarely do.
    pub eps: Option<f64>,
    /// The eps that scale and findings are for: the known one, or else the default of the library whose names these are.
    pub examined_with: f64,
    /// How many batches entered the statistics, where somebody counted.
    pub counter: Option<u64>,
    /// The smallest and the largest gamma.
    pub gamma: Option<(f64, f64)>,
    /// The smallest and the largest beta.
    pub beta: Option<(f64, f64)>,
    /// The smallest and the largest running mean.
    pub mean: Option<(f64, f64)>,
    /// The smallest and the largest running variance.
    pub variance: Option<(f64, f64)>,
    /// The smallest and the largest scale `gamma / sqrt(variance + eps)`; `None` where one is not finite.
    pub scale: Option<(f64, f64)>,
    /// What is wrong with its numbers, worst first.
    pub findings: Vec<Finding>,
    /// What else is remarkable.
    pub remarks: Vec<Remark>,
    /// The linear map that its input may come from, by the names.
    pub guess: Option<Guess>,
}

/// Something about a layer that is no fault of its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// There is no batch counter under names that have one.
    NoCounter,
    /// All means are 0 and all variances 1, as before the first batch.
    InitialStatistics,
    /// The map that is guessed to come before it has a bias, which the mean takes out again.
    RedundantBias,
}

impl Remark {
    /// A name that stays the same from version to version, for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoCounter => "no-counter",
            Self::InitialStatistics => "initial-statistics",
            Self::RedundantBias => "redundant-bias",
        }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCounter => "no `num_batches_tracked`: a frozen layer, Burn's own, or a file of before PyTorch 0.4.1",
            Self::InitialStatistics => {
                "all running means are 0 and all running variances 1, as before the first batch: train, or estimate the \
                 statistics on data"
            }
            Self::RedundantBias => {
                "the linear map before it, by the names, has a bias, which the mean takes out again: folding removes one of \
                 the two"
            }
        })
    }
}

impl Layer {
    /// All batch-norm layers of a checkpoint. Their tensors are read, and no others.
    ///
    /// `eps` is that of all of them, where it is known: a checkpoint rarely holds it.
    ///
    /// ```
    /// use batchnorm_model::checkpoint::{Archive, Layer, NamedTensor, Tensors};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("net.safetensors");
    /// let mut tensors = Tensors::default();
    /// tensors.tensors.push(NamedTensor::new("conv1.weight", [2, 3, 1, 1], vec![1.0_f32; 6]));
    /// for (name, value) in [("weight", 1.0_f32), ("bias", 0.0), ("running_mean", 0.5), ("running_var", 0.0)] {
    ///     tensors.tensors.push(NamedTensor::new(format!("bn1.{name}"), [2], vec![value; 2]));
    /// }
    /// tensors.write(&path)?;
    ///
    /// let layers = Layer::all(&Archive::open(&path)?, None)?;
    /// assert_eq!((layers[0].name.as_str(), layers[0].channels), ("bn1", 2));
    /// assert_eq!(layers[0].findings[0].code(), "zero-variance");
    /// assert_eq!(layers[0].pair().as_deref(), Some("conv1=bn1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If a tensor of a layer cannot be read.
    pub fn all(archive: &Archive, eps: Option<f64>) -> Result<Vec<Self>, ArchiveError> {
        let layers = layers(archive);
        let guesses = guess::all(archive, &layers);
        layers.into_iter().zip(guesses).map(|(named, guess)| Self::read(archive, named, eps, guess)).collect()
    }

    /// The guess as folding takes it, `conv1=bn1`; to be looked at before it is used.
    pub fn pair(&self) -> Option<String> {
        self.guess.as_ref().map(|guess| format!("{}={}", guess.map, self.name))
    }

    fn read(
        archive: &Archive,
        named: Named,
        eps: Option<f64>,
        guess: Option<Guess>,
    ) -> Result<Self, ArchiveError> {
        let known = eps.or_else(|| stated_eps(archive));
        let examined_with = known.unwrap_or(named.convention.default_eps());
        let values = LayerValues::read(archive, &named.tensors)?;
        let numbers = values.numbers(examined_with);
        let counter = values.counter;
        let scale = Affine::new(&numbers).ok().and_then(|affine| range(affine.scale()));
        let initial = values.mean.iter().all(|&mean| mean == 0.0)
            && values.variance.iter().all(|&variance| variance == 1.0);
        let bias = guess.as_ref().is_some_and(|guess| guess.bias.is_some());
        let remarks = [
            (named.convention.counter().is_some() && counter.is_none(), Remark::NoCounter),
            // A counter of 0 is told as a finding.
            (initial && counter != Some(0), Remark::InitialStatistics),
            (bias, Remark::RedundantBias),
        ];
        Ok(Self {
            dtype: archive.entry(&named.tensors.mean).map_or(Dtype::F32, |entry| entry.dtype.clone()),
            channels: named.channels,
            eps: known,
            examined_with,
            counter,
            gamma: values.gamma.as_deref().and_then(range),
            beta: values.beta.as_deref().and_then(range),
            mean: range(&values.mean),
            variance: range(&values.variance),
            scale,
            findings: examine(&numbers),
            remarks: remarks.into_iter().filter(|(holds, _)| *holds).map(|(_, remark)| remark).collect(),
            guess,
            name: named.name,
            convention: named.convention,
            tensors: named.tensors,
        })
    }
}

/// eps as the metadata have it.
pub(super) fn stated_eps(archive: &Archive) -> Option<f64> {
    let eps: f64 = archive.metadata().get(EPS_KEY)?.parse().ok()?;
    (eps.is_finite() && eps >= 0.0).then_some(eps)
}

/// The numbers of one layer, read and widened.
pub(super) struct LayerValues {
    mean: Vec<f64>,
    variance: Vec<f64>,
    gamma: Option<Vec<f64>>,
    beta: Option<Vec<f64>>,
    counter: Option<u64>,
}

impl LayerValues {
    pub fn read(archive: &Archive, tensors: &LayerTensors) -> Result<Self, ArchiveError> {
        let optional = |name: &Option<String>| name.as_ref().map(|name| archive.values(name)).transpose();
        // One number, whatever its shape; anything else under that name is no counter.
        let counter = tensors.counter.as_ref().and_then(|name| archive.entry(name));
        let counter = counter.filter(|entry| Some(entry.bytes) == entry.dtype.size().map(|size| size as u64));
        let counter = match counter {
            Some(entry) => archive.values(&entry.name)?.first().copied(),
            None => None,
        };
        Ok(Self {
            mean: archive.values(&tensors.mean)?,
            variance: archive.values(&tensors.variance)?,
            gamma: optional(&tensors.gamma)?,
            beta: optional(&tensors.beta)?,
            counter: counter.filter(|counter| *counter >= 0.0).map(|counter| counter as u64),
        })
    }

    pub fn numbers(&self, eps: f64) -> Numbers<'_, f64> {
        Numbers {
            gamma: self.gamma.as_deref(),
            beta: self.beta.as_deref(),
            batches: self.counter,
            ..Numbers::new(&self.mean, &self.variance, eps)
        }
    }
}
