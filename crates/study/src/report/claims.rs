//! The first section: what changed and how sure, each claim with its evidence and the warnings that concern it.

use maud::{Markup, html};

use super::summary::{findings, headline};
use super::verdict::ClaimVerdict;
use super::words::{count, duration};
use crate::caveats::NAMED;
use crate::results::{Caveat, Results};

/// The findings with their verdicts, and the warnings.
pub(super) fn section(results: &Results) -> Markup {
    let all = findings(results);
    let of = |verdict| all.iter().filter(|f| f.verdict == verdict).count();
    let (holds, fails) = (of(ClaimVerdict::Holds), of(ClaimVerdict::Fails));
    let took = results.run.machine.as_ref().map(|machine| {
        let total: f64 = results.run.stages.iter().map(|s| s.seconds).sum();
        format!(" The study took {} on {}.", duration(total), count(machine.threads, "thread"))
    });
    let counts = format!(
        "Of {}, {} against {}, {} not hold, and {} cannot be settled by these data.{}",
        count(all.len(), "claim"),
        if holds == 1 { "1 holds".to_owned() } else { format!("{holds} hold") },
        if holds == 1 { "its control" } else { "their controls" },
        if fails == 1 { "1 does".to_owned() } else { format!("{fails} do") },
        all.len() - holds - fails,
        took.unwrap_or_default()
    );
    // A claim that fails its control is a finding already; other warnings stand below.
    let others: Vec<&Caveat> = results.warnings.iter().filter(|w| w.control != NAMED).collect();
    html! {
        section id="summary" {
            h2 { "What changed, and how sure" }
            p class="lead" { (results.task.description) " " (headline(results)) }
            p { (counts) " " a href="#words" { "What the words mean" } "." }
            @if !results.hypotheses.is_empty() {
                p class="facts" {
                    "These are findings of this study, each beside its own control and not corrected for their number. "
                    a href="#claims" { "Below" } " are the claims of the paper Thinking Sparks! (Park et al. 2025, arXiv "
                    "2509.25758), tested together; some, as that a training needs its heads, stand in both lists: here beside "
                    "the worst random draw, there against the mean of the draws."
                }
            }
            ol class="findings" {
                @for finding in &all {
                    li {
                        p class=(format!("verdict {}", class(finding.verdict))) { (finding.verdict.words()) }
                        div { h3 { (finding.claim) } p { (finding.evidence) } }
                    }
                }
            }
        }
        @if !others.is_empty() {
            section id="warnings" {
                h2 { "Where this might be wrong" }
                @for w in others { (warning(w)) }
            }
        }
    }
}

/// A warning as a paragraph.
pub(super) fn warning(w: &Caveat) -> Markup {
    html! { p class="warned" { strong { (w.claim) } " Control: " (w.control) " " em { (w.finding) } } }
}

fn class(verdict: ClaimVerdict) -> &'static str {
    match verdict {
        ClaimVerdict::Holds => "holds",
        ClaimVerdict::Fails => "fails",
        ClaimVerdict::Open => "open",
    }
}
