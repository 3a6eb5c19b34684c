//! Checkpoints of any producer: what is read, what is told of their layers, what folding and conversion make of them.

mod archive;
mod conversion;
mod files;
mod folding;
mod layers;
mod pytorch;
