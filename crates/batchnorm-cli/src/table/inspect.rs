//! The table of an inspection.

use anstyle::{AnsiColor, Style};
use batchnorm_model::inspect::{Group, Inspection, Layer, Severity, Verdict, mode_name, short};

/// Names are shortened to so many letters in the table; the lists below it have them whole.
const NAME: usize = 36;
/// So many layers are named under a finding.
const NAMED: usize = 12;
/// As wide as a terminal usually is.
const WIDTH: usize = 110;

/// A row for each layer, what was found, what cannot be folded, and a sentence. `named` layers were asked for.
pub fn inspection(inspection: &Inspection, named: usize) -> String {
    if let Some(absence) = &inspection.absence {
        return format!("{absence}.\n");
    }
    let mut text = String::new();
    if !inspection.layers.is_empty() {
        text += &coloured(table(inspection));
    }
    for group in inspection.groups() {
        text += &found(inspection, &group);
    }
    text += &refusals(inspection);
    text + &sentence(inspection, named)
}

fn table(inspection: &Inspection) -> String {
    let header = [
        "layer",
        "channels",
        "between",
        "mode",
        "eps",
        "gamma",
        "mean",
        "variance",
        "|mean|/sigma",
        "fold",
        "findings",
    ];
    // A checkpoint has no mode, and nobody asked whether it folds.
    let modes = inspection.layers.iter().any(|layer| layer.mode.is_some());
    let folds = inspection.layers.iter().any(|layer| layer.fold.is_some());
    let shown = |column: &str| (column != "mode" || modes) && (column != "fold" || folds);
    let row = |layer: &Layer| -> Vec<String> {
        let values = &layer.values;
        let mut codes: Vec<&str> = layer.findings.iter().map(|finding| finding.code).collect();
        codes.dedup();
        let cells = [
            shortened(&layer.name),
            layer.channels.map_or("?".to_owned(), |channels| channels.to_string()),
            between(layer),
            layer.mode.map_or(String::new(), |mode| mode_name(mode).to_owned()),
            layer.eps.map_or("?".to_owned(), short),
            range(&values.gamma),
            range(&values.mean),
            range(&values.variance),
            layer.mean_in_sigmas.map_or("-".to_owned(), short),
            layer.fold.as_ref().map_or(String::new(), |verdict| in_a_word(verdict).to_owned()),
            codes.join(", "),
        ];
        header.iter().zip(cells).filter(|(column, _)| shown(column)).map(|(_, cell)| cell).collect()
    };
    let columns = header.iter().filter(|column| shown(column)).map(|&column| column.to_owned()).collect();
    super::to_the_left(columns, inspection.layers.iter().map(row).collect()) + "\n"
}

/// The operators on both sides; of a checkpoint, the map that the names suggest.
fn between(layer: &Layer) -> String {
    let producer = match &layer.producer {
        Some(guess @ batchnorm_model::inspect::Neighbour::Guess(_)) => guess.to_string(),
        Some(producer) => producer.kind().to_owned(),
        None => "?".to_owned(),
    };
    let consumers: Vec<&str> = layer.consumers.iter().map(|consumer| consumer.kind()).collect();
    match consumers.is_empty() {
        true => shortened(&producer),
        false => format!("{producer} → {}", consumers.join(", ")),
    }
}

fn range(values: &Option<Vec<f64>>) -> String {
    match Layer::range(values) {
        Some((low, high)) if low == high => short(low),
        Some((low, high)) => format!("{} .. {}", short(low), short(high)),
        None => "-".to_owned(),
    }
}

fn in_a_word(verdict: &Verdict) -> &'static str {
    if verdict.fold { "fold" } else { "refuse" }
}

/// A long name without its middle.
fn shortened(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= NAME {
        return name.to_owned();
    }
    let (head, tail) = (NAME / 3, NAME - NAME / 3 - 1);
    letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect()
}

/// Colours after aligning: their codes have no width.
fn coloured(table: String) -> String {
    let green = AnsiColor::Green.on_default();
    let yellow = style(Severity::Warning);
    table
        .replace("   fold ", &format!("   {green}fold{green:#} "))
        .replace("   fold\n", &format!("   {green}fold{green:#}\n"))
        .replace("   refuse ", &format!("   {yellow}refuse{yellow:#} "))
        .replace("   refuse\n", &format!("   {yellow}refuse{yellow:#}\n"))
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Error => AnsiColor::Red.on_default().bold(),
        Severity::Warning => AnsiColor::Yellow.on_default(),
        Severity::Note => AnsiColor::Cyan.on_default(),
    }
}

/// A code once, what it means, and where it was found.
fn found(inspection: &Inspection, group: &Group<'_>) -> String {
    let style = style(group.severity);
    let layers = counted(group.found.len(), "layer");
    let mut text = format!("\n{style}{}{style:#} {} in {layers}\n", group.severity, group.code);
    text += &wrapped(group.words);
    let lines = group.found.iter().map(|(index, found)| {
        let name = &inspection.layers[*index].name;
        if found.is_empty() { name.clone() } else { format!("{name}: {found}") }
    });
    text + &listed(lines.collect())
}

/// Layers that stay, by the reason.
fn refusals(inspection: &Inspection) -> String {
    let mut reasons: Vec<(&str, &str, Vec<String>)> = Vec::new();
    for layer in &inspection.layers {
        let Some(verdict) = layer.fold.as_ref().filter(|verdict| !verdict.fold) else { continue };
        let (code, reason) = (verdict.code.as_deref().unwrap_or_default(), verdict.reason.as_str());
        match reasons.iter_mut().find(|(known, words, _)| (*known, *words) == (code, reason)) {
            Some((_, _, names)) => names.push(layer.name.clone()),
            None => reasons.push((code, reason, vec![layer.name.clone()])),
        }
    }
    let style = style(Severity::Warning);
    let of = |(code, reason, names): (&str, &str, Vec<String>)| {
        let layers = counted(names.len(), "layer");
        format!("\n{style}refuse{style:#} {code} in {layers}\n{}{}", wrapped(reason), listed(names))
    };
    reasons.into_iter().map(of).collect()
}

fn listed(lines: Vec<String>) -> String {
    let more = match lines.len().checked_sub(NAMED) {
        // One more line says as much as the number of those left out.
        Some(more @ 2..) => format!("    and {more} more: --json has them all\n"),
        _ => String::new(),
    };
    let shown = if more.is_empty() { lines.len() } else { NAMED };
    lines[..shown].iter().map(|line| format!("    {line}\n")).collect::<String>() + &more
}

/// A paragraph, indented.
fn wrapped(paragraph: &str) -> String {
    let mut lines = vec![String::from(" ")];
    for word in paragraph.split_whitespace() {
        if lines.last().is_some_and(|line| line.chars().count() + word.chars().count() >= WIDTH) {
            lines.push(String::from(" "));
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

fn sentence(inspection: &Inspection, named: usize) -> String {
    let summary = inspection.summary();
    let mut words = match named == summary.layers {
        true => counted(summary.layers, "layer"),
        false => format!("{} of {}", summary.layers, counted(named, "layer")),
    };
    words += &format!(", {}", counted(summary.channels, "channel"));
    if summary.training > 0 {
        words += &format!(", {} in training mode", summary.training);
    }
    words += ": ";
    words += &match (summary.errors, summary.warnings, summary.notes) {
        (0, 0, 0) => "nothing found".to_owned(),
        (errors, warnings, notes) => [(errors, "error"), (warnings, "warning"), (notes, "note")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| counted(count, word))
            .collect::<Vec<_>>()
            .join(", "),
    };
    if let (Some(fold), Some(refuse)) = (summary.fold, summary.refuse) {
        words += &format!("; {fold} can be folded, {refuse} cannot");
    }
    let gap = if inspection.layers.is_empty() { "" } else { "\n" };
    format!("{gap}{words}\n")
}

fn counted(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_ends() {
        assert_eq!(shortened("bn1"), "bn1");
        let long = shortened("/features/denseblock4/denselayer16/norm2/BatchNormalization");
        assert_eq!(long.chars().count(), NAME);
        assert!(long.starts_with("/features/de…") && long.ends_with("/BatchNormalization"), "{long}");
    }

    #[test]
    fn of_many_layers_the_first_are_named() {
        let lines = |count: usize| listed((0..count).map(|index| format!("bn{index}")).collect());
        assert_eq!(lines(13).lines().count(), 13);
        assert!(lines(13).contains("bn12") && lines(14).contains("and 2 more") && !lines(14).contains("bn12"));
    }
}
