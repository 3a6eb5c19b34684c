//! From numbers to places on an axis.

/// One axis of a chart: from numbers to the unit interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
}

/// How numbers are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Linear,
    /// For positive numbers; others have no place.
    Log,
}

impl Scale {
    /// The smallest axis with round ends that has room for all `values`; what has no place is left out.
    pub(crate) fn around(kind: Kind, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite() && (kind == Kind::Linear || *value > 0.0))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match kind {
            Kind::Linear if low > high => Self::exactly(kind, 0.0, 1.0),
            Kind::Log if low > high => Self::exactly(kind, 1.0, 10.0),
            Kind::Linear if low == high => {
                let margin = if low == 0.0 { 1.0 } else { low.abs() };
                Self::exactly(kind, low - margin, high + margin)
            }
            Kind::Linear => {
                let step = round_step(low, high, TICKS);
                let [low, high] = [(low / step).floor() * step, (high / step).ceil() * step];
                Self::exactly(kind, low.max(f64::MIN), high.min(f64::MAX))
            }
            Kind::Log if low == high => Self::exactly(kind, low / 2.0, high * 2.0),
            Kind::Log => Self::exactly(kind, low, high),
        }
    }

    /// As [`around`](Self::around): logarithmic if all values are positive and some much larger than others.
    pub(crate) fn fitting(values: impl Iterator<Item = f64> + Clone) -> Self {
        let finite = || values.clone().filter(|value| value.is_finite());
        let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(0.0, f64::max));
        let kind = if low > 0.0 && high > 30.0 * low { Kind::Log } else { Kind::Linear };
        Self::around(kind, values)
    }

    /// An axis with these ends.
    pub(crate) fn exactly(kind: Kind, low: f64, high: f64) -> Self {
        Self { kind, low, high }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn low(&self) -> f64 {
        self.low
    }

    pub(crate) fn high(&self) -> f64 {
        self.high
    }

    /// 0 at the low end, 1 at the high end; `None` for what has no place on this axis.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let place = match self.kind {
            Kind::Linear if (self.high - self.low).is_finite() => (value - self.low) / (self.high - self.low),
            // Ends so far apart that no number is their distance.
            Kind::Linear => (value / 4.0 - self.low / 4.0) / (self.high / 4.0 - self.low / 4.0),
            Kind::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        (-1e-9..=1.0 + 1e-9).contains(&place).then_some(place.clamp(0.0, 1.0))
    }

    /// As [`place`](Self::place), with 0 or 1 for numbers beyond the ends.
    pub(crate) fn place_or_edge(&self, value: f64) -> Option<f64> {
        match self.kind {
            Kind::Log if value <= 0.0 => None,
            _ if value.is_finite() => self.place(value.clamp(self.low, self.high)),
            _ => None,
        }
    }

    /// Round numbers along the axis, from low to high: about so many, a logarithmic axis having up to half as many
    /// again.
    pub(crate) fn ticks(&self, about: usize) -> Vec<f64> {
        match self.kind {
            Kind::Linear => self.round_numbers(about),
            Kind::Log => {
                let most = about * 3 / 2;
                let sets: [&[f64]; 3] = [&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], &[1.0, 2.0, 5.0], &[1.0]];
                let fits = |ticks: &Vec<f64>| ticks.len() <= most;
                let found =
                    sets.into_iter().map(|multiples| self.powers(multiples, 1)).find(fits).unwrap_or_else(
                        || {
                            // Of a very long axis, only every so many-th power of ten.
                            let decades = (self.high / self.low).log10();
                            self.powers(&[1.0], (decades / most as f64).ceil().max(1.0) as i32)
                        },
                    );
                // Within a decade they may be too few.
                if found.len() > 3 || self.high > 10.0 * self.low { found } else { self.round_numbers(about) }
            }
        }
    }

    fn round_numbers(&self, about: usize) -> Vec<f64> {
        let step = round_step(self.low, self.high, about);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        // Ends beyond what an i64 counts have no ticks between them that differ.
        let last = last.min(first.saturating_add(2 * about as i64));
        let ticks = (first..=last).map(|multiple| multiple as f64 * step);
        ticks.filter(|&tick| self.place(tick).is_some()).collect()
    }

    /// Multiples of every so many-th power of ten.
    fn powers(&self, multiples: &[f64], every: i32) -> Vec<f64> {
        // No number has a power of ten beyond these.
        let power = |power: f64| power.clamp(-330.0, 310.0) as i32;
        let (first, last) = (power(self.low.log10().floor()), power(self.high.log10().ceil()));
        (first..=last)
            .filter(|power| power % every == 0)
            .flat_map(|power| multiples.iter().map(move |multiple| multiple * 10_f64.powi(power)))
            .filter(|&tick| self.place(tick).is_some())
            .collect()
    }
}

/// About so many ticks make up a large drawing's axis.
const TICKS: usize = 7;

/// 1, 2 or 5 times a power of ten: at most about so many of them make up the axis.
pub(super) fn round_step(low: f64, high: f64, about: usize) -> f64 {
    // The largest numbers are further apart than any number.
    let rough = (high - low).min(f64::MAX) / (about - 1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|multiple| multiple * power >= rough * (1.0 - 1e-9));
    step.unwrap_or(10.0) * power
}

/// A number as short as it can be on an axis.
pub(crate) fn label(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e5).contains(&size) {
        let text = format!("{value:.2e}");
        match text.split_once('e') {
            Some((digits, power)) => format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.')),
            None => text,
        }
    } else {
        // Six significant digits hide what 0.1 + 0.2 leaves over.
        let decimals = (5 - size.log10().floor() as i32).clamp(0, 9) as usize;
        let text = format!("{value:.decimals$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    }
}

/// A number with so many digits that say something, as short as it can be; `None` for what is not finite.
pub(crate) fn significant(value: f64, digits: usize) -> Option<String> {
    let digits = digits.max(1) - 1;
    value.is_finite().then(|| label(format!("{value:.digits$e}").parse().unwrap_or(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_end_at_round_numbers() {
        let scale = Scale::around(Kind::Linear, [0.13, 2.31].into_iter());
        assert_eq!((scale.low(), scale.high()), (0.0, 2.5));
        assert_eq!(scale.ticks(TICKS), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        assert_eq!(scale.place(1.25), Some(0.5));
    }

    #[test]
    fn log_axes_have_round_ticks_inside() {
        let scale = Scale::around(Kind::Log, [10.0, 5000.0].into_iter());
        assert_eq!(scale.ticks(TICKS), [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]);
        assert_eq!(scale.place(0.0), None);
        assert_eq!(scale.place(-1.0), None);
    }

    #[test]
    fn what_is_not_finite_has_no_place_and_no_say() {
        let scale = Scale::around(Kind::Linear, [f64::NAN, 1.0, f64::INFINITY, 2.0].into_iter());
        assert!(scale.low() <= 1.0 && scale.high() >= 2.0 && scale.high() < 3.0);
        assert_eq!(scale.place(f64::NAN), None);
        assert_eq!(scale.place(f64::INFINITY), None);
    }

    #[test]
    fn the_largest_numbers_have_an_axis() {
        for size in [1e308, f64::MAX] {
            let scale = Scale::around(Kind::Linear, [-size, size].into_iter());
            let places = [-size, 0.0, size].map(|value| scale.place(value).expect("a place"));
            assert!(places[0] < 0.1 && places[1] == 0.5 && places[2] > 0.9, "{places:?}");
            assert!(scale.low() < scale.high() && !scale.ticks(7).is_empty(), "{scale:?}");
        }
    }

    #[test]
    fn ends_that_are_no_numbers_have_few_ticks() {
        for (low, high) in [(0.0, f64::INFINITY), (f64::NAN, 1.0), (1.0, f64::NAN), (-1.0, 1.0), (2.0, 2.0)] {
            for kind in [Kind::Linear, Kind::Log] {
                assert!(Scale::exactly(kind, low, high).ticks(7).len() < 20, "{kind:?} {low} {high}");
            }
        }
    }

    #[test]
    fn a_small_drawing_has_few_ticks_and_a_narrow_axis_some() {
        let scale = |kind, low, high| Scale::around(kind, [low, high].into_iter());
        assert_eq!(scale(Kind::Log, 10.0, 50_000.0).ticks(4), [10.0, 100.0, 1000.0, 10_000.0]);
        assert_eq!(scale(Kind::Log, 10.0, 2000.0).ticks(4), [10.0, 100.0, 1000.0]);
        assert_eq!(scale(Kind::Linear, 0.0, 1.0).ticks(4), [0.0, 0.5, 1.0]);
        assert_eq!(scale(Kind::Log, 2.252, 2.306).ticks(7).len(), 5);
        for (low, high) in [(1e-150, 1e150), (0.1, 1.0), (3.0, 3.1), (1.0, 7.0), (1e300, 1.1e300)] {
            for kind in [Kind::Linear, Kind::Log] {
                let ticks = scale(kind, low, high).ticks(7);
                assert!((2..=11).contains(&ticks.len()), "{kind:?} {low} {high}: {ticks:?}");
            }
        }
        assert!(scale(Kind::Linear, -1.7e308, 1.7e308).ticks(7).len() < 20);
    }

    #[test]
    fn one_value_or_none_still_makes_an_axis() {
        for kind in [Kind::Linear, Kind::Log] {
            for values in [vec![], vec![3.0], vec![1e300], vec![1e-300]] {
                let scale = Scale::around(kind, values.iter().copied());
                assert!(scale.low() < scale.high());
                assert!(!scale.ticks(TICKS).is_empty(), "{kind:?} {values:?}");
                assert!(values.iter().all(|&value| scale.place(value) == Some(0.5)));
            }
        }
    }

    #[test]
    fn labels_are_short() {
        let labels = [0.0, 0.1 + 0.2, 100.0, 5000.0, -2.5, 1e-7, 2e9, -1.5e20, 0.001].map(label);
        assert_eq!(significant(0.123_456, 3).as_deref(), Some("0.123"));
        assert_eq!((significant(-98_765.0, 2).as_deref(), significant(f64::NAN, 3)), (Some("-99000"), None));
        assert_eq!(labels, ["0", "0.3", "100", "5000", "-2.5", "1e-7", "2e9", "-1.5e20", "0.001"]);
    }
}
