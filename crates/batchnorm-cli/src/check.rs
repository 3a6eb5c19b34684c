//! `batchnorm check`.

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use batchnorm_lab::check::{Limit, Outcome, Row, carry_out, subjects};
use serde::Serialize;

use crate::arguments::CheckArguments;
use crate::bench::{json_lines, seconds};
use crate::progress::Share;
use crate::table::check as table;
use crate::{interrupt, output};

/// A week.
const MOST_SECONDS: f64 = 604_800.0;

/// A row as a line of JSON.
#[derive(Serialize)]
struct Document<'a> {
    seed: u64,
    #[serde(flatten)]
    row: &'a Row,
    ok: bool,
}

pub fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let limit = match arguments.problem {
        Some(number) => Limit::Only(number),
        None => Limit::Time(Duration::from_secs_f64(seconds(arguments.seconds, MOST_SECONDS)?)),
    };
    let stop = interrupt::flag();
    let progress = Share::new(!arguments.no_progress);
    let outcome = carry_out(&subjects(), arguments.seed, limit, &mut |now| {
        progress.at(now.done, &format!("{} problems", now.problems));
        !stop.load(Ordering::Relaxed)
    })?;
    drop(progress);
    match arguments.json {
        true => {
            let document = |row| Document { seed: arguments.seed, row, ok: row.failed == 0 };
            output::print(&json_lines(&outcome.rows.iter().map(document).collect::<Vec<_>>()))?;
        }
        false => output::print(&table::outcome(&outcome, arguments.seed))?,
    }
    Ok(exit_code(&outcome, stop.load(Ordering::Relaxed)))
}

/// Bad news is bad news, interrupted or not.
fn exit_code(outcome: &Outcome, stopped: bool) -> ExitCode {
    match (outcome.is_good(), stopped) {
        (false, _) => ExitCode::from(1),
        (true, true) => ExitCode::from(interrupt::INTERRUPTED),
        (true, false) => ExitCode::SUCCESS,
    }
}
