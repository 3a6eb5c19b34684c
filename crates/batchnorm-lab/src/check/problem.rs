//! Problems by number: the same seed and number give the same problem, on every machine.

use std::fmt;

use crate::bench::{Dtype, Extents, Layout};
use crate::names::named;
use crate::streams::{Purpose, Stream};

named! {
    /// What is computed.
    pub enum Work, "work" {
        /// Statistics and output.
        Forward = "forward",
        /// Both gradient sums and the input's gradient.
        Backward = "backward",
        /// The same where the statistics were given: x is not read but for the sums.
        BackwardFixed = "backward-fixed",
        /// The output by given statistics.
        Eval = "eval",
        /// Statistics and output, over the input.
        ForwardInPlace = "forward-in-place",
        /// The output by given statistics, over the input.
        EvalInPlace = "eval-in-place",
    }
}

named! {
    /// What follows the normalization.
    pub enum Activation, "activation" {
        /// Nothing.
        None = "none",
        /// ReLU.
        Relu = "relu",
        /// Leaky ReLU.
        LeakyRelu = "leaky-relu",
        /// The sum with another tensor, and ReLU.
        AddRelu = "add-relu",
    }
}

/// Where the data of a channel lie, and how far they spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Location {
    /// The mean, in standard deviations.
    pub mean: f64,
    /// The standard deviation.
    pub scale: f64,
}

/// A problem: drawn, and not yet any data.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The seed that it was drawn by.
    pub seed: u64,
    /// Its number.
    pub number: u64,
    /// What is computed.
    pub work: Work,
    /// The tensors' type.
    pub dtype: Dtype,
    /// The tensors' extents.
    pub extents: Extents,
    /// How they lie in memory.
    pub layout: Layout,
    /// What follows the normalization.
    pub activation: Activation,
    /// The data.
    pub location: Location,
    /// Threads; one is tried, too.
    pub threads: usize,
    /// Elements between where memory begins and where the tensors begin.
    pub offset: usize,
    /// Whether a part of the positions does not count, and holds NaN.
    pub masked: bool,
}

/// Of problems with these numbers, there is one for each work, type and layout.
pub(super) const CYCLE: u64 = 48;

/// Elements of a problem, at most; of one in eight, more.
const MOST: usize = 1 << 16;
const MOST_OF_FEW: usize = 1 << 19;

/// Batches; around the widths of vectors.
const BATCHES: &[usize] = &[1, 2, 3, 4, 7, 8, 9, 16, 17, 32, 33, 64];
/// Channels.
const CHANNELS: &[usize] =
    &[1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 127, 128, 129, 257, 512];
/// Batches of problems that have nothing else.
const ROWS: &[usize] = &[1, 2, 3, 8, 17, 31, 64, 65, 100, 511, 513, 1025, 4095, 4096, 4097];
/// The only spatial extent.
const LENGTHS: &[usize] =
    &[1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49, 63, 64, 65, 127, 196, 784, 1023, 1025, 4095, 4096, 4097];
/// One of two spatial extents, and of three.
const SIDES: &[usize] = &[1, 2, 3, 5, 7, 8, 9, 14, 15, 16, 17, 28, 31, 32, 33, 56, 64];
const EDGES: &[usize] = &[1, 2, 3, 4, 5, 7, 8, 9, 16, 17];

impl Problem {
    /// Problem `number` of a seed.
    pub fn draw(seed: u64, number: u64) -> Self {
        let mut stream = Stream::new(seed, Purpose::Problem { number });
        let work = Work::ALL[(number % 6) as usize];
        let dtype = Dtype::ALL[(number / 6 % 4) as usize];
        let layout = Layout::ALL[(number / 24 % 2) as usize];
        let extents = extents(&mut stream);
        let activation = match stream.happens(0.5) {
            true => Activation::None,
            false => one_of(&mut stream, Activation::ALL),
        };
        let (most, means) = range(dtype);
        let scale = match stream.happens(0.5) {
            true => 1.0,
            false => 10f64.powf(most * (2.0 * stream.unit() - 1.0)),
        };
        let mean = one_of(&mut stream, means);
        let in_place = matches!(work, Work::ForwardInPlace | Work::EvalInPlace);
        Self {
            seed,
            number,
            work,
            dtype,
            extents,
            layout,
            activation,
            location: Location { mean, scale },
            threads: 1 + stream.below(4),
            offset: stream.below(16),
            masked: !in_place && stream.happens(0.125),
        }
    }

    /// The engine's view of the choice of a kernel for it, on so many threads.
    pub fn choice(&self, threads: usize) -> batchnorm::Problem {
        batchnorm::Problem {
            operation: match self.work {
                Work::Forward | Work::ForwardInPlace => batchnorm::Operation::Forward,
                Work::Backward | Work::BackwardFixed => batchnorm::Operation::Backward,
                Work::Eval | Work::EvalInPlace => batchnorm::Operation::Evaluation,
            },
            shape: self.extents.shape(self.layout),
            element: self.dtype.into(),
            masked: self.masked,
            threads,
        }
    }

    /// The command that checks this problem again.
    pub fn command(&self) -> String {
        format!("batchnorm check --seed {} --problem {}", self.seed, self.number)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { work, extents, dtype, layout, activation, location, threads, offset, masked, .. } = self;
        write!(f, "{work} of {extents} {dtype} {layout}, activation {activation}")?;
        write!(f, ", mean {:e} deviations of {:.1e}", location.mean, location.scale)?;
        let plural = if *threads == 1 { "" } else { "s" };
        write!(f, ", {threads} thread{plural}, offset {offset}{}", if *masked { ", masked" } else { "" })
    }
}

/// The largest power of ten of a standard deviation (and the smallest), and means in deviations, that leave a type room for gamma,
/// for what is squared, and for gradients, which are as large as standard deviations are small.
fn range(dtype: Dtype) -> (f64, &'static [f64]) {
    match dtype {
        Dtype::F32 => (25.0, &[0.0, 3.0, -1e4, 1e6]),
        Dtype::F64 => (30.0, &[0.0, 3.0, -1e4, 1e6]),
        // At 1e4 deviations, all values of a channel are one or two numbers.
        Dtype::Bf16 => (25.0, &[0.0, 3.0, -1e2, 1e4]),
        // Up to 65504: a mean of 3160. Of values that are all the same, a gradient is 316 times as large as it would be.
        Dtype::F16 => (0.5, &[0.0, 3.0, -1e2, 1e3]),
    }
}

fn one_of<T: Copy>(stream: &mut Stream, choices: &[T]) -> T {
    choices[stream.below(choices.len())]
}

/// Extents of two to five axes, of no more elements than there is time for.
fn extents(stream: &mut Stream) -> Extents {
    let most = if stream.happens(0.125) { MOST_OF_FEW } else { MOST };
    loop {
        let spatial: (usize, &[usize]) = match stream.below(5) {
            0 => (0, &[]),
            1 => (1, LENGTHS),
            2 | 3 => (2, SIDES),
            _ => (3, EDGES),
        };
        let (axes, sides) = spatial;
        let batches = if axes == 0 { ROWS } else { BATCHES };
        let mut extents = vec![one_of(stream, batches), one_of(stream, CHANNELS)];
        extents.extend((0..axes).map(|_| one_of(stream, sides)));
        if extents.iter().product::<usize>() <= most {
            return Extents::new(extents).expect("small, and without zeros");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_depends_on_seed_and_number_alone() {
        assert_eq!(Problem::draw(7, 12), Problem::draw(7, 12));
        let forms = |seed| (0..40).map(move |number| Problem::draw(seed, number).extents);
        assert_ne!(forms(7).collect::<Vec<_>>(), forms(8).collect::<Vec<_>>());
    }

    #[test]
    fn a_cycle_has_every_work_type_and_layout_and_many_have_all_the_rest() {
        let mut seen: Vec<_> = (0..CYCLE)
            .map(|number| Problem::draw(3, number))
            .map(|problem| format!("{} {} {}", problem.work, problem.dtype, problem.layout))
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), CYCLE as usize);

        let many: Vec<_> = (0..500).map(|number| Problem::draw(3, number)).collect();
        for activation in Activation::ALL {
            assert!(many.iter().any(|problem| problem.activation == *activation));
        }
        for threads in 1..=4 {
            assert!(many.iter().any(|problem| problem.threads == threads));
        }
        for offset in 0..16 {
            assert!(many.iter().any(|problem| problem.offset == offset));
        }
        assert!(many.iter().any(|problem| problem.masked));
        assert!(many.iter().any(|problem| problem.extents.elements() > MOST));
        assert!(many.iter().all(|problem| problem.extents.elements() <= MOST_OF_FEW));
    }
}
