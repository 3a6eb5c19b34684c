//! Inference with the statistics of a batch of one.

use serde::{Deserialize, Serialize};

use super::course::{Stopping, accuracy, full, halted, shuffled};
use super::seeds::{bands, mean, percent};
use crate::claims::bench::Bench;
use crate::claims::claim::{Claim, Exhibit, Findings, Part, Rule, Table};
use crate::claims::lab::{Halt, Lab, Task};
use crate::claims::training::{Stoppable, Training};
use crate::claims::{Facts, Interval, bench};
use crate::draw::{Axis, DotRow, Dots, Ink, Kind, Scale, Series};
use crate::evaluate::{CHUNK, with_batch_statistics, with_population_statistics};
use crate::feed::Feed;
use crate::networks::Network;
use crate::train::{Arm, Statistics, train};

pub(super) const CLAIM: Claim = Claim {
    name: "batch-of-one",
    claim: "At inference a network with batch normalization needs the statistics of a population: those of the batch at hand fail.",
    source: "Ioffe and Szegedy 2015 (arXiv 1502.03167), section 3.1 and Algorithm 2.",
    experiment: "The network of Figure 1, trained as ever, puts the same test images into classes by the statistics of the batch \
                 that an image comes in, for batches of 1 to 250 images in random order, by population statistics (Algorithm 2) \
                 and by running averages.",
    measurement: "The test accuracy by population statistics less that by the statistics of a batch of one, in points, seed by \
                  seed.",
    rules: &[FAILS],
    published: "A public repetition of the paper's MNIST experiment has 5 % with batches of one and 97 % with population \
                statistics.",
    run,
};

const FAILS: Rule = Rule {
    says: "a batch of one fails",
    measure: "the accuracy by population statistics less that by batches of one",
    unit: " points",
    enough: 50.0,
    none: 5.0,
};

/// Images that come together at inference.
const SIZES: [usize; 7] = [1, 2, 4, 8, 16, 60, 250];

/// Trains a network, and scores it by every kind of statistics.
#[derive(Clone, Debug, Serialize)]
struct Scoring {
    training: Training,
    /// Batches whose own statistics it is scored by.
    sizes: Vec<usize>,
}

/// Accuracies; `None` if an output was not finite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Scores {
    running: Option<f64>,
    population: Option<f64>,
    /// By the sizes of batches.
    batches: Vec<Option<f64>>,
}

impl Task for Scoring {
    type Outcome = Scores;
    const KIND: &'static str = "inference-by-batches";

    fn cost(&self, facts: &Facts) -> f64 {
        // A forward pass of few images takes some fixed time.
        let batches: usize = self.sizes.iter().map(|size| facts.test.div_ceil(*size)).sum();
        self.training.cost(facts) + 1e-4 * batches as f64
    }

    fn placeholder(&self) -> Scores {
        Scores { batches: vec![None; self.sizes.len()], ..Scores::default() }
    }

    fn carry_out(&self, bench: &Bench<'_>) -> Result<Scores, Halt> {
        let data = bench.data(self.training.part);
        let settings = &self.training.settings;
        let trained = train(settings, &data, None, &mut Stoppable(*bench))?;
        if trained.metrics.interrupted_at_step.is_some() {
            return Err(Halt::Stopped);
        }
        let Some(model) = trained.models.first() else { return Ok(self.placeholder()) };
        let (network, architecture) = (&model.network, &model.architecture);
        let preprocessing = settings.preprocessing(&data);
        let order = shuffled(data.test.len(), settings.seed);
        let test = Feed::new(&data.test, data.dims, &preprocessing);
        let train = Feed::new(&data.train, data.dims, &preprocessing);
        let stopping = &mut Stopping(*bench);
        let population = with_population_statistics(
            network,
            architecture,
            train,
            settings.batch_size,
            settings.seed,
            stopping,
        )
        .map_err(halted)?;
        let own = with_batch_statistics(network, architecture)?;
        let by_batches = |&size: &usize| accuracy(&own, test, full(&order, size), bench);
        Ok(Scores {
            running: accuracy(network, test, order.chunks(CHUNK), bench)?,
            population: accuracy(&population, test, order.chunks(CHUNK), bench)?,
            batches: self.sizes.iter().map(by_batches).collect::<Result<_, _>>()?,
        })
    }
}

fn task(lab: &Lab<'_>, seed: u64) -> Scoring {
    let steps = lab.pick(2_000, 10_000);
    let training = Training::new(Network::Mlp, Arm::BatchNorm, seed, steps).with(|settings| {
        settings.binarize = true;
        settings.eval_every = steps;
        settings.eval_images = 1;
        settings.statistics = Statistics::Running;
    });
    let training = training.on(bench::Part { test: Some(10_000), ..bench::Part::default() });
    Scoring { training, sizes: SIZES.to_vec() }
}

fn run(lab: &Lab<'_>) -> Result<Findings, Halt> {
    let scores = lab.all(lab.seeds().into_iter().map(|seed| task(lab, seed)).collect())?;
    let chance = lab.facts().chance();
    let all = |of: &dyn Fn(&Scores) -> Option<f64>| -> Vec<f64> {
        scores.iter().map(|scores| 100.0 * of(scores).unwrap_or(chance)).collect()
    };
    let population = all(&|scores| scores.population);
    let running = all(&|scores| scores.running);
    let batches: Vec<Vec<f64>> =
        (0..SIZES.len()).map(|place| all(&|scores| scores.batches.get(place).copied().flatten())).collect();
    let part = Part::new(FAILS, Interval::of_differences(&population, &batches[0]));
    let (one, largest) = (mean(&batches[0]), mean(&batches[SIZES.len() - 1]));
    let of_training = place_of_training(lab);
    let sentence = format!(
        "The same networks put {:.2} % of the test images into their class by population statistics, and {one:.2} % by the \
         statistics of a batch of one: {} less. With batches of {}, those of training, it is {:.2} %.",
        mean(&population),
        part.interval.in_words(1, " points"),
        SIZES[of_training],
        mean(&batches[of_training]),
    );
    let mut rows = vec![
        vec!["population (Algorithm 2)".to_owned(), percent(mean(&population) / 100.0)],
        vec!["running averages".to_owned(), percent(mean(&running) / 100.0)],
    ];
    rows.extend(SIZES.iter().zip(&batches).map(|(size, accuracies)| {
        let name = if *size == 1 { "of a batch of one".to_owned() } else { format!("of batches of {size}") };
        vec![name, percent(mean(accuracies) / 100.0)]
    }));
    let table = Table {
        title: "Test accuracy by statistics, mean over the seeds".to_owned(),
        head: ["statistics", "test accuracy"].map(str::to_owned).to_vec(),
        rows,
    };
    let settings = task(lab, 1).training.settings;
    let mut notes = vec![
        "In a batch of one every normalized value is 0, whatever the image: the variance of one value is 0, and the network's \
         answer is that of its betas alone. Networks of convolutions normalize over the positions of an image as well, and fail \
         less thoroughly where no linear layer is normalized."
            .to_owned(),
        format!("With batches of 250 it is {largest:.2} %: the larger the batch, the nearer its statistics to the population's."),
    ];
    let missing = scores.iter().filter(|scores| scores.population.is_none()).count();
    if missing > 0 {
        notes.push(format!(
            "{missing} of {} runs diverged; they count with the accuracy of guessing.",
            scores.len()
        ));
    }
    Ok(Findings {
        parts: vec![part],
        sentence,
        exhibits: vec![by_size(&batches, &population, &running), dots(&batches, &population, &running)],
        tables: vec![table],
        settings: vec![
            ("network".to_owned(), "mlp, 3 layers of 100 sigmoids, binary pixels".to_owned()),
            (
                "training".to_owned(),
                format!(
                    "{} steps of SGD at {}, batches of {}",
                    settings.steps, settings.learning_rate, settings.batch_size
                ),
            ),
            ("population statistics".to_owned(), "over training images, at most 10 000".to_owned()),
        ],
        differs: format!(
            "With batches of one every image gets the same answer, so that the accuracy is the share of one class, here \
             {one:.2} %; which class is chance. The published 5 % cannot be reached so on MNIST, whose smallest class has 8.9 % of \
             the test images: it was presumably measured on few."
        ),
        notes,
    })
}

/// The place among the sizes of the batch of training, or of the largest that is no larger.
fn place_of_training(lab: &Lab<'_>) -> usize {
    let size = task(lab, 1).training.settings.batch_size;
    SIZES.iter().rposition(|&known| known <= size).unwrap_or(0)
}

fn by_size(batches: &[Vec<f64>], population: &[f64], running: &[f64]) -> Exhibit {
    let flat = |values: &[f64]| SIZES.iter().map(|&size| (size as f64, values.to_vec())).collect();
    let series = vec![
        Series { name: "population".to_owned(), ink: Ink::nth(2), points: flat(population) },
        Series { name: "running averages".to_owned(), ink: Ink::nth(3), points: flat(running) },
        Series {
            name: "the batch's own".to_owned(),
            ink: Ink::BATCH_NORM,
            points: SIZES.iter().zip(batches).map(|(&size, values)| (size as f64, values.clone())).collect(),
        },
    ];
    let x = Axis {
        label: "images in a batch at inference (logarithmic)",
        scale: Scale::around(Kind::Log, SIZES.iter().map(|&size| size as f64)),
    };
    let y = Axis { label: "test accuracy (%)", scale: Scale::exactly(Kind::Linear, 0.0, 100.0) };
    Exhibit {
        drawing: bands("Accuracy by the statistics used at inference", " %", x, y, series),
        reading: "The same networks all along. Where the line of the batch's own statistics is far below the others, batches of \
                  that size do not do at inference; population statistics and running averages do not depend on it. Bands reach \
                  from the worst seed to the best."
            .to_owned(),
    }
}

fn dots(batches: &[Vec<f64>], population: &[f64], running: &[f64]) -> Exhibit {
    let row = |name: &str, ink, values: &[f64]| DotRow { name: name.to_owned(), ink, values: values.to_vec() };
    let rows = vec![
        row("population", Ink::nth(2), population),
        row("running averages", Ink::nth(3), running),
        row("a batch of one", Ink::BATCH_NORM, &batches[0]),
    ];
    let x = Axis { label: "test accuracy (%)", scale: Scale::exactly(Kind::Linear, 0.0, 100.0) };
    Exhibit {
        drawing: Dots { title: "Every seed", x, rows }.draw(),
        reading: "Each dot is one trained network; a seed is at the same height in every row.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::bench::Parts;
    use crate::claims::lab::Unwatched;
    use crate::data::{Access, Source};

    #[test]
    fn in_a_batch_of_one_all_images_get_the_same_answer() {
        let data = Source::Digits.load(&mut Access::none()).unwrap().first(Some(200), Some(100));
        let training = Training::new(Network::Mlp, Arm::BatchNorm, 1, 20).with(|settings| {
            settings.layers = vec![16];
            settings.statistics = Statistics::Running;
        });
        let scoring = Scoring { training, sizes: vec![1, 50] };
        let parts = Parts::new(&data);
        let carried_out =
            || scoring.carry_out(&Bench { data: &parts, spectator: &Unwatched, meter: None }).unwrap();
        let scores = carried_out();
        assert_eq!(scores, carried_out());
        let shares: Vec<Option<f64>> = (0..10)
            .map(|class| {
                Some(data.test.labels().iter().filter(|&&label| label == class).count() as f64 / 100.0)
            })
            .collect();
        assert!(shares.contains(&scores.batches[0]), "{scores:?}");
        assert!(scores.batches[1] > scores.batches[0] && scores.running.is_some(), "{scores:?}");
    }
}
