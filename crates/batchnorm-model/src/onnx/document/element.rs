//! Types of a tensor's elements.

use std::fmt;

/// A type of elements, as `TensorProto.DataType` numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ElementType {
    /// Single precision.
    Float,
    /// Unsigned bytes.
    Uint8,
    /// Signed bytes.
    Int8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits: shapes.
    Int64,
    /// Truth values, a byte each.
    Bool,
    /// Half precision.
    Float16,
    /// Double precision.
    Double,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Half precision with the exponent of single precision.
    Bfloat16,
    /// Text, complex numbers, eight bits and fewer, and what is added to ONNX after this was written.
    Other(i64),
}

impl ElementType {
    /// The type of this number.
    pub const fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Float,
            2 => Self::Uint8,
            3 => Self::Int8,
            4 => Self::Uint16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            9 => Self::Bool,
            10 => Self::Float16,
            11 => Self::Double,
            12 => Self::Uint32,
            13 => Self::Uint64,
            16 => Self::Bfloat16,
            other => Self::Other(other),
        }
    }

    /// Its number.
    pub const fn number(self) -> i64 {
        match self {
            Self::Float => 1,
            Self::Uint8 => 2,
            Self::Int8 => 3,
            Self::Uint16 => 4,
            Self::Int16 => 5,
            Self::Int32 => 6,
            Self::Int64 => 7,
            Self::Bool => 9,
            Self::Float16 => 10,
            Self::Double => 11,
            Self::Uint32 => 12,
            Self::Uint64 => 13,
            Self::Bfloat16 => 16,
            Self::Other(other) => other,
        }
    }

    /// The bytes of one element; `None` where nothing can be computed with it.
    pub const fn bytes(self) -> Option<u64> {
        match self {
            Self::Uint8 | Self::Int8 | Self::Bool => Some(1),
            Self::Uint16 | Self::Int16 | Self::Float16 | Self::Bfloat16 => Some(2),
            Self::Float | Self::Int32 | Self::Uint32 => Some(4),
            Self::Double | Self::Int64 | Self::Uint64 => Some(8),
            Self::Other(_) => None,
        }
    }

    /// Whether it is a floating-point number.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Double | Self::Float16 | Self::Bfloat16)
    }

    /// The nearest number of a floating-point type; any other type's numbers are taken as they are.
    pub fn round(self, value: f64) -> f64 {
        match self {
            Self::Float => f64::from(value as f32),
            Self::Float16 => half::f16::from_f64(value).to_f64(),
            Self::Bfloat16 => half::bf16::from_f64(value).to_f64(),
            _ => value,
        }
    }

    /// The number in some little-endian bytes, exactly but for integers beyond 2^53.
    pub(super) fn decode(self, bytes: &[u8], out: &mut [f64]) {
        match self {
            Self::Float => each(bytes, out, |b| f64::from(f32::from_le_bytes(b))),
            Self::Double => each(bytes, out, f64::from_le_bytes),
            Self::Float16 => each(bytes, out, |b| half::f16::from_le_bytes(b).to_f64()),
            Self::Bfloat16 => each(bytes, out, |b| half::bf16::from_le_bytes(b).to_f64()),
            Self::Uint8 | Self::Bool => each(bytes, out, |b| f64::from(u8::from_le_bytes(b))),
            Self::Int8 => each(bytes, out, |b| f64::from(i8::from_le_bytes(b))),
            Self::Uint16 => each(bytes, out, |b| f64::from(u16::from_le_bytes(b))),
            Self::Int16 => each(bytes, out, |b| f64::from(i16::from_le_bytes(b))),
            Self::Int32 => each(bytes, out, |b| f64::from(i32::from_le_bytes(b))),
            Self::Uint32 => each(bytes, out, |b| f64::from(u32::from_le_bytes(b))),
            Self::Int64 => each(bytes, out, |b| i64::from_le_bytes(b) as f64),
            Self::Uint64 => each(bytes, out, |b| u64::from_le_bytes(b) as f64),
            Self::Other(_) => {}
        }
    }
}

/// Every `N` bytes are a number.
fn each<const N: usize>(bytes: &[u8], out: &mut [f64], number: impl Fn([u8; N]) -> f64) {
    for (&bytes, out) in bytes.as_chunks().0.iter().zip(out) {
        *out = number(bytes);
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float32",
            Self::Uint8 => "uint8",
            Self::Int8 => "int8",
            Self::Uint16 => "uint16",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Bool => "bool",
            Self::Float16 => "float16",
            Self::Double => "float64",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Bfloat16 => "bfloat16",
            Self::Other(8) => "text",
            Self::Other(14 | 15) => "complex numbers",
            Self::Other(other) => return write!(f, "elements of type {other}"),
        })
    }
}
