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
