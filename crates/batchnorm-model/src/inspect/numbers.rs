//! What is wrong with a layer's numbers, eps and momentum, whatever file they come from.

use batchnorm::health::{self, Numbers, examine};
use batchnorm::{BatchNormConfig, Momentum, Warning};

use super::finding::{Finding, Severity};
use super::layer::Values;

/// eps is suspicious where it is less than a hundredth of the least that a library has, ...
const FAR_BELOW: f64 = 100.0;
/// ... or more than ten times the most.
const FAR_ABOVE: f64 = 10.0;

/// What is wrong with the numbers. `normal` is the smallest normal number of the variance's type.
pub(super) fn of_values(values: &Values, eps: f64, batches: Option<u64>, normal: f64) -> Vec<Finding> {
    let of = |values: &Option<Vec<f64>>| values.clone().unwrap_or_default();
    let (mean, variance) = (of(&values.mean), of(&values.variance));
    let numbers = Numbers {
        gamma: values.gamma.as_deref(),
        beta: values.beta.as_deref(),
        batches,
        ..Numbers::new(&mean, &variance, eps)
    };
    let subnormal = |variance: f64| variance > 0.0 && variance < normal;
    let tiny: Vec<usize> = (0..variance.len()).filter(|&channel| subnormal(variance[channel])).collect();
    let mut findings = Vec::new();
    for finding in examine(&numbers) {
        let mut finding = match finding {
            // Told below, with what the statistics say.
            health::Finding::NeverUpdated => continue,
            other => Finding::from(&other),
        };
        match finding.code {
            // Told below, and once.
            "variance-near-eps" => finding.channels.retain(|channel| !tiny.contains(channel)),
            "zero-variance" if eps == 0.0 => {
                finding.severity = Severity::Error;
                finding.words =
                    "the running variance and eps are 0, so that the output is infinite or not a number: \
                                 estimate the statistics anew, or set eps"
                        .to_owned();
            }
            _ => {}
        }
        if finding.code != "variance-near-eps" || !finding.channels.is_empty() {
            findings.push(finding);
        }
    }
    if !tiny.is_empty() {
        let words = "the running variance is subnormal: some processors and runtimes take it for 0, so that outputs \
                     differ between machines; estimate the statistics anew on data";
        findings.push(Finding::new("subnormal-variance", Severity::Warning, "", words).of(tiny));
    }
    findings.extend(never_trained(&mean, &variance, batches));
    findings
}

fn never_trained(mean: &[f64], variance: &[f64], batches: Option<u64>) -> Option<Finding> {
    let initial = !mean.is_empty()
        && !variance.is_empty()
        && mean.iter().all(|&mean| mean == 0.0)
        && variance.iter().all(|&variance| variance == 1.0);
    let facts = match (batches, initial) {
        (Some(0), _) => "the counter of batches is 0",
        (_, true) => "every mean is 0 and every variance 1",
        (_, false) => return None,
    };
    let words = "the running statistics are the initial ones, so that inference normalizes nothing: train, or estimate \
                 them on data (`batchnorm recalibrate`)";
    Some(Finding::new("never-trained", Severity::Warning, facts, words))
}

/// What is suspicious about eps, by what the libraries have.
pub(super) fn of_eps(eps: f64) -> Option<Finding> {
    let code = "suspicious-eps";
    if !(eps.is_finite() && eps >= 0.0) {
        let words = "eps must be a positive number: nothing can be normalized with it";
        return Some(Finding::new(code, Severity::Error, format!("eps {}", short(eps)), words));
    }
    let presets = [
        BatchNormConfig::pytorch(),
        BatchNormConfig::keras(),
        BatchNormConfig::flax(),
        BatchNormConfig::onnx(),
        BatchNormConfig::burn(),
    ];
    let usual = presets.iter().map(|preset| preset.eps);
    let (least, most) = (usual.clone().fold(f64::INFINITY, f64::min), usual.fold(0.0, f64::max));
    if eps >= least / FAR_BELOW && eps <= most * FAR_ABOVE {
        return None;
    }
    let words = format!(
        "libraries have {} to {}: compare with the network that was trained; another eps moves the outputs of channels with \
         a small variance",
        short(least),
        short(most)
    );
    Some(Finding::new(code, Severity::Warning, format!("eps {}", short(eps)), &words))
}

/// What is suspicious about ONNX's momentum, which weighs the old statistics. At inference nobody reads it.
pub(super) fn of_momentum(momentum: f64, training: bool) -> Option<Finding> {
    let severity = if training { Severity::Warning } else { Severity::Note };
    let found = |words: &str| {
        Some(Finding::new("suspicious-momentum", severity, format!("momentum {}", short(momentum)), words))
    };
    if !momentum.is_finite() {
        return found("momentum must be a number: training cannot go on with it");
    }
    if momentum == 1.0 {
        return found("the old statistics have all the weight: training on never changes them");
    }
    if momentum == 0.0 {
        return found("the old statistics have no weight: training on keeps the latest batch's alone");
    }
    let warnings = BatchNormConfig::onnx().with_momentum(Momentum::of_old(momentum)).warnings();
    warnings.iter().find_map(|warning| match warning {
        Warning::MomentumOutsideUnitInterval { .. } => {
            found("outside 0 to 1 running statistics are no average and can diverge")
        }
        Warning::MomentumLooksInverted { .. } => found(
            "ONNX's momentum weighs the old statistics and PyTorch's the new: PyTorch's number was probably exported as it \
             was; it matters to those who train on",
        ),
        _ => None,
    })
}

/// A number in few digits.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size.is_finite() && !(1e-3..1e5).contains(&size) => {
            let text = format!("{value:.2e}");
            match text.split_once('e') {
                Some((digits, power)) if digits.contains('.') => {
                    format!("{}e{power}", digits.trim_end_matches('0').trim_end_matches('.'))
                }
                _ => text,
            }
        }
        size if size.is_finite() => {
            let decimals = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
            let text = format!("{value:.decimals$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            }
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let words =
            [0.0, 1e-5, 1.001e-5, 0.123_456, -2.5, 99.96, 12345.6, 1e30, f64::NAN, -f64::INFINITY].map(short);
        assert_eq!(words, ["0", "1e-5", "1e-5", "0.123", "-2.5", "100", "12346", "1e30", "NaN", "-inf"]);
    }
}
