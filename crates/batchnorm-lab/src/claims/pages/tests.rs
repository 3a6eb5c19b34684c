//! The pages, of claims of every kind of verdict.

use std::num::NonZeroUsize;

use maud::Markup;

use super::*;
use crate::claims::{
    Carried, Claim, Exhibit, Facts, Findings, Halt, Interval, Judged, Part, Request, Rule, Table, Unfinished,
};
use crate::data::Source;
use crate::draw::{
    Axis, Bands, DotRow, Dots, Frame, Heatmap, Ink, Kind, RangeSeries, Ranges, Scale, Series, Size,
};

const RATIO: Rule = Rule {
    says: "fewer steps",
    measure: "the ratio of steps to the target, without to with,",
    unit: "x",
    enough: 1.5,
    none: 1.1,
};
const DEEPER: Rule = Rule { says: "more so in deeper networks, of thirty layers or more", ..RATIO };
const POINTS: Rule = Rule {
    says: "less overfitting",
    measure: "the gap of accuracies",
    unit: " points",
    enough: -1.0,
    none: 0.0,
};

const fn claim(name: &'static str, claim: &'static str, rules: &'static [Rule]) -> Claim {
    Claim {
        name,
        claim,
        source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 4.1 and Figure 1 (a).",
        experiment: "The paper's network: binary pixels, three hidden layers of 100 sigmoids, with and without.",
        measurement: "The first evaluated step with the target test accuracy, seed by seed.",
        rules,
        published: "Figure 1 (a) shows the normalized network above the other; it prints no numbers.",
        run: |_| Err(Halt::Missing),
    }
}

static FASTER: Claim = claim(
    "faster",
    "Networks with batch normalization need fewer steps to the same accuracy.",
    &[RATIO, DEEPER, POINTS],
);
static SMALL_BATCHES: Claim = claim("small-batches", "It fails with small batches.", &[RATIO]);
static SHIFT: Claim =
    claim("internal-covariate-shift", "It works by reducing internal covariate shift.", &[POINTS]);
static HOSTILE: Claim = claim("odd", "A claim of <script>alert('1')</script> & \"all\" that is odd.", &[RATIO]);
static STOPPED: Claim = claim("stopped", "Large batches train as well as small ones.", &[RATIO]);

fn interval(value: f64, low: f64, high: f64, seeds: usize) -> Interval {
    Interval { value, low, high, seeds, size: (value < 100.0).then_some(value * 1.7) }
}

fn judged(claim: &'static Claim, intervals: &[Interval], quick: bool) -> Judged {
    let parts = claim.rules.iter().zip(intervals).map(|(&rule, &interval)| Part::new(rule, interval)).collect();
    let seeds = NonZeroUsize::new(if quick { 3 } else { 5 }).unwrap();
    let request = Request { data: Source::Digits, quick, seeds };
    let findings = Findings {
        parts,
        sentence: "To 95 % test accuracy the network takes 412 steps with batch normalization and 1633 without, each at its \
                   best learning rate (1 and 0.5): 3.96x (3.41 to 4.62) fewer."
            .to_owned(),
        exhibits: exhibits(),
        tables: vec![Table {
            title: "Steps to 95 % test accuracy".to_owned(),
            head: ["seed", "without", "with", "ratio"].map(str::to_owned).to_vec(),
            rows: (1..=5).map(|seed| vec![seed.to_string(), "1633".to_owned(), "412".to_owned(), "3.96x".to_owned()]).collect(),
        }],
        settings: [("network", "mlp, 3 layers of 100 sigmoids"), ("optimizer", "SGD"), ("steps", "50000")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        differs: "The paper's figure has one run of each network at one unstated learning rate.".to_owned(),
        notes: vec!["2 of 5 runs of \u{201c}without\u{201d} never reached the target; they count with all steps.".to_owned()],
    };
    Judged { claim, findings, command: request.command(claim.name), request, seconds: 754.3 }
}

fn facts() -> Facts {
    Facts {
        title: "Optical Recognition of Handwritten Digits".to_owned(),
        source: "E. Alpaydin and C. Kaynak, UCI Machine Learning Repository".to_owned(),
        licence: "CC BY 4.0".to_owned(),
        fingerprint: "0123".to_owned(),
        dims: [1, 8, 8],
        classes: 10,
        train: 1437,
        test: 360,
    }
}

/// A drawing of every kind.
fn exhibits() -> Vec<Exhibit> {
    let reading = "Each line is the mean over the seeds, the band around it reaches from the worst seed to the best. Further left \
                   and higher is better.";
    let exhibit = |drawing: Markup| Exhibit { drawing, reading: reading.to_owned() };
    let linear = |low, high| Scale::exactly(Kind::Linear, low, high);
    let wave = |seed: usize, step: f64| (step * 0.37 + seed as f64).sin();
    let steps: Vec<f64> = (1..60).map(|index| f64::from(index * index) * 10.0).collect();
    let x =
        Axis { label: "training steps (logarithmic)", scale: Scale::around(Kind::Log, steps.iter().copied()) };
    let y = Axis { label: "test accuracy (%)", scale: linear(0.0, 100.0) };
    let learning = |rate: f64| {
        let value = |seed: usize, step: f64| 97.0 - 85.0 * (-step / rate).exp() + 1.5 * wave(seed, step / rate);
        steps.iter().map(|&step| (step, (0..5).map(|seed| value(seed, step)).collect())).collect::<Vec<_>>()
    };
    let twins = vec![
        Series { name: "without".to_owned(), ink: Ink::PLAIN, points: learning(9000.0) },
        Series { name: "with batch normalization".to_owned(), ink: Ink::BATCH_NORM, points: learning(900.0) },
    ];
    let sizes = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
    let eight = (0..8).map(|arm| Series {
        name: format!("arm {arm}"),
        ink: Ink::nth(arm),
        points: sizes
            .iter()
            .map(|&size| {
                (size, (0..3).map(|seed| 60.0 + 4.0 * arm as f64 + 3.0 * wave(seed + arm, size)).collect())
            })
            .collect(),
    });
    let by_size =
        Axis { label: "batch size (logarithmic)", scale: Scale::around(Kind::Log, sizes.into_iter()) };
    let mut table: Vec<Vec<Option<f64>>> = (0..5)
        .map(|row| {
            (0..7).map(|column| Some(12.0 + 85.0 * (1.0 - (f64::from(row - column).abs() / 7.0)))).collect()
        })
        .collect();
    table[0][6] = None;
    table[1][6] = None;
    let names =
        |prefix: &str, count: usize| (0..count).map(|index| format!("{prefix}{}", 1 << index)).collect();
    let accuracies =
        |shift: f64| (0..5).map(|seed| 92.0 + shift + 1.5 * wave(seed, shift)).collect::<Vec<f64>>();
    let mut some = accuracies(-1.0);
    some[2] = f64::NAN;
    some[3] = 70.0;
    let losses = |height: f64| {
        steps
            .iter()
            .map(|&step| (step, height / step.sqrt(), (1.5 + wave(1, step).abs()) * height / step.sqrt()))
            .collect()
    };
    let loss = Axis { label: "loss (logarithmic)", scale: Scale::exactly(Kind::Log, 0.002, 6.0) };
    vec![
        exhibit(
            Bands {
                title: "Test accuracy",
                frame: Frame { size: Size::Large, x, y },
                unit: " %",
                series: twins,
            }
            .draw(),
        ),
        exhibit(
            Bands {
                title: "Eight arms",
                frame: Frame {
                    size: Size::Large,
                    x: by_size,
                    y: Axis { label: "accuracy (%)", scale: linear(50.0, 100.0) },
                },
                unit: " %",
                series: eight.collect(),
            }
            .draw(),
        ),
        exhibit(
            Heatmap {
                title: "Accuracy by learning rate and depth",
                x: ("learning rate", names("0.0", 7)),
                y: ("layers", names("", 5)),
                values: table.clone(),
                low: 10.0,
                high: 100.0,
                unit: " %",
            }
            .draw(),
        ),
        exhibit(
            Heatmap {
                title: "With long names",
                x: ("normalization", names("normalized by ", 7)),
                y: ("initialization", names("initialized ", 5)),
                values: table,
                low: 10.0,
                high: 100.0,
                unit: " %",
            }
            .draw(),
        ),
        exhibit(
            Dots {
                title: "Final accuracy by seed",
                x: Axis { label: "test accuracy (%)", scale: linear(85.0, 100.0) },
                rows: vec![
                    DotRow { name: "without".to_owned(), ink: Ink::PLAIN, values: some },
                    DotRow {
                        name: "with batch normalization".to_owned(),
                        ink: Ink::BATCH_NORM,
                        values: accuracies(4.0),
                    },
                    DotRow {
                        name: "group normalization, 8 groups".to_owned(),
                        ink: Ink::nth(2),
                        values: accuracies(2.0),
                    },
                ],
            }
            .draw(),
        ),
        exhibit(
            Ranges {
                title: "Loss along the gradient",
                frame: Frame { size: Size::Large, x, y: loss },
                series: vec![
                    RangeSeries { name: "without".to_owned(), ink: Ink::PLAIN, points: losses(6.0) },
                    RangeSeries { name: "with".to_owned(), ink: Ink::BATCH_NORM, points: losses(1.5) },
                ],
            }
            .draw(),
        ),
    ]
}

/// Of every verdict, with intervals that do and do not fit.
fn carried() -> Carried {
    let nan = f64::NAN;
    Carried {
        judged: vec![
            judged(
                &FASTER,
                &[interval(3.96, 3.41, 4.62, 5), interval(2.1, 1.2, 3.7, 5), interval(-1.4, -2.1, -0.7, 5)],
                false,
            ),
            judged(&SMALL_BATCHES, &[interval(2.4, 1.7, 3.2, 3)], true),
            judged(&SHIFT, &[interval(0.8, 0.31, 1.29, 5)], false),
            judged(&HOSTILE, &[interval(1e7, 0.0, f64::INFINITY, 2)], true),
            judged(&HOSTILE, &[interval(nan, nan, nan, 0)], true),
            judged(&HOSTILE, &[], true),
        ],
        unfinished: vec![Unfinished { claim: &STOPPED, why: Halt::Stopped }],
    }
}

fn pages() -> Vec<(String, String)> {
    let (carried, facts) = (carried(), facts());
    let mut pages: Vec<(String, String)> = carried
        .judged
        .iter()
        .enumerate()
        .map(|(index, judged)| {
            let before = index.checked_sub(1).and_then(|before| carried.judged.get(before));
            (
                format!("{index}-{}", file_name(judged.claim)),
                claim_page(judged, &facts, before, carried.judged.get(index + 1)),
            )
        })
        .collect();
    pages.push((INDEX.to_owned(), index_page(&carried, &facts)));
    pages.push(("nothing.html".to_owned(), index_page(&Carried::default(), &facts)));
    pages.push((TEACHING.to_owned(), teaching_page()));
    pages
}

#[test]
fn the_pages_need_nothing_but_one_another() {
    for (name, page) in pages() {
        assert!(page.starts_with("<!DOCTYPE html>"), "{name}");
        for outside in [" src=", "url(", "@import", "fetch(", "http://", "https://"] {
            assert!(!page.contains(outside), "{name}: {outside}");
        }
        for link in page.split("href=\"").skip(1) {
            let link = link.split('"').next().unwrap();
            assert!(link.ends_with(".html") && !link.contains('/'), "{name}: {link}");
        }
    }
}

#[test]
fn no_drawing_has_a_number_that_is_none() {
    for (name, page) in pages() {
        assert!(!page.contains("NaN"), "{name}");
        for svg in page.split("<svg").skip(1) {
            let svg = &svg[..svg.find("</svg>").expect("an end")];
            assert!(!svg.contains("inf"), "{name}: {svg}");
        }
    }
}

#[test]
fn the_verdict_comes_first_in_words() {
    let (carried, facts) = (carried(), facts());
    let page = claim_page(&carried.judged[2], &facts, carried.judged.get(1), carried.judged.get(3));
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(place("</span> refuted") < place("<figure"));
    assert!(place("0.31 to 1.29 points") < place("<figure"));
    for expected in [
        "batchnorm claims run internal-covariate-shift",
        "rel=\"prev\" href=\"small-batches.html\"",
        "rel=\"next\" href=\"odd.html\"",
        "is supported if the whole 95 % interval",
        "Where the published figure differs, and why",
        "never reached the target",
        "full run of 5 seeds",
        "12 min 34 s of computation",
        "CC BY 4.0",
    ] {
        place(expected);
    }
}

#[test]
fn the_index_counts_links_and_lists_what_was_not_run() {
    let page = index_page(&carried(), &facts());
    for expected in [
        "href=\"faster.html\"",
        "href=\"how-it-works.html\"",
        "quick and full runs, 3 to 5 seeds",
        "3.96x",
        "3.41 to 4.62x",
        "No verdict: stopped.",
        "<b>figure1</b>",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    // One supported, one mixed, one refuted, three of which there are no data.
    let counts: Vec<&str> =
        page.split("class=\"count\">").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(counts, ["1", "1", "1", "3"]);
}

#[test]
fn text_from_outside_stays_text() {
    for (name, page) in pages() {
        assert!(!page.contains("<script>alert"), "{name}");
    }
}

#[test]
fn a_claim_without_parts_exhibits_or_tables_has_a_page() {
    let mut bare = judged(&HOSTILE, &[], true);
    (bare.findings.exhibits, bare.findings.tables, bare.findings.notes) = (Vec::new(), Vec::new(), Vec::new());
    (bare.findings.settings, bare.findings.differs) = (Vec::new(), String::new());
    let page = claim_page(&bare, &facts(), None, None);
    assert!(!page.contains("<figure") && !page.contains("rel=\"next\"") && page.contains("not enough data"));
}

#[test]
#[ignore = "writes the pages to look at, into the folder that CLAIM_PAGES names"]
fn pages_to_look_at() {
    let folder = std::env::var_os("CLAIM_PAGES").map_or_else(std::env::temp_dir, std::path::PathBuf::from);
    for (name, page) in pages() {
        std::fs::write(folder.join(name), page).unwrap();
    }
}
