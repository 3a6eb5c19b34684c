//! The laboratory: trains networks with and without batch normalization, and reports what differs.
//!
//! Nothing here prints, parses arguments or shows progress; the `batchnorm` command does. The rooms:
//!
//! - [`data`]: data sets, embedded or read;
//! - [`networks`]: networks as a user of Burn would write them;
//! - [`mod@train`]: training twins, and what is measured of them;
//! - [`report`]: the outcome in words, in a table and on a page.
//!
//! Between them stand [`streams`], random numbers by purpose, and [`RunFolder`], which receives what a run wrote.
//!
//! ```
//! use batchnorm_lab::train::Silent;
//! use batchnorm_lab::{Data, Settings, report, train};
//!
//! let settings = Settings { steps: 20, layers: vec![16], ..Settings::defaults(Data::Digits) };
//! let metrics = train(&settings, &mut Silent)?;
//! assert_eq!(metrics.runs.plain.curve.len(), 2);
//! println!("{}", report::headline(&metrics));
//! # Ok::<(), batchnorm_lab::train::TrainError>(())
//! ```

#![forbid(unsafe_code)]

pub mod data;
mod names;
pub mod networks;
pub mod report;
mod run_folder;
pub mod streams;
pub mod train;

pub use data::Data;
pub use names::UnknownName;
pub use networks::{Activation, Network, Placement};
pub use run_folder::{RunFolder, RunFolderError};
pub use train::{Metrics, Settings, train};
