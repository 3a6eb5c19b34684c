//! Samples for a model: what is recognised, what comes out, and what is said of what is wrong.
//!
//! With the real files: `BATCHNORM_TEST_MNIST` names a folder that has MNIST in it.

mod arrays;
#[path = "../files/mod.rs"]
mod files;
mod golden;
mod images;
mod numbers;
mod tensors;

use std::path::Path;

use batchnorm_lab::data::Access;
use batchnorm_lab::inputs::{Element, InputSpec, InputsError, Options, SampleBatch, Samples};

/// An input `x` of floats.
fn x(dims: &[Option<usize>]) -> InputSpec {
    InputSpec::new("x", Element::F32, dims)
}

/// An input that takes the golden arrays.
fn rows_of_three() -> InputSpec {
    x(&[None, Some(3)])
}

fn open(path: &Path, inputs: &[InputSpec], options: &Options) -> Result<Samples, InputsError> {
    Samples::open(path, inputs, options, &mut Access::none())
}

/// All samples in one batch.
#[track_caller]
fn all(path: &Path, inputs: &[InputSpec], options: &Options) -> SampleBatch {
    open(path, inputs, options).unwrap().batch(0, 1000).unwrap()
}

/// Expects that samples cannot be had: when they are opened, or when they are read.
#[track_caller]
fn refused(path: &Path, inputs: &[InputSpec], options: &Options) -> InputsError {
    match open(path, inputs, options).and_then(|mut samples| samples.batch(0, 1000)) {
        Ok(batch) => panic!("read {} samples", batch.len()),
        Err(error) => error,
    }
}

/// Expects words in the message of an error.
#[track_caller]
fn says(error: &InputsError, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
