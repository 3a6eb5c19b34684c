//! How many there are of everything.

use std::collections::BTreeMap;

use serde::Serialize;

use super::finding::Severity;
use super::layer::Layer;
use crate::onnx::layers::Mode;

/// Counts over the layers of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Layers.
    pub layers: usize,
    /// Channels of all layers.
    pub channels: usize,
    /// Layers that take the statistics of the batch.
    pub training: usize,
    /// Layers with a finding of any kind.
    pub layers_with_findings: usize,
    /// Findings that make outputs wrong.
    pub errors: usize,
    /// Findings that are rarely meant.
    pub warnings: usize,
    /// Findings that are good to know.
    pub notes: usize,
    /// Layers that each code was found in.
    pub codes: BTreeMap<&'static str, usize>,
    /// Layers that can be folded; `None` where nobody asked.
    pub fold: Option<usize>,
    /// Layers that cannot.
    pub refuse: Option<usize>,
}

impl Summary {
    pub(super) fn of(layers: &[Layer]) -> Self {
        let mut summary = Self { layers: layers.len(), ..Self::default() };
        for layer in layers {
            summary.channels = summary.channels.saturating_add(layer.channels.unwrap_or(0));
            summary.training += usize::from(layer.mode == Some(Mode::Training));
            summary.layers_with_findings += usize::from(!layer.findings.is_empty());
            let mut codes: Vec<&'static str> = layer.findings.iter().map(|finding| finding.code).collect();
            for finding in &layer.findings {
                *match finding.severity {
                    Severity::Error => &mut summary.errors,
                    Severity::Warning => &mut summary.warnings,
                    Severity::Note => &mut summary.notes,
                } += 1;
            }
            codes.sort_unstable();
            codes.dedup();
            for code in codes {
                *summary.codes.entry(code).or_default() += 1;
            }
            if let Some(verdict) = &layer.fold {
                let [fold, refuse] =
                    [&mut summary.fold, &mut summary.refuse].map(|count| count.get_or_insert(0));
                *if verdict.fold { fold } else { refuse } += 1;
            }
        }
        summary
    }
}
