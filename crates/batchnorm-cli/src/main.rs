//! The `batchnorm` command: arguments, progress, tables, errors. What it does is in `batchnorm-lab`.

#![forbid(unsafe_code)]

mod arguments;
mod error;
mod progress;
mod table;
mod train;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Train(arguments) => train::run(&arguments),
    };
    outcome.unwrap_or_else(|error| error::report(&error))
}
