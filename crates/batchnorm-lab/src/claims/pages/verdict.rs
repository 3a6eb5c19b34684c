//! Verdicts as badges, and the numbers that they follow from as drawings.

use maud::{Markup, html};

use crate::claims::{Interval, Part, Rule, Verdict};
use crate::draw::{Axis, Ink, IntervalRow, Intervals, Kind, Scale, Strip, label, significant};

/// Digits of a number that say something.
const DIGITS: usize = 3;
/// Ends of an interval so many times further out than all else are beyond the axis.
const FAR: f64 = 2.0;
/// The natural logarithm of the largest ratio on an axis.
const LOGARITHM: f64 = 600.0;

/// The class of the style sheet that gives a verdict its colour.
pub(super) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "supported",
        Verdict::Mixed => "mixed",
        Verdict::Refuted => "refuted",
        Verdict::NotEnoughData => "open",
    }
}

/// A verdict in a word, with a sign and a colour.
pub(super) fn badge(verdict: Verdict) -> Markup {
    let sign = match verdict {
        Verdict::Supported => "✓",
        Verdict::Mixed => "≈",
        Verdict::Refuted => "✗",
        Verdict::NotEnoughData => "?",
    };
    html! { span class={ "badge " (class(verdict)) } { span.sign aria-hidden="true" { (sign) } " " (verdict.in_words()) } }
}

/// A number with its unit.
pub(super) fn number(value: f64, unit: &str) -> String {
    significant(value, DIGITS).map_or_else(|| "no number".to_owned(), |number| number + unit)
}

/// An interval, without the number that it is around.
pub(super) fn range(interval: &Interval, unit: &str) -> String {
    match (significant(interval.low, DIGITS), significant(interval.high, DIGITS)) {
        (Some(low), Some(high)) => format!("{low} to {high}{unit}"),
        (Some(low), None) => format!("{low}{unit} or more"),
        (None, Some(high)) => format!("{high}{unit} or less"),
        (None, None) => "no interval".to_owned(),
    }
}

/// The standardized effect.
pub(super) fn size(interval: &Interval) -> String {
    interval.size.and_then(|size| significant(size, DIGITS)).unwrap_or_else(|| "-".to_owned())
}

/// Whether a rule is about a ratio, so that twice and half are equally far from equal.
fn is_ratio(rule: &Rule) -> bool {
    rule.unit.trim() == "x" && rule.enough > 0.0 && rule.none > 0.0
}

/// The parts with the thresholds of their rules: parts of the same thresholds in one drawing.
pub(super) fn intervals(parts: &[Part]) -> Vec<Markup> {
    let same = |a: &Part, b: &Part| {
        let of = |part: &Part| (part.rule.unit, part.rule.enough, part.rule.none);
        of(a) == of(b)
    };
    parts.chunk_by(same).map(together).collect()
}

fn together(parts: &[Part]) -> Markup {
    let Some(Part { rule, .. }) = parts.first() else { return html! {} };
    let (unit, rises) = (rule.unit, rule.enough >= rule.none);
    let at = |value: f64| format!("{}{unit}", label(value));
    let thresholds = match rises {
        true => [format!("supported from {} →", at(rule.enough)), format!("← refuted below {}", at(rule.none))],
        false => [format!("← supported to {}", at(rule.enough)), format!("refuted above {} →", at(rule.none))],
    };
    let measure = match unit.trim() {
        "" => "number".to_owned(),
        "x" => "ratio (logarithmic)".to_owned(),
        unit => unit.to_owned(),
    };
    let rows = parts.iter().map(|part| IntervalRow {
        name: part.rule.says.to_owned(),
        ink: Ink::Class(class(part.verdict)),
        value: part.interval.value,
        low: part.interval.low,
        high: part.interval.high,
    });
    let [supported, refuted] = thresholds;
    let same = parts.iter().all(|part| part.rule.measure == rule.measure);
    let title = if same {
        capitalized(rule.measure.trim_end_matches(','))
    } else {
        "The verdict\u{2019}s numbers".to_owned()
    };
    Intervals {
        title: &title,
        x: Axis { label: &measure, scale: scale(rule, parts) },
        rows: rows.collect(),
        thresholds: vec![(rule.enough, supported), (rule.none, refuted)],
    }
    .draw()
}

/// With a capital letter in front.
fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

/// Room for thresholds and values, and for the intervals unless they go far beyond.
fn scale(rule: &Rule, parts: &[Part]) -> Scale {
    let ratio = is_ratio(rule);
    let inward = |value: f64| if ratio { value.ln() } else { value };
    // Within the numbers that have a logarithm.
    let outward = |value: f64| value.clamp(-LOGARITHM, LOGARITHM).exp();
    let finite = |values: Vec<f64>| -> (f64, f64) {
        let finite = values.into_iter().map(inward).filter(|value| value.is_finite());
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let values = parts.iter().map(|part| part.interval.value).chain([rule.enough, rule.none]).collect();
    let ends = parts.iter().flat_map(|part| [part.interval.low, part.interval.high]).collect();
    let ((low, high), (lowest, highest)) = (finite(values), finite(ends));
    let span = (high - low).max(f64::MIN_POSITIVE);
    let (low, high) = (low.min(lowest.max(low - FAR * span)), high.max(highest.min(high + FAR * span)));
    let margin = 0.08 * (high - low);
    match ratio {
        true => Scale::exactly(Kind::Log, outward(low - margin), outward(high + margin)),
        false => Scale::around(Kind::Linear, [low - margin, high + margin].into_iter()),
    }
}

/// The interval of a part on an axis that is the same for all claims: left of the first line refuted, right of the second
/// supported, the ends infinitely far out.
pub(super) fn strip(part: &Part) -> Markup {
    let place = |value: f64| squeezed(&part.rule, value);
    let (interval, unit) = (&part.interval, part.rule.unit);
    let row = IntervalRow {
        name: String::new(),
        ink: Ink::Class(class(part.verdict)),
        value: place(interval.value),
        low: place(interval.low),
        high: place(interval.high),
    };
    Strip {
        label: format!("{} ({})", number(interval.value, unit), range(interval, unit)),
        scale: Scale::exactly(Kind::Linear, -1.0, 1.0),
        row,
        thresholds: vec![-THRESHOLD, THRESHOLD],
    }
    .draw()
}

/// From -1 to 1, with the thresholds of refutation and of support at equal distances from the middle.
fn squeezed(rule: &Rule, value: f64) -> f64 {
    if value.is_nan() {
        return value;
    }
    let inward = |value: f64| if is_ratio(rule) { value.max(0.0).ln() } else { value };
    let (value, enough, none) = (inward(value), inward(rule.enough), inward(rule.none));
    let from_middle = 2.0 * (value - none) / (enough - none) - 1.0;
    from_middle.signum() * (1.0 - (1.0 + from_middle.abs()).sqrt().recip())
}

/// Where the thresholds are then.
const THRESHOLD: f64 = 1.0 - std::f64::consts::FRAC_1_SQRT_2;

#[cfg(test)]
mod tests {
    use super::*;

    const RISES: Rule = Rule { says: "fewer steps", measure: "the ratio", unit: "x", enough: 1.5, none: 1.1 };
    const FALLS: Rule = Rule { says: "less", measure: "the error", unit: " points", enough: -2.0, none: 0.0 };

    fn part(rule: Rule, value: f64, low: f64, high: f64) -> Part {
        Part::new(rule, Interval { value, low, high, seeds: 5, size: Some(2.0) })
    }

    #[test]
    fn a_strip_has_the_refuted_left_and_the_supported_right_for_every_rule() {
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        for rule in [RISES, FALLS] {
            close(squeezed(&rule, rule.none), -THRESHOLD);
            close(squeezed(&rule, rule.enough), THRESHOLD);
        }
        close(squeezed(&RISES, f64::INFINITY), 1.0);
        close(squeezed(&RISES, 0.0), -1.0);
        close(squeezed(&RISES, -3.0), -1.0);
        close(squeezed(&FALLS, f64::NEG_INFINITY), 1.0);
        assert!(squeezed(&RISES, f64::NAN).is_nan());
    }

    #[test]
    fn parts_of_the_same_thresholds_share_a_drawing() {
        let ratio = part(RISES, 3.0, 2.0, 4.0);
        let points = part(FALLS, -3.0, -4.0, -1.0);
        assert_eq!(intervals(&[ratio.clone(), ratio.clone(), points.clone()]).len(), 2);
        assert_eq!(intervals(&[]).len(), 0);
        let drawn = intervals(&[points]).remove(0).into_string();
        assert!(
            drawn.contains("← supported to -2 points") && drawn.contains("refuted above 0 points →"),
            "{drawn}"
        );
    }

    #[test]
    fn an_interval_that_goes_far_beyond_leaves_the_axis() {
        let drawn = intervals(&[part(RISES, 3.0, 1e-6, 1e7)]).remove(0).into_string();
        assert_eq!(drawn.matches("class=\"arrow").count(), 2, "{drawn}");
    }

    #[test]
    fn nothing_in_a_drawing_is_nan_or_infinite() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1e308, 1e308];
        for value in odd {
            for end in odd {
                for rule in [RISES, FALLS] {
                    let part = part(rule, value, end, value);
                    for drawing in intervals(std::slice::from_ref(&part)).into_iter().chain([strip(&part)]) {
                        let svg = drawing.into_string();
                        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                    }
                }
            }
        }
    }
}
