//! Names of layers with stars in them.

/// Whether a name is like a pattern, in which `*` stands for any letters or none and `?` for one.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last star, and where what it stands for ends.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&letter) if letter == '?' || letter == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                // It stands for one letter more.
                Some((at, end)) => {
                    star = Some((at, end + 1));
                    (p, n) = (at + 1, end + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&letter| letter == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_any_letters_and_a_question_mark_one() {
        for (pattern, name) in [
            ("bn1", "bn1"),
            ("*", ""),
            ("bn*", "bn"),
            ("*/bn?/*", "/layer1/bn2/BatchNormalization"),
            ("*a*b", "aabab"),
            ("l?yer*", "layer4.bn"),
            ("**", "a"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("bn1", "bn11"), ("", "a"), ("?", ""), ("*a*b", "aaba"), ("bn?", "bn")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
