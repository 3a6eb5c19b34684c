//! Whether each layer can be folded: folding is tried on a copy, and nothing is written.

use super::finding::Verdict;
use crate::fold::{self, fold};
use crate::onnx::document::{Document, DocumentError};

/// What folding says of each layer, in the order of [`layers::find`](crate::onnx::layers::find).
pub(super) fn of(document: &Document) -> Result<Vec<Verdict>, DocumentError> {
    // Tensors are shared with the copy.
    let outcomes = fold(&mut document.clone(), &fold::Options::default())?;
    Ok(outcomes.into_iter().map(|outcome| Verdict::from(outcome.verdict)).collect())
}

impl From<fold::Verdict> for Verdict {
    fn from(verdict: fold::Verdict) -> Self {
        match verdict {
            fold::Verdict::Folded(folded) => Self {
                fold: true,
                into: Some(folded.into.join(", ")),
                code: None,
                reason: if folded.forwards {
                    "the map after it takes it in"
                } else {
                    "the map before it takes it in"
                }
                .to_owned(),
            },
            fold::Verdict::Refused(refusal) => {
                Self { fold: false, into: None, code: Some(refusal.code.to_owned()), reason: refusal.reason }
            }
        }
    }
}
