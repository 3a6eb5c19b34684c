//! Fewer points where a drawing could not show more. The numbers themselves are in `metrics.json`.

/// Of the places in each column the first, the lowest, the highest and the last: the line through them looks as the
/// line through all.
pub(super) fn line(places: &[(f64, f64)], column: impl Fn(f64) -> i64) -> Vec<(f64, f64)> {
    let mut kept = Vec::new();
    for group in places.chunk_by(|a, b| column(a.0) == column(b.0)) {
        let by_height = |a: &&usize, b: &&usize| group[**a].1.total_cmp(&group[**b].1);
        let all: Vec<usize> = (0..group.len()).collect();
        let (lowest, highest) = (all.iter().min_by(by_height), all.iter().max_by(by_height));
        let mut chosen = vec![0, *lowest.unwrap_or(&0), *highest.unwrap_or(&0), group.len() - 1];
        chosen.sort_unstable();
        chosen.dedup();
        kept.extend(chosen.into_iter().map(|index| group[index]));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(x: f64) -> i64 {
        x as i64
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let places: Vec<(f64, f64)> = (0..50).map(|i| (f64::from(i) * 3.0, f64::from(i % 7))).collect();
        assert_eq!(line(&places, whole), places);
        assert!(line(&[], whole).is_empty());
    }

    #[test]
    fn many_points_keep_every_spike_and_both_ends() {
        let mut places: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i) / 1000.0, 5.0)).collect();
        places[31_337].1 = 9.0;
        places[77_777].1 = -9.0;
        let kept = line(&places, whole);
        assert!(kept.len() <= 400, "{}", kept.len());
        assert!(kept.contains(&places[31_337]) && kept.contains(&places[77_777]));
        assert_eq!((kept[0], kept[kept.len() - 1]), (places[0], places[99_999]));
        assert!(kept.is_sorted_by(|a, b| a.0 < b.0));
    }
}
