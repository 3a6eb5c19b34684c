//! Models in another form: for inference, and without batch normalization.

mod bodies;
mod frozen;
mod inference;
mod models;
mod unused;
