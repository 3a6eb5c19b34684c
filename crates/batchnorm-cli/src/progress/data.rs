//! Downloads.

use std::path::Path;

use batchnorm_lab::data::DownloadProgress;
use indicatif::ProgressBar;

use super::{bar, shown};
use crate::error;

/// A bar for the file that is being downloaded.
pub struct DataProgress {
    shown: bool,
    bar: ProgressBar,
}

impl DataProgress {
    pub fn new(wanted: bool) -> Self {
        Self { shown: shown(wanted), bar: ProgressBar::hidden() }
    }
}

impl DownloadProgress for DataProgress {
    fn started(&mut self, file: &str, total: Option<u64>, already: u64) {
        let template = match total {
            Some(_) => "{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
            None => "{msg} {bytes}, {bytes_per_sec}",
        };
        self.bar = bar(self.shown, total, template);
        self.bar.set_message(format!("downloading {file}"));
        self.bar.set_position(already);
        self.bar.reset_eta();
        if !self.shown {
            crate::output::tell(&format!("downloading {file}"));
        }
    }

    fn received(&mut self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn verifying(&mut self, file: &str) {
        self.bar.set_message(format!("verifying {file}"));
    }

    fn retrying(&mut self, file: &str, cause: &str) {
        self.bar.finish_and_clear();
        error::warn(&format!("downloading {file} broke off, trying again: {cause}"));
    }

    fn finished(&mut self) {
        self.bar.finish_and_clear();
    }

    fn rejected(&mut self, file: &Path, cause: &str) {
        self.bar.finish_and_clear();
        error::warn(&format!("`{}` is not what was published, fetching it again: {cause}", file.display()));
    }

    fn waiting(&mut self, folder: &Path) {
        crate::output::tell(&format!("waiting for another process that downloads into `{}`", folder.display()));
    }
}
