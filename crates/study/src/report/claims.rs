//! The first section: what changed and how sure, each claim with its evidence and the warnings that concern it.

use maud::{Markup, html};

use super::headline;
use super::summary::findings;
use super::verdict::{ClaimVerdict, Finding, Part};
use super::words::{count, duration};
use crate::caveats::NAMED;
use crate::results::{Caveat, Results};

/// The answer, the findings with their verdicts, and the warnings.
pub(super) fn section(results: &Results) -> Markup {
    let all = findings(results);
    let took = results.run.machine.as_ref().map(|machine| {
        let total: f64 = results.run.stages.iter().map(|s| s.seconds).sum();
        format!(" The study took {} on {}.", duration(total), count(machine.threads, "thread"))
    });
    // A claim that fails its control is a finding already; other warnings stand below.
    let others: Vec<&Caveat> = results.warnings.iter().filter(|w| w.control != NAMED).collect();
    html! {
        section id="summary" {
            h2 { "What changed, and how sure" }
            p class="lead" { (results.task.description) (took.unwrap_or_default()) }
            (headline::table(results))
            @for (question, answer) in headline::paragraphs(results, &all) {
                p { strong { (question) } " " (answer) }
            }
            p class="facts" {
                a href="#words" { "What the words mean" } ". Each finding stands beside its own control; they are not corrected for "
                "their number."
                @if !results.hypotheses.is_empty() {
                    " " a href="#claims" { "Below" } " are the claims of the paper Thinking Sparks! (Park et al. 2025, arXiv "
                    "2509.25758), tested together; some, as that a training needs its heads, stand in both lists: here beside "
                    "the worst random draw, there by how far from the accuracy with all heads, with the effect against the mean of the draws."
                }
            }
            @for part in Part::ALL {
                @let mine: Vec<&Finding> = all.iter().filter(|f| f.part == part).collect();
                @if !mine.is_empty() {
                    h3 class="part" { (part.heading()) }
                    // Accuracy and heads are read by everybody; the others open where they are wanted.
                    ul class="findings" {
                        @for f in mine { li { (finding(f, matches!(part, Part::Accuracy | Part::Heads))) } }
                    }
                }
            }
        }
        @if !others.is_empty() {
            section id="warnings" {
                h2 { "Where this might be wrong" }
                p { "Each begins with what a reader might take for granted; the sentences in bold say why not." }
                @for w in others { (warning(w)) }
            }
        }
    }
}

fn finding(f: &Finding, open: bool) -> Markup {
    html! {
        details open[open] {
            summary {
                span class=(format!("verdict {}", class(f.verdict))) { (f.verdict.words()) }
                span class="claim" { (f.claim) @if !f.short.is_empty() { span class="in-short" { ": " (f.short) } } }
            }
            div class="evidence" {
                p { (f.evidence) }
                @if !f.rows.is_empty() { ul { @for row in &f.rows { li { (row) } } } }
            }
        }
    }
}

/// A warning as a paragraph.
pub(super) fn warning(w: &Caveat) -> Markup {
    html! { p class="warned" { em { "Not to be taken for granted: " (w.claim) } " Control: " (w.control) " " strong { (w.finding) } } }
}

fn class(verdict: ClaimVerdict) -> &'static str {
    match verdict {
        ClaimVerdict::Holds => "holds",
        ClaimVerdict::Fails => "fails",
        ClaimVerdict::Open => "open",
    }
}
