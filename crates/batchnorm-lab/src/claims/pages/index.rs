//! The index: every claim with its verdict.

use maud::{Markup, html};

use super::claim::data;
use super::verdict::{badge, class, number, range, size, strip};
use super::{STYLE, TEACHING, counted, duration, file_name};
use crate::claims::{ALL, Carried, Claim, Facts, Judged, Verdict};
use crate::draw::{self, Document, MARKED_STYLE};

/// The index of a folder of results.
pub(in super::super) fn index_page(carried: &Carried, facts: &Facts) -> String {
    let main = html! {
        h1 { "What is claimed for batch normalization, put to the test" }
        p.faint { (line(carried, facts)) }
        p {
            "Each claim is an experiment over several seeds, in pairs that start from the same weights and see the same batches. \
             Its verdict follows from a 95\u{a0}% interval by a rule that was written before the run. New to all this? "
            a href=(TEACHING) { "How batch normalization works" } "."
        }
        (summary(carried))
        (table(carried))
        (missing(carried))
        (data(facts))
    };
    Document {
        title: html! { "Claims for batch normalization, on " (facts.title) },
        styles: &[draw::STYLE, MARKED_STYLE, STYLE],
        scripts: &[],
        main,
    }
    .into_string()
}

/// What was done, in a line.
fn line(carried: &Carried, facts: &Facts) -> String {
    let requests = || carried.judged.iter().map(|judged| &judged.request);
    let seeds: Vec<usize> = requests().map(|request| request.seeds.get()).collect();
    let seeds = match (seeds.iter().min(), seeds.iter().max()) {
        (Some(least), Some(most)) if least < most => format!(", {least} to {most} seeds"),
        (Some(least), _) => format!(", {}", counted(*least, "seed", "seeds")),
        _ => String::new(),
    };
    let quick = requests().filter(|request| request.quick).count();
    let length = match quick {
        0 if carried.judged.is_empty() => "",
        0 => ", full runs",
        all if all == carried.judged.len() => ", quick runs",
        _ => ", quick and full runs",
    };
    let seconds: f64 = carried.judged.iter().map(|judged| judged.seconds).sum();
    let spent = if seconds > 0.0 { format!("; {} of computation", duration(seconds)) } else { String::new() };
    format!(
        "{}: {} of {} claims{length}{seeds}{spent}",
        facts.title,
        carried.judged.len(),
        ALL.len().max(carried.judged.len())
    )
}

/// How many there are of each verdict.
fn summary(carried: &Carried) -> Markup {
    let count = |verdict| carried.judged.iter().filter(|judged| judged.findings.verdict() == verdict).count();
    html! {
        ul.summary {
            @for &verdict in Verdict::ALL {
                li class=(class(verdict)) { span.count { (count(verdict)) } (badge(verdict)) }
            }
        }
    }
}

fn table(carried: &Carried) -> Markup {
    html! {
        @if !carried.judged.is_empty() {
            table.claims {
                thead { tr {
                    th scope="col" { "claim" }
                    th scope="col" { "verdict" }
                    th scope="col" { "effect and 95\u{a0}% interval" }
                    th scope="col" { "refuted | mixed | supported" }
                    th scope="col" { "effect size" }
                    th scope="col" { "seeds" }
                } }
                tbody { @for judged in &carried.judged { (row(judged)) } }
            }
            p.reading {
                "The drawings have one axis for all claims: an interval left of the first dashed line is refuted, one right of \
                 the second supported, and the ends are infinitely far out. The effect is that of the first part of a claim; its \
                 verdict is that of all parts. The effect size is the mean of the paired differences over their standard \
                 deviation."
            }
        }
    }
}

fn row(judged: &Judged) -> Markup {
    let Judged { claim, findings, request, .. } = judged;
    let verdict = findings.verdict();
    html! {
        tr {
            th scope="row" { a href=(file_name(claim)) { (claim.name) } br; (claim.claim) }
            td { (badge(verdict)) }
            @if let Some(part) = findings.parts.first() {
                td.effect { (number(part.interval.value, part.rule.unit)) br; span.faint { (range(&part.interval, part.rule.unit)) } }
                td { (strip(part)) }
                td.size { span.narrow { "effect size " } (size(&part.interval)) }
                td.seeds { (part.interval.seeds) span.narrow { " seeds" } }
            } @else {
                td.effect { "-" }
                td {}
                td.size {}
                td.seeds { (request.seeds) span.narrow { " seeds" } }
            }
        }
    }
}

/// Claims without findings.
fn missing(carried: &Carried) -> Markup {
    let known = |claim: &Claim| {
        let judged = carried.judged.iter().map(|judged| judged.claim.name);
        let unfinished = carried.unfinished.iter().map(|unfinished| unfinished.claim.name);
        judged.chain(unfinished).any(|name| name == claim.name)
    };
    let never: Vec<&Claim> = ALL.iter().copied().filter(|claim| !known(claim)).collect();
    html! {
        @if !never.is_empty() || !carried.unfinished.is_empty() {
            h2 { "Not yet run" }
            ul.missing {
                @for unfinished in &carried.unfinished {
                    li { b { (unfinished.claim.name) } " " (unfinished.claim.claim) " " span.faint { "No verdict: " (unfinished.why) "." } }
                }
                @for claim in &never { li { b { (claim.name) } " " (claim.claim) } }
            }
            @if !never.is_empty() { p { code { "batchnorm claims run NAME" } " carries one out and adds it to this folder." } }
        }
    }
}
