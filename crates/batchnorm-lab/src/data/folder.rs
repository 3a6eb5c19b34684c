//! What is in a folder.

use std::fs;
use std::path::Path;

use super::{About, DataError, Dataset, cifar, idx, image_folder};

/// The licence of a data set that is no published one.
const UNKNOWN: &str = "not known";

/// Loads the data set in a folder: IDX files, else CIFAR-10's binary files, else its archive, else folders of images.
pub(super) fn load(path: &Path) -> Result<Dataset, DataError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            return Err(DataError::NoSuchFolder { path: path.to_owned() });
        }
        Err(source) => return Err(DataError::Unreadable { path: path.to_owned(), source }),
    };
    if metadata.is_file() {
        return if file_name(path).ends_with(".tar.gz") {
            cifar::load_archive(path)
        } else {
            Err(DataError::NotAFolder { path: path.to_owned() })
        };
    }
    // Reading it once says whether it can be read at all.
    let found = contents(path)?;
    if let Some(files) = idx::find(path)? {
        let mut data = idx::load(path, &files)?;
        // A published set keeps its order, which is a random one.
        if data.about.licence == UNKNOWN {
            data.test.shuffle();
        }
        return Ok(data);
    }
    if let Some(folder) = cifar::find(path) {
        return cifar::load_folder(&folder);
    }
    let archive = path.join(cifar::ARCHIVE);
    if archive.is_file() {
        return cifar::load_archive(&archive);
    }
    match image_folder::load(path)? {
        Some(mut data) => {
            data.test.shuffle();
            Ok(data)
        }
        None => Err(DataError::Unrecognized { path: path.to_owned(), found }),
    }
}

/// What can be said of a data set that is no published one.
pub(super) fn about(path: &Path, form: &str) -> About {
    About {
        title: format!("{}", path.display()),
        description: format!("{form} of the user's"),
        source: format!("{}", path.display()),
        licence: UNKNOWN.to_owned(),
    }
}

/// A file's name in words that can be shown.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The first few things in a folder, by name.
pub(crate) fn contents(folder: &Path) -> Result<String, DataError> {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = entries(folder)?
        .iter()
        .map(|path| if path.is_dir() { format!("{}/", file_name(path)) } else { file_name(path) })
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    Ok(match (names.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    })
}

/// What is in a folder, sorted by name; without hidden files and those that file managers leave behind.
pub(crate) fn entries(folder: &Path) -> Result<Vec<std::path::PathBuf>, DataError> {
    const LEFT_BEHIND: [&str; 3] = ["thumbs.db", "desktop.ini", "__macosx"];
    let unreadable = |source| DataError::Unreadable { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = file_name(&path).to_lowercase();
        if !name.starts_with('.') && !LEFT_BEHIND.contains(&name.as_str()) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
