//! Options that would say nothing beside the others.

use batchnorm_lab::networks::Init;
use batchnorm_lab::train::{Arm, Decayed, TrainedPart};

use super::{TrainArguments, Twin};

impl TrainArguments {
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
            let why = "needs a network with normalization, and the plain one alone was asked for".to_owned();
            idle(self.zero_gamma && settings.norms == [Arm::Plain], "--zero-gamma", why)
        })
        .or_else(|| {
            let why = "is how the other twin is normalized, and `--arm plain` was asked for; leave one out".to_owned();
            let other = self.norm.is_some_and(|norm| norm != Arm::Plain);
            idle(self.arm == Some(Twin::Plain) && other, "--norm", why)
        })
        .or_else(|| {
            let why = "asks for the plain twin, and `--arm batch_norm` for the other; leave one out".to_owned();
            idle(self.arm == Some(Twin::BatchNorm) && self.norm == Some(Arm::Plain), "--norm none", why)
        })
        .or_else(|| {
            let why = "is about running statistics, and none of the normalizations keeps any; leave it out".to_owned();
            let keeps = settings.norms.iter().any(|norm| norm.normalizes_by_batch());
            let options = [
                (self.statistics.is_some(), "--statistics"),
                (self.bn_momentum.is_some(), "--bn-momentum"),
                (self.no_gap, "--no-gap"),
            ];
            let option = options.into_iter().find(|(given, _)| *given).map(|(_, option)| option);
            option.and_then(|option| idle(!keeps, option, why))
        })
        .or_else(|| {
            let why = "applies to the weights of maps, and `--train-only affine` leaves them as they are; leave it out, or \
                       let gamma and beta decay with `--weight-decay-on all`";
            let spared = settings.trained == TrainedPart::Affine && settings.decayed == Decayed::Weights;
            idle(settings.weight_decay != 0.0 && spared, "--weight-decay", why.to_owned())
        })
        .or_else(|| {
            let why = "applies to `renorm`, which is not among the normalizations; ask for it with `--norm` or `--compare`";
            let renorm = settings.norms.contains(&Arm::Renorm);
            idle(self.renorm_steps.is_some() && !renorm, "--renorm-steps", why.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;

    #[test]
    fn options_that_would_say_nothing_are_told() {
        for line in [
            "--init he --init-std 0.3",
            "--norm group:10 --statistics population",
            "--norm layer --bn-momentum 0.2",
            "--decay-every 3",
            "--schedule cosine --decay-factor 0.5",
            "--weight-decay-on all",
            "--network resnet20 --zero-gamma --arm plain",
            "--arm plain --norm layer",
            "--arm batch_norm --norm none",
            "--renorm-steps 9 --norm layer",
            "--norm layer --no-gap",
            "--arm plain --no-gap",
            "--arm batch_norm --train-only affine --weight-decay 1e-4",
        ] {
            assert!(arguments(&format!("batchnorm train {line}")).idle_option().is_some(), "{line}");
        }
        for line in [
            "--init-std 0.3",
            "--norm ghost:16 --no-gap",
            "--arm batch_norm --train-only affine --weight-decay 1e-4 --weight-decay-on all",
            "--train-only output --weight-decay 1e-4",
        ] {
            assert_eq!(arguments(&format!("batchnorm train {line}")).idle_option(), None, "{line}");
        }
    }
}
