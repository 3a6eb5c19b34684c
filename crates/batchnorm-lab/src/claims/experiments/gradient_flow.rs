//! Gradient flow: neither vanishing nor exploding.

use super::gradient_profile::{BATCH, Flow, Kind, Profile, UNITS, fold, growth, smallest, theory};
use super::seeds::{bands, mean};
use crate::claims::Interval;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab};
use crate::claims::training;
use crate::draw::{Axis, Ink, Kind as Spread, Scale, Series};
use crate::networks::Activation;
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "gradient-flow",
    claim: "Batch normalization keeps gradients from vanishing and from exploding.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 3.3; against it Yang et al. 2019 (arXiv 1902.08129).",
    experiment: "Fully connected networks of 5 to 50 hidden layers of 100 units, with and without batch normalization, with and \
                 without skips, from good (He) and from too small weights; the gradient of every weight matrix on one batch, at \
                 the start and after some training.",
    measurement: "The growth of the squared gradient of the weights per layer, going backwards: a line fitted to its logarithm \
                  over the hidden layers but the first. And the smallest gradient of a hidden layer.",
    rules: &[EXPLODING, SATURATING, TOO_SMALL, TAMED, THEORY],
    published: "The paper conjectures that batch normalization makes the layer Jacobians' singular values close to 1, beneficial \
                to gradient flow. Yang et al. prove that at the start the squared gradient of a deep network with batch \
                normalization and no skips grows backwards by E[phi'(z)^2] / Var[phi(z)] per layer: pi / (pi - 1) = 1.467 with \
                ReLU, or 46 times the norm over 20 layers; 1.178 with tanh, 1.034 with sigmoids.",
    run,
};

const EXPLODING: Rule = Rule {
    says: "no exploding gradients in a deep network",
    measure: "the growth of the squared gradient per layer at the start, 20 ReLU layers with batch normalization and good weights,",
    unit: "x",
    enough: 1.1,
    none: 1.2,
};
const SATURATING: Rule = Rule {
    says: "no vanishing gradients behind sigmoids",
    measure: "the ratio of the smallest gradient of a hidden layer, with to without, 20 sigmoid layers with small random weights,",
    unit: "x",
    enough: 10.0,
    none: 2.0,
};
const TOO_SMALL: Rule = Rule {
    says: "no vanishing gradients from too small weights",
    measure: "the ratio of the smallest gradient of a hidden layer, with to without, 20 ReLU layers with weights half of He's,",
    ..SATURATING
};
const TAMED: Rule = Rule {
    says: "skips tame what grows",
    measure: "the growth of the gradient from the last to the second of 20 ReLU layers with batch normalization, without skips to \
              with,",
    unit: "x",
    enough: 3.0,
    none: 1.2,
};
const THEORY: Rule = Rule {
    says: "it grows as theory says",
    measure: "how far the growth per layer, 50 ReLU layers with batch normalization, is from pi / (pi - 1),",
    unit: " %",
    enough: 10.0,
    none: 20.0,
};

const DEPTHS: [usize; 4] = [5, 10, 20, 50];
/// The rate of the training in between.
const RATE: f64 = 0.01;
/// Half the standard deviation of He's weights for 100 units and ReLU, sqrt(2 / 100).
const HALF_OF_HE: f64 = 0.070_71;
/// A gamma with which tanh sees values around 0 alone and is a straight line.
const NEARLY_LINEAR: f64 = 0.05;

/// Everything that is looked at, in one list, so that all of it is computed side by side.
struct Flows {
    kinds: Vec<(Kind, usize)>,
    /// By kind and seed.
    profiles: Vec<Vec<Vec<Profile>>>,
}

impl Flows {
    fn of(lab: &Lab<'_>) -> Result<Self, Halt> {
        let steps = lab.pick(100, 300);
        let mut kinds = Vec::new();
        for depth in DEPTHS {
            kinds.extend(FOUR.map(|(arm, skips)| (Kind { skips, ..Kind::new(depth, arm) }, 0)));
        }
        kinds.extend(FOUR.map(|(arm, skips)| (Kind { skips, ..Kind::new(20, arm) }, steps)));
        for arm in super::seeds::TWINS {
            kinds.extend([sigmoid(arm), too_small(arm)].map(|kind| (kind, 0)));
        }
        kinds.extend(UNDER_THEORY.map(|(activation, gamma)| (deepest(activation, gamma), 0)));
        let seeds = lab.seeds();
        let images = lab.pick(256, 512);
        let tasks = kinds.iter().flat_map(|&(kind, steps)| {
            seeds.iter().map(move |&seed| Flow { kind, seed, images, steps, rate: RATE })
        });
        let outcomes = lab.all(tasks.collect())?;
        Ok(Self { kinds, profiles: outcomes.chunks(seeds.len()).map(<[Vec<Profile>]>::to_vec).collect() })
    }

    fn all(&self, kind: Kind, steps: usize) -> &[Vec<Profile>] {
        let place = self.kinds.iter().position(|found| *found == (kind, steps));
        place.map_or(&[], |place| &self.profiles[place])
    }

    /// Of each seed, at the start. One that overflowed is not there.
    fn start(&self, kind: Kind) -> Vec<&Profile> {
        self.all(kind, 0).iter().filter_map(|profiles| profiles.first()).collect()
    }

    fn measured(&self, kind: Kind, of: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        self.start(kind).into_iter().map(|profile| of(&profile.norms)).collect()
    }

    fn ratios(&self, above: Kind, below: Kind, of: fn(&[f64]) -> f64) -> Interval {
        let [above, below] = [above, below].map(|kind| self.measured(kind, of));
        match above.len() == below.len() {
            true => Interval::of_ratios(&above, &below),
            false => Interval::of(&[]),
        }
    }
}

const FOUR: [(Arm, bool); 4] =
    [(Arm::Plain, false), (Arm::BatchNorm, false), (Arm::Plain, true), (Arm::BatchNorm, true)];

const UNDER_THEORY: [(Activation, Option<f64>); 4] = [
    (Activation::Relu, None),
    (Activation::Tanh, None),
    (Activation::Sigmoid, None),
    (Activation::Tanh, Some(NEARLY_LINEAR)),
];

fn sigmoid(arm: Arm) -> Kind {
    Kind { activation: Activation::Sigmoid, std: Some(0.1), ..Kind::new(20, arm) }
}

fn too_small(arm: Arm) -> Kind {
    Kind { std: Some(HALF_OF_HE), ..Kind::new(20, arm) }
}

fn deepest(activation: Activation, gamma: Option<f64>) -> Kind {
    Kind { activation, gamma, ..Kind::new(50, Arm::BatchNorm) }
}

fn called((arm, skips): (Arm, bool)) -> String {
    let name = training::named(arm);
    if skips { format!("{name}, skips") } else { name }
}

fn ink((arm, skips): (Arm, bool)) -> Ink {
    Ink::nth(usize::from(arm != Arm::Plain) + if skips { 8 } else { 0 })
}

/// One point per hidden layer, the norms of all seeds.
fn along<'a>(profiles: impl IntoIterator<Item = &'a Profile> + Clone, depth: usize) -> Vec<(f64, Vec<f64>)> {
    let at = |layer: usize| {
        profiles.clone().into_iter().filter_map(|profile| profile.norms.get(layer).copied()).collect()
    };
    (0..depth).map(|layer| (layer as f64 + 1.0, at(layer))).collect()
}

/// What theory lets a line of the given one's last layer grow to.
fn predicted(points: &[(f64, Vec<f64>)], factor: f64) -> Series {
    let last = points.last().map_or(1.0, |last| mean(&last.1));
    let depth = points.len() as f64;
    Series {
        name: format!("theory: {factor:.3} per layer, squared"),
        ink: Ink::NEUTRAL,
        points: points
            .iter()
            .skip(1)
            .map(|&(layer, _)| (layer, vec![last * factor.powf((depth - layer) / 2.0)]))
            .collect(),
    }
}

fn drawn(title: &str, series: Vec<Series>, reading: &str) -> Exhibit {
    let depth = series.iter().map(|series| series.points.len()).max().unwrap_or(1) as f64;
    let values: Vec<f64> =
        series.iter().flat_map(|series| series.points.iter().flat_map(|point| point.1.clone())).collect();
    let x = Axis {
        label: "hidden layer, from the input",
        scale: Scale::exactly(Spread::Linear, 1.0, depth.max(2.0)),
    };
    let y =
        Axis { label: "norm of the weights' gradient", scale: Scale::around(Spread::Log, values.into_iter()) };
    Exhibit { drawing: bands(title, "", x, y, series), reading: reading.to_owned() }
}

fn profiles_at_start(flows: &Flows, depth: usize) -> Exhibit {
    let mut series: Vec<Series> = Vec::new();
    // Without normalization skips double the signal at every layer: a drawing with it shows nothing else.
    for four in FOUR.into_iter().filter(|&four| four != (Arm::Plain, true)) {
        let (arm, skips) = four;
        let points = along(flows.start(Kind { skips, ..Kind::new(depth, arm) }), depth);
        if four == (Arm::BatchNorm, false) {
            series.push(predicted(&points, theory(Activation::Relu, 1.0)));
        }
        series.push(Series { name: called(four), ink: ink(four), points });
    }
    let title = format!("{depth} ReLU layers at the start, He's weights");
    let reading = "Each line is the mean over the seeds, with a band from the least to the largest. The gradient comes in on the \
                   right and goes left: a line that rises to the left explodes, one that falls vanishes, a flat one does neither.";
    drawn(&title, series, reading)
}

fn vanishing(flows: &Flows, title: &str, kind: fn(Arm) -> Kind) -> Exhibit {
    let line = |arm: Arm| Series {
        name: training::named(arm),
        ink: super::seeds::ink(arm, 0),
        points: along(flows.start(kind(arm)), 20),
    };
    let reading = "The lower a line lies, the less the layer learns in a step: on the left are the layers next to the input.";
    drawn(title, super::seeds::TWINS.map(line).into(), reading)
}

fn later(flows: &Flows, steps: usize, skips: bool) -> Exhibit {
    let runs = flows.all(Kind { skips, ..Kind::new(20, Arm::BatchNorm) }, steps);
    let at: Vec<usize> =
        runs.first().map(|run| run.iter().map(|profile| profile.step).collect()).unwrap_or_default();
    let series = at.iter().enumerate().map(|(index, &step)| Series {
        name: format!("after {step} steps"),
        ink: Ink::of_layer(index, at.len()),
        points: along(
            runs.iter().filter_map(|run| run.iter().find(|profile| profile.step == step)).collect::<Vec<_>>(),
            20,
        ),
    });
    let with = if skips { "with skips" } else { "without skips" };
    let reading = "The same network later in training: whether the slope that it begins with stays.";
    drawn(&format!("Batch normalization, 20 ReLU layers {with}, in training"), series.collect(), reading)
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let flows = Flows::of(lab)?;
    let steps = lab.pick(100, 300);
    let twenty = |(arm, skips): (Arm, bool)| Kind { skips, ..Kind::new(20, arm) };
    let [plain, with, _, skips] = FOUR.map(twenty);
    let theory_of = |activation, gamma: Option<f64>| theory(activation, gamma.unwrap_or(1.0));
    let away = |found: &f64| (found / theory(Activation::Relu, 1.0) - 1.0).abs() * 100.0;
    let deep = flows.measured(deepest(Activation::Relu, None), growth);
    let parts = vec![
        Part::new(EXPLODING, Interval::of_positive(&flows.measured(with, growth))),
        Part::new(SATURATING, flows.ratios(sigmoid(Arm::BatchNorm), sigmoid(Arm::Plain), smallest)),
        Part::new(TOO_SMALL, flows.ratios(too_small(Arm::BatchNorm), too_small(Arm::Plain), smallest)),
        Part::new(TAMED, flows.ratios(with, skips, fold)),
        Part::new(THEORY, Interval::of(&deep.iter().map(away).collect::<Vec<_>>())),
    ];
    let folds = |kind| Interval::of_positive(&flows.measured(kind, fold)).value;
    let sentence = format!(
        "In a deep ReLU network without skips the squared gradient grows backwards by {} per layer at the start with batch \
         normalization, and by {:.2}x without it: over 20 layers the norm becomes {:.0} times what it was. With skips \
         it becomes {:.1} times. Where gradients vanish without it, it keeps them: the smallest is 10^{:.1} times as large behind \
         sigmoids, and 10^{:.1} times with too small weights.",
        parts[0].interval.in_words(2, "x"),
        Interval::of_positive(&flows.measured(plain, growth)).value,
        folds(with),
        folds(skips),
        parts[1].interval.value.log10(),
        parts[2].interval.value.log10(),
    );
    let percent = |value: f64| format!("{value:.3}");
    let by_depth = Table {
        title: "Growth of the squared gradient per layer at the start, ReLU, He's weights".to_owned(),
        head: std::iter::once("hidden layers".to_owned()).chain(FOUR.map(called)).collect(),
        rows: DEPTHS
            .iter()
            .map(|&depth| {
                let cell = |(arm, skips)| {
                    percent(
                        Interval::of_positive(&flows.measured(Kind { skips, ..Kind::new(depth, arm) }, growth))
                            .value,
                    )
                };
                std::iter::once(depth.to_string()).chain(FOUR.map(cell)).collect()
            })
            .collect(),
    };
    let against_theory = Table {
        title: "Growth of the squared gradient per layer, 50 layers with batch normalization".to_owned(),
        head: ["activation", "measured", "theory", "ratio"].map(str::to_owned).to_vec(),
        rows: UNDER_THEORY
            .iter()
            .map(|&(activation, gamma)| {
                let found = Interval::of_positive(&flows.measured(deepest(activation, gamma), growth)).value;
                let expected = theory_of(activation, gamma);
                let name = match gamma {
                    None => activation.to_string(),
                    Some(gamma) => format!("{activation} with gamma {gamma}, nearly a straight line"),
                };
                vec![name, percent(found), percent(expected), percent(found / expected)]
            })
            .collect(),
    };
    let in_training = Table {
        title: format!(
            "20 ReLU layers in training, rate {RATE}: growth of the squared gradient per layer, and the loss on the batch"
        ),
        head: ["network", "steps", "growth", "loss"].map(str::to_owned).to_vec(),
        rows: FOUR
            .iter()
            .flat_map(|&four| {
                let runs = flows.all(twenty(four), steps);
                let at: Vec<usize> = runs
                    .first()
                    .map(|run| run.iter().map(|profile| profile.step).collect())
                    .unwrap_or_default();
                at.into_iter().map(move |step| {
                    let found: Vec<&Profile> =
                        runs.iter().filter_map(|run| run.iter().find(|profile| profile.step == step)).collect();
                    let growths: Vec<f64> = found.iter().map(|profile| growth(&profile.norms)).collect();
                    let losses: Vec<f64> = found.iter().map(|profile| profile.loss).collect();
                    vec![
                        called(four),
                        step.to_string(),
                        percent(Interval::of_positive(&growths).value),
                        percent(mean(&losses)),
                    ]
                })
            })
            .collect(),
    };
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![
            profiles_at_start(&flows, 20),
            profiles_at_start(&flows, 50),
            vanishing(&flows, "20 sigmoid layers at the start, small random weights", sigmoid),
            vanishing(&flows, "20 ReLU layers at the start, weights half of He's", too_small),
            later(&flows, steps, false),
            later(&flows, steps, true),
        ],
        tables: vec![by_depth, against_theory, in_training],
        settings: vec![
            ("network".to_owned(), format!("mlp, 5 to 50 hidden layers of {UNITS}")),
            ("gradient".to_owned(), format!("of the weights, on one batch of {} training images", lab.pick(256, 512))),
            ("too small weights".to_owned(), format!("normal, standard deviation {HALF_OF_HE} (ReLU) and 0.1 (sigmoids)")),
            ("training in between".to_owned(), format!("{steps} steps of SGD at rate {RATE}, batches of {BATCH}")),
        ],
        differs: "The theory is of infinitely wide networks and large batches; here layers have 100 units, and the first layers \
                  are still on the way to the state it describes."
            .to_owned(),
        notes: vec![
            "Without batch normalization skips double the signal at every layer: such a network starts with a huge loss and \
             usually diverges at once; it is in the tables alone."
                .to_owned(),
            "In a plain ReLU network too small weights shrink the signal forwards and the gradient backwards alike: the weights' \
             gradients are all equally small, so the smallest one is measured there and not a slope."
                .to_owned(),
        ],
    })
}
