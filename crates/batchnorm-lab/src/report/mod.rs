//! What a training run showed, in words, in numbers and on a page.
//!
//! Reading order: [`headline`], [`rows`], [`command`], [`page`].

mod chart;
mod page;
mod scale;
mod summary;

pub use page::page;
pub use summary::{Row, command, headline, rows};
