//! What was found, layer by layer and code by code.

use batchnorm_model::inspect::{Group, Inspection, Layer, Severity, mode_name, short};
use maud::{Markup, html};

use super::{anchor, badge, counted, title};

/// What was inspected, in a line.
pub(super) fn facts(inspection: &Inspection) -> String {
    let summary = inspection.summary();
    let mut facts = vec![inspection.format.name().to_owned()];
    facts.extend(inspection.opset.map(|opset| format!("operator set {opset}")));
    facts.extend(inspection.ir_version.map(|version| format!("IR version {version}")));
    facts.push(format!("{} of {}", counted(summary.layers, "layer"), counted(summary.channels, "channel")));
    if summary.training > 0 {
        facts.push(format!("{} in training mode", summary.training));
    }
    facts.join(", ")
}

/// How many findings there are of each severity, and what can be folded.
pub(super) fn summary(inspection: &Inspection) -> Markup {
    let summary = inspection.summary();
    let counts = [summary.errors, summary.warnings, summary.notes];
    html! {
        @if summary.layers > 0 {
            ul.counts {
                @for (severity, count) in Severity::ALL.into_iter().zip(counts) {
                    li class=(severity.name()) { b { (count) } " " (severity.name()) @if count != 1 { "s" } }
                }
                @if let (Some(fold), Some(refuse)) = (summary.fold, summary.refuse) {
                    li.folds { b { (fold) } " can be folded, " b { (refuse) } " cannot" }
                }
            }
        }
    }
}

/// Every code once, with the layers that it was found in.
pub(super) fn findings(inspection: &Inspection) -> Markup {
    let groups = inspection.groups();
    html! {
        @if !groups.is_empty() {
            h2 { "Findings" }
            @for group in &groups { (of_group(inspection, group)) }
        }
    }
}

fn of_group(inspection: &Inspection, group: &Group<'_>) -> Markup {
    html! {
        details.finding open[group.severity > Severity::Note] {
            summary { (badge(group.severity)) " " code { (group.code) } " in " (counted(group.found.len(), "layer")) }
            p { (group.words) "." }
            ul {
                @for (index, found) in &group.found {
                    li {
                        a href={ "#" (anchor(*index)) } { (title(&inspection.layers[*index].name)) }
                        @if !found.is_empty() { ": " (found) }
                    }
                }
            }
        }
    }
}

pub(super) fn table(inspection: &Inspection) -> Markup {
    html! {
        @if !inspection.layers.is_empty() {
            h2 { "Layers" }
            div.wide {
                table.results.layers {
                    thead { tr {
                        @for head in ["layer", "channels", "eps", "gamma", "beta", "mean", "variance", "findings"] {
                            th scope="col" { (head) }
                        }
                    } }
                    tbody {
                        @for (index, layer) in inspection.layers.iter().enumerate() { (row(index, layer)) }
                    }
                }
            }
        }
    }
}

fn row(index: usize, layer: &Layer) -> Markup {
    let values = &layer.values;
    html! {
        tr {
            th scope="row" {
                a href={ "#" (anchor(index)) } { (title(&layer.name)) }
                br;
                span.faint { (between(layer)) @if let Some(mode) = layer.mode { ", " (mode_name(mode)) } }
            }
            td { @if let Some(channels) = layer.channels { (channels) } @else { "-" } }
            td { @if let Some(eps) = layer.eps { (short(eps)) } @else { "-" } }
            @for values in [&values.gamma, &values.beta, &values.mean, &values.variance] { td { (range(values)) } }
            td.codes {
                @for finding in &layer.findings { code class=(finding.severity.name()) { (finding.code) } " " }
            }
        }
    }
}

/// The operators on both sides.
fn between(layer: &Layer) -> String {
    let producer = layer.producer.as_ref().map_or("?".to_owned(), |producer| producer.to_string());
    match layer.consumers.is_empty() {
        true => format!("after {producer}"),
        false => {
            let consumers: Vec<&str> = layer.consumers.iter().map(|consumer| consumer.kind()).collect();
            format!("{producer} \u{2192} {}", consumers.join(", "))
        }
    }
}

/// The smallest and the largest.
pub(super) fn range(values: &Option<Vec<f64>>) -> String {
    match Layer::range(values) {
        Some((low, high)) if low == high => short(low),
        Some((low, high)) => format!("{} to {}", short(low), short(high)),
        None => "-".to_owned(),
    }
}
