//! Which linear map a layer's input may come from: guessed, since a checkpoint has names and no graph.

use std::collections::{HashMap, HashSet};

use super::maps::{LinearMap, Order};
use super::names::{Named, parts, split, trimmed};
use super::{Archive, maps};

/// What a normalization is called, longest first.
const NORMS: [&str; 10] = [
    "batch_normalization",
    "BatchNorm2d",
    "BatchNorm",
    "batch_norm",
    "batchnorm",
    "norm",
    "Norm",
    "bn",
    "BN",
    "Bn",
];
/// What the map before it may be called in the same place, likeliest first; nothing at all in `conv1_bn`.
const MAPS: [&str; 16] = [
    "conv",
    "Conv",
    "conv2d",
    "Conv2d",
    "conv1d",
    "conv3d",
    "deconv",
    "conv_transpose",
    "ConvTranspose",
    "linear",
    "Linear",
    "fc",
    "dense",
    "Dense",
    "proj",
    "",
];

/// A linear map whose output a layer may normalize. A guess: names mislead where the normalization comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The map's name: what the names of its tensors begin with.
    pub map: String,
    /// The name of its weight.
    pub weight: String,
    /// The name of its bias, if it has one.
    pub bias: Option<String>,
    /// Whether the channels are on the axis of a transposed convolution's outputs alone.
    pub transposed: bool,
    /// Why it is taken for the map.
    pub reason: String,
}

struct Candidate {
    map: LinearMap,
    transposed: bool,
    reason: String,
    /// Layer and map with their numbers left out, where names alone were compared.
    kind: Option<(String, String)>,
}

/// A guess for each layer that allows one.
pub(super) fn all(archive: &Archive, layers: &[Named]) -> Vec<Option<Guess>> {
    let siblings = Siblings::of(archive, layers);
    let mut mistaken = HashSet::new();
    let mut candidates: Vec<Vec<Candidate>> =
        layers.iter().map(|layer| by_name(archive, layer, &mut mistaken)).collect();
    for (layer, candidates) in layers.iter().zip(&mut candidates) {
        // Where the names pair tensors that do not fit, somewhere in the file, they mean something else here too.
        let is_mistaken =
            |candidate: &mut Candidate| candidate.kind.as_ref().is_some_and(|kind| mistaken.contains(kind));
        let rejected: Vec<Candidate> = candidates.extract_if(.., is_mistaken).collect();
        if candidates.is_empty() {
            let only_one = siblings.only_one(layer);
            candidates
                .extend(only_one.filter(|one| rejected.iter().all(|other| other.map.name != one.map.name)));
        }
    }
    let first = |candidates: &Vec<Candidate>| candidates.first().map(|first| first.map.name.clone());
    let mut claims: HashMap<String, usize> = HashMap::new();
    for map in candidates.iter().filter_map(first) {
        *claims.entry(map).or_default() += 1;
    }
    let guesses = candidates.into_iter().map(|candidates| candidates.into_iter().next());
    guesses
        .map(|guess| {
            let Candidate { map, transposed, reason, .. } = guess?;
            // Two layers with one map: at least one guess is wrong.
            (claims[&map.name] == 1).then_some(Guess {
                map: map.name,
                weight: map.weight,
                bias: map.bias,
                transposed,
                reason,
            })
        })
        .collect()
}

/// The maps that are named as the layer is and have as many outputs as it has channels.
fn by_name(archive: &Archive, layer: &Named, mistaken: &mut HashSet<(String, String)>) -> Vec<Candidate> {
    let (parent, last) = split(&layer.name);
    let mut found = Vec::new();
    let mut consider = |name: String, reason: String, kind: Option<(String, String)>| {
        let Some(map) = maps::find(archive, &name, layer.convention) else { return };
        if map.outputs(Order::AsNamed) == Some(layer.channels) {
            found.push(Candidate { map, transposed: false, reason, kind });
        } else if map.outputs(Order::Transposed) == Some(layer.channels)
            && (kind.is_none() || is_upwards(&name))
        {
            let reason = format!("{reason}, if it is a transposed convolution");
            found.push(Candidate { map, transposed: true, reason, kind });
        } else {
            mistaken.extend(kind);
        }
    };
    if let Ok(number) = last.parse::<usize>() {
        if let Some(before) = number.checked_sub(1) {
            let reason = format!("`{before}` comes before `{number}` in the same sequence");
            consider(format!("{parent}{before}"), reason, None);
        }
        return found;
    }
    let norm = NORMS.into_iter().find_map(|norm| last.find(norm).map(|at| (norm, at)));
    let Some((norm, at)) = norm else { return found };
    for map in MAPS {
        let (before, after) = (&last[..at], &last[at + norm.len()..]);
        let name = format!("{before}{map}{after}");
        let name = if map.is_empty() { name.trim_matches(['_', '-']).to_owned() } else { name };
        if name.is_empty() {
            continue;
        }
        let full = format!("{parent}{name}");
        let kind = (without_numbers(&layer.name), without_numbers(&full));
        consider(full, format!("`{name}` and `{last}` beside it are named alike"), Some(kind));
    }
    found
}

/// Whether a name says that its map is a transposed convolution. Without that, channels on the axis of the inputs are those
/// of a normalization that comes before the map.
fn is_upwards(name: &str) -> bool {
    let name = name.to_lowercase();
    ["transpose", "deconv"].iter().any(|word| name.contains(word))
        || parts(&name).any(|part| part.starts_with("up"))
}

/// Maps and layers by the module that they are parts of.
struct Siblings {
    maps: HashMap<String, Vec<LinearMap>>,
    layers: HashMap<(String, usize), usize>,
}

impl Siblings {
    fn of(archive: &Archive, layers: &[Named]) -> Self {
        let mut maps: HashMap<String, Vec<LinearMap>> = HashMap::new();
        let convention = layers.first().map(|layer| layer.convention);
        for entry in archive.entries().iter().filter(|_| convention.is_some()) {
            let (name, _) = split(&entry.name);
            let map = convention.and_then(|convention| maps::find(archive, trimmed(name), convention));
            if let Some(map) = map.filter(|map| map.weight == entry.name) {
                maps.entry(split(&map.name).0.to_owned()).or_default().push(map);
            }
        }
        let mut count: HashMap<(String, usize), usize> = HashMap::new();
        for layer in layers {
            *count.entry((split(&layer.name).0.to_owned(), layer.channels)).or_default() += 1;
        }
        Self { maps, layers: count }
    }

    /// The map beside a layer, if it alone has as many outputs and the layer alone as many channels.
    fn only_one(&self, layer: &Named) -> Option<Candidate> {
        let (parent, last) = split(&layer.name);
        // In a sequence the neighbours tell more, and they were asked.
        if last.parse::<usize>().is_ok() || self.layers.get(&(parent.to_owned(), layer.channels)) != Some(&1) {
            return None;
        }
        let mut fitting =
            self.maps.get(parent)?.iter().filter(|map| map.outputs(Order::AsNamed) == Some(layer.channels));
        let (map, None) = (fitting.next()?, fitting.next()) else { return None };
        let reason = format!("it alone beside `{last}` has {} outputs", layer.channels);
        Some(Candidate { map: map.clone(), transposed: false, reason, kind: None })
    }
}

/// A name with `#` for each number.
fn without_numbers(name: &str) -> String {
    let mut kind = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            other => kind.push(other),
        }
    }
    kind
}
