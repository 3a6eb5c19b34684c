//! Images brought to a size: resized, then cut out of the centre, in 8 bits as Pillow and torchvision do it.

use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};

use super::InputsError;
use super::images::{Filter, Images, Resize};
use crate::data::picture::Picture;

/// More pixels than any network takes.
const MOST_PIXELS: usize = 1 << 28;

impl Filter {
    fn kernel(self) -> FilterType {
        match self {
            Self::Nearest => FilterType::Nearest,
            Self::Bilinear => FilterType::Triangle,
            Self::Bicubic => FilterType::CatmullRom,
            Self::Lanczos => FilterType::Lanczos3,
        }
    }
}

/// The height and width that an image is resized to.
fn target(resize: Resize, [height, width]: [usize; 2]) -> [usize; 2] {
    match resize {
        Resize::To(size) => size,
        // torchvision rounds the longer side down.
        Resize::ShortSide(side) if height <= width => [side, scaled(width, side, height)],
        Resize::ShortSide(side) => [scaled(height, side, width), side],
    }
}

fn scaled(long: usize, side: usize, short: usize) -> usize {
    usize::try_from(long as u128 * side as u128 / short as u128).unwrap_or(usize::MAX)
}

/// Brings an image to the size that the settings ask for. `image` says which it is.
pub(super) fn sized(
    picture: Picture,
    images: &Images,
    image: &dyn Fn() -> String,
) -> Result<Picture, InputsError> {
    let mut picture = picture;
    if let Some(resize) = images.resize {
        let [height, width] = target(resize, [picture.height, picture.width]);
        if height.checked_mul(width).is_none_or(|pixels| pixels > MOST_PIXELS) {
            return Err(InputsError::Size {
                image: image(),
                found: format!("{height}x{width}"),
                expected: format!("at most {MOST_PIXELS} pixels"),
            });
        }
        if [height, width] != [picture.height, picture.width] {
            picture = resized(picture, [height, width], images.filter.unwrap_or(Filter::Bilinear));
        }
    }
    let Some([height, width]) = images.crop else { return Ok(picture) };
    if height > picture.height || width > picture.width {
        return Err(InputsError::Crop {
            image: image(),
            found: format!("{}x{}", picture.height, picture.width),
            crop: format!("{height}x{width}"),
        });
    }
    Ok(cropped(&picture, [height, width]))
}

fn resized(picture: Picture, [height, width]: [usize; 2], filter: Filter) -> Picture {
    let (from_width, from_height) = (picture.width as u32, picture.height as u32);
    let (to_width, to_height) = (width as u32, height as u32);
    let planes = if picture.is_coloured() {
        let pixels = interleaved(picture.planes(), 3);
        let image = RgbImage::from_raw(from_width, from_height, pixels).expect("three bytes a pixel");
        let pixels = imageops::resize(&image, to_width, to_height, filter.kernel()).into_raw();
        (0..3).flat_map(|channel| pixels.iter().copied().skip(channel).step_by(3)).collect()
    } else {
        let image =
            GrayImage::from_raw(from_width, from_height, picture.into_channels(1)).expect("a byte a pixel");
        imageops::resize(&image, to_width, to_height, filter.kernel()).into_raw()
    };
    Picture::of(height, width, planes)
}

/// The values of each pixel side by side, of planes one after the other.
pub(super) fn interleaved<T: Copy>(planes: &[T], channels: usize) -> Vec<T> {
    let plane = planes.len() / channels;
    (0..plane).flat_map(|pixel| (0..channels).map(move |channel| planes[channel * plane + pixel])).collect()
}

fn cropped(picture: &Picture, [height, width]: [usize; 2]) -> Picture {
    // torchvision rounds a half to the even side.
    let margin = |whole: usize, part: usize| ((whole - part) as f64 / 2.0).round_ties_even() as usize;
    let (top, left) = (margin(picture.height, height), margin(picture.width, width));
    let rows = picture.planes().chunks_exact(picture.width).enumerate();
    let inside = rows.filter(|(row, _)| (top..top + height).contains(&(row % picture.height)));
    Picture::of(height, width, inside.flat_map(|(_, row)| &row[left..left + width]).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> String {
        "it".to_owned()
    }

    #[test]
    fn the_short_side_keeps_proportions_and_the_long_one_is_rounded_down() {
        assert_eq!(target(Resize::ShortSide(256), [375, 500]), [256, 341]);
        assert_eq!(target(Resize::ShortSide(256), [500, 375]), [341, 256]);
        assert_eq!(target(Resize::ShortSide(256), [100, 100]), [256, 256]);
        assert_eq!(target(Resize::To([3, 4]), [100, 100]), [3, 4]);
    }

    #[test]
    fn the_centre_is_cut_out_and_halves_go_to_the_even_side() {
        let picture = Picture::of(3, 4, (0..12).chain(20..32).chain(40..52).collect());
        let centre = Images { crop: Some([1, 2]), ..Images::default() };
        let found = sized(picture.clone(), &centre, &name).unwrap();
        assert_eq!(found, Picture::of(1, 2, vec![5, 6, 25, 26, 45, 46]));
        // A margin of 1 / 2 is 0, one of 3 / 2 is 2.
        let odd = Images { crop: Some([2, 1]), ..Images::default() };
        assert_eq!(sized(picture.clone(), &odd, &name).unwrap().planes()[..2], [2, 6]);
        let large = Images { crop: Some([4, 4]), ..Images::default() };
        assert!(sized(picture, &large, &name).unwrap_err().to_string().contains("3x4"));
    }

    #[test]
    fn every_filter_keeps_an_even_image_even_and_planes_apart() {
        let planes: Vec<u8> = [10, 100, 200].iter().flat_map(|&value| [value; 35]).collect();
        for &filter in Filter::ALL {
            for size in [[3, 3], [14, 9]] {
                let to = Images { resize: Some(Resize::To(size)), filter: Some(filter), ..Images::default() };
                let found = sized(Picture::of(5, 7, planes.clone()), &to, &name).unwrap();
                let plane = size[0] * size[1];
                let expected: Vec<u8> = [10, 100, 200].iter().flat_map(|&value| vec![value; plane]).collect();
                assert_eq!(found.planes(), expected, "{filter}");
            }
        }
    }

    #[test]
    fn an_absurd_proportion_is_refused() {
        let long = Picture::of(1, 60_000, vec![0; 60_000]);
        let short_side = Images { resize: Some(Resize::ShortSide(1 << 14)), ..Images::default() };
        assert!(matches!(sized(long, &short_side, &name), Err(InputsError::Size { .. })));
    }
}
