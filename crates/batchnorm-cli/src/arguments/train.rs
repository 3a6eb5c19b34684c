//! `batchnorm train`.

use std::path::PathBuf;

use batchnorm_lab::Settings;
use batchnorm_lab::data::Source;
use batchnorm_lab::networks::{Activation, Init, Network, Placement};
use batchnorm_lab::train::{Arm, Arms, Decayed, Optimizer, Schedule, Statistics};
use clap::Args;

use super::{DataArguments, names};

pub const ABOUT: &str = "\
Train two networks from the same initial weights on the same batches, without and with batch normalization.

The defaults are the network of the paper's Figure 1 (fully connected, three hidden layers of 100 sigmoids) on the \
UCI handwritten digits (1797 images of 8x8, embedded; licence CC BY 4.0), at a setting at which the twin without \
batch normalization learns too. Prints a table; writes metrics.json, report.html, the trained networks \
(plain.safetensors, batch_norm.safetensors, batch_norm.onnx), and checkpoint.safetensors, from which --resume goes on.";

pub const EXAMPLES: &str = "\
Examples:
  batchnorm train
  batchnorm train --data mnist --network mlp --binarize --steps 50000      the paper's Figure 1
  batchnorm train --data fashion-mnist --network resnet20 --zero-gamma --schedule cosine
  batchnorm train --data photos/ --network vgg --arm batch_norm            a folder of images per class
  batchnorm train --out runs/deep --layers 50,50,50,50,50,50 --activation tanh
  batchnorm train --learning-rate 20      a rate at which the twin without does not train
  batchnorm train --bn-after-activation --statistics population
  batchnorm train --resume runs/deep --steps 20000
  batchnorm train --json --no-progress | jq .runs.batch_norm.steps_to";

/// The learning rate that Adam's authors suggest.
const ADAM_RATE: f64 = 0.001;

/// What a run depends on, which `--resume` takes from the run's folder.
const OF_THE_RUN: [&str; 31] = [
    "data",
    "binarize",
    "standardize",
    "network",
    "layers",
    "width",
    "activation",
    "compare",
    "arm",
    "batch_size",
    "learning_rate",
    "schedule",
    "decay_every",
    "decay_factor",
    "optimizer",
    "sgd_momentum",
    "weight_decay",
    "weight_decay_on",
    "init",
    "init_std",
    "zero_gamma",
    "seed",
    "eval_every",
    "eval_images",
    "bn_before_activation",
    "bn_after_activation",
    "bn_momentum",
    "bn_eps",
    "statistics",
    "checkpoint_every",
    "out",
];

#[derive(Args, Debug)]
pub struct TrainArguments {
    /// What to train on: digits, mnist, fashion-mnist, cifar10, or a folder of IDX files (raw or gz), of CIFAR-10's binary
    /// files, or of images per class [default: digits]
    #[arg(long, value_name = "DATA")]
    data: Option<Source>,

    /// Make pixels 0 or 1: 1 above half of the largest value, as in the paper's Figure 1
    #[arg(long)]
    binarize: bool,

    /// Standardize pixels: per channel, mean 0 and standard deviation 1 over the training images
    #[arg(long)]
    standardize: bool,

    /// What to train [default: mlp]
    #[arg(long, value_parser = names(Network::ALL, Network::name))]
    network: Option<Network>,

    /// Units of each hidden layer of mlp, separated by commas [default: 100,100,100]
    #[arg(long, value_name = "UNITS", value_delimiter = ',', allow_negative_numbers = true)]
    layers: Option<Vec<usize>>,

    /// Channels of the first convolutions, of which the others are multiples [default: by network]
    #[arg(long, value_name = "CHANNELS", allow_negative_numbers = true)]
    width: Option<usize>,

    /// What follows each hidden layer [default: sigmoid for mlp, relu for the others]
    #[arg(long, value_parser = names(Activation::ALL, Activation::name))]
    activation: Option<Activation>,

    /// Train both twins, to compare them; the default
    #[arg(long)]
    compare: bool,

    /// Train one of the twins alone
    #[arg(long, value_parser = names(Arm::ALL, Arm::name), conflicts_with = "compare")]
    arm: Option<Arm>,

    /// Images per step; at least 2, for one image has no variance [default: 60 for mlp, 64 for the others]
    #[arg(long, value_name = "IMAGES", allow_negative_numbers = true)]
    batch_size: Option<usize>,

    /// Steps of the optimizer [default: by data and network; 5000 for mlp on digits]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    steps: Option<usize>,

    /// Learning rate of the first step [default: 0.5 for mlp, 0.02 for the others; 0.001 for adam]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    learning_rate: Option<f64>,

    /// How the learning rate changes [default: constant]
    #[arg(long, value_parser = names(Schedule::ALL, Schedule::name))]
    schedule: Option<Schedule>,

    /// Steps in which the schedules step and exponential multiply the rate by --decay-factor [default: a third of --steps]
    #[arg(long, value_name = "STEPS", allow_negative_numbers = true)]
    decay_every: Option<usize>,

    /// By what the schedules step and exponential multiply the rate [default: 0.1]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    decay_factor: Option<f64>,

    /// Optimizer [default: sgd]
    #[arg(long, value_parser = names(Optimizer::ALL, Optimizer::name))]
    optimizer: Option<Optimizer>,

    /// Momentum of SGD, in [0, 1) [default: 0, plain SGD, for mlp; 0.9 for the others]
    #[arg(long, value_name = "MOMENTUM", allow_negative_numbers = true)]
    sgd_momentum: Option<f64>,

    /// L2 weight decay: this times the parameter is added to its gradient [default: 0]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    weight_decay: Option<f64>,

    /// What weight decay applies to: weights alone, or gamma, beta and biases too [default: weights]
    #[arg(long, value_parser = names(Decayed::ALL, Decayed::name))]
    weight_decay_on: Option<Decayed>,

    /// How weights begin: normally distributed with --init-std, or as He et al. or Glorot and Bengio have it [default:
    /// normal for mlp, he for the others]
    #[arg(long, value_parser = names(Init::ALL, Init::name))]
    init: Option<Init>,

    /// Standard deviation of normally distributed initial weights; asks for --init normal [default: 0.1]
    #[arg(long, value_name = "STD", allow_negative_numbers = true)]
    init_std: Option<f64>,

    /// Begin with gamma 0 in the last layer of each residual block of resnet20
    #[arg(long)]
    zero_gamma: bool,

    /// Seed of initial weights and batches; the split into training and test images does not depend on it [default: 1]
    #[arg(long)]
    seed: Option<u64>,

    /// Steps from one evaluation on test images to the next [default: by data and network; 10 on digits]
    #[arg(long, value_name = "STEPS", allow_negative_numbers = true)]
    eval_every: Option<usize>,

    /// Test images that evaluations on the way look at, from the first on; the final one looks at all [default: 10000 for
    /// mlp, 1000 for the others]
    #[arg(long, value_name = "IMAGES", allow_negative_numbers = true)]
    eval_images: Option<usize>,

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

    /// Statistics of the final evaluation and of the saved model: the running averages, or the paper's Algorithm 2 over
    /// training images [default: running]
    #[arg(long, value_parser = names(Statistics::ALL, Statistics::name))]
    statistics: Option<Statistics>,

    /// Threads to compute on; results do not depend on it [default: one for each core]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    threads: Option<usize>,

    /// Steps from one checkpoint to the next; what a run loses at most when it is killed
    #[arg(long, value_name = "STEPS", default_value_t = 500, allow_negative_numbers = true)]
    pub checkpoint_every: usize,

    /// Go on with the run in this folder, with its settings; only --steps and --threads may be given anew
    #[arg(long, value_name = "DIR", conflicts_with_all = OF_THE_RUN)]
    pub resume: Option<PathBuf>,

    /// Folder for what the run writes, new or empty [default: runs/<time>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Print metrics.json on the standard output instead of the table
    #[arg(long)]
    pub json: bool,

    /// Show no progress; there is none anyway unless the standard error is a terminal
    #[arg(long)]
    pub no_progress: bool,

    #[command(flatten)]
    pub access: DataArguments,
}

impl TrainArguments {
    /// The number of steps, where it was given.
    pub fn steps(&self) -> Option<usize> {
        self.steps
    }

    /// The number of threads, where it was given.
    pub fn threads(&self) -> Option<usize> {
        self.threads
    }

    /// An option that says nothing beside the others, and why: it was probably meant to.
    pub fn idle_option(&self) -> Option<String> {
        let settings = self.settings();
        let idle = |given: bool, option: &str, why: String| given.then(|| format!("`{option}` {why}"));
        let init = settings.init;
        let schedule = settings.schedule;
        idle(
            self.init_std.is_some() && init != Init::Normal,
            "--init-std",
            format!("applies to normally distributed weights, and `--init {init}` was asked for; leave one out"),
        )
        .or_else(|| {
            let decay = self.decay_every.is_some() || self.decay_factor.is_some();
            let why = format!(
                "applies to the schedules `step` and `exponential`, and the schedule is `{schedule}`; ask for one with \
                 `--schedule`"
            );
            idle(decay && !schedule.decays(), "--decay-every and --decay-factor", why)
        })
        .or_else(|| {
            let why = "applies where there is weight decay; ask for some with `--weight-decay`".to_owned();
            idle(self.weight_decay_on.is_some() && settings.weight_decay == 0.0, "--weight-decay-on", why)
        })
        .or_else(|| {
            let why = "needs the twin with batch normalization, and `--arm plain` was asked for".to_owned();
            idle(self.zero_gamma && settings.arms == Arms::Plain, "--zero-gamma", why)
        })
    }

    /// The defaults of data set and network, with what was asked for in their place.
    pub fn settings(&self) -> Settings {
        let data = self.data.clone().unwrap_or(Source::Digits);
        let defaults = Settings::defaults(data, self.network.unwrap_or(Network::Mlp));
        let steps = self.steps.unwrap_or(defaults.steps);
        let schedule = self.schedule.unwrap_or(defaults.schedule);
        let optimizer = self.optimizer.unwrap_or(defaults.optimizer);
        let init = match (self.init, self.init_std) {
            (Some(init), _) => init,
            (None, Some(_)) => Init::Normal,
            (None, None) => defaults.init,
        };
        Settings {
            binarize: self.binarize,
            standardize: self.standardize,
            layers: self.layers.clone().unwrap_or(defaults.layers),
            width: self.width.unwrap_or(defaults.width),
            activation: self.activation.unwrap_or(defaults.activation),
            arms: match self.arm {
                None => Arms::Both,
                Some(Arm::Plain) => Arms::Plain,
                Some(Arm::BatchNorm) => Arms::BatchNorm,
            },
            batch_size: self.batch_size.unwrap_or(defaults.batch_size),
            steps,
            learning_rate: self.learning_rate.unwrap_or(match optimizer {
                Optimizer::Sgd => defaults.learning_rate,
                Optimizer::Adam => ADAM_RATE,
            }),
            schedule,
            decay_every: match schedule.decays() {
                true => self.decay_every.unwrap_or_else(|| (steps / 3).max(1)),
                false => 0,
            },
            decay_factor: self.decay_factor.unwrap_or(defaults.decay_factor),
            optimizer,
            sgd_momentum: self.sgd_momentum.unwrap_or(match optimizer {
                Optimizer::Sgd => defaults.sgd_momentum,
                Optimizer::Adam => 0.0,
            }),
            weight_decay: self.weight_decay.unwrap_or(defaults.weight_decay),
            decayed: self.weight_decay_on.unwrap_or(defaults.decayed),
            init,
            init_std: self.init_std.unwrap_or(defaults.init_std),
            zero_gamma: self.zero_gamma,
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
            eval_images: self.eval_images.unwrap_or(defaults.eval_images),
            seed: self.seed.unwrap_or(defaults.seed),
            threads: self.threads.unwrap_or(defaults.threads),
            data: defaults.data,
            network: defaults.network,
            ranks: defaults.ranks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use batchnorm_lab::report;
    use clap::Parser;

    fn arguments(line: &str) -> TrainArguments {
        match Arguments::try_parse_from(line.split(' ')).unwrap().command {
            Command::Train(arguments) => *arguments,
            other => panic!("{other:?}"),
        }
    }

    fn parse(line: &str) -> Settings {
        arguments(line).settings()
    }

    #[test]
    fn no_options_are_the_defaults() {
        assert_eq!(parse("batchnorm train"), Settings::defaults(Source::Digits, Network::Mlp));
        assert_eq!(parse("batchnorm train --network vgg"), Settings::defaults(Source::Digits, Network::Vgg));
    }

    #[test]
    fn the_reports_command_repeats_the_settings() {
        let odd = "batchnorm train --layers 7,5 --activation tanh --batch-size 9 --steps 77 --learning-rate 0.3 \
                   --sgd-momentum 0.9 --init-std 1e-3 --seed 18446744073709551615 --eval-every 7 --eval-images 11 \
                   --bn-after-activation --bn-momentum 0.01 --bn-eps 0.001 --statistics population --threads 3 \
                   --binarize --arm batch_norm --weight-decay 1e-4 --weight-decay-on all";
        let deep = "batchnorm train --data cifar10 --network resnet20 --zero-gamma --width 4 --schedule step \
                    --decay-every 5 --decay-factor 0.3 --standardize --arm plain --init xavier";
        for line in [
            "batchnorm train",
            "batchnorm train --optimizer adam --learning-rate 1e-30",
            "batchnorm train --optimizer adam --network vgg",
            "batchnorm train --network inception --data some/folder --schedule cosine",
            odd,
            deep,
        ] {
            let settings = parse(line);
            assert_eq!(parse(&report::command(&settings)), settings);
        }
    }

    #[test]
    fn a_run_shorter_than_the_default_interval_is_evaluated_at_its_end() {
        assert_eq!(parse("batchnorm train --steps 3").eval_every, 3);
    }

    #[test]
    fn a_run_that_goes_on_takes_steps_and_threads_alone() {
        let line = arguments("batchnorm train --resume runs/x --steps 9 --threads 1 --json --no-progress");
        assert_eq!((line.steps(), line.threads()), (Some(9), Some(1)));
        for option in ["--seed 3", "--data digits", "--arm plain", "--binarize", "--out x", "--bn-eps 1"] {
            let line = format!("batchnorm train --resume runs/x {option}");
            let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
            assert!(error.to_string().contains("--resume"), "{error}");
        }
    }

    #[test]
    fn options_that_would_say_nothing_are_told() {
        for line in [
            "--init he --init-std 0.3",
            "--decay-every 3",
            "--schedule cosine --decay-factor 0.5",
            "--weight-decay-on all",
            "--network resnet20 --zero-gamma --arm plain",
        ] {
            assert!(arguments(&format!("batchnorm train {line}")).idle_option().is_some(), "{line}");
        }
        assert_eq!(arguments("batchnorm train --init-std 0.3").idle_option(), None);
    }
}
