//! Areas between lines, in pieces without a gap.

use super::frame::{Frame, path};

/// The places of a row: of its x, and of its values from the lowest to the highest.
pub(super) type Places = (f64, Vec<f64>);

/// The places of rows, in runs without a row that has no place; the rows of one column are one.
pub(super) fn pieces(frame: &Frame<'_>, rows: &[(f64, Vec<f64>)]) -> Vec<Vec<Places>> {
    let mut pieces: Vec<Vec<Places>> = vec![Vec::new()];
    for (x, values) in rows {
        let places: Option<Vec<f64>> = values.iter().map(|&value| frame.down(value)).collect();
        let piece = pieces.last_mut().expect("there is always a piece");
        match (frame.across(*x), places) {
            (Some(x), Some(places)) => match piece.last_mut() {
                Some((at, before)) if frame.column(*at) == frame.column(x) => widen(before, &places),
                _ => piece.push((x, places)),
            },
            _ => pieces.push(Vec::new()),
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Takes the outermost of two rows' values; of those in the middle, the later.
fn widen(before: &mut [f64], after: &[f64]) {
    let values = before.len();
    for (index, (before, &after)) in before.iter_mut().zip(after).enumerate() {
        // The place of a low value is further down, and so a larger number.
        *before = match (2 * index + 1).cmp(&values) {
            std::cmp::Ordering::Less => before.max(after),
            std::cmp::Ordering::Equal => after,
            std::cmp::Ordering::Greater => before.min(after),
        };
    }
}

/// The area between two of a row's values: along the one and back along the other.
pub(super) fn area(piece: &[Places], low: usize, high: usize) -> String {
    if let [(x, places)] = piece {
        // A single row is a bar.
        let [bottom, top] = [places[low], places[high]];
        return path(&[(x - 2.0, bottom), (x + 2.0, bottom), (x + 2.0, top), (x - 2.0, top)]) + "Z";
    }
    let there = piece.iter().map(|(x, places)| (*x, places[high]));
    let back = piece.iter().rev().map(|(x, places)| (*x, places[low]));
    path(&there.chain(back).collect::<Vec<_>>()) + "Z"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_column_keep_what_is_outermost_and_the_later_middle() {
        let mut three = [9.0, 5.0, 1.0];
        widen(&mut three, &[8.0, 4.0, 0.0]);
        assert_eq!(three, [9.0, 4.0, 0.0]);
        let mut two = [9.0, 1.0];
        widen(&mut two, &[10.0, 2.0]);
        assert_eq!(two, [10.0, 1.0]);
    }
}
