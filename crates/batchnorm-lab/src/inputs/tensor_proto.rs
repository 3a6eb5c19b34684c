//! ONNX's TensorProto, a tensor in a file of its own: `input_0.pb`, and folders of them as ONNX's test data come.
//!
//! ```text
//! dims 1, data_type 2, float_data 4, int32_data 5, int64_data 7, name 8, raw_data 9, double_data 10, uint64_data 11,
//! data_location 14
//! ```
//!
//! Source: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>.

use std::fs;
use std::path::{Path, PathBuf};

use batchnorm_model::onnx::wire::{Field, Payload, Reader};

use super::spec::{listed, shape};
use super::{Element, InputSpec, InputsError};

/// A tensor of a file.
#[derive(Debug)]
struct Tensor {
    name: String,
    dims: Vec<usize>,
    values: Vec<f32>,
}

/// Whether the values are wanted, or only what is said of them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Header,
    Values,
}

/// The number of an element type, and the field that holds its values where they are not raw.
fn element(number: u64) -> Option<(Element, u32)> {
    Some(match number {
        1 => (Element::F32, 4),
        2 => (Element::U8, 5),
        3 => (Element::I8, 5),
        4 => (Element::U16, 5),
        5 => (Element::I16, 5),
        6 => (Element::I32, 5),
        7 => (Element::I64, 7),
        9 => (Element::Bool, 5),
        10 => (Element::F16, 5),
        11 => (Element::F64, 10),
        12 => (Element::U32, 11),
        13 => (Element::U64, 11),
        16 => (Element::Bf16, 5),
        _ => return None,
    })
}

impl Tensor {
    fn read(path: &Path, want: Want) -> Result<Self, InputsError> {
        let bytes =
            fs::read(path).map_err(|source| InputsError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&bytes, path, want)
    }

    fn parse(bytes: &[u8], path: &Path, want: Want) -> Result<Self, InputsError> {
        let wire = |source| InputsError::Wire { path: path.to_owned(), source };
        let wrong = |expected: &str, found: String| InputsError::Tensor {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found,
        };
        let (mut dims, mut data_type, mut name, mut raw) = (Vec::new(), 0, String::new(), None);
        for field in Reader::new(bytes) {
            let field = field.map_err(wire)?;
            match field.number {
                1 => field.int64s(&mut dims).map_err(wire)?,
                2 => data_type = field.varint().map_err(wire)?,
                8 => name = field.text().map_err(wire)?.to_owned(),
                9 => raw = Some(field.bytes().map_err(wire)?),
                14 if field.varint().map_err(wire)? != 0 => {
                    return Err(wrong("values in the file itself", "values in another file".to_owned()));
                }
                _ => {}
            }
        }
        let Some((element, field_number)) = element(data_type) else {
            return Err(wrong("a tensor of numbers", format!("the element type {data_type}")));
        };
        let sizes: Option<Vec<usize>> = dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let count = sizes
            .as_ref()
            .and_then(|sizes| sizes.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim)));
        let (Some(sizes), Some(count)) = (sizes, count) else {
            return Err(wrong("dimensions that a file can have", format!("{dims:?}")));
        };
        let mut values = Vec::new();
        let found = match raw {
            Some(raw) => {
                if want == Want::Values {
                    element.decode(raw, false, &mut values);
                }
                // A part of an element is as wrong as one too few.
                raw.len().div_ceil(element.bytes())
            }
            None => {
                let mut found = 0;
                for field in Reader::new(bytes) {
                    let field = field.map_err(wire)?;
                    if field.number == field_number {
                        let before = values.len();
                        typed(&field, element, &mut values).map_err(wire)?;
                        found += values.len() - before;
                        if want == Want::Header {
                            values.clear();
                        }
                    }
                }
                found
            }
        };
        if found != count || raw.is_some_and(|raw| !raw.len().is_multiple_of(element.bytes())) {
            return Err(wrong(
                &format!("{count} values, by its dimensions {}", shape(&sizes)),
                found.to_string(),
            ));
        }
        Ok(Self { name, dims: sizes, values })
    }
}

/// The values of a field that is not raw, one or several packed.
fn typed(field: &Field<'_>, element: Element, out: &mut Vec<f32>) -> Result<(), batchnorm_model::WireError> {
    match element {
        Element::F32 | Element::F64 => {
            if let Payload::Bytes(packed) = field.payload {
                element.decode(packed, false, out);
            } else if element == Element::F32 {
                out.push(field.float()?);
            } else {
                out.push(field.double()? as f32);
            }
        }
        _ => {
            let mut whole = Vec::new();
            field.int64s(&mut whole)?;
            // The lowest bytes of each are the element's own.
            let bytes = element.bytes();
            for value in whole {
                element.decode(&value.to_le_bytes()[..bytes], false, out);
            }
        }
    }
    Ok(())
}

/// One data set of a folder: a file for each input, and the samples in them.
#[derive(Debug)]
struct Set {
    files: Vec<PathBuf>,
    /// The number of the first sample.
    first: u64,
    samples: u64,
}

/// Files of tensors, one data set after the other, joined along the first axis.
#[derive(Debug)]
pub(super) struct Tensors {
    sets: Vec<Set>,
    /// The dimensions of a sample of each input.
    pub(super) samples: Vec<Vec<usize>>,
    /// The set that was read last, and its values.
    latest: Option<(usize, Vec<Vec<f32>>)>,
}

impl Tensors {
    /// A file, for a model of one input.
    pub(super) fn file(path: &Path, inputs: &[InputSpec]) -> Result<Self, InputsError> {
        if inputs.len() != 1 {
            return Err(InputsError::OneForMany {
                path: path.display().to_string(),
                inputs: listed(inputs.iter().map(|input| input.name.as_str())),
            });
        }
        Self::of(vec![vec![path.to_owned()]], inputs)
    }

    /// A folder that has `input_0.pb` and so on, or folders that have; `None` if it has not.
    pub(super) fn folder(path: &Path, inputs: &[InputSpec]) -> Result<Option<Self>, InputsError> {
        if path.join("input_0.pb").is_file() {
            return Self::of(vec![in_folder(path, inputs)?], inputs).map(Some);
        }
        let unreadable = |source| InputsError::Unreadable { path: path.to_owned(), source };
        let mut folders = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.join("input_0.pb").is_file() {
                folders.push(path);
            }
        }
        // test_data_set_10 comes after test_data_set_9.
        let number = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let digits = name.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().to_owned();
            (digits.parse().unwrap_or(u64::MAX), name)
        };
        folders.sort_by_key(number);
        if folders.is_empty() {
            return Ok(None);
        }
        let sets = folders.iter().map(|folder| in_folder(folder, inputs)).collect::<Result<_, _>>()?;
        Self::of(sets, inputs).map(Some)
    }

    fn of(files: Vec<Vec<PathBuf>>, inputs: &[InputSpec]) -> Result<Self, InputsError> {
        let mut sets: Vec<Set> = Vec::with_capacity(files.len());
        let mut samples: Vec<Vec<usize>> = Vec::new();
        let mut first = 0_u64;
        for files in files {
            let read: Vec<(PathBuf, Tensor)> = files
                .into_iter()
                .map(|path| Tensor::read(&path, Want::Header).map(|tensor| (path, tensor)))
                .collect::<Result<_, _>>()?;
            let read = in_order(read, inputs);
            let mut count: Option<(u64, &Path)> = None;
            for ((path, tensor), input) in read.iter().zip(inputs) {
                let name = path.display().to_string();
                let Some((&found, sample)) = tensor.dims.split_first() else {
                    return Err(mismatch(name, &tensor.dims, input));
                };
                if !input.takes(sample) {
                    return Err(mismatch(name, &tensor.dims, input));
                }
                if tensor.dims.contains(&0) {
                    return Err(InputsError::Empty { path: name });
                }
                let found = found as u64;
                match count {
                    Some((expected, like)) if expected != found => {
                        return Err(InputsError::Counts {
                            one: like.display().to_string(),
                            one_count: expected,
                            other: name,
                            other_count: found,
                        });
                    }
                    _ => count = Some((found, path)),
                }
            }
            let dims: Vec<Vec<usize>> = read.iter().map(|(_, tensor)| tensor.dims[1..].to_vec()).collect();
            if samples.is_empty() {
                samples = dims;
            } else if let Some(place) = (0..dims.len()).find(|&place| dims[place] != samples[place]) {
                return Err(InputsError::Tensor {
                    path: read[place].0.clone(),
                    expected: format!("samples of {}, as in the data set before", shape(&samples[place])),
                    found: shape(&dims[place]),
                });
            }
            let count = count.map_or(0, |(count, _)| count);
            sets.push(Set { files: read.into_iter().map(|(path, _)| path).collect(), first, samples: count });
            first += count;
        }
        Ok(Self { sets, samples, latest: None })
    }

    /// The number of samples.
    pub(super) fn len(&self) -> u64 {
        self.sets.last().map_or(0, |set| set.first + set.samples)
    }

    /// The files, set after set.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.sets.iter().flat_map(|set| &set.files).map(PathBuf::as_path)
    }

    /// The samples at these places, for each input.
    pub(super) fn values(&mut self, places: &[u64]) -> Result<Vec<Vec<f32>>, InputsError> {
        let mut values = vec![Vec::new(); self.samples.len()];
        for &place in places {
            let set = self.sets.partition_point(|set| set.first + set.samples <= place);
            if self.latest.as_ref().is_none_or(|(latest, _)| *latest != set) {
                self.latest = None;
                let read = self.sets[set].files.iter().enumerate().map(|(input, path)| {
                    let tensor = Tensor::read(path, Want::Values)?;
                    if tensor.dims[1..] != self.samples[input][..]
                        || tensor.dims[0] as u64 != self.sets[set].samples
                    {
                        return Err(InputsError::Tensor {
                            path: path.clone(),
                            expected: "the dimensions it had when it was opened".to_owned(),
                            found: shape(&tensor.dims),
                        });
                    }
                    Ok(tensor.values)
                });
                self.latest = Some((set, read.collect::<Result<_, InputsError>>()?));
            }
            let Some((_, latest)) = &self.latest else { continue };
            let row = (place - self.sets[set].first) as usize;
            for ((values, latest), sample) in values.iter_mut().zip(latest).zip(&self.samples) {
                let size: usize = sample.iter().product();
                values.extend_from_slice(&latest[row * size..(row + 1) * size]);
            }
        }
        Ok(values)
    }
}

/// The files of a data set, as many as there are inputs.
fn in_folder(folder: &Path, inputs: &[InputSpec]) -> Result<Vec<PathBuf>, InputsError> {
    let file = |index: usize| folder.join(format!("input_{index}.pb"));
    let found = (0..).take_while(|&index| file(index).is_file()).count();
    if found != inputs.len() {
        return Err(InputsError::Tensor {
            path: folder.to_owned(),
            expected: format!(
                "a file input_0.pb and so on for each of the model's inputs {}",
                listed(inputs.iter().map(|input| input.name.as_str()))
            ),
            found: format!("{found} such files"),
        });
    }
    Ok((0..found).map(file).collect())
}

/// The tensors in the order of the inputs: by their names where all inputs are named, else as the files are numbered.
fn in_order(mut read: Vec<(PathBuf, Tensor)>, inputs: &[InputSpec]) -> Vec<(PathBuf, Tensor)> {
    let places: Option<Vec<usize>> =
        inputs.iter().map(|input| read.iter().position(|(_, tensor)| tensor.name == input.name)).collect();
    if let Some(places) = places {
        let mut slots: Vec<_> = read.into_iter().map(Some).collect();
        read = places.into_iter().filter_map(|place| slots[place].take()).collect();
    }
    read
}

fn mismatch(array: String, found: &[usize], input: &InputSpec) -> InputsError {
    InputsError::Shape {
        array,
        found: shape(found),
        input: input.name.clone(),
        expected: input.dims_in_words(),
        hint: "",
    }
}
