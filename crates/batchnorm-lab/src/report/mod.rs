//! What a training run showed, in words, in numbers and on a page.
//!
//! Reading order: [`headline`], [`rows`], [`command`], [`page`].

mod command;
mod headline;
mod naming;
mod page;
mod ranking;
mod rows;
mod sections;

pub use command::{command, resume};
pub use headline::headline;
pub use page::page;
pub use rows::{GapTable, Row, columns, gaps, rows};
