//! The command that repeats the run, and its settings.

use maud::{Markup, html};

use crate::report::command::{options, words};
use crate::train::Metrics;

pub(in super::super) fn settings(metrics: &Metrics) -> Markup {
    html! {
        h2 { "Settings" }
        p { "The same command gives the same numbers on the same machine, times aside:" }
        pre {
            code {
                // Each option stays in one piece where lines break.
                @for (place, word) in words(&metrics.settings).iter().enumerate() {
                    @if place > 0 { " " }
                    span { (word) }
                }
            }
        }
        dl.settings {
            @for (name, value) in options(&metrics.settings) {
                div {
                    dt { (name.replace('-', " ")) }
                    dd { (value.unwrap_or_else(|| "yes".to_owned())) }
                }
            }
        }
    }
}
