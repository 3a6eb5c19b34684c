//! CIFAR-10's binary version: for each image a label and 3072 pixels, a plane for each of red, green and blue.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::checksum::{Checksums, Hashing};
use super::published::{CIFAR10, Published};
use super::{About, DataError, Dataset, IMAGE_WHITE, Split};

/// The name under which the archive is published.
pub(crate) const ARCHIVE: &str = "cifar-10-binary.tar.gz";
/// The folder in the archive.
const FOLDER: &str = "cifar-10-batches-bin";
/// The files in it, in their order; the last is to test on.
pub(crate) const FILES: [&str; 6] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin", TEST];
pub(crate) const TEST: &str = "test_batch.bin";

pub(crate) const DIMS: [usize; 3] = [3, 32, 32];
const PIXELS: usize = DIMS[0] * DIMS[1] * DIMS[2];
/// The bytes of a label and an image.
pub(crate) const RECORD: usize = 1 + PIXELS;
pub(crate) const CLASSES: usize = 10;

/// The folder that the files are in: this one or the one that the archive makes in it.
pub(crate) fn find(path: &Path) -> Option<PathBuf> {
    [path.to_owned(), path.join(FOLDER)]
        .into_iter()
        .find(|folder| FILES.iter().any(|name| folder.join(name).is_file()))
}

/// Loads the six files.
pub(super) fn load_folder(folder: &Path) -> Result<Dataset, DataError> {
    let mut parts = Parts::default();
    for (index, name) in FILES.iter().enumerate() {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let unreadable = |source| DataError::Unreadable { path: path.clone(), source };
        let file = File::open(&path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        parts.read(index, &path, length, BufReader::new(file))?;
    }
    let about = About {
        title: CIFAR10.title.to_owned(),
        description: format!("{}; unverified files of the user's", CIFAR10.description),
        source: folder.display().to_string(),
        licence: CIFAR10.licence.to_owned(),
    };
    parts.assemble(folder, about)
}

/// Loads the archive.
pub(crate) fn load_archive(path: &Path) -> Result<Dataset, DataError> {
    let (mut data, checksums) = read_archive(path)?;
    if !CIFAR10.files.iter().any(|file| file.is(&checksums)) {
        data.about.source = path.display().to_string();
        data.about.description += "; an archive of the user's, unlike the published one";
    }
    Ok(data)
}

/// Reads the archive to its end, so that all of it is verified.
pub(super) fn read_archive(path: &Path) -> Result<(Dataset, Checksums), DataError> {
    let damaged = |source| DataError::Compressed { file: path.to_owned(), source };
    let file = File::open(path).map_err(|source| DataError::Unreadable { path: path.to_owned(), source })?;
    let mut file = BufReader::with_capacity(1 << 16, Hashing::new(file));
    let mut contents = Hashing::new(MultiGzDecoder::new(&mut file));
    let mut archive = tar::Archive::new(&mut contents);
    let mut parts = Parts::default();
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().map_err(damaged)?.into_owned();
        let index = FILES.iter().position(|file| name.file_name().is_some_and(|name| name == *file));
        let (Some(index), true) = (index, entry.header().entry_type().is_file()) else { continue };
        let size = entry.size();
        parts.read(index, &path.join(&name), size, &mut entry).map_err(|error| match error {
            DataError::Unreadable { source, .. } => damaged(source),
            error => error,
        })?;
    }
    // What follows the last entry is padding, and the checksum of the compression.
    io::copy(&mut contents, &mut io::sink()).map_err(damaged)?;
    let contents = contents.checksum();
    let checksums = Checksums { file: file.get_ref().checksum(), contents };
    Ok((parts.assemble(path, CIFAR10.about())?, checksums))
}

/// The files read so far.
#[derive(Default)]
struct Parts {
    batches: [Option<Split>; FILES.len()],
}

impl Parts {
    /// Reads a file that is said to have so many bytes.
    fn read(&mut self, index: usize, path: &Path, length: u64, reader: impl Read) -> Result<(), DataError> {
        if length == 0 {
            return Err(DataError::Empty { path: path.to_owned() });
        }
        if !length.is_multiple_of(RECORD as u64) {
            return Err(DataError::CifarSize { file: path.to_owned(), found: length });
        }
        let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
        let truncated = |found: usize| DataError::Truncated {
            file: path.to_owned(),
            expected: length,
            found: found as u64,
        };
        let mut split = Split::new(PIXELS);
        let mut record = Vec::with_capacity(RECORD);
        let mut reader = reader.take(length);
        let images = usize::try_from(length / RECORD as u64).map_err(|_| truncated(0))?;
        for image in 0..images {
            record.clear();
            reader.by_ref().take(RECORD as u64).read_to_end(&mut record).map_err(unreadable)?;
            if record.len() < RECORD {
                return Err(truncated(image * RECORD + record.len()));
            }
            let label = u16::from(record[0]);
            if usize::from(label) >= CLASSES {
                return Err(DataError::Label {
                    file: path.to_owned(),
                    index: image,
                    found: label,
                    classes: CLASSES,
                    reason: "the classes of CIFAR-10",
                });
            }
            split.push(&record[1..], label);
        }
        self.batches[index] = Some(split);
        Ok(())
    }

    fn assemble(self, path: &Path, about: About) -> Result<Dataset, DataError> {
        let named = |there: bool| -> Vec<String> {
            let files = FILES.iter().zip(&self.batches).filter(|(_, batch)| batch.is_some() == there);
            files.map(|(name, _)| format!("`{name}`")).collect()
        };
        let missing = named(false);
        if !missing.is_empty() {
            let mut found = named(true);
            if found.is_empty() {
                found.push("other files".to_owned());
            }
            return Err(DataError::MissingFiles { path: path.to_owned(), missing, found });
        }
        let images: usize = self.batches[..FILES.len() - 1].iter().flatten().map(Split::len).sum();
        let mut batches = self.batches.into_iter().flatten();
        let mut train = Split::new(PIXELS);
        train.images.reserve_exact(images * PIXELS);
        for batch in batches.by_ref().take(FILES.len() - 1) {
            train.images.extend_from_slice(&batch.images);
            train.labels.extend_from_slice(&batch.labels);
        }
        Ok(Dataset {
            about,
            classes: CLASSES,
            class_names: Published::class_names(&CIFAR10),
            dims: DIMS,
            white: IMAGE_WHITE,
            train,
            test: batches.next().expect("the last of six files"),
        })
    }
}
