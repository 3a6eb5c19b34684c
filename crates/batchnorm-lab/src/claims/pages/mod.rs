//! The report: a page for each claim, an index, and a page on how it works.
//!
//! Reading order: `index`, `claim`, `verdict`; `teaching` stands for itself.

mod claim;
mod index;
mod teaching;
#[cfg(test)]
mod tests;
mod verdict;

pub(super) use claim::claim_page;
pub(super) use index::index_page;
pub(super) use teaching::teaching_page;

use super::Claim;

/// The index.
const INDEX: &str = "index.html";
/// The page on how batch normalization works.
pub(super) const TEACHING: &str = "how-it-works.html";
/// What the pages need beside the look of every page.
const STYLE: &str = include_str!("pages.css");

/// The file of a claim's page.
pub(super) fn file_name(claim: &Claim) -> String {
    format!("{}.html", claim.name)
}

/// A duration, in two units at most.
fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// With a word for one or several.
fn counted(number: usize, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}
