//! The standard output, and the standard error.

use std::io::{self, Write};

/// Prints on the standard output, without colours where it has none. A reader that has gone away is no error.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Tells the user something on the standard error, where there is one: what is done is done all the same.
pub fn tell(text: &str) {
    let _ = anstream::stderr().write_all(format!("{text}\n").as_bytes());
}
