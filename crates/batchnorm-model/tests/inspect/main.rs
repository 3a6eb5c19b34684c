//! Inspection: each finding where it is and where it is not, what stands around a layer, and real files.

mod absence;
mod document;
mod graph;
mod models;
mod numbers;
mod open;
mod real;
mod weights;
