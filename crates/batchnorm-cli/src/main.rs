//! The `batchnorm` command: arguments, progress, tables, errors. What it does is in `batchnorm-lab`.

#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod check;
mod claims;
mod convert;
mod data;
mod error;
mod evaluate;
mod fold;
mod inspect;
mod interrupt;
mod memory;
mod output;
mod progress;
mod recalibrate;
mod table;
mod train;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Train(arguments) => train::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Claims(arguments) => claims::run(&arguments),
        Command::Fold(arguments) => fold::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Recalibrate(arguments) => recalibrate::run(&arguments),
    };
    outcome.unwrap_or_else(|error| error::report(&error))
}
