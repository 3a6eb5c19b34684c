//! From numbers to places on an axis.

/// One axis of a chart: from numbers to the unit interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    kind: Kind,
    low: f64,
    high: f64,
}

/// How numbers are spread along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Linear,
    /// For positive numbers; others have no place.
    Log,
}

impl Scale {
    /// The smallest axis with round ends that has room for all `values`; what has no place is left out.
    pub(super) fn around(kind: Kind, values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite() && (kind == Kind::Linear || *value > 0.0))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match kind {
            Kind::Linear if low > high => Self::exactly(kind, 0.0, 1.0),
            Kind::Log if low > high => Self::exactly(kind, 1.0, 10.0),
            Kind::Linear if low == high => Self::exactly(kind, low - 1.0, high + 1.0),
            Kind::Linear => {
                let step = round_step(low, high);
                Self::exactly(kind, (low / step).floor() * step, (high / step).ceil() * step)
            }
            Kind::Log if low == high => Self::exactly(kind, low / 2.0, high * 2.0),
            Kind::Log => Self::exactly(kind, low, high),
        }
    }

    /// An axis with these ends.
    pub(super) fn exactly(kind: Kind, low: f64, high: f64) -> Self {
        Self { kind, low, high }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn low(&self) -> f64 {
        self.low
    }

    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// 0 at the low end, 1 at the high end; `None` for what has no place on this axis.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let place = match self.kind {
            Kind::Linear => (value - self.low) / (self.high - self.low),
            Kind::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        (-1e-9..=1.0 + 1e-9).contains(&place).then_some(place.clamp(0.0, 1.0))
    }

    /// Round numbers along the axis, from low to high.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.kind {
            Kind::Linear => {
                let step = round_step(self.low, self.high);
                let first = (self.low / step - 1e-9).ceil() as i64;
                let last = (self.high / step + 1e-9).floor() as i64;
                (first..=last).map(|multiple| multiple as f64 * step).collect()
            }
            Kind::Log => {
                let decades = (self.high / self.low).log10();
                let multiples: &[f64] = match decades {
                    d if d > 3.5 => &[1.0],
                    d if d > 0.7 => &[1.0, 2.0, 5.0],
                    _ => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
                };
                // Of a very long axis, only every so many-th power of ten.
                let every = (decades / 8.0).ceil().max(1.0) as i32;
                let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
                (first..=last)
                    .filter(|power| power % every == 0)
                    .flat_map(|power| multiples.iter().map(move |multiple| multiple * 10_f64.powi(power)))
                    .filter(|&tick| self.place(tick).is_some())
                    .collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten: about six of them make up the axis.
fn round_step(low: f64, high: f64) -> f64 {
    let rough = (high - low) / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|multiple| multiple * power >= rough);
    step.unwrap_or(10.0) * power
}

/// A number as short as it can be on an axis.
pub(super) fn label(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-4..1e6).contains(&size) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_end_at_round_numbers() {
        let scale = Scale::around(Kind::Linear, [0.13, 2.31].into_iter());
        assert_eq!((scale.low(), scale.high()), (0.0, 2.5));
        assert_eq!(scale.ticks(), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        assert_eq!(scale.place(1.25), Some(0.5));
    }

    #[test]
    fn log_axes_have_round_ticks_inside() {
        let scale = Scale::around(Kind::Log, [10.0, 5000.0].into_iter());
        assert_eq!(scale.ticks(), [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]);
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
    fn one_value_or_none_still_makes_an_axis() {
        for kind in [Kind::Linear, Kind::Log] {
            for values in [vec![], vec![3.0]] {
                let scale = Scale::around(kind, values.iter().copied());
                assert!(scale.low() < scale.high());
                assert!(!scale.ticks().is_empty(), "{kind:?} {values:?}");
                assert!(values.iter().all(|&value| scale.place(value) == Some(0.5)));
            }
        }
    }

    #[test]
    fn labels_are_short() {
        let labels = [0.0, 0.1 + 0.2, 100.0, 5000.0, -2.5, 1e-7, 2e9, -1.5e20, 0.001].map(label);
        assert_eq!(labels, ["0", "0.3", "100", "5000", "-2.5", "1e-7", "2e9", "-1.5e20", "0.001"]);
    }
}
