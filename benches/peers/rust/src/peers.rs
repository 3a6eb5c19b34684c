//! The peers: each times one operation and returns its answer, y or dx.

mod burn;
mod candle;
mod ndarray;

use crate::clock::Clock;
use crate::problem::{Op, Problem};

pub type Run = fn(&Problem, Op, &mut Clock) -> Result<Vec<f32>, String>;

pub const ALL: [(&str, Run); 3] = [("burn", burn::run), ("candle", candle::run), ("ndarray", ndarray::run)];

/// What the frameworks here say to a layout that they do not have.
fn channels_first_only(problem: &Problem) -> Result<(), String> {
    match problem.layout {
        crate::problem::Layout::ChannelsFirst => Ok(()),
        crate::problem::Layout::ChannelsLast => Err("no channels-last layout".to_owned()),
    }
}
