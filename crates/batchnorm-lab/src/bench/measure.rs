//! The times of a row: the kernel, the roof and the reference.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use batchnorm::roof::{self, Store};
use batchnorm::{Cpu, Element, Error, Reference, bf16, f16};
use bytemuck::Pod;

use super::pass::{Pass, Tensors};
use super::timing::{Sampler, Timing};
use super::{BenchError, Case, Dtype, Op, memory};

/// Fewer rounds have no median to speak of.
const FEWEST_ROUNDS: usize = 7;
/// The reference is slow and not what is measured: so many samples at most, and no further one after so many seconds.
const REFERENCE_SAMPLES: usize = 3;
const REFERENCE_SECONDS: f64 = 0.5;
/// The reference takes about so many seconds for an element of a tensor that it moves.
const REFERENCE_PER_ELEMENT: f64 = 15e-9;
/// Where a run of it takes so many seconds, it is timed without warming up.
const REFERENCE_IS_SLOW: f64 = 0.05;
/// A run of the reference that would take longer is left out.
const REFERENCE_PATIENCE: f64 = 2.0;

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Seconds of the rounds of a row; there are at least seven rounds.
    pub seconds: f64,
    /// Whether to time the reference, where one run of it takes less than about two seconds.
    pub reference: bool,
}

/// The fastest that the least traffic can be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roof {
    /// The kind of store that is faster here.
    pub store: Store,
    /// The time of the copy; of a backward pass, of two reads and a write.
    pub time: Timing,
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// What was measured.
    pub case: Case,
    /// The kernel that ran.
    pub kernel: &'static str,
    /// Its time.
    pub time: Timing,
    /// The roof.
    pub roof: Roof,
    /// The reference's time, unless it was left out.
    pub reference: Option<Timing>,
}

impl Measured {
    /// 10^9 bytes a second of the least traffic, for a time in seconds.
    pub fn gbps(&self, seconds: f64) -> f64 {
        self.case.tensor_bytes() as f64 * self.case.least_moves() / seconds / 1e9
    }

    /// The share of the roof: 1 if the kernel is as fast as the copy.
    pub fn share(&self) -> f64 {
        self.roof.time.median / self.time.median
    }

    /// How many times as long the reference takes.
    pub fn reference_times(&self) -> Option<f64> {
        self.reference.map(|reference| reference.median / self.time.median)
    }
}

/// Times a row: on a pool of its own, in memory of its own, kernel and roof in turns.
///
/// # Errors
///
/// [`BenchError`] if the tensors do not fit, or the engine refuses the problem.
pub fn measure(case: &Case, effort: &Effort) -> Result<Measured, BenchError> {
    let effort =
        Effort { reference: effort.reference && reference_seconds(case) < REFERENCE_PATIENCE, ..*effort };
    memory::check(case, effort.reference)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(case.threads)
        .build()
        .map_err(|source| BenchError::Threads { threads: case.threads, source })?;
    pool.install(|| match case.dtype {
        Dtype::F32 => row::<f32>(case, &effort),
        Dtype::F64 => row::<f64>(case, &effort),
        Dtype::Bf16 => row::<bf16>(case, &effort),
        Dtype::F16 => row::<f16>(case, &effort),
    })
}

/// The seconds that a run of the reference takes, roughly.
fn reference_seconds(case: &Case) -> f64 {
    case.extents.elements() as f64 * case.least_moves() * REFERENCE_PER_ELEMENT
}

fn row<E: Element + Pod>(case: &Case, effort: &Effort) -> Result<Measured, BenchError> {
    let engine = |source: Error| BenchError::Engine { case: case.clone(), source };
    let mut tensors = Tensors::<E>::new(case)?;
    let mut ours = Pass::new(case, Cpu).map_err(engine)?;
    ours.prepare(&mut tensors).map_err(engine)?;

    let mut kernel = Sampler::warm_up(|| ours.run(&mut tensors)).map_err(engine)?;
    let mut roofs = [Store::Ordinary, Store::Streaming].map(|store| {
        let Ok(sampler) = Sampler::warm_up(|| under_the_roof(case, &mut tensors, store));
        (store, sampler)
    });
    let (begin, mut rounds) = (Instant::now(), 0);
    while rounds < FEWEST_ROUNDS || begin.elapsed().as_secs_f64() < effort.seconds {
        kernel.sample(|| ours.run(&mut tensors)).map_err(engine)?;
        for (store, sampler) in &mut roofs {
            let Ok(()) = sampler.sample(|| under_the_roof(case, &mut tensors, *store));
        }
        rounds += 1;
    }
    let [ordinary, streaming] =
        roofs.map(|(store, sampler)| Roof { store, time: in_full(case, sampler.timing()) });
    let roof = if streaming.time.median < ordinary.time.median { streaming } else { ordinary };

    let reference =
        effort.reference.then(|| reference(case, &ours, &mut tensors)).transpose().map_err(engine)?;
    Ok(Measured { case: case.clone(), kernel: case.problem().kernel(), time: kernel.timing(), roof, reference })
}

/// The least traffic, with nothing computed. In place there is one tensor: half of it is copied onto the other half.
fn under_the_roof<E: Element + Pod>(
    case: &Case,
    tensors: &mut Tensors<E>,
    store: Store,
) -> Result<(), Infallible> {
    let Tensors { x, dy, out } = tensors;
    match (case.op, case.in_place) {
        (Op::Backward, _) => roof::triad(x, dy, out, store),
        (_, false) => roof::copy(x, out, store),
        (_, true) => {
            let half = x.len() / 2;
            let (to, from) = x.split_at_mut(half);
            roof::copy(&from[..half], to, store);
        }
    }
    black_box(tensors);
    Ok(())
}

/// The time of all of a tensor where a half of it was copied.
fn in_full(case: &Case, timing: Timing) -> Timing {
    let elements = case.extents.elements();
    let copied = if case.in_place { (elements / 2).max(1) } else { elements };
    let times = elements as f64 / copied as f64;
    Timing { median: timing.median * times, fastest: timing.fastest * times, ..timing }
}

fn reference<E: Element + Pod>(
    case: &Case,
    ours: &Pass<E, Cpu>,
    tensors: &mut Tensors<E>,
) -> Result<Timing, Error> {
    let mut pass = ours.on(Reference)?;
    let mut sampler = match reference_seconds(case) {
        REFERENCE_IS_SLOW.. => Sampler::cold(),
        _ => Sampler::warm_up(|| pass.run(tensors))?,
    };
    let begin = Instant::now();
    for _ in 0..REFERENCE_SAMPLES {
        sampler.sample(|| pass.run(tensors))?;
        if begin.elapsed().as_secs_f64() > REFERENCE_SECONDS {
            break;
        }
    }
    Ok(sampler.timing())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Layout;

    fn case(op: Op, in_place: bool) -> Case {
        let (dtype, layout) = (Dtype::F32, Layout::ChannelsLast);
        Case { extents: "5x3x7".parse().unwrap(), op, dtype, layout, threads: 1, in_place }
    }

    #[test]
    fn speed_and_share_follow_from_the_least_traffic() {
        let timing = |median| Timing { median, fastest: median, samples: 7 };
        let measured = Measured {
            case: Case { extents: "1000x250".parse().unwrap(), ..case(Op::Backward, false) },
            kernel: "some",
            time: timing(3e-3),
            roof: Roof { store: Store::Streaming, time: timing(1.5e-3) },
            reference: Some(timing(3e-2)),
        };
        // A tensor is 1 MB, and three are moved in 3 ms.
        assert!((measured.gbps(measured.time.median) - 1.0).abs() < 1e-12);
        assert_eq!(measured.share(), 0.5);
        assert!((measured.reference_times().unwrap() - 10.0).abs() < 1e-12);
        let [ours, roof, reference] = measured.records().try_into().unwrap();
        assert_eq!((ours.peer, ours.median_us, ours.roof_us, ours.share), ("batchnorm", 3000.0, 1500.0, 0.5));
        assert_eq!((roof.peer, roof.median_us, roof.kernel.as_str()), ("roof", 1500.0, "triad-streaming"));
        assert_eq!(
            (reference.peer, reference.kernel.as_str(), reference.ceiling),
            ("reference", "reference", None)
        );
    }

    #[test]
    fn the_roof_moves_what_a_pass_has_to_move() {
        for store in [Store::Ordinary, Store::Streaming] {
            let copy = case(Op::Forward, false);
            let mut tensors = Tensors::<f32>::new(&copy).unwrap();
            tensors.out.fill(0.0);
            let Ok(()) = under_the_roof(&copy, &mut tensors, store);
            assert_eq!(*tensors.x, *tensors.out);

            let triad = case(Op::Backward, false);
            let mut tensors = Tensors::<f32>::new(&triad).unwrap();
            let Ok(()) = under_the_roof(&triad, &mut tensors, store);
            let sum = tensors.x.iter().zip(&*tensors.dy).zip(&*tensors.out);
            assert!(sum.into_iter().all(|((x, dy), out)| x + dy == *out));

            let in_place = case(Op::Eval, true);
            let mut tensors = Tensors::<f32>::new(&in_place).unwrap();
            assert!(tensors.out.is_empty() && tensors.dy.is_empty());
            let Ok(()) = under_the_roof(&in_place, &mut tensors, store);
            // Of 105 elements, 52 onto 52.
            assert_eq!(tensors.x[..52], tensors.x[52..104]);
            let timing = in_full(&in_place, Timing { median: 52.0, fastest: 26.0, samples: 7 });
            assert_eq!((timing.median, timing.fastest), (105.0, 52.5));
        }
    }

    #[test]
    fn passes_in_place_keep_their_numbers_finite_however_often_they_run() {
        for op in [Op::Forward, Op::Eval] {
            let case = case(op, true);
            let mut tensors = Tensors::<f32>::new(&case).unwrap();
            let mut pass = Pass::new(&case, Cpu).unwrap();
            (0..2000).for_each(|_| pass.run(&mut tensors).unwrap());
            assert!(tensors.x.iter().all(|x| x.is_normal()), "{:?}", &*tensors.x);
        }
    }
}
