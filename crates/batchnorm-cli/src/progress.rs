//! Progress on the standard error, where that is a terminal.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use batchnorm_lab::Settings;
use batchnorm_lab::train::{Arm, Observer, Point};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{bar:30} {pos}/{len} steps, {per_sec}, {eta} left\n{msg}";

/// A bar that shows where both twins are. Hidden unless wanted and the standard error is a terminal.
pub struct Progress {
    bar: ProgressBar,
    shown: bool,
    plain: String,
    batch_norm: String,
}

impl Progress {
    pub fn new(wanted: bool) -> Self {
        let waiting = "not evaluated yet".to_owned();
        Self {
            bar: ProgressBar::hidden(),
            shown: wanted && stderr().is_terminal(),
            plain: waiting.clone(),
            batch_norm: waiting,
        }
    }

    fn tell(&mut self, arm: Arm, text: String) {
        match arm {
            Arm::Plain => self.plain = text,
            Arm::BatchNorm => self.batch_norm = text,
        }
        let Self { plain, batch_norm, .. } = self;
        self.bar.set_message(format!("without:     {plain}\nbatch norm:  {batch_norm}"));
    }
}

impl Observer for Progress {
    fn started(&mut self, settings: &Settings) {
        let about = settings.data.about();
        eprintln!("data: {} ({})", about.title, about.licence);
        if self.shown {
            let style = ProgressStyle::with_template(TEMPLATE).expect("the template is well formed");
            self.bar = ProgressBar::with_draw_target(Some(settings.steps as u64), ProgressDrawTarget::stderr())
                .with_style(style.with_key(
                    "per_sec",
                    |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                        let _ = write!(out, "{:.0} steps/s", state.per_sec());
                    },
                ));
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }

    fn stepped(&mut self, _step: usize) {
        self.bar.inc(1);
    }

    fn evaluated(&mut self, arm: Arm, point: &Point) {
        if let (Some(loss), Some(accuracy)) = (point.train_loss, point.test_accuracy) {
            self.tell(arm, format!("loss {loss:.4}, test accuracy {:.2} %", accuracy * 100.0));
        }
    }

    fn diverged(&mut self, arm: Arm, step: usize) {
        self.tell(arm, format!("diverged at step {step}"));
    }

    fn finished(&mut self) {
        self.bar.finish_and_clear();
    }
}
