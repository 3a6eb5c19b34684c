//! What is done to an image before a model sees it, piece by piece: each piece said, or left to a preset, to what the model says
//! of itself, or to its input's shape.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::InputsError;
use crate::data::Preprocessing;
use crate::names::named;
use crate::saved::{Description, SavedModelError};

named! {
    /// Where the channels of images are.
    pub enum Layout, "layout" {
        /// Batch, channels, height, width: a plane for each channel.
        ChannelsFirst = "nchw",
        /// Batch, height, width, channels: the channels of each pixel side by side.
        ChannelsLast = "nhwc",
    }
}

named! {
    /// The channels of images, and their order.
    pub enum Colours, "colour order" {
        /// Red, green, blue. A grey image has the same in all three.
        Rgb = "rgb",
        /// Blue, green, red, as OpenCV and Caffe have it.
        Bgr = "bgr",
        /// One channel, the luma of ITU-R BT.601 where the image has colours.
        Grey = "grey",
    }
}

impl Colours {
    /// The number of channels.
    pub const fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }
}

named! {
    /// How pixels are found between pixels when an image is resized. All but `nearest` widen with the step when an image
    /// shrinks, as Pillow's do and OpenCV's do not.
    pub enum Filter, "filter" {
        /// The nearest pixel.
        Nearest = "nearest",
        /// A triangle.
        Bilinear = "bilinear",
        /// Catmull and Rom's cubic.
        Bicubic = "bicubic",
        /// Lanczos's window of three lobes.
        Lanczos = "lanczos",
    }
}

named! {
    /// The values of black and white, before means are subtracted.
    pub enum PixelRange, "range" {
        /// From 0 to 1.
        Unit = "0..1",
        /// From 0 to 255.
        Bytes = "0..255",
        /// From -1 to 1.
        Symmetric = "-1..1",
    }
}

named! {
    /// Settings that go together.
    pub enum Preset, "preset" {
        /// Short side 256, centre 224x224, RGB, ImageNet's means and deviations.
        Imagenet = "imagenet",
        /// RGB, CIFAR-10's means and deviations.
        Cifar10 = "cifar10",
        /// Grey, MNIST's mean and deviation.
        Mnist = "mnist",
    }
}

/// To what size an image is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resize {
    /// To this height and width, whatever its proportions.
    To([usize; 2]),
    /// So that its shorter side is this, in its proportions.
    ShortSide(usize),
}

/// What is done to an image before a model sees it; what is `None` is left to others: see [`Images::or`].
///
/// ```text
/// resize, then crop from the centre           on pixels of 8 bits
/// x = p / white                               0..1;  times 255 for 0..255;  2x - 1 for -1..1
/// x = 1 if x > binarize, else 0               if asked for
/// x = (x - mean[c]) / std[c]
/// ```
///
/// Where nobody says anything: no resize, no crop, the layout and number of channels of the model's input, `bilinear`,
/// `0..1` (`0..255` where the model takes whole numbers), no means. Means and deviations are in the order red, green, blue
/// whatever the order of the channels is, or one for all.
///
/// ```
/// use batchnorm_lab::inputs::{Images, Preset, Resize};
///
/// let said = Images { resize: Some(Resize::ShortSide(342)), crop: Some([299, 299]), ..Images::default() };
/// let images = said.or(&Images::preset(Preset::Imagenet));
/// assert_eq!((images.crop, images.mean.unwrap()[0]), (Some([299, 299]), 0.485));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Where the channels are.
    #[serde(default)]
    pub layout: Option<Layout>,
    /// The channels and their order.
    #[serde(default)]
    pub colours: Option<Colours>,
    /// The size it is brought to.
    #[serde(default)]
    pub resize: Option<Resize>,
    /// Height and width of what is then cut out of its centre.
    #[serde(default)]
    pub crop: Option<[usize; 2]>,
    /// How it is resized.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// The values of black and white.
    #[serde(default)]
    pub range: Option<PixelRange>,
    /// Above it a pixel becomes 1, else 0, in the range.
    #[serde(default)]
    pub binarize: Option<f32>,
    /// What is subtracted; empty for nothing.
    #[serde(default)]
    pub mean: Option<Vec<f32>>,
    /// What is divided by afterwards; empty for nothing.
    #[serde(default)]
    pub std: Option<Vec<f32>>,
}

impl Images {
    /// The settings of a preset.
    pub fn preset(preset: Preset) -> Self {
        let standard = |colours, mean: &[f32], std: &[f32]| Self {
            colours: Some(colours),
            range: Some(PixelRange::Unit),
            mean: Some(mean.to_vec()),
            std: Some(std.to_vec()),
            ..Self::default()
        };
        match preset {
            Preset::Imagenet => Self {
                resize: Some(Resize::ShortSide(256)),
                crop: Some([224, 224]),
                filter: Some(Filter::Bilinear),
                ..standard(Colours::Rgb, &[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])
            },
            Preset::Cifar10 => standard(Colours::Rgb, &[0.4914, 0.4822, 0.4465], &[0.2470, 0.2435, 0.2616]),
            Preset::Mnist => standard(Colours::Grey, &[0.1307], &[0.3081]),
        }
    }

    /// What a model that `batchnorm train` wrote does to pixels.
    ///
    /// The same bits as [`Preprocessing::apply`]: the pixels' white is that of the data, not the model's.
    pub fn of_saved(preprocessing: &Preprocessing) -> Self {
        Self {
            range: Some(PixelRange::Unit),
            binarize: preprocessing.binarize,
            mean: Some(preprocessing.mean.clone()),
            std: Some(preprocessing.std.clone()),
            ..Self::default()
        }
    }

    /// What the metadata of an ONNX or safetensors file say of its images; `None` if `batchnorm train` did not write it.
    ///
    /// # Errors
    ///
    /// If it has such metadata, and they are unreadable or of another version.
    pub fn of_metadata(
        path: &Path,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Option<Self>, SavedModelError> {
        if !metadata.keys().any(|key| key.starts_with("batchnorm.preprocessing")) {
            return Ok(None);
        }
        Description::read(path, metadata).map(|description| Some(Self::of_saved(&description.preprocessing)))
    }

    /// These settings, and where they say nothing, those of `others`.
    #[must_use]
    pub fn or(&self, others: &Self) -> Self {
        Self {
            layout: self.layout.or(others.layout),
            colours: self.colours.or(others.colours),
            resize: self.resize.or(others.resize),
            crop: self.crop.or(others.crop),
            filter: self.filter.or(others.filter),
            range: self.range.or(others.range),
            binarize: self.binarize.or(others.binarize),
            mean: self.mean.clone().or_else(|| others.mean.clone()),
            std: self.std.clone().or_else(|| others.std.clone()),
        }
    }

    /// Whether nothing is said.
    pub fn is_silent(&self) -> bool {
        *self == Self::default()
    }

    /// The names of what is said.
    pub(super) fn said(&self) -> String {
        let pieces = [
            ("layout", self.layout.is_some()),
            ("colours", self.colours.is_some()),
            ("resize", self.resize.is_some()),
            ("crop", self.crop.is_some()),
            ("filter", self.filter.is_some()),
            ("range", self.range.is_some()),
            ("binarize", self.binarize.is_some()),
            ("mean", self.mean.is_some()),
            ("std", self.std.is_some()),
        ];
        pieces.iter().filter(|(_, said)| *said).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// Checks what can be checked without a model.
    ///
    /// # Errors
    ///
    /// If a size is 0 or absurd, a mean or deviation no number, or a threshold outside its range.
    pub fn validate(&self) -> Result<(), InputsError> {
        const LARGEST: usize = 1 << 14;
        let wrong = |problem: String| Err(InputsError::Settings { problem });
        let sides = match self.resize {
            Some(Resize::To(size)) => size.to_vec(),
            Some(Resize::ShortSide(side)) => vec![side],
            None => Vec::new(),
        };
        for side in sides.iter().chain(self.crop.iter().flatten()) {
            if !(1..=LARGEST).contains(side) {
                return wrong(format!(
                    "a resize or crop must be of 1 to {LARGEST} pixels a side, found {side}"
                ));
            }
        }
        if let Some(found) = self.binarize.filter(|threshold| !(0.0..1.0).contains(threshold)) {
            return wrong(format!("the threshold of black and white must be in [0, 1), found {found}"));
        }
        if let Some(found) = self.mean.iter().flatten().find(|mean| !mean.is_finite()) {
            return wrong(format!("a mean must be a finite number, found {found}"));
        }
        if let Some(found) = self.std.iter().flatten().find(|std| !(std.is_finite() && **std > 0.0)) {
            return wrong(format!("a standard deviation must be a finite number > 0, found {found}"));
        }
        Ok(())
    }
}
