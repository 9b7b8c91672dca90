//! The page put together: head, sections, methods, downloads, and the style and script it carries.

use std::fmt::Write as _;

use super::html::{base64, escape};
use super::{methods, sections, svg};
use crate::results::Results;

const STYLE: &str = include_str!("../../assets/report/style.css");
const SCRIPT: &str = include_str!("../../assets/report/script.js");

/// The page; `json` is the results file it offers for download.
pub(super) fn render(results: &Results, json: &str) -> String {
    let run = &results.run;
    let title = escape(&results.title);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\" class=\"sparks\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <link rel=\"icon\" href=\"data:,\"><style>{}{STYLE}</style></head><body><header><h1>{title}</h1>\
         <p class=\"facts\">{}, seed {}{}</p>",
        svg::THEME,
        escape(&results.model.name),
        run.seed,
        run.started.as_ref().map_or(String::new(), |s| format!(", {}", escape(s)))
    );
    if let Some(notice) = &results.notice {
        let _ = write!(out, "<p class=\"notice\">{}</p>", escape(notice));
    }
    out += "</header><main>";
    out += &sections::summary(results);
    out += &sections::accuracy(results);
    out += &sections::runs(results);
    out += &sections::circuits(results);
    out += &sections::interventions(results);
    let _ = write!(out, "<section id=\"methods\"><h2>Methods</h2>{}</section>", methods::methods(results));
    let _ = write!(
        out,
        "<section id=\"data\"><h2>Data</h2><p>Every number above is in <a download=\"results.json\" \
         href=\"data:application/json;base64,{}\">results.json</a> ({} kB, schema {} version {}). Figures as files are in \
         <code>figures/</code> beside this page.</p><p>Repeat with <code>{}</code></p></section>",
        base64(json.as_bytes()),
        json.len() / 1000,
        escape(&results.schema),
        results.version,
        escape(&run.command)
    );
    let _ = writeln!(
        out,
        "</main><div id=\"tip\" role=\"status\" hidden></div><script>{SCRIPT}</script></body></html>"
    );
    out
}
