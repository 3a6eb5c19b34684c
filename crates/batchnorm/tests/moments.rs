//! Moments as a monoid: any split of the data is the whole.

use batchnorm::{Moments, RunningVariance};
use proptest::prelude::*;

#[test]
fn empty_moments_are_the_identity() {
    let some = Moments::of(&[1.0f32, 5.0, -2.0]);
    assert_eq!(Moments::EMPTY.merge(some), some);
    assert_eq!(some.merge(Moments::EMPTY), some);
    assert_eq!(Moments::EMPTY.merge(Moments::EMPTY), Moments::EMPTY);
    assert_eq!(Moments::of::<f32>(&[]), Moments::EMPTY);
    assert_eq!(std::iter::empty::<Moments>().collect::<Moments>(), Moments::EMPTY);
}

#[test]
fn variances_of_no_and_one_value_are_zero() {
    for moments in [Moments::EMPTY, Moments::of(&[7.0f64])] {
        assert_eq!(moments.variance(RunningVariance::Biased), 0.0);
        assert_eq!(moments.variance(RunningVariance::Unbiased), 0.0);
    }
}

#[test]
fn nan_and_infinity_are_seen_in_whatever_part_they_are() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        let bad = Moments::of(&[0.0, bad, 1.0]);
        assert!(!bad.is_finite(), "{bad:?}");
        assert!(!Moments::of(&[1.0, 2.0]).merge(bad).is_finite());
        assert!(!bad.merge(Moments::of(&[1.0, 2.0])).is_finite());
    }
}

/// Relative to what the data could have lost: its own size and spread.
fn close(a: Moments, b: Moments, size: f64) -> bool {
    let u = 1e-15 * a.count as f64;
    a.count == b.count
        && (a.mean - b.mean).abs() <= u * size
        && (a.m2 - b.m2).abs() <= u * (a.m2 + size * a.m2.sqrt() + size * size * 1e-15)
}

proptest! {
    #[test]
    fn any_split_merges_to_the_whole(
        values in prop::collection::vec(-100.0..100.0f64, 1..200),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        offset in prop::sample::select(vec![0.0, 1e4, -1e6]),
    ) {
        let values: Vec<f64> = values.into_iter().map(|value| value + offset).collect();
        let whole = Moments::of(&values);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(values.len())).collect();
        cuts.extend([0, values.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|cut| Moments::of(&values[cut[0]..cut[1]]));
        let size = offset.abs() + 100.0;
        let merged: Moments = parts.clone().collect();
        prop_assert!(close(merged, whole, size), "{merged:?} against {whole:?}");
        // In any order.
        let reversed: Moments = parts.rev().collect();
        prop_assert!(close(reversed, whole, size), "{reversed:?} against {whole:?}");
        // And one by one.
        let mut pushed = Moments::EMPTY;
        values.iter().for_each(|value| pushed.push(*value));
        prop_assert!(close(pushed, whole, size), "{pushed:?} against {whole:?}");
    }

    #[test]
    fn merging_is_associative_up_to_rounding(
        a in prop::collection::vec(-9.0..9.0f64, 0..9),
        b in prop::collection::vec(-9.0..9.0f64, 0..9),
        c in prop::collection::vec(-9.0..9.0f64, 0..9),
    ) {
        let [a, b, c] = [a, b, c].map(|values| Moments::of(&values));
        let (left, right) = (a.merge(b).merge(c), a.merge(b.merge(c)));
        prop_assert!(close(left, right, 9.0), "{left:?} against {right:?}");
    }
}
