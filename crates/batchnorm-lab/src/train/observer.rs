//! How a caller watches training, and ends it.

use super::{Arm, Point, Settings};
use crate::data::About;
use crate::feed::Batch;
use crate::networks::Model;

/// Told of what happens while it happens. Every method does nothing unless implemented.
pub trait Observer {
    /// Training begins, or goes on after so many steps.
    fn started(&mut self, _settings: &Settings, _data: &About, _steps_before: usize) {}

    /// A network that has not diverged is about to take this step, the first being 1, on this batch.
    ///
    /// It is the network of the trainer itself, on a device with autodiff: a forward pass through it in training mode lets
    /// the batch into its running statistics. To look without a trace, take [`valid()`](burn::module::Module::valid) of
    /// it, or pause its updates.
    fn before_step(&mut self, _arm: Arm, _step: usize, _network: &Model, _batch: &Batch) {}

    /// Every twin has taken this step, the first being 1.
    fn stepped(&mut self, _step: usize) {}

    /// One twin was evaluated.
    fn evaluated(&mut self, _arm: Arm, _point: &Point) {}

    /// One twin's loss or output was no longer finite; it stops here.
    fn diverged(&mut self, _arm: Arm, _step: usize) {}

    /// Asked after every step: whether to end the run here, with what was measured so far.
    fn wants_to_stop(&mut self) -> bool {
        false
    }

    /// A network has taken the last of the run's steps and not diverged; it is yet to be evaluated for the last time. Not
    /// said of a run that was interrupted.
    fn after_last_step(&mut self, _arm: Arm, _network: &Model) {}

    /// The steps are done; what follows takes a while: "evaluating", say.
    fn finishing(&mut self, _what: &str) {}

    /// Training is over.
    fn finished(&mut self) {}
}

/// An observer that does not look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
