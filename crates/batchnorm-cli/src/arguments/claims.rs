//! `batchnorm claims`.

use std::path::PathBuf;

use batchnorm_lab::data::Source;
use clap::{Args, Subcommand};

use super::DataArguments;

pub const ABOUT: &str = "\
Put the claims made for batch normalization to the test: each is an experiment over several seeds with a verdict.

Without a subcommand: lists the claims, what each measures, and about how long it takes. `run` carries experiments out and \
writes a report; whatever is finished is kept and never repeated. `report` writes the pages again from stored results.";

pub const EXAMPLES: &str = "\
Examples:
  batchnorm claims                                  the list
  batchnorm claims run all --quick                  every claim on the embedded digits, 3 seeds, in minutes
  batchnorm claims run figure1 learning-rate --quick
  batchnorm claims run learning-rate init --data mnist --seeds 5
  batchnorm claims run figure3 --data cifar10
  batchnorm claims report claims/digits-quick       the pages again";

pub const RUN_ABOUT: &str = "\
Carry out the experiments of one or more claims, or of `all`, and write a report.

Every arm of a comparison starts from the same weights and sees the same batches, seed by seed, and has its own best learning \
rate, chosen on held-out training images, unless the claim is about one rate for both. The verdict follows from a 95 % interval \
over the seeds by a rule that is part of the claim. Interrupted at any moment, the same command goes on where it was; \
the same seeds give the same bits for any number of threads.

Writes results.jsonl (every run), claims.json, index.html and a page for each claim.";

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ClaimsArguments {
    #[command(subcommand)]
    pub command: Option<ClaimsCommand>,

    /// Print the list as a JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum ClaimsCommand {
    /// Carry out experiments, and judge
    #[command(long_about = RUN_ABOUT, after_help = EXAMPLES)]
    Run(RunArguments),
    /// Write the report again from stored results
    Report(ReportArguments),
    /// For the program's own use: do work whose memory is measured
    #[command(hide = true)]
    Measure {
        /// The work
        work: String,
    },
}

#[derive(Args, Debug)]
pub struct RunArguments {
    /// The claims, by name, or `all`
    #[arg(required = true, value_name = "CLAIM")]
    pub claims: Vec<String>,

    /// Short runs and three seeds: minutes, and wider intervals
    #[arg(long)]
    pub quick: bool,

    /// Data set: digits (embedded), mnist, fashion-mnist, cifar10, or a folder
    #[arg(long, default_value = "digits")]
    pub data: Source,

    /// Seeds 1, 2, ...; of fewer than 3 there is no verdict [default: 5, with --quick 3]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub seeds: Option<usize>,

    /// Experiments side by side [default: one for each core]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub threads: Option<usize>,

    /// Folder of the results, new or to go on with [default: claims/ and the name of the data set]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Print claims.json instead of a table
    #[arg(long)]
    pub json: bool,

    /// Show no progress; there is none anyway unless the standard error is a terminal
    #[arg(long)]
    pub no_progress: bool,

    #[command(flatten)]
    pub access: DataArguments,
}

#[derive(Args, Debug)]
pub struct ReportArguments {
    /// The folder of the results
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,

    /// Print claims.json instead of a table
    #[arg(long)]
    pub json: bool,

    /// Print the verdicts as Markdown instead of a table
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}
