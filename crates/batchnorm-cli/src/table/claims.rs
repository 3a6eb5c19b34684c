//! Tables of claims and verdicts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use batchnorm_lab::claims::{Carried, Judged, Listed, Verdict};

/// Every claim, what is measured of it, and how long that takes.
pub fn list(list: &[Listed]) -> String {
    let bold = Style::new().bold();
    let mut text = String::new();
    for claim in list {
        let (quick, full) = (rough(claim.quick_seconds), rough(claim.mnist_seconds));
        text += &format!("{bold}{}{bold:#}  (--quick: {quick}; --data mnist: {full})\n", claim.name);
        text += &indented("claim:    ", &claim.claim);
        text += &indented("measures: ", &claim.measurement);
    }
    let total = |of: fn(&Listed) -> f64| rough(list.iter().map(of).sum());
    text += &format!(
        "\n{} claims. All of them: {} with --quick, {} with --data mnist, on the cores of this machine.\n\
         Carry them out with `batchnorm claims run NAME... [--quick]`, or `run all`.\n",
        list.len(),
        total(|claim| claim.quick_seconds),
        total(|claim| claim.mnist_seconds),
    );
    text
}

/// A paragraph under its first word, as wide as a terminal usually is.
fn indented(first: &str, paragraph: &str) -> String {
    const WIDTH: usize = 100;
    let indent = " ".repeat(first.len() + 2);
    let mut lines = vec![format!("  {first}")];
    for word in paragraph.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.chars().count() + word.chars().count() > WIDTH {
            lines.push(indent.clone());
        }
        let line = lines.last_mut().expect("there is always a line");
        if !line.ends_with(' ') {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.join("\n") + "\n"
}

/// One verdict in a line.
pub fn line(judged: &Judged) -> String {
    let [effect, interval] = effect(judged);
    let verdict = judged.findings.verdict();
    let style = style(verdict);
    format!("{:<20} {style}{:<15}{style:#} {effect} {interval}", judged.claim.name, verdict.in_words())
}

/// The verdicts of a run, and where the pages are.
pub fn outcome(carried: &Carried, pages: &[PathBuf], index: &Path, took: Duration) -> String {
    let mut text = table(carried);
    for judged in &carried.judged {
        text += &format!("\n{}: {}\n", judged.claim.name, judged.findings.sentence);
    }
    if !carried.judged.is_empty() {
        text.push('\n');
    }
    if let [page] = pages {
        text += &format!("page     {}\n", page.display());
    }
    text += &format!("report   {}\ntook     {}\n", index.display(), duration(took));
    text
}

/// The verdicts of stored results.
pub fn report(carried: &Carried, index: &Path) -> String {
    format!("{}\nreport   {}\n", table(carried), index.display())
}

fn table(carried: &Carried) -> String {
    if carried.judged.is_empty() {
        return String::new();
    }
    let header = ["claim", "verdict", "effect", "95 % interval", "effect size", "seeds"];
    let row = |judged: &Judged| {
        let first = judged.findings.parts.first().map(|part| part.interval);
        let size = first.and_then(|interval| interval.size);
        let [effect, interval] = effect(judged);
        vec![
            judged.claim.name.to_owned(),
            judged.findings.verdict().in_words().to_owned(),
            effect,
            interval,
            size.map_or("-".to_owned(), |size| format!("{size:.1}")),
            first.map_or(0, |interval| interval.seeds).to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = carried.judged.iter().map(row).collect();
    let mut text = super::aligned(header.map(str::to_owned).to_vec(), rows);
    text.push('\n');
    // Colours after aligning: their codes have no width.
    for verdict in Verdict::ALL {
        let (word, style) = (verdict.in_words(), style(*verdict));
        text = text.replace(&format!(" {word} "), &format!(" {style}{word}{style:#} "));
    }
    text
}

/// The headline's number, and its interval.
fn effect(judged: &Judged) -> [String; 2] {
    let Some(part) = judged.findings.parts.first() else { return ["-".to_owned(), String::new()] };
    let number = |value: f64| match value.abs() {
        size if size >= 1e5 || (size > 0.0 && size < 1e-2) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    };
    let (interval, unit) = (part.interval, part.rule.unit);
    let range = match interval.low.is_finite() && interval.high.is_finite() {
        true => format!("{} to {}", number(interval.low), number(interval.high)),
        false => "-".to_owned(),
    };
    [format!("{}{unit}", number(interval.value)), range]
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Supported => AnsiColor::Green.on_default(),
        Verdict::Mixed => AnsiColor::Yellow.on_default(),
        Verdict::Refuted => AnsiColor::Red.on_default(),
        Verdict::NotEnoughData => Style::new().dimmed(),
    }
}

/// `3 min 20 s`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1} s", time.as_secs_f64()),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A duration that is known roughly.
fn rough(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.0} s"),
        ..100.0 => format!("{:.0} s", (seconds / 10.0).round() * 10.0),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let words = [0.4, 59.0, 200.0, 7300.0].map(|seconds| duration(Duration::from_secs_f64(seconds)));
        assert_eq!(words, ["0.4 s", "59.0 s", "3 min 20 s", "2 h 1 min"]);
        assert_eq!([4.2, 44.0, 300.0, 9000.0].map(rough), ["4 s", "40 s", "5 min", "2.5 h"]);
    }

    #[test]
    fn paragraphs_are_wrapped_and_lose_no_word() {
        let long = "word ".repeat(60);
        let text = indented("claim: ", long.trim());
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.chars().count() <= 101), "{text}");
        assert_eq!(text.matches("word").count(), 60);
    }
}
