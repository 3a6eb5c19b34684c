//! `batchnorm bench`.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use batchnorm_lab::bench::{Case, Effort, Line, Measured, Op, Request, measure, read};
use serde::Serialize;

use crate::arguments::BenchArguments;
use crate::error::Misuse;
use crate::progress::Rows;
use crate::table::bench as table;
use crate::{interrupt, output};

/// What is timed unless something else is asked for.
const DEFAULT: [&str; 2] = ["small", "resnet50"];
/// More threads than any machine has cores.
const MOST_THREADS: usize = 1024;
/// Nobody waits longer for one row.
const MOST_SECONDS: f64 = 3600.0;

pub fn run(arguments: &BenchArguments) -> anyhow::Result<ExitCode> {
    let cases = request(arguments)?.cases(&lines(arguments)?)?;
    if arguments.explain {
        return explain(&cases, arguments.json);
    }
    let effort =
        Effort { seconds: seconds(arguments.seconds, MOST_SECONDS)?, reference: !arguments.no_reference };
    let stop = interrupt::flag();
    let mut rows = Vec::new();
    let outcome = time(&cases, &effort, arguments, &mut rows, || stop.load(Ordering::Relaxed));
    // What was measured before an error or an interruption is told all the same.
    if !arguments.json && !rows.is_empty() {
        output::print(&table::rows(&rows))?;
    }
    outcome?;
    Ok(if rows.len() < cases.len() { ExitCode::from(interrupt::INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Times row by row; of JSON, every row is printed as it is done.
fn time(
    cases: &[Case],
    effort: &Effort,
    arguments: &BenchArguments,
    rows: &mut Vec<Measured>,
    stop: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let progress = Rows::new(!arguments.no_progress, cases.len());
    for case in cases {
        if stop() {
            break;
        }
        progress.begins(&case.to_string());
        let measured = measure(case, effort)?;
        if arguments.json {
            progress.aside(|| output::print(&json_lines(&measured.records())))?;
        }
        rows.push(measured);
        progress.done();
    }
    Ok(())
}

fn explain(cases: &[Case], json: bool) -> anyhow::Result<ExitCode> {
    match json {
        true => {
            for case in cases {
                output::print(&json_lines(&case.explanations()))?;
            }
        }
        false => output::print(&cases.iter().map(table::explanation).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A document a line.
pub fn json_lines<T: Serialize>(documents: &[T]) -> String {
    let line =
        |document| serde_json::to_string(document).expect("numbers, strings and lists have a JSON form") + "\n";
    documents.iter().map(line).collect()
}

/// The problems: of the command line, then of the files.
fn lines(arguments: &BenchArguments) -> anyhow::Result<Vec<Line>> {
    let mut lines: Vec<Line> = arguments.shape.iter().cloned().map(Line::from).collect();
    for file in &arguments.shapes {
        lines.extend(read(file)?);
    }
    if lines.is_empty() {
        for name in DEFAULT {
            lines.extend(read(name)?);
        }
    }
    Ok(lines)
}

fn request(arguments: &BenchArguments) -> anyhow::Result<Request> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = if arguments.threads.is_empty() { vec![cores] } else { arguments.threads.clone() };
    if let Some(found) = threads.iter().find(|threads| !(1..=MOST_THREADS).contains(*threads)) {
        let text =
            format!("expected 1 to {MOST_THREADS} threads, found {found}; leave --threads out for one a core");
        return Err(Misuse(text).into());
    }
    let ops = match (arguments.op.is_empty(), arguments.in_place) {
        (false, _) => arguments.op.clone(),
        (true, false) => Op::ALL.to_vec(),
        (true, true) => vec![Op::Forward, Op::Eval],
    };
    Ok(Request {
        ops,
        dtypes: arguments.dtype.clone(),
        layouts: arguments.layout.clone(),
        threads,
        in_place: arguments.in_place,
    })
}

/// A number of seconds that can be waited for.
pub fn seconds(found: f64, most: f64) -> anyhow::Result<f64> {
    match found.is_finite() && (0.0..=most).contains(&found) {
        true => Ok(found),
        false => Err(Misuse(format!("expected 0 to {most} for --seconds, found {found}")).into()),
    }
}
