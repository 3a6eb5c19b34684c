//! What the page's script needs to show the values of a drawing.

use serde::{Serialize, Serializer};

use super::frame::{Frame, Measures};
use super::scale::{Kind, Scale, label, significant};

/// More lines than these are shown one at a time: the nearest.
const ALL_AT_ONCE: usize = 6;

/// The values of a drawing at places along its x axis.
#[derive(Serialize)]
pub(crate) struct Hover {
    x: Ends,
    /// Only where the nearest line is looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<Ends>,
    at: Vec<Short>,
    /// What the places are called; without it, steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    unit: &'static str,
    lines: Vec<Values>,
}

/// An axis: the numbers at its ends, and where these are in the drawing.
#[derive(Serialize)]
struct Ends {
    log: bool,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

#[derive(Serialize)]
struct Values {
    name: String,
    values: Vec<Option<Reading>>,
}

/// What is read at a place.
#[derive(Serialize)]
#[serde(untagged)]
enum Reading {
    Number(Short),
    Words(String),
}

/// A least and a greatest value, and perhaps one between them.
pub(super) struct Spread {
    pub(super) low: f64,
    pub(super) middle: Option<f64>,
    pub(super) high: f64,
    /// What else there is to say.
    pub(super) note: Option<String>,
}

impl Spread {
    /// Without a value, but perhaps with a note.
    pub(super) fn none(note: Option<String>) -> Self {
        Self { low: f64::NAN, middle: None, high: f64::NAN, note }
    }

    /// One number for all of it.
    fn number(&self) -> f64 {
        self.middle.unwrap_or(self.low + (self.high - self.low) / 2.0)
    }

    fn in_words(&self, digits: usize) -> Option<String> {
        let words = |value: f64| significant(value, digits);
        let note = self.note.as_ref().map_or_else(String::new, |note| format!(", {note}"));
        match (words(self.low), self.middle.and_then(words), words(self.high)) {
            (Some(low), Some(middle), Some(high)) if low != high => {
                Some(format!("{middle} ({low} to {high}{note})"))
            }
            (_, Some(middle), _) => Some(format!("{middle}{note}")),
            (Some(low), None, Some(high)) => Some(format!("{low} to {high}{note}")),
            _ => self.note.clone(),
        }
    }
}

impl Hover {
    /// Of lines along the steps of training, the points of each in the order of x.
    pub(super) fn of_lines<'a>(
        frame: &Frame<'_>,
        unit: &'static str,
        lines: impl Iterator<Item = (&'a str, &'a [(f64, Option<f64>)])> + Clone,
    ) -> Self {
        let at = places(frame, lines.clone().flat_map(|(_, points)| points.iter().map(|point| point.0)));
        let digits = frame.measures().digits;
        let values = |(name, points): (&str, &[(f64, Option<f64>)])| {
            let value = |step: &f64| {
                let index = points.binary_search_by(|point| point.0.total_cmp(step)).ok()?;
                points[index].1.and_then(|value| Short::significant(value, digits)).map(Reading::Number)
            };
            Values { name: name.to_owned(), values: at.iter().map(value).collect() }
        };
        let lines: Vec<Values> = lines.map(values).collect();
        Self::at(frame, unit, &at, lines)
    }

    /// Of values and the least and greatest around them, in the order of x.
    pub(super) fn of_spreads<'a>(
        frame: &Frame<'_>,
        unit: &'static str,
        series: impl Iterator<Item = (&'a str, &'a [(f64, Spread)])> + Clone,
    ) -> Self {
        let at = places(frame, series.clone().flat_map(|(_, points)| points.iter().map(|point| point.0)));
        let digits = frame.measures().digits;
        let all_at_once = series.clone().count() <= ALL_AT_ONCE;
        let lines = series.map(|(name, points)| {
            let reading = |x: &f64| {
                let index = points.binary_search_by(|point| point.0.total_cmp(x)).ok()?;
                let spread = &points[index].1;
                // The nearest line is looked for among numbers.
                if all_at_once {
                    spread.in_words(digits).map(Reading::Words)
                } else {
                    Short::significant(spread.number(), digits).map(Reading::Number)
                }
            };
            Values { name: name.to_owned(), values: at.iter().map(reading).collect() }
        });
        let lines = lines.collect();
        Self::at(frame, unit, &at, lines)
    }

    /// Lines at places.
    fn at(frame: &Frame<'_>, unit: &'static str, at: &[f64], lines: Vec<Values>) -> Self {
        let what = frame.x.label.split(" (").next().unwrap_or_default();
        let names = match what {
            "training steps" => Vec::new(),
            what => at.iter().map(|&x| format!("{what} {}", label(x))).collect(),
        };
        let y = (lines.len() > ALL_AT_ONCE).then(|| y(frame));
        Self { x: x(frame), y, at: at.iter().copied().map(Short).collect(), names, unit, lines }
    }

    /// Of bars: where each is, what it is called, and how high it is.
    pub(super) fn of_bars(
        frame: &Frame<'_>,
        name: &str,
        bars: impl Iterator<Item = (f64, String, f64)>,
    ) -> Self {
        let mut hover =
            Self { x: x(frame), y: None, at: Vec::new(), names: Vec::new(), unit: "", lines: Vec::new() };
        let mut values = Vec::new();
        for (at, name, value) in bars {
            hover.at.push(Short(at));
            hover.names.push(name);
            values.push(Some(Reading::Number(Short(value))));
        }
        hover.lines.push(Values { name: name.to_owned(), values });
        hover
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and names have a JSON form")
    }
}

/// The last of the values of every column of the drawing.
fn places(frame: &Frame<'_>, values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.filter(|&value| frame.across(value).is_some()).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    let column = |value: f64| frame.across(value).map(|place| frame.column(place));
    let columns = values.chunk_by(|&a, &b| column(a) == column(b));
    columns.filter_map(|values| values.last().copied()).collect()
}

fn x(frame: &Frame<'_>) -> Ends {
    let Measures { left, right, width, .. } = frame.measures();
    Ends::of(frame.x.scale, left / width, right / width)
}

fn y(frame: &Frame<'_>) -> Ends {
    let Measures { top, bottom, height, .. } = frame.measures();
    Ends::of(frame.y.scale, bottom / height, top / height)
}

impl Ends {
    fn of(scale: Scale, from: f64, to: f64) -> Self {
        Self { log: scale.kind() == Kind::Log, low: scale.low(), high: scale.high(), from, to }
    }
}

/// A number in as few digits as it needs.
#[derive(Clone, Copy)]
struct Short(f64);

impl Short {
    /// With so many digits that say something; `None` for what is not finite.
    fn significant(value: f64, digits: usize) -> Option<Self> {
        value.is_finite().then(|| Self(format!("{value:.*e}", digits - 1).parse().unwrap_or(value)))
    }
}

impl Serialize for Short {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}
