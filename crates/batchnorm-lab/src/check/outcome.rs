//! What a check found: a row for each kernel, instruction set, type and work.

use serde::Serialize;

use super::judge::Measurement;
use super::problem::{Problem, Work};
use crate::bench::Dtype;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// How many problems were tried.
    pub problems: u64,
    /// A row for each kernel, instruction set, type and work, in the order in which they came up.
    pub rows: Vec<Row>,
}

/// One kernel on one instruction set, for one type and work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The kernel's name.
    pub kernel: &'static str,
    /// The instruction set.
    pub instruction_set: String,
    /// The tensors' type.
    pub dtype: Dtype,
    /// What was computed.
    pub op: Work,
    /// Runs: problems, each on one thread and on several.
    pub runs: u64,
    /// The quantity whose error was the largest part of its bound.
    pub worst_in: &'static str,
    /// That error.
    pub error: f64,
    /// Its bound.
    pub bound: f64,
    /// How many runs were not as they must be.
    pub failed: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// A run that was not as it must be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The problem in words.
    pub problem: String,
    /// The threads that it was computed on.
    pub threads: usize,
    /// What is wrong.
    pub what: String,
    /// The command that tries it again.
    pub command: String,
}

impl Outcome {
    /// Whether everything was as it must be.
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(|row| row.failed == 0)
    }

    /// The row of a run.
    pub(super) fn row(&mut self, kernel: &'static str, instruction_set: &str, problem: &Problem) -> &mut Row {
        let (dtype, op) = (problem.dtype, problem.work);
        let same = |row: &Row| {
            (row.kernel, row.instruction_set.as_str(), row.dtype, row.op)
                == (kernel, instruction_set, dtype, op)
        };
        let place = self.rows.iter().position(same).unwrap_or_else(|| {
            let instruction_set = instruction_set.to_owned();
            self.rows.push(Row {
                kernel,
                instruction_set,
                dtype,
                op,
                runs: 0,
                worst_in: "",
                error: 0.0,
                bound: 0.0,
                failed: 0,
                failure: None,
            });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }

    /// Sorted as a table is read: by kernel, work, type, instruction set in the order of `sets`.
    pub(super) fn sort(&mut self, sets: &[&str]) {
        let set = |row: &Row| sets.iter().position(|set| *set == row.instruction_set);
        self.rows.sort_by_key(|row| (row.kernel, row.op as usize, row.dtype as usize, set(row)));
    }
}

impl Row {
    /// Takes in what was measured of a run.
    pub(super) fn take(&mut self, measurements: &[Measurement]) {
        for measurement in measurements {
            let part = |error: f64, bound: f64| if error == 0.0 { 0.0 } else { error / bound };
            let now = part(measurement.error, measurement.bound);
            if self.worst_in.is_empty() || now > part(self.error, self.bound) {
                (self.worst_in, self.error, self.bound) =
                    (measurement.what, measurement.error, measurement.bound);
            }
        }
    }

    /// Takes in a run that was not as it must be.
    pub(super) fn fail(&mut self, problem: &Problem, threads: usize, what: String) {
        self.failed += 1;
        self.failure.get_or_insert_with(|| Failure {
            problem: problem.to_string(),
            threads,
            what,
            command: problem.command(),
        });
    }
}
