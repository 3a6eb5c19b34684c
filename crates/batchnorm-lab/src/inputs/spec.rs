//! What a model takes: its inputs by name, with the type and the dimensions of each.

use crate::names::named;

named! {
    /// The type of a tensor's elements.
    pub enum Element, "element type" {
        /// 32 bits of floating point.
        F32 = "float32",
        /// 16 bits of floating point.
        F16 = "float16",
        /// The upper 16 bits of an f32.
        Bf16 = "bfloat16",
        /// 64 bits of floating point.
        F64 = "float64",
        /// Whole numbers from 0 to 255.
        U8 = "uint8",
        /// Whole numbers from -128 to 127.
        I8 = "int8",
        /// 16 bits without a sign.
        U16 = "uint16",
        /// 16 bits with a sign.
        I16 = "int16",
        /// 32 bits without a sign.
        U32 = "uint32",
        /// 32 bits with a sign.
        I32 = "int32",
        /// 64 bits without a sign.
        U64 = "uint64",
        /// 64 bits with a sign.
        I64 = "int64",
        /// True or false.
        Bool = "bool",
    }
}

impl Element {
    /// The bytes of an element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 | Self::U16 | Self::I16 => 2,
            Self::F32 | Self::U32 | Self::I32 => 4,
            Self::F64 | Self::U64 | Self::I64 => 8,
        }
    }

    /// Whether it is of floating point.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16 | Self::F64)
    }

    /// The smallest and the largest whole number of an integer type; `None` of floating point.
    pub(super) const fn limits(self) -> Option<(f64, f64)> {
        match self {
            Self::U8 => Some((0.0, 255.0)),
            Self::I8 => Some((-128.0, 127.0)),
            Self::U16 => Some((0.0, 65535.0)),
            Self::I16 => Some((-32768.0, 32767.0)),
            Self::U32 => Some((0.0, u32::MAX as f64)),
            Self::I32 => Some((i32::MIN as f64, i32::MAX as f64)),
            Self::U64 => Some((0.0, u64::MAX as f64)),
            Self::I64 => Some((i64::MIN as f64, i64::MAX as f64)),
            Self::Bool => Some((0.0, 1.0)),
            Self::F32 | Self::F16 | Self::Bf16 | Self::F64 => None,
        }
    }

    /// Appends what little-endian or big-endian bytes hold, each value rounded to f32 once.
    pub(super) fn decode(self, bytes: &[u8], big_endian: bool, out: &mut Vec<f32>) {
        fn each<const N: usize>(bytes: &[u8], swap: bool, out: &mut Vec<f32>, value: impl Fn([u8; N]) -> f32) {
            let (chunks, _) = bytes.as_chunks::<N>();
            out.extend(chunks.iter().map(|&(mut chunk)| {
                if swap {
                    chunk.reverse();
                }
                value(chunk)
            }));
        }
        let swap = big_endian;
        match self {
            Self::F32 => each(bytes, swap, out, f32::from_le_bytes),
            Self::F16 => each(bytes, swap, out, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
            Self::Bf16 => each(bytes, swap, out, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
            Self::F64 => each(bytes, swap, out, |bytes| f64::from_le_bytes(bytes) as f32),
            Self::U8 => each(bytes, swap, out, |[byte]| f32::from(byte)),
            Self::I8 => each(bytes, swap, out, |bytes| f32::from(i8::from_le_bytes(bytes))),
            Self::U16 => each(bytes, swap, out, |bytes| f32::from(u16::from_le_bytes(bytes))),
            Self::I16 => each(bytes, swap, out, |bytes| f32::from(i16::from_le_bytes(bytes))),
            Self::U32 => each(bytes, swap, out, |bytes| u32::from_le_bytes(bytes) as f32),
            Self::I32 => each(bytes, swap, out, |bytes| i32::from_le_bytes(bytes) as f32),
            Self::U64 => each(bytes, swap, out, |bytes| u64::from_le_bytes(bytes) as f32),
            Self::I64 => each(bytes, swap, out, |bytes| i64::from_le_bytes(bytes) as f32),
            Self::Bool => each(bytes, swap, out, |[byte]| if byte == 0 { 0.0 } else { 1.0 }),
        }
    }
}

/// One of a model's inputs.
///
/// ```
/// use batchnorm_lab::inputs::{Element, InputSpec};
///
/// let x = InputSpec::new("x", Element::F32, &[None, Some(3), Some(224), Some(224)]);
/// assert_eq!(x.to_string(), "`x`: float32 of ?x3x224x224");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputSpec {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub element: Element,
    /// Its dimensions, the first of them the batch; `None` where the model takes any.
    pub dims: Vec<Option<usize>>,
}

impl InputSpec {
    /// An input of that name, type and dimensions.
    pub fn new(name: impl Into<String>, element: Element, dims: &[Option<usize>]) -> Self {
        Self { name: name.into(), element, dims: dims.to_vec() }
    }

    /// Whether a sample of these dimensions (without the batch) is one of this input's.
    pub(super) fn takes(&self, sample: &[usize]) -> bool {
        self.dims.len() == sample.len() + 1
            && self.dims[1..].iter().zip(sample).all(|(wanted, found)| wanted.is_none_or(|dim| dim == *found))
    }

    /// Its dimensions in words: `?x3x224x224`.
    pub(super) fn dims_in_words(&self) -> String {
        let dims = self.dims.iter().map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string()));
        if self.dims.is_empty() { "a single value".to_owned() } else { dims.collect::<Vec<_>>().join("x") }
    }
}

impl std::fmt::Display for InputSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {} of {}", self.name, self.element, self.dims_in_words())
    }
}

/// Names in words.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let names: Vec<&str> = names.into_iter().collect();
    let mut words: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    match names.len() {
        0 => return "nothing".to_owned(),
        count if count > SHOWN => words.push(format!("{} more", count - SHOWN)),
        _ => {}
    }
    words.join(", ")
}

/// Dimensions in words.
pub(super) fn shape(dims: &[usize]) -> String {
    if dims.is_empty() {
        return "a single value".to_owned();
    }
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}
