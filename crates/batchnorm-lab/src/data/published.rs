//! The published data sets: their files, checksums, mirrors and terms.

use std::path::{Path, PathBuf};

use super::checksum::Checksums;
use super::idx::{self, Idx, Role};
use super::{About, Access, DataError, Dataset, cifar, download};

/// A data set that is downloaded once.
#[derive(Debug)]
pub(super) struct Published {
    /// What it is called, and its folder in the cache.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    source: &'static str,
    pub(super) licence: &'static str,
    class_names: [&'static str; 10],
    /// Base URLs, tried in turn.
    pub(super) mirrors: &'static [&'static str],
    pub(super) files: &'static [PublishedFile],
}

/// A file as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublishedFile {
    /// Its name on the mirrors and in the cache.
    pub(super) name: &'static str,
    /// Its bytes, where they are the same on all mirrors.
    pub(super) size: Option<u64>,
    pub(super) sha256: Sha256Of,
}

/// What a published checksum is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sha256Of {
    /// The file itself.
    File(&'static str),
    /// What is in it, uncompressed: mirrors compress it each in their own way.
    Contents(&'static str),
}

impl PublishedFile {
    /// Whether a file of these checksums is this one.
    pub(super) fn is(&self, found: &Checksums) -> bool {
        match self.sha256 {
            Sha256Of::File(expected) => found.file == expected,
            Sha256Of::Contents(expected) => found.contents == expected,
        }
    }

    /// Checks that a file of these checksums is this one.
    pub(super) fn verify(&self, path: &Path, found: &Checksums) -> Result<(), DataError> {
        if self.is(found) {
            return Ok(());
        }
        let (expected, found) = match self.sha256 {
            Sha256Of::File(expected) => (expected.to_owned(), found.file.clone()),
            Sha256Of::Contents(expected) => {
                (format!("{expected} (of the uncompressed contents)"), found.contents.clone())
            }
        };
        Err(DataError::Checksum { file: path.to_owned(), expected, found })
    }
}

const fn contents(name: &'static str, sha256: &'static str) -> PublishedFile {
    PublishedFile { name, size: None, sha256: Sha256Of::Contents(sha256) }
}

const fn file(name: &'static str, sha256: &'static str) -> PublishedFile {
    PublishedFile { name, size: None, sha256: Sha256Of::File(sha256) }
}

pub(super) const MNIST: Published = Published {
    name: "mnist",
    title: "MNIST",
    description: "70 000 handwritten digits, grey, 28x28 pixels, 10 classes; 60 000 to train on, 10 000 to test on, as \
                  published",
    source: "http://yann.lecun.com/exdb/mnist/",
    licence: "CC BY-SA 3.0 (Yann LeCun, Corinna Cortes)",
    class_names: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    mirrors: &[
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ],
    files: &[
        contents(
            "train-images-idx3-ubyte.gz",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        contents(
            "train-labels-idx1-ubyte.gz",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        contents(
            "t10k-images-idx3-ubyte.gz",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        contents(
            "t10k-labels-idx1-ubyte.gz",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ],
};

pub(super) const FASHION_MNIST: Published = Published {
    name: "fashion-mnist",
    title: "Fashion-MNIST",
    description: "70 000 articles of clothing, grey, 28x28 pixels, 10 classes; 60 000 to train on, 10 000 to test on, \
                  as published",
    source: "https://github.com/zalandoresearch/fashion-mnist",
    licence: "MIT (Zalando SE)",
    class_names: [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ],
    mirrors: &[
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/b2617bb6d3ffa2e429640350f613e3291e10b141/data/fashion/",
    ],
    files: &[
        file("train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        file("train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        file("t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        file("t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ],
};

pub(super) const CIFAR10: Published = Published {
    name: "cifar10",
    title: "CIFAR-10",
    description: "60 000 photographs of things and animals, coloured, 32x32 pixels, 10 classes; 50 000 to train on, \
                  10 000 to test on, as published",
    source: "https://www.cs.toronto.edu/~kriz/cifar.html",
    licence: "none stated (Alex Krizhevsky, Vinod Nair, Geoffrey Hinton)",
    class_names: ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    mirrors: &["https://www.cs.toronto.edu/~kriz/"],
    files: &[PublishedFile {
        name: cifar::ARCHIVE,
        size: Some(170_052_171),
        sha256: Sha256Of::File("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"),
    }],
};

/// What was read from a file, and what the file is known by.
type WithChecksums<T> = Result<(T, Checksums), DataError>;

/// The published set that four IDX files are, if they are one.
pub(super) fn recognise(files: &[Idx; 4]) -> Option<&'static Published> {
    const SETS: [&Published; 2] = [&MNIST, &FASHION_MNIST];
    SETS.into_iter()
        .find(|set| set.files.iter().zip(files).all(|(published, file)| published.is(&file.checksums)))
}

impl Published {
    pub(super) fn about(&self) -> About {
        About {
            title: self.title.to_owned(),
            description: self.description.to_owned(),
            source: self.source.to_owned(),
            licence: self.licence.to_owned(),
        }
    }

    pub(super) fn class_names(&self) -> Vec<String> {
        self.class_names.iter().map(ToString::to_string).collect()
    }

    /// Loads the data set from the cache, having downloaded what is not there.
    pub(super) fn load(&self, access: &mut Access<'_>) -> Result<Dataset, DataError> {
        if let [archive] = self.files {
            return self
                .verified(archive, &[archive.name.to_owned()], access, &|path| cifar::read_archive(path));
        }
        let mut files = Vec::with_capacity(Role::ALL.len());
        for (file, role) in self.files.iter().zip(Role::ALL) {
            // A compressed file's checksum says nothing of one that was unpacked.
            let names = match file.sha256 {
                Sha256Of::File(_) => vec![file.name.to_owned()],
                Sha256Of::Contents(_) => role.names(),
            };
            files.push(self.verified(file, &names, access, &|path| {
                let idx = idx::read(path, role.rank())?;
                let checksums = idx.checksums.clone();
                Ok((idx, checksums))
            })?);
        }
        let files = <[Idx; 4]>::try_from(files).expect("a file for each role");
        let mut data = idx::assemble(files, self.about())?;
        data.class_names = self.class_names();
        Ok(data)
    }

    /// Reads a file from the cache, where it may have any of `names`, or downloads it.
    fn verified<T>(
        &self,
        file: &PublishedFile,
        names: &[String],
        access: &mut Access<'_>,
        read: &dyn Fn(&Path) -> WithChecksums<T>,
    ) -> Result<T, DataError> {
        let verified = |path: &Path| {
            let (value, checksums) = read(path)?;
            file.verify(path, &checksums).map(|()| value)
        };
        let Some(folder) = access.cache.map(|cache| cache.join(self.name)) else {
            let reason = format!("`{}` is kept in a cache folder, but none was named", self.name);
            return Err(DataError::NotHere { reason, instructions: self.by_hand(None, access) });
        };
        let mut damaged = None;
        for path in names.iter().map(|name| folder.join(name)).filter(|path| path.is_file()) {
            match verified(&path) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    let cause = in_words(&error);
                    access.progress.rejected(&path, &cause);
                    damaged.get_or_insert(cause);
                }
            }
        }
        let instructions = self.by_hand(Some(&folder), access);
        if access.offline {
            let reason = damaged.unwrap_or_else(|| {
                format!("`{}` of `{}` is not in `{}`", file.name, self.name, folder.display())
            });
            return Err(DataError::NotHere { reason, instructions });
        }
        let mirrors = self.mirrors(access);
        match download::fetch(file, &folder, &mirrors, access, &verified)? {
            Ok(value) => Ok(value),
            Err(causes) => {
                Err(DataError::Download { set: self.name, file: file.name.to_owned(), causes, instructions })
            }
        }
    }

    fn mirrors(&self, access: &Access<'_>) -> Vec<String> {
        match access.mirrors {
            Some(mirrors) => mirrors.to_vec(),
            None => self.mirrors.iter().map(ToString::to_string).collect(),
        }
    }

    /// How to supply the files by hand.
    fn by_hand(&self, folder: Option<&PathBuf>, access: &Access<'_>) -> String {
        let place = match folder {
            Some(folder) => format!("`{}`", folder.display()),
            None => "a folder, and name that folder as the data set".to_owned(),
        };
        let names: String = self.files.iter().map(|file| format!("\n  {}", file.name)).collect();
        let mirrors: String = self.mirrors(access).iter().map(|mirror| format!("\n  {mirror}")).collect();
        format!("to supply it by hand, put these files into {place}:{names}\nthey are found at:{mirrors}")
    }
}

/// An error with its causes in one line.
pub(super) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_whole_checksum_and_the_names_of_its_role() {
        for set in [&MNIST, &FASHION_MNIST, &CIFAR10] {
            for (index, file) in set.files.iter().enumerate() {
                let (Sha256Of::File(sha256) | Sha256Of::Contents(sha256)) = file.sha256;
                assert_eq!(sha256.len(), 64, "{}", file.name);
                assert!(sha256.chars().all(|digit| digit.is_ascii_digit() || ('a'..='f').contains(&digit)));
                if set.files.len() == 4 {
                    assert!(Role::ALL[index].names().contains(&file.name.to_owned()), "{}", file.name);
                }
            }
            assert!(set.mirrors.iter().all(|mirror| mirror.starts_with("https://") && mirror.ends_with('/')));
        }
    }
}
