//! Recalibrations.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use batchnorm_model::recalibrate::{Progress, Purpose};

use super::Share;

/// A bar over all passes, which a signal ends.
pub struct RecalibrationProgress {
    share: Share,
    stop: Arc<AtomicBool>,
}

impl RecalibrationProgress {
    pub fn new(wanted: bool, stop: Arc<AtomicBool>) -> Self {
        Self { share: Share::new(wanted), stop }
    }

    /// Shows how far it is, and whether to go on.
    pub fn at(&self, progress: &Progress) -> ControlFlow<()> {
        let what = match progress.purpose {
            Purpose::Before => "accuracy before".to_owned(),
            Purpose::Layers(1) => "1 layer".to_owned(),
            Purpose::Layers(layers) => format!("{layers} layers"),
            Purpose::After => "accuracy after".to_owned(),
        };
        let Progress { pass, passes, seen, samples, share, .. } = progress;
        self.share.at(*share, &format!("pass {pass} of {passes}: {what}, {seen} of {samples} samples"));
        if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
