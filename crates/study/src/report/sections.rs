//! The page's parts between its summary and its methods. Figures are places that the page's scripts fill:
//! `data-figure` names the figure, `data-each` what there is one of it for.

use maud::{Markup, html};

use super::claims::warning;
use super::words::visible;
use super::{kinds, tables};
use crate::results::{Results, Topic};

/// The bar of controls, that all figures follow.
pub(super) fn controls() -> Markup {
    html! {
        div class="bar" role="group" aria-label="What the figures show" {
            label class="slide" {
                "Checkpoint"
                input type="range" id="pick-at" min="0" max="0" value="0" step="1";
                output id="at" for="pick-at" {}
            }
            label { "Head" input id="pick-head" list="all-heads" autocomplete="off" spellcheck="false" placeholder="L0H0" aria-describedby="no-head"; }
            span id="no-head" class="wrong" role="alert" {}
            button type="button" id="clear" { "Clear" }
            a href="#head" { "Details" }
            datalist id="all-heads" {}
            label { "Pairs" select id="pick-suite" {} }
            label { "Rule" select id="pick-rule" {} }
            label {
                "Circuits"
                select id="pick-layout" {
                    option value="grid" { "by layer and head" }
                    option value="layered" { "by path" }
                }
            }
        }
    }
}

/// Places of a figure: one for each of `each`, in a grid or below each other.
fn place(figure: &str, each: &str, wide: bool) -> Markup {
    html! { div class=(if wide { "grid one" } else { "grid" }) data-figure=(figure) data-each=(each) {} }
}

/// All sections with figures.
pub(super) fn figures(results: &Results) -> Markup {
    let any = !results.trainings.is_empty();
    html! {
        section id="accuracy" {
            h2 { "Accuracy before and after" }
            (warnings(results, Topic::Accuracy))
            (place("accuracy", "benchmark", false))
            (kinds::table(results))
            @if any { (place("scores", "training", false)) }
            @if !results.task.examples.is_empty() {
                details { summary { "Example completions" } (tables::wide("examples", &[], examples(results))) }
            }
            details {
                summary { "Every checkpoint" }
                p class="facts" { "Accuracy with its 95 % interval over n problems; heads and faithfulness of the circuit." }
                (tables::checkpoints(results))
            }
        }
        @if any {
            section id="heads" {
                h2 { "Heads kept, new and lost" }
                (warnings(results, Topic::Heads))
                (tables::heads(results))
                (place("cohorts", "training", false))
                (place("frequency", "training", false))
                (place("effect", "training", false))
                (place("methods", "", false))
                (place("roles", "training", false))
            }
            section id="head" { h2 { "The selected head" } div id="head-panel" {} }
            section id="circuits" {
                h2 { "The circuits" }
                (warnings(results, Topic::Circuits))
                (place("circuit", "training", false))
                h3 { "Edges" }
                div id="edge-list" {}
            }
            section id="training" {
                h2 { "What happened during training" }
                (warnings(results, Topic::Training))
                (place("curve", "training", false))
                (place("turnover", "training", false))
                (tables::turnover_and_reward(&results.heads))
                (place("similarity", "training", false))
                (place("overlap", "training", false))
                (place("complexity", "", false))
            }
        }
        section id="interventions" {
            h2 { "Heads ablated and scaled" }
            (warnings(results, Topic::Interventions))
            @if any { (place("interventions", "training", true)) } @else { (place("interventions", "", true)) }
            (place("transfers", "", true))
        }
        @if !results.think.is_empty() {
            section id="think" {
                h2 { "Thinking on and off" }
                (warnings(results, Topic::Think))
                (place("think", "think", true))
                (place("thinkCircuit", "modes", false))
            }
        }
    }
}

fn examples(results: &Results) -> Markup {
    html! {
        @for example in &results.task.examples {
            tr class="section" {
                th colspan="3" { code { (visible(&example.prompt)) } " (right: " (example.answer) ")" }
            }
            @for said in &example.completions {
                @let verdict = if said.correct { "right" } else { "wrong" };
                tr {
                    td { (said.checkpoint) }
                    td { code { (visible(&said.text)) } }
                    td class=(verdict) { (verdict) }
                }
            }
        }
    }
}

/// The warnings that concern a section.
fn warnings(results: &Results, topic: Topic) -> Markup {
    html! { @for w in results.warnings.iter().filter(|w| w.about == Some(topic)) { (warning(w)) } }
}
