//! Which samples a model is run on, and what is done to them.

use std::path::PathBuf;
use std::str::FromStr;

use batchnorm_lab::inputs::{
    Colours, Filter, Images, Layout, Options, Part, PixelRange, Preset, Resize, Shift,
};
use clap::Args;

use super::names;

/// Samples for a model, and what is done to images.
#[derive(Args, Debug)]
pub struct SampleArguments {
    /// The data: .npy, .npz (keys are input names, `labels` the classes), IDX, CIFAR-10 binary files, images, a folder of
    /// images or of ONNX's .pb tensors, a data set by name (digits, mnist, fashion-mnist, cifar10), or `random`
    #[arg(long)]
    pub data: PathBuf,

    /// The part, of a data set that was published in two
    #[arg(long, default_value = Part::Train.name(), value_parser = names(Part::ALL, Part::name))]
    pub part: Part,

    /// The most samples [default: all]
    #[arg(long, value_name = "NUMBER")]
    pub samples: Option<u64>,

    /// Take the samples in the random order of this seed [default: as they lie]
    #[arg(long, value_name = "SEED")]
    pub shuffle: Option<u64>,

    /// The seed of random samples and of noise
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,

    /// Images: settings that go together; any of them may be said otherwise
    #[arg(long, help_heading = "Images", value_parser = names(Preset::ALL, Preset::name))]
    pub preset: Option<Preset>,

    /// Images: where the channels are [default: as the model's input has them]
    #[arg(long, help_heading = "Images", value_parser = names(Layout::ALL, Layout::name))]
    pub layout: Option<Layout>,

    /// Images: the channels and their order
    #[arg(long, help_heading = "Images", value_parser = names(Colours::ALL, Colours::name))]
    pub colours: Option<Colours>,

    /// Images: resize to HEIGHTxWIDTH, or the shorter side to a number of pixels
    #[arg(long, help_heading = "Images", value_name = "SIZE", value_parser = resize)]
    pub resize: Option<Resize>,

    /// Images: cut HEIGHTxWIDTH, or a square, out of the centre
    #[arg(long, help_heading = "Images", value_name = "SIZE", value_parser = crop)]
    pub crop: Option<Crop>,

    /// Images: how pixels are found between pixels
    #[arg(long, help_heading = "Images", value_parser = names(Filter::ALL, Filter::name))]
    pub filter: Option<Filter>,

    /// Images: the values of black and white, before means are subtracted
    #[arg(long, help_heading = "Images", value_parser = names(PixelRange::ALL, PixelRange::name), allow_hyphen_values = true)]
    pub range: Option<PixelRange>,

    /// Images: what is subtracted, one for all channels or one for each of red, green, blue
    #[arg(
        long,
        help_heading = "Images",
        value_name = "NUMBERS",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub mean: Option<Vec<f32>>,

    /// Images: what is divided by afterwards, one for all channels or one for each
    #[arg(long, help_heading = "Images", value_name = "NUMBERS", value_delimiter = ',')]
    pub std: Option<Vec<f32>>,

    /// Images under other light: what is added to pixels from 0 to 1
    #[arg(long, help_heading = "Images", value_name = "NUMBER", allow_hyphen_values = true)]
    pub brightness: Option<f32>,

    /// Images under other light: what the distance to the middle grey is multiplied by
    #[arg(long, help_heading = "Images", value_name = "NUMBER", allow_hyphen_values = true)]
    pub contrast: Option<f32>,

    /// Images under other light: the standard deviation of noise on pixels from 0 to 1
    #[arg(long, help_heading = "Images", value_name = "NUMBER")]
    pub noise: Option<f32>,
}

impl SampleArguments {
    /// What the lab makes of them; `model_images` is what the model says of its images.
    pub fn options(&self, model_images: Option<Images>) -> Options {
        let said = Images {
            layout: self.layout,
            colours: self.colours,
            resize: self.resize,
            crop: self.crop.map(|Crop(size)| size),
            filter: self.filter,
            range: self.range,
            binarize: None,
            mean: self.mean.clone(),
            std: self.std.clone(),
        };
        let images = self.preset.map_or(said.clone(), |preset| said.or(&Images::preset(preset)));
        let shifted = self.brightness.is_some() || self.contrast.is_some() || self.noise.is_some();
        let none = Shift::none();
        let shift = shifted.then(|| Shift {
            brightness: self.brightness.unwrap_or(none.brightness),
            contrast: self.contrast.unwrap_or(none.contrast),
            noise: self.noise.unwrap_or(none.noise),
            seed: self.seed,
        });
        Options {
            part: self.part,
            images,
            model_images,
            limit: self.samples,
            shuffle: self.shuffle,
            shift,
            seed: self.seed,
        }
    }
}

/// Height and width.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crop([usize; 2]);

fn crop(text: &str) -> Result<Crop, String> {
    Ok(match size(text)? {
        Resize::To(size) => Crop(size),
        Resize::ShortSide(side) => Crop([side, side]),
    })
}

fn resize(text: &str) -> Result<Resize, String> {
    size(text)
}

fn size(text: &str) -> Result<Resize, String> {
    let side = |side: &str| {
        usize::from_str(side).map_err(|_| format!("expected a size such as 256 or 224x224, found `{text}`"))
    };
    match text.split_once('x') {
        Some((height, width)) => Ok(Resize::To([side(height)?, side(width)?])),
        None => Ok(Resize::ShortSide(side(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_side_or_two() {
        assert_eq!(resize("256"), Ok(Resize::ShortSide(256)));
        assert_eq!(resize("224x112"), Ok(Resize::To([224, 112])));
        assert_eq!(crop("5"), Ok(Crop([5, 5])));
        assert!(crop("5x").unwrap_err().contains("224x224"));
    }
}
