//! `batchnorm train`.

mod idle;

use std::path::PathBuf;

use batchnorm_lab::Settings;
use batchnorm_lab::data::Source;
use batchnorm_lab::networks::{Activation, Init, Network, Placement};
use batchnorm_lab::train::{Arm, Decayed, Optimizer, Schedule, Statistics, TrainedPart};
use clap::{Args, ValueEnum};

use super::{DataArguments, names};

pub const ABOUT: &str = "\
Train two networks from the same initial weights on the same batches, without and with batch normalization.

The defaults are the network of the paper's Figure 1 (fully connected, three hidden layers of 100 sigmoids) on the \
UCI handwritten digits (1797 images of 8x8, embedded; licence CC BY 4.0), at a setting at which the twin without \
batch normalization learns too. --norm and --compare take other normalizations, and more than two networks. Prints a table; writes metrics.json, report.html, the trained networks \
(plain.safetensors, batch_norm.safetensors, batch_norm.onnx; ghost_16.safetensors and so on), and checkpoint.safetensors, from which --resume goes on.";

pub const EXAMPLES: &str = "\
Examples:
  batchnorm train
  batchnorm train --data mnist --network mlp --binarize --steps 50000      the paper's Figure 1
  batchnorm train --data fashion-mnist --network resnet20 --zero-gamma --schedule cosine
  batchnorm train --data photos/ --network vgg --arm batch_norm            a folder of images per class
  batchnorm train --out runs/deep --layers 50,50,50,50,50,50 --activation tanh
  batchnorm train --learning-rate 20      a rate at which the twin without does not train
  batchnorm train --bn-after-activation --statistics population
  batchnorm train --norm group:10                           group normalization beside the plain network
  batchnorm train --compare none,batch,ghost:16,renorm      any number of networks, on the same batches
  batchnorm train --network resnet20 --compare batch,group:4,layer,instance --batch-size 4
  batchnorm train --compare batch,frozen-after:500 --steps 2000
  batchnorm train --resume runs/deep --steps 20000
  batchnorm train --json --no-progress | jq .runs.batch_norm.steps_to";

/// The learning rate that Adam's authors suggest.
const ADAM_RATE: f64 = 0.001;

/// What a run depends on, which `--resume` takes from the run's folder.
const OF_THE_RUN: [&str; 37] = [
    "data",
    "binarize",
    "standardize",
    "network",
    "layers",
    "width",
    "activation",
    "compare",
    "arm",
    "norm",
    "renorm_steps",
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
    "skips",
    "dropout",
    "train_only",
    "seed",
    "eval_every",
    "eval_images",
    "bn_before_activation",
    "bn_after_activation",
    "bn_momentum",
    "bn_eps",
    "statistics",
    "no_gap",
    "checkpoint_every",
    "out",
];

/// What is compared without being said.
const TWINS: &str = "none,batch";

/// The twins, of which one can be trained alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Twin {
    /// The one that is not normalized
    #[value(name = "plain")]
    Plain,
    /// The one that is normalized, as --norm says
    #[value(name = "batch_norm")]
    BatchNorm,
}

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

    /// How the normalized twin is normalized: batch, ghost:SIZE (ghost batches of SIZE images), renorm, group:GROUPS,
    /// layer, instance, frozen-after:STEP (batch, by its running statistics from then on), or none, to train the plain
    /// twin alone [default: batch]
    #[arg(long, value_name = "NORM", conflicts_with = "compare")]
    norm: Option<Arm>,

    /// Train one network for each of these, as for --norm, separated by commas [default: none,batch]
    #[arg(long, value_name = "NORMS", value_delimiter = ',', num_args = 0..=1, default_missing_value = TWINS)]
    compare: Option<Vec<Arm>>,

    /// Train one of the twins alone; batch_norm is the one that --norm says
    #[arg(long, value_enum, conflicts_with = "compare")]
    arm: Option<Twin>,

    /// Steps of the run that renorm's limits are made for; they grow as in its paper, whose run had 160 000 [default: --steps]
    #[arg(long, value_name = "STEPS", allow_negative_numbers = true)]
    renorm_steps: Option<usize>,

    /// Images per step; at least 2 where the batch normalizes, for one image has no variance [default: 60 for mlp, 64 for
    /// the others]
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

    /// Add each hidden layer of mlp that is as wide as its input to it
    #[arg(long)]
    skips: bool,

    /// Probability with which dropout sets a value behind a hidden linear layer (mlp, lenet, vgg) to 0 in training, in [0, 1)
    /// [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    dropout: Option<f64>,

    /// What is trained: everything, gamma and beta of normalized networks alone, or the last linear map alone; the rest stays
    /// as it began [default: all]
    #[arg(long, value_parser = names(TrainedPart::ALL, TrainedPart::name))]
    train_only: Option<TrainedPart>,

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

    /// Score the final network with the statistics asked for only (--statistics; running averages by default), rather than
    /// with every kind of statistics: shorter
    #[arg(long)]
    no_gap: bool,

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

    /// What is trained.
    fn norms(&self) -> Vec<Arm> {
        let norm = self.norm.unwrap_or(Arm::BatchNorm);
        match (&self.compare, self.arm) {
            (Some(norms), _) => norms.clone(),
            (None, Some(Twin::Plain)) => vec![Arm::Plain],
            (None, Some(Twin::BatchNorm)) => vec![norm],
            (None, None) if norm == Arm::Plain => vec![Arm::Plain],
            (None, None) => vec![Arm::Plain, norm],
        }
    }

    /// The defaults of data set and network, with what was asked for in their place.
    pub fn settings(&self) -> Settings {
        let data = self.data.clone().unwrap_or(Source::Digits);
        let defaults = Settings::defaults(data, self.network.unwrap_or(Network::Mlp));
        let steps = self.steps.unwrap_or(defaults.steps);
        let schedule = self.schedule.unwrap_or(defaults.schedule);
        let optimizer = self.optimizer.unwrap_or(defaults.optimizer);
        let norms = self.norms();
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
            renorm_steps: norms.contains(&Arm::Renorm).then(|| self.renorm_steps.unwrap_or(steps)),
            norms,
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
            skips: self.skips,
            dropout: self.dropout.unwrap_or(defaults.dropout),
            trained: self.train_only.unwrap_or(defaults.trained),
            gap: !self.no_gap,
            ranks: defaults.ranks,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::arguments::{Arguments, Command};
    use batchnorm_lab::report;
    use clap::Parser;

    pub(super) fn arguments(line: &str) -> TrainArguments {
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
        let all = "batchnorm train --compare none,batch,ghost:16,renorm,group:8,layer,instance,frozen-after:500 \
                   --renorm-steps 9000";
        let deep = "batchnorm train --data cifar10 --network resnet20 --zero-gamma --width 4 --schedule step \
                    --decay-every 5 --decay-factor 0.3 --standardize --arm plain --init xavier";
        for line in [
            "batchnorm train",
            "batchnorm train --optimizer adam --learning-rate 1e-30",
            "batchnorm train --optimizer adam --network vgg",
            "batchnorm train --network inception --data some/folder --schedule cosine",
            "batchnorm train --compare",
            "batchnorm train --norm ghost:16",
            "batchnorm train --norm renorm --steps 700",
            "batchnorm train --norm none",
            "batchnorm train --norm layer --arm batch_norm",
            "batchnorm train --compare batch,none",
            "batchnorm train --skips --dropout 0.25 --no-gap --train-only output",
            "batchnorm train --network vgg --arm batch_norm --train-only affine --dropout 0.5",
            odd,
            deep,
            all,
        ] {
            let settings = parse(line);
            assert_eq!(parse(&report::command(&settings)), settings);
        }
    }

    #[test]
    fn what_is_trained_is_said_in_one_of_three_ways() {
        let norms = |line: &str| parse(&format!("batchnorm train {line}")).norms;
        let ghost = Arm::Ghost { size: 16 };
        assert_eq!(norms("--compare"), [Arm::Plain, Arm::BatchNorm]);
        assert_eq!(norms("--norm ghost:16"), [Arm::Plain, ghost]);
        assert_eq!(norms("--norm ghost:16 --arm batch_norm"), [ghost]);
        assert_eq!(norms("--arm plain"), [Arm::Plain]);
        assert_eq!(norms("--compare layer,none,ghost:16"), [Arm::LayerNorm, Arm::Plain, ghost]);
        assert_eq!(parse("batchnorm train --steps 700 --norm renorm").renorm_steps, Some(700));
        assert_eq!(parse("batchnorm train --steps 700").renorm_steps, None);
    }

    #[test]
    fn a_run_shorter_than_the_default_interval_is_evaluated_at_its_end() {
        assert_eq!(parse("batchnorm train --steps 3").eval_every, 3);
    }

    #[test]
    fn a_run_that_goes_on_takes_steps_and_threads_alone() {
        let line = arguments("batchnorm train --resume runs/x --steps 9 --threads 1 --json --no-progress");
        assert_eq!((line.steps(), line.threads()), (Some(9), Some(1)));
        for option in [
            "--norm layer",
            "--compare none",
            "--renorm-steps 3",
            "--skips",
            "--dropout 0.5",
            "--train-only output",
            "--no-gap",
            "--seed 3",
            "--data digits",
            "--arm plain",
            "--binarize",
            "--out x",
            "--bn-eps 1",
        ] {
            let line = format!("batchnorm train --resume runs/x {option}");
            let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
            assert!(error.to_string().contains("--resume"), "{error}");
        }
    }
}
