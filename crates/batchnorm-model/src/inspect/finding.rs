//! What is told about a layer: a code for programs, words for people.

use std::fmt;

use serde::Serialize;

/// So many channels are named; of more, only how many there are.
const NAMED: usize = 8;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know; right as it is.
    Note,
    /// Rarely meant, but it computes.
    Warning,
    /// The layer's output at inference is wrong, not a number, or cannot be computed.
    Error,
}

impl Severity {
    /// From the worst to the least.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Note];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something wrong with a layer, or good to know of it.
///
/// ```
/// use batchnorm_model::inspect::{Finding, Severity};
///
/// let finding = Finding {
///     code: "zero-variance",
///     severity: Severity::Warning,
///     channels: vec![3, 7],
///     facts: String::new(),
///     words: "the running variance is 0".into(),
/// };
/// assert_eq!(finding.message(), "2 channels (3, 7): the running variance is 0");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// A name that stays the same from version to version.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// The channels concerned, in rising order; none where it is about the layer as a whole.
    pub channels: Vec<usize>,
    /// What was found in this layer: numbers, names. Often empty.
    pub facts: String,
    /// What it means and the way out: the same for all layers.
    pub words: String,
}

impl Finding {
    /// About the layer as a whole.
    pub(super) fn new(code: &'static str, severity: Severity, facts: impl Into<String>, words: &str) -> Self {
        Self { code, severity, channels: Vec::new(), facts: facts.into(), words: words.to_owned() }
    }

    /// About some of its channels.
    pub(super) fn of(self, channels: Vec<usize>) -> Self {
        Self { channels, ..self }
    }

    /// What was found in this layer: the channels, then the facts. Empty where the code says it all.
    pub fn found(&self) -> String {
        let channels = match self.channels.len() {
            0 => return self.facts.clone(),
            1 => "1 channel".to_owned(),
            several => format!("{several} channels"),
        };
        let first: Vec<String> = self.channels.iter().take(NAMED).map(usize::to_string).collect();
        let more = if self.channels.len() > NAMED { ", ..." } else { "" };
        let between = if self.facts.is_empty() { "" } else { ", " };
        format!("{channels} ({}{more}){between}{}", first.join(", "), self.facts)
    }

    /// All of it in words.
    pub fn message(&self) -> String {
        match self.found() {
            found if found.is_empty() => self.words.clone(),
            found => format!("{found}: {}", self.words),
        }
    }
}

impl From<&batchnorm::health::Finding> for Finding {
    fn from(finding: &batchnorm::health::Finding) -> Self {
        let channels = finding.channels().to_vec();
        let text = finding.to_string();
        // The engine's text begins with the channels, where there are any.
        let words = match (channels.is_empty(), text.split_once("): ")) {
            (false, Some((_, words))) => words.to_owned(),
            _ => text,
        };
        let severity = match finding.severity() {
            batchnorm::health::Severity::Error => Severity::Error,
            batchnorm::health::Severity::Warning => Severity::Warning,
        };
        Self { code: finding.code(), severity, channels, facts: String::new(), words }
    }
}

/// Whether a layer can be removed by folding it into a linear map beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether it can.
    pub fold: bool,
    /// The node, or the checkpoint's map, that takes it in.
    pub into: Option<String>,
    /// Why it cannot, as a name that stays the same from version to version.
    pub code: Option<String>,
    /// Why, in words.
    pub reason: String,
}
