//! The command that repeats a run.

use std::fmt::Display;
use std::path::Path;

use crate::networks::{Init, Network, Placement};
use crate::train::{Arm, Optimizer, Settings, TrainedPart};

/// The command that repeats a run: every option that applies is spelled out, and fit for a POSIX shell.
pub fn command(settings: &Settings) -> String {
    words(settings).join(" ")
}

/// The command's parts, each an option with its value: where a line may break.
pub(super) fn words(settings: &Settings) -> Vec<String> {
    let word = |(name, value): (&str, Option<String>)| match value {
        Some(value) => format!("--{name} {}", quoted(&value)),
        None => format!("--{name}"),
    };
    std::iter::once("batchnorm train".to_owned()).chain(options(settings).into_iter().map(word)).collect()
}

/// The options that apply; a flag has no value.
pub(super) fn options(settings: &Settings) -> Vec<(&'static str, Option<String>)> {
    let mut options = Vec::new();
    let mut option = |name, value: &dyn Display| options.push((name, Some(value.to_string())));
    let data = settings.data.to_string();
    // A folder must not look like an option.
    let here = if data.starts_with('-') { "./" } else { "" };
    option("data", &format_args!("{here}{data}"));
    option("network", &settings.network);
    if settings.network == Network::Mlp {
        let layers: Vec<String> = settings.layers.iter().map(ToString::to_string).collect();
        option("layers", &layers.join(","));
    } else {
        option("width", &settings.width);
    }
    option("activation", &settings.activation);
    match settings.norms[..] {
        [Arm::Plain, Arm::BatchNorm] => {}
        [arm @ (Arm::Plain | Arm::BatchNorm)] => option("arm", &arm.name()),
        [Arm::Plain, arm] => option("norm", &arm),
        _ => {
            let norms: Vec<String> = settings.norms.iter().map(ToString::to_string).collect();
            option("compare", &norms.join(","));
        }
    }
    if let Some(steps) = settings.renorm_steps {
        option("renorm-steps", &steps);
    }
    option("batch-size", &settings.batch_size);
    option("steps", &settings.steps);
    option("learning-rate", &settings.learning_rate);
    option("schedule", &settings.schedule);
    if settings.schedule.decays() {
        option("decay-every", &settings.decay_every);
        option("decay-factor", &settings.decay_factor);
    }
    option("optimizer", &settings.optimizer);
    if settings.optimizer == Optimizer::Sgd {
        option("sgd-momentum", &settings.sgd_momentum);
    }
    option("weight-decay", &settings.weight_decay);
    if settings.weight_decay > 0.0 {
        option("weight-decay-on", &settings.decayed);
    }
    if settings.dropout > 0.0 {
        option("dropout", &settings.dropout);
    }
    if settings.trained != TrainedPart::All {
        option("train-only", &settings.trained);
    }
    option("init", &settings.init);
    if settings.init == Init::Normal {
        option("init-std", &settings.init_std);
    }
    option("bn-momentum", &settings.bn_momentum);
    option("bn-eps", &settings.bn_eps);
    option("statistics", &settings.statistics);
    option("eval-every", &settings.eval_every);
    option("eval-images", &settings.eval_images);
    option("seed", &settings.seed);
    option("threads", &settings.threads);
    let flags = [
        (settings.binarize, "binarize"),
        (settings.standardize, "standardize"),
        (settings.zero_gamma, "zero-gamma"),
        (settings.skips, "skips"),
        (!settings.gap, "no-gap"),
        (settings.placement == Placement::BeforeActivation, "bn-before-activation"),
        (settings.placement == Placement::AfterActivation, "bn-after-activation"),
    ];
    options.extend(flags.into_iter().filter(|(given, _)| *given).map(|(_, name)| (name, None)));
    options
}

/// The command that takes the run in a folder up again.
pub fn resume(folder: &Path) -> String {
    format!("batchnorm train --resume {}", quoted(&folder.display().to_string()))
}

/// A word that a POSIX shell reads back as it is.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Source;
    use crate::train::Schedule;

    fn defaults(network: Network) -> Settings {
        Settings { threads: 2, ..Settings::defaults(Source::Digits, network) }
    }

    #[test]
    fn every_option_that_applies_is_spelled_out() {
        assert_eq!(
            command(&defaults(Network::Mlp)),
            "batchnorm train --data digits --network mlp --layers 100,100,100 --activation sigmoid --batch-size 60 \
             --steps 5000 --learning-rate 0.5 --schedule constant --optimizer sgd --sgd-momentum 0 --weight-decay 0 \
             --init normal --init-std 0.1 --bn-momentum 0.1 --bn-eps 0.00001 --statistics running --eval-every 10 \
             --eval-images 10000 --seed 1 --threads 2 --bn-before-activation"
        );
    }

    #[test]
    fn options_that_say_nothing_are_left_out() {
        let settings = Settings {
            optimizer: Optimizer::Adam,
            init: Init::He,
            norms: vec![Arm::BatchNorm],
            schedule: Schedule::Step,
            weight_decay: 1e-4,
            binarize: true,
            zero_gamma: true,
            dropout: 0.25,
            trained: TrainedPart::Affine,
            skips: true,
            gap: false,
            placement: Placement::AfterActivation,
            ..defaults(Network::Resnet20)
        };
        let command = command(&settings);
        for there in [
            "--width",
            "--arm batch_norm",
            "--decay-every",
            "--decay-factor",
            "--weight-decay 0.0001 --weight-decay-on weights",
            "--dropout 0.25 --train-only affine",
            "--binarize --zero-gamma --skips --no-gap --bn-after-activation",
        ] {
            assert!(command.contains(there), "{there}: {command}");
        }
        for absent in ["--layers", "--sgd-momentum", "--init-std", "--standardize", "--bn-before"] {
            assert!(!command.contains(absent), "{absent}: {command}");
        }
    }

    #[test]
    fn a_folder_is_quoted_for_a_shell() {
        for (folder, expected) in [
            ("../shared/data/mnist", "--data ../shared/data/mnist"),
            ("my images", "--data 'my images'"),
            ("it's; rm -rf $HOME", r"--data 'it'\''s; rm -rf $HOME'"),
            ("~/images", "--data '~/images'"),
            ("-images", "--data ./-images"),
        ] {
            let settings = Settings { data: folder.parse().unwrap(), ..defaults(Network::Mlp) };
            let command = command(&settings);
            assert!(command.contains(&format!("{expected} --network")), "{command}");
        }
    }

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        let Ok(found) = std::process::Command::new("sh").args(["-c", "exit 0"]).output() else {
            return;
        };
        assert!(found.status.success());
        for word in ["a b", "it's", "$HOME `id` \"x\" \\ * ? ! # & | ;", "two\nlines", "Grüße"] {
            let script = format!("printf %s {}", quoted(word));
            let found = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(found.stdout).unwrap(), word);
        }
    }
}
