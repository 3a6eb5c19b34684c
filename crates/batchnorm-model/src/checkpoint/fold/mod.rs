//! Folding batch-norm layers of a checkpoint into the linear maps before them.
//!
//! A checkpoint has names and no graph: which layer follows which map has to be said, and eps too, unless the file's metadata
//! hold it. What is not named stays as it is, byte for byte.

mod refusal;
mod weight;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use batchnorm::ElementType;
use batchnorm::fold::{Affine, FoldError, Rounding};

pub use self::refusal::Refusal;
use self::weight::Scaled;
use super::layers::{LayerValues, stated_eps};
use super::maps::{self, LinearMap};
use super::names::{Named, layers, split, trimmed};
use super::output::{self, Content, OutputTensor};
use super::{Archive, ArchiveError, Convention, Dtype, Pair, Pattern, RewriteError};

/// What to fold, and how.
#[derive(Clone, Debug)]
pub struct FoldOptions {
    /// The maps and the layers behind them.
    pub pairs: Vec<Pair>,
    /// The layers' eps; `None` for the one that the file's metadata hold.
    pub eps: Option<f64>,
    /// The maps that are transposed convolutions, which a file does not tell.
    pub transposed: Vec<Pattern>,
}

/// A pair and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct PairReport {
    /// The map's name; the pair's own text where it stands for nothing in the file.
    pub map: String,
    /// The layer's name; as above.
    pub norm: String,
    /// How it is folded, or why it is not.
    pub outcome: Result<FoldedPair, Refusal>,
}

/// How a pair is folded.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedPair {
    /// The map's weight, which changes.
    pub weight: String,
    /// Its bias, which changes, or is new.
    pub bias: String,
    /// Whether the bias is new.
    pub bias_is_new: bool,
    /// The number of channels.
    pub channels: usize,
    /// The eps that was used.
    pub eps: f64,
    /// The weights and biases that became 0 because their type has no normal number that small.
    pub flushed: u64,
    /// How far an output may move, relative to the sum of its terms' sizes: see [`Rounding::relative`].
    pub relative_bound: f64,
}

struct Fold {
    scaled: Scaled,
    bias_name: String,
    bias_dtype: Dtype,
    bias: Vec<u8>,
    norm: Named,
}

/// What will be folded, worked out and checked: every weight was read once.
///
/// ```
/// use batchnorm_model::checkpoint::{Archive, FoldOptions, FoldPlan, NamedTensor, Tensors};
///
/// # let folder = tempfile::tempdir()?;
/// # let (path, out) = (folder.path().join("net.safetensors"), folder.path().join("folded.safetensors"));
/// let mut tensors = Tensors::default();
/// tensors.tensors.push(NamedTensor::new("conv1.weight", [2, 1, 1, 1], vec![1.0_f32, 2.0]));
/// for (name, value) in [("weight", 3.0_f32), ("bias", 1.0), ("running_mean", 2.0), ("running_var", 1.0)] {
///     tensors.tensors.push(NamedTensor::new(format!("bn1.{name}"), [2], vec![value; 2]));
/// }
/// tensors.write(&path)?;
///
/// let archive = Archive::open(&path)?;
/// let pairs = vec!["conv1=bn1".parse()?];
/// let plan = FoldPlan::new(&archive, &FoldOptions { pairs, eps: Some(0.0), transposed: Vec::new() })?;
/// assert!(plan.reports().iter().all(|pair| pair.outcome.is_ok()));
/// plan.write(&out)?;
///
/// // s = 3, t = 1 - 2 * 3
/// let folded = Archive::open(&out)?;
/// assert_eq!(folded.names().collect::<Vec<_>>(), ["conv1.weight", "conv1.bias"]);
/// assert_eq!(folded.values("conv1.weight")?, [3.0, 6.0]);
/// assert_eq!(folded.values("conv1.bias")?, [-5.0, -5.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FoldPlan<'a> {
    archive: &'a Archive,
    reports: Vec<PairReport>,
    folds: Vec<Fold>,
}

impl<'a> FoldPlan<'a> {
    /// Finds the pairs in a checkpoint and works out their folding. What cannot be folded is told in
    /// [`reports`](Self::reports), and stays.
    ///
    /// A transposed convolution with as many inputs as outputs looks like another convolution: unless it is named as one, it is
    /// folded wrong.
    ///
    /// # Errors
    ///
    /// If a tensor cannot be read.
    pub fn new(archive: &'a Archive, options: &FoldOptions) -> Result<Self, ArchiveError> {
        let layers: HashMap<String, Named> =
            layers(archive).into_iter().map(|layer| (layer.name.clone(), layer)).collect();
        let found = Found::new(archive, &layers, options);
        let (mut reports, mut folds) = (found.refused, Vec::new());
        let refusals = twice(&found.pairs);
        for ((map, norm), refusal) in found.pairs.into_iter().zip(refusals) {
            let prepared = match refusal {
                Some(refusal) => Err(Stop::Refused(refusal)),
                None => prepare(archive, (&map, &norm), layers.get(&norm), options),
            };
            let outcome = match prepared {
                Ok((report, fold)) => {
                    folds.push(fold);
                    Ok(report)
                }
                Err(Stop::Refused(refusal)) => Err(refusal),
                Err(Stop::Failed(error)) => return Err(error),
            };
            reports.push(PairReport { map, norm, outcome });
        }
        Ok(Self { archive, reports, folds })
    }

    /// Every pair that was asked for, and what becomes of it.
    pub fn reports(&self) -> &[PairReport] {
        &self.reports
    }

    /// Whether nothing will be folded.
    pub fn is_empty(&self) -> bool {
        self.folds.is_empty()
    }

    /// Writes the folded checkpoint as one safetensors file, which appears whole or not at all. With nothing to fold, a
    /// safetensors file is copied byte for byte.
    ///
    /// # Errors
    ///
    /// If a tensor cannot be read, or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RewriteError> {
        if self.is_empty() {
            return output::write_unchanged(self.archive, path);
        }
        let by_weight: HashMap<&str, &Fold> =
            self.folds.iter().map(|fold| (fold.scaled.weight.as_str(), fold)).collect();
        let by_bias: HashMap<&str, &Fold> =
            self.folds.iter().map(|fold| (fold.bias_name.as_str(), fold)).collect();
        let gone: HashSet<&str> = self.folds.iter().flat_map(|fold| fold.norm.tensors.all()).collect();
        let bias = |fold: &Fold| OutputTensor {
            name: fold.bias_name.clone(),
            dtype: fold.bias_dtype.clone(),
            shape: vec![fold.scaled.affine.channels()],
            bytes: fold.bias.len() as u64,
            content: Content::Bytes(fold.bias.clone()),
        };
        let mut tensors = Vec::new();
        for mut tensor in OutputTensor::all(self.archive) {
            if gone.contains(tensor.name.as_str()) {
                continue;
            }
            if let Some(fold) = by_bias.get(tensor.name.as_str()) {
                tensors.push(bias(fold));
            } else if let Some(fold) = by_weight.get(tensor.name.as_str()) {
                let scaled = &fold.scaled;
                tensor.content = Content::Changed(Box::new(|out| scaled.write(self.archive, out)));
                tensors.push(tensor);
                if self.archive.entry(&fold.bias_name).is_none() {
                    tensors.push(bias(fold));
                }
            } else {
                tensors.push(tensor);
            }
        }
        output::write(self.archive, &tensors, &output::metadata(self.archive), path)
    }
}

/// What ends the work on a pair: it is refused, or the file cannot be read.
enum Stop {
    Refused(Refusal),
    Failed(ArchiveError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<FoldError> for Stop {
    fn from(error: FoldError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Self::Failed(error)
    }
}

/// Works out one pair.
fn prepare(
    archive: &Archive,
    (map, norm): (&str, &str),
    layer: Option<&Named>,
    options: &FoldOptions,
) -> Result<(FoldedPair, Fold), Stop> {
    let layer = layer.ok_or_else(|| Refusal::NoSuchLayer { norm: norm.to_owned() })?;
    let transposed = options.transposed.iter().any(|pattern| pattern.matches(map));
    let map = find_map(archive, map, layer.convention)?;
    let types = Types::check(archive, &map, layer.channels)?;
    let layout = weight::layout(&map, norm, layer.channels, transposed)?;
    let eps = options.eps.or_else(|| stated_eps(archive));
    let eps = eps.ok_or_else(|| Refusal::NoEps {
        library: layer.convention.name(),
        default: layer.convention.default_eps(),
    })?;
    let affine = Affine::new(&LayerValues::read(archive, &layer.tensors)?.numbers(eps))?;
    let old = map.bias.as_ref().map(|bias| archive.values(bias)).transpose()?;
    let (bias, mut stored) = weight::bias(old.as_deref(), &affine, &types.bias)?;
    let relative_bound = Rounding::of(element_type(&types.weight)).relative(layout.terms(), affine.roundings());
    let scaled = Scaled { weight: map.weight, dtype: types.weight, layout, affine };
    stored += scaled.check(archive)??;
    let report = FoldedPair {
        weight: scaled.weight.clone(),
        bias: map.bias_name.clone(),
        bias_is_new: map.bias.is_none(),
        channels: layer.channels,
        eps,
        flushed: stored.flushed,
        relative_bound,
    };
    let fold = Fold { scaled, bias_name: map.bias_name, bias_dtype: types.bias, bias, norm: layer.clone() };
    Ok((report, fold))
}

/// Names under which parametrizations keep what a weight is computed from.
const REPARAMETRIZED: [&str; 5] = [
    "weight_g",
    "weight_v",
    "weight_orig",
    "parametrizations.weight.original",
    "parametrizations.weight.original0",
];

fn find_map(archive: &Archive, name: &str, convention: Convention) -> Result<LinearMap, Refusal> {
    let missing = || {
        let others = REPARAMETRIZED.iter().map(|last| format!("{name}.{last}"));
        match others.into_iter().find(|other| archive.entry(other).is_some()) {
            Some(tensor) => Refusal::Reparametrized { map: name.to_owned(), tensor },
            None => Refusal::NoSuchMap { map: name.to_owned() },
        }
    };
    maps::find(archive, name, convention).ok_or_else(missing)
}

/// The types of a weight and of the bias that it will have.
struct Types {
    weight: Dtype,
    bias: Dtype,
}

impl Types {
    fn check(archive: &Archive, map: &LinearMap, channels: usize) -> Result<Self, Refusal> {
        let float = |name: &String| {
            let dtype = archive.entry(name).map_or(Dtype::F32, |entry| entry.dtype.clone());
            if dtype.is_float() { Ok(dtype) } else { Err(Refusal::WeightType { tensor: name.clone(), dtype }) }
        };
        let weight = float(&map.weight)?;
        let Some(bias) = &map.bias else { return Ok(Self { bias: weight.clone(), weight }) };
        let shape = archive.entry(bias).map(|entry| &entry.shape[..]).unwrap_or_default();
        if shape != [channels] {
            return Err(Refusal::BiasShape { tensor: bias.clone(), shape: shape.to_vec(), channels });
        }
        Ok(Self { weight, bias: float(bias)? })
    }
}

fn element_type(dtype: &Dtype) -> ElementType {
    match dtype {
        Dtype::F64 => ElementType::F64,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::Bf16,
        _ => ElementType::F32,
    }
}

/// The pairs of names that the patterns stand for, each once.
struct Found {
    pairs: Vec<(String, String)>,
    refused: Vec<PairReport>,
}

impl Found {
    fn new(archive: &Archive, layers: &HashMap<String, Named>, options: &FoldOptions) -> Self {
        let mut found = Self { pairs: Vec::new(), refused: Vec::new() };
        let mut seen = HashSet::new();
        // Every module with tensors of its own that is not a layer.
        let mut known = HashSet::new();
        let modules: Vec<&str> = archive
            .names()
            .map(|name| trimmed(split(name).0))
            .filter(|&module| known.insert(module) && !layers.contains_key(module))
            .collect();
        for pair in &options.pairs {
            let pairs: Vec<(String, String)> = if pair.map.is_literal() {
                vec![(pair.map.to_string(), pair.norm.to_string())]
            } else {
                let both = modules.iter().filter_map(|module| {
                    Some((module.to_string(), pair.norm.with(&pair.map.captures(module)?)))
                });
                both.filter(|(_, norm)| layers.contains_key(norm)).collect()
            };
            if pairs.is_empty() {
                let (map, norm) = (pair.map.to_string(), pair.norm.to_string());
                let outcome = Err(Refusal::NoMatch { pair: pair.to_string() });
                found.refused.push(PairReport { map, norm, outcome });
            }
            found.pairs.extend(pairs.into_iter().filter(|pair| seen.insert(pair.clone())));
        }
        found
    }
}

/// The refusal of each pair whose map or layer another pair has too.
fn twice(pairs: &[(String, String)]) -> Vec<Option<Refusal>> {
    let mut of_map: HashMap<&str, Vec<&str>> = HashMap::new();
    let mut of_norm: HashMap<&str, Vec<&str>> = HashMap::new();
    for (map, norm) in pairs {
        of_map.entry(map).or_default().push(norm);
        of_norm.entry(norm).or_default().push(map);
    }
    let other =
        |there: &[&str], this: &str| there.iter().find(|other| **other != this).map(|other| other.to_string());
    let refusal = |(map, norm): &(String, String)| {
        let (map, norm) = (map.clone(), norm.clone());
        match (other(&of_map[map.as_str()], &norm), other(&of_norm[norm.as_str()], &map)) {
            (Some(other), _) => Some(Refusal::MapTwice { map, norm, other }),
            (None, Some(other)) => Some(Refusal::LayerTwice { norm, map, other }),
            (None, None) => None,
        }
    };
    pairs.iter().map(refusal).collect()
}
