//! What became of each node of a model, or each layer of a checkpoint.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use batchnorm_model::checkpoint::ConversionReport;
use batchnorm_model::convert::{Place, Report};

const YELLOW: Style = AnsiColor::Yellow.on_default();
const STAYS: &str = "stays";

/// A row for each node, the reasons of those that stay, and what is gone.
pub fn report(report: &Report, out: &Path) -> String {
    if report.changes.is_empty() && report.refused.is_empty() {
        return format!("nothing to convert: {} is a copy of the model, byte for byte\n", out.display());
    }
    let row = |place: &Place, became: String| {
        let within = if place.graph.is_empty() { String::new() } else { format!(" ({})", place.graph) };
        vec![format!("{}{within}", place.node), place.op.clone(), became]
    };
    let changes = report.changes.iter().map(|change| row(&change.place, change.what.to_string()));
    let refused = report
        .refused
        .iter()
        .map(|refused| row(&refused.place, format!("{STAYS}: {}", refused.refusal.code())));
    let mut text = super::to_the_left(
        ["node", "operator", ""].map(str::to_owned).to_vec(),
        changes.chain(refused).collect(),
    );
    text.push('\n');
    // Colours after aligning: their codes have no width.
    text = text.replace(&format!("   {STAYS}: "), &format!("   {YELLOW}{STAYS}{YELLOW:#}: "));
    for refused in &report.refused {
        text += &format!("\n{}: {}\n", refused.place.node, refused.refusal);
    }
    if !report.removed.is_empty() {
        text += &format!("\nno longer used, and gone: {}\n", report.removed.join(", "));
    }
    text + &format!(
        "\n{} of {} nodes converted; written to {}\n",
        report.changes.len(),
        report.changes.len() + report.refused.len(),
        out.display()
    )
}

/// A row for each layer, and the reasons of those that stay.
pub fn layers(reports: &[ConversionReport], out: &Path) -> String {
    if reports.is_empty() {
        return format!("no batch-norm layers: {} has the tensors as they are\n", out.display());
    }
    let last = |name: &String| name.rsplit(['.', '/']).next().unwrap_or(name).to_owned();
    let rows = reports.iter().map(|layer| {
        let mut parts: Vec<String> =
            layer.renamed.iter().map(|(old, new)| format!("{} -> {}", last(old), last(new))).collect();
        parts.extend(layer.dropped.iter().map(|name| format!("without {}", last(name))));
        parts.extend(layer.created.iter().map(|name| format!("new {}", last(name))));
        let became = match &layer.refusal {
            Some(refusal) => format!("{STAYS}: {}", refusal.code()),
            None if parts.is_empty() => "as it was".to_owned(),
            None => parts.join(", "),
        };
        vec![layer.name.clone(), layer.from.name().to_owned(), became]
    });
    let mut text = super::to_the_left(["layer", "names of", ""].map(str::to_owned).to_vec(), rows.collect());
    text.push('\n');
    text = text.replace(&format!("   {STAYS}: "), &format!("   {YELLOW}{STAYS}{YELLOW:#}: "));
    for layer in reports {
        if let Some(refusal) = &layer.refusal {
            text += &format!("\n{}: {refusal}\n", layer.name);
        }
    }
    let refused = reports.iter().filter(|layer| layer.refusal.is_some()).count();
    text + &format!(
        "\n{} of {} layers converted; written to {}\n",
        reports.len() - refused,
        reports.len(),
        out.display()
    )
}
