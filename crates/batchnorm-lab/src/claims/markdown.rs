//! The verdicts as Markdown, for documents.

use std::fmt::Write;

use super::{Carried, Interval, Judged};

/// A table of all verdicts, then each claim with its parts, what was found, and what was published.
pub fn markdown(carried: &Carried) -> String {
    let mut text =
        String::from("| claim | verdict | effect | 95 % interval | effect size |\n|---|---|---|---|---|\n");
    for judged in &carried.judged {
        let name = judged.claim.name;
        let Some(first) = judged.findings.parts.first() else { continue };
        let (interval, unit) = (first.interval, first.rule.unit);
        let size = interval.size.map_or("-".to_owned(), |size| format!("{size:.1}"));
        let _ = writeln!(
            text,
            "| [{name}](#{name}) | {} | {}{unit} | {} | {size} |",
            judged.findings.verdict().in_words(),
            number(interval.value),
            range(&interval),
        );
    }
    for judged in &carried.judged {
        text += &section(judged);
    }
    text
}

fn section(judged: &Judged) -> String {
    let (claim, findings) = (judged.claim, &judged.findings);
    let mut text = format!("\n## {}\n\n*{}* {}\n\n", claim.name, claim.claim, claim.source);
    let _ = writeln!(text, "**{}.** {}\n", capital(findings.verdict().in_words()), findings.sentence);
    for part in &findings.parts {
        let _ = writeln!(
            text,
            "- {} ({}): {}{}, {}; {}",
            part.verdict.in_words(),
            part.rule.says,
            number(part.interval.value),
            part.rule.unit,
            range(&part.interval),
            thresholds(part.rule.enough, part.rule.none, part.rule.unit),
        );
    }
    let _ = writeln!(text, "\nPublished: {} {}\n\n    {}", claim.published, findings.differs, judged.command);
    text
}

fn thresholds(enough: f64, none: f64, unit: &str) -> String {
    let (at, short) = if enough >= none { ("at least", "below") } else { ("at most", "above") };
    format!("supported from {at} {enough}{unit} on, refuted {short} {none}{unit}")
}

fn range(interval: &Interval) -> String {
    match interval.low.is_finite() && interval.high.is_finite() {
        true => format!("{} to {}", number(interval.low), number(interval.high)),
        false => "-".to_owned(),
    }
}

/// Three digits or so.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e5 || (size > 0.0 && size < 1e-2) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
