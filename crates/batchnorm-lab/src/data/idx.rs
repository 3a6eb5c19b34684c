//! IDX, the format of MNIST: four bytes that say what follows, the sizes, then the values, all big-endian.
//!
//! ```text
//! images  00 00 08 03  count  height  width  count x height x width bytes
//! labels  00 00 08 01  count                 count bytes
//! ```
//!
//! Raw or compressed with gzip; which of the two, a file's first bytes say, whatever its name.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::checksum::{Checksums, Hashing};
use super::{About, DataError, Dataset, IMAGE_WHITE, Split, folder, published};

/// The four files of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    TrainImages,
    TrainLabels,
    TestImages,
    TestLabels,
}

impl Role {
    pub(super) const ALL: [Self; 4] =
        [Self::TrainImages, Self::TrainLabels, Self::TestImages, Self::TestLabels];

    /// The name under which the file is usually published, uncompressed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TrainImages => "train-images-idx3-ubyte",
            Self::TrainLabels => "train-labels-idx1-ubyte",
            Self::TestImages => "t10k-images-idx3-ubyte",
            Self::TestLabels => "t10k-labels-idx1-ubyte",
        }
    }

    /// Every name under which it is found, the first one first.
    pub(crate) fn names(self) -> Vec<String> {
        // `train-images.idx3-ubyte` is how some archives spell it.
        let dotted = self.name().replacen("-idx", ".idx", 1);
        let mut names = vec![self.name().to_owned(), dotted];
        if matches!(self, Self::TestImages | Self::TestLabels) {
            names.extend(names.clone().iter().map(|name| name.replacen("t10k", "test", 1)));
        }
        names.iter().flat_map(|name| [name.clone(), format!("{name}.gz")]).collect()
    }

    /// How many sizes the header has.
    pub(super) const fn rank(self) -> usize {
        match self {
            Self::TrainImages | Self::TestImages => 3,
            Self::TrainLabels | Self::TestLabels => 1,
        }
    }
}

/// A file read whole.
#[derive(Debug)]
pub(crate) struct Idx {
    pub(super) path: PathBuf,
    /// Count, then height and width where it is of images.
    sizes: Vec<usize>,
    values: Vec<u8>,
    pub(super) checksums: Checksums,
}

/// No compressed byte becomes more than so many: DEFLATE's limit.
const MOST_PER_COMPRESSED_BYTE: u64 = 1032;
/// Memory taken on a header's word alone; what is more is taken as it is read.
const TRUSTED: u64 = 1 << 26;

/// Reads a file whose header has `rank` sizes.
pub(crate) fn read(path: &Path, rank: usize) -> Result<Idx, DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut file = BufReader::with_capacity(1 << 16, Hashing::new(file));
    let compressed = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    let (sizes, values, contents) = if compressed {
        let most = length.saturating_mul(MOST_PER_COMPRESSED_BYTE);
        parse(MultiGzDecoder::new(&mut file), path, rank, most).map_err(|error| damaged_archive(error, path))?
    } else {
        parse(&mut file, path, rank, length)?
    };
    let checksums = Checksums { file: file.get_ref().checksum(), contents };
    Ok(Idx { path: path.to_owned(), sizes, values, checksums })
}

/// What cannot be read in a compressed file is mostly the compression's.
fn damaged_archive(error: DataError, file: &Path) -> DataError {
    match error {
        DataError::Unreadable { source, .. } => DataError::Compressed { file: file.to_owned(), source },
        error => error,
    }
}

/// The sizes, the values, and the checksum of the whole. `most` is what the file may hold at the very most.
fn parse(
    reader: impl Read,
    path: &Path,
    rank: usize,
    most: u64,
) -> Result<(Vec<usize>, Vec<u8>, String), DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
    let mut reader = Hashing::new(reader);
    let mut take = |bytes: u64, room: u64| {
        let mut taken = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
        reader.by_ref().take(bytes).read_to_end(&mut taken).map_err(unreadable)?;
        Ok(taken)
    };

    let header = 4 + 4 * rank as u64;
    let magic = take(4, 4)?;
    let expected = [0, 0, 8, rank as u8];
    if magic != expected {
        let what = if rank == 3 { "of images" } else { "of labels" };
        return Err(DataError::Magic {
            file: path.to_owned(),
            expected: format!("{} (an IDX file {what}, bytes in {rank} dimensions)", hexadecimal(&expected)),
            found: hexadecimal(&magic),
        });
    }
    let sizes = take(header - 4, header)?;
    if sizes.len() as u64 != header - 4 {
        return Err(DataError::Truncated {
            file: path.to_owned(),
            expected: header,
            found: 4 + sizes.len() as u64,
        });
    }
    let sizes: Vec<u32> =
        sizes.chunks_exact(4).map(|size| u32::from_be_bytes([size[0], size[1], size[2], size[3]])).collect();
    if sizes[0] == 0 {
        return Err(DataError::Empty { path: path.to_owned() });
    }
    let values = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(u64::from(size)));
    let values =
        values.filter(|&values| values > 0 && usize::try_from(values).is_ok() && values < u64::MAX >> 1);
    let Some(expected) = values else {
        let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
        return Err(DataError::ImpossibleSize {
            file: path.to_owned(),
            found: format!("{} values", sizes.join(" x ")),
        });
    };
    // A header is not believed before the file is seen to be long enough.
    let truncated =
        |found: u64| DataError::Truncated { file: path.to_owned(), expected: header + expected, found };
    if header + expected > most {
        return Err(truncated(most));
    }
    // One byte more than there should be tells whether the file ends here, and has a gzip checksum verified.
    let values = take(expected + 1, (expected + 1).min(TRUSTED))?;
    match values.len() as u64 {
        found if found < expected => Err(truncated(header + found)),
        found if found > expected => {
            Err(DataError::TrailingBytes { file: path.to_owned(), expected: header + expected })
        }
        _ => Ok((sizes.iter().map(|&size| size as usize).collect(), values, reader.checksum())),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing: the file is empty".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

impl Idx {
    fn count(&self) -> usize {
        self.sizes[0]
    }

    /// Height and width.
    fn size(&self) -> [usize; 2] {
        [self.sizes[1], self.sizes[2]]
    }

    /// The images in a file of images: count, height and width, and the pixels.
    pub(crate) fn into_images(self) -> ([usize; 3], Vec<u8>) {
        ([self.sizes[0], self.sizes[1], self.sizes[2]], self.values)
    }

    /// The labels in a file of labels.
    pub(crate) fn into_labels(self) -> Vec<u8> {
        self.values
    }
}

/// Where the four files of a data set are in a folder; `None` if there are none of them.
///
/// # Errors
///
/// If there are some of them only.
pub(super) fn find(folder: &Path) -> Result<Option<[PathBuf; 4]>, DataError> {
    let found = Role::ALL
        .map(|role| role.names().into_iter().map(|name| folder.join(name)).find(|path| path.is_file()));
    if found.iter().all(Option::is_none) {
        return Ok(None);
    }
    let missing: Vec<String> = Role::ALL
        .iter()
        .zip(&found)
        .filter(|(_, path)| path.is_none())
        .map(|(role, _)| format!("`{}` (or `.gz`)", role.name()))
        .collect();
    match found {
        [Some(a), Some(b), Some(c), Some(d)] => Ok(Some([a, b, c, d])),
        found => Err(DataError::MissingFiles {
            path: folder.to_owned(),
            missing,
            found: found.iter().flatten().map(|path| format!("`{}`", folder::file_name(path))).collect(),
        }),
    }
}

/// Loads the four files. Files that are MNIST's or Fashion-MNIST's are known by their checksums.
pub(super) fn load(path: &Path, files: &[PathBuf; 4]) -> Result<Dataset, DataError> {
    let [a, b, c, d] = files;
    let [images, labels, tests, test_labels] = Role::ALL.map(Role::rank);
    let files = [read(a, images)?, read(b, labels)?, read(c, tests)?, read(d, test_labels)?];
    let known = published::recognise(&files);
    let mut data = assemble(files, folder::about(path, "IDX files"))?;
    if let Some(known) = known {
        data.about = known.about();
        data.class_names = known.class_names();
    }
    Ok(data)
}

/// Puts the four files together, in the order of [`Role::ALL`].
pub(super) fn assemble(files: [Idx; 4], about: About) -> Result<Dataset, DataError> {
    let [train, train_labels, test, test_labels] = files;
    for (images, labels) in [(&train, &train_labels), (&test, &test_labels)] {
        if images.count() != labels.count() {
            return Err(DataError::Counts {
                images_file: images.path.clone(),
                images: images.count(),
                labels_file: labels.path.clone(),
                labels: labels.count(),
            });
        }
    }
    let [height, width] = train.size();
    if train.size() != test.size() {
        let [other_height, other_width] = test.size();
        return Err(DataError::Size {
            file: test.path,
            expected: format!("{height}x{width}"),
            found: format!("{other_height}x{other_width}"),
            like: train.path,
        });
    }
    let classes = train_labels.values.iter().copied().max().map_or(0, |label| usize::from(label) + 1);
    if classes < 2 {
        return Err(DataError::TooFewClasses { path: train_labels.path, found: classes, hint: "" });
    }
    if let Some(index) = test_labels.values.iter().position(|&label| usize::from(label) >= classes) {
        let found = u16::from(test_labels.values[index]);
        let reason = "the labels of the training images";
        return Err(DataError::Label { file: test_labels.path, index, found, classes, reason });
    }
    let split = |images: Idx, labels: Idx| {
        Split::of(height * width, images.values, labels.values.into_iter().map(u16::from).collect())
    };
    Ok(Dataset {
        about,
        classes,
        class_names: (0..classes).map(|class| class.to_string()).collect(),
        dims: [1, height, width],
        white: IMAGE_WHITE,
        train: split(train, train_labels),
        test: split(test, test_labels),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_are_in_use() {
        let names = Role::TestImages.names();
        for name in [
            "t10k-images-idx3-ubyte",
            "t10k-images-idx3-ubyte.gz",
            "t10k-images.idx3-ubyte",
            "t10k-images.idx3-ubyte.gz",
            "test-images-idx3-ubyte.gz",
        ] {
            assert!(names.contains(&name.to_owned()), "{name} {names:?}");
        }
        assert_eq!(Role::TrainLabels.names().len(), 4);
    }

    #[test]
    fn both_checksums_are_of_the_whole_file() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let (raw, compressed) = (folder.path().join("raw"), folder.path().join("compressed"));
        let bytes = [0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9];
        std::fs::write(&raw, bytes).unwrap();
        let mut encoder =
            flate2::write::GzEncoder::new(File::create(&compressed).unwrap(), flate2::Compression::best());
        encoder.write_all(&bytes).unwrap();
        encoder.finish().unwrap();
        let (raw, compressed) = (read(&raw, 1).unwrap(), read(&compressed, 1).unwrap());
        assert_eq!((&raw.values, raw.count()), (&vec![7, 8, 9], 3));
        assert_eq!(raw.values, compressed.values);
        assert_eq!(raw.checksums.file, raw.checksums.contents);
        assert_eq!(raw.checksums.contents, compressed.checksums.contents);
        let mut all = Hashing::new(File::open(&compressed.path).unwrap());
        std::io::copy(&mut all, &mut std::io::sink()).unwrap();
        assert_eq!(compressed.checksums.file, all.checksum());
    }
}
