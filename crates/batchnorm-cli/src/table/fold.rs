//! What became of each layer, and whether the model computes the same.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use batchnorm_model::checkpoint::PairReport;
use batchnorm_model::fold::{Difference, Outcome, Verdict};

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();

const FOLDED: &str = "folded";
const STAYS: &str = "stays";

/// A row for each layer, the reasons of those that stay, and the comparison of the outputs.
pub fn outcomes(outcomes: &[Outcome], checked: Option<&[Difference]>, out: Option<&Path>) -> String {
    if outcomes.is_empty() {
        return format!("no batch-norm layers: nothing to fold\n{}", written(out, "a copy of the model"));
    }
    let header = ["layer", "", "channels", "into", "bound"];
    let rows = outcomes.iter().map(|outcome| {
        let channels = outcome.channels.map_or("?".to_owned(), |channels| channels.to_string());
        match &outcome.verdict {
            Verdict::Folded(folded) => vec![
                outcome.name.clone(),
                FOLDED.to_owned(),
                channels,
                format!("{}{}", if folded.forwards { "after: " } else { "" }, folded.into.join(", ")),
                format!("{:.1e}", folded.bound),
            ],
            Verdict::Refused(refusal) => {
                vec![outcome.name.clone(), STAYS.to_owned(), channels, refusal.code.to_owned(), String::new()]
            }
        }
    });
    let mut text = super::to_the_left(header.map(str::to_owned).to_vec(), rows.collect());
    text.push('\n');
    // Colours after aligning: their codes have no width.
    for (word, style) in [(FOLDED, GREEN), (STAYS, YELLOW)] {
        text = text.replace(&format!("   {word}   "), &format!("   {style}{word}{style:#}   "));
    }
    for outcome in outcomes {
        match &outcome.verdict {
            Verdict::Refused(refusal) => text += &format!("\n{}: {refusal}\n", outcome.name),
            Verdict::Folded(folded) if !folded.zero_variance.is_empty() => {
                text += &format!(
                    "\n{YELLOW}warning:{YELLOW:#} {}: the variance of {} channels is 0: they were constant in training, and are \
                     scaled by 1 / sqrt(eps)\n",
                    outcome.name,
                    folded.zero_variance.len()
                );
            }
            Verdict::Folded(folded) if folded.flushed > 0 => {
                text += &format!(
                    "\n{}: {} weights are too small for their type, and 0 now\n",
                    outcome.name, folded.flushed
                );
            }
            Verdict::Folded(_) => {}
        }
    }
    let folded = outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Folded(_))).count();
    text += &format!("\n{folded} of {} layers folded\n", outcomes.len());
    let good = checked.is_none_or(|differences| differences.iter().all(Difference::is_good));
    if let Some(differences) = checked {
        text += &format!("\n{}\n", comparison(differences));
        text += &match good {
            true => format!("{GREEN}the same{GREEN:#}: every output is as near as rounding lets it be\n"),
            false => format!("{RED}not the same{RED:#}: nothing was written; please report the model\n"),
        };
    } else if folded > 0 && out.is_some() {
        text += "not compared with the original\n";
    }
    if good {
        text += &written(out, if folded == 0 { "a copy of the model" } else { "the folded model" });
    }
    text
}

fn comparison(differences: &[Difference]) -> String {
    let header = ["output", "largest", "difference", "bound"];
    let rows = differences.iter().map(|difference| {
        vec![
            difference.output.clone(),
            format!("{:.3e}", difference.largest),
            format!("{:.1e}", difference.difference),
            format!("{:.1e}", difference.bound),
        ]
    });
    super::aligned(header.map(str::to_owned).to_vec(), rows.collect())
}

fn written(out: Option<&Path>, what: &str) -> String {
    out.map_or(String::new(), |out| format!("{}: {what}\n", out.display()))
}

/// A row for each pair of a checkpoint.
pub fn pairs(reports: &[PairReport], out: Option<&Path>) -> String {
    let header = ["map", "layer", "", "channels", "bound"];
    let rows = reports.iter().map(|pair| {
        let (word, channels, bound) = match &pair.outcome {
            Ok(folded) => {
                (FOLDED.to_owned(), folded.channels.to_string(), format!("{:.1e}", folded.relative_bound))
            }
            Err(refusal) => (refusal.code().to_owned(), String::new(), String::new()),
        };
        vec![pair.map.clone(), pair.norm.clone(), word, channels, bound]
    });
    let mut text = super::to_the_left(header.map(str::to_owned).to_vec(), rows.collect());
    text.push('\n');
    for pair in reports {
        match &pair.outcome {
            Err(refusal) => text += &format!("\n{} = {}: {refusal}\n", pair.map, pair.norm),
            Ok(folded) if folded.flushed > 0 => {
                text += &format!(
                    "\n{}: {} weights are too small for their type, and 0 now\n",
                    pair.map, folded.flushed
                );
            }
            Ok(_) => {}
        }
    }
    let folded = reports.iter().filter(|pair| pair.outcome.is_ok()).count();
    text += &format!("\n{folded} of {} pairs folded\n", reports.len());
    text + &written(out, if folded == 0 { "a copy of the checkpoint" } else { "the folded checkpoint" })
}
