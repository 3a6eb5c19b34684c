//! The table of a check.

use anstyle::{AnsiColor, Style};
use batchnorm_lab::check::{Outcome, Row};

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const GOOD: &str = "ok";
const BAD: &str = "FAILED";

/// A row for each kernel, what failed, and a sentence.
pub fn outcome(outcome: &Outcome, seed: u64) -> String {
    let header = ["kernel", "instructions", "dtype", "op", "runs", "worst in", "error", "bound", ""];
    let row = |row: &Row| {
        vec![
            row.kernel.to_owned(),
            row.instruction_set.clone(),
            row.dtype.to_string(),
            row.op.to_string(),
            row.runs.to_string(),
            row.worst_in.to_owned(),
            format!("{:.1e}", row.error),
            format!("{:.1e}", row.bound),
            if row.failed == 0 { GOOD } else { BAD }.to_owned(),
        ]
    };
    let rows = outcome.rows.iter().map(row).collect();
    let mut text = super::aligned(header.map(str::to_owned).to_vec(), rows);
    text.push('\n');
    // Colours after aligning: their codes have no width.
    for (word, style) in [(GOOD, GREEN), (BAD, RED)] {
        text = text.replace(&format!(" {word}\n"), &format!(" {style}{word}{style:#}\n"));
    }
    for row in &outcome.rows {
        text += &failure(row).unwrap_or_default();
    }
    let failed = outcome.rows.iter().filter(|row| row.failed > 0).count();
    let verdict = match failed {
        0 => "every error is within its bound, and the bits are the same for all instruction sets and threads",
        _ => "the rows that FAILED are wrong: please report them",
    };
    let plural = if outcome.problems == 1 { "" } else { "s" };
    text + &format!("\n{} problem{plural} of seed {seed}: {verdict}\n", outcome.problems)
}

fn failure(row: &Row) -> Option<String> {
    let failure = row.failure.as_ref()?;
    let name = format!("{}, {}, {} {}", row.kernel, row.instruction_set, row.dtype, row.op);
    Some(format!(
        "\n{RED}{BAD}{RED:#} {} of {} runs of {name}, first with threads {}: {}\n  {}\n  again: {}\n",
        row.failed, row.runs, failure.threads, failure.what, failure.problem, failure.command
    ))
}

#[cfg(test)]
mod tests {
    use batchnorm_lab::bench::Dtype;
    use batchnorm_lab::check::{Failure, Work};

    use super::*;

    #[test]
    fn what_failed_is_told_with_the_command_that_tries_it_again() {
        let good = Row {
            kernel: "quick",
            instruction_set: "AVX2".to_owned(),
            dtype: Dtype::F32,
            op: Work::Forward,
            runs: 12,
            worst_in: "y",
            error: 6e-8,
            bound: 2e-7,
            failed: 0,
            failure: None,
        };
        let failure = Failure {
            problem: "eval of 2x3".to_owned(),
            threads: 2,
            what: "y is off by 1.00e-5, allowed 2.00e-7".to_owned(),
            command: "batchnorm check --seed 9 --problem 4".to_owned(),
        };
        let bad = Row { op: Work::Eval, error: 1e-5, failed: 3, failure: Some(failure), ..good.clone() };
        let text = outcome(&Outcome { problems: 24, rows: vec![good, bad] }, 9);
        for part in [
            "6.0e-8",
            "2.0e-7",
            "3 of 12 runs of quick, AVX2, f32 eval, first with threads 2: y is off by 1.00e-5",
            "again: batchnorm check --seed 9 --problem 4",
            "24 problems of seed 9",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert!(text.contains(&format!("{GREEN}ok{GREEN:#}\n")), "{text:?}");
        assert!(text.contains(&format!("{RED}FAILED{RED:#}\n")), "{text:?}");
    }
}
