//! What a file or folder is: by what is in it, not by its name, where its contents tell.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::npy::{self, Array};
use super::npz::{self, Arrays};
use super::pictures::Pictures;
use super::random::Random;
use super::spec::listed;
use super::tensor_proto::Tensors;
use super::{Element, InputSpec, InputsError, Options};
use crate::data::{Access, Source, cifar, folder};

/// The name of random numbers.
pub const RANDOM: &str = "random";

/// Samples before anything is done to them.
#[derive(Debug)]
pub(super) enum Found {
    /// An array for each input, and labels.
    Arrays(Vec<Array>, Option<Vec<u32>>),
    /// Tensors in files of their own.
    Tensors(Tensors),
    /// Random numbers.
    Random(Random),
    /// Images, for the one input.
    Pictures(Pictures),
}

pub(super) fn find(
    path: &Path,
    inputs: &[InputSpec],
    options: &Options,
    access: &mut Access<'_>,
) -> Result<Found, InputsError> {
    if inputs.is_empty() {
        return Err(InputsError::NoInputs);
    }
    if path.as_os_str() == RANDOM {
        return Random::new(options.seed, inputs).map(Found::Random);
    }
    if let Some(name) = Source::NAMES.iter().find(|name| path.as_os_str() == **name) {
        let source: Source = name.parse().expect("a data set's own name");
        return Ok(Found::Pictures(Pictures::of_dataset(source.load(access)?, options.part)));
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => in_folder(path, inputs, options),
        Ok(_) => in_file(path, inputs, options),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            Err(InputsError::NoSuchPath { path: path.to_owned() })
        }
        Err(source) => Err(InputsError::Unreadable { path: path.to_owned(), source }),
    }
}

fn in_folder(path: &Path, inputs: &[InputSpec], options: &Options) -> Result<Found, InputsError> {
    // Reading it once says whether it can be read at all.
    let found = folder::contents(path)?;
    if let Some(pictures) = Pictures::idx_folder(path, options.part)? {
        return Ok(Found::Pictures(pictures));
    }
    if let Some(folder) = cifar::find(path) {
        return Pictures::cifar_folder(&folder, options.part).map(Found::Pictures);
    }
    let archive = path.join(cifar::ARCHIVE);
    if archive.is_file() {
        return Ok(Found::Pictures(Pictures::of_dataset(cifar::load_archive(&archive)?, options.part)));
    }
    if let Some(tensors) = Tensors::folder(path, inputs)? {
        return Ok(Found::Tensors(tensors));
    }
    match Pictures::files(path, options.part)? {
        Some(pictures) => Ok(Found::Pictures(pictures)),
        None => Err(InputsError::Unrecognized { path: path.to_owned(), found }),
    }
}

fn in_file(path: &Path, inputs: &[InputSpec], options: &Options) -> Result<Found, InputsError> {
    let unreadable = |source| InputsError::Unreadable { path: path.to_owned(), source };
    let mut start = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    file.take(16).read_to_end(&mut start).map_err(unreadable)?;
    let name = folder::file_name(path).to_lowercase();
    // An empty archive begins with its end.
    if start.starts_with(npz::MAGIC) || start.starts_with(b"PK\x05\x06") {
        let arrays = Arrays::open(path, inputs)?;
        let labels = arrays.labels.map(labels).transpose()?;
        return Ok(Found::Arrays(arrays.inputs, labels));
    }
    if start.starts_with(npy::MAGIC) {
        if inputs.len() != 1 {
            return Err(InputsError::OneForMany {
                path: path.display().to_string(),
                inputs: listed(inputs.iter().map(|input| input.name.as_str())),
            });
        }
        return Ok(Found::Arrays(vec![Array::open(path)?], None));
    }
    if start.starts_with(&[0x1f, 0x8b]) && name.ends_with(".tar.gz") {
        return Ok(Found::Pictures(Pictures::of_dataset(cifar::load_archive(path)?, options.part)));
    }
    if start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0, 0, 8, 3]) {
        return Pictures::idx(path, labels_beside(path).as_deref()).map(Found::Pictures);
    }
    if name.ends_with(".pb") {
        return Tensors::file(path, inputs).map(Found::Tensors);
    }
    if image::guess_format(&start).is_ok() {
        return Ok(Pictures::files(path, options.part)?.map(Found::Pictures).expect("a file is one image"));
    }
    if name.ends_with(".bin") && length > 0 {
        return Pictures::records(vec![path.to_owned()]).map(Found::Pictures);
    }
    let found = match start.len() {
        0 => "an empty file".to_owned(),
        shown => {
            let bytes: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("a file that begins with {}", bytes[..shown.min(8)].join(" "))
        }
    };
    Err(InputsError::Unrecognized { path: path.to_owned(), found })
}

/// The file of labels that goes with a file of images by its name, if it is there.
fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = folder::file_name(images);
    let labels = name.replacen("images", "labels", 1).replacen("idx3", "idx1", 1);
    let unpacked = labels.strip_suffix(".gz").map_or_else(|| format!("{labels}.gz"), str::to_owned);
    let beside = [labels, unpacked].into_iter().filter(|labels| *labels != name && name.contains("images"));
    beside.map(|labels| images.with_file_name(labels)).find(|path| path.is_file())
}

/// The labels in an array.
fn labels(mut array: Array) -> Result<Vec<u32>, InputsError> {
    let element = array.header.element;
    let name = array.name.clone();
    let wrong = |found: String| InputsError::Labels { array: name.clone(), found };
    // A column of them is as good as a row.
    let row = array.sample().iter().all(|&dim| dim == 1);
    if !row || element.is_float() {
        return Err(wrong(format!("{element} of {}", array.dims_in_words())));
    }
    let bytes = array.bytes(&(0..array.len()).collect::<Vec<_>>())?;
    let signed = matches!(element, Element::I8 | Element::I16 | Element::I32 | Element::I64);
    let label = |chunk: &[u8]| {
        let mut bytes = chunk.to_vec();
        if array.header.big_endian {
            bytes.reverse();
        }
        let negative = signed && bytes.last().is_some_and(|&highest| highest >= 0x80);
        let value = bytes.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        match u32::try_from(value) {
            Ok(label) if !negative => Ok(label),
            _ => Err(wrong(if negative { "a negative number".to_owned() } else { value.to_string() })),
        }
    };
    bytes.chunks_exact(element.bytes()).map(label).collect()
}

impl Found {
    /// The number of samples; `None` without an end.
    pub(super) fn len(&self) -> Option<u64> {
        match self {
            Self::Arrays(arrays, _) => arrays.first().map(Array::len),
            Self::Tensors(tensors) => Some(tensors.len()),
            Self::Random(_) => None,
            Self::Pictures(pictures) => Some(pictures.len()),
        }
    }
}
