//! Progress on the standard error, where that is a terminal.

mod claims;
mod data;
mod evaluation;
mod recalibration;
mod rows;
mod training;

pub use claims::ClaimsProgress;
pub use data::DataProgress;
pub use evaluation::EvaluationProgress;
pub use recalibration::RecalibrationProgress;
pub use rows::{Rows, Share};
pub use training::TrainingProgress;

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whether progress is shown: it is wanted, and the standard error is a terminal.
fn shown(wanted: bool) -> bool {
    wanted && stderr().is_terminal()
}

/// A bar over so much of something, hidden unless shown.
fn bar(shown: bool, length: Option<u64>, template: &str) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    let style =
        style.with_key("steps_per_sec", |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.0} steps/s", state.per_sec());
        });
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr()).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
