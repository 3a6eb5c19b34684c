//! The memory that training takes.

use batchnorm::Variant;
use serde::{Deserialize, Serialize};

use super::seeds::mean;
use crate::claims::Interval;
use crate::claims::bench::Bench;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab, Task};
use crate::claims::probe::Probe;
use crate::claims::{Facts, training};
use crate::draw::{Axis, DotRow, Dots, Ink, Kind as Spread, Scale};
use crate::feed::Batch;
use crate::networks::{Architecture, Network, Norm};
use crate::streams::{Purpose, Stream};
use crate::train::Arm;

pub(super) const CLAIM: Claim = Claim {
    name: "memory",
    claim: "Batch normalization costs memory in training, as its input is kept for the backward pass.",
    source: "Rota Bulo, Porzi and Kontschieder 2018 (InPlace-ABN, arXiv 1712.02616).",
    experiment: "Three training steps of a VGG on random images, with and without batch normalization, with frozen statistics \
                 and with its kin, each in a process of its own.",
    measurement: "The most bytes that the process held at once, less those of a process that builds the same network and the same \
                  images and takes no step.",
    rules: &[MORE],
    published: "InPlace-ABN keeps the output alone and inverts the activation in the backward pass: up to 50 % less memory in \
                training, which is what a normalization that keeps its input costs where its output is kept as well.",
    run,
};

const MORE: Rule = Rule {
    says: "more memory in training",
    measure: "the ratio of the bytes that training takes, with batch normalization to without,",
    unit: "x",
    enough: 1.1,
    none: 1.02,
};

/// Enough for the allocator to have made its rounds.
const STEPS: usize = 3;
const MEBIBYTE: f64 = (1 << 20) as f64;

/// What a process of its own does; the text that it is given is the JSON of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Work {
    dims: [usize; 3],
    classes: usize,
    width: usize,
    batch: usize,
    arm: Arm,
    steps: usize,
    seed: u64,
}

impl Work {
    fn architecture(&self) -> Architecture {
        let norm = |variant: Variant| Norm { variant, ..Norm::default() };
        Architecture {
            norm: self.arm.variant(self.steps.max(1)).map(norm),
            width: self.width,
            ..Architecture::new(Network::Vgg, self.dims, self.classes)
        }
    }

    /// Random images, so that the process need not read any data.
    fn images(&self) -> Batch {
        let mut stream = Stream::new(self.seed, Purpose::Batches);
        let mut values =
            |number: usize, bound: usize| (0..number).map(|_| stream.below(bound)).collect::<Vec<_>>();
        let pixels = values(self.batch * self.dims.iter().product::<usize>(), 256);
        let labels = values(self.batch, self.classes);
        Batch::of(
            self.dims,
            pixels.into_iter().map(|pixel| pixel as f32 / 255.0).collect(),
            labels.into_iter().map(|label| label as u16).collect(),
        )
    }

    fn carry_out(&self) -> Result<(), Halt> {
        let mut probe = Probe::build(&self.architecture(), Network::Vgg.default_init(), 0.0, self.seed)?;
        let batch = self.images();
        if self.arm.frozen_after().is_some() {
            probe = probe.frozen();
        }
        for _ in 0..self.steps {
            let look = probe.look(&batch)?;
            probe = probe.descended(&look.gradients, |_| 0.0);
        }
        Ok(())
    }
}

/// Does the work that a text asks for; `None` if it asks for none of it.
pub(super) fn work(text: &str) -> Option<Result<(), String>> {
    let work: Work = serde_json::from_str(text).ok()?;
    // On one thread: each more has working memory of its own.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    Some(match pool {
        Ok(pool) => pool.install(|| work.carry_out()).map_err(|halt| halt.to_string()),
        Err(error) => Err(error.to_string()),
    })
}

/// Measures the peak of a process.
#[derive(Clone, Debug, Serialize)]
struct Peak {
    work: Work,
    /// Measured once more for every seed.
    again: u64,
}

impl Task for Peak {
    /// Bytes; none without somebody who measures them.
    type Outcome = Option<f64>;
    const KIND: &'static str = "peak-memory";

    fn cost(&self, _facts: &Facts) -> f64 {
        let [channels, height, width] = self.work.dims;
        let values = (self.work.batch * height * width * (channels + self.work.width)) as f64;
        let (start, step) = (0.1, values * 1.5e-7);
        start + self.work.steps as f64 * step
    }

    fn placeholder(&self) -> Option<f64> {
        Some(MEBIBYTE * (1.0 + self.work.steps as f64))
    }

    fn carry_out(&self, bench: &Bench<'_>) -> Result<Option<f64>, Halt> {
        let Some(meter) = bench.meter() else { return Ok(None) };
        let text = serde_json::to_string(&self.work).map_err(|error| Halt::Impossible(error.to_string()))?;
        meter.peak_bytes(&text).map(|bytes| Some(bytes as f64)).map_err(Halt::Impossible)
    }
}

/// The kinds of normalization that are measured.
const ARMS: [Arm; 5] =
    [Arm::Plain, Arm::BatchNorm, Arm::FrozenAfter { steps: 1 }, Arm::Group { groups: 4 }, Arm::LayerNorm];

fn name(arm: Arm) -> String {
    match arm {
        Arm::FrozenAfter { .. } => "batch normalization, frozen".to_owned(),
        arm => training::named(arm),
    }
}

fn work_of(lab: &Lab<'_>, arm: Arm, batch: usize, steps: usize, seed: u64) -> Work {
    let Facts { dims, classes, .. } = *lab.facts();
    Work { dims, classes, width: Network::Vgg.default_width(), batch, arm, steps, seed }
}

/// Bytes of the norm layers' inputs, counted: name, values per image, bytes in a batch.
fn counted(work: &Work) -> Vec<(String, usize, usize)> {
    let layers = work.architecture().norm_layers();
    let values = |layer: &crate::networks::NormLayer| layer.channels * layer.positions;
    layers.iter().map(|layer| (layer.name.clone(), values(layer), values(layer) * work.batch * 4)).collect()
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let batch = lab.pick(1_024, 256);
    let seeds = lab.seeds();
    let tasks = ARMS.iter().flat_map(|&arm| {
        let both = seeds.iter().flat_map(move |&seed| [(0, seed), (STEPS, seed)]);
        both.map(move |(steps, seed)| Peak { work: work_of(lab, arm, batch, steps, seed), again: seed })
    });
    let peaks = lab.all(tasks.collect())?;
    // By arm, those of the seeds: what training took.
    let taken: Vec<Vec<f64>> = peaks
        .chunks(2 * seeds.len())
        .map(|arm| arm.chunks(2).filter_map(|pair| Some((pair[1]? - pair[0]?).max(1.0))).collect())
        .collect();
    let measured = taken.iter().all(|arm| arm.len() == seeds.len());
    let ratio = |arm: usize| match measured {
        true => Interval::of_ratios(&taken[arm], &taken[0]),
        false => Interval::of(&[]),
    };
    let part = Part::new(MORE, ratio(1));
    let counted = counted(&work_of(lab, Arm::BatchNorm, batch, STEPS, 1));
    let bytes: usize = counted.iter().map(|layer| layer.2).sum();
    let mebibytes = |arm: usize| mean(&taken[arm]) / MEBIBYTE;
    let sentence = match measured {
        true => format!(
            "Three steps of training in batches of {batch} take {:.1} MiB with batch normalization and {:.1} MiB without: {}. The \
             inputs of the norm layers alone are {:.1} MiB.",
            mebibytes(1),
            mebibytes(0),
            part.interval.in_words(2, "x"),
            bytes as f64 / MEBIBYTE,
        ),
        false => "Memory could not be measured here.".to_owned(),
    };
    let row = |(index, &arm): (usize, &Arm)| {
        vec![name(arm), format!("{:.2} MiB", mebibytes(index)), ratio(index).in_words(3, "x")]
    };
    let by_arm = Table {
        title: format!("The most that training held at once, batches of {batch}, mean over repetitions"),
        head: ["network", "memory of training", "ratio to without"].map(str::to_owned).to_vec(),
        rows: ARMS.iter().enumerate().map(row).collect(),
    };
    let mut rows: Vec<Vec<String>> = counted
        .iter()
        .map(|(name, values, bytes)| {
            vec![name.clone(), values.to_string(), format!("{:.2} MiB", *bytes as f64 / MEBIBYTE)]
        })
        .collect();
    rows.push(vec![
        "all".to_owned(),
        counted.iter().map(|layer| layer.1).sum::<usize>().to_string(),
        format!("{:.2} MiB", bytes as f64 / MEBIBYTE),
    ]);
    let by_layer = Table {
        title: format!(
            "Counted: the inputs of the norm layers, which the backward pass reads, in batches of {batch}"
        ),
        head: ["layer", "values per image", "memory"].map(str::to_owned).to_vec(),
        rows,
    };
    let mut notes = vec![
        "Seeds are repetitions: the same work in another process, with other random weights and images.".to_owned(),
        "Frozen statistics need no input for the way back to the layer below, but gamma's gradient does, so it is kept."
            .to_owned(),
    ];
    if !measured {
        notes.push(
            "Nothing measures memory here: this system, or the program that runs the experiment, does not."
                .to_owned(),
        );
    }
    Ok(Findings {
        exhibits: if measured { vec![dots(&taken)] } else { Vec::new() },
        parts: vec![part],
        sentence,
        tables: vec![by_arm, by_layer],
        settings: vec![
            ("network".to_owned(), format!("vgg, width {}", Network::Vgg.default_width())),
            ("work".to_owned(), format!("{STEPS} steps in batches of {batch} on random images")),
            ("measured".to_owned(), "the peak of resident memory of a process, less that of one without steps".to_owned()),
        ],
        differs: "The published saving is that of a GPU framework with a kernel of its own, against one that keeps input and output \
                  of normalization and activation. Here a ReLU keeps its output as well, and convolutions take working memory that \
                  counts for both arms; in small networks it hides a part of the difference."
            .to_owned(),
        notes,
    })
}

fn dots(taken: &[Vec<f64>]) -> Exhibit {
    let row = |(index, &arm): (usize, &Arm)| DotRow {
        name: name(arm),
        ink: Ink::nth(index),
        values: taken[index].iter().map(|bytes| bytes / MEBIBYTE).collect(),
    };
    let all = taken.iter().flatten().map(|bytes| bytes / MEBIBYTE).chain([0.0]);
    let x = Axis { label: "memory of training (MiB)", scale: Scale::around(Spread::Linear, all) };
    Exhibit {
        drawing: Dots { title: "Memory of training", x, rows: ARMS.iter().enumerate().map(row).collect() }
            .draw(),
        reading: "A dot for each repetition, a bar for the mean. Further right takes more memory.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(arm: Arm) -> Work {
        Work { dims: [1, 8, 8], classes: 10, width: 8, batch: 16, arm, steps: 1, seed: 1 }
    }

    #[test]
    fn work_goes_through_text_and_is_done() {
        for arm in ARMS {
            let text = serde_json::to_string(&example(arm)).unwrap();
            assert_eq!(work(&text), Some(Ok(())), "{arm}");
        }
        assert_eq!(work("{}"), None);
    }

    #[test]
    fn what_is_kept_is_counted() {
        // 8 maps of 8x8 twice, 16 of 4x4 twice, 64 units.
        let values: Vec<usize> = counted(&example(Arm::BatchNorm)).into_iter().map(|layer| layer.1).collect();
        assert_eq!(values, [512, 512, 256, 256, 64]);
    }
}
