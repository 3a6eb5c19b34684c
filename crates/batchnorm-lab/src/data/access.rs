//! Where published data sets are kept, whether they may be downloaded, and who watches.

use std::path::Path;
use std::time::Duration;

/// Told of a download while it happens. Every method does nothing unless implemented.
pub trait DownloadProgress {
    /// A transfer begins, or begins again: of so many bytes in total, where the server says so, `already` are here.
    fn started(&mut self, _file: &str, _total: Option<u64>, _already: u64) {}

    /// So many more bytes have arrived.
    fn received(&mut self, _bytes: u64) {}

    /// The transfer broke off, or the server is overloaded; it is tried again after a pause.
    fn retrying(&mut self, _file: &str, _cause: &str) {}

    /// Everything has arrived; the checksum is being computed.
    fn verifying(&mut self, _file: &str) {}

    /// The file is whole and in its place.
    fn finished(&mut self) {}

    /// A file in the cache, or one just downloaded, is not what was published, and another copy is fetched.
    fn rejected(&mut self, _file: &Path, _cause: &str) {}

    /// Another process downloads the same data set; this one waits for it.
    fn waiting(&mut self, _folder: &Path) {}
}

/// Progress at which nobody looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl DownloadProgress for Unwatched {}

/// How long to wait for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Transfers in a row, from one mirror, that may break off without a byte of progress.
    pub attempts: u32,
    /// The pause after the first of them; it grows with each.
    pub pause: Duration,
    /// The longest wait for a name, a connection or an answer, and between two pieces of a file.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 4, pause: Duration::from_secs(1), silence: Duration::from_secs(30) }
    }
}

/// Where published data sets are kept, whether they may be downloaded, and who watches.
///
/// The cache folder is the caller's choice: the library reads no environment variables but those by which a system
/// names its proxy server (`HTTPS_PROXY` and the like), which the HTTP client honours.
pub struct Access<'a> {
    /// The folder that has one folder for each published set; without it there are no published sets.
    pub cache: Option<&'a Path>,
    /// Whether to do without the network.
    pub offline: bool,
    /// Told of downloads.
    pub progress: &'a mut dyn DownloadProgress,
    /// Base URLs, each ending in `/`, in place of the published ones: a mirror of one's own.
    pub mirrors: Option<&'a [String]>,
    /// How long to wait for servers.
    pub patience: Patience,
}

impl<'a> Access<'a> {
    /// Downloads into `cache` what is not there.
    pub fn online(cache: &'a Path, progress: &'a mut dyn DownloadProgress) -> Self {
        Self { cache: Some(cache), offline: false, progress, mirrors: None, patience: Patience::default() }
    }

    /// Takes what is in `cache` and downloads nothing.
    pub fn offline(cache: &'a Path) -> Self {
        Self { cache: Some(cache), ..Self::none() }
    }

    /// No cache and no network: enough for the embedded digits and for folders.
    pub fn none() -> Self {
        Self {
            cache: None,
            offline: true,
            // Of no size, so this allocates nothing and leaks nothing.
            progress: Box::leak(Box::new(Unwatched)),
            mirrors: None,
            patience: Patience::default(),
        }
    }
}

impl std::fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .field("mirrors", &self.mirrors)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
