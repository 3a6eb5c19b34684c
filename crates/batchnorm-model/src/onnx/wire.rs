//! Protobuf's wire format: fields in and out, byte for byte.
//!
//! ```text
//! message = field*
//! field   = tag payload,   tag = varint(number << 3 | wire type)
//! payload = varint | 8 bytes | varint(length) bytes | 4 bytes           wire types 0, 1, 2, 5
//! varint  = 7 bits a byte, lowest first, the high bit set in all bytes but the last
//! ```
//!
//! A message is never decoded as a whole. [`Reader`] goes over the raw fields of one; each keeps its own bytes, so that
//! whoever changes a field copies all others exactly as they were, known or not, even where another writer would have
//! encoded them differently:
//!
//! ```
//! use batchnorm_model::onnx::wire::{Reader, Writer};
//!
//! let mut model = Writer::new();
//! model.int64(1, 8);
//! model.text(2, "someone");
//! model.text(99, "a field that nobody knows");
//! let model = model.into_bytes();
//!
//! // Rename the producer, keep the rest.
//! let mut edited = Writer::new();
//! for field in Reader::new(&model) {
//!     let field = field?;
//!     match field.number {
//!         2 => edited.text(2, "batchnorm"),
//!         _ => edited.raw(field.raw),
//!     }
//! }
//! let edited = edited.into_bytes();
//! let producer = Reader::new(&edited).nth(1).unwrap()?;
//! assert_eq!(producer.text()?, "batchnorm");
//! assert!(edited.ends_with(b"a field that nobody knows"));
//! # Ok::<(), batchnorm_model::WireError>(())
//! ```
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

use std::fmt;
use std::ops::Range;

use crate::WireError;

/// The largest field number: 29 bits.
const LAST_NUMBER: u64 = (1 << 29) - 1;

/// How a field is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WireType {
    /// A number of one to ten bytes: integers, booleans, enumerations.
    Varint,
    /// Eight bytes: double, fixed64.
    Fixed64,
    /// A length and as many bytes: text, bytes, messages, packed numbers.
    Bytes,
    /// Four bytes: float, fixed32.
    Fixed32,
}

impl WireType {
    const fn code(self) -> u64 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Bytes => 2,
            Self::Fixed32 => 5,
        }
    }
}

impl fmt::Display for WireType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Varint => "a varint",
            Self::Fixed64 => "eight fixed bytes",
            Self::Bytes => "bytes with a length",
            Self::Fixed32 => "four fixed bytes",
        })
    }
}

/// What a field holds, as far as the wire format tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A number.
    Varint(u64),
    /// The bits of eight bytes.
    Fixed64(u64),
    /// Text, bytes, a message or packed numbers: only the message's definition knows.
    Bytes(&'a [u8]),
    /// The bits of four bytes.
    Fixed32(u32),
}

impl Payload<'_> {
    /// How it is encoded.
    pub fn wire_type(&self) -> WireType {
        match self {
            Self::Varint(_) => WireType::Varint,
            Self::Fixed64(_) => WireType::Fixed64,
            Self::Bytes(_) => WireType::Bytes,
            Self::Fixed32(_) => WireType::Fixed32,
        }
    }
}

/// One field of a message, with the bytes that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number in the message's definition.
    pub number: u32,
    /// What it holds.
    pub payload: Payload<'a>,
    /// All of its bytes, tag and length included: what [`Writer::raw`] takes.
    pub raw: &'a [u8],
    /// Where `raw` lies in the bytes of the outermost [`Reader`].
    pub range: Range<usize>,
}

impl<'a> Field<'a> {
    /// An unsigned integer, a boolean or an enumeration's number.
    ///
    /// # Errors
    ///
    /// If the field is not encoded as a varint.
    pub fn varint(&self) -> Result<u64, WireError> {
        match self.payload {
            Payload::Varint(value) => Ok(value),
            _ => Err(self.mismatch("an integer")),
        }
    }

    /// A signed integer, as `int64` and `int32` are encoded.
    ///
    /// # Errors
    ///
    /// If the field is not encoded as a varint.
    pub fn int64(&self) -> Result<i64, WireError> {
        self.varint().map(u64::cast_signed)
    }

    /// A repeated signed integer, appended to `values`: one, or several where the writer packed them.
    ///
    /// # Errors
    ///
    /// If the field holds anything else. `values` may then have some of them.
    pub fn int64s(&self, values: &mut Vec<i64>) -> Result<(), WireError> {
        match self.payload {
            Payload::Varint(value) => values.push(value.cast_signed()),
            Payload::Bytes(bytes) => {
                let mut packed = Cursor { bytes, position: 0, base: self.range.end - bytes.len() };
                while !packed.at_end() {
                    values.push(packed.varint()?.cast_signed());
                }
            }
            _ => return Err(self.mismatch("integers")),
        }
        Ok(())
    }

    /// A `float`.
    ///
    /// # Errors
    ///
    /// If the field is not four fixed bytes.
    pub fn float(&self) -> Result<f32, WireError> {
        match self.payload {
            Payload::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.mismatch("a float")),
        }
    }

    /// A `double`.
    ///
    /// # Errors
    ///
    /// If the field is not eight fixed bytes.
    pub fn double(&self) -> Result<f64, WireError> {
        match self.payload {
            Payload::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.mismatch("a double")),
        }
    }

    /// Bytes, borrowed from the message.
    ///
    /// # Errors
    ///
    /// If the field has no length.
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.payload {
            Payload::Bytes(bytes) => Ok(bytes),
            _ => Err(self.mismatch("bytes")),
        }
    }

    /// Text, borrowed from the message.
    ///
    /// # Errors
    ///
    /// If the field has no length or is not UTF-8.
    pub fn text(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?)
            .map_err(|_| WireError::NotText { offset: self.range.start, number: self.number })
    }

    /// The fields of a message inside this one. Their ranges and errors count from the outermost message's start.
    ///
    /// # Errors
    ///
    /// If the field has no length.
    pub fn message(&self) -> Result<Reader<'a>, WireError> {
        let bytes = self.bytes()?;
        Ok(Reader { cursor: Cursor { bytes, position: 0, base: self.range.end - bytes.len() } })
    }

    fn mismatch(&self, expected: &'static str) -> WireError {
        WireError::Mismatch {
            offset: self.range.start,
            number: self.number,
            expected,
            found: self.payload.wire_type(),
        }
    }
}

/// Goes over the fields of a message in the order in which they are stored. After an error it ends.
///
/// It borrows and allocates nothing, whatever lengths the message claims.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` as a message.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { cursor: Cursor { bytes, position: 0, base: 0 } }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.cursor.at_end() {
            return None;
        }
        let field = self.cursor.field();
        if field.is_err() {
            self.cursor.position = self.cursor.bytes.len();
        }
        Some(field)
    }
}

impl std::iter::FusedIterator for Reader<'_> {}

#[derive(Clone, Debug)]
struct Cursor<'a> {
    bytes: &'a [u8],
    /// At most `bytes.len()`.
    position: usize,
    /// Where `bytes` begins in the outermost message.
    base: usize,
}

impl<'a> Cursor<'a> {
    fn at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    fn offset(&self) -> usize {
        self.base + self.position
    }

    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let (start, offset) = (self.position, self.offset());
        let tag = self.varint()?;
        let number = match tag >> 3 {
            found @ 1..=LAST_NUMBER => found as u32,
            found => return Err(WireError::FieldNumber { offset, found }),
        };
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.fixed("eight fixed bytes")?)),
            2 => {
                let length = self.varint()?;
                let rest = &self.bytes[self.position..];
                let bytes = usize::try_from(length)
                    .ok()
                    .and_then(|length| rest.get(..length))
                    .ok_or(WireError::LengthPastEnd { offset, number, length, left: rest.len() })?;
                self.position += bytes.len();
                Payload::Bytes(bytes)
            }
            3 | 4 => return Err(WireError::Group { offset, number }),
            5 => Payload::Fixed32(u32::from_le_bytes(self.fixed("four fixed bytes")?)),
            found => return Err(WireError::WireType { offset, number, found: found as u8 }),
        };
        let raw = &self.bytes[start..self.position];
        Ok(Field { number, payload, raw, range: offset..self.offset() })
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let offset = self.offset();
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some(&byte) = self.bytes.get(self.position) else {
                return Err(WireError::Truncated { offset, expected: "a varint" });
            };
            self.position += 1;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::OverlongVarint { offset })
    }

    fn fixed<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], WireError> {
        let bytes = self.bytes[self.position..]
            .first_chunk()
            .ok_or(WireError::Truncated { offset: self.offset(), expected })?;
        self.position += N;
        Ok(*bytes)
    }
}

/// Writes a message field by field, in the shortest encoding.
///
/// Field numbers come from a message's definition: 1 to 2^29 - 1.
///
/// ```
/// use batchnorm_model::onnx::wire::{Reader, Writer};
///
/// let mut writer = Writer::new();
/// writer.message(7, |graph| graph.text(2, "net"));
/// let bytes = writer.into_bytes();
/// assert_eq!(bytes, [7 << 3 | 2, 5, 2 << 3 | 2, 3, b'n', b'e', b't']);
///
/// let graph = Reader::new(&bytes).next().unwrap()?;
/// let name = graph.message()?.next().unwrap()?;
/// assert_eq!((name.text()?, name.range), ("net", 2..7));
/// # Ok::<(), batchnorm_model::WireError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A message without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// The message's length in bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the message has no fields yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// An unsigned integer, a boolean or an enumeration's number.
    pub fn varint(&mut self, number: u32, value: u64) {
        self.tag(number, WireType::Varint);
        self.push_varint(value);
    }

    /// A signed integer, as `int64` and `int32` are encoded: ten bytes where it is negative.
    pub fn int64(&mut self, number: u32, value: i64) {
        self.varint(number, value.cast_unsigned());
    }

    /// A `float`.
    pub fn float(&mut self, number: u32, value: f32) {
        self.tag(number, WireType::Fixed32);
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// A `double`.
    pub fn double(&mut self, number: u32, value: f64) {
        self.tag(number, WireType::Fixed64);
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// Bytes.
    pub fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.tag(number, WireType::Bytes);
        self.push_varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// Text.
    pub fn text(&mut self, number: u32, text: &str) {
        self.bytes(number, text.as_bytes());
    }

    /// A message inside this one, whose fields `write` writes.
    pub fn message(&mut self, number: u32, write: impl FnOnce(&mut Writer)) {
        let mut inner = Self::new();
        write(&mut inner);
        self.bytes(number, &inner.bytes);
    }

    /// A field exactly as it was read: [`Field::raw`].
    pub fn raw(&mut self, field: &[u8]) {
        self.bytes.extend_from_slice(field);
    }

    fn tag(&mut self, number: u32, wire_type: WireType) {
        debug_assert!((1..=LAST_NUMBER).contains(&u64::from(number)), "no message has a field {number}");
        self.push_varint(u64::from(number) << 3 | wire_type.code());
    }

    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}
