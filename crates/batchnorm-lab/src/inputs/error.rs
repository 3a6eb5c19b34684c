//! What can be wrong with samples for a model.

use std::io;
use std::path::PathBuf;

use batchnorm_model::WireError;

use crate::data::DataError;

/// Why samples cannot be had, or are not what the model takes. Each message names the file, what was expected, what was
/// found, and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputsError {
    /// Neither a path nor a name.
    #[error(
        "there is no file or folder `{}`, and no data of that name; name a file, a folder, `random`, or one of: {}",
        .path.display(), crate::data::Source::NAMES.join(", ")
    )]
    NoSuchPath {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder of another kind.
    #[error(
        "`{}` holds no samples that can be read: found {found}; expected .npy, .npz, IDX images (raw or .gz), CIFAR-10's \
         binary files, TensorProto files (.pb, or folders test_data_set_0, ...), an image, or a folder of images with or \
         without a folder for each class",
        .path.display()
    )]
    Unrecognized {
        /// The file or folder.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// A data set, an IDX file or an image that cannot be had.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A file that the system does not let be read.
    #[error("cannot read `{}`; check that it is there, may be read, and was not changed meanwhile", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A header of NumPy's that is none.
    #[error(
        "`{array}` is no array as NumPy writes it: expected {expected}, found {found}; write it again with numpy.save"
    )]
    Header {
        /// The file, with the key in it.
        array: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Elements that are no numbers, or numbers of an unusual type.
    #[error(
        "`{array}` has elements of the type {found}; expected bool, whole numbers or floats of up to 64 bits: convert \
         it, as with array.astype(numpy.float32)"
    )]
    ElementType {
        /// The file, with the key in it.
        array: String,
        /// The type found.
        found: String,
    },
    /// An array whose first axis varies fastest.
    #[error(
        "`{array}` is in Fortran order, in which no sample lies in one piece; save numpy.ascontiguousarray(array) instead"
    )]
    FortranOrder {
        /// The file, with the key in it.
        array: String,
    },
    /// Sizes that no file has.
    #[error("`{array}` says that it holds {found} values, which no file does; write it again")]
    ImpossibleSize {
        /// The file, with the key in it.
        array: String,
        /// The dimensions.
        found: String,
    },
    /// A file with more or fewer bytes than it says.
    #[error(
        "`{array}` has {found} bytes of values; expected {expected} by what it says of itself: write or fetch it again"
    )]
    Length {
        /// The file, with the key in it.
        array: String,
        /// The bytes that there should be.
        expected: u64,
        /// The bytes there are.
        found: u64,
    },
    /// No samples at all.
    #[error("`{path}` holds no samples; expected at least one")]
    Empty {
        /// The file or folder.
        path: String,
    },
    /// An array that the input does not take.
    #[error(
        "`{array}` has the dimensions {found}; expected {expected} for the model's input `{input}`, the first of them the \
         samples: reshape or transpose it{hint}"
    )]
    Shape {
        /// The file, with the key in it.
        array: String,
        /// The dimensions found.
        found: String,
        /// The input.
        input: String,
        /// The dimensions that it takes.
        expected: String,
        /// What may be meant, or nothing.
        hint: &'static str,
    },
    /// Keys and inputs that do not go together.
    #[error(
        "the arrays of `{}` do not go with the model's inputs: the file has {keys}, the model takes {inputs}; {problem}: \
         name each array as its input, as with numpy.savez(file, NAME=...); an array `labels` may be beside them",
        .path.display()
    )]
    Keys {
        /// The file.
        path: PathBuf,
        /// The keys found.
        keys: String,
        /// The model's inputs.
        inputs: String,
        /// What goes with nothing, in words.
        problem: String,
    },
    /// One thing for a model of several inputs.
    #[error(
        "`{path}` is for a model of one input, and this one takes {inputs}; put an array for each into an .npz file"
    )]
    OneForMany {
        /// The file or folder.
        path: String,
        /// The model's inputs.
        inputs: String,
    },
    /// A model without inputs.
    #[error("the model takes no inputs: there is nothing to feed")]
    NoInputs,
    /// Arrays of different numbers of samples.
    #[error(
        "`{one}` has {one_count} samples, `{other}` {other_count}; expected as many of the one as of the other"
    )]
    Counts {
        /// An array or file.
        one: String,
        /// Its samples.
        one_count: u64,
        /// Another.
        other: String,
        /// Its samples.
        other_count: u64,
    },
    /// Labels that are none.
    #[error(
        "`{array}` cannot be the labels: expected a whole number from 0 to 4294967295 for each sample, found {found}"
    )]
    Labels {
        /// The file, with the key in it.
        array: String,
        /// What was found.
        found: String,
    },
    /// A value that the input's type does not have.
    #[error(
        "`{array}` has the value {found} for the model's input `{input}`; expected whole numbers that {element} has, and \
         none beyond 16777216, up to which they are kept exactly"
    )]
    Inexact {
        /// The data.
        array: String,
        /// The value.
        found: f32,
        /// The input.
        input: String,
        /// The input's type.
        element: String,
    },
    /// An archive that is none.
    #[error("`{}` is no whole .npz file: it is damaged or cut off; write it again with numpy.savez", .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What its reader said.
        source: io::Error,
    },
    /// A file that is no protocol buffer.
    #[error("`{}` cannot be read as ONNX's TensorProto; write it again, or fetch it again", .path.display())]
    Wire {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: WireError,
    },
    /// A tensor that makes no sense.
    #[error("the tensor in `{}` cannot be used: expected {expected}, found {found}; write it again", .path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Images for an input that takes none.
    #[error(
        "images cannot go to the model's input {input}; expected an input of four dimensions (batch, channels, height, \
         width, or the channels last), of three (grey), or of two (all pixels in a row): put arrays into an .npy or .npz file"
    )]
    NotForImages {
        /// The input in words.
        input: String,
    },
    /// Settings for images that contradict the model or each other.
    #[error("the settings for images make no sense: {problem}")]
    Settings {
        /// What contradicts what, and the way out.
        problem: String,
    },
    /// Settings for images, and data that are none.
    #[error(
        "`{path}` holds arrays, which are taken as they are, and there are settings for images ({settings}); leave them \
         out, or give images or an array of uint8"
    )]
    NotImages {
        /// The file.
        path: String,
        /// The settings.
        settings: String,
    },
    /// An image of a size that the model does not take.
    #[error(
        "{image} becomes {found} pixels (height x width); expected {expected}: ask for a resize, a crop or both"
    )]
    Size {
        /// The image.
        image: String,
        /// Its size after resizing and cropping.
        found: String,
        /// The size wanted, and by whom.
        expected: String,
    },
    /// An image that is smaller than what is to be cut out of it.
    #[error(
        "{image} is of {found} pixels (height x width), too small to crop {crop} from its centre; resize it first"
    )]
    Crop {
        /// The image.
        image: String,
        /// Its size.
        found: String,
        /// The size wanted.
        crop: String,
    },
    /// An input whose dimensions nobody knows.
    #[error(
        "random numbers need the size of each dimension, and the model's input {input} leaves some open: say its shape"
    )]
    UnknownDims {
        /// The input in words.
        input: String,
    },
    /// A batch that begins where there are no samples.
    #[error("there is no sample {start}; expected one of the {count} there are, counted from 0")]
    PastEnd {
        /// The first sample asked for.
        start: u64,
        /// The samples there are.
        count: u64,
    },
    /// No samples asked for.
    #[error("expected at least one sample to be asked for, found 0")]
    NoneWanted,
}
