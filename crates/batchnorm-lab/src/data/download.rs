//! Downloads: into a `.part` file that is gone on with where it broke off, verified, then renamed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;

use ureq::http::{StatusCode, header};

use super::published::{PublishedFile, in_words};
use super::{Access, DataError, Patience};

/// The most bytes of a file whose size is not known beforehand.
const MOST_BYTES: u64 = 1 << 30;

/// Downloads a file into a folder from the first of the mirrors that has it, and reads it with `verified`.
///
/// The inner error says what went wrong with each mirror; the outer one is of the folder, where no mirror helps.
pub(super) fn fetch<T>(
    file: &PublishedFile,
    folder: &Path,
    mirrors: &[String],
    access: &mut Access<'_>,
    verified: &dyn Fn(&Path) -> Result<T, DataError>,
) -> Result<Result<T, Vec<String>>, DataError> {
    fs::create_dir_all(folder).map_err(|source| DataError::Unwritable { path: folder.to_owned(), source })?;
    let _alone = wait_for_others(folder, access)?;
    let whole = folder.join(file.name);
    let mut download = Download { file, part: folder.join(format!("{}.part", file.name)), access };
    let mut causes = Vec::new();
    for mirror in mirrors {
        let url = format!("{mirror}{}", file.name);
        match download.from(&url, verified) {
            Ok(value) => {
                fs::rename(&download.part, &whole)
                    .map_err(|source| DataError::Unwritable { path: whole.clone(), source })?;
                download.access.progress.finished();
                return Ok(Ok(value));
            }
            Err(Failure::Disk(error)) => return Err(error),
            Err(Failure::Mirror(cause)) => causes.push(format!("{url}: {cause}")),
        }
    }
    Ok(Err(causes))
}

/// Holds the folder's lock until dropped: two processes do not write one file. Where there are no locks, none is held.
fn wait_for_others(folder: &Path, access: &mut Access<'_>) -> Result<File, DataError> {
    let path = folder.join(".lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(|source| DataError::Unwritable { path, source })?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        access.progress.waiting(folder);
        let _ = lock.lock();
    }
    Ok(lock)
}

/// Why there is no file.
enum Failure {
    /// It cannot be written: no other mirror helps.
    Disk(DataError),
    /// This mirror does not have it.
    Mirror(String),
}

/// Why a transfer ended early.
enum Break {
    Disk(io::Error),
    /// Trying again may help.
    Passing(String),
    /// Trying again does not help.
    Lasting(String),
}

struct Download<'a, 'b> {
    file: &'a PublishedFile,
    part: PathBuf,
    access: &'a mut Access<'b>,
}

impl Download<'_, '_> {
    /// Leaves the whole, verified file in the `.part` file.
    fn from<T>(&mut self, url: &str, verified: &dyn Fn(&Path) -> Result<T, DataError>) -> Result<T, Failure> {
        let patience = self.access.patience;
        let (mut furthest, mut failed) = (self.already(), 0);
        loop {
            let resumed = self.already() > 0;
            match self.transfer(url) {
                Ok(()) => {
                    self.access.progress.verifying(self.file.name);
                    let error = match verified(&self.part) {
                        Ok(value) => return Ok(value),
                        Err(error) => error,
                    };
                    self.start_over().map_err(|error| self.disk(error))?;
                    let cause = in_words(&error);
                    self.access.progress.rejected(&self.part, &cause);
                    if !resumed {
                        return Err(Failure::Mirror(cause));
                    }
                    // The beginning was perhaps another mirror's, or an older file's: once more, all of it from here.
                    (furthest, failed) = (0, 0);
                }
                Err(Break::Disk(error)) => return Err(self.disk(error)),
                Err(Break::Lasting(cause)) => return Err(Failure::Mirror(cause)),
                Err(Break::Passing(cause)) => {
                    // A server that begins anew each time makes no progress however much it sends.
                    let here = self.already();
                    failed = if here > furthest { 1 } else { failed + 1 };
                    furthest = furthest.max(here);
                    if failed >= patience.attempts {
                        return Err(Failure::Mirror(format!("{cause} (tried {failed} times)")));
                    }
                    self.access.progress.retrying(self.file.name, &cause);
                    sleep(patience.pause * failed);
                }
            }
        }
    }

    fn disk(&self, source: io::Error) -> Failure {
        Failure::Disk(DataError::Unwritable { path: self.part.clone(), source })
    }

    /// The bytes in the `.part` file.
    fn already(&self) -> u64 {
        fs::metadata(&self.part).map_or(0, |metadata| metadata.len())
    }

    fn start_over(&self) -> io::Result<()> {
        match fs::remove_file(&self.part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// One request: the bytes that are not in the `.part` file yet.
    fn transfer(&mut self, url: &str) -> Result<(), Break> {
        let mut already = self.already();
        let most = self.file.size.unwrap_or(MOST_BYTES);
        if self.file.size == Some(already) {
            // It broke off between the last byte and the new name.
            return Ok(());
        }
        if already > most {
            self.start_over().map_err(Break::Disk)?;
            already = 0;
        }
        let agent = agent(url, self.access.patience);
        // Servers that compress on the way would make a range mean something else.
        let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
        if already > 0 {
            request = request.header(header::RANGE, format!("bytes={already}-"));
        }
        let response = request.call().map_err(refused)?;
        let status = response.status();
        let mut options = OpenOptions::new();
        options.create(true).write(true);
        match status {
            StatusCode::OK => already = 0,
            StatusCode::PARTIAL_CONTENT if begins_at(&response, already) => {}
            // There is nothing after the last byte: what is here is all there is.
            StatusCode::RANGE_NOT_SATISFIABLE if already > 0 => return Ok(()),
            StatusCode::PARTIAL_CONTENT => {
                self.start_over().map_err(Break::Disk)?;
                return Err(Break::Passing("the server sent another part than asked for".to_owned()));
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Break::Passing(format!("the server answered {status}")));
            }
            status => return Err(Break::Lasting(format!("the server answered {status}"))),
        }
        let total = response.body().content_length().map(|length| already.saturating_add(length));
        if let Some(total) =
            total.filter(|&total| total > most || self.file.size.is_some_and(|size| size != total))
        {
            return Err(Break::Lasting(format!(
                "expected a file of {most} bytes, the server has one of {total}"
            )));
        }
        let options = if already > 0 { options.append(true) } else { options.truncate(true) };
        let part = options.open(&self.part).map_err(Break::Disk)?;
        self.access.progress.started(self.file.name, total, already);
        self.receive(
            response.into_body().into_reader(),
            part,
            most - already,
            total.map(|total| total - already),
        )
    }

    fn receive(
        &mut self,
        mut reader: impl Read,
        mut part: File,
        most: u64,
        expected: Option<u64>,
    ) -> Result<(), Break> {
        let mut buffer = vec![0; 1 << 16];
        let mut received = 0;
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Break::Passing(format!("the connection broke off: {error}"))),
            };
            received += read as u64;
            if received > most {
                return Err(Break::Lasting(format!("the server sends more than the {most} bytes expected")));
            }
            part.write_all(&buffer[..read]).map_err(Break::Disk)?;
            self.access.progress.received(read as u64);
        }
        if expected.is_some_and(|expected| received < expected) {
            return Err(Break::Passing("the connection broke off".to_owned()));
        }
        part.sync_all().map_err(Break::Disk)
    }
}

/// Whether a partial answer begins where the `.part` file ends.
fn begins_at(response: &ureq::http::Response<ureq::Body>, already: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.trim().starts_with(&format!("bytes {already}-")))
}

/// An error before the first byte. Where nobody answers at all, nobody is asked again: the next mirror's turn.
fn refused(error: ureq::Error) -> Break {
    use ureq::Error as E;
    let cause = in_words(&error);
    match error {
        E::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => Break::Lasting(cause),
        E::Timeout(_) => Break::Passing(cause),
        E::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::TimedOut
            ) =>
        {
            Break::Passing(cause)
        }
        _ => Break::Lasting(cause),
    }
}

fn agent(url: &str, patience: Patience) -> ureq::Agent {
    let silence = Some(patience.silence);
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(silence)
        .timeout_connect(silence)
        .timeout_recv_response(silence)
        .timeout_per_read(silence)
        .user_agent(concat!("batchnorm/", env!("CARGO_PKG_VERSION")));
    // This machine is never behind a proxy.
    let here = ["http://127.0.0.1", "http://localhost"].iter().any(|here| url.starts_with(here));
    let config = if here { config.proxy(None) } else { config };
    config.build().new_agent()
}

#[cfg(test)]
mod tests;
