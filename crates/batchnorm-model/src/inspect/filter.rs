//! Which layers are told of.

use super::Inspection;
use crate::pattern::matches;

impl Inspection {
    /// Keeps the layers whose names are like a pattern, in which `*` stands for any letters or none and `?` for one. If none
    /// is, there are no layers afterwards, which is not an absence.
    pub fn keep_named(&mut self, pattern: &str) {
        self.layers.retain(|layer| matches(pattern, &layer.name));
    }

    /// Keeps the layers that something was found in.
    pub fn keep_found(&mut self) {
        self.layers.retain(|layer| !layer.findings.is_empty());
    }
}
