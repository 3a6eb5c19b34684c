//! The fields of a message of a [`Source`], without the bytes inside them: a tensor of gigabytes is stepped over.

use super::source::{Source, Span};
use super::{DocumentError, Result};
use crate::WireError;
use crate::onnx::wire::WireType;

/// So many bytes are looked at together.
const WINDOW: u64 = 1 << 12;
/// A tag and a length are at most so long.
const HEAD: u64 = 20;

/// What a field holds; where its bytes are, if it has a length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Varint(u64),
    Fixed64(u64),
    Bytes(Span),
    Fixed32(u32),
}

/// A field, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) number: u32,
    pub(crate) held: Held,
    /// All of it, with its tag.
    pub(crate) span: Span,
}

impl Located {
    pub(crate) fn int(&self) -> Result<i64> {
        match self.held {
            Held::Varint(value) => Ok(value.cast_signed()),
            _ => Err(self.mismatch("an integer")),
        }
    }

    pub(crate) fn float(&self) -> Result<f32> {
        match self.held {
            Held::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.mismatch("a float")),
        }
    }

    pub(crate) fn bytes(&self) -> Result<Span> {
        match &self.held {
            Held::Bytes(span) => Ok(span.clone()),
            _ => Err(self.mismatch("bytes")),
        }
    }

    pub(crate) fn text(&self, source: &Source) -> Result<String> {
        let bytes = source.read(&self.bytes()?)?;
        String::from_utf8(bytes)
            .map_err(|_| WireError::NotText { offset: self.span.start as usize, number: self.number }.into())
    }

    /// One integer, or several that are packed.
    pub(crate) fn ints(&self, source: &Source, values: &mut Vec<i64>) -> Result<()> {
        let Held::Bytes(span) = &self.held else {
            values.push(self.int()?);
            return Ok(());
        };
        let bytes = source.read(span)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let offset = span.end as usize - rest.len();
            let (value, length) = varint(rest, offset)?;
            values.push(value.cast_signed());
            rest = &rest[length..];
        }
        Ok(())
    }

    pub(crate) fn mismatch(&self, expected: &'static str) -> DocumentError {
        let found = match self.held {
            Held::Varint(_) => WireType::Varint,
            Held::Fixed64(_) => WireType::Fixed64,
            Held::Bytes(_) => WireType::Bytes,
            Held::Fixed32(_) => WireType::Fixed32,
        };
        WireError::Mismatch { offset: self.span.start as usize, number: self.number, expected, found }.into()
    }
}

/// Goes over the fields of the message in a span. After an error it ends.
pub(crate) struct Fields<'s> {
    source: &'s Source,
    position: u64,
    end: u64,
    window: Vec<u8>,
    /// Where the window's first byte is.
    start: u64,
}

impl<'s> Fields<'s> {
    pub(crate) fn new(source: &'s Source, span: &Span) -> Self {
        Self { source, position: span.start, end: span.end, window: Vec::new(), start: span.start }
    }

    /// The bytes at the position: as many as a field's head may have, or all that are left.
    fn head(&mut self) -> Result<&[u8]> {
        let wanted = (self.end - self.position).min(HEAD);
        let held = self.start + self.window.len() as u64;
        if self.position < self.start || self.position + wanted > held {
            self.window.resize((self.end - self.position).min(WINDOW) as usize, 0);
            self.source.read_at(self.position, &mut self.window)?;
            self.start = self.position;
        }
        Ok(&self.window[(self.position - self.start) as usize..])
    }

    fn field(&mut self) -> Result<Located> {
        let (position, end) = (self.position, self.end);
        let offset = position as usize;
        let head = self.head()?;
        let (tag, tag_length) = varint(head, offset)?;
        let number = match tag >> 3 {
            found @ 1..=0x1fff_ffff => found as u32,
            found => return Err(WireError::FieldNumber { offset, found }.into()),
        };
        let rest = &head[tag_length..];
        let after = position + tag_length as u64;
        let fixed = |length: usize, expected| {
            rest.get(..length).ok_or(WireError::Truncated { offset: offset + tag_length, expected })
        };
        let (held, next) = match tag & 7 {
            0 => {
                let (value, length) = varint(rest, offset + tag_length)?;
                (Held::Varint(value), after + length as u64)
            }
            1 => {
                let bytes = fixed(8, "eight fixed bytes")?;
                (Held::Fixed64(u64::from_le_bytes(bytes.try_into().unwrap_or_default())), after + 8)
            }
            2 => {
                let (length, size) = varint(rest, offset + tag_length)?;
                let first = after + size as u64;
                let left = end - first;
                if length > left {
                    return Err(WireError::LengthPastEnd { offset, number, length, left: left as usize }.into());
                }
                (Held::Bytes(first..first + length), first + length)
            }
            3 | 4 => return Err(WireError::Group { offset, number }.into()),
            5 => {
                let bytes = fixed(4, "four fixed bytes")?;
                (Held::Fixed32(u32::from_le_bytes(bytes.try_into().unwrap_or_default())), after + 4)
            }
            found => return Err(WireError::WireType { offset, number, found: found as u8 }.into()),
        };
        self.position = next;
        Ok(Located { number, held, span: position..next })
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<Located>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position == self.end {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.position = self.end;
        }
        Some(field)
    }
}

/// The number at the start of some bytes, and its length.
fn varint(bytes: &[u8], offset: usize) -> std::result::Result<(u64, usize), WireError> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if index == 9 && byte > 1 {
            return Err(WireError::OverlongVarint { offset });
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    Err(WireError::Truncated { offset, expected: "a varint" })
}
