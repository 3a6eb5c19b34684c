//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use batchnorm_lab::train::{Optimizer, Statistics};
use batchnorm_lab::{Activation, Data, Network, Placement, Settings};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

const ABOUT: &str = "Batch normalization, measured: train with and without it, and see the difference.";

const EXAMPLES: &str = "\
Examples:
  batchnorm train                      the paper's Figure 1 on the embedded digits, in seconds
  batchnorm train --activation relu --learning-rate 0.1
  batchnorm train --help               all options";

const EXIT_CODES: &str = "\
Exit codes:
  0  done, even if one of the twins diverged: that is a result
  1  both twins diverged
  2  wrong options, or a folder that cannot be used";

const TRAIN_ABOUT: &str = "\
Train two networks from the same initial weights on the same batches, without and with batch normalization.

The defaults are the network of the paper's Figure 1 (fully connected, three hidden layers of 100 sigmoids) on the \
UCI handwritten digits (1797 images of 8x8, embedded; licence CC BY 4.0), at a setting at which the twin without \
batch normalization learns too. Prints a table; writes metrics.json and report.html.";

const TRAIN_EXAMPLES: &str = "\
Examples:
  batchnorm train
  batchnorm train --out runs/deep --layers 50,50,50,50,50,50 --activation tanh
  batchnorm train --learning-rate 20      a rate at which the twin without does not train
  batchnorm train --bn-after-activation --statistics population
  batchnorm train --json --no-progress | jq .runs.batch_norm.steps_to";

#[derive(Debug, Parser)]
#[command(name = "batchnorm", version, about = ABOUT, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train two networks, without and with batch normalization, and compare them
    #[command(long_about = TRAIN_ABOUT, after_help = TRAIN_EXAMPLES)]
    Train(Box<TrainArguments>),
}

#[derive(Args, Debug)]
pub struct TrainArguments {
    /// What to train on
    #[arg(long, default_value = Data::Digits.name(), value_parser = names(Data::ALL, Data::name))]
    data: Data,

    /// What to train
    #[arg(long, default_value = Network::Mlp.name(), value_parser = names(Network::ALL, Network::name))]
    network: Network,

    /// Units of each hidden layer, separated by commas [default: 100,100,100]
    #[arg(long, value_name = "UNITS", value_delimiter = ',', allow_negative_numbers = true)]
    layers: Option<Vec<usize>>,

    /// What follows each hidden layer [default: sigmoid]
    #[arg(long, value_parser = names(Activation::ALL, Activation::name))]
    activation: Option<Activation>,

    /// Images per step; at least 2, for one image has no variance [default: 60]
    #[arg(long, value_name = "IMAGES", allow_negative_numbers = true)]
    batch_size: Option<usize>,

    /// Steps of the optimizer [default on digits: 5000]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    steps: Option<usize>,

    /// Learning rate [default on digits: 0.5]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    learning_rate: Option<f64>,

    /// Optimizer [default: sgd]
    #[arg(long, value_parser = names(Optimizer::ALL, Optimizer::name))]
    optimizer: Option<Optimizer>,

    /// Momentum of SGD, in [0, 1) [default: 0, plain SGD]
    #[arg(long, value_name = "MOMENTUM", allow_negative_numbers = true)]
    sgd_momentum: Option<f64>,

    /// Standard deviation of the normally distributed initial weights [default on digits: 0.1]
    #[arg(long, value_name = "STD", allow_negative_numbers = true)]
    init_std: Option<f64>,

    /// Seed of initial weights and batches; the split into training and test images does not depend on it [default: 1]
    #[arg(long)]
    seed: Option<u64>,

    /// Steps from one evaluation on the test images to the next [default: 10]
    #[arg(long, value_name = "STEPS", allow_negative_numbers = true)]
    eval_every: Option<usize>,

    /// Batch normalization between linear map and activation, as in the paper; the default
    #[arg(long, conflicts_with = "bn_after_activation")]
    bn_before_activation: bool,

    /// Batch normalization after the activation
    #[arg(long)]
    bn_after_activation: bool,

    /// Weight of the NEW value in the running statistics, PyTorch's meaning; Keras's 0.99 is 0.01 here [default:
    /// the engine's, PyTorch's]
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true)]
    bn_momentum: Option<f64>,

    /// What is added to the variance [default: the engine's, PyTorch's]
    #[arg(long, value_name = "EPS", allow_negative_numbers = true)]
    bn_eps: Option<f64>,

    /// Statistics of the final evaluation: the running averages, or the paper's Algorithm 2 over the training
    /// batches [default: running]
    #[arg(long, value_parser = names(Statistics::ALL, Statistics::name))]
    statistics: Option<Statistics>,

    /// Threads to compute on; results do not depend on it [default: one for each core]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    threads: Option<usize>,

    /// Folder for metrics.json and report.html, new or empty [default: runs/<time>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Print metrics.json on the standard output instead of the table
    #[arg(long)]
    pub json: bool,

    /// Show no progress; there is none anyway unless the standard error is a terminal
    #[arg(long)]
    pub no_progress: bool,
}

impl TrainArguments {
    /// The data set's defaults, with what was asked for in their place.
    pub fn settings(&self) -> Settings {
        let defaults = Settings::defaults(self.data);
        let steps = self.steps.unwrap_or(defaults.steps);
        Settings {
            data: self.data,
            network: self.network,
            layers: self.layers.clone().unwrap_or(defaults.layers),
            activation: self.activation.unwrap_or(defaults.activation),
            batch_size: self.batch_size.unwrap_or(defaults.batch_size),
            steps,
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            optimizer: self.optimizer.unwrap_or(defaults.optimizer),
            sgd_momentum: self.sgd_momentum.unwrap_or(defaults.sgd_momentum),
            init_std: self.init_std.unwrap_or(defaults.init_std),
            placement: match (self.bn_before_activation, self.bn_after_activation) {
                (true, _) => Placement::BeforeActivation,
                (_, true) => Placement::AfterActivation,
                (false, false) => defaults.placement,
            },
            bn_momentum: self.bn_momentum.unwrap_or(defaults.bn_momentum),
            bn_eps: self.bn_eps.unwrap_or(defaults.bn_eps),
            statistics: self.statistics.unwrap_or(defaults.statistics),
            // A run shorter than the default interval is evaluated at its end.
            eval_every: self.eval_every.unwrap_or_else(|| defaults.eval_every.min(steps.max(1))),
            seed: self.seed.unwrap_or(defaults.seed),
            threads: self.threads.unwrap_or(defaults.threads),
            ranks: defaults.ranks,
        }
    }
}

/// Parses one of the lab's names; clap lists the others where there is no such name.
fn names<T>(all: &'static [T], name: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + FromStr + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|&choice| name(choice)))
        .map(|found| found.parse().ok().expect("the lab knows its own names"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use batchnorm_lab::report;

    fn parse(line: &str) -> Settings {
        let Command::Train(arguments) = Arguments::try_parse_from(line.split(' ')).unwrap().command;
        arguments.settings()
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_options_are_the_defaults() {
        assert_eq!(parse("batchnorm train"), Settings::defaults(Data::Digits));
    }

    #[test]
    fn the_reports_command_repeats_the_settings() {
        let odd = "batchnorm train --layers 7,5 --activation tanh --batch-size 9 --steps 77 --learning-rate 0.3 \
                   --sgd-momentum 0.9 --init-std 1e-3 --seed 18446744073709551615 --eval-every 7 \
                   --bn-after-activation --bn-momentum 0.01 --bn-eps 0.001 --statistics population --threads 3";
        for line in ["batchnorm train", odd, "batchnorm train --optimizer adam --learning-rate 1e-30"] {
            let settings = parse(line);
            assert_eq!(parse(&report::command(&settings)), settings);
        }
    }

    #[test]
    fn a_run_shorter_than_the_default_interval_is_evaluated_at_its_end() {
        assert_eq!(parse("batchnorm train --steps 3").eval_every, 3);
    }
}
