//! An inspection as a JSON document.

use std::collections::BTreeMap;

use serde::Serialize;

use super::absence::Absence;
use super::finding::{Finding, Severity, Verdict};
use super::layer::{Layer, Neighbour};
use super::{Inspection, Summary};
use crate::onnx::layers::Mode;

/// The version of the document: a reader of an older one can read all that it knows.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
pub(super) struct Document<'a> {
    schema: u32,
    format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    opset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ir_version: Option<i64>,
    layers: Vec<LayerEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absence: Option<AbsenceEntry<'a>>,
    summary: Summary,
}

#[derive(Serialize)]
struct AbsenceEntry<'a> {
    #[serde(flatten)]
    counts: &'a Absence,
    folded: bool,
    message: String,
}

#[derive(Serialize)]
struct LayerEntry<'a> {
    name: &'a str,
    inside: Option<&'a str>,
    channels: Option<usize>,
    producer: Option<NeighbourEntry<'a>>,
    consumers: Vec<NeighbourEntry<'a>>,
    mode: Option<&'static str>,
    eps: Option<f64>,
    eps_given: bool,
    momentum: Option<f64>,
    batches: Option<u64>,
    /// The smallest and the largest.
    ranges: BTreeMap<&'static str, (f64, f64)>,
    mean_in_sigmas: Option<f64>,
    findings: Vec<FindingEntry<'a>>,
    fold: Option<FoldEntry<'a>>,
}

#[derive(Serialize)]
struct NeighbourEntry<'a> {
    op: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct FindingEntry<'a> {
    code: &'static str,
    severity: Severity,
    channels: &'a [usize],
    message: String,
}

#[derive(Serialize)]
struct FoldEntry<'a> {
    verdict: &'static str,
    into: Option<&'a str>,
    code: Option<&'a str>,
    reason: &'a str,
}

impl<'a> Document<'a> {
    pub(super) fn of(inspection: &'a Inspection) -> Self {
        let absence = inspection.absence.as_ref();
        Self {
            schema: SCHEMA,
            format: inspection.format.name(),
            opset: inspection.opset,
            ir_version: inspection.ir_version,
            layers: inspection.layers.iter().map(LayerEntry::of).collect(),
            absence: absence.map(|counts| AbsenceEntry {
                counts,
                folded: counts.folded(),
                message: counts.to_string(),
            }),
            summary: inspection.summary(),
        }
    }
}

impl<'a> LayerEntry<'a> {
    fn of(layer: &'a Layer) -> Self {
        let rows = [
            ("gamma", &layer.values.gamma),
            ("beta", &layer.values.beta),
            ("mean", &layer.values.mean),
            ("variance", &layer.values.variance),
            ("scale", &layer.scale),
            ("folded_weights", &layer.folded_weights),
        ];
        let ranges = rows.into_iter().filter_map(|(name, values)| Some((name, Layer::range(values)?)));
        Self {
            name: &layer.name,
            inside: layer.inside.as_deref(),
            channels: layer.channels,
            producer: layer.producer.as_ref().map(NeighbourEntry::of),
            consumers: layer.consumers.iter().map(NeighbourEntry::of).collect(),
            mode: layer.mode.map(mode),
            eps: layer.eps,
            eps_given: layer.eps_given,
            momentum: layer.momentum,
            batches: layer.batches,
            ranges: ranges.collect(),
            mean_in_sigmas: layer.mean_in_sigmas,
            findings: layer.findings.iter().map(FindingEntry::of).collect(),
            fold: layer.fold.as_ref().map(FoldEntry::of),
        }
    }
}

pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Inference => "inference",
        Mode::Training => "training",
    }
}

impl<'a> NeighbourEntry<'a> {
    fn of(neighbour: &'a Neighbour) -> Self {
        Self { op: neighbour.kind(), name: neighbour.name() }
    }
}

impl<'a> FindingEntry<'a> {
    fn of(finding: &'a Finding) -> Self {
        let Finding { code, severity, channels, .. } = finding;
        Self { code, severity: *severity, channels, message: finding.message() }
    }
}

impl<'a> FoldEntry<'a> {
    fn of(verdict: &'a Verdict) -> Self {
        let Verdict { fold, into, code, reason } = verdict;
        let verdict = if *fold { "fold" } else { "refuse" };
        Self { verdict, into: into.as_deref(), code: code.as_deref(), reason }
    }
}
