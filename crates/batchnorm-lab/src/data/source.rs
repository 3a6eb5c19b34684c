//! What a data set is called.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::published::{CIFAR10, FASHION_MNIST, MNIST, Published};
use super::{About, Access, DataError, Dataset, digits, folder};
use crate::UnknownName;

/// What to train on: a published data set by its name, or a folder.
///
/// As text it is the name or the path: `mnist` is the published set, `./mnist` a folder.
///
/// ```
/// use batchnorm_lab::data::{Access, Source};
///
/// let digits = "digits".parse::<Source>()?.load(&mut Access::none())?;
/// assert_eq!((digits.train.len(), digits.test.len()), (1437, 360));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Source {
    /// UCI handwritten digits, embedded: 1797 images of 8x8.
    Digits,
    /// MNIST, handwritten digits: 70 000 grey images of 28x28, downloaded once.
    Mnist,
    /// Fashion-MNIST, articles of clothing: 70 000 grey images of 28x28, downloaded once.
    FashionMnist,
    /// CIFAR-10, small photographs: 60 000 coloured images of 32x32, downloaded once.
    Cifar10,
    /// A folder that holds IDX files, CIFAR-10's binary files, or a folder of images for each class; where it holds
    /// more than one of these, the first. CIFAR-10's archive is taken too.
    Folder(PathBuf),
}

impl Source {
    /// The names of the data sets that are found without a folder.
    pub const NAMES: &'static [&'static str] = &["digits", MNIST.name, FASHION_MNIST.name, CIFAR10.name];

    /// Where the data set comes from and under what terms; of a folder, no more than its path. What is in a folder
    /// is known once it is loaded: [`Dataset::about`].
    pub fn about(&self) -> About {
        match self {
            Self::Digits => digits::about(),
            Self::Folder(path) => folder::about(path, "images"),
            Self::Mnist | Self::FashionMnist | Self::Cifar10 => self.published().about(),
        }
    }

    /// Loads the data set: from the program itself, from its folder, or from the cache, into which it is
    /// downloaded if it is not there.
    ///
    /// A published set is verified by its checksums each time.
    ///
    /// # Errors
    ///
    /// If it is missing, damaged, or cannot be downloaded. The error says what to do.
    pub fn load(&self, access: &mut Access<'_>) -> Result<Dataset, DataError> {
        match self {
            Self::Digits => Ok(digits::load()),
            Self::Folder(path) => folder::load(path),
            Self::Mnist | Self::FashionMnist | Self::Cifar10 => self.published().load(access),
        }
    }

    fn published(&self) -> &'static Published {
        match self {
            Self::FashionMnist => &FASHION_MNIST,
            Self::Cifar10 => &CIFAR10,
            _ => &MNIST,
        }
    }
}

impl FromStr for Source {
    type Err = UnknownName;

    /// Every text but the empty one is a name or a path.
    fn from_str(found: &str) -> Result<Self, Self::Err> {
        match found {
            "digits" => Ok(Self::Digits),
            name if name == MNIST.name => Ok(Self::Mnist),
            name if name == FASHION_MNIST.name => Ok(Self::FashionMnist),
            name if name == CIFAR10.name => Ok(Self::Cifar10),
            "" => Err(UnknownName {
                what: "data set",
                found: String::new(),
                choices: format!("{}, or a folder", Self::NAMES.join(", ")),
            }),
            path => Ok(Self::Folder(path.into())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits => f.write_str("digits"),
            // A folder that is called like a published set is still a folder when it is read back.
            Self::Folder(path) if Self::NAMES.iter().any(|name| path.as_os_str() == *name) => {
                write!(f, "./{}", path.display())
            }
            Self::Folder(path) => path.display().fmt(f),
            Self::Mnist | Self::FashionMnist | Self::Cifar10 => f.write_str(self.published().name),
        }
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl TryFrom<String> for Source {
    type Error = UnknownName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_win_and_everything_else_is_a_folder() {
        for (text, source) in [
            ("digits", Source::Digits),
            ("mnist", Source::Mnist),
            ("fashion-mnist", Source::FashionMnist),
            ("cifar10", Source::Cifar10),
            ("./mnist", Source::Folder("./mnist".into())),
            ("../shared/data/mnist", Source::Folder("../shared/data/mnist".into())),
            ("MNIST", Source::Folder("MNIST".into())),
        ] {
            assert_eq!(text.parse::<Source>().unwrap(), source);
            assert_eq!(source.to_string(), text);
            let json = serde_json::to_string(&source).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Source>(&json).unwrap(), source);
        }
    }

    #[test]
    fn a_folder_called_like_a_published_set_stays_a_folder() {
        let folder = Source::Folder("mnist".into());
        assert_eq!(folder.to_string().parse::<Source>().unwrap(), Source::Folder("./mnist".into()));
    }

    #[test]
    fn an_empty_name_is_refused_with_the_names_there_are() {
        let error = "".parse::<Source>().unwrap_err().to_string();
        assert!(error.contains("digits, mnist, fashion-mnist, cifar10, or a folder"), "{error}");
        assert!(serde_json::from_str::<Source>("\"\"").is_err());
    }

    #[test]
    fn every_name_is_a_source() {
        for name in Source::NAMES {
            let source: Source = name.parse().unwrap();
            assert!(!matches!(source, Source::Folder(_)));
            assert!(!source.about().licence.is_empty());
        }
    }
}
