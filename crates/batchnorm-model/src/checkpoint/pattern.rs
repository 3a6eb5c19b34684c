//! Names with `*` in them: `layer*.*.conv1` for every block of a network.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

/// As many parts as a name may have to match: no module is deeper, and no name makes matching take long.
const DEEPEST: usize = 256;

/// A name of a module in which `*` stands for something: for one or more whole parts where it stands alone between dots, for
/// any letters within a part (or none) where it stands beside others.
///
/// ```
/// use batchnorm_model::checkpoint::Pattern;
///
/// let pattern: Pattern = "layer*.*.conv1".parse()?;
/// assert!(pattern.matches("layer1.0.conv1") && pattern.matches("layer2.blocks.3.conv1"));
/// assert!(!pattern.matches("layer1.conv1") && !pattern.matches("stem.0.conv1"));
/// # Ok::<(), batchnorm_model::checkpoint::PatternError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// `*` alone.
    Parts,
    /// Text between stars within the part: one more than there are stars.
    Letters(Vec<String>),
}

/// Why a text is no pattern, or no pair of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// There is no text between two dots, or none at all.
    #[error("`{text}` has an empty part; expected a name such as `layer1.0.bn1`, with `*` for what varies")]
    Empty {
        /// The text.
        text: String,
    },
    /// A pair has no `=`, or several.
    #[error("expected a pair such as `conv1=bn1`, the map and the layer behind it, found `{text}`")]
    NoPair {
        /// The text.
        text: String,
    },
    /// The two sides of a pair have different stars.
    #[error(
        "the sides of `{text}` must have the same stars in the same order, alone between dots or beside letters: what a \
         star stands for on the left, it stands for on the right"
    )]
    Stars {
        /// The text.
        text: String,
    },
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let part = |part: &str| match part {
            "" => Err(PatternError::Empty { text: text.to_owned() }),
            "*" => Ok(Part::Parts),
            part => Ok(Part::Letters(part.split('*').map(str::to_owned).collect())),
        };
        let parts = text.split('.').map(part).collect::<Result<_, _>>()?;
        Ok(Self { parts, text: text.to_owned() })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    /// Whether a name is one of those that the pattern stands for.
    pub fn matches(&self, name: &str) -> bool {
        self.captures(name).is_some()
    }

    /// Whether it stands for one name alone.
    pub fn is_literal(&self) -> bool {
        !self.text.contains('*')
    }

    /// What each star stands for in a name, the shortest that there is; `None` where the name does not match.
    pub(super) fn captures(&self, name: &str) -> Option<Vec<String>> {
        let names: Vec<&str> = name.split('.').take(DEEPEST + 1).collect();
        if names.len() > DEEPEST {
            return None;
        }
        let mut matching = Matching { parts: &self.parts, names: &names, failed: HashSet::new() };
        let mut captures = matching.matched(0, 0, 0)?;
        captures.reverse();
        Some(captures)
    }

    /// The name in which each star stands for what is given.
    pub(super) fn with(&self, captures: &[String]) -> String {
        let mut captures = captures.iter();
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            parts.push(match part {
                Part::Parts => captures.next().cloned().unwrap_or_default(),
                Part::Letters(texts) => {
                    let mut filled = String::new();
                    for (index, text) in texts.iter().enumerate() {
                        if index > 0 {
                            filled.push_str(captures.next().map_or("", String::as_str));
                        }
                        filled.push_str(text);
                    }
                    filled
                }
            });
        }
        parts.join(".")
    }

    /// The kinds of its stars, in order: alone or beside letters.
    fn stars(&self) -> Vec<bool> {
        let stars = self.parts.iter().flat_map(|part| match part {
            Part::Parts => vec![true],
            Part::Letters(texts) => vec![false; texts.len() - 1],
        });
        stars.collect()
    }
}

/// A pattern on a name. What did not match is remembered, so that no name takes longer than its parts times the pattern's.
struct Matching<'a> {
    parts: &'a [Part],
    names: &'a [&'a str],
    failed: HashSet<(usize, usize)>,
}

impl Matching<'_> {
    /// Matches the pattern from part `part` on with the name from part `name` on; if that is a star, it has taken the name's
    /// parts from `start` on. What the stars stand for comes last first.
    fn matched(&mut self, part: usize, name: usize, start: usize) -> Option<Vec<String>> {
        let (parts, names) = (self.parts, self.names);
        let Some(kind) = parts.get(part) else { return (name == names.len()).then(Vec::new) };
        let here = names.get(name)?;
        if self.failed.contains(&(part, name)) {
            return None;
        }
        let left = self.ends_here(part, name, kind, here);
        let found = match (kind, left) {
            (Part::Letters(_), found) => found,
            (Part::Parts, Some(mut captures)) => {
                captures.push(names[start..=name].join("."));
                Some(captures)
            }
            (Part::Parts, None) => self.matched(part, name + 1, start),
        };
        if found.is_none() {
            self.failed.insert((part, name));
        }
        found
    }

    /// The same, if the pattern's part ends with the name's.
    fn ends_here(&mut self, part: usize, name: usize, kind: &Part, here: &str) -> Option<Vec<String>> {
        let mut stars = match kind {
            Part::Parts => Vec::new(),
            Part::Letters(texts) => match_letters(texts, here)?,
        };
        let mut captures = self.matched(part + 1, name + 1, name + 1)?;
        stars.reverse();
        captures.extend(stars);
        Some(captures)
    }
}

/// Matches the text between stars within one part, each star with as few letters as there can be.
fn match_letters(texts: &[String], name: &str) -> Option<Vec<String>> {
    let (first, rest) = texts.split_first()?;
    let mut left = name.strip_prefix(first.as_str())?;
    let Some((last, middle)) = rest.split_last() else { return left.is_empty().then(Vec::new) };
    let mut captures = Vec::with_capacity(rest.len());
    for text in middle {
        let at = left.find(text.as_str())?;
        captures.push(left[..at].to_owned());
        left = &left[at + text.len()..];
    }
    captures.push(left.strip_suffix(last.as_str())?.to_owned());
    Some(captures)
}

/// A linear map and the batch-norm layer that normalizes what it gives: `conv1=bn1`, or, with stars,
/// `layer*.*.conv1=layer*.*.bn1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The map's name.
    pub map: Pattern,
    /// The layer's name.
    pub norm: Pattern,
}

impl FromStr for Pair {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let sides: Vec<&str> = text.split('=').collect();
        let [map, norm] = sides[..] else { return Err(PatternError::NoPair { text: text.to_owned() }) };
        let (map, norm): (Pattern, Pattern) = (map.trim().parse()?, norm.trim().parse()?);
        if map.stars() != norm.stars() {
            return Err(PatternError::Stars { text: text.to_owned() });
        }
        Ok(Self { map, norm })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.map, self.norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_star_alone_is_one_part_or_more() {
        for (text, name, expected) in [
            ("*.conv", "a.conv", Some(vec!["a"])),
            ("*.conv", "a.b.conv", Some(vec!["a.b"])),
            ("*.conv", "conv", None),
            ("*", "a.b", Some(vec!["a.b"])),
            ("*.*", "a.b.c", Some(vec!["a", "b.c"])),
            ("a.*.b.*", "a.b.b.b.c", Some(vec!["b", "b.c"])),
        ] {
            let expected = expected.map(|stars| stars.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(pattern(text).captures(name), expected, "{text} {name}");
        }
    }

    #[test]
    fn a_star_beside_letters_stays_in_its_part() {
        for (text, name, expected) in [
            ("layer*.0", "layer1.0", Some(vec!["1"])),
            ("layer*.0", "layer.0", Some(vec![""])),
            ("layer*.0", "layer1.1.0", None),
            ("*conv*", "my_conv2", Some(vec!["my_", "2"])),
            ("a*a", "a", None),
            ("größe*", "größe大", Some(vec!["大"])),
        ] {
            let expected = expected.map(|stars| stars.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(pattern(text).captures(name), expected, "{text} {name}");
        }
    }

    #[test]
    fn what_stars_stand_for_goes_to_the_other_side() {
        let pair: Pair = "layer*.*.conv*=layer*.*.bn*".parse().unwrap();
        let captures = pair.map.captures("layer3.1.conv2").unwrap();
        assert_eq!(pair.norm.with(&captures), "layer3.1.bn2");
    }

    #[test]
    fn pairs_that_are_none_are_refused() {
        for (text, part) in [
            ("conv1", "expected a pair"),
            ("a=b=c", "expected a pair"),
            ("a..b=c", "empty part"),
            ("=bn", "empty part"),
            ("*.a=b", "same stars"),
            ("a*=*", "same stars"),
        ] {
            let error = text.parse::<Pair>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn many_stars_and_a_long_name_take_no_time() {
        let name = vec!["a"; DEEPEST].join(".");
        let stars = vec!["*"; 40].join(".a.") + ".b";
        assert!(!pattern(&stars).matches(&name));
        assert!(pattern(&vec!["*"; 40].join(".a.")).matches(&name));
        assert!(!pattern("*").matches(&(name + ".a")));
    }
}
