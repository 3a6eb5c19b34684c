//! Samples in batches.

use std::path::Path;

use super::npy::Array;
use super::order::Order;
use super::pictures::Pictures;
use super::pipeline::Pipeline;
use super::recognise::{self, Found};
use super::spec::{listed, shape};
use super::summary::{self, Expected};
use super::{ChannelSummary, Element, Images, InputSpec, InputsError, Shift, fingerprint};
use crate::data::Access;
use crate::names::named;

named! {
    /// A part of a data set that was published in two.
    pub enum Part, "part" {
        /// The part to train on.
        Train = "train",
        /// The part to test on.
        Test = "test",
    }
}

/// What is taken of the data, and what is done to it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The part, of data that have two.
    pub part: Part,
    /// What is done to images, as the user says.
    pub images: Images,
    /// What the model says of its images, where the user says nothing: [`Images::of_metadata`].
    pub model_images: Option<Images>,
    /// The most samples; `None` for all of them.
    pub limit: Option<u64>,
    /// The seed of the order of the samples; `None` for the order they lie in.
    pub shuffle: Option<u64>,
    /// What images are shifted by.
    pub shift: Option<Shift>,
    /// The seed of random samples.
    pub seed: u64,
}

impl Default for Options {
    /// All samples of the part to train on, as they lie.
    fn default() -> Self {
        Self {
            part: Part::Train,
            images: Images::default(),
            model_images: None,
            limit: None,
            shuffle: None,
            shift: None,
            seed: 0,
        }
    }
}

/// The values of an input in a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedArray {
    /// The input's name.
    pub name: String,
    /// Its dimensions, the first of them the batch.
    pub dims: Vec<usize>,
    /// Its values, the last dimension varying fastest. Of whole numbers they are exact.
    pub values: Vec<f32>,
}

/// Some samples.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleBatch {
    /// An array for each input, in the inputs' order.
    pub inputs: Vec<NamedArray>,
    /// The class of each sample, where the data tell.
    pub labels: Option<Vec<u32>>,
}

impl SampleBatch {
    /// The number of samples.
    pub fn len(&self) -> usize {
        self.inputs.first().map_or(0, |input| input.dims[0])
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Samples for a model, read batch by batch.
///
/// ```
/// use batchnorm_lab::data::Access;
/// use batchnorm_lab::inputs::{Element, InputSpec, Options, Part, Samples};
///
/// let x = InputSpec::new("x", Element::F32, &[None, Some(1), Some(8), Some(8)]);
/// let options = Options { part: Part::Test, limit: Some(100), shuffle: Some(1), ..Options::default() };
/// let mut samples = Samples::open("digits".as_ref(), &[x], &options, &mut Access::none())?;
/// assert_eq!(samples.len(), Some(100));
/// let last = samples.batch(96, 32)?;
/// assert_eq!(last.inputs[0].dims, [4, 1, 8, 8]);
/// assert_eq!(last.labels.unwrap().len(), 4);
/// # Ok::<(), batchnorm_lab::inputs::InputsError>(())
/// ```
#[derive(Debug)]
pub struct Samples {
    inputs: Vec<InputSpec>,
    name: String,
    order: Order,
    source: Source,
    by_class: Option<u64>,
    /// What the order, the images and the shift are, for the fingerprint.
    settings: String,
}

#[derive(Debug)]
enum Source {
    Given(Found),
    Pictures(Box<Pictures>, Box<Pipeline>),
}

impl Samples {
    /// Opens a file, a folder, a data set by its name, or [`RANDOM`](super::RANDOM) numbers, for a model's inputs.
    ///
    /// `access` says where published data sets are kept; nothing else asks for it.
    ///
    /// # Errors
    ///
    /// If there is no such thing, it is damaged, or not what the inputs take.
    pub fn open(
        data: &Path,
        inputs: &[InputSpec],
        options: &Options,
        access: &mut Access<'_>,
    ) -> Result<Self, InputsError> {
        options.images.validate()?;
        options.shift.iter().try_for_each(Shift::validate)?;
        let images = options.images.or(options.model_images.as_ref().unwrap_or(&Images::default()));
        let found = as_images(recognise::find(data, inputs, options, access)?, inputs, options);
        let name = data.display().to_string();
        if found.len() == Some(0) {
            return Err(InputsError::Empty { path: name });
        }
        let order = Order::new(found.len(), options.limit, options.shuffle);
        if order.len() == Some(0) {
            return Err(InputsError::NoneWanted);
        }
        let settings = format!(
            "{:?} {:?} {:?} {:?} {} {} {inputs:?}",
            options.limit,
            options.shuffle,
            options.shift,
            options.part,
            options.seed,
            serde_json::to_string(&images).expect("numbers, texts and lists have a JSON form"),
        );
        let mut by_class = None;
        let source = match found {
            Found::Pictures(pictures) => {
                let [input] = inputs else {
                    let inputs = listed(inputs.iter().map(|input| input.name.as_str()));
                    return Err(InputsError::OneForMany { path: name, inputs });
                };
                by_class = pictures.by_class.then(|| pictures.len());
                let pipeline = Pipeline::new(&images, input, pictures.grey, pictures.white, options.shift)?;
                Source::Pictures(Box::new(pictures), Box::new(pipeline))
            }
            found => {
                let mut said = options.images.said();
                if options.shift.is_some() {
                    said += if said.is_empty() { "shift" } else { ", shift" };
                }
                if !said.is_empty() {
                    return Err(InputsError::NotImages { path: name, settings: said });
                }
                check_arrays(&found, inputs)?;
                Source::Given(found)
            }
        };
        Ok(Self { inputs: inputs.to_vec(), name, order, source, by_class, settings })
    }

    /// The number of samples; `None` if there is no end to them.
    pub fn len(&self) -> Option<u64> {
        self.order.len()
    }

    /// Whether there are no samples: never, as that is an error of [`Samples::open`].
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The model's inputs.
    pub fn inputs(&self) -> &[InputSpec] {
        &self.inputs
    }

    /// The names of the classes, where the data have such: the folders', or the data set's.
    pub fn class_names(&self) -> Option<&[String]> {
        match &self.source {
            Source::Pictures(pictures, _) => pictures.class_names.as_deref(),
            Source::Given(_) => None,
        }
    }

    /// Up to `count` samples from `start` on; fewer at the end. The same samples have the same bits in any batch.
    ///
    /// # Errors
    ///
    /// If `start` is past the end or `count` is 0, a file cannot be read, an image has another size than the model takes, or
    /// a value is none of the input's type.
    pub fn batch(&mut self, start: u64, count: usize) -> Result<SampleBatch, InputsError> {
        if count == 0 {
            return Err(InputsError::NoneWanted);
        }
        let places = self.order.places(start, count);
        if places.is_empty() {
            return Err(InputsError::PastEnd { start, count: self.len().unwrap_or(u64::MAX) });
        }
        let (values, samples, labels) = match &mut self.source {
            Source::Given(Found::Arrays(arrays, labels)) => {
                let values =
                    arrays.iter_mut().map(|array| array.values(&places)).collect::<Result<Vec<_>, _>>()?;
                let labels =
                    labels.as_ref().map(|labels| places.iter().map(|&place| labels[place as usize]).collect());
                (values, arrays.iter().map(|array| array.sample().to_vec()).collect(), labels)
            }
            Source::Given(Found::Tensors(tensors)) => (tensors.values(&places)?, tensors.samples.clone(), None),
            Source::Given(Found::Random(random)) => {
                (random.values(&places, &self.inputs), random.samples.clone(), None)
            }
            Source::Given(Found::Pictures(_)) => unreachable!("images have a pipeline"),
            Source::Pictures(pictures, pipeline) => {
                let (values, labels) = pictured(pictures, pipeline, &places)?;
                (vec![values], pipeline.sample().into_iter().collect(), labels)
            }
        };
        let inputs = self.inputs.iter().zip(values).zip(samples);
        let named = |((input, values), sample): ((&InputSpec, Vec<f32>), Vec<usize>)| {
            exact(&values, input, &self.name)?;
            let dims = std::iter::once(places.len()).chain(sample).collect();
            Ok(NamedArray { name: input.name.clone(), dims, values })
        };
        Ok(SampleBatch { inputs: inputs.map(named).collect::<Result<_, InputsError>>()?, labels })
    }

    /// All samples in batches of a size, the last of which may be smaller. After an error it ends.
    pub fn batches(&mut self, size: usize) -> impl Iterator<Item = Result<SampleBatch, InputsError>> {
        let (mut start, mut failed) = (0_u64, false);
        std::iter::from_fn(move || {
            if failed || self.len().is_some_and(|count| start >= count) {
                return None;
            }
            let batch = self.batch(start, size);
            start = start.saturating_add(size as u64);
            failed = batch.is_err();
            Some(batch)
        })
    }

    /// What the numbers of a batch look like, channel for channel.
    pub fn summary(&self, batch: &SampleBatch) -> Vec<ChannelSummary> {
        let axis = |array: &NamedArray| match &self.source {
            Source::Pictures(_, pipeline) => pipeline.channel_axis(),
            Source::Given(_) => match array.dims[..] {
                // Few channels behind and many before are a width before and channels behind.
                [_, a, _, 1 | 3] if a > 3 => Some(3),
                [_, _, _, ..] => Some(1),
                _ => None,
            },
        };
        batch.inputs.iter().flat_map(|array| ChannelSummary::of(array, axis(array))).collect()
    }

    /// What looks wrong about the numbers or about the choice of samples, in words: a range that models seldom take, a
    /// constant channel, values that are no numbers, means or deviations that are those of other data, samples of a few
    /// classes only.
    pub fn warnings(&self, summary: &[ChannelSummary]) -> Vec<String> {
        let mut warnings = Vec::new();
        if let (Some(all), Some(taken), Order::Stored(_)) = (self.by_class, self.len(), &self.order)
            && taken < all
        {
            warnings.push(format!(
                "the first {taken} of {all} images are taken, and they come class after class: shuffle them, or they are of \
                 a few classes only"
            ));
        }
        for channel in summary {
            let whole =
                self.inputs.iter().any(|input| input.name == channel.input && !input.element.is_float());
            let expected = match &self.source {
                Source::Pictures(_, pipeline) => {
                    Expected { standardized: pipeline.standardizes(), bytes: pipeline.keeps_bytes(), whole }
                }
                Source::Given(_) => Expected { whole, ..Expected::default() },
            };
            warnings.extend(summary::warnings(channel, expected));
        }
        warnings
    }

    /// What tells these samples from others, wherever they lie: a checksum of their number, of the options, and of their
    /// contents, of which it sees 64 excerpts where they are large. It shows data that were mixed up; it does not prove that
    /// no value was changed.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn fingerprint(&mut self) -> Result<String, InputsError> {
        let mut parts = vec![self.settings.clone().into_bytes()];
        parts.extend(match &mut self.source {
            Source::Given(found) => fingerprint::given(found)?,
            Source::Pictures(pictures, _) => fingerprint::pictures(&mut pictures.store)?,
        });
        Ok(fingerprint::of(&parts))
    }
}

/// An array of bytes for an input of floats is of images, where anything is said of images.
fn as_images(found: Found, inputs: &[InputSpec], options: &Options) -> Found {
    let said = !options.images.is_silent() || options.model_images.is_some() || options.shift.is_some();
    let floats = inputs.iter().all(|input| input.element.is_float());
    match found {
        Found::Arrays(mut arrays, labels)
            if said && floats && arrays.len() == 1 && arrays[0].header.element == Element::U8 =>
        {
            match Pictures::bytes(arrays.remove(0), labels.clone()) {
                Ok(pictures) => Found::Pictures(pictures),
                Err(array) => Found::Arrays(vec![array], labels),
            }
        }
        found => found,
    }
}

/// Whether the arrays are what the inputs take, and all of as many samples.
fn check_arrays(found: &Found, inputs: &[InputSpec]) -> Result<(), InputsError> {
    let Found::Arrays(arrays, labels) = found else { return Ok(()) };
    for (array, input) in arrays.iter().zip(inputs) {
        if !input.takes(array.sample()) {
            return Err(mismatch(array, input));
        }
    }
    let counts = |other: String, other_count: u64| InputsError::Counts {
        one: arrays[0].name.clone(),
        one_count: arrays[0].len(),
        other,
        other_count,
    };
    if let Some(other) = arrays.iter().find(|array| array.len() != arrays[0].len()) {
        return Err(counts(other.name.clone(), other.len()));
    }
    match labels {
        Some(labels) if labels.len() as u64 != arrays[0].len() => {
            Err(counts("labels".to_owned(), labels.len() as u64))
        }
        _ => Ok(()),
    }
}

fn mismatch(array: &Array, input: &InputSpec) -> InputsError {
    let mut hint = "";
    let sample = array.sample();
    if let &[a, b, c] = sample {
        let others = [
            ([c, a, b], "; the channels are last: transpose it with (0, 3, 1, 2)"),
            ([b, c, a], "; the channels are first: transpose it with (0, 2, 3, 1)"),
        ];
        if let Some((_, words)) = others.iter().find(|(dims, _)| input.takes(dims)) {
            hint = words;
        }
    } else if input.takes(&array.header.dims) {
        hint = "; it has no axis of samples: save array[numpy.newaxis]";
    } else if array.header.element == Element::U8 && sample.len() == 2 {
        hint = "; of images in bytes, say what is to be done to them, as by a preset";
    }
    InputsError::Shape {
        array: array.name.clone(),
        found: shape(&array.header.dims),
        input: input.name.clone(),
        expected: input.dims_in_words(),
        hint,
    }
}

/// Values and labels of the images at these places.
fn pictured(
    pictures: &mut Pictures,
    pipeline: &mut Pipeline,
    places: &[u64],
) -> Result<(Vec<f32>, Option<Vec<u32>>), InputsError> {
    let (mut values, mut labels) = (Vec::new(), Vec::with_capacity(places.len()));
    for &place in places {
        let (picture, label) = pictures.read(place)?;
        pipeline.apply(picture, place, &|| pictures.image(place), &mut values)?;
        labels.extend(label);
    }
    let labels = (labels.len() == places.len()).then_some(labels);
    Ok((values, labels))
}

/// Whether values are of the input's type, if that is of whole numbers.
fn exact(values: &[f32], input: &InputSpec, name: &str) -> Result<(), InputsError> {
    const EXACT: f64 = 16_777_216.0;
    let Some((lowest, highest)) = input.element.limits() else { return Ok(()) };
    let (lowest, highest) = (lowest.max(-EXACT), highest.min(EXACT));
    let fits = |value: f32| value.fract() == 0.0 && (lowest..=highest).contains(&f64::from(value));
    match values.iter().find(|&&value| !fits(value)) {
        Some(&found) => Err(InputsError::Inexact {
            array: name.to_owned(),
            found,
            input: input.name.clone(),
            element: input.element.to_string(),
        }),
        None => Ok(()),
    }
}
