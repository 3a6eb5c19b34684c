//! Accuracy, loss and learning rate over the steps of training.

use maud::{Markup, html};

use crate::draw::{Axis, Chart, Frame, Ink, Kind, Legend, Line, Scale, Size, legend};
use crate::report::naming::Naming;
use crate::train::{Arm, Metrics, Point, Run, Schedule};

/// The learning rate is worked out for so many steps: twice what a drawing can show.
const RATES: usize = 900;
/// A loss so many times the first is beyond the axis.
const EXPLODED: f64 = 100.0;

pub(in super::super) fn training(metrics: &Metrics, steps: Axis<'_>) -> Markup {
    let evaluated = metrics.runs.trained().any(|(_, run)| !run.curve.is_empty());
    html! {
        h2 { "Training" }
        @if evaluated {
            div.charts {
                (accuracy(metrics, steps))
                (losses(metrics, steps))
                @if metrics.settings.schedule != Schedule::Constant { (rate(metrics, steps)) }
            }
        } @else {
            p { "There was no evaluation." }
        }
    }
}

/// A line for each arm, with its name and its ink.
fn lines(
    metrics: &Metrics,
    drawn: impl Fn(Arm) -> (String, &'static str),
    value: impl Fn(&Point) -> Option<f64>,
) -> Vec<Line> {
    let of = |(arm, run): (Arm, &Run)| {
        let (name, class) = drawn(arm);
        let points = run.curve.iter().map(|point| (point.step as f64, value(point))).collect();
        Line { name, ink: Ink::Class(class), points }
    };
    metrics.runs.trained().map(of).collect()
}

fn accuracy(metrics: &Metrics, x: Axis<'_>) -> Markup {
    let naming = Naming::of(metrics);
    let y = Axis { label: "test accuracy (%)", scale: Scale::exactly(Kind::Linear, 0.0, 100.0) };
    Chart {
        title: "Test accuracy",
        frame: Frame { size: Size::Large, x, y },
        unit: " %",
        lines: lines(
            metrics,
            |arm| (naming.column(arm), naming.class(arm)),
            |point| point.test_accuracy.map(|accuracy| accuracy * 100.0),
        ),
        legend: Legend::Listed,
    }
    .draw()
}

/// The losses of twins in one drawing, of more arms in two.
fn losses(metrics: &Metrics, x: Axis<'_>) -> Markup {
    let naming = Naming::of(metrics);
    if naming.is_list() {
        let drawn = |arm| (naming.column(arm), naming.class(arm));
        let training = lines(metrics, drawn, |point| point.train_loss);
        let test = lines(metrics, drawn, |point| point.test_loss);
        return html! {
            (loss("Training loss", training, Legend::Listed, x))
            (loss("Test loss", test, Legend::Listed, x))
        };
    }
    let dashed = |arm| if arm == Arm::Plain { "plain dashed" } else { "batch-norm dashed" };
    let named = |data: &str, arm| format!("{data} {}", naming.short(arm));
    let mut both = lines(metrics, |arm| (named("training", arm), naming.class(arm)), |point| point.train_loss);
    both.extend(lines(metrics, |arm| (named("test", arm), dashed(arm)), |point| point.test_loss));
    // Colours for the twins and strokes for the data: shorter than a name for each line.
    let twins = metrics.runs.arms().into_iter().map(|arm| (naming.column(arm), Ink::Class(naming.class(arm))));
    let strokes = [("training", "neutral"), ("test", "neutral dashed")];
    let strokes = strokes.map(|(name, class)| (name.to_owned(), Ink::Class(class)));
    let named: Vec<(String, Ink)> = twins.chain(strokes).collect();
    let legend = Legend::Own(legend(named.iter().map(|(name, ink)| (&**name, ink))));
    loss("Loss", both, legend, x)
}

fn loss(title: &str, mut lines: Vec<Line>, legend: Legend, x: Axis<'_>) -> Markup {
    lines.retain(|line| line.points.iter().any(|point| point.1.is_some()));
    // What explodes leaves the axis, which would else have room for nothing else.
    let first = |line: &Line| line.points.iter().find_map(|point| point.1.filter(|loss| loss.is_finite()));
    let most = EXPLODED * lines.iter().filter_map(first).fold(f64::MIN_POSITIVE, f64::max);
    let values =
        lines.iter().flat_map(|line| &line.points).filter_map(|point| point.1).map(|loss| loss.min(most));
    let y = Axis { label: "cross-entropy (logarithmic)", scale: Scale::around(Kind::Log, values) };
    Chart { title, frame: Frame { size: Size::Large, x, y }, unit: "", lines, legend }.draw()
}

fn rate(metrics: &Metrics, x: Axis<'_>) -> Markup {
    let settings = &metrics.settings;
    let (low, high) = (x.scale.low().max(1.0), x.scale.high().max(1.0));
    let step = |index: usize| (low * (high / low).powf(index as f64 / RATES as f64)).round() as usize;
    let mut steps: Vec<usize> = (0..=RATES).map(step).collect();
    steps.dedup();
    let points: Vec<(f64, Option<f64>)> =
        steps.into_iter().map(|step| (step as f64, Some(settings.rate(step)))).collect();
    let values = points.iter().filter_map(|point| point.1);
    let (label, scale) = match settings.schedule {
        // Ends near 0.
        Schedule::Cosine => {
            ("learning rate", Scale::around(Kind::Linear, values.chain([0.0, settings.learning_rate])))
        }
        _ => ("learning rate (logarithmic)", Scale::around(Kind::Log, values)),
    };
    Chart {
        title: "Learning rate",
        frame: Frame { size: Size::Large, x, y: Axis { label, scale } },
        unit: "",
        lines: vec![Line { name: settings.schedule.to_string(), ink: Ink::Class("neutral"), points }],
        legend: Legend::Listed,
    }
    .draw()
}
