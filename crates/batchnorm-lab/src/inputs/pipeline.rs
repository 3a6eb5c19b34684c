//! From pixels to values: the settings for images, made definite by the input that they go to.

use super::images::{Colours, Images, Layout, PixelRange};
use super::resize::{interleaved, sized};
use super::spec::shape;
use super::{InputSpec, InputsError, Shift};
use crate::data::picture::Picture;

/// What is done to each image.
#[derive(Debug)]
pub(super) struct Pipeline {
    images: Images,
    layout: Layout,
    pub(super) colours: Colours,
    /// The input's dimensions without batch and channels, or all of them as one.
    wanted: Wanted,
    range: PixelRange,
    /// One for each channel, in the order of the channels.
    mean: Vec<f32>,
    std: Vec<f32>,
    white: f32,
    /// Whether the input takes whole numbers.
    whole: bool,
    shift: Option<Shift>,
    /// What becomes of each byte in each channel.
    tables: Vec<[f32; 256]>,
    /// The size of the first image, and which it was.
    first: Option<([usize; 2], String)>,
}

/// What the input takes.
#[derive(Debug)]
enum Wanted {
    /// Height and width, with an axis of channels or without.
    Planes { size: [Option<usize>; 2], channels: bool },
    /// All values in a row.
    Row(Option<usize>),
}

impl Pipeline {
    /// Makes the settings definite. `grey` is whether the images have no colours for all one knows.
    pub(super) fn new(
        images: &Images,
        input: &InputSpec,
        grey: bool,
        white: f32,
        shift: Option<Shift>,
    ) -> Result<Self, InputsError> {
        images.validate()?;
        let wrong = |problem: String| InputsError::Settings { problem };
        let by_data = if grey { Colours::Grey } else { Colours::Rgb };
        let (layout, wanted, colours) = match input.dims[..] {
            [_, a, b, c] => {
                let is_channels = |dim: Option<usize>| matches!(dim, Some(1 | 3));
                let last = is_channels(c) && !is_channels(a) && a.is_some();
                let guess = if last { Layout::ChannelsLast } else { Layout::ChannelsFirst };
                let layout = images.layout.unwrap_or(guess);
                let (channels, size) = match layout {
                    Layout::ChannelsFirst => (a, [b, c]),
                    Layout::ChannelsLast => (c, [a, b]),
                };
                let colours = match channels {
                    Some(1) => Colours::Grey,
                    Some(3) => Colours::Rgb,
                    None => by_data,
                    Some(other) => {
                        return Err(wrong(format!(
                            "the model's input {input} has {other} channels with the layout {layout}, and images have 1 \
                             or 3; say another layout, or give arrays"
                        )));
                    }
                };
                let colours = images.colours.unwrap_or(colours);
                if channels.is_some_and(|channels| channels != colours.channels()) {
                    return Err(wrong(format!(
                        "`{colours}` is {} channels, and the model's input {input} with the layout {layout}; say other colours",
                        colours.channels()
                    )));
                }
                (layout, Wanted::Planes { size, channels: true }, colours)
            }
            [_, height, width] => {
                let colours = images.colours.unwrap_or(Colours::Grey);
                if colours != Colours::Grey {
                    return Err(wrong(format!(
                        "`{colours}` is 3 channels, and the model's input {input} has no axis for them; say `grey`"
                    )));
                }
                let wanted = Wanted::Planes { size: [height, width], channels: false };
                (Layout::ChannelsFirst, wanted, colours)
            }
            [_, values] => (
                images.layout.unwrap_or(Layout::ChannelsFirst),
                Wanted::Row(values),
                images.colours.unwrap_or(by_data),
            ),
            _ => return Err(InputsError::NotForImages { input: input.to_string() }),
        };
        let channels = colours.channels();
        let for_each = |values: &Option<Vec<f32>>, otherwise: f32, what: &str| {
            let mut values = values.clone().unwrap_or_default();
            match values.len() {
                0 => values = vec![otherwise; channels],
                1 => values = vec![values[0]; channels],
                found if found == channels => {}
                found => {
                    return Err(wrong(format!(
                        "expected {what} for each of {channels} channels, or one for all; found {found}"
                    )));
                }
            }
            if colours == Colours::Bgr {
                values.reverse();
            }
            Ok(values)
        };
        let by_type = if input.element.is_float() { PixelRange::Unit } else { PixelRange::Bytes };
        let mut pipeline = Self {
            layout,
            colours,
            wanted,
            range: images.range.unwrap_or(by_type),
            mean: for_each(&images.mean, 0.0, "a mean")?,
            std: for_each(&images.std, 1.0, "a standard deviation")?,
            white,
            whole: !input.element.is_float(),
            shift,
            tables: Vec::new(),
            images: images.clone(),
            first: None,
        };
        pipeline.tables = (0..channels)
            .map(|channel| std::array::from_fn(|pixel| pipeline.of_pixel(pixel as f32, channel)))
            .collect();
        Ok(pipeline)
    }

    /// What becomes of a pixel from 0 to white.
    fn of_pixel(&self, pixel: f32, channel: usize) -> f32 {
        if self.range == PixelRange::Bytes && self.images.binarize.is_none() {
            // Not by way of the number from 0 to 1, whose rounding would be seen.
            return self.standardized(pixel * (255.0 / self.white), channel);
        }
        self.of_shifted(pixel / self.white, channel)
    }

    /// What becomes of a pixel from 0 to 1.
    fn of_shifted(&self, x: f32, channel: usize) -> f32 {
        let x = match self.images.binarize {
            Some(threshold) if x > threshold => 1.0,
            Some(_) => 0.0,
            None => x,
        };
        let x = match self.range {
            PixelRange::Unit => x,
            PixelRange::Bytes => x * 255.0,
            PixelRange::Symmetric => 2.0 * x - 1.0,
        };
        self.standardized(x, channel)
    }

    fn standardized(&self, x: f32, channel: usize) -> f32 {
        let x = (x - self.mean[channel]) / self.std[channel];
        if self.whole { x.round() } else { x }
    }

    /// Where the channels are in what it makes; `None` if they have no axis.
    pub(super) fn channel_axis(&self) -> Option<usize> {
        match (&self.wanted, self.layout) {
            (Wanted::Planes { channels: true, .. }, Layout::ChannelsFirst) => Some(1),
            (Wanted::Planes { channels: true, .. }, Layout::ChannelsLast) => Some(3),
            _ => None,
        }
    }

    /// Whether means or deviations are given.
    pub(super) fn standardizes(&self) -> bool {
        let given = |values: &Option<Vec<f32>>| values.as_ref().is_some_and(|values| !values.is_empty());
        given(&self.images.mean) || given(&self.images.std)
    }

    /// Whether pixels are to be as large as bytes.
    pub(super) fn keeps_bytes(&self) -> bool {
        self.range == PixelRange::Bytes
    }

    /// The dimensions of a sample; known once an image was seen.
    pub(super) fn sample(&self) -> Option<Vec<usize>> {
        let (&[height, width], channels) = (&self.first.as_ref()?.0, self.colours.channels());
        Some(match (&self.wanted, self.layout) {
            (Wanted::Row(_), _) => vec![channels * height * width],
            (Wanted::Planes { channels: false, .. }, _) => vec![height, width],
            (_, Layout::ChannelsFirst) => vec![channels, height, width],
            (_, Layout::ChannelsLast) => vec![height, width, channels],
        })
    }

    /// Appends what becomes of the image at a place. `image` says which it is.
    pub(super) fn apply(
        &mut self,
        picture: Picture,
        place: u64,
        image: &dyn Fn() -> String,
        out: &mut Vec<f32>,
    ) -> Result<(), InputsError> {
        let picture = if self.colours == Colours::Grey { grey(picture) } else { picture };
        let picture = sized(picture, &self.images, image)?;
        let size = [picture.height, picture.width];
        self.check(size, image)?;
        let channels = self.colours.channels();
        let plane = size[0] * size[1];
        let mut planes = picture.into_channels(channels);
        if self.colours == Colours::Bgr {
            let (red, rest) = planes.split_at_mut(plane);
            red.swap_with_slice(&mut rest[plane..]);
        }
        let mut values: Vec<f32>;
        if let Some(shift) = self.shift {
            values = planes.iter().map(|&pixel| f32::from(pixel) / self.white).collect();
            shift.apply(place, &mut values);
            for (channel, values) in values.chunks_exact_mut(plane).enumerate() {
                values.iter_mut().for_each(|x| *x = self.of_shifted(*x, channel));
            }
        } else {
            values = Vec::with_capacity(planes.len());
            for (planes, table) in planes.chunks_exact(plane).zip(&self.tables) {
                values.extend(planes.iter().map(|&pixel| table[usize::from(pixel)]));
            }
        }
        match self.layout {
            Layout::ChannelsFirst => out.extend_from_slice(&values),
            Layout::ChannelsLast => out.extend(interleaved(&values, channels)),
        }
        Ok(())
    }

    /// Whether the model takes an image of this size, and it is of the size of those before.
    fn check(&mut self, size: [usize; 2], image: &dyn Fn() -> String) -> Result<(), InputsError> {
        let refused =
            |expected: String| Err(InputsError::Size { image: image(), found: shape(&size), expected });
        match self.wanted {
            Wanted::Planes { size: [height, width], .. } => {
                if [height, width]
                    .iter()
                    .zip(size)
                    .any(|(wanted, found)| wanted.is_some_and(|dim| dim != found))
                {
                    let words = [height, width].map(|dim| dim.map_or("any".to_owned(), |dim| dim.to_string()));
                    return refused(format!("{}, which the model takes", words.join("x")));
                }
            }
            Wanted::Row(values) => {
                let found = size[0] * size[1] * self.colours.channels();
                if values.is_some_and(|values| values != found) {
                    let values = values.unwrap_or_default();
                    return refused(format!(
                        "{values} values in all, which the model takes, of {} for each pixel",
                        self.colours.channels()
                    ));
                }
            }
        }
        match &self.first {
            Some((first, like)) if *first != size => {
                let expected = format!("{}, as {like} has it: all samples have one size", shape(first));
                refused(expected)
            }
            Some(_) => Ok(()),
            None => {
                self.first = Some((size, image()));
                Ok(())
            }
        }
    }
}

/// The luma of an image with colours, rounded as Pillow rounds it.
fn grey(picture: Picture) -> Picture {
    if !picture.is_coloured() {
        return picture;
    }
    let plane = picture.height * picture.width;
    let (red, rest) = picture.planes().split_at(plane);
    let (green, blue) = rest.split_at(plane);
    let luma = red.iter().zip(green).zip(blue).map(|((&red, &green), &blue)| {
        // 0.299, 0.587 and 0.114 in units of 2^-16.
        ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
    });
    Picture::of(picture.height, picture.width, luma.collect())
}
