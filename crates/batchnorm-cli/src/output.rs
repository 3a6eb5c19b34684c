//! The standard output.

use std::io::{self, Write};

/// Prints on the standard output, without colours where it has none. A reader that has gone away is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
