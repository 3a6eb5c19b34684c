//! Small files of every form, made on the spot.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::fs;
use std::io::Write;
use std::path::Path;

use tempfile::{TempDir, tempdir};

pub struct Idx;

impl Idx {
    /// Images whose pixels count up from 0.
    pub fn images(count: u32, height: u32, width: u32) -> Vec<u8> {
        let pixels = (0..count * height * width).map(|pixel| pixel as u8);
        let header = [count, height, width].map(u32::to_be_bytes).concat();
        [0, 0, 8, 3].into_iter().chain(header).chain(pixels).collect()
    }

    pub fn labels(labels: &[u8]) -> Vec<u8> {
        [&[0, 0, 8, 1][..], &(labels.len() as u32).to_be_bytes(), labels].concat()
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Six images of 2x3 pixels to train on, three to test on, three classes.
pub fn idx_folder() -> TempDir {
    let folder = tempdir().unwrap();
    for (name, bytes) in [
        ("train-images-idx3-ubyte", Idx::images(6, 2, 3)),
        ("train-labels-idx1-ubyte", Idx::labels(&[0, 1, 2, 0, 1, 2])),
        ("t10k-images-idx3-ubyte", Idx::images(3, 2, 3)),
        ("t10k-labels-idx1-ubyte", Idx::labels(&[2, 1, 0])),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Records with labels that count up from `first`.
pub fn cifar_batch(first: u8, images: u8) -> Vec<u8> {
    let record = |image: u8| {
        let mut random = noise(u64::from(first) * 100 + u64::from(image));
        std::iter::once((first + image) % 10).chain((0..3072).map(move |_| random() as u8))
    };
    (0..images).flat_map(record).collect()
}

const CIFAR: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

pub fn cifar_file(name: &str) -> Vec<u8> {
    let index = CIFAR.iter().position(|file| *file == name).unwrap();
    cifar_batch(index as u8, if index == 5 { 2 } else { 3 })
}

pub fn cifar_folder() -> TempDir {
    let folder = tempdir().unwrap();
    for name in CIFAR {
        fs::write(folder.path().join(name), cifar_file(name)).unwrap();
    }
    folder
}

/// The archive, with what `file` makes of each name.
pub fn cifar_archive(file: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for name in ["readme.html"].iter().chain(&CIFAR) {
        let bytes = if *name == "readme.html" { Some(b"<html>".to_vec()) } else { file(name) };
        let Some(bytes) = bytes else { continue };
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..]).unwrap();
    }
    gzip(&archive.into_inner().unwrap())
}

/// A PNG file of one colour.
pub fn image(path: &Path, height: u32, width: u32, colour: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(width, height, image::Rgb(colour)).save(path).unwrap();
}

/// Numbers that look random, the same for each seed (Steele, Lea and Flood's SplitMix64).
pub fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
