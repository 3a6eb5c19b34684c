//! Trained models run on samples: whether a folded one still computes the same.

mod feed;
mod folding;

pub use feed::FeedError;
pub use folding::{CheckError, check_folding};
