//! Where a layer's channels are on the other side of an operator that only moves numbers.

use std::ops::Range;

use batchnorm::fold::Affine;

use crate::onnx::layers::{Length, product};

/// A layer that lies along one axis of a value, seen along an axis of the same numbers in another shape.
///
/// Row-major shapes of equal size fall into groups of neighbouring axes with equal products; within the layer's group it is
/// written out, number by number, and must then depend on one axis alone. `None` where lengths that matter are not known,
/// or it does not.
pub(super) fn reshaped(
    affine: &Affine,
    along: usize,
    from: &[Length],
    to: &[Length],
) -> Result<(usize, Affine), Reshaping> {
    let mut from = from.to_vec();
    let channels = affine.channels() as u64;
    match from.get_mut(along) {
        Some(length) if length.is_none_or(|length| length == channels) => *length = Some(channels),
        _ => return Err(Reshaping::Unknown),
    }
    let (mine, theirs) = groups(&from, to, along).ok_or(Reshaping::Unknown)?;
    if mine.len() == 1 && theirs.len() == 1 {
        return Ok((theirs.start, affine.clone()));
    }
    let lengths = |lengths: &[Length]| -> Option<Vec<usize>> {
        lengths.iter().map(|&length| usize::try_from(length?).ok()).collect()
    };
    let before = lengths(&from[mine.clone()]).ok_or(Reshaping::Unknown)?;
    let after = lengths(&to[theirs.clone()]).ok_or(Reshaping::Unknown)?;
    let size = before.iter().try_fold(1_usize, |size, &length| size.checked_mul(length));
    let size = size.filter(|&size| size > 0 && size <= LIMIT).ok_or(Reshaping::Unknown)?;
    let inner: usize = before[along - mine.start + 1..].iter().product();
    let channel = |index: usize| index / inner % affine.channels();
    let same = |left: usize, right: usize| {
        let (left, right) = (channel(left), channel(right));
        left == right
            || affine.scale()[left] == affine.scale()[right] && affine.shift()[left] == affine.shift()[right]
    };
    for position in 0..after.len() {
        let inner: usize = after[position + 1..].iter().product();
        // Where the axis has this index and all others have 0.
        let first = |index: usize| index / inner % after[position] * inner;
        if (0..size).all(|index| same(index, first(index))) {
            let channels: Vec<usize> = (0..after[position]).map(|place| channel(place * inner)).collect();
            let seen = affine.select(&channels).ok_or(Reshaping::Unknown)?;
            return Ok((theirs.start + position, seen));
        }
    }
    Err(Reshaping::Mixed)
}

/// More numbers than this are not written out.
const LIMIT: usize = 1 << 24;

/// Why a layer cannot be followed through a change of shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reshaping {
    /// Lengths that matter depend on what the model is given.
    Unknown,
    /// It depends on more than one of the axes.
    Mixed,
}

/// The axes of both shapes that hold the same numbers, around one axis of the first.
fn groups(from: &[Length], to: &[Length], along: usize) -> Option<(Range<usize>, Range<usize>)> {
    let (mut first, mut end, mut other_end) = (0, from.len(), to.len());
    // Equal lengths in front: the batch, often of unknown length, if what follows has the same size.
    while first < end.min(other_end) {
        let equal = match (from[first], to[first]) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => {
                let rest = product(&from[first + 1..end]);
                rest.is_some() && rest == product(&to[first + 1..other_end])
            }
        };
        if !equal {
            break;
        }
        if first == along {
            return Some((first..first + 1, first..first + 1));
        }
        first += 1;
    }
    while end > first && other_end > first {
        let (Some(mine), Some(theirs)) = (from[end - 1], to[other_end - 1]) else { break };
        if mine != theirs {
            break;
        }
        (end, other_end) = (end - 1, other_end - 1);
        if end == along {
            return Some((end..end + 1, other_end..other_end + 1));
        }
    }
    // What is left, in the smallest groups of equal size.
    let (mut start, mut other_start) = (first, first);
    let (mut next, mut other_next) = (first, first);
    while next < end || other_next < other_end {
        let size = |lengths: &[Length]| product(lengths);
        if next == start {
            next += 1;
        }
        if other_next == other_start {
            other_next += 1;
        }
        if next > end || other_next > other_end {
            return None;
        }
        let (mut mine, mut theirs) = (size(&from[start..next])?, size(&to[other_start..other_next])?);
        while mine != theirs {
            if mine < theirs {
                mine = mine.checked_mul((*from[..end].get(next)?)?)?;
                next += 1;
            } else {
                theirs = theirs.checked_mul((*to[..other_end].get(other_next)?)?)?;
                other_next += 1;
            }
        }
        // Axes of length 1 at the end of one side belong to the last group.
        while next == end && to[..other_end].get(other_next) == Some(&Some(1)) {
            other_next += 1;
        }
        while other_next == other_end && from[..end].get(next) == Some(&Some(1)) {
            next += 1;
        }
        if (start..next).contains(&along) {
            return Some((start..next, other_start..other_next));
        }
        (start, other_start) = (next, other_next);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(lengths: &[u64]) -> Vec<Length> {
        lengths.iter().map(|&length| if length == 0 { None } else { Some(length) }).collect()
    }

    fn layer(scale: &[f64]) -> Affine {
        Affine::of(scale.to_vec(), vec![0.0; scale.len()]).unwrap()
    }

    #[test]
    fn channels_are_found_on_both_sides_of_a_flattening() {
        let (flat, apart) = (known(&[0, 6]), known(&[0, 3, 2, 1]));
        let (axis, seen) = reshaped(&layer(&[1.0, 2.0, 3.0]), 1, &apart, &flat).unwrap();
        assert_eq!((axis, seen.scale()), (1, &[1.0, 1.0, 2.0, 2.0, 3.0, 3.0][..]));
        let (axis, seen) = reshaped(&seen, 1, &flat, &apart).unwrap();
        assert_eq!((axis, seen.scale()), (1, &[1.0, 2.0, 3.0][..]));
        // Along the positions instead.
        let (axis, seen) = reshaped(&layer(&[1.0, 2.0, 1.0, 2.0, 1.0, 2.0]), 1, &flat, &apart).unwrap();
        assert_eq!((axis, seen.scale()), (2, &[1.0, 2.0][..]));
        let mixed = reshaped(&layer(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), 1, &flat, &apart).unwrap_err();
        assert_eq!(mixed, Reshaping::Mixed);
    }

    #[test]
    fn a_batch_of_any_length_may_be_cut_and_joined() {
        let (rows, sequences) = (known(&[0, 5]), known(&[0, 7, 5]));
        let five = layer(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(reshaped(&five, 1, &rows, &sequences).unwrap(), (2, five.clone()));
        assert_eq!(reshaped(&five, 2, &sequences, &rows).unwrap(), (1, five));
        let seven = layer(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(reshaped(&seven, 1, &sequences, &rows).unwrap_err(), Reshaping::Unknown);
    }
}
