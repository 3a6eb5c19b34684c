//! Samples for a model's inputs: what recalibrating and verifying a model feeds it.
//!
//! [`Samples::open`] takes a file, a folder, the name of a data set, or `random`; what it is, its contents say:
//!
//! - NumPy's `.npy` for a model of one input, `.npz` with an array for each input, and `labels`;
//! - ONNX's tensors: `.pb`, and folders of `input_0.pb` or of `test_data_set_0` and so on;
//! - images: IDX, CIFAR-10's binary files, image files with or without a folder for each class, a published data set.
//!
//! Arrays and tensors are taken as they are, their first axis being the samples; of images, [`Images`] says what is done
//! to them. Any samples can be had at any time, so that several passes and a resumed one see the same. In memory are a batch
//! and, where its format demands it, one decoded file.
//!
//! Reading order: [`InputSpec`], [`Samples`], [`Images`], [`ChannelSummary`]; [`ModelSamples`] for a model's runtime.
//!
//! To add a form of file: a file in this folder that reads samples at given places, its recognition in `recognise.rs`, and
//! a variant in each of the four matches of `samples.rs`.

mod error;
mod fingerprint;
mod for_models;
mod images;
mod npy;
mod npz;
mod order;
mod pictures;
mod pipeline;
mod random;
mod recognise;
mod resize;
mod samples;
mod shift;
mod spec;
mod summary;
mod tensor_proto;

pub use error::InputsError;
pub use for_models::{ModelSamples, array, input_specs};
pub use images::{Colours, Filter, Images, Layout, PixelRange, Preset, Resize};
pub use recognise::RANDOM;
pub use samples::{NamedArray, Options, Part, SampleBatch, Samples};
pub use shift::Shift;
pub use spec::{Element, InputSpec};
pub use summary::ChannelSummary;
