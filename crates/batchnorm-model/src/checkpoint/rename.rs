//! Batch-norm layers under another library's names, and layers that are frozen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use super::layers::EPS_KEY;
use super::names::{Named, layers, split};
use super::output::{self, Content, OutputTensor};
use super::{Archive, Convention, Dtype, RewriteError};

/// What to convert.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConversionOptions {
    /// Whose names the layers' tensors get; `None` leaves the names.
    pub names: Option<Convention>,
    /// The eps to freeze the layers with; `None` freezes none.
    pub frozen: Option<f64>,
}

/// What becomes of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversionReport {
    /// The layer's name.
    pub name: String,
    /// Whose names its tensors had.
    pub from: Convention,
    /// Its tensors' old names, each with the new one, where they differ.
    pub renamed: Vec<(String, String)>,
    /// The tensors that the new kind of layer does not have.
    pub dropped: Vec<String>,
    /// The tensors that the new kind of layer has to have: a gamma of 1, a beta of 0.
    pub created: Vec<String>,
    /// Why it stays as it is, where it does.
    pub refusal: Option<Unconverted>,
}

/// Why a layer keeps its names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unconverted {
    /// Its statistics are kept apart from its parameters.
    Apart {
        /// A tensor of its statistics.
        statistics: String,
    },
    /// A tensor that is no part of it has one of the names already.
    NameTaken {
        /// The name.
        name: String,
    },
    /// The names asked for are none that files are given: those of Flax depend on the whole network.
    Target,
}

impl Unconverted {
    /// A name that stays the same from version to version, for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Apart { .. } => "statistics-apart",
            Self::NameTaken { .. } => "name-taken",
            Self::Target => "names-not-written",
        }
    }
}

impl fmt::Display for Unconverted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apart { statistics } => write!(
                f,
                "`{statistics}` is in another tree than the layer's parameters, and the layer's name elsewhere is not known; \
                 merge `batch_stats` into `params` before"
            ),
            Self::NameTaken { name } => {
                write!(
                    f,
                    "a tensor that is no part of the layer is named `{name}` already; rename that one before"
                )
            }
            Self::Target => write!(
                f,
                "Flax keeps parameters and statistics in trees of their own, which names alone do not make; choose PyTorch, \
                 Keras or Burn"
            ),
        }
    }
}

struct Change {
    /// The name that a tensor gets; `None` drops it.
    name: Option<String>,
    shape: Option<Vec<usize>>,
}

/// Batch-norm layers of a checkpoint under other names, or frozen; every other tensor stays as it is, under its own name.
///
/// Only what is certain is converted: names of batch-norm layers, and the shape of their counter, which is a scalar in PyTorch
/// and of one axis in Burn. Keras has no counter: it is dropped. Weights of other layers keep their names and layouts.
///
/// A frozen layer has no counter, and PyTorch's has both a scale and a shift; eps goes into the metadata, under
/// [`EPS_KEY`](super::EPS_KEY).
///
/// ```
/// use batchnorm_model::checkpoint::{Archive, Conversion, ConversionOptions, Convention, NamedTensor, Tensors};
///
/// # let folder = tempfile::tempdir()?;
/// # let (path, out) = (folder.path().join("net.safetensors"), folder.path().join("keras.safetensors"));
/// let mut tensors = Tensors::default();
/// for name in ["weight", "bias", "running_mean", "running_var"] {
///     tensors.tensors.push(NamedTensor::new(format!("bn1.{name}"), [2], vec![1.0_f32; 2]));
/// }
/// tensors.write(&path)?;
///
/// let archive = Archive::open(&path)?;
/// let options = ConversionOptions { names: Some(Convention::Keras), frozen: None };
/// Conversion::new(&archive, &options).write(&out)?;
/// let names: Vec<_> = Archive::open(&out)?.names().map(str::to_owned).collect();
/// assert_eq!(names, ["bn1.gamma", "bn1.beta", "bn1.moving_mean", "bn1.moving_variance"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Conversion<'a> {
    archive: &'a Archive,
    reports: Vec<ConversionReport>,
    changes: HashMap<String, Change>,
    /// Tensors that are added behind the one of this name.
    created: HashMap<String, Vec<Created>>,
    metadata: BTreeMap<String, String>,
}

struct Created {
    name: String,
    dtype: Dtype,
    channels: usize,
    value: f64,
}

impl<'a> Conversion<'a> {
    /// Works out what becomes of each layer. Nothing but names and shapes is looked at.
    pub fn new(archive: &'a Archive, options: &ConversionOptions) -> Self {
        let mut conversion = Self {
            archive,
            reports: Vec::new(),
            changes: HashMap::new(),
            created: HashMap::new(),
            metadata: output::metadata(archive),
        };
        let mut taken: HashSet<String> = archive.names().map(str::to_owned).collect();
        for layer in layers(archive) {
            let report = conversion.convert(&layer, options, &mut taken);
            conversion.reports.push(report);
        }
        let frozen = conversion.reports.iter().any(|report| report.refusal.is_none());
        if let Some(eps) = options.frozen.filter(|_| frozen) {
            // The shortest text that is this number again.
            conversion.metadata.insert(EPS_KEY.to_owned(), format!("{eps:e}"));
        }
        conversion
    }

    /// Every layer, and what becomes of it.
    pub fn reports(&self) -> &[ConversionReport] {
        &self.reports
    }

    /// Whether the file stays as it is.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.created.is_empty() && self.metadata == output::metadata(self.archive)
    }

    /// Writes the converted checkpoint as one safetensors file, which appears whole or not at all. With nothing to convert, a
    /// safetensors file is copied byte for byte.
    ///
    /// # Errors
    ///
    /// If a tensor cannot be read, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RewriteError> {
        if self.is_empty() {
            return output::write_unchanged(self.archive, path);
        }
        let mut tensors = Vec::new();
        for mut tensor in OutputTensor::all(self.archive) {
            let created = self.created.get(&tensor.name);
            match self.changes.get(&tensor.name) {
                None => tensors.push(tensor),
                Some(Change { name: None, .. }) => {}
                Some(Change { name: Some(name), shape }) => {
                    tensor.name.clone_from(name);
                    tensor.shape = shape.clone().unwrap_or(tensor.shape);
                    tensors.push(tensor);
                }
            }
            tensors.extend(created.into_iter().flatten().map(Created::tensor));
        }
        output::write(self.archive, &tensors, &self.metadata, path)
    }

    fn convert(
        &mut self,
        layer: &Named,
        options: &ConversionOptions,
        taken: &mut HashSet<String>,
    ) -> ConversionReport {
        let mut report = ConversionReport {
            name: layer.name.clone(),
            from: layer.convention,
            renamed: Vec::new(),
            dropped: Vec::new(),
            created: Vec::new(),
            refusal: None,
        };
        let to = options.names.unwrap_or(layer.convention);
        let moved = to != layer.convention;
        let (place, _) = split(&layer.tensors.mean);
        let together = layer.tensors.all().all(|name| split(name).0 == place);
        if moved && to == Convention::Flax {
            report.refusal = Some(Unconverted::Target);
        } else if moved && !together {
            report.refusal = Some(Unconverted::Apart { statistics: layer.tensors.mean.clone() });
        }
        if report.refusal.is_some() {
            return report;
        }

        let tensors = &layer.tensors;
        let roles = [
            (tensors.gamma.as_ref(), Some(to.gamma())),
            (tensors.beta.as_ref(), Some(to.beta())),
            (Some(&tensors.mean), Some(to.mean())),
            (Some(&tensors.variance), Some(to.variance())),
            (tensors.counter.as_ref(), to.counter().filter(|_| options.frozen.is_none())),
        ];
        let mut changes = Vec::new();
        for (old, last) in roles {
            let Some(old) = old else { continue };
            let Some(last) = last else {
                report.dropped.push(old.clone());
                changes.push((old.clone(), Change { name: None, shape: None }));
                continue;
            };
            let new = if moved { format!("{place}{last}") } else { old.clone() };
            let shape = (Some(old) == tensors.counter.as_ref() && moved).then(|| self.counter_shape(old, to));
            let shape = shape.flatten();
            if new != *old {
                report.renamed.push((old.clone(), new.clone()));
            }
            if new != *old || shape.is_some() {
                changes.push((old.clone(), Change { name: Some(new), shape }));
            }
        }
        let mut created = Vec::new();
        if options.frozen.is_some() && to == Convention::PyTorch {
            let missing = [(&tensors.gamma, to.gamma(), 1.0), (&tensors.beta, to.beta(), 0.0)];
            for (_, last, value) in missing.into_iter().filter(|(there, ..)| there.is_none()) {
                let dtype = self.archive.entry(&tensors.mean).map_or(Dtype::F32, |entry| entry.dtype.clone());
                created.push(Created {
                    name: format!("{place}{last}"),
                    dtype,
                    channels: layer.channels,
                    value,
                });
            }
        }
        let own: HashSet<&str> = tensors.all().collect();
        let new = changes.iter().filter_map(|(_, change)| change.name.as_ref());
        let mut new = new.chain(created.iter().map(|created| &created.name));
        if let Some(name) = new.find(|name| taken.contains(*name) && !own.contains(name.as_str())) {
            return ConversionReport {
                renamed: Vec::new(),
                dropped: Vec::new(),
                refusal: Some(Unconverted::NameTaken { name: name.clone() }),
                ..report
            };
        }
        report.created = created.iter().map(|created| created.name.clone()).collect();
        taken.extend(changes.iter().filter_map(|(_, change)| change.name.clone()));
        taken.extend(report.created.iter().cloned());
        self.changes.extend(changes);
        if !created.is_empty() {
            self.created.insert(tensors.variance.clone(), created);
        }
        report
    }

    /// The shape that a counter of one element gets; `None` where it keeps its own.
    fn counter_shape(&self, counter: &str, to: Convention) -> Option<Vec<usize>> {
        let entry = self.archive.entry(counter)?;
        let one = entry.shape.iter().all(|&length| length == 1);
        let shape = match to {
            Convention::Burn => vec![1],
            _ => Vec::new(),
        };
        (one && entry.shape != shape).then_some(shape)
    }
}

impl Created {
    fn tensor(&self) -> OutputTensor<'_> {
        let one = self.dtype.narrow_exactly(self.value);
        let bytes = one.repeat(self.channels);
        OutputTensor {
            name: self.name.clone(),
            dtype: self.dtype.clone(),
            shape: vec![self.channels],
            bytes: bytes.len() as u64,
            content: Content::Bytes(bytes),
        }
    }
}
