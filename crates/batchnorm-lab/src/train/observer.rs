//! How a caller watches training, and ends it.

use super::{Arm, Point, Settings};
use crate::data::About;

/// Told of what happens while it happens. Every method does nothing unless implemented.
pub trait Observer {
    /// Training begins, or goes on after so many steps.
    fn started(&mut self, _settings: &Settings, _data: &About, _steps_before: usize) {}

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

    /// The steps are done; what follows takes a while: "evaluating", say.
    fn finishing(&mut self, _what: &str) {}

    /// Training is over.
    fn finished(&mut self) {}
}

/// An observer that does not look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
