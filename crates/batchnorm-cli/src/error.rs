//! Errors and warnings on the standard error: what happened, its causes, the way out.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use batchnorm_lab::RunFolderError;
use batchnorm_lab::train::{SettingsError, TrainError};

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const BOLD: Style = Style::new().bold();

/// The exit code for wrong options, unreadable input and folders that cannot be used; clap has the same.
const MISUSE: u8 = 2;

/// Reports an error, in the form in which clap reports its own.
pub fn report(error: &anyhow::Error) -> ExitCode {
    anstream::eprintln!("{RED}error:{RED:#} {error}");
    for cause in error.chain().skip(1) {
        anstream::eprintln!("  caused by: {cause}");
    }
    anstream::eprintln!("\n{BOLD}help:{BOLD:#} {}", way_out(error));
    ExitCode::from(MISUSE)
}

/// Warns of something allowed but rarely meant.
pub fn warn(text: &str) {
    anstream::eprintln!("{YELLOW}warning:{YELLOW:#} {text}");
}

fn way_out(error: &anyhow::Error) -> String {
    if let Some(error) = error.downcast_ref::<RunFolderError>() {
        return match error {
            RunFolderError::NotEmpty { .. } => {
                "name a new or empty folder with `--out DIR`, or leave `--out` out"
            }
            _ => "name a folder that you may write to with `--out DIR`",
        }
        .to_owned();
    }
    let settings = error.downcast_ref::<SettingsError>();
    let settings = settings.or_else(|| match error.downcast_ref::<TrainError>() {
        Some(TrainError::Settings(error)) => Some(error),
        _ => None,
    });
    match settings {
        Some(error) => {
            let option = error.setting().replace('_', "-");
            format!("set it with `--{option}`; `batchnorm train --help` lists all options")
        }
        None => "`batchnorm train --help` lists all options".to_owned(),
    }
}
