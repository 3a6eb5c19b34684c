//! `batchnorm train`.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anstyle::Style;
use batchnorm_lab::{RunFolder, report, train};

use crate::arguments::TrainArguments;
use crate::progress::Progress;
use crate::{error, table};

/// Where runs go that were given no folder.
const RUNS: &str = "runs";

pub fn run(arguments: &TrainArguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.settings();
    settings.validate(settings.data.load().train.len())?;
    let folder = match &arguments.out {
        Some(path) => RunFolder::create(path)?,
        None => RunFolder::create_by_time(Path::new(RUNS))?,
    };
    for warning in settings.warnings() {
        error::warn(&warning);
    }

    let metrics = train(&settings, &mut Progress::new(!arguments.no_progress))?;

    let json = metrics.to_json();
    let metrics_path = folder.write("metrics.json", &json)?;
    let report_path = folder.write("report.html", &report::page(&metrics))?;
    let text = if arguments.json {
        json
    } else {
        let bold = Style::new().bold();
        format!(
            "{bold}{}{bold:#}\n\n{}\n\nmetrics: {}\nreport:  {}\n",
            report::headline(&metrics),
            table::results(&report::rows(&metrics)),
            metrics_path.display(),
            report_path.display()
        )
    };
    print(&text)?;
    Ok(if metrics.runs.both_diverged() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// Prints on the standard output, without colours where it has none. A reader that has gone away is no error.
fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
