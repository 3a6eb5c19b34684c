//! Files that appear whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::FileError;

/// Writes a file under a temporary name in the same folder, waits until it is on the disk, and renames it.
///
/// Whatever happens meanwhile, `path` holds either what it held before or all of `bytes`. A file that was there is
/// replaced, whatever its permissions; the new one can be read and written by whom the umask allows. A link is
/// replaced, not followed.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("notes.txt");
/// batchnorm_model::file::write(&path, b"all of it")?;
/// assert_eq!(std::fs::read(&path)?, b"all of it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// If the folder does not exist or cannot be written to, the disk is full, or `path` is a folder.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    write_with(path, |file| file.write_all(bytes).map_err(failed))
}

/// As [`write()`], for what is written piece by piece: `fill` is called once, and what it wrote becomes the file unless it
/// fails.
///
/// # Errors
///
/// What `fill` returns, and what [`write()`] does.
pub fn write_with<E: From<FileError>>(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    let (folder, mut file) = beside(path).map_err(failed)?;
    fill(file.as_file_mut())?;
    replace(path, folder, file).map_err(failed)?;
    Ok(())
}

/// A temporary file in the folder of `path`.
fn beside(path: &Path) -> io::Result<(&Path, NamedTempFile)> {
    // The parent of a bare name is the empty path, which no system call takes.
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Readable as any other file, not by its owner alone as a secret would be; the umask still applies.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    Ok((folder, builder.tempfile_in(folder)?))
}

/// Gives a file that is complete its name.
fn replace(path: &Path, folder: &Path, file: NamedTempFile) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The new name is on the disk once its folder is. Some file systems cannot be asked for that; the file is whole
    // all the same.
    #[cfg(unix)]
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_file_appears() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"first").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_what_was_there_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"kept").unwrap();
        let error = write(&path, b"new").unwrap_err();
        assert!(matches!(&error, FileError::Write { path: named, .. } if *named == path));
        assert_eq!(fs::read(path.join("inside")).unwrap(), b"kept");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/a");
        assert!(write(&path, b"").unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn a_path_without_a_parent_folder_means_the_current_one() {
        let name = format!("written-by-a-test-{}", std::process::id());
        let path = Path::new(&name);
        let written = write(path, b"here");
        let read = fs::read(path);
        let _ = fs::remove_file(path);
        written.unwrap();
        assert_eq!(read.unwrap(), b"here");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::write(folder.path().join("plain"), b"").unwrap();
        write(&folder.path().join("ours"), b"").unwrap();
        assert_eq!(mode("ours"), mode("plain"));
    }
}
