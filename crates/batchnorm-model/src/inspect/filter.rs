//! Which layers are told of.

use super::Inspection;

impl Inspection {
    /// Keeps the layers whose names are like a pattern, in which `*` stands for any letters or none and `?` for one. If none
    /// is, there are no layers afterwards, which is not an absence.
    pub fn keep_named(&mut self, pattern: &str) {
        self.layers.retain(|layer| matches(pattern, &layer.name));
    }

    /// Keeps the layers that something was found in.
    pub fn keep_found(&mut self) {
        self.layers.retain(|layer| !layer.findings.is_empty());
    }
}

/// The shortest text for the last star that can be longer is tried, which takes at most the product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&letter) if letter == '?' || letter == name[read] => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, read) = (place + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|&letter| letter == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, name) in [
            ("bn1", "bn1"),
            ("*", ""),
            ("*", "layer1.0/bn1"),
            ("layer?.*bn*", "layer1.0/bn1"),
            ("*a*b", "aab"),
            ("**", "a"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("bn", "bn1"), ("bn1", "bn"), ("?", ""), ("*a*b", "aba"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
