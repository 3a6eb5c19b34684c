//! Drawings: numbers to inline SVG, each with axes, a legend, and its values on hovering; and the pages that they stand on.
//!
//! Reading order: [`Document`], [`Scale`], [`Frame`], [`Figure`], [`Chart`]; [`Marked`] for drawings whose marks are asked
//! one by one.

mod area;
mod bands;
mod chart;
mod document;
mod dots;
mod figure;
mod frame;
mod heatmap;
mod histogram;
mod hover;
mod intervals;
mod marked;
mod palette;
mod ranges;
mod ribbon;
mod rows;
mod scale;
mod thin;

pub(crate) use bands::{Bands, Series};
pub(crate) use chart::{Chart, Legend, Line, Points, legend};
pub(crate) use document::{Document, SCRIPT, STYLE};
pub(crate) use dots::{DotRow, Dots};
pub(crate) use figure::Figure;
pub(crate) use frame::{Axis, Frame, Size};
pub(crate) use heatmap::Heatmap;
pub(crate) use histogram::Histogram;
pub(crate) use hover::Hover;
pub(crate) use intervals::{IntervalRow, Intervals, Strip};
pub(crate) use marked::{MARKED_SCRIPT, MARKED_STYLE};
pub(crate) use palette::Ink;
pub(crate) use ranges::{RangeSeries, Ranges};
pub(crate) use ribbon::{Ribbon, legend as ribbon_legend};
pub(crate) use scale::{Kind, Scale, label, significant};
