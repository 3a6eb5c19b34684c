//! Findings by code: what many layers have in common is said once.

use super::Inspection;
use super::finding::Severity;

/// One code, and the layers it was found in.
#[derive(Clone, Debug, PartialEq)]
pub struct Group<'a> {
    /// The code.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it means, and the way out.
    pub words: &'a str,
    /// The layers by their indices, with what was found in each; empty where the code says it all.
    pub found: Vec<(usize, String)>,
}

impl Inspection {
    /// All findings by severity and code, the worst first.
    pub fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            for finding in &layer.findings {
                let same = |group: &&mut Group<'_>| {
                    (group.code, group.severity, group.words)
                        == (finding.code, finding.severity, finding.words.as_str())
                };
                let found = (index, finding.found());
                match groups.iter_mut().find(same) {
                    Some(group) => group.found.push(found),
                    None => groups.push(Group {
                        code: finding.code,
                        severity: finding.severity,
                        words: &finding.words,
                        found: vec![found],
                    }),
                }
            }
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.severity));
        groups
    }
}
