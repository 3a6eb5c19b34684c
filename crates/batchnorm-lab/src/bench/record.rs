//! Rows as lines of JSON: one for the kernel, one for the roof, one for the reference.

use batchnorm::roof::Store;
use serde::Serialize;

use super::{Case, Dtype, Measured, Op};

/// A line of JSON: the time of a peer in a row. Peers of one row have the same operation, type, layout, shape and threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// `batchnorm`, `roof` or `reference`; other programs write lines with their own names.
    pub peer: &'static str,
    /// The operation.
    pub op: Op,
    /// The elements' type.
    pub dtype: Dtype,
    /// `channels_first` or `channels_last`.
    pub layout: &'static str,
    /// Batch, channels, spatial extents.
    pub shape: String,
    /// The row's threads. The reference has one, whatever this says.
    pub threads: usize,
    /// Microseconds.
    pub median_us: f64,
    /// Microseconds of the roof.
    pub roof_us: f64,
    /// What ran.
    pub kernel: String,
    /// 10^9 bytes a second, of the least traffic.
    pub gbps: f64,
    /// The share of the roof.
    pub share: f64,
    /// The share that the kernel's own traffic allows; of the kernel only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<f64>,
    /// Present, and true, where the output overwrites the input.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub in_place: bool,
}

impl Measured {
    /// The row as lines of JSON.
    pub fn records(&self) -> Vec<Record> {
        let case = &self.case;
        let record = |peer, median: f64, kernel: String, ceiling| Record {
            peer,
            op: case.op,
            dtype: case.dtype,
            layout: case.layout.snake(),
            shape: case.extents.to_string(),
            threads: case.threads,
            median_us: digits(median * 1e6),
            roof_us: digits(self.roof.time.median * 1e6),
            kernel,
            gbps: digits(self.gbps(median)),
            share: digits(self.roof.time.median / median),
            ceiling,
            in_place: case.in_place,
        };
        let roof = self.roof_name();
        let mut records = vec![
            record("batchnorm", self.time.median, self.kernel.to_owned(), Some(digits(case.ceiling()))),
            record("roof", self.roof.time.median, roof, None),
        ];
        if let Some(reference) = self.reference {
            records.push(record("reference", reference.median, "reference".to_owned(), None));
        }
        records
    }

    /// `copy-ordinary`, `triad-streaming` ...
    fn roof_name(&self) -> String {
        let traffic = if self.case.op == Op::Backward { "triad" } else { "copy" };
        let store = match self.roof.store {
            Store::Ordinary => "ordinary",
            Store::Streaming => "streaming",
        };
        format!("{traffic}-{store}")
    }
}

/// Four digits after the point: more than any clock has.
fn digits(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// A kernel of the table as a line of JSON: whether it fits a case, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The operation.
    pub op: Op,
    /// The elements' type.
    pub dtype: Dtype,
    /// `channels_first` or `channels_last`.
    pub layout: &'static str,
    /// Batch, channels, spatial extents.
    pub shape: String,
    /// Threads.
    pub threads: usize,
    /// The kernel.
    pub kernel: &'static str,
    /// Whether it is the one that runs: the first that fits.
    pub runs: bool,
    /// Whether it could.
    pub fits: bool,
    /// Why, or why not.
    pub reason: String,
}

impl Case {
    /// Every kernel for this case as a line of JSON.
    pub fn explanations(&self) -> Vec<Explanation> {
        let candidates = self.candidates();
        let first = candidates.iter().position(|candidate| candidate.fits);
        let explain = |(place, candidate): (usize, batchnorm::Candidate)| Explanation {
            op: self.op,
            dtype: self.dtype,
            layout: self.layout.snake(),
            shape: self.extents.to_string(),
            threads: self.threads,
            kernel: candidate.kernel,
            runs: Some(place) == first,
            fits: candidate.fits,
            reason: candidate.reason,
        };
        candidates.into_iter().enumerate().map(explain).collect()
    }
}
