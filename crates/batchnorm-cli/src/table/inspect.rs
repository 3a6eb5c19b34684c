//! The table of an inspection.

use anstyle::{AnsiColor, Style};
use batchnorm_model::inspect::{Group, Inspection, Layer, Severity, Verdict, mode_name, short};

/// Names are shortened to so many letters in the table; the lists below it have them whole.
const NAME: usize = 36;
/// So many layers are named under a finding.
const NAMED: usize = 12;
/// So many reasons are told where each layer has its own.
const REASONS: usize = 3;
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
            named(layer),
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

/// Its name, and where it is if that is not the model's own graph.
fn named(layer: &Layer) -> String {
    let name = shortened(&layer.name);
    layer.inside.as_ref().map_or(name.clone(), |inside| format!("{name} ({})", shortened(inside)))
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

/// Colours after aligning: their codes have no width. The header stays as it is.
fn coloured(table: String) -> String {
    let (header, mut rows) =
        table.split_once('\n').map_or((table.as_str(), String::new()), |(h, r)| (h, r.to_owned()));
    for (word, style) in [("fold", AnsiColor::Green.on_default()), ("refuse", style(Severity::Warning))] {
        for end in [' ', '\n'] {
            rows = rows.replace(&format!("   {word}{end}"), &format!("   {style}{word}{style:#}{end}"));
        }
    }
    format!("{header}\n{rows}")
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

/// Layers that stay, by the code. What names the nodes around a layer differs from layer to layer, and is told of a few.
fn refusals(inspection: &Inspection) -> String {
    let mut codes: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
    for layer in &inspection.layers {
        let Some(verdict) = layer.fold.as_ref().filter(|verdict| !verdict.fold) else { continue };
        let code = verdict.code.as_deref().unwrap_or_default();
        let refused = (layer.name.as_str(), verdict.reason.as_str());
        match codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, layers)) => layers.push(refused),
            None => codes.push((code, vec![refused])),
        }
    }
    codes.into_iter().map(|(code, layers)| refused(code, &layers)).collect()
}

fn refused(code: &str, layers: &[(&str, &str)]) -> String {
    let style = style(Severity::Warning);
    let head = format!("\n{style}refuse{style:#} {code} in {}\n", counted(layers.len(), "layer"));
    let reason = layers.first().map_or("", |(_, reason)| reason);
    if layers.iter().all(|(_, other)| *other == reason) {
        let names = layers.iter().map(|(name, _)| (*name).to_owned()).collect();
        return head + &wrapped(reason) + &listed(names);
    }
    let told: String =
        layers.iter().take(REASONS).map(|(name, reason)| wrapped(&format!("{name}: {reason}"))).collect();
    let more = match layers.len().saturating_sub(REASONS) {
        0 => String::new(),
        more => format!("  and {more} more: --json has them all\n"),
    };
    head + &told + &more
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
