//! The layers of a checkpoint: names and numbers, without a graph.

use super::finding::{Finding, Severity};
use super::layer::{Layer, Neighbour, Values};
use super::map::of_sizes;
use super::numbers::{of_eps, of_values};
use crate::checkpoint::{self, Archive, ArchiveError, Dtype, Remark};

pub(super) fn layers(archive: &Archive, eps: Option<f64>) -> Result<Vec<Layer>, ArchiveError> {
    let found = checkpoint::Layer::all(archive, eps)?;
    let of = |layer: checkpoint::Layer| {
        let (known, examined_with) = (layer.eps, layer.examined_with);
        read(archive, layer, known, examined_with)
    };
    found.into_iter().map(of).collect()
}

/// A layer whose eps is `known` and, where it is not, taken to be `eps`.
fn read(
    archive: &Archive,
    found: checkpoint::Layer,
    known: Option<f64>,
    eps: f64,
) -> Result<Layer, ArchiveError> {
    let optional = |name: &Option<String>| name.as_ref().map(|name| archive.values(name)).transpose();
    let values = Values {
        gamma: optional(&found.tensors.gamma)?,
        beta: optional(&found.tensors.beta)?,
        mean: Some(archive.values(&found.tensors.mean)?),
        variance: Some(archive.values(&found.tensors.variance)?),
    };
    let mut findings = of_values(&values, eps, found.counter, smallest_normal(&found.dtype));
    findings.extend(known.and_then(of_eps));
    for remark in &found.remarks {
        findings.extend(match remark {
            // Told as `never-trained`.
            Remark::InitialStatistics => None,
            Remark::RedundantBias => {
                let bias = found.guess.as_ref().and_then(|guess| guess.bias.as_deref());
                let facts = bias.map_or(String::new(), |bias| format!("`{bias}`"));
                Some(Finding::new(remark.code(), Severity::Note, facts, &remark.to_string()))
            }
            _ => Some(Finding::new(remark.code(), Severity::Note, "", &remark.to_string())),
        });
    }
    let (scale, shift) = values.affine(eps).unzip();
    let mut layer = Layer {
        name: found.name,
        inside: None,
        channels: Some(found.channels),
        producer: found.guess.map(|guess| Neighbour::Guess(guess.map)),
        consumers: Vec::new(),
        mode: None,
        eps: known,
        eps_given: known.is_some(),
        momentum: None,
        batches: found.counter,
        mean_in_sigmas: values.mean_in_sigmas(eps),
        values,
        scale,
        folded_weights: None,
        findings,
        fold: None,
    };
    let sizes = of_sizes(&layer, &shift.unwrap_or_default());
    layer.findings.extend(sizes);
    layer.sort_findings();
    Ok(layer)
}

/// The smallest normal number of a type of elements.
fn smallest_normal(dtype: &Dtype) -> f64 {
    match dtype {
        Dtype::F16 => half::f16::MIN_POSITIVE.to_f64(),
        Dtype::F64 => f64::MIN_POSITIVE,
        _ => f64::from(f32::MIN_POSITIVE),
    }
}
