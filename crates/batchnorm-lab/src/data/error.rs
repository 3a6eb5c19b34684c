//! What can be wrong with a data set.

use std::io;
use std::path::PathBuf;

use super::Source;

/// Why a data set or an image cannot be had. Each message names the file, what was expected, what was found, and the
/// way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Neither a folder nor a name.
    #[error(
        "there is no folder `{}`, and no data set of that name; name a folder, or one of: {}",
        .path.display(), Source::NAMES.join(", ")
    )]
    NoSuchFolder {
        /// The path.
        path: PathBuf,
    },
    /// A file in place of a folder.
    #[error(
        "`{}` is a file; expected the folder that the data set is in, or CIFAR-10's archive, whose name ends in .tar.gz",
        .path.display()
    )]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A folder without a data set.
    #[error(
        "the folder `{}` holds no data set; looked for IDX files (train-images-idx3-ubyte and its three companions, \
         raw or .gz), for CIFAR-10's binary files (data_batch_1.bin to data_batch_5.bin and test_batch.bin, or \
         cifar-10-binary.tar.gz), and for folders of images, one for each class, in train/ and test/ or without a \
         split; found {found}",
        .path.display()
    )]
    Unrecognized {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// Some files of a data set, without the others.
    #[error(
        "`{}` lacks {}; found only {}; put the missing files beside them",
        .path.display(), .missing.join(", "), .found.join(", ")
    )]
    MissingFiles {
        /// The folder or archive.
        path: PathBuf,
        /// The files that are not there.
        missing: Vec<String>,
        /// The files that are.
        found: Vec<String>,
    },
    /// A file or folder that the system does not let be read.
    #[error("cannot read `{}`; check that it is there and may be read", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A cache that the system does not let be written.
    #[error("cannot write to `{}`; choose a cache folder that you may write to, on a disk with room", .path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A compressed file whose contents do not come out whole.
    #[error("`{}` is no whole gzip file: it is damaged or cut off; fetch it again", .file.display())]
    Compressed {
        /// The file.
        file: PathBuf,
        /// What the decompression said.
        source: io::Error,
    },
    /// Another beginning than that of the format.
    #[error("`{}` is not what its name says: expected it to begin with {expected}, found {found}", .file.display())]
    Magic {
        /// The file.
        file: PathBuf,
        /// The beginning expected, in words.
        expected: String,
        /// The bytes found.
        found: String,
    },
    /// A file that ends too early.
    #[error(
        "`{}` is cut off: expected {expected} bytes by what it says of itself, found {found}; fetch it again",
        .file.display()
    )]
    Truncated {
        /// The file.
        file: PathBuf,
        /// The bytes that there should be, uncompressed.
        expected: u64,
        /// The bytes there are, at most.
        found: u64,
    },
    /// A file that goes on after its end.
    #[error(
        "`{}` is too long: expected {expected} bytes by what it says of itself, found more; fetch it again",
        .file.display()
    )]
    TrailingBytes {
        /// The file.
        file: PathBuf,
        /// The bytes that there should be, uncompressed.
        expected: u64,
    },
    /// Sizes that no file has.
    #[error("`{}` says that it holds {found}, which no file does; fetch it again", .file.display())]
    ImpossibleSize {
        /// The file.
        file: PathBuf,
        /// The sizes.
        found: String,
    },
    /// A part without images.
    #[error("`{}` holds no images; expected at least one", .path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
    /// Images without labels or labels without images.
    #[error(
        "`{}` holds {images} images, `{}` {labels} labels; expected as many of the one as of the other: take both \
         from the same data set",
        .images_file.display(), .labels_file.display()
    )]
    Counts {
        /// The file of images.
        images_file: PathBuf,
        /// How many it holds.
        images: usize,
        /// The file of labels.
        labels_file: PathBuf,
        /// How many it holds.
        labels: usize,
    },
    /// Images of another size than those before.
    #[error(
        "`{}` is of {found} pixels; expected {expected}, as in `{}`: all images of a data set have one size",
        .file.display(), .like.display()
    )]
    Size {
        /// The file.
        file: PathBuf,
        /// Height and width expected.
        expected: String,
        /// Height and width found.
        found: String,
        /// The file that set the size.
        like: PathBuf,
    },
    /// A label that is no class.
    #[error("label {found} of image {index} in `{}` is out of range; expected 0 to {}, {reason}", .file.display(), .classes - 1)]
    Label {
        /// The file.
        file: PathBuf,
        /// The image, counted from 0.
        index: usize,
        /// The label found.
        found: u16,
        /// The number of classes.
        classes: usize,
        /// Why there are so many.
        reason: &'static str,
    },
    /// A file of CIFAR-10 that is no row of images.
    #[error(
        "`{}` is of {found} bytes; expected a multiple of 3073, a label and 32x32 pixels of three colours for each \
         image: fetch it again",
        .file.display()
    )]
    CifarSize {
        /// The file, or the archive with the file in it.
        file: PathBuf,
        /// Its bytes.
        found: u64,
    },
    /// A file that is no image, or a damaged one.
    #[error(
        "`{}` cannot be read as an image; expected a whole PNG, JPEG, GIF, WebP, BMP or PNM file: repair it or move \
         it out of the folder",
        .file.display()
    )]
    Image {
        /// The file.
        file: PathBuf,
        /// What the decoder said.
        source: Box<image::ImageError>,
    },
    /// An image with pixels one can see through.
    #[error("`{}` has transparent pixels, whose colour is undefined; flatten it onto a background", .file.display())]
    Transparent {
        /// The file.
        file: PathBuf,
    },
    /// A coloured image for a network of grey ones.
    #[error("`{}` has colours; expected a grey image, of one channel: convert it", .file.display())]
    Coloured {
        /// The file.
        file: PathBuf,
    },
    /// An image of another size than wanted.
    #[error("`{}` is of {found} pixels; expected {expected}: resize it", .file.display())]
    OtherSize {
        /// The file.
        file: PathBuf,
        /// Height and width expected.
        expected: String,
        /// Height and width found.
        found: String,
    },
    /// Fewer than two classes.
    #[error("`{}` has {found} {}; expected at least 2 classes{hint}", .path.display(), if *.found == 1 { "class" } else { "classes" })]
    TooFewClasses {
        /// The file or folder.
        path: PathBuf,
        /// The number of classes.
        found: usize,
        /// What may be meant.
        hint: &'static str,
    },
    /// More classes than labels can tell apart.
    #[error("the folder `{}` has {found} classes; expected at most {most}", .path.display())]
    TooManyClasses {
        /// The folder.
        path: PathBuf,
        /// The number of classes.
        found: usize,
        /// The most there may be.
        most: usize,
    },
    /// A class to test on that is not trained on.
    #[error(
        "the folder `{}` is of a class that `{}` has not; the folders of both parts have the same names",
        .path.display(), .train.display()
    )]
    UnknownClass {
        /// The class's folder.
        path: PathBuf,
        /// The folder to train on.
        train: PathBuf,
    },
    /// Something else than images in a class's folder, or than folders of classes.
    #[error("expected only {expected} in `{}`, found `{found}`; move it elsewhere", .folder.display())]
    Misplaced {
        /// The folder.
        folder: PathBuf,
        /// What belongs there.
        expected: &'static str,
        /// What was found.
        found: String,
    },
    /// A class too small to be split.
    #[error(
        "the class folder `{}` has {found} image; expected at least 2, as part of them is to test on: add some, or \
         make the split yourself in train/ and test/",
        .folder.display()
    )]
    TooFewImages {
        /// The class's folder.
        folder: PathBuf,
        /// The images in it.
        found: usize,
    },
    /// A published file with other contents.
    #[error(
        "`{}` is not the published file: expected sha256 {expected}, found {found}",
        .file.display()
    )]
    Checksum {
        /// The file.
        file: PathBuf,
        /// The published checksum.
        expected: String,
        /// The file's.
        found: String,
    },
    /// A published set that is not in the cache, without leave to download it.
    #[error("{reason}, and downloads are off\n{instructions}")]
    NotHere {
        /// What is missing or damaged.
        reason: String,
        /// How to supply it by hand.
        instructions: String,
    },
    /// A published set that no server gave.
    #[error("could not download `{file}` of `{set}`:{}\n{instructions}", .causes.iter().map(|cause| format!("\n  {cause}")).collect::<String>())]
    Download {
        /// The data set.
        set: &'static str,
        /// The file.
        file: String,
        /// What went wrong with each mirror.
        causes: Vec<String>,
        /// How to supply it by hand.
        instructions: String,
    },
}
