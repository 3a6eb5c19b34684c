//! One image file: a grey plane, or three planes where there are colours.

use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader};

use super::{DataError, folder};

/// An image as planes of 8-bit pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// One plane if all is grey, else red, green and blue.
    planes: Vec<u8>,
}

/// Reads an image. What it is its contents say, whatever its name; 16 bits are rounded to 8.
///
/// An image is coloured if red, green and blue differ somewhere: many grey images are stored as coloured ones.
///
/// `check` sees height and width before anything is decoded.
pub(crate) fn read(
    path: &Path,
    check: impl FnOnce(usize, usize) -> Result<(), DataError>,
) -> Result<Picture, DataError> {
    let unreadable = |source| DataError::Unreadable { path: path.to_owned(), source };
    let damaged = |source| DataError::Image { file: path.to_owned(), source: Box::new(source) };
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(unreadable)?;
    let decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    if width == 0 || height == 0 {
        return Err(DataError::ImpossibleSize {
            file: path.to_owned(),
            found: format!("an image of {height}x{width} pixels"),
        });
    }
    check(height, width)?;
    // Decoders hold themselves to a limit for what they allocate; the image itself is held to it here.
    let mut limits = image::Limits::default();
    limits.reserve(decoder.total_bytes()).map_err(damaged)?;
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;

    let planes = match image {
        DynamicImage::ImageLuma8(grey) => grey.into_raw(),
        image => {
            let pixels = image.into_rgba8().into_raw();
            let plane = |channel: usize| pixels.iter().copied().skip(channel).step_by(4);
            if plane(3).any(|alpha| alpha != u8::MAX) {
                return Err(DataError::Transparent { file: path.to_owned() });
            }
            let grey = pixels.chunks_exact(4).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
            (0..if grey { 1 } else { 3 }).flat_map(plane).collect()
        }
    };
    Ok(Picture { height, width, planes })
}

impl Picture {
    /// An image of a grey plane, or of a red, a green and a blue one.
    pub(crate) fn of(height: usize, width: usize, planes: Vec<u8>) -> Self {
        let plane = height * width;
        assert!([plane, 3 * plane].contains(&planes.len()), "one plane or three");
        Self { height, width, planes }
    }

    /// One plane if all is grey, else red, green and blue.
    pub(crate) fn planes(&self) -> &[u8] {
        &self.planes
    }

    pub(crate) fn is_coloured(&self) -> bool {
        self.planes.len() > self.height * self.width
    }

    /// The planes of the wanted number of channels: a grey image has the same in all of them.
    pub(crate) fn into_channels(self, channels: usize) -> Vec<u8> {
        if self.is_coloured() { self.planes } else { self.planes.repeat(channels) }
    }
}

/// Whether a file may be an image, by its name: to tell a folder of images from another.
pub(crate) fn has_image_name(path: &Path) -> bool {
    const ENDINGS: [&str; 11] = ["png", "jpg", "jpeg", "gif", "webp", "bmp", "pnm", "pbm", "pgm", "ppm", "pam"];
    let name = folder::file_name(path).to_lowercase();
    name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(image: impl Into<DynamicImage>, name: &str) -> Result<Picture, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        image.into().save(&path).unwrap();
        read(&path, |_, _| Ok(()))
    }

    #[test]
    fn planes_follow_one_another() {
        let image = image::RgbImage::from_raw(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let picture = saved(image, "a.png").unwrap();
        assert_eq!((picture.height, picture.width), (1, 2));
        assert!(picture.is_coloured());
        assert_eq!(picture.into_channels(3), [1, 4, 2, 5, 3, 6]);
    }

    #[test]
    fn a_grey_image_is_grey_however_it_is_stored() {
        let grey = image::GrayImage::from_raw(3, 1, vec![0, 100, 255]).unwrap();
        let whole = DynamicImage::ImageLuma8(grey);
        for stored in [
            whole.clone(),
            DynamicImage::ImageRgb8(whole.to_rgb8()),
            DynamicImage::ImageRgba8(whole.to_rgba8()),
            DynamicImage::ImageLumaA8(whole.to_luma_alpha8()),
            DynamicImage::ImageLuma16(whole.to_luma16()),
        ] {
            for name in ["a.png", "a.tiff.png"] {
                assert_eq!(saved(stored.clone(), name).unwrap().into_channels(1), [0, 100, 255]);
            }
        }
        for name in ["a.bmp", "a.webp", "a.pgm"] {
            assert_eq!(saved(whole.clone(), name).unwrap().into_channels(1), [0, 100, 255], "{name}");
        }
        // GIF has colours only.
        assert_eq!(saved(whole.to_rgba8(), "a.gif").unwrap().into_channels(1), [0, 100, 255]);
        assert!(!saved(whole.to_rgb8(), "a.jpg").unwrap().is_coloured());
        assert_eq!(saved(whole, "a.png").unwrap().into_channels(3), [0, 100, 255].repeat(3));
    }

    #[test]
    fn contents_count_and_not_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        image::GrayImage::new(2, 2).save_with_format(&path, image::ImageFormat::Png).unwrap();
        read(&path, |_, _| Ok(())).unwrap();
    }

    #[test]
    fn transparent_pixels_are_refused() {
        let image = image::RgbaImage::from_raw(1, 1, vec![1, 2, 3, 254]).unwrap();
        assert!(matches!(saved(image, "a.png"), Err(DataError::Transparent { .. })));
    }

    #[test]
    fn an_image_that_claims_an_absurd_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pgm");
        for header in ["P5 60000 60000 255\n", "P6 4294967295 4294967295 255\n", "P5 0 7 255\n"] {
            std::fs::write(&path, header).unwrap();
            assert!(read(&path, |_, _| Ok(())).is_err(), "{header}");
        }
    }
}
