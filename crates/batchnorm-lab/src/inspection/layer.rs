//! The section of one layer: what it stands between, what was found, and histograms of its numbers.

use batchnorm_model::inspect::{Layer, mode_name, short};
use maud::{Markup, html};

use super::{anchor, badge, counted, overview, title};
use crate::draw::Histogram;

pub(super) fn section(index: usize, layer: &Layer) -> Markup {
    html! {
        section id=(anchor(index)) {
            h2 { (title(&layer.name)) }
            p.faint { (facts(layer)) }
            @if !layer.findings.is_empty() {
                ul.findings {
                    @for finding in &layer.findings {
                        li { (badge(finding.severity)) " " code { (finding.code) } ": " (finding.message()) "." }
                    }
                }
            }
            @if let Some(verdict) = &layer.fold {
                p {
                    @if verdict.fold { "Can be folded" } @else { "Cannot be folded" }
                    @if let Some(into) = &verdict.into { " into " (into) }
                    @if let Some(code) = &verdict.code { " (" code { (code) } ")" }
                    @if !verdict.reason.is_empty() { ": " (verdict.reason) }
                    "."
                }
            }
            (histograms(layer))
        }
    }
}

fn facts(layer: &Layer) -> String {
    let mut facts = Vec::new();
    facts.extend(layer.channels.map(|channels| counted(channels, "channel")));
    facts.extend(layer.inside.as_ref().map(|inside| format!("in {inside}")));
    facts.extend(layer.producer.as_ref().map(|producer| format!("after {producer}")));
    if !layer.consumers.is_empty() {
        let consumers: Vec<String> = layer.consumers.iter().map(ToString::to_string).collect();
        facts.push(format!("before {}", consumers.join(", ")));
    }
    facts.extend(layer.mode.map(|mode| format!("{} mode", mode_name(mode))));
    facts.extend(layer.eps.map(|eps| {
        format!(
            "eps {}{}",
            short(eps),
            if layer.eps_given { "" } else { " (the default; the file does not say it)" }
        )
    }));
    facts.extend(layer.momentum.map(|momentum| format!("momentum {}", short(momentum))));
    facts.extend(layer.batches.map(|batches| format!("{batches} batches counted")));
    facts.extend(layer.mean_in_sigmas.map(|most| format!("means up to {} standard deviations", short(most))));
    if layer.folded_weights.is_some() {
        facts.push(format!("largest folded weights {}", overview::range(&layer.folded_weights)));
    }
    facts.join("; ")
}

fn histograms(layer: &Layer) -> Markup {
    let values = &layer.values;
    let logarithms = |values: &Vec<f64>| values.iter().map(|value| value.log10()).collect();
    let rows = [
        ("gamma", "gamma", values.gamma.clone()),
        ("beta", "beta", values.beta.clone()),
        ("mean", "mean", values.mean.clone()),
        // What is 0 or negative has no logarithm, and no bar.
        ("variance", "log10 of the variance", values.variance.as_ref().map(logarithms)),
        ("scale", "gamma / sqrt(variance + eps)", layer.scale.clone()),
    ];
    let histogram = |title, x_label, values| {
        let class = "batch-norm";
        Histogram { title, x_label, y_label: "channels", class, values }.draw()
    };
    html! {
        div.smalls.numbers {
            @for (name, label, values) in rows { @if let Some(values) = values { (histogram(name, label, values)) } }
        }
    }
}
