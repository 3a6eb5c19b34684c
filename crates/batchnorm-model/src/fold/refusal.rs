//! Why a layer was not folded: a code that stays the same from version to version, and a sentence.

use std::fmt;

use batchnorm::fold::FoldError;

/// Why a layer was not folded, and what would make it possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason, for programs.
    pub code: &'static str,
    /// The reason in words, with the way out where there is one.
    pub reason: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<FoldError> for Refusal {
    fn from(error: FoldError) -> Self {
        let code = match &error {
            FoldError::NegativeVariance { .. } => "negative-variance",
            FoldError::ZeroVariance { .. } => "zero-variance",
            FoldError::NonFinite { .. } => "non-finite-numbers",
            FoldError::NotANumber { .. } => "non-finite-weights",
            FoldError::Overflow { .. } => "overflow",
            FoldError::InvalidEps { .. } => "invalid-eps",
            _ => "shapes-differ",
        };
        Self::new(code, error.to_string())
    }
}
