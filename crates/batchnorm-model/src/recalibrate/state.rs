//! What an interrupted run leaves, to go on from to the very bits it would have come to.

use std::path::Path;

use batchnorm::Moments;
use serde::{Deserialize, Serialize};

use super::accuracy::Accuracy;
use super::statistics::Estimate;
use super::tally::Tally;
use super::{RecalibrateError, Recalibrator};
use crate::file;

type Result<T, E = RecalibrateError> = std::result::Result<T, E>;

const SCHEMA: u32 = 1;

/// Numbers are written so that they are read as the same bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    schema: u32,
    /// Of the model, the data, the runtime and the options.
    fingerprint: String,
    /// How many stages are done.
    pub(super) stages: usize,
    /// Samples that the stage under way has seen.
    pub(super) seen: u64,
    /// What it made of them, in the order of its layers.
    tallies: Vec<StoredTally>,
    /// Of the stage under way, where it is one that scores.
    pub(super) correct: u64,
    /// The layers whose statistics are known.
    estimates: Vec<Option<StoredEstimate>>,
    pub(super) before: Option<Accuracy>,
    pub(super) after: Option<Accuracy>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct StoredTally(Vec<(u64, f64, f64)>, Vec<(u64, f64, f64)>, Vec<(u64, f64, f64)>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredEstimate {
    count: u64,
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl State {
    pub(super) fn new(fingerprint: String, layers: usize) -> Self {
        Self { schema: SCHEMA, fingerprint, estimates: vec![None; layers], ..Self::default() }
    }

    /// The state in a file, if there is one.
    pub(super) fn read(
        path: &Path,
        fingerprint: &str,
        recalibrator: &Recalibrator<'_>,
    ) -> Result<Option<Self>> {
        let bad = |found: String| RecalibrateError::State { path: path.to_owned(), found };
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error.to_string())),
        };
        let state: Self = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        if state.schema != SCHEMA {
            return Err(bad(format!("expected the schema {SCHEMA}, found {}", state.schema)));
        }
        if state.fingerprint != fingerprint {
            return Err(RecalibrateError::OtherRun { path: path.to_owned() });
        }
        let layers = &recalibrator.selection.layers;
        let whole = state.estimates.len() == layers.len()
            && state.estimates.iter().zip(layers).all(|(estimate, layer)| {
                estimate.as_ref().is_none_or(|estimate| {
                    [&estimate.mean, &estimate.variance].iter().all(|row| row.len() == layer.channels)
                })
            });
        if !whole {
            return Err(bad("its layers have other channels than the model's".to_owned()));
        }
        Ok(Some(state))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|error| RecalibrateError::State { path: path.to_owned(), found: error.to_string() })?;
        Ok(file::write(path, &text)?)
    }

    pub(super) fn tallies(&self) -> Vec<Tally> {
        let row = |row: &[(u64, f64, f64)]| {
            row.iter().map(|&(count, mean, m2)| Moments { count, mean, m2 }).collect()
        };
        let tally = |StoredTally(values, means, variances): &StoredTally| Tally {
            values: row(values),
            batch_means: row(means),
            batch_variances: row(variances),
        };
        self.tallies.iter().map(tally).collect()
    }

    pub(super) fn set_tallies(&mut self, tallies: &[Tally]) {
        let row = |row: &[Moments]| row.iter().map(|one| (one.count, one.mean, one.m2)).collect();
        let stored = |tally: &Tally| {
            StoredTally(row(&tally.values), row(&tally.batch_means), row(&tally.batch_variances))
        };
        self.tallies = tallies.iter().map(stored).collect();
    }

    pub(super) fn estimate(&self, layer: usize) -> Option<Estimate> {
        let StoredEstimate { count, mean, variance } = self.estimates[layer].clone()?;
        Some(Estimate { count, mean, variance })
    }

    pub(super) fn set_estimate(&mut self, layer: usize, Estimate { count, mean, variance }: Estimate) {
        self.estimates[layer] = Some(StoredEstimate { count, mean, variance });
    }

    /// The next stage begins.
    pub(super) fn advance(&mut self) {
        self.stages += 1;
        (self.seen, self.correct) = (0, 0);
        self.tallies.clear();
    }
}

/// What tells bytes from others: FNV-1a of 64 bits. It shows files that were mixed up, and proves nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    pub(super) fn text(self) -> String {
        format!("{:016x}", self.0)
    }
}

impl std::io::Write for Fingerprint {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
