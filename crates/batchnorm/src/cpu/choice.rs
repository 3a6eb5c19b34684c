//! Which kernel runs, and why: one table, best first, the reference last.

use std::fmt;

use super::Family;
use super::channels_first::{self, CACHE, Cut};
use crate::Shape;

/// What a kernel is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`forward_train`](crate::Kernels::forward_train): a fold and a map of x.
    Forward,
    /// [`backward`](crate::Kernels::backward): a fold and a map of x and dy.
    Backward,
    /// [`normalize`](crate::Kernels::normalize): a map of x.
    Evaluation,
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// 16-bit floats with the exponents of f32.
    Bf16,
    /// 16-bit floats of IEEE 754.
    F16,
}

impl ElementType {
    /// The bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Bf16 | Self::F16 => 2,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Evaluation => "eval",
        })
    }
}

/// A call of the CPU's kernels, as far as the choice of a kernel depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// What is computed.
    pub operation: Operation,
    /// The tensors' shape.
    pub shape: Shape,
    /// The tensors' type.
    pub element: ElementType,
    /// Whether there is a mask that does not count everything.
    pub masked: bool,
    /// The threads of the pool.
    pub threads: usize,
}

/// A kernel of the table, as seen by a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Whether it could run. The first that could is the one that does.
    pub fits: bool,
    /// Why, or why not.
    pub reason: String,
}

/// The names of the table.
const COLUMNS: &str = "channels-first, columns by channels";
const COLUMNS_BY_POSITIONS: &str = "channels-first, columns by positions";
const BY_CHANNELS: &str = "channels-first, by channels";
const BY_POSITIONS: &str = "channels-first, by positions";
const MAP: &str = "channels-first, map";
const MASKED: &str = "channels-first, with a mask";
const SHORT_RUNS: &str = "plain loops, short runs";
const REFERENCE: &str = "reference";

impl Problem {
    /// All kernels, best first, each with the reason why it fits or does not. The first that fits runs.
    pub fn candidates(&self) -> Vec<Candidate> {
        let candidate = |kernel, reason: Result<String, String>| Candidate {
            kernel,
            fits: reason.is_ok(),
            reason: reason.unwrap_or_else(|reason| reason),
        };
        let vectors = self.vectors();
        let pass = |kernel, wanted: bool, reason: Result<String, String>| match (&vectors, self.operation) {
            (Err(why), _) => candidate(kernel, Err(why.clone())),
            _ if self.masked => candidate(kernel, Err("a mask picks the positions that count".into())),
            (_, Operation::Evaluation) if kernel != MAP => candidate(kernel, Err("nothing is folded".into())),
            (_, operation) if operation != Operation::Evaluation && kernel == MAP => {
                candidate(kernel, Err("statistics have to be folded first".into()))
            }
            _ if wanted => candidate(kernel, reason),
            _ => candidate(kernel, Err(reason.unwrap_or_else(|reason| reason))),
        };
        let cut = self.cut();
        let by_channels = cut.strips > 0;
        let columns = |reason: Result<String, String>| match cut.columns {
            true => reason.map(|reason| format!("vectors go on across the ends of runs; {reason}")),
            false => Err(self.no_columns()),
        };
        let runs = |reason: Result<String, String>| match cut.columns {
            true => {
                Err(format!("runs of {} elements are too short to be folded one by one", self.shape.inner()))
            }
            false => reason,
        };
        vec![
            pass(COLUMNS, by_channels && cut.columns, columns(self.by_channels(&cut))),
            pass(COLUMNS_BY_POSITIONS, !by_channels && cut.columns, columns(self.by_positions(&cut))),
            pass(BY_CHANNELS, by_channels && !cut.columns, runs(self.by_channels(&cut))),
            pass(BY_POSITIONS, !by_channels && !cut.columns, runs(self.by_positions(&cut))),
            pass(MAP, true, Ok(self.with_stores("each element once, in the order of memory"))),
            candidate(MASKED, vectors.clone().and_then(|()| self.with_mask())),
            candidate(
                SHORT_RUNS,
                match &vectors {
                    Ok(()) => Err("runs and rows are long enough for vectors".into()),
                    Err(_) => Ok("rows of several channels side by side, with a mask, too".into()),
                },
            ),
            candidate(REFERENCE, Ok("computes everything, in f64, one element after the other".into())),
        ]
    }

    /// How often the kernel that runs moves a tensor of the problem's size between memory and processor: reads, then writes.
    ///
    /// The least is (1, 1), for a backward pass (2, 1). Where what is folded does not stay in the cache until it is mapped,
    /// it is read twice, but for what the cache still holds of it. For tensors that fit the cache as a whole, it is the least.
    pub fn traffic(&self) -> (f64, f64) {
        let tensors = self.tensors() as f64;
        if self.operation == Operation::Evaluation {
            return (1.0, 1.0);
        }
        let bytes = self.shape.positions() * self.tensors() * self.element.bytes();
        let (kept, of) = match self.kernel() {
            COLUMNS | BY_CHANNELS => (1, 1),
            COLUMNS_BY_POSITIONS | BY_POSITIONS => {
                let cut = self.cut();
                let bytes = bytes * cut.chunk;
                (if cut.keeps(self.shape, self.tensors(), self.element.bytes()) { bytes } else { CACHE }, bytes)
            }
            _ => (CACHE.min(bytes * self.shape.channels()), bytes * self.shape.channels()),
        };
        (tensors * (2.0 - kept.min(of) as f64 / of.max(1) as f64), 1.0)
    }

    /// The kernel that runs.
    pub fn kernel(&self) -> &'static str {
        let runs = self.candidates().into_iter().find(|candidate| candidate.fits);
        runs.map_or(REFERENCE, |candidate| candidate.kernel)
    }

    fn cut(&self) -> Cut {
        Cut::new(self.shape, self.tensors(), self.element.bytes(), self.threads)
    }

    /// The tensors that are read.
    fn tensors(&self) -> usize {
        if self.operation == Operation::Backward { 2 } else { 1 }
    }

    /// Whether the vector kernels can do it.
    fn vectors(&self) -> Result<(), String> {
        match Family::for_shape(self.shape, self.masked) {
            Family::ChannelsFirst => Ok(()),
            Family::ShortRuns => {
                Err(format!("runs of {} elements of one channel are short", self.shape.inner()))
            }
            Family::Nothing => Err("there is nothing to compute".into()),
        }
    }

    fn with_mask(&self) -> Result<String, String> {
        match (self.masked, self.shape.inner()) {
            (false, _) => Err("there is no mask".into()),
            (true, 1) => {
                Ok("the rows that count are folded; everything is mapped, then the others are cleared".into())
            }
            (true, _) => {
                Ok("what does not count is folded as zeros; everything is mapped, then that is cleared".into())
            }
        }
    }

    fn no_columns(&self) -> String {
        let Self { shape, .. } = self;
        if shape.inner() >= channels_first::LONG {
            format!("runs of {} elements are long enough to be folded one by one", shape.inner())
        } else {
            format!("{} rows of {} elements", shape.outer(), shape.channels() * shape.inner())
        }
    }

    fn by_channels(&self, cut: &Cut) -> Result<String, String> {
        if cut.strips == 0 {
            return Err(if cut.chunk == self.shape.channels() && cut.columns {
                format!("{} rows are cut more evenly than channels", self.shape.outer())
            } else if cut.keeps(self.shape, self.tensors(), self.element.bytes()) {
                format!(
                    "{} channels are too few to keep {} threads busy alike",
                    self.shape.channels(),
                    self.threads
                )
            } else {
                "a channel does not fit into a thread's part of the cache".into()
            });
        }
        let together = match cut.group {
            1 => "a channel".to_owned(),
            group => format!("{group} channels"),
        };
        let spread = match cut.strips {
            1 => "one thread".to_owned(),
            strips => format!("{strips} ranges of channels on {} threads", self.threads),
        };
        let then = if cut.columns { "folded, then mapped" } else { "the next folded while one is mapped" };
        let text = format!("{together} at a time, {then}; {spread}");
        Ok(self.with_stores(&text))
    }

    fn by_positions(&self, cut: &Cut) -> Result<String, String> {
        if cut.strips > 0 {
            return Err("there are channels enough for every thread".into());
        }
        let who = if cut.alone { "one thread folds" } else { "all threads fold" };
        let what = if cut.chunk == self.shape.channels() && cut.columns {
            format!("{who} all channels, then map them backwards, as what was read last is in the cache still")
        } else if cut.keeps(self.shape, self.tensors(), self.element.bytes()) {
            format!("{who} {} of the channels, then map them from the cache", cut.chunk)
        } else {
            format!("{who} a channel, then map it backwards, as its end is in the cache still")
        };
        Ok(self.with_stores(&what))
    }

    fn with_stores(&self, text: &str) -> String {
        let bytes = self.element.bytes();
        let streams = match self.operation {
            Operation::Evaluation => channels_first::map_streams(self.shape, bytes, self.threads),
            _ => channels_first::streams(self.shape, bytes),
        };
        format!("{text}; stores {} the cache", if streams { "past" } else { "through" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(dims: &[usize], operation: Operation) -> Problem {
        let shape = Shape::channels_first(dims).unwrap();
        Problem { operation, shape, element: ElementType::F32, masked: false, threads: 2 }
    }

    #[test]
    fn the_first_that_fits_runs_and_the_reference_is_last() {
        let cases = [
            (vec![32, 64, 56, 56], Operation::Forward, BY_CHANNELS),
            (vec![64, 3, 32, 32], Operation::Forward, BY_POSITIONS),
            (vec![16, 2, 1024, 1024], Operation::Backward, BY_POSITIONS),
            (vec![32, 64, 56, 56], Operation::Evaluation, MAP),
            (vec![32, 512, 7, 7], Operation::Forward, COLUMNS),
            (vec![640, 3, 7, 7], Operation::Backward, COLUMNS_BY_POSITIONS),
            (vec![32, 512, 7, 7], Operation::Evaluation, MAP),
            (vec![60, 100], Operation::Forward, COLUMNS),
            (vec![4096, 512], Operation::Forward, COLUMNS_BY_POSITIONS),
            (vec![4096, 3], Operation::Evaluation, MAP),
            (vec![3, 3], Operation::Forward, SHORT_RUNS),
        ];
        for (dims, operation, expected) in cases {
            let problem = problem(&dims, operation);
            assert_eq!(problem.kernel(), expected, "{dims:?}");
            let candidates = problem.candidates();
            assert_eq!(candidates.last().unwrap().kernel, REFERENCE);
            assert!(candidates.iter().all(|candidate| !candidate.reason.is_empty()));
        }
        let masked = Problem { masked: true, ..problem(&[32, 64, 56, 56], Operation::Forward) };
        assert_eq!(masked.kernel(), MASKED);
        let rows = Problem { masked: true, ..problem(&[4096, 64], Operation::Backward) };
        assert_eq!(rows.kernel(), MASKED);
        let short = Problem { masked: true, ..problem(&[640, 3, 7], Operation::Forward) };
        assert_eq!(short.kernel(), SHORT_RUNS);
    }

    #[test]
    fn what_does_not_stay_in_the_cache_is_read_twice() {
        assert_eq!(problem(&[32, 64, 56, 56], Operation::Backward).traffic(), (2.0, 1.0));
        // Rows of 64 channels: 25.7 MB of all channels together, of which 16 MiB are in the cache still.
        let last =
            Problem { shape: Shape::new(100_352, 64, 1).unwrap(), ..problem(&[1, 1], Operation::Forward) };
        let kept = (16 << 20) as f64 / (100_352.0 * 64.0 * 4.0);
        assert_eq!(last.traffic(), (2.0 - kept, 1.0));
        // A channel of 64 MiB, of which 16 are in the cache still.
        assert_eq!(problem(&[16, 2, 1024, 1024], Operation::Forward).traffic(), (1.75, 1.0));
    }
}
