//! The page: head, sections, methods, download, and the styles and scripts that it carries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::{assets, cases, claims, data, evidence, methods, sections, terms};
use crate::Error;
use crate::results::Results;

pub(super) const STYLE: &str = include_str!("../../assets/report/style.css");
const PAGE: &[&str] = &[
    include_str!("../../assets/report/mount.js"),
    include_str!("../../assets/report/attention.js"),
    include_str!("../../assets/report/head.js"),
    include_str!("../../assets/report/page.js"),
];

/// A source of a content-security policy: the one text with this hash.
fn source(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// The page; `size` is that of the results file, bytes.
///
/// # Errors
/// Results that are no JSON.
pub(super) fn render(results: &Results, size: usize) -> Result<String, Error> {
    let (carried, edges) = data::carried(results, size);
    // `<` would end the element or begin a comment.
    let json = serde_json::to_string(&*carried).map_err(Error::internal)?.replace('<', "\\u003c");
    let ours = format!("\"use strict\";\n(() => {{\n{}{}}})();\n", assets::FIGURES.concat(), PAGE.concat());
    let scripts = [assets::D3, assets::PLOT, assets::DAGRE, &ours];
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; base-uri 'none'; form-action 'none'",
        scripts.map(source).join(" "),
        source(STYLE)
    );
    let page = html! {
        (PreEscaped("<!doctype html>\n"))
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (results.title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body(results, size, edges))
                script type="application/json" id="results" { (PreEscaped(json)) }
                @for script in scripts { script { (PreEscaped(script)) } }
            }
        }
    };
    Ok(page.into_string() + "\n")
}

fn body(results: &Results, size: usize, edges: Option<usize>) -> Markup {
    let run = &results.run;
    html! {
        header {
            h1 { (results.title) }
            p class="facts" {
                (results.model.name) ", seed " (run.seed)
                @if let Some(started) = &run.started { ", " (started) }
            }
            @if let Some(notice) = &results.notice { p class="notice" { (notice) } }
        }
        main {
            (claims::section(results))
            (terms::section(results))
            (evidence::claims(results))
            (sections::controls())
            (sections::figures(results))
            (cases::section(results))
            (evidence::controls(results))
            section id="methods" { h2 { "Methods" } (methods::methods(results)) }
            section id="data" {
                h2 { "Data" }
                p {
                    "What was measured is in "
                    a href="results.json" { "results.json" }
                    " (" (size / 1000) " kB, schema " (results.schema) " version " (results.version) "); findings, shares by kind of "
                    "problem and what chance gives are computed from it. Figures as files are in "
                    code { "figures/" } ", tables in " code { "tables/" } ": they lie beside this page in the study’s folder, and "
                    "do not travel with it. What the page carries it saves itself: below, and each figure its numbers and its "
                    "drawing."
                }
                p class="save" {
                    button type="button" id="save-results" { "Save the results that this page carries (page-results.json)" }
                    @if let Some(edges) = edges {
                        span { "Of each circuit the page carries the " (edges) " strongest edges; results.json has all." }
                    }
                }
                p class="printed facts" { "Printed are the numbers of those figures whose numbers were open; the others’ are in results.json and in tables/." }
                p { "Repeat with " code { (run.command) } @if run.machine.is_none() { " and a configuration of the settings above." } }
            }
        }
        p id="said" role="status" aria-live="polite" {}
        noscript { p class="notice" { "The figures are drawn by scripts in this page, which your browser does not run." } }
    }
}
