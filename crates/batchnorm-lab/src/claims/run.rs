//! Claims put to the test one after the other, and what came of them.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::bench::{Bench, Meter, Parts};
use super::claim::Line;
use super::lab::{Halt, Lab, Spectator};
use super::{ALL, Claim, Facts, Judged, Request, Rule, Store};
use crate::data::{Dataset, Source};

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// About so many seconds of one core, all tasks together.
    pub seconds: f64,
    /// Of those, for tasks that are not in the store.
    pub remaining: f64,
}

/// What there is to do for claims, without doing it; what they share counts once.
pub fn estimate(claims: &[&Claim], request: &Request, facts: &Facts, store: Option<&Store>) -> Estimate {
    let lab = Lab::planning(request, facts, store);
    for claim in claims {
        // Placeholders may lead an experiment to an early end; what it asked for until then counts.
        let _ = (claim.run)(&lab);
    }
    Estimate { seconds: lab.seconds(), remaining: lab.remaining() }
}

/// A claim as `batchnorm claims` lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The claim in a sentence.
    pub claim: String,
    /// Who makes it, and where.
    pub source: String,
    /// What is trained or computed.
    pub experiment: String,
    /// What is measured of it.
    pub measurement: String,
    /// The rules of the verdict.
    pub rules: Vec<String>,
    /// About so many seconds for a quick run on the digits.
    pub quick_seconds: f64,
    /// About so many seconds for a full run on MNIST.
    pub mnist_seconds: f64,
}

/// Every claim, with the time it takes on so many threads.
pub fn listed(threads: usize) -> Vec<Listed> {
    let facts = |dims, train, test| Facts {
        title: String::new(),
        source: String::new(),
        licence: String::new(),
        fingerprint: String::new(),
        dims,
        classes: 10,
        train,
        test,
    };
    let (digits, mnist) = (facts([1, 8, 8], 1_437, 360), facts([1, 28, 28], 60_000, 10_000));
    let seconds = |claim, data, quick, facts| {
        let seeds = NonZeroUsize::new(Request::default_seeds(quick)).expect("there are default seeds");
        estimate(&[claim], &Request { data, quick, seeds }, facts, None).seconds / threads as f64
    };
    let list = |claim: &&'static Claim| Listed {
        name: claim.name.to_owned(),
        claim: claim.claim.to_owned(),
        source: claim.source.to_owned(),
        experiment: claim.experiment.to_owned(),
        measurement: claim.measurement.to_owned(),
        rules: claim.rules.iter().map(Rule::in_words).collect(),
        quick_seconds: seconds(*claim, Source::Digits, true, &digits),
        mnist_seconds: seconds(*claim, Source::Mnist, false, &mnist),
    };
    ALL.iter().map(list).collect()
}

/// A claim of which there are no findings.
#[derive(Debug)]
pub struct Unfinished {
    /// The claim.
    pub claim: &'static Claim,
    /// Why.
    pub why: Halt,
}

/// What came of several claims.
#[derive(Debug, Default)]
pub struct Carried {
    /// Those with findings.
    pub judged: Vec<Judged>,
    /// Those without.
    pub unfinished: Vec<Unfinished>,
}

impl Carried {
    /// Whether somebody stopped it.
    pub fn was_stopped(&self) -> bool {
        self.unfinished.iter().any(|unfinished| matches!(unfinished.why, Halt::Stopped))
    }
}

/// Puts claims to the test on so many threads; what the store has is not computed again.
///
/// The same request gives the same bits for any number of threads. A claim whose experiment cannot be done on these data is
/// listed with the reason, and the others go on; results that cannot be kept end it all.
///
/// # Errors
///
/// If results cannot be kept.
pub fn carry_out(
    claims: &[&'static Claim],
    request: &Request,
    data: &Dataset,
    store: &Store,
    threads: usize,
    spectator: &dyn Spectator,
    meter: Option<&dyn Meter>,
) -> Result<Carried, Halt> {
    let facts = store.facts();
    let parts = Parts::new(data);
    let bench = Bench { data: &parts, spectator, meter };
    let mut carried = Carried::default();
    for &claim in claims {
        spectator.claim_begins(claim, estimate(&[claim], request, facts, Some(store)).remaining);
        let lab = Lab::working(request, facts, store, bench, threads, spectator);
        carried.take(claim, &lab, request)?;
        match carried.judged.last().filter(|judged| judged.claim.name == claim.name) {
            Some(judged) => spectator.claim_judged(judged),
            None => carried
                .unfinished
                .last()
                .into_iter()
                .for_each(|unfinished| spectator.claim_unfinished(unfinished)),
        }
        if carried.was_stopped() {
            break;
        }
    }
    Ok(carried)
}

/// What the store says of claims, each as it was asked for; what is missing is listed.
///
/// # Errors
///
/// If the store fails.
pub fn read(claims: &[(&'static Claim, &Request)], store: &Store) -> Result<Carried, Halt> {
    let mut carried = Carried::default();
    for &(claim, request) in claims {
        let lab = Lab::reading(request, store.facts(), store);
        carried.take(claim, &lab, request)?;
    }
    Ok(carried)
}

impl Carried {
    fn take(&mut self, claim: &'static Claim, lab: &Lab<'_>, request: &Request) -> Result<(), Halt> {
        match (claim.run)(lab) {
            Ok(findings) => {
                let command = request.command(claim.name);
                self.judged.push(Judged {
                    claim,
                    findings,
                    request: request.clone(),
                    seconds: lab.seconds(),
                    command,
                });
            }
            Err(Halt::Store(error)) => return Err(error.into()),
            Err(why) => self.unfinished.push(Unfinished { claim, why }),
        }
        Ok(())
    }

    /// The document `claims.json`.
    pub fn document(&self, facts: &Facts) -> Document {
        let finite = |number: f64| number.is_finite().then_some(number);
        let line = |judged: &Judged| {
            let first = judged.findings.parts.first();
            let interval = first.map(|part| part.interval);
            Line {
                name: judged.claim.name.to_owned(),
                claim: judged.claim.claim.to_owned(),
                verdict: judged.findings.verdict(),
                effect: interval.and_then(|interval| finite(interval.value)),
                measure: first.map(|part| part.rule.measure.to_owned()).unwrap_or_default(),
                interval: interval.map_or([None; 2], |interval| [finite(interval.low), finite(interval.high)]),
                effect_size: interval.and_then(|interval| interval.size),
                seeds: interval.map_or(0, |interval| interval.seeds),
                seconds: judged.seconds,
                data: facts.title.clone(),
            }
        };
        Document { schema: Document::SCHEMA, claims: self.judged.iter().map(line).collect() }
    }
}

/// The document `claims.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The version of its form.
    pub schema: u32,
    /// Every claim with findings.
    pub claims: Vec<Line>,
}

impl Document {
    /// The version of the form that this code writes.
    pub const SCHEMA: u32 = 1;

    /// As text, indented, with a newline at the end.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a document has a JSON form");
        text.push('\n');
        text
    }
}
