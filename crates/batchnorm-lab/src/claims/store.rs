//! Results on disk: a line for each finished task, appended whole or not at all.
//!
//! ```text
//! {"schema":1,"program":"0.1.0","facts":{...}}
//! {"task":"training","seconds":1.25,"spec":{...},"outcome":{...}}
//! ```
//!
//! A task is known by its kind and its specification, so that tasks that several claims share are done once, and a run that
//! was interrupted goes on with what is missing. The last line of a killed run may be torn: it is cut off.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Facts;

/// The file's name in a results folder.
pub const FILE: &str = "results.jsonl";
/// The version of its form, and of what the tasks mean: results of another version are not mixed with ours.
const SCHEMA: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    schema: u32,
    program: String,
    facts: Facts,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    task: String,
    seconds: f64,
    spec: Value,
    outcome: Value,
}

/// Outcomes by their tasks, with the seconds they took.
type Known = HashMap<String, (f64, Value)>;

/// Results on disk, all of them in memory as well.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    facts: Facts,
    known: Mutex<Known>,
    file: Mutex<File>,
}

impl Store {
    /// Opens the results in a folder, or begins them there, for these data.
    ///
    /// # Errors
    ///
    /// If they are of another version or of other data, in use by another process, or cannot be read or written.
    pub fn open(folder: &Path, facts: &Facts) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let unwritable = |source| StoreError::Unwritable { path: path.clone(), source };
        if !path.exists() {
            fs::create_dir_all(folder).map_err(unwritable)?;
            let head = Head { schema: SCHEMA, program: program(), facts: facts.clone() };
            let line = serde_json::to_string(&head).expect("a head has a JSON form") + "\n";
            batchnorm_model::file::write(&path, line.as_bytes()).map_err(|error| StoreError::Unwritable {
                path: path.clone(),
                source: io::Error::other(error),
            })?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(unwritable)?;
        // Released with the file, also by a killed process. A file system without locks has to do without.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(StoreError::InUse { path });
        }
        let (found, known, whole) = read(&path)?;
        if found.fingerprint != facts.fingerprint {
            let (expected, found) = (facts.title.clone(), found.title);
            return Err(StoreError::OtherData { path, expected, found });
        }
        // What a killed run had not finished writing.
        file.set_len(whole).map_err(unwritable)?;
        Ok(Self { path, facts: found, known: Mutex::new(known), file: Mutex::new(file) })
    }

    /// Opens the results in a folder to read them.
    ///
    /// # Errors
    ///
    /// If there are none, or of another version, or they cannot be read.
    pub fn read(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        if !path.is_file() {
            return Err(StoreError::Missing { path: folder.to_owned() });
        }
        let (facts, known, _) = read(&path)?;
        let file = File::open(&path).map_err(|source| StoreError::Unreadable { path: path.clone(), source })?;
        Ok(Self { path, facts, known: Mutex::new(known), file: Mutex::new(file) })
    }

    /// The data that the results are of.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The outcome of a task, with the seconds it took, if it is known.
    pub(super) fn get(&self, key: &str) -> Option<(f64, Value)> {
        self.known.lock().expect("no thread panics here").get(key).cloned()
    }

    /// Whether a task's outcome is known.
    pub(super) fn has(&self, key: &str) -> bool {
        self.known.lock().expect("no thread panics here").contains_key(key)
    }

    /// Keeps the outcome of a task.
    pub(super) fn put(&self, task: &str, spec: Value, seconds: f64, outcome: Value) -> Result<(), StoreError> {
        let key = key(task, &spec);
        let record = Record { task: task.to_owned(), seconds, spec, outcome };
        let line = serde_json::to_string(&record).expect("a record has a JSON form") + "\n";
        {
            // One call: a line is there whole, or it is torn and cut off by whoever opens the file next.
            let mut file = self.file.lock().expect("no thread panics here");
            let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
            written.map_err(|source| StoreError::Unwritable { path: self.path.clone(), source })?;
        }
        self.known.lock().expect("no thread panics here").insert(key, (seconds, record.outcome));
        Ok(())
    }
}

/// How a task is known.
pub(super) fn key(task: &str, spec: &Value) -> String {
    format!("{task} {spec}")
}

fn program() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// The data, the results by their tasks, and the length of what is whole.
fn read(path: &Path) -> Result<(Facts, Known, u64), StoreError> {
    let bytes = fs::read(path).map_err(|source| StoreError::Unreadable { path: path.to_owned(), source })?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    let mut lines = text.lines();
    let broken = |line: usize, why: String| StoreError::Broken { path: path.to_owned(), line, why };
    let first = lines.next().ok_or_else(|| broken(1, "there is nothing in it".to_owned()))?;
    // Of another version nothing but the version need be as we know it.
    let value: Value = serde_json::from_str(first).map_err(|error| broken(1, error.to_string()))?;
    let found = (value["schema"].as_u64(), value["program"].as_str().map(str::to_owned));
    if found != (Some(u64::from(SCHEMA)), Some(program())) {
        let version = |schema: Option<u64>, program: Option<String>| match (schema, program) {
            (Some(schema), Some(program)) => format!("schema {schema} of batchnorm {program}"),
            _ => "no version".to_owned(),
        };
        return Err(StoreError::OtherVersion {
            path: path.to_owned(),
            expected: version(Some(u64::from(SCHEMA)), Some(program())),
            found: version(found.0, found.1),
        });
    }
    let head: Head = serde_json::from_value(value).map_err(|error| broken(1, error.to_string()))?;
    let mut known = HashMap::new();
    for (index, line) in lines.enumerate() {
        let record: Record =
            serde_json::from_str(line).map_err(|error| broken(index + 2, error.to_string()))?;
        known.insert(key(&record.task, &record.spec), (record.seconds, record.outcome));
    }
    Ok((head.facts, known, whole as u64))
}

/// Why results could not be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There are none.
    #[error("there are no results in `{}`: expected {FILE} there, as `batchnorm claims run` writes it", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// There is a file in the folder's place.
    #[error("`{}` is not a folder; choose another with --out", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// Another process adds to the results.
    #[error("another process is adding to `{}`: wait for it, or choose another folder with --out", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("could not read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("could not write `{}`; make room or choose another folder with --out, and run the same command again: what is finished is not repeated", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The results are of another version.
    #[error(
        "the results in `{}` are of {found}, expected {expected}: they cannot be mixed with new ones; choose another folder \
         with --out",
        path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Our version.
        expected: String,
        /// Theirs.
        found: String,
    },
    /// The results are of other data.
    #[error("the results in `{}` are of {found}, expected {expected}; choose another folder with --out", path.display())]
    OtherData {
        /// The file.
        path: PathBuf,
        /// The title of the data at hand.
        expected: String,
        /// The title of theirs.
        found: String,
    },
    /// A line that is none of ours.
    #[error("line {line} of `{}` is no result: {why}; remove the line, or choose another folder with --out", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, the first being 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
}
