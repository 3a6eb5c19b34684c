//! The laboratory: trains networks with and without batch normalization and its kin, and reports what differs.
//!
//! Nothing here prints, parses arguments or shows progress; the `batchnorm` command does. The rooms:
//!
//! - [`data`]: data sets, embedded, downloaded or read from a folder;
//! - [`networks`]: networks as a user of Burn would write them, their state and their ONNX graphs;
//! - [`mod@train`]: training twins, what is measured of them, checkpoints;
//! - [`saved`]: trained networks in files;
//! - [`mod@evaluate`]: scoring saved models, with which statistics, and asking them about images;
//! - [`inputs`]: samples for a model's inputs, from files, folders and arrays;
//! - [`report`]: the outcome in words, in a table and on a page;
//! - [`inspection`]: what is wrong with the layers of a trained model, on a page;
//! - [`claims`]: what is claimed for batch normalization, put to the test;
//! - [`mod@bench`]: how fast the engine's kernels are, beside the roof of the machine;
//! - [`check`]: how accurate they are, beside the reference.
//!
//! Between them stand [`feed`], images as networks take them; [`streams`], random numbers by purpose; and
//! [`RunFolder`], which receives what a run wrote.
//!
//! ```
//! use batchnorm_lab::data::Access;
//! use batchnorm_lab::train::{Arm, Silent};
//! use batchnorm_lab::{Network, Settings, Source, report, train};
//!
//! let settings = Settings { steps: 20, layers: vec![16], ..Settings::defaults(Source::Digits, Network::Mlp) };
//! let data = settings.data.load(&mut Access::none())?;
//! let trained = train(&settings, &data, None, &mut Silent)?;
//! assert_eq!(trained.metrics.runs.of(Arm::Plain).unwrap().curve.len(), 2);
//! assert_eq!(trained.models.len(), 2);
//! println!("{}", report::headline(&trained.metrics));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod bench;
pub mod check;
pub mod claims;
pub mod data;
mod draw;
pub mod evaluate;
pub mod feed;
pub mod inputs;
pub mod inspection;
pub mod models;
mod names;
pub mod networks;
pub mod report;
mod run_folder;
pub mod saved;
pub mod streams;
pub mod train;

pub use data::Source;
pub use names::UnknownName;
pub use networks::{Activation, Network, Placement};
pub use run_folder::{RunFolder, RunFolderError};
pub use train::{Metrics, Settings, train};
