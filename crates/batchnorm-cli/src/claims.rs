//! `batchnorm claims`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use batchnorm_lab::Source;
use batchnorm_lab::claims::{
    ALL, Carried, Claim, FEWEST_SEEDS, Facts, Request, Results, carry_out, estimate, listed, markdown, named,
};

use crate::arguments::{ClaimsArguments, ClaimsCommand, ReportArguments, RunArguments};
use crate::error::{self, Misuse};
use crate::memory::{self, OwnProcess};
use crate::progress::ClaimsProgress;
use crate::table::claims as table;
use crate::{data, interrupt, output};

/// Where results go that were given no folder.
const RESULTS: &str = "claims";
/// More experiments side by side than any machine carries out.
const MOST_THREADS: usize = 1024;

pub fn run(arguments: &ClaimsArguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        None => list(arguments.json),
        Some(ClaimsCommand::Run(arguments)) => carry(arguments),
        Some(ClaimsCommand::Report(arguments)) => report(arguments),
        Some(ClaimsCommand::Measure { work }) => memory::measure(work),
    }
}

fn list(json: bool) -> anyhow::Result<ExitCode> {
    let list = listed(threads(None)?);
    match json {
        true => output::print(&(serde_json::to_string_pretty(&list)? + "\n"))?,
        false => output::print(&table::list(&list))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn carry(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let claims = chosen(&arguments.claims)?;
    let seeds = arguments.seeds.unwrap_or(Request::default_seeds(arguments.quick));
    let Some(seeds) = NonZeroUsize::new(seeds) else {
        let text = format!("expected at least 1 seed, found 0; a verdict needs {FEWEST_SEEDS} or more");
        return Err(Misuse(text).into());
    };
    let threads = threads(arguments.threads)?;
    if seeds.get() < FEWEST_SEEDS {
        error::warn(&format!(
            "{seeds} of the {FEWEST_SEEDS} seeds that a verdict needs: every verdict will be `not enough data`"
        ));
    }
    let data = data::load(&arguments.data, &arguments.access, !arguments.no_progress)?;
    let facts = Facts::of(&data);
    let request = Request { data: arguments.data.clone(), quick: arguments.quick, seeds };
    let folder = arguments.out.clone().unwrap_or_else(|| default_folder(&request));
    let mut results = Results::open(&folder, &facts)?;
    results.ask(&claims, &request)?;

    let stop = interrupt::flag();
    let started = Instant::now();
    let estimated = estimate(&claims, &request, &facts, Some(results.store()));
    let progress =
        ClaimsProgress::new(!arguments.no_progress, stop, estimated.remaining, claims.len(), threads);
    progress.tell(&format!("data: {} ({})", facts.title, facts.licence));
    let carried = carry_out(&claims, &request, &data, results.store(), threads, &progress, Some(&OwnProcess));
    progress.finish();
    let carried = carried?;

    // With what the folder holds of earlier commands.
    let all = results.carried()?;
    let index = results.write_report(&all)?;
    if arguments.json {
        output::print(&all.document(&facts).to_json())?;
    } else {
        let pages: Vec<PathBuf> = carried.judged.iter().map(|judged| results.page_of(judged.claim)).collect();
        output::print(&table::outcome(&carried, &pages, &index, started.elapsed()))?;
    }
    Ok(exit_code(&carried, &request, &folder, &arguments.claims))
}

/// What is left to say, and the exit code.
fn exit_code(carried: &Carried, request: &Request, folder: &Path, names: &[String]) -> ExitCode {
    if carried.was_stopped() {
        let mut again = request.command(&names.join(" "));
        if folder != default_folder(request) {
            again += &format!(" --out {}", folder.display());
        }
        output::tell(&format!("interrupted; what is finished is kept, go on with: {again}"));
        return ExitCode::from(interrupt::INTERRUPTED);
    }
    for unfinished in &carried.unfinished {
        error::warn(&format!("no verdict on {}: {}", unfinished.claim.name, unfinished.why));
    }
    if carried.unfinished.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn report(arguments: &ReportArguments) -> anyhow::Result<ExitCode> {
    let results = Results::read(&arguments.folder)?;
    let carried = results.carried()?;
    let index = results.write_report(&carried)?;
    if arguments.markdown {
        output::print(&markdown(&carried))?;
    } else if arguments.json {
        output::print(&carried.document(results.store().facts()).to_json())?;
    } else {
        output::print(&table::report(&carried, &index))?;
    }
    for unfinished in &carried.unfinished {
        error::warn(&format!("no verdict on {}: {}", unfinished.claim.name, unfinished.why));
    }
    Ok(ExitCode::SUCCESS)
}

/// The claims of these names, each once, in the order in which they are listed.
fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Claim>> {
    let mut wanted = Vec::new();
    for name in names {
        match name.as_str() {
            "all" => wanted.extend(ALL.iter().map(|claim| claim.name)),
            name => wanted.push(named(name)?.name),
        }
    }
    Ok(ALL.iter().copied().filter(|claim| wanted.contains(&claim.name)).collect())
}

fn threads(asked: Option<usize>) -> anyhow::Result<usize> {
    match asked {
        None => Ok(std::thread::available_parallelism().map_or(1, NonZeroUsize::get)),
        Some(threads @ 1..=MOST_THREADS) => Ok(threads),
        Some(found) => {
            let text = format!(
                "expected 1 to {MOST_THREADS} threads, found {found}; leave --threads out for one a core"
            );
            Err(Misuse(text).into())
        }
    }
}

/// `claims/mnist`, or `claims/digits-quick`.
fn default_folder(request: &Request) -> PathBuf {
    let name = match &request.data {
        Source::Folder(path) => {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            absolute.file_name().map_or("folder".to_owned(), |name| name.to_string_lossy().into_owned())
        }
        source => source.to_string(),
    };
    let quick = if request.quick { "-quick" } else { "" };
    Path::new(RESULTS).join(format!("{name}{quick}"))
}
