//! The page of one claim: the verdict first, then what it rests on, then how it was found.

use maud::{Markup, html};

use super::verdict::{badge, class, intervals, number, range, size};
use super::{INDEX, STYLE, TEACHING, counted, duration, file_name};
use crate::claims::{Exhibit, Facts, Judged, Table};
use crate::draw::{self, Document, MARKED_SCRIPT, MARKED_STYLE, SCRIPT};

/// The page of a claim, as a page that needs nothing but those beside it.
pub(in super::super) fn claim_page(
    judged: &Judged,
    facts: &Facts,
    before: Option<&Judged>,
    after: Option<&Judged>,
) -> String {
    let Judged { claim, findings, .. } = judged;
    let main = html! {
        (navigation(before, after))
        h1 { (claim.claim) }
        p.faint { (line(judged, facts)) }
        (verdict(judged))
        (exhibits(judged))
        @for table in &findings.tables { (self::table(table)) }
        (parts(judged))
        (published(judged))
        @if !findings.notes.is_empty() {
            h2 { "Notes" }
            ul.notes { @for note in &findings.notes { li { (note) } } }
        }
        (settings(judged))
        (data(facts))
        (navigation(before, after))
    };
    Document {
        title: html! { (claim.name) ": " (findings.verdict().in_words()) },
        styles: &[draw::STYLE, MARKED_STYLE, STYLE],
        scripts: &[SCRIPT, MARKED_SCRIPT],
        main,
    }
    .into_string()
}

fn navigation(before: Option<&Judged>, after: Option<&Judged>) -> Markup {
    html! {
        nav.pages {
            a href=(INDEX) { "All claims" }
            a href=(TEACHING) { "How it works" }
            span.neighbours {
                @if let Some(Judged { claim, .. }) = before {
                    a rel="prev" href=(file_name(claim)) title=(claim.claim) { "← " (claim.name) }
                }
                @if let Some(Judged { claim, .. }) = after {
                    a rel="next" href=(file_name(claim)) title=(claim.claim) { (claim.name) " →" }
                }
            }
        }
    }
}

/// What was done, in a line.
fn line(judged: &Judged, facts: &Facts) -> String {
    let request = &judged.request;
    let length = if request.quick { "quick run" } else { "full run" };
    let seeds = counted(request.seeds.get(), "seed", "seeds");
    format!(
        "{}: {length} of {seeds} on {}; {} of computation",
        judged.claim.name,
        facts.title,
        duration(judged.seconds)
    )
}

fn verdict(judged: &Judged) -> Markup {
    let findings = &judged.findings;
    html! {
        div class={ "verdict " (class(findings.verdict())) } {
            p { (badge(findings.verdict())) }
            // A number and its percent sign stay on one line.
            p.headline { (findings.sentence.replace(" %", "\u{a0}%")) }
        }
        @if !findings.parts.is_empty() {
            div.wide {
                table.results.numbers {
                    thead { tr {
                        th scope="col" { "part of the claim" }
                        th scope="col" { "effect" }
                        th scope="col" { "95\u{a0}% interval" }
                        th scope="col" { "effect size" }
                        th scope="col" { "seeds" }
                        th scope="col" { "verdict" }
                    } }
                    tbody {
                        @for part in &findings.parts {
                            tr {
                                th scope="row" { (part.rule.says) br; span.faint { (part.rule.measure.trim_end_matches(',')) } }
                                td data-name="effect" { (number(part.interval.value, part.rule.unit)) }
                                td data-name="95 % interval" { (range(&part.interval, part.rule.unit)) }
                                td data-name="effect size" { (size(&part.interval)) }
                                td data-name="seeds" { (part.interval.seeds) }
                                td { (badge(part.verdict)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The numbers of the verdict, then what the experiment has to show.
fn exhibits(judged: &Judged) -> Markup {
    let numbers = intervals(&judged.findings.parts);
    let last = numbers.len().saturating_sub(1);
    html! {
        div.exhibits {
            @if !numbers.is_empty() {
                div.exhibit {
                    @for (index, drawing) in numbers.iter().enumerate() {
                        (drawing)
                        @if index == last {
                            p.reading {
                                "A dot is the mean over the seeds, the line through it its 95\u{a0}% interval. The whole line must \
                                 lie beyond a dashed threshold for the claim to be supported or refuted. An arrow: it goes on \
                                 beyond the axis."
                            }
                        }
                    }
                }
            }
            @for Exhibit { drawing, reading } in &judged.findings.exhibits {
                div.exhibit { (drawing) p.reading { (reading.replace(" %", "\u{a0}%")) } }
            }
        }
    }
}

fn table(table: &Table) -> Markup {
    html! {
        h3 { (table.title) }
        div.wide {
            table.results {
                thead { tr { @for head in &table.head { th scope="col" { (head) } } } }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (place, cell) in row.iter().enumerate() {
                                @if place == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The four parts of every claim.
fn parts(judged: &Judged) -> Markup {
    let claim = judged.claim;
    html! {
        h2 { "The claim, and how it was tested" }
        dl.parts {
            dt { "Claim" }
            dd { (claim.claim) " " span.faint { (claim.source) } }
            dt { "Experiment" }
            dd { (claim.experiment) }
            dt { "Measurement" }
            dd { (claim.measurement) }
            dt { "Rule" }
            dd {
                @if let [rule] = claim.rules {
                    (rule.in_words())
                } @else {
                    ul { @for rule in claim.rules { li { (rule.in_words()) } } }
                    "The claim as a whole has the verdict of its parts if they agree, and is else mixed."
                }
                " The rule was written before the run. The effect size is the mean of the paired differences over their \
                 standard deviation."
            }
        }
    }
}

fn published(judged: &Judged) -> Markup {
    html! {
        h2 { "Where the published figure differs, and why" }
        p { (judged.claim.published) }
        @if !judged.findings.differs.is_empty() { p { (judged.findings.differs) } }
    }
}

fn settings(judged: &Judged) -> Markup {
    html! {
        h2 { "Settings" }
        p { "The same command gives the same numbers on the same machine, times aside:" }
        pre { code { (judged.command) } }
        @if !judged.findings.settings.is_empty() {
            dl.settings {
                @for (name, value) in &judged.findings.settings { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

/// The data, and whose they are.
pub(super) fn data(facts: &Facts) -> Markup {
    let [channels, height, width] = facts.dims;
    html! {
        h2 { "Data" }
        p {
            (facts.title) ": " (facts.train) " training and " (facts.test) " test images of " (width) " × " (height) " pixels"
            @if channels > 1 { " in " (channels) " channels" } ", " (counted(facts.classes, "class", "classes")) "."
        }
        dl.about {
            div { dt { "source" } dd { (facts.source) } }
            div { dt { "licence" } dd { (facts.licence) } }
        }
    }
}
