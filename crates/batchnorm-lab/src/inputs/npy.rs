//! NumPy's .npy: a line of text that says what follows, then the values.
//!
//! ```text
//! 93 "NUMPY" major minor length {'descr': '<f4', 'fortran_order': False, 'shape': (10, 3), } values
//! ```
//!
//! The line is a Python dictionary. What NumPy writes is read here, in any order of its keys and with any spaces, and
//! nothing else of Python: no header makes this nest, loop or allocate more than its own length.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::spec::shape;
use super::{Element, InputsError};

/// How every file begins.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// No header that NumPy writes of an array of numbers is longer.
const LONGEST_HEADER: u32 = 1 << 16;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) element: Element,
    pub(super) big_endian: bool,
    pub(super) dims: Vec<usize>,
    /// Bytes of values.
    pub(super) bytes: u64,
    /// Bytes of the header, up to the first value.
    pub(super) length: u64,
}

impl Header {
    /// Reads a header, and nothing after it.
    pub(super) fn read(reader: &mut impl Read, array: &str) -> Result<Self, InputsError> {
        let wrong = |expected: &'static str, found: String| InputsError::Header {
            array: array.to_owned(),
            expected,
            found,
        };
        let mut take = |bytes: u64, what: &'static str| {
            let mut taken = Vec::new();
            match reader.by_ref().take(bytes).read_to_end(&mut taken) {
                Ok(_) if taken.len() as u64 == bytes => Ok(taken),
                Ok(_) => Err(wrong(what, "the end of the file".to_owned())),
                Err(error) => Err(wrong(what, format!("what cannot be read ({error})"))),
            }
        };
        let start = take(8, "the six bytes 93 4e 55 4d 50 59 and a version")?;
        if !start.starts_with(MAGIC) {
            let found: Vec<String> = start.iter().map(|byte| format!("{byte:02x}")).collect();
            return Err(wrong("the six bytes 93 4e 55 4d 50 59 at its beginning", found.join(" ")));
        }
        let length_bytes = match start[6] {
            1 => 2,
            2 | 3 => 4,
            version => return Err(wrong("version 1, 2 or 3 of the format", version.to_string())),
        };
        let length = take(length_bytes, "the header's length")?;
        let length = length.iter().rev().fold(0, |length: u32, &byte| length << 8 | u32::from(byte));
        if length > LONGEST_HEADER {
            return Err(wrong("a header of at most 65536 bytes", format!("one of {length}")));
        }
        let text = take(u64::from(length), "a header as long as it says")?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let shown = || text.trim().chars().take(200).collect::<String>();
        let parsed = Parser { rest: &text }.dictionary().ok_or_else(|| {
            wrong("a dictionary of 'descr', 'fortran_order' and 'shape' of an array of numbers", shown())
        })?;
        let (element, big_endian) = element(&parsed.descr)
            .ok_or_else(|| InputsError::ElementType { array: array.to_owned(), found: parsed.descr.clone() })?;
        let dims = parsed.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<Vec<usize>>>();
        let bytes = parsed.dims.iter().try_fold(element.bytes() as u64, |bytes, &dim| bytes.checked_mul(dim));
        let (Some(dims), Some(bytes)) = (dims, bytes.filter(|&bytes| bytes < u64::MAX >> 1)) else {
            let dims: Vec<String> = parsed.dims.iter().map(ToString::to_string).collect();
            return Err(InputsError::ImpossibleSize { array: array.to_owned(), found: dims.join("x") });
        };
        // Up to one axis that is longer than 1, both orders are the same.
        if parsed.fortran_order && dims.iter().filter(|&&dim| dim > 1).count() > 1 {
            return Err(InputsError::FortranOrder { array: array.to_owned() });
        }
        Ok(Self { element, big_endian, dims, bytes, length: 8 + length_bytes + u64::from(length) })
    }
}

/// The type that a `descr` names, and whether its highest byte comes first.
fn element(descr: &str) -> Option<(Element, bool)> {
    let (big_endian, name) = match descr.split_at_checked(1)? {
        ("<" | "|" | "=", name) => (false, name),
        (">", name) => (true, name),
        _ => return None,
    };
    let element = match name {
        "f2" => Element::F16,
        "f4" => Element::F32,
        "f8" => Element::F64,
        "u1" => Element::U8,
        "i1" => Element::I8,
        "u2" => Element::U16,
        "i2" => Element::I16,
        "u4" => Element::U32,
        "i4" => Element::I32,
        "u8" => Element::U64,
        "i8" => Element::I64,
        "b1" => Element::Bool,
        _ => return None,
    };
    Some((element, big_endian))
}

struct Dictionary {
    descr: String,
    fortran_order: bool,
    dims: Vec<u64>,
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn dictionary(mut self) -> Option<Dictionary> {
        let (mut descr, mut fortran_order, mut dims) = (None, None, None);
        self.symbol('{')?;
        while self.symbol('}').is_none() {
            let key = self.text()?;
            self.symbol(':')?;
            match key {
                "descr" => descr = Some(self.descr()?),
                "fortran_order" => fortran_order = Some(self.boolean()?),
                "shape" => dims = Some(self.tuple()?),
                _ => return None,
            }
            if self.symbol(',').is_none() {
                self.symbol('}')?;
                break;
            }
        }
        self.rest.trim().is_empty().then_some(())?;
        Some(Dictionary { descr: descr?, fortran_order: fortran_order?, dims: dims? })
    }

    /// The symbol that comes next, behind any spaces.
    fn symbol(&mut self, symbol: char) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(symbol).or_else(|| {
            self.rest = self.rest.trim_start();
            None
        })?;
        Some(())
    }

    fn text(&mut self) -> Option<&'a str> {
        let quote = self.rest.trim_start().chars().next().filter(|quote| ['\'', '"'].contains(quote))?;
        self.symbol(quote)?;
        let (text, rest) = self.rest.split_once(quote)?;
        self.rest = rest;
        (!text.contains('\\')).then_some(text)
    }

    /// A type's name; of a record, a list, whose text will be refused by what it is.
    fn descr(&mut self) -> Option<String> {
        if self.symbol('[').is_none() {
            return self.text().map(str::to_owned);
        }
        let (list, rest) = self.rest.rsplit_once(']')?;
        self.rest = rest;
        Some(format!("[{}]", list.chars().take(100).collect::<String>()))
    }

    fn boolean(&mut self) -> Option<bool> {
        let rest = self.rest.trim_start();
        let (value, rest) = match rest.strip_prefix("True") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix("False")?),
        };
        self.rest = rest;
        Some(value)
    }

    fn tuple(&mut self) -> Option<Vec<u64>> {
        let mut dims = Vec::new();
        self.symbol('(')?;
        while self.symbol(')').is_none() {
            let digits = self.rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, rest) = self.rest.split_at(digits);
            // Python 2 wrote long numbers with an L.
            self.rest = rest.strip_prefix('L').unwrap_or(rest);
            dims.push(number.parse().ok()?);
            if self.symbol(',').is_none() {
                self.symbol(')')?;
                break;
            }
        }
        Some(dims)
    }
}

/// An array in a file, of which any samples can be read.
#[derive(Debug)]
pub(super) struct Array {
    /// What messages call it.
    pub(super) name: String,
    pub(super) header: Header,
    file: File,
    /// Where the first value is in the file.
    start: u64,
}

impl Array {
    /// Opens a .npy file.
    pub(super) fn open(path: &Path) -> Result<Self, InputsError> {
        let unreadable = |source| InputsError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        Self::at(file, 0, length, path.display().to_string())
    }

    /// The array that begins at a place in a file and should take so many bytes, header included.
    pub(super) fn at(mut file: File, offset: u64, length: u64, name: String) -> Result<Self, InputsError> {
        let unreadable = |source| InputsError::Unreadable { path: name.clone().into(), source };
        file.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        let header = Header::read(&mut file, &name)?;
        let found = length.saturating_sub(header.length);
        if found != header.bytes {
            return Err(InputsError::Length { array: name, expected: header.bytes, found });
        }
        if header.dims.is_empty() {
            return Err(InputsError::Header {
                array: name,
                expected: "an array whose first axis is the samples",
                found: "a single value".to_owned(),
            });
        }
        if header.bytes == 0 {
            return Err(InputsError::Empty { path: name });
        }
        Ok(Self { start: offset + header.length, name, header, file })
    }

    /// The number of samples.
    pub(super) fn len(&self) -> u64 {
        self.header.dims[0] as u64
    }

    /// The dimensions of a sample.
    pub(super) fn sample(&self) -> &[usize] {
        &self.header.dims[1..]
    }

    /// All dimensions in words.
    pub(super) fn dims_in_words(&self) -> String {
        shape(&self.header.dims)
    }

    /// The bytes of a sample.
    fn stride(&self) -> u64 {
        self.header.bytes / self.len()
    }

    /// The bytes of samples at these places, each of them below the number of samples.
    pub(super) fn bytes(&mut self, places: &[u64]) -> Result<Vec<u8>, InputsError> {
        let stride = self.stride();
        // Fits: as many samples are in the file, unless some are asked for more than once.
        let all = stride.checked_mul(places.len() as u64).and_then(|bytes| usize::try_from(bytes).ok());
        let mut bytes = Vec::with_capacity(all.unwrap_or(0));
        for run in places.chunk_by(|before, after| before + 1 == *after) {
            let wanted = stride * run.len() as u64;
            let position = SeekFrom::Start(self.start + run[0] * stride);
            let read =
                self.file.seek(position).and_then(|_| self.file.by_ref().take(wanted).read_to_end(&mut bytes));
            match read {
                Ok(read) if read as u64 == wanted => {}
                Ok(read) => {
                    let (expected, found) = (wanted, read as u64);
                    return Err(InputsError::Length { array: self.name.clone(), expected, found });
                }
                Err(source) => {
                    return Err(InputsError::Unreadable { path: self.name.clone().into(), source });
                }
            }
        }
        Ok(bytes)
    }

    /// The samples at these places.
    pub(super) fn values(&mut self, places: &[u64]) -> Result<Vec<f32>, InputsError> {
        let bytes = self.bytes(places)?;
        let mut values = Vec::with_capacity(bytes.len() / self.header.element.bytes());
        self.header.element.decode(&bytes, self.header.big_endian, &mut values);
        Ok(values)
    }

    /// The first `limit` bytes of values from a place on, for a fingerprint.
    pub(super) fn excerpt(&mut self, from: u64, limit: u64) -> Result<Vec<u8>, InputsError> {
        let mut bytes = Vec::new();
        self.file
            .seek(SeekFrom::Start(self.start + from.min(self.header.bytes)))
            .and_then(|_| {
                self.file
                    .by_ref()
                    .take(limit.min(self.header.bytes - from.min(self.header.bytes)))
                    .read_to_end(&mut bytes)
            })
            .map_err(|source| InputsError::Unreadable { path: self.name.clone().into(), source })?;
        Ok(bytes)
    }
}
