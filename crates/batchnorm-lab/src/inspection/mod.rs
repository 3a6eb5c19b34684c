//! The page of an inspection: what was found in a trained model's batch-norm layers, and the numbers of each.
//!
//! Reading order: [`page()`], `overview`, `layer`.

mod layer;
mod overview;

use std::borrow::Cow;

use batchnorm_model::inspect::{Inspection, Severity};
use maud::{Markup, html};

use crate::draw::{self, Document, SCRIPT};

/// What the page needs beside the look of every page.
const STYLE: &str = include_str!("inspection.css");

/// An inspection as a page that needs nothing but itself. `model` is what the file is called.
pub fn page(model: &str, inspection: &Inspection) -> String {
    let main = html! {
        h1 { "Batch normalization in " (model) }
        p.faint { (overview::facts(inspection)) }
        @if let Some(absence) = &inspection.absence { p.headline { (absence) "." } }
        (overview::summary(inspection))
        (overview::findings(inspection))
        (overview::table(inspection))
        @for (index, layer) in inspection.layers.iter().enumerate() { (layer::section(index, layer)) }
    };
    Document {
        title: html! { "Batch normalization in " (model) },
        styles: &[draw::STYLE, STYLE],
        scripts: &[SCRIPT],
        main,
    }
    .into_string()
}

/// The anchor of a layer's section.
fn anchor(index: usize) -> String {
    format!("layer-{index}")
}

/// A severity in its colour.
fn badge(severity: Severity) -> Markup {
    html! { span class={ "badge " (severity.name()) } { (severity.name()) } }
}

/// With a word for one or several.
fn counted(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// A name that has no text is that of a file which is one layer.
fn title(name: &str) -> Cow<'_, str> {
    if name.is_empty() { "(nameless)".into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use batchnorm_model::inspect::{Finding, Layer, ModelFormat, Values};

    use super::*;

    fn inspection() -> Inspection {
        let finding = Finding {
            code: "non-finite-statistics",
            severity: Severity::Error,
            channels: vec![1],
            facts: String::new(),
            words: "a < b".to_owned(),
        };
        let layer = Layer {
            name: "<b>".to_owned(),
            inside: None,
            channels: Some(2),
            producer: None,
            consumers: Vec::new(),
            mode: None,
            eps: None,
            eps_given: false,
            momentum: None,
            batches: Some(7),
            values: Values {
                gamma: Some(vec![1.0, f64::NAN]),
                beta: None,
                mean: Some(vec![f64::INFINITY, 0.0]),
                variance: Some(vec![0.0, -1.0]),
            },
            scale: None,
            folded_weights: None,
            mean_in_sigmas: None,
            findings: vec![finding],
            fold: None,
        };
        let layers = vec![layer];
        Inspection { format: ModelFormat::PyTorch, opset: None, ir_version: None, layers, absence: None }
    }

    #[test]
    fn names_are_text_and_numbers_that_are_none_have_no_place_in_drawings() {
        let page = page("a & b.pth", &inspection());
        assert!(page.contains("a &amp; b.pth") && page.contains("&lt;b&gt;") && !page.contains("<b><"));
        for drawing in page.split("<svg").skip(1) {
            let drawing = drawing.split("</svg>").next().unwrap_or_default();
            assert!(!drawing.contains("NaN") && !drawing.contains("inf"), "{drawing}");
        }
        // Gamma, mean, variance.
        assert_eq!(page.matches("<figure").count(), 3);
        assert!(page.contains("1 channel (1)") && page.contains("7 batches counted"));
    }
}
