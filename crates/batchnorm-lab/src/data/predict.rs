//! Images without labels, to be put into classes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::{DataError, folder, idx, picture};

/// An image and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedImage {
    /// The file's name, with the image's place in it where it holds many.
    pub name: String,
    /// Planes of bytes, 255 being white, as in [`Split`](super::Split).
    pub pixels: Vec<u8>,
}

/// Reads a file of images of the given channels, height and width: one image (PNG, JPEG, GIF, WebP, BMP, PNM), or an
/// IDX file of any number of them, raw or compressed.
///
/// A grey image fills three channels where three are wanted. White is [`IMAGE_WHITE`](super::IMAGE_WHITE), whatever it
/// was in the data set that a network was trained on.
///
/// # Errors
///
/// If the file cannot be read as either, or its images have another size, or colours where one channel is wanted.
pub fn read_images(path: &Path, dims: [usize; 3]) -> Result<Vec<NamedImage>, DataError> {
    let [channels, height, width] = dims;
    let check = |found_height: usize, found_width: usize| {
        if (found_height, found_width) == (height, width) {
            return Ok(());
        }
        Err(DataError::OtherSize {
            file: path.to_owned(),
            expected: format!("{height}x{width}"),
            found: format!("{found_height}x{found_width}"),
        })
    };
    let name = folder::file_name(path);
    if is_idx(path)? {
        let ([_, found_height, found_width], values) = idx::read(path, 3)?.into_images();
        check(found_height, found_width)?;
        let images = values.chunks_exact(height * width).enumerate();
        return Ok(images
            .map(|(index, image)| NamedImage {
                name: format!("{name} #{index}"),
                pixels: image.repeat(channels),
            })
            .collect());
    }
    let picture = picture::read(path, check)?;
    if picture.is_coloured() && channels == 1 {
        return Err(DataError::Coloured { file: path.to_owned() });
    }
    Ok(vec![NamedImage { name, pixels: picture.into_channels(channels) }])
}

/// Whether a file begins as an IDX file does, or is compressed, which no image is as a whole.
fn is_idx(path: &Path) -> Result<bool, DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
    let mut start = Vec::new();
    File::open(path).and_then(|file| file.take(4).read_to_end(&mut start)).map_err(unreadable)?;
    Ok(start.starts_with(&[0, 0, 8]) || start.starts_with(&[0x1f, 0x8b]))
}
