//! The claims laboratory: every claim made for batch normalization as an experiment with a verdict.
//!
//! A client of [`mod@crate::train`]: layers, variants, networks and trainer are the project's own. Reading order:
//!
//! 1. [`Claim`], [`Rule`], [`Verdict`], [`Findings`]: what a claim is and what is found of it;
//! 2. `experiments/`: the claims, one file each;
//! 3. [`Interval`]: numbers over seeds;
//! 4. `lab` and [`Store`]: tasks go in, outcomes come out, computed once and kept;
//! 5. `training` and `rates`: the task most experiments are made of, and each arm's own best learning rate;
//! 6. [`carry_out`] and [`read`]: all of it together;
//! 7. [`Results`]: the folder they are in, with the report that `pages` makes.

mod bench;
mod claim;
mod experiments;
mod folder;
mod interval;
mod lab;
mod markdown;
mod pages;
mod probe;
mod rates;
mod request;
mod run;
mod store;
mod training;

pub use bench::Meter;
pub use claim::{Claim, Exhibit, FEWEST_SEEDS, Findings, Judged, Line, Part, Rule, Table, Verdict};
pub use experiments::{ALL, UnknownClaim, named, work_in_a_process};
pub use folder::Results;
pub use interval::Interval;
pub use lab::{Halt, Lab, Spectator, Unwatched};
pub use markdown::markdown;
pub use request::{Facts, Request};
pub use run::{Carried, Document, Estimate, Listed, Unfinished, carry_out, estimate, listed, read};
pub use store::{FILE, Store, StoreError};
