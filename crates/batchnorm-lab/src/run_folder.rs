//! The folder that receives what a run wrote. Files appear in it whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file that a run goes on from.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// How the names begin that files have until they are whole.
const UNFINISHED: &str = ".tmp";

/// The folder of a run, which can be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

/// Why a folder cannot receive a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunFolderError {
    /// A file in it cannot be written.
    #[error(transparent)]
    File(#[from] batchnorm_model::FileError),
    /// There is something in it.
    #[error("the folder `{}` is not empty, and a run never writes over another", .path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There is a file in its place.
    #[error("`{}` is not a folder", .path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// There is no run in it to go on with.
    #[error("`{}` holds no checkpoint of a run: expected the file `{CHECKPOINT}` in it", .path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
    /// It cannot be created, read or written.
    #[error("cannot write to the folder `{}`", .path.display())]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl RunFolder {
    /// Takes an empty folder, or creates it with its parents, and checks that it can be written to.
    ///
    /// # Errors
    ///
    /// If it is not empty, not a folder, or cannot be written to.
    pub fn create(path: &Path) -> Result<Self, RunFolderError> {
        let path = path.to_owned();
        if path.exists() && !path.is_dir() {
            return Err(RunFolderError::NotAFolder { path });
        }
        let prepared = fs::create_dir_all(&path)
            .and_then(|()| fs::read_dir(&path))
            .map(|mut entries| entries.next().is_none())
            .and_then(|empty| tempfile::NamedTempFile::new_in(&path).map(|_| empty));
        match prepared {
            Ok(true) => Ok(Self { path }),
            Ok(false) => Err(RunFolderError::NotEmpty { path }),
            Err(source) => Err(RunFolderError::Unwritable { path, source }),
        }
    }

    /// Creates a new folder named by the time (UTC), inside `parent`.
    ///
    /// # Errors
    ///
    /// If it cannot be written to.
    pub fn create_by_time(parent: &Path) -> Result<Self, RunFolderError> {
        let unwritable = |path: &Path, source| RunFolderError::Unwritable { path: path.to_owned(), source };
        fs::create_dir_all(parent).map_err(|source| unwritable(parent, source))?;
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let name = timestamp(seconds);
        let mut path = parent.join(&name);
        let mut runs = 1;
        loop {
            match fs::create_dir(&path) {
                Ok(()) => return Self::create(&path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    runs += 1;
                    path = parent.join(format!("{name}-{runs}"));
                }
                Err(source) => return Err(unwritable(&path, source)),
            }
        }
    }

    /// Opens the folder of a run, to go on with it.
    ///
    /// # Errors
    ///
    /// If there is no checkpoint in it.
    pub fn open(path: &Path) -> Result<Self, RunFolderError> {
        let path = path.to_owned();
        if path.exists() && !path.is_dir() {
            return Err(RunFolderError::NotAFolder { path });
        }
        if !path.join(CHECKPOINT).is_file() {
            return Err(RunFolderError::NoRun { path });
        }
        // What a killed run had not finished writing.
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self { path })
    }

    /// Where the run's checkpoint is, or will be.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes a file of an earlier stage of the run, if it is there.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), RunFolderError> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(RunFolderError::Unwritable { path: self.path.clone(), source: error })
            }
            _ => Ok(()),
        }
    }

    /// Writes a file: under another name first, renamed when it is whole. Returns where it is.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, RunFolderError> {
        let path = self.path.join(name);
        batchnorm_model::file::write(&path, text.as_bytes())?;
        Ok(path)
    }
}

/// Seconds since 1970 as `2026-11-23T17-45-09Z`: it sorts by time and is a name on every file system.
fn timestamp(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date in the proleptic Gregorian calendar, years beginning in March (Howard Hinnant).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_named_by_date_and_time() {
        assert_eq!(timestamp(0), "1970-01-01T00-00-00Z");
        assert_eq!(timestamp(951_782_399), "2000-02-28T23-59-59Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00-00-00Z");
        assert_eq!(timestamp(1_795_456_509), "2026-11-23T17-55-09Z");
    }

    #[test]
    fn an_empty_folder_is_taken_and_a_used_one_refused() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = RunFolder::create(&path).unwrap();
        assert_eq!(RunFolder::create(&path).unwrap(), folder);
        folder.write("metrics.json", "{}").unwrap();
        assert!(matches!(RunFolder::create(&path), Err(RunFolderError::NotEmpty { .. })));
        assert!(matches!(RunFolder::open(&path), Err(RunFolderError::NoRun { .. })));
        folder.write("checkpoint.safetensors", "...").unwrap();
        assert_eq!(RunFolder::open(&path).unwrap(), folder);
        assert!(matches!(
            RunFolder::create(&path.join("metrics.json")),
            Err(RunFolderError::NotAFolder { .. })
        ));
    }

    #[test]
    fn only_the_whole_file_appears() {
        let parent = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(parent.path()).unwrap();
        folder.write("a.txt", "first").unwrap();
        folder.write("a.txt", "second").unwrap();
        let names: Vec<_> =
            fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a.txt"]);
        assert_eq!(fs::read_to_string(parent.path().join("a.txt")).unwrap(), "second");
    }

    #[test]
    fn two_runs_in_one_second_have_two_folders() {
        let parent = tempfile::tempdir().unwrap();
        let folders: Vec<_> = (0..3).map(|_| RunFolder::create_by_time(parent.path()).unwrap()).collect();
        assert_ne!(folders[0], folders[1]);
        assert_ne!(folders[1], folders[2]);
    }
}
