//! What a claim is, and what an experiment finds of it.

use maud::Markup;
use serde::{Deserialize, Serialize};

use super::Request;
use super::interval::Interval;
use super::lab::{Halt, Lab};
use crate::names::named;

/// A claim made for batch normalization: four parts in words, and the experiment itself.
///
/// Each claim is a constant in a file of its own under `experiments/`.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The name on the command line.
    pub name: &'static str,
    /// The claim in a sentence.
    pub claim: &'static str,
    /// Who makes it, and where.
    pub source: &'static str,
    /// What is trained or computed.
    pub experiment: &'static str,
    /// What is measured of it.
    pub measurement: &'static str,
    /// The rules of the verdict, one for each part, written before the run; the first is the headline's.
    pub rules: &'static [Rule],
    /// Published figures to hold against.
    pub published: &'static str,
    /// Carries the experiment out.
    pub run: fn(&Lab<'_>) -> Result<Findings, Halt>,
}

/// When a part of a claim is supported and when refuted, by the interval of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// What this part of the claim says.
    pub says: &'static str,
    /// The number whose interval decides: "the ratio of steps, without to with".
    pub measure: &'static str,
    /// What follows the number: "x", " points", or nothing.
    pub unit: &'static str,
    /// Supported if the whole interval is at least this (at most this, if it is less than `none`).
    pub enough: f64,
    /// Refuted if the whole interval falls short of this.
    pub none: f64,
}

impl Rule {
    /// The verdict on an interval of that many seeds.
    pub fn judge(&self, interval: &Interval) -> Verdict {
        let (low, high) = (interval.low, interval.high);
        if interval.seeds < FEWEST_SEEDS || low.is_nan() || high.is_nan() {
            return Verdict::NotEnoughData;
        }
        // Ratios go through logarithms and back: ten times ten may be short of it by a rounding.
        let slack = 1e-9 * self.enough.abs();
        let (supported, refuted) = match self.enough >= self.none {
            true => (low >= self.enough - slack, high < self.none),
            false => (high <= self.enough + slack, low > self.none),
        };
        match (supported, refuted) {
            (true, _) => Verdict::Supported,
            (_, true) => Verdict::Refuted,
            _ => Verdict::Mixed,
        }
    }

    /// The rule in words.
    pub fn in_words(&self) -> String {
        let Self { says, measure, unit, enough, none } = self;
        let (at, short) = if enough >= none { ("at least", "below") } else { ("at most", "above") };
        format!(
            "\u{201c}{says}\u{201d} is supported if the whole 95 % interval of {measure} is {at} {enough}{unit}, refuted if all of \
             it is {short} {none}{unit}, and else mixed."
        )
    }
}

/// Of fewer seeds there is no verdict.
pub const FEWEST_SEEDS: usize = 3;

named! {
    /// What the experiment says of the claim.
    pub enum Verdict, "verdict" {
        /// It holds.
        Supported = "supported",
        /// It holds in part, or the interval leaves it open.
        Mixed = "mixed",
        /// It does not hold.
        Refuted = "refuted",
        /// There were too few seeds.
        NotEnoughData = "not_enough_data",
    }
}

impl Verdict {
    /// The verdict on a claim of several parts: theirs if they agree, else mixed.
    pub fn of_all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut parts = parts.into_iter();
        let first = parts.next().unwrap_or(Self::NotEnoughData);
        parts.fold(first, |all, part| match (all, part) {
            (Self::NotEnoughData, _) | (_, Self::NotEnoughData) => Self::NotEnoughData,
            (all, part) if all == part => all,
            _ => Self::Mixed,
        })
    }

    /// The verdict for people to read.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::NotEnoughData => "not enough data",
            other => other.name(),
        }
    }
}

/// What came of one rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The rule.
    pub rule: Rule,
    /// The number it is about.
    pub interval: Interval,
    /// What the rule makes of it.
    pub verdict: Verdict,
}

impl Part {
    /// Applies a rule to an interval.
    pub fn new(rule: Rule, interval: Interval) -> Self {
        Self { verdict: rule.judge(&interval), rule, interval }
    }
}

/// What an experiment found.
#[derive(Clone, Debug)]
pub struct Findings {
    /// One for each rule of the claim, in their order.
    pub parts: Vec<Part>,
    /// The outcome in a sentence or two with its numbers, as a newspaper would print it.
    pub sentence: String,
    /// Drawings, the one that shows the verdict first.
    pub exhibits: Vec<Exhibit>,
    /// Tables.
    pub tables: Vec<Table>,
    /// The settings that matter, by name.
    pub settings: Vec<(String, String)>,
    /// Where the published figure differs from what was found here, and why.
    pub differs: String,
    /// What else a careful reader should know: diverged runs, rates chosen at the end of a grid, censored steps.
    pub notes: Vec<String>,
}

impl Findings {
    /// The verdict on the whole claim.
    pub fn verdict(&self) -> Verdict {
        Verdict::of_all(self.parts.iter().map(|part| part.verdict))
    }
}

/// A drawing and how to read it.
#[derive(Clone, Debug)]
pub struct Exhibit {
    /// The drawing, as HTML with inline SVG.
    pub drawing: Markup,
    /// A plain sentence on how to read it.
    pub reading: String,
}

/// A table for the page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// The heads of the columns.
    pub head: Vec<String>,
    /// The rows, each as long as the head; the first cell names the row.
    pub rows: Vec<Vec<String>>,
}

/// A claim with its findings: all that its page shows.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The claim.
    pub claim: &'static Claim,
    /// What was found.
    pub findings: Findings,
    /// How it was asked for.
    pub request: Request,
    /// Seconds of computation that the experiment took, over all threads and all sessions.
    pub seconds: f64,
    /// The command that reproduces it.
    pub command: String,
}

/// One claim's line in `claims.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// The claim in a sentence.
    pub claim: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The headline's number; `None` if it is not finite.
    pub effect: Option<f64>,
    /// What the number is.
    pub measure: String,
    /// Its 95 % interval; `None` where it is not finite.
    pub interval: [Option<f64>; 2],
    /// The standardized effect: the mean of the paired differences over their standard deviation.
    pub effect_size: Option<f64>,
    /// Seeds.
    pub seeds: usize,
    /// Seconds of computation.
    pub seconds: f64,
    /// The data set.
    pub data: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RISES: Rule = Rule { says: "more", measure: "the ratio", unit: "x", enough: 2.0, none: 1.1 };
    const FALLS: Rule = Rule { says: "less", measure: "the error", unit: "", enough: 0.5, none: 0.9 };

    fn interval(low: f64, high: f64) -> Interval {
        Interval { value: (low + high) / 2.0, low, high, seeds: 5, size: None }
    }

    #[test]
    fn the_whole_interval_must_lie_beyond_the_threshold() {
        assert_eq!(RISES.judge(&interval(2.0, 3.0)), Verdict::Supported);
        assert_eq!(RISES.judge(&interval(1.9, 3.0)), Verdict::Mixed);
        assert_eq!(RISES.judge(&interval(0.9, 1.2)), Verdict::Mixed);
        assert_eq!(RISES.judge(&interval(0.9, 1.0)), Verdict::Refuted);
        assert_eq!(FALLS.judge(&interval(0.3, 0.5)), Verdict::Supported);
        assert_eq!(FALLS.judge(&interval(0.4, 0.95)), Verdict::Mixed);
        assert_eq!(FALLS.judge(&interval(0.91, 0.95)), Verdict::Refuted);
    }

    #[test]
    fn too_few_seeds_or_no_number_are_no_verdict() {
        assert_eq!(RISES.judge(&Interval { seeds: 2, ..interval(3.0, 4.0) }), Verdict::NotEnoughData);
        assert_eq!(RISES.judge(&interval(f64::NAN, 4.0)), Verdict::NotEnoughData);
    }

    #[test]
    fn parts_that_disagree_are_mixed() {
        use Verdict::{Mixed, NotEnoughData, Refuted, Supported};
        assert_eq!(Verdict::of_all([Supported, Supported]), Supported);
        assert_eq!(Verdict::of_all([Supported, Refuted, Supported]), Mixed);
        assert_eq!(Verdict::of_all([Refuted, Refuted]), Refuted);
        assert_eq!(Verdict::of_all([Supported, NotEnoughData]), NotEnoughData);
        assert_eq!(Verdict::of_all([]), NotEnoughData);
    }

    #[test]
    fn a_rule_says_itself() {
        let words = RISES.in_words();
        assert!(words.contains("the ratio is at least 2x, refuted if all of it is below 1.1x"), "{words}");
        assert!(FALLS.in_words().contains("at most 0.5"));
    }
}
