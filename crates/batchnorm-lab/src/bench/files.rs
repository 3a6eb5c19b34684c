//! Files of problems: a shape a line, with settings of its own if it has any.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Dtype, Extents, ExtentsError, Layout, Op};
use crate::UnknownName;

/// The files that the program carries, by name.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("resnet50", include_str!("../../../../shapes/resnet50.txt")),
    ("small", include_str!("../../../../shapes/small.txt")),
    ("odd", include_str!("../../../../shapes/odd.txt")),
    ("2d", include_str!("../../../../shapes/2d.txt")),
    ("regressions", include_str!("../../../../shapes/regressions.txt")),
];

/// A problem of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its extents.
    pub extents: Extents,
    /// `op=`, if it says so.
    pub ops: Option<Vec<Op>>,
    /// `dtype=`.
    pub dtypes: Option<Vec<Dtype>>,
    /// `layout=`.
    pub layouts: Option<Vec<Layout>>,
}

impl From<Extents> for Line {
    fn from(extents: Extents) -> Self {
        Self { extents, ops: None, dtypes: None, layouts: None }
    }
}

/// Why a file has no problems to measure.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// It cannot be read.
    #[error("`{file}` cannot be read; name a file of shapes, or one of: {}", built_in())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It holds nothing but comments.
    #[error("expected a shape a line in `{file}`, as in 32x64x56x56, found none")]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// A line is wrong.
    #[error("{file}, line {line}")]
    Line {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        source: LineError,
    },
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The shape.
    #[error(transparent)]
    Extents(#[from] ExtentsError),
    /// A name.
    #[error(transparent)]
    Name(#[from] UnknownName),
    /// A word that is no setting.
    #[error("expected op=, dtype= or layout= after the shape, as in 32x64x56x56 op=forward, found `{found}`")]
    Setting {
        /// The word.
        found: String,
    },
}

fn built_in() -> String {
    BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The problems of a file, or of one of [`BUILT_IN`] by its name.
///
/// `#` begins a comment, and empty lines are skipped. After the shape a line may have settings of its own, which have
/// precedence over what was asked for: `32x64x56x56 op=forward,eval dtype=f64 layout=channels-last`.
///
/// # Errors
///
/// [`FilesError`], with the file and the line.
pub fn read(name: &str) -> Result<Vec<Line>, FilesError> {
    let file = PathBuf::from(name);
    let text = match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        Some((_, text)) => (*text).to_owned(),
        None => {
            fs::read_to_string(&file).map_err(|source| FilesError::Unreadable { file: file.clone(), source })?
        }
    };
    let mut lines = Vec::new();
    for (number, text) in text.lines().enumerate() {
        let text = text.split('#').next().unwrap_or_default().trim();
        if !text.is_empty() {
            let line = parse(text).map_err(|source| FilesError::Line {
                file: file.clone(),
                line: number + 1,
                source,
            })?;
            lines.push(line);
        }
    }
    if lines.is_empty() { Err(FilesError::Empty { file }) } else { Ok(lines) }
}

fn parse(text: &str) -> Result<Line, LineError> {
    let mut words = text.split_whitespace();
    let extents: Extents = words.next().unwrap_or_default().parse()?;
    let mut line = Line::from(extents);
    for word in words {
        match word.split_once('=') {
            Some(("op", value)) => line.ops = Some(list(value)?),
            Some(("dtype", value)) => line.dtypes = Some(list(value)?),
            Some(("layout", value)) => line.layouts = Some(list(value)?),
            _ => return Err(LineError::Setting { found: word.to_owned() }),
        }
    }
    Ok(line)
}

/// Names with commas between them.
fn list<T: FromStr<Err = UnknownName>>(text: &str) -> Result<Vec<T>, UnknownName> {
    text.split(',').map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_the_program_carries_can_be_read() {
        for (name, _) in BUILT_IN {
            assert!(read(name).unwrap_or_else(|error| panic!("{error}: {error:?}")).len() >= 3, "{name}");
        }
    }

    #[test]
    fn a_line_may_have_settings_of_its_own() {
        let line = parse("32x64x56x56 op=forward,eval layout=channels-last").unwrap();
        assert_eq!(line.extents.to_string(), "32x64x56x56");
        assert_eq!(line.ops, Some(vec![Op::Forward, Op::Eval]));
        assert_eq!((line.dtypes, line.layouts), (None, Some(vec![Layout::ChannelsLast])));
    }

    #[test]
    fn a_wrong_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine.txt");
        let error = |text: &str| {
            fs::write(&file, text).unwrap();
            read(file.to_str().unwrap()).unwrap_err()
        };
        assert!(matches!(error("# nothing\n\n"), FilesError::Empty { .. }));
        for (text, kind) in [("0x4", "Extents"), ("4x4 op=sideways", "Name"), ("4x4 quickly", "Setting")] {
            let found = error(&format!("# first\n{text} # not good\n"));
            let FilesError::Line { line: 2, source, .. } = &found else { panic!("{found:?}") };
            assert!(format!("{source:?}").starts_with(kind), "{source:?}");
        }
        let missing = read("no/such/file.txt").unwrap_err().to_string();
        assert!(missing.contains("resnet50, small, odd, 2d, regressions"), "{missing}");
    }
}
