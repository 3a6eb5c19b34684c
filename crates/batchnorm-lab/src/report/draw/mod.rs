//! Drawings: numbers to inline SVG, each with axes, a legend, and its values on hovering.
//!
//! Reading order: [`Scale`], [`Frame`], [`Figure`], [`Chart`].

mod chart;
mod figure;
mod frame;
mod histogram;
mod hover;
mod palette;
mod ribbon;
mod scale;
mod thin;

pub(super) use chart::{Chart, Legend, Line, Points, legend};
pub(super) use figure::Figure;
pub(super) use frame::{Axis, Frame, Size};
pub(super) use histogram::Histogram;
pub(super) use hover::Hover;
pub(super) use palette::Ink;
pub(super) use ribbon::{Ribbon, legend as ribbon_legend};
pub(super) use scale::{Kind, Scale};
