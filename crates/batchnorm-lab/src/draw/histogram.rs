//! Histograms.

use maud::{Markup, html};

use super::frame::{Axis, Frame, Size, place};
use super::scale::{Kind, Scale, label, round_step};
use super::{Figure, Hover};

/// About the most bars there are.
const BARS: usize = 16;

/// How often values of each size are found.
pub(crate) struct Histogram<'a> {
    pub(crate) title: &'a str,
    /// What the values are.
    pub(crate) x_label: &'a str,
    /// What is counted.
    pub(crate) y_label: &'a str,
    pub(crate) class: &'static str,
    pub(crate) values: Vec<f64>,
}

#[derive(Debug, PartialEq)]
struct Bar {
    from: f64,
    to: f64,
    count: usize,
}

impl Histogram<'_> {
    pub(crate) fn draw(&self) -> Markup {
        let bars = bars(&self.values);
        let ends = bars.iter().flat_map(|bar| [bar.from, bar.to]);
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0);
        let frame = Frame {
            size: Size::Small,
            x: Axis { label: self.x_label, scale: Scale::around(Kind::Linear, ends) },
            // Three at least, so that the ticks are whole numbers.
            y: Axis {
                label: self.y_label,
                scale: Scale::exactly(Kind::Linear, 0.0, most.max(3) as f64 * 1.04),
            },
        };
        let marks = html! {
            @for bar in bars.iter().filter(|bar| bar.count > 0) {
                @if let (Some(left), Some(right), Some(top), Some(bottom)) = (
                    frame.across(bar.from), frame.across(bar.to), frame.down(bar.count as f64), frame.down(0.0)
                ) {
                    rect class={ "bar " (self.class) } x=(place(left + 0.5)) y=(place(top))
                        width=(place((right - left - 1.0).max(1.0))) height=(place(bottom - top)) {}
                }
            }
        };
        let named = bars.iter().map(|bar| {
            let range = format!("{} to {}", label(bar.from), label(bar.to));
            ((bar.from + bar.to) / 2.0, range, bar.count as f64)
        });
        let hover = Hover::of_bars(&frame, self.y_label, named);
        Figure { title: self.title, frame, legend: None, marks, hover }.draw()
    }
}

/// The values' bars, between round numbers; what is not finite is in none.
fn bars(values: &[f64]) -> Vec<Bar> {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return Vec::new();
    }
    let width =
        if low == high { 0.1 * if low == 0.0 { 1.0 } else { low.abs() } } else { round_step(low, high, BARS) };
    // Values that are all the same stand in the middle of one bar.
    let start = if low == high { low - width / 2.0 } else { (low / width).floor() * width };
    let number = ((high - start) / width).floor() as usize + 1;
    let mut counts = vec![0; number.min(2 * BARS)];
    for value in finite() {
        let index = ((value - start) / width) as usize;
        let last = counts.len() - 1;
        counts[index.min(last)] += 1;
    }
    let bar = |(index, count): (usize, usize)| {
        let [from, to] = [index, index + 1].map(|index| start + index as f64 * width);
        Bar { from, to, count }
    };
    counts.into_iter().enumerate().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_in_one_bar() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i % 97) / 97.0 - 0.3).chain([f64::NAN]).collect();
        let bars = bars(&values);
        assert_eq!(bars.iter().map(|bar| bar.count).sum::<usize>(), 1000);
        assert!((8..=17).contains(&bars.len()), "{}", bars.len());
        for bar in &bars {
            let inside =
                values.iter().filter(|value| (bar.from + 1e-12..bar.to - 1e-12).contains(*value)).count();
            assert!(inside <= bar.count, "{bar:?}");
        }
    }

    #[test]
    fn values_that_are_all_the_same_are_one_bar_around_them() {
        for (value, from, to) in [(1.0, 0.95, 1.05), (0.0, -0.05, 0.05), (-2.0, -2.1, -1.9)] {
            let [bar] = &bars(&[value; 8])[..] else { panic!("one bar") };
            assert!((bar.from - from).abs() < 1e-12 && (bar.to - to).abs() < 1e-12, "{bar:?}");
            assert_eq!(bar.count, 8);
        }
    }

    #[test]
    fn nothing_in_a_drawing_is_nan_or_infinite() {
        for values in
            [vec![], vec![f64::NAN], vec![1e300, -1e300], vec![1e38, 1.0], vec![1e-40, 0.0], vec![7.0]]
        {
            let drawing =
                Histogram { title: "gamma", x_label: "gamma", y_label: "channels", class: "plain", values };
            let svg = drawing.draw().into_string();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
