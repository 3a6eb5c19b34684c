//! Is the landscape smoother, and is covariate shift reduced?

use serde::{Deserialize, Serialize};

use super::seeds::{TWINS, bands, ink, mean};
use crate::claims::Facts;
use crate::claims::Interval;
use crate::claims::bench::{self, Bench};
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab, Task};
use crate::claims::probe::{Flat, Look, Probe, cosine, distance, norm};
use crate::claims::rates::{self, By};
use crate::claims::training::{Training, named};
use crate::draw::{Axis, Frame, Kind, RangeSeries, Ranges, Scale, Series, Size};
use crate::feed::Batch;
use crate::networks::{Model, Network};
use crate::train::{Arm, Observer, Settings, Statistics, train};

pub(super) const CLAIM: Claim = Claim {
    name: "landscape",
    claim: "Batch normalization works because it reduces internal covariate shift, or because it makes the loss smoother.",
    source: "The first is Ioffe and Szegedy's reason (2015, arXiv 1502.03167); the second Santurkar et al.'s, who contradict it \
             (2018, arXiv 1805.11604).",
    experiment: "A small VGG with and without batch normalization, both trained by SGD at the rate that the plain one does best \
                 at. On the way, at every few steps, loss and gradient are taken at several points along the gradient, up to four \
                 steps away; and each layer's gradient before and after the layers below it have taken their step.",
    measurement: "The range of the loss along the gradient; the largest change of the gradient, relative to it and to the way \
                  taken (the effective smoothness); the change of a layer's gradient relative to it when the layers below have \
                  moved (internal covariate shift as Santurkar et al. define it). All on the batch of that step, as geometric \
                  means over training.",
    rules: &[LOSS, GRADIENT, SHIFT],
    published: "For VGG on CIFAR-10 Santurkar et al. find the range of the loss and the change of the gradient clearly smaller \
                with batch normalization throughout training, and internal covariate shift the same or larger.",
    run,
};

const LOSS: Rule = Rule {
    says: "the loss varies less along the gradient",
    measure: "the ratio of the range of the loss, without to with,",
    unit: "x",
    enough: 1.25,
    none: 1.0,
};
const GRADIENT: Rule = Rule {
    says: "the gradient changes less along itself",
    measure: "the ratio of the effective smoothness, without to with,",
    ..LOSS
};
const SHIFT: Rule = Rule {
    says: "internal covariate shift is reduced",
    measure: "the ratio of the relative change of a layer's gradient when the layers below it move, without to with,",
    ..LOSS
};

/// How far along the gradient it is looked, in steps of the training.
const LENGTHS: [f64; 5] = [0.5, 1.0, 2.0, 3.0, 4.0];
/// The other rate, as a share of the best.
const LESS: f64 = 0.3;
const GRID: [f64; 5] = [0.01, 0.03, 0.1, 0.3, 1.0];

/// The run that both arms make.
fn task(lab: &Lab<'_>, arm: Arm, seed: u64) -> Training {
    let few = bench::Part { test: Some(1_000), ..bench::Part::default() };
    Training::new(Network::Vgg, arm, seed, lab.pick(120, 300)).with(settings).on(few)
}

fn settings(settings: &mut Settings) {
    settings.width = 4;
    settings.sgd_momentum = 0.0;
    settings.eval_every = settings.steps;
    settings.eval_images = 500;
    settings.statistics = Statistics::Running;
}

/// Trains a network and looks around on the way.
#[derive(Clone, Debug, Serialize)]
struct Walk {
    arm: Arm,
    seed: u64,
    rate: f64,
    steps: usize,
    /// Steps from one look to the next.
    every: usize,
}

/// What is around a network before a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Surroundings {
    step: usize,
    /// The loss there, and the least and the largest along the gradient.
    loss: [f64; 3],
    /// Norm of the gradient.
    gradient: f64,
    /// The largest distance to the gradients along it.
    changed: f64,
    /// The largest change of the gradient over its norm, per step of the training.
    smoothness: f64,
    /// Of every layer but the first.
    shifts: Vec<Shift>,
}

/// How a layer's gradient changes when the layers below it take their step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Shift {
    layer: String,
    /// The norm of the difference.
    distance: f64,
    /// Over the norm of the gradient.
    relative: f64,
    /// Of the angle in between.
    cosine: f64,
}

impl Surroundings {
    fn range(&self) -> f64 {
        self.loss[2] - self.loss[1]
    }

    fn shift(&self) -> f64 {
        geometric(self.shifts.iter().map(|shift| shift.relative))
    }

    /// `None` if something is not finite.
    fn of(step: usize, probe: &Probe, batch: &Batch, rate: f64) -> Result<Option<Self>, Halt> {
        let here = probe.look(batch)?;
        let gradient = norm(&here.gradients);
        let mut found = Self { step, loss: [here.loss; 3], gradient, ..Self::default() };
        for length in LENGTHS {
            let there = probe.descended(&here.gradients, |_| length * rate).look(batch)?;
            let changed = distance(&there.gradients, &here.gradients);
            found.loss = [here.loss, found.loss[1].min(there.loss), found.loss[2].max(there.loss)];
            found.changed = found.changed.max(changed);
            found.smoothness = found.smoothness.max(changed / (length * gradient));
            if !there.loss.is_finite() {
                return Ok(None);
            }
        }
        found.shifts = shifts(probe, &here, batch, rate)?;
        let numbers = [found.loss[0], found.changed, found.smoothness];
        let finite =
            numbers.into_iter().chain(found.shifts.iter().map(|shift| shift.relative)).all(f64::is_finite);
        Ok(finite.then_some(found))
    }
}

fn shifts(probe: &Probe, here: &Look, batch: &Batch, rate: f64) -> Result<Vec<Shift>, Halt> {
    let layers = here.gradients.iter().enumerate().filter(|(_, flat)| flat.is_weights());
    let one = |(place, before): (usize, &Flat)| {
        let there = probe.descended(&here.gradients[..place], |_| rate).look(batch)?;
        let after = &there.gradients[place];
        let distance = before.distance(after);
        let layer = before.name.trim_end_matches(".weight").to_owned();
        Ok(Shift { layer, distance, relative: distance / before.norm(), cosine: cosine(before, after) })
    };
    layers.skip(1).map(one).collect()
}

/// Looks around before every few steps.
struct Surveyor<'a> {
    bench: Bench<'a>,
    every: usize,
    rate: f64,
    found: Vec<Surroundings>,
    failure: Option<Halt>,
}

impl Observer for Surveyor<'_> {
    fn before_step(&mut self, _arm: Arm, step: usize, network: &Model, batch: &Batch) {
        if (step - 1).is_multiple_of(self.every) {
            match Surroundings::of(step, &Probe::of(network), batch, self.rate) {
                Ok(found) => self.found.extend(found),
                Err(halt) => self.failure = Some(halt),
            }
        }
    }

    fn wants_to_stop(&mut self) -> bool {
        self.failure.is_some() || self.bench.wants_to_stop()
    }
}

impl Task for Walk {
    type Outcome = Vec<Surroundings>;
    const KIND: &'static str = "landscape";

    fn cost(&self, facts: &Facts) -> f64 {
        let steps = self.steps + self.steps / self.every * (LENGTHS.len() + 6);
        let training = Training::new(Network::Vgg, self.arm, self.seed, steps).with(settings);
        training.on(bench::Part { test: Some(500), ..bench::Part::default() }).cost(facts)
    }

    fn placeholder(&self) -> Vec<Surroundings> {
        let shift = Shift { layer: String::new(), distance: 1.0, relative: 1.0, cosine: 1.0 };
        let loss = [1.0, 1.0, 2.0];
        vec![Surroundings { step: 1, loss, gradient: 1.0, changed: 1.0, smoothness: 1.0, shifts: vec![shift] }]
    }

    fn carry_out(&self, bench: &Bench<'_>) -> Result<Vec<Surroundings>, Halt> {
        let training =
            Training::new(Network::Vgg, self.arm, self.seed, self.steps).with(settings).at_rate(self.rate);
        let data = bench.data(bench::Part { test: Some(500), ..bench::Part::default() });
        let mut surveyor =
            Surveyor { bench: *bench, every: self.every, rate: self.rate, found: Vec::new(), failure: None };
        let trained = train(&training.settings, &data, None, &mut surveyor)?;
        match (surveyor.failure, trained.metrics.interrupted_at_step) {
            (Some(halt), _) => Err(halt),
            (_, Some(_)) => Err(Halt::Stopped),
            _ => Ok(surveyor.found),
        }
    }
}

/// The geometric mean of what is positive and finite.
fn geometric(values: impl Iterator<Item = f64>) -> f64 {
    let logs: Vec<f64> = values.filter(|value| *value > 0.0 && value.is_finite()).map(f64::ln).collect();
    mean(&logs).exp()
}

/// The geometric mean of each walk.
fn over(walks: &[Vec<Surroundings>], of: &dyn Fn(&Surroundings) -> f64) -> Vec<f64> {
    walks.iter().map(|walk| geometric(walk.iter().map(of))).collect()
}

/// Without to with.
fn ratio_of([plain, with]: [&[Vec<Surroundings>]; 2], of: &dyn Fn(&Surroundings) -> f64) -> Interval {
    Interval::of_ratios(&over(plain, of), &over(with, of))
}

fn measures(title: &str, arms: &[&[Vec<Surroundings>]; 2]) -> Table {
    let row = |name: &str, of: &dyn Fn(&Surroundings) -> f64| {
        let [plain, with] = arms.map(|walks| over(walks, of));
        let ratio = Interval::of_ratios(&plain, &with).in_words(2, "x");
        let cells = [plain, with].map(|values| format!("{:.4}", geometric(values.into_iter())));
        [vec![name.to_owned()], cells.to_vec(), vec![ratio]].concat()
    };
    Table {
        title: title.to_owned(),
        head: ["measure", "without", "batch normalization", "ratio"].map(str::to_owned).to_vec(),
        rows: vec![
            row("loss", &|here| here.loss[0]),
            row("norm of the gradient", &|here| here.gradient),
            row("range of the loss along the gradient", &Surroundings::range),
            row("the same over the loss", &|here| here.range() / here.loss[0]),
            row("largest distance of gradients along it", &|here| here.changed),
            row("effective smoothness, per step", &|here| here.smoothness),
            row("relative change of a layer's gradient", &Surroundings::shift),
            row("distance of a layer's gradients", &|here| {
                geometric(here.shifts.iter().map(|shift| shift.distance))
            }),
        ],
    }
}

/// What of the walks of an arm at each look, for a drawing.
fn along(walks: &[Vec<Surroundings>], of: impl Fn(&Surroundings) -> f64) -> Vec<(f64, Vec<f64>)> {
    let longest = walks.iter().max_by_key(|walk| walk.len());
    let steps: Vec<usize> = longest.map(|walk| walk.iter().map(|here| here.step).collect()).unwrap_or_default();
    let at = |step: usize| {
        walks.iter().filter_map(|walk| walk.iter().find(|here| here.step == step)).map(&of).collect()
    };
    steps.into_iter().map(|step| (step as f64, at(step))).collect()
}

fn curves(
    title: &str,
    label: &str,
    kind: Kind,
    reading: &str,
    arms: &[&[Vec<Surroundings>]; 2],
    of: impl Fn(&Surroundings) -> f64,
) -> Exhibit {
    let series: Vec<Series> = TWINS
        .iter()
        .zip(arms)
        .map(|(&arm, walks)| Series { name: named(arm), ink: ink(arm, 0), points: along(walks, &of) })
        .collect();
    let values: Vec<f64> =
        series.iter().flat_map(|series| series.points.iter().flat_map(|point| point.1.clone())).collect();
    let x = Axis { label: "training steps", scale: steps(arms) };
    let y = Axis { label, scale: Scale::around(kind, values.into_iter()) };
    Exhibit { drawing: bands(title, "", x, y, series), reading: reading.to_owned() }
}

fn steps(arms: &[&[Vec<Surroundings>]; 2]) -> Scale {
    Scale::around(
        Kind::Linear,
        arms.iter().flat_map(|walks| walks.iter().flatten().map(|here| here.step as f64)),
    )
}

fn ranges(arms: &[&[Vec<Surroundings>]; 2]) -> Exhibit {
    let series: Vec<RangeSeries> = TWINS
        .iter()
        .zip(arms)
        .map(|(&arm, walks)| {
            let ends = [1, 2].map(|end| along(walks, |here| here.loss[end]));
            let points =
                ends[0].iter().zip(&ends[1]).map(|(low, high)| (low.0, mean(&low.1), mean(&high.1))).collect();
            RangeSeries { name: named(arm), ink: ink(arm, 0), points }
        })
        .collect();
    let values: Vec<f64> =
        series.iter().flat_map(|series| series.points.iter().flat_map(|point| [point.1, point.2])).collect();
    let x = Axis { label: "training steps", scale: steps(arms) };
    let y = Axis {
        label: "loss along the gradient (logarithmic)",
        scale: Scale::around(Kind::Log, values.into_iter()),
    };
    Exhibit {
        drawing: Ranges {
            title: "The loss from here to four steps away along the gradient",
            frame: Frame { size: Size::Large, x, y },
            series,
        }
        .draw(),
        reading: "Each area reaches from the least loss along the gradient to the largest, the mean over the seeds: a narrow one \
                  means that a step may be long without surprise."
            .to_owned(),
    }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let chosen =
        rates::choose_for_arms(lab, &[Arm::Plain], &GRID, By::Accuracy, |arm, _, seed| task(lab, arm, seed))?;
    let rate = chosen[0].rate;
    let steps = task(lab, Arm::Plain, 1).settings.steps;
    let every = lab.pick(5, 10);
    let seeds = lab.seeds();
    let walks = |rate: f64| {
        let tasks =
            TWINS.iter().flat_map(|&arm| seeds.iter().map(move |&seed| Walk { arm, seed, rate, steps, every }));
        lab.all(tasks.collect())
    };
    let (at_best, at_less) = (walks(rate)?, walks(rate * LESS)?);
    let (plain, with) = at_best.split_at(seeds.len());
    let arms = [plain, with];
    let ratio = |of: &dyn Fn(&Surroundings) -> f64| ratio_of(arms, of);
    let slow = at_less.split_at(seeds.len()).into();
    let parts = vec![
        Part::new(LOSS, ratio(&Surroundings::range)),
        Part::new(GRADIENT, ratio(&|here| here.smoothness)),
        Part::new(SHIFT, ratio(&Surroundings::shift)),
    ];
    let shift = |walks| mean(&over(walks, &Surroundings::shift)) * 100.0;
    let sentence = format!(
        "At the plain network's best rate, {rate}, the loss along the gradient ranges over {} as much without batch \
         normalization as with it, and the gradient changes {} as much. When the layers below move, a layer's gradient changes \
         by {:.0} % with batch normalization and by {:.0} % without: internal covariate shift, so measured, is {}. At rate {}, where the plain network learns slowly, \
         the three ratios are {}.",
        parts[0].interval.in_words(2, "x"),
        parts[1].interval.in_words(2, "x"),
        shift(with),
        shift(plain),
        match parts[2].interval {
            Interval { low, .. } if low > 1.0 => "smaller with it",
            Interval { high, .. } if high < 1.0 => "not reduced but larger",
            _ => "not clearly different",
        },
        rate * LESS,
        [
            ratio_of(slow, &Surroundings::range),
            ratio_of(slow, &|here| here.smoothness),
            ratio_of(slow, &Surroundings::shift)
        ]
        .map(|ratio| ratio.in_words(2, "x"))
        .join(", "),
    );
    let diverged: usize = plain.iter().chain(with).filter(|walk| walk.len() < steps.div_ceil(every)).count();
    let mut notes = rates::notes(&chosen);
    if diverged > 0 {
        notes.push(format!(
            "In {diverged} runs some looks found a loss that was not finite; these are left out."
        ));
    }
    notes.push(
        "The two networks have different gradients, so the same rate leads them different distances; the range of the loss \
         depends on it, the effective smoothness and the relative change of a layer's gradient do not."
            .to_owned(),
    );
    Ok(Findings {
        parts,
        sentence,
        exhibits: vec![
            ranges(&arms),
            curves(
                "Effective smoothness",
                "relative change of the gradient",
                Kind::Log,
                "How much of the gradient has changed after one step's way, at most: above 2, descent at this rate is unstable. Lower \
                 is smoother.",
                &arms,
                |here| here.smoothness,
            ),
            curves(
                "Internal covariate shift",
                "relative change of the gradient",
                Kind::Log,
                "How much of a layer's gradient changes when the layers below it take their step, the mean over the layers. If batch \
                 normalization reduced covariate shift, its line would be the lower one.",
                &arms,
                Surroundings::shift,
            ),
            curves(
                "Internal covariate shift as an angle",
                "cosine between a layer's gradients",
                Kind::Linear,
                "The cosine of the angle between a layer's gradient before and after the layers below it have moved, the mean over the \
                 layers: 1 is the same direction.",
                &arms,
                |here| mean(&here.shifts.iter().map(|shift| shift.cosine).collect::<Vec<_>>()),
            ),
        ],
        tables: vec![
            measures(&format!("At rate {rate}: geometric means over training and seeds"), &arms),
            measures(&format!("At rate {}, where the plain network learns slowly", rate * LESS), &slow),
            by_layer(&arms), rates::table(&chosen, By::Accuracy),
        ],
        settings: vec![
            ("network".to_owned(), "vgg, width 4, He initialization".to_owned()),
            ("optimizer".to_owned(), format!("SGD without momentum at rate {rate}, batches of 64, {steps} steps")),
            ("looks".to_owned(), format!("every {every} steps, at {LENGTHS:?} steps' way along the gradient")),
        ],
        differs: "Santurkar et al. train a VGG of standard size on CIFAR-10 for some 15 000 steps and look along the gradient in \
                  the same way; here the network is small, training short and the rate the plain network's best."
            .to_owned(),
        notes,
    })
}

fn by_layer(arms: &[&[Vec<Surroundings>]; 2]) -> Table {
    let shifts = |walks: &[Vec<Surroundings>], place: usize, of: fn(&Shift) -> f64| -> Vec<f64> {
        walks.iter().flatten().filter_map(|here| here.shifts.get(place).map(of)).collect()
    };
    let layers = arms[0].iter().flatten().next().map(|here| &here.shifts[..]).unwrap_or_default();
    let row = |(place, shift): (usize, &Shift)| {
        let relative = arms.map(|walks| geometric(shifts(walks, place, |shift| shift.relative).into_iter()));
        let cosine = arms.map(|walks| mean(&shifts(walks, place, |shift| shift.cosine)));
        let cells = relative.map(|share| format!("{:.1} %", share * 100.0)).into_iter();
        std::iter::once(shift.layer.clone())
            .chain(cells)
            .chain(cosine.map(|cosine| format!("{cosine:.3}")))
            .collect()
    };
    Table {
        title: "Internal covariate shift by layer".to_owned(),
        head: ["layer", "change without", "change with", "cosine without", "cosine with"]
            .map(str::to_owned)
            .to_vec(),
        rows: layers.iter().enumerate().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometric_means_leave_out_what_has_no_logarithm() {
        assert!((geometric([1.0, 4.0, 0.0, f64::NAN].into_iter()) - 2.0).abs() < 1e-12);
        assert!(geometric(std::iter::empty()).is_nan());
    }

    #[test]
    fn a_walk_is_the_same_twice_and_looks_at_every_layer_but_the_first() {
        let walk = Walk { arm: Arm::BatchNorm, seed: 1, rate: 0.1, steps: 4, every: 2 };
        let walked = || crate::claims::bench::on_digits(|bench| walk.carry_out(bench)).unwrap();
        let found = walked();
        assert_eq!(found, walked());
        assert_eq!(found.iter().map(|here| here.step).collect::<Vec<_>>(), [1, 3]);
        let [here, least, most] = found[0].loss;
        assert!(least <= here && here <= most && least < most);
        assert_eq!(found[0].shifts.len(), 5);
    }
}
