//! The page on how batch normalization works: one batch through its four stages, with everything that can be turned.
//!
//! Without JavaScript there are the formulas and a drawing of each stage; `teaching.js` adds one that moves, computing as
//! [`Layer::stages`] does here.

use batchnorm::BatchNormConfig;
use maud::{Markup, html};
use serde::Serialize;

use super::{INDEX, STYLE};
use crate::draw::{self, Document, Kind, Scale};

const TEACHING_STYLE: &str = include_str!("teaching.css");
const SCRIPT: &str = include_str!("teaching.js");

const EXAMPLES: usize = 16;
const UNITS: usize = 3;

/// What three units of a young network give for sixteen examples: of very different size and spread, and skewed.
const BATCH: [[f64; EXAMPLES]; UNITS] = [
    [0.4, 1.2, 0.7, 2.9, 1.5, 0.3, 3.8, 1.1, 6.2, 2.1, 0.8, 4.7, 1.8, 0.5, 2.4, 1.3],
    [-4.4, -4.2, -4.6, -3.9, -4.3, -4.5, -3.2, -4.2, -4.7, -4.0, -4.4, -3.6, -4.3, -4.8, -4.2, -4.5],
    [1.9, -0.8, 2.3, 0.4, 1.2, -3.9, 1.6, 2.1, -1.7, 0.7, 1.4, 2.6, -5.6, 0.2, 1.8, -0.3],
];
/// Running mean and variance, of many batches before this one.
const RUNNING: [[f64; 2]; UNITS] = [[1.6, 2.3], [-4.0, 0.4], [0.8, 3.6]];
/// The scale and the shift that the page begins with.
const SCALE_AND_SHIFT: [f64; 2] = [1.5, 1.0];

/// The stages: their names, formulas, and what they do.
const STAGES: [Stage; 4] = [
    Stage {
        name: "What comes in",
        formula: "x",
        says: "Every unit gives a number for every example. Nothing keeps the three units alike: the first lies to the right with a \
               long tail, the second is narrow and far to the left, the third is wide.",
    },
    Stage {
        name: "Subtract the mean",
        formula: "x − μ",
        says: "Each unit's mean over the batch, μ, is subtracted. All three now lie around 0, as wide as they were.",
    },
    Stage {
        name: "Divide by the standard deviation",
        formula: "x̂ = (x − μ) / √(σ² + ε)",
        says: "Each unit is divided by its standard deviation over the batch. All three now have mean 0 and variance 1, whatever \
               came in. Their shapes stay: a long tail is still a long tail. The small ε keeps the root away from 0.",
    },
    Stage {
        name: "Scale and shift",
        formula: "y = γ x̂ + β",
        says: "A scale γ and a shift β, learned like weights, one pair for each unit, give back the freedom to lie anywhere: now \
               where the layer's loss wants it, and no longer where the layers below happened to put it.",
    },
];

struct Stage {
    name: &'static str,
    formula: &'static str,
    says: &'static str,
}

/// What the moving drawing starts with.
#[derive(Serialize)]
struct Given {
    batch: [[f64; EXAMPLES]; UNITS],
    running: [[f64; 2]; UNITS],
    axis: Axis,
}

/// From numbers to places.
#[derive(Serialize)]
struct Axis {
    low: f64,
    high: f64,
    left: f64,
    right: f64,
}

/// Numbers beyond this are at the edge.
const END: f64 = 7.0;

/// A unit with what it is normalized by.
struct Layer {
    mean: f64,
    variance: f64,
    eps: f64,
}

impl Layer {
    /// By the batch's own statistics, the variance being the mean of squares.
    fn of_batch(values: &[f64]) -> Self {
        let number = values.len() as f64;
        let mean = values.iter().sum::<f64>() / number;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / number;
        Self { mean, variance, eps: BatchNormConfig::pytorch().eps }
    }

    /// A number after each stage.
    fn stages(&self, x: f64) -> [f64; 4] {
        let [scale, shift] = SCALE_AND_SHIFT;
        let centred = x - self.mean;
        let normalized = centred / (self.variance + self.eps).sqrt();
        [x, centred, normalized, scale * normalized + shift]
    }
}

/// The page.
pub(in super::super) fn teaching_page() -> String {
    let main = html! {
        nav.pages { a href=(INDEX) { "All claims" } }
        h1 { "How batch normalization works" }
        p {
            "A network learns by small steps, and each layer has to learn from whatever the layers below it give at the moment. \
             Batch normalization takes the numbers that a unit gives for one batch of examples, and brings them to mean 0 and \
             variance 1, in every step of training anew. Here is one batch on its way through: sixteen examples, three units."
        }
        (moving())
        h2 { "The four stages" }
        ol.stages { @for (index, stage) in STAGES.iter().enumerate() { (card(index, stage)) } }
        (arithmetic())
        (training_and_inference())
        (to_try())
    };
    let styles = [draw::STYLE, STYLE, TEACHING_STYLE];
    let title = html! { "How batch normalization works" };
    Document { title, styles: &styles, scripts: &[SCRIPT], main }.into_string()
}

/// The drawing that moves, and what can be turned; shown by the script.
fn moving() -> Markup {
    let axis = Axis { low: -END, high: END, left: LARGE.left, right: LARGE.right };
    let given = Given { batch: BATCH, running: RUNNING, axis };
    let given = serde_json::to_string(&given).expect("numbers have a JSON form");
    let exponent = BatchNormConfig::pytorch().eps.log10().round();
    let [scale, shift] = SCALE_AND_SHIFT;
    html! {
        section.moving hidden data-given=(given) aria-label="One batch, step by step" {
            div.stage-picker {
                label for="stage" { "Stage" }
                input #stage type="range" min="0" max="3" step="1" value="0" list="stages" aria-describedby="stage-name";
                datalist #stages { @for index in 0..STAGES.len() { option value=(index) {} } }
                p #stage-name aria-live="polite" {}
            }
            div.bench {
                figure.scene {
                    (scene(&LARGE, 0))
                    ul.legend {
                        li { svg viewBox="0 0 28 10" aria-hidden="true" { circle.example cx="14" cy="5" r="4" {} } "an example" }
                        li { svg viewBox="0 0 28 10" aria-hidden="true" { circle.example.chosen cx="14" cy="5" r="4.5" {} } "the chosen one" }
                        li { svg viewBox="0 0 28 10" aria-hidden="true" { circle.example.out cx="14" cy="5" r="4" {} } "not in the batch" }
                        li { svg viewBox="0 0 28 10" aria-hidden="true" { path.average d="M14 0V10" {} } "mean of the batch" }
                        li { svg viewBox="0 0 28 10" aria-hidden="true" { rect.spread x="1" y="0" width="26" height="10" {} } "± 1 standard deviation" }
                    }
                }
                div.controls {
                    fieldset {
                        legend { "Statistics" }
                        label { input type="radio" name="mode" value="training" checked; " training: of this batch" }
                        label { input type="radio" name="mode" value="inference"; " inference: running" }
                    }
                    (slider("gamma", "scale γ", ("0", "3", "0.05"), scale))
                    (slider("beta", "shift β", ("-3", "3", "0.05"), shift))
                    (slider("tiny", "ε, as a power of ten", ("-8", "2", "1"), exponent))
                    (slider("size", "batch size", ("1", "16", "1"), EXAMPLES as f64))
                    (slider("example", "chosen example", ("1", "16", "1"), 9.0))
                    (slider("unit", "chosen unit", ("1", "3", "1"), 1.0))
                }
            }
            p.remark #remark aria-live="polite" {}
            div.sums {
                h2 { "In numbers: example " span #which-example {} " in unit " span #which-unit {} }
                ol #sums {}
            }
        }
    }
}

fn slider(id: &str, name: &str, (min, max, step): (&str, &str, &str), value: f64) -> Markup {
    html! {
        label.slider for=(id) {
            span { (name) }
            output for=(id) {}
            input id=(id) type="range" min=(min) max=(max) step=(step) value=(value);
        }
    }
}

/// The size of a scene, in SVG units.
struct Measures {
    width: f64,
    left: f64,
    right: f64,
    row: f64,
    /// How large a dot is.
    dot: f64,
    ticks: &'static [i32],
}

const LARGE: Measures =
    Measures { width: 520.0, left: 14.0, right: 506.0, row: 92.0, dot: 5.0, ticks: &[-6, -4, -2, 0, 2, 4, 6] };
const SMALL: Measures =
    Measures { width: 280.0, left: 10.0, right: 270.0, row: 46.0, dot: 3.0, ticks: &[-5, 0, 5] };

/// The units one below the other, each with its dots, its mean and its spread.
fn scene(size: &Measures, stage: usize) -> Markup {
    let scale = Scale::exactly(Kind::Linear, -END, END);
    let across =
        |value: f64| scale.place_or_edge(value).map(|share| size.left + share * (size.right - size.left));
    let tenth = |place: f64| (place * 10.0).round() / 10.0;
    let bottom = size.row * UNITS as f64 + 4.0;
    let large = size.row > SMALL.row;
    let name = if large { 20.0 } else { 0.0 };
    html! {
        svg.drawing viewBox={ "0 0 " (size.width) " " (bottom + 24.0) } role="img"
            aria-label={ "Sixteen examples in three units: " (STAGES[stage].name) } {
            @for tick in size.ticks {
                @if let Some(x) = across(f64::from(*tick)) {
                    path.grid d={ "M" (tenth(x)) " 2V" (bottom) } {}
                    text.tick.x x=(tenth(x)) y=(bottom + 17.0) { (tick) }
                }
            }
            @for (unit, values) in BATCH.iter().enumerate() {
                @let layer = Layer::of_batch(values);
                @let seen: Vec<f64> = values.iter().map(|&x| layer.stages(x)[stage]).collect();
                @let shown = Layer::of_batch(&seen);
                @let (top, deviation) = (unit as f64 * size.row + 4.0, shown.variance.sqrt());
                @let (above, height) = (top + name + 2.0, size.row - name - 8.0);
                g.unit {
                    @if let (Some(low), Some(middle), Some(high)) =
                        (across(shown.mean - deviation), across(shown.mean), across(shown.mean + deviation)) {
                        rect.spread x=(tenth(low)) y=(above) width=(tenth(high - low)) height=(height) {}
                        path.average d={ "M0 " (above) "v" (height) } transform={ "translate(" (tenth(middle)) " 0)" } {}
                    }
                    @if large {
                        text.name x=(size.left) y=(top + 14.0) { "unit " (unit + 1) }
                        text.name.says x=(size.right) y=(top + 14.0) {}
                    }
                    @for (example, value) in seen.iter().enumerate() {
                        // As high as its number says, so that it is found again after every stage.
                        @let lane = (example * 7 % EXAMPLES) as f64 + 0.5;
                        @if let Some(x) = across(*value) {
                            circle.example cx=(tenth(x)) cy=(tenth(above + lane * height / EXAMPLES as f64)) r=(size.dot) {}
                        }
                    }
                    path.axis d={ "M" (size.left) " " (above + height + 2.0) "H" (size.right) } {}
                }
            }
        }
    }
}

fn card(index: usize, stage: &Stage) -> Markup {
    html! {
        li.stage data-stage=(index) {
            h3 { (index + 1) ". " (stage.name) }
            p.formula { (stage.formula) }
            (scene(&SMALL, index))
            p { (stage.says) }
        }
    }
}

/// The formulas with the numbers of one example.
fn arithmetic() -> Markup {
    let [scale, shift] = SCALE_AND_SHIFT;
    let layer = Layer::of_batch(&BATCH[0]);
    let [x, centred, normalized, y] = layer.stages(BATCH[0][8]);
    html! {
        h2 { "The formulas" }
        p { "For each unit, over the m examples of a batch:" }
        ul.formulas {
            li { span.formula { "μ = (x₁ + x₂ + … + xₘ) / m" } " the mean" }
            li { span.formula { "σ² = ((x₁ − μ)² + … + (xₘ − μ)²) / m" } " the variance" }
            li { span.formula { (STAGES[2].formula) } " normalize" }
            li { span.formula { (STAGES[3].formula) } " scale and shift" }
        }
        p {
            "For the ninth example of the first unit, which is the largest of its batch, with γ = " (scale) " and β = " (shift) ": μ = "
            (format!("{:.2}", layer.mean)) ", σ² = " (format!("{:.2}", layer.variance)) ", so x = " (x) " becomes x − μ = "
            (format!("{centred:.2}")) ", x̂ = " (format!("{normalized:.2}")) " and y = " (format!("{y:.2}")) "."
        }
    }
}

fn training_and_inference() -> Markup {
    html! {
        h2 { "Training and inference" }
        p {
            "In training the statistics are those of the batch at hand, so that what comes out for one example depends on the \
             others in its batch. When the network is used there may be no batch, and an answer should not depend on who else \
             asked: then running averages of the means and variances, kept on the way, stand in for the batch's. After that, \
             batch normalization is a fixed scale and shift for each unit."
        }
        div.wide {
            table.results {
                thead { tr {
                    th scope="col" { "unit" } th scope="col" { "batch mean" } th scope="col" { "running mean" }
                    th scope="col" { "batch variance" } th scope="col" { "running variance" }
                } }
                tbody {
                    @for (unit, (values, [mean, variance])) in BATCH.iter().zip(RUNNING).enumerate() {
                        @let batch = Layer::of_batch(values);
                        tr {
                            th scope="row" { (unit + 1) }
                            td { (format!("{:.2}", batch.mean)) } td { (format!("{mean:.2}")) }
                            td { (format!("{:.2}", batch.variance)) } td { (format!("{variance:.2}")) }
                        }
                    }
                }
            }
        }
    }
}

fn to_try() -> Markup {
    html! {
        div.to-try hidden {
            h2 { "To try" }
            ul.notes {
                li { "Batch size 2: whatever comes in, x̂ is −1 for the one and 1 for the other. Batch size 1: nothing is left." }
                li { "Move the batch size slowly from 16 to 4, in stage 3: the hollow dots stand still in stage 1, and here they move, as the mean \
                      and the variance that they are normalized by do. That is the noise that small batches bring." }
                li { "ε at 1 or 10: the narrow second unit stays narrow, as its variance is small beside ε." }
                li { "Inference: the mean is no longer exactly 0, as this batch is not the average one." }
                li { "γ at 0: the unit says β, whatever comes in. That is how some networks begin their residual branches." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use batchnorm::{BatchNorm, Shape};

    use super::*;

    #[test]
    fn the_page_computes_what_the_engine_computes() {
        // Examples in rows, units in columns.
        let x: Vec<f64> = (0..EXAMPLES).flat_map(|example| BATCH.map(|unit| unit[example])).collect();
        let mut y = vec![0.0; x.len()];
        let mut layer = BatchNorm::<f64>::new(UNITS, BatchNormConfig::pytorch()).unwrap();
        layer.forward_train(Shape::channels_last(&[EXAMPLES, UNITS]).unwrap(), &x, &mut y).unwrap();
        for (place, (&x, &y)) in x.iter().zip(&y).enumerate() {
            let ours = Layer::of_batch(&BATCH[place % UNITS]).stages(x)[2];
            assert!((ours - y).abs() < 1e-12, "{ours} {y}");
        }
    }

    #[test]
    fn the_units_are_as_different_as_the_text_says_and_fit_the_axis() {
        let [first, second, third] = BATCH.map(|unit| Layer::of_batch(&unit));
        assert!(first.mean > 1.5 && second.mean < -4.0 && third.variance > 20.0 * second.variance);
        let skew = |unit: usize, layer: &Layer| {
            BATCH[unit].iter().map(|x| (x - layer.mean).powi(3)).sum::<f64>() / layer.variance.powf(1.5) / 16.0
        };
        assert!(skew(0, &first) > 1.0 && skew(2, &third) < -1.0);
        for (unit, layer) in [&first, &second, &third].into_iter().enumerate() {
            for x in BATCH[unit] {
                assert!(layer.stages(x).into_iter().all(|value| value.abs() < END), "{x}");
            }
        }
        assert!(BATCH[0].iter().all(|&x| x <= BATCH[0][8]), "the ninth is the largest");
    }

    #[test]
    fn the_page_has_formulas_and_drawings_without_its_script() {
        let page = teaching_page();
        assert_eq!(page.matches("<svg class=\"drawing\"").count(), 1 + STAGES.len());
        assert!(page.contains("<section class=\"moving\" hidden"), "hidden until the script shows it");
        for expected in ["γ x̂ + β", "prefers-color-scheme: dark", "type=\"range\"", "prefers-reduced-motion"]
        {
            assert!(page.contains(expected), "{expected}");
        }
        for outside in [" src=", "url(", "@import", "fetch(", "http"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.len() < 80_000 && !page.contains("NaN"), "{}", page.len());
    }
}
