//! The bytes of a model, wherever they are: read piece by piece, where and when they are needed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::DocumentError;

/// Bytes of a source, from the first to before the last.
pub type Span = Range<u64>;

/// So many bytes are copied at once.
const PIECE: u64 = 1 << 18;

/// The bytes of a file or of memory. Clones are the same source.
#[derive(Clone)]
pub struct Source(Arc<Bytes>);

enum Bytes {
    Memory(Vec<u8>),
    File { path: PathBuf, file: Mutex<File>, length: u64 },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Bytes::Memory(bytes) => write!(f, "Source({} bytes)", bytes.len()),
            Bytes::File { path, length, .. } => write!(f, "Source({}, {length} bytes)", path.display()),
        }
    }
}

impl Source {
    /// A file, which stays open.
    ///
    /// # Errors
    ///
    /// If it cannot be opened, or is a folder.
    pub fn open(path: &Path) -> Result<Self, DocumentError> {
        let failed = |source| DocumentError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let length = metadata.len();
        Ok(Self(Arc::new(Bytes::File { path: path.to_owned(), file: Mutex::new(file), length })))
    }

    /// Bytes in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Bytes::Memory(bytes)))
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        match &*self.0 {
            Bytes::Memory(bytes) => bytes.len() as u64,
            Bytes::File { length, .. } => *length,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &*self.0 {
            Bytes::Memory(_) => None,
            Bytes::File { path, .. } => Some(path),
        }
    }

    /// Fills `out` with the bytes from `at` on.
    ///
    /// # Errors
    ///
    /// If there are fewer, or the system does not let them be read.
    pub fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), DocumentError> {
        match &*self.0 {
            Bytes::Memory(bytes) => {
                let found =
                    usize::try_from(at)
                        .ok()
                        .and_then(|at| bytes.get(at..at.checked_add(out.len())?))
                        .ok_or_else(|| DocumentError::NotOnnx { found: format!("{} bytes", bytes.len()) })?;
                out.copy_from_slice(found);
                Ok(())
            }
            Bytes::File { path, file, .. } => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(at))
                    .and_then(|_| file.read_exact(out))
                    .map_err(|source| DocumentError::Read { path: path.clone(), source })
            }
        }
    }

    /// The bytes of a span.
    ///
    /// # Errors
    ///
    /// As [`read_at`](Self::read_at). Nothing is allocated for a span that the source does not have.
    pub fn read(&self, span: &Span) -> Result<Vec<u8>, DocumentError> {
        if span.end > self.len() || span.start > span.end {
            return Err(DocumentError::NotOnnx {
                found: format!("{} bytes where {} were", self.len(), span.end),
            });
        }
        let mut bytes = vec![0; (span.end - span.start) as usize];
        self.read_at(span.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies a span, piece by piece.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or `out` does not take it.
    pub fn copy(&self, span: &Span, out: &mut dyn Write) -> Result<(), DocumentError> {
        let mut piece = vec![0; (span.end - span.start).min(PIECE) as usize];
        let mut at = span.start;
        while at < span.end {
            let piece = &mut piece[..(span.end - at).min(PIECE) as usize];
            self.read_at(at, piece)?;
            out.write_all(piece).map_err(DocumentError::Output)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
}
