//! Batch-norm layers by the names and shapes of their tensors.

use batchnorm::{BatchNormConfig, Names};

use super::{Archive, TensorEntry};

/// Whose names a layer's tensors have.
///
/// | | gamma | beta | mean | variance | batches |
/// |---|---|---|---|---|---|
/// | PyTorch | `weight` | `bias` | `running_mean` | `running_var` | `num_batches_tracked` |
/// | Keras | `gamma` | `beta` | `moving_mean` | `moving_variance` | - |
/// | Burn | `gamma` | `beta` | `running_mean` | `running_var` | `num_batches_tracked` |
/// | Flax | `scale` | `bias` | `mean` | `var` | - |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Convention {
    /// A PyTorch `state_dict`.
    PyTorch,
    /// A Keras layer's variables.
    Keras,
    /// A Burn module's record. Burn's own layer has no counter, that of `batchnorm-burn` has.
    Burn,
    /// A Flax module's variables: all under one name, or `params` and `batch_stats` apart.
    Flax,
}

impl Convention {
    /// The name of gamma.
    pub const fn gamma(self) -> &'static str {
        match self {
            Self::PyTorch => Names::PyTorch.gamma(),
            Self::Keras | Self::Burn => Names::Keras.gamma(),
            Self::Flax => "scale",
        }
    }

    /// The name of beta.
    pub const fn beta(self) -> &'static str {
        match self {
            Self::PyTorch => Names::PyTorch.beta(),
            Self::Keras | Self::Burn => Names::Keras.beta(),
            Self::Flax => "bias",
        }
    }

    /// The name of the running mean.
    pub const fn mean(self) -> &'static str {
        match self {
            Self::PyTorch | Self::Burn => Names::PyTorch.running_mean(),
            Self::Keras => Names::Keras.running_mean(),
            Self::Flax => "mean",
        }
    }

    /// The name of the running variance.
    pub const fn variance(self) -> &'static str {
        match self {
            Self::PyTorch | Self::Burn => Names::PyTorch.running_variance(),
            Self::Keras => Names::Keras.running_variance(),
            Self::Flax => "var",
        }
    }

    /// The name of the batch counter, where there may be one.
    pub const fn counter(self) -> Option<&'static str> {
        match self {
            Self::PyTorch | Self::Burn => Names::PyTorch.batches(),
            Self::Keras | Self::Flax => None,
        }
    }

    /// The library's default for eps.
    pub const fn default_eps(self) -> f64 {
        match self {
            Self::PyTorch => BatchNormConfig::pytorch().eps,
            Self::Keras => BatchNormConfig::keras().eps,
            Self::Burn => BatchNormConfig::burn().eps,
            Self::Flax => BatchNormConfig::flax().eps,
        }
    }

    /// The library's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PyTorch => "PyTorch",
            Self::Keras => "Keras",
            Self::Burn => "Burn",
            Self::Flax => "Flax",
        }
    }
}

/// The names of a layer's tensors in its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerTensors {
    /// That of gamma, if the layer has one.
    pub gamma: Option<String>,
    /// That of beta, if the layer has one.
    pub beta: Option<String>,
    /// That of the running mean.
    pub mean: String,
    /// That of the running variance.
    pub variance: String,
    /// That of the batch counter, if there is one.
    pub counter: Option<String>,
}

impl LayerTensors {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let Self { gamma, beta, mean, variance, counter } = self;
        [gamma.as_ref(), beta.as_ref(), Some(mean), Some(variance), counter.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

/// As many channels as a layer may have, so that no file makes its layers take gigabytes of memory.
const CHANNELS: usize = 1 << 24;

/// A layer that names and shapes show.
#[derive(Clone, Debug)]
pub(super) struct Named {
    /// What its tensors' names begin with, without the last dot or slash.
    pub name: String,
    pub convention: Convention,
    pub tensors: LayerTensors,
    pub channels: usize,
}

/// A name cut before its last part: the layer, with the dot or slash behind it, and the part without TensorFlow's `:0`.
pub(super) fn split(name: &str) -> (&str, &str) {
    let (layer, last) = name.split_at(name.rfind(['.', '/']).map_or(0, |at| at + 1));
    (layer, last.strip_suffix(":0").unwrap_or(last))
}

/// A layer's name without the dot or slash behind it.
pub(super) fn trimmed(layer: &str) -> &str {
    layer.strip_suffix(['.', '/']).unwrap_or(layer)
}

/// The parts of a layer's name.
pub(super) fn parts(name: &str) -> impl DoubleEndedIterator<Item = &str> {
    name.split(['.', '/'])
}

/// The layers of a checkpoint. In the order of the file, unless that is the alphabet's: then numbers in names count.
pub(super) fn layers(archive: &Archive) -> Vec<Named> {
    let mut layers: Vec<Named> = archive.entries().iter().filter_map(|entry| layer(archive, entry)).collect();
    if layers.is_sorted_by(|a, b| a.name <= b.name) {
        layers.sort_by(|a, b| super::pytorch::by_number(&a.name, &b.name));
    }
    layers
}

/// The layer whose running mean this is.
fn layer(archive: &Archive, mean: &TensorEntry) -> Option<Named> {
    let (layer, last) = split(&mean.name);
    let suffix = &mean.name[layer.len() + last.len()..];
    let tensor = |layer: &str, last: &str| {
        let name = format!("{layer}{last}{suffix}");
        archive.entry(&name).map(|_| name)
    };
    let convention = if last == Convention::PyTorch.mean() {
        let burn = [Convention::Burn.gamma(), Convention::Burn.beta()];
        let burn = burn.into_iter().any(|last| tensor(layer, last).is_some());
        if burn { Convention::Burn } else { Convention::PyTorch }
    } else if last == Convention::Keras.mean() {
        Convention::Keras
    } else if last == Convention::Flax.mean() {
        Convention::Flax
    } else {
        return None;
    };
    let parameters = match convention {
        Convention::Flax => params_of(layer),
        _ => layer.to_owned(),
    };
    let tensors = LayerTensors {
        gamma: tensor(&parameters, convention.gamma()),
        beta: tensor(&parameters, convention.beta()),
        mean: mean.name.clone(),
        variance: tensor(layer, convention.variance())?,
        counter: convention.counter().and_then(|last| tensor(layer, last)),
    };
    // `mean` and `var` are names of much else.
    if convention == Convention::Flax && parameters == layer && tensors.gamma.is_none() {
        return None;
    }
    let &[channels] = &mean.shape[..] else { return None };
    let per_channel =
        [Some(&tensors.mean), Some(&tensors.variance), tensors.gamma.as_ref(), tensors.beta.as_ref()];
    let fits = per_channel.into_iter().flatten().all(|name| {
        archive.entry(name).is_some_and(|entry| entry.shape == [channels] && entry.dtype.is_float())
    });
    (fits && (1..=CHANNELS).contains(&channels)).then(|| Named {
        name: trimmed(&parameters).to_owned(),
        convention,
        tensors,
        channels,
    })
}

/// Where Flax keeps the parameters of a layer: `batch_stats.BatchNorm_0.` has them under `params.BatchNorm_0.`.
fn params_of(layer: &str) -> String {
    let at = parts(layer).scan(0, |start, part| {
        let at = *start;
        *start += part.len() + 1;
        Some((at, part))
    });
    let mut statistics = at.filter(|(_, part)| *part == "batch_stats");
    match statistics.next() {
        Some((at, part)) => format!("{}params{}", &layer[..at], &layer[at + part.len()..]),
        None => layer.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_before_its_last_part() {
        assert_eq!(split("a.b.weight"), ("a.b.", "weight"));
        assert_eq!(split("a/b/gamma:0"), ("a/b/", "gamma"));
        assert_eq!(split("running_mean"), ("", "running_mean"));
        assert_eq!(split("a."), ("a.", ""));
    }

    #[test]
    fn flax_keeps_parameters_apart() {
        assert_eq!(params_of("batch_stats.Block_0.BatchNorm_1."), "params.Block_0.BatchNorm_1.");
        assert_eq!(params_of("x/batch_stats/"), "x/params/");
        assert_eq!(params_of("my_batch_stats.bn."), "my_batch_stats.bn.");
    }
}
