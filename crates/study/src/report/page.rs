//! The page: head, sections, methods, download, and the style and script that it carries.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{PreEscaped, html};

use super::{methods, sections, svg};
use crate::results::Results;

pub(super) const STYLE: &str = include_str!("../../assets/report/style.css");
const SCRIPT: &str = include_str!("../../assets/report/script.js");

/// The page; `json` is the results file that it offers for download.
pub(super) fn render(results: &Results, json: &str) -> String {
    let run = &results.run;
    let download = format!("data:application/json;base64,{}", STANDARD.encode(json));
    let page = html! {
        (PreEscaped("<!doctype html>\n"))
        html lang="en" class="sparks" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (results.title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(svg::THEME)) (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (results.title) }
                    p class="facts" {
                        (results.model.name) ", seed " (run.seed)
                        @if let Some(started) = &run.started { ", " (started) }
                    }
                    @if let Some(notice) = &results.notice { p class="notice" { (notice) } }
                }
                main {
                    (sections::summary(results))
                    (sections::accuracy(results))
                    (sections::runs(results))
                    (sections::circuits(results))
                    (sections::interventions(results))
                    section id="methods" { h2 { "Methods" } (methods::methods(results)) }
                    section id="data" {
                        h2 { "Data" }
                        p {
                            "Every number above is in "
                            a download="results.json" href=(download) { "results.json" }
                            " (" (json.len() / 1000) " kB, schema " (results.schema) " version " (results.version)
                            "). Figures as files are in " code { "figures/" } " beside this page."
                        }
                        p { "Repeat with " code { (run.command) } }
                    }
                }
                div id="tip" role="status" hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}
