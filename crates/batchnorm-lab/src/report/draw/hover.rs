//! What the page's script needs to show the values of a drawing.

use serde::{Serialize, Serializer};

use super::frame::{Frame, Measures};
use super::scale::{Kind, Scale};

/// More lines than these are shown one at a time: the nearest.
const ALL_AT_ONCE: usize = 6;

/// The values of a drawing at places along its x axis.
#[derive(Serialize)]
pub(in super::super) struct Hover {
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
    values: Vec<Option<Short>>,
}

impl Hover {
    /// Of lines along the steps of training, the points of each in the order of x.
    pub(super) fn of_lines<'a>(
        frame: &Frame<'_>,
        unit: &'static str,
        lines: impl Iterator<Item = (&'a str, &'a [(f64, Option<f64>)])> + Clone,
    ) -> Self {
        let mut steps: Vec<f64> =
            lines.clone().flat_map(|(_, points)| points.iter().map(|point| point.0)).collect();
        steps.retain(|&step| frame.across(step).is_some());
        steps.sort_unstable_by(f64::total_cmp);
        steps.dedup();
        let column = |step: f64| frame.across(step).map(|place| frame.column(place));
        let columns = steps.chunk_by(|&a, &b| column(a) == column(b));
        let digits = frame.measures().digits;
        let at: Vec<f64> = columns.filter_map(|steps| steps.last().copied()).collect();
        let values = |(name, points): (&str, &[(f64, Option<f64>)])| {
            let value = |step: &f64| {
                let index = points.binary_search_by(|point| point.0.total_cmp(step)).ok()?;
                points[index].1.and_then(|value| Short::significant(value, digits))
            };
            Values { name: name.to_owned(), values: at.iter().map(value).collect() }
        };
        let lines: Vec<Values> = lines.map(values).collect();
        let y = (lines.len() > ALL_AT_ONCE).then(|| y(frame));
        Self { x: x(frame), y, at: at.into_iter().map(Short).collect(), names: Vec::new(), unit, lines }
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
            values.push(Some(Short(value)));
        }
        hover.lines.push(Values { name: name.to_owned(), values });
        hover
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and names have a JSON form")
    }
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
