//! SHA-256 of what passes through a reader.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// The checksum of what `feed` adds, in lower-case hexadecimal.
pub(crate) fn of(feed: impl FnOnce(&mut dyn FnMut(&[u8]))) -> String {
    let mut state = Sha256::new();
    feed(&mut |bytes| state.update(bytes));
    hexadecimal(state)
}

fn hexadecimal(state: Sha256) -> String {
    state.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A reader that computes the checksum of everything read from it.
pub(super) struct Hashing<R> {
    inner: R,
    state: Sha256,
}

impl<R> Hashing<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, state: Sha256::new() }
    }

    /// The checksum of what was read so far, in lower-case hexadecimal.
    pub(super) fn checksum(&self) -> String {
        hexadecimal(self.state.clone())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.state.update(&into[..read]);
        Ok(read)
    }
}

/// The checksums of a file that was read to its end. A published set is known by one of the two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checksums {
    /// Of the file as it lies on the disk.
    pub(super) file: String,
    /// Of what is in it, uncompressed; compressed again by another program it is the same.
    pub(super) contents: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        let mut reader = Hashing::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        // FIPS 180-4's example.
        assert_eq!(reader.checksum(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
