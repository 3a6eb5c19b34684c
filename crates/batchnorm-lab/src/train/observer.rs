//! How a caller watches training.

use super::{Arm, Point, Settings};

/// Told of what happens while it happens. Every method does nothing unless implemented.
pub trait Observer {
    /// Training begins.
    fn started(&mut self, _settings: &Settings) {}

    /// Both twins have taken this step, the first being 1.
    fn stepped(&mut self, _step: usize) {}

    /// One twin was evaluated.
    fn evaluated(&mut self, _arm: Arm, _point: &Point) {}

    /// One twin's loss or output was no longer finite; it stops here.
    fn diverged(&mut self, _arm: Arm, _step: usize) {}

    /// Training is over.
    fn finished(&mut self) {}
}

/// An observer that does not look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
