//! What a training run showed, in words, in numbers and on a page.
//!
//! Reading order: [`headline`], [`rows`], [`command`], [`page`].

mod chart;
mod command;
mod headline;
mod page;
mod rows;
mod scale;

pub use command::command;
pub use headline::headline;
pub use page::page;
pub use rows::{Row, columns, rows};
