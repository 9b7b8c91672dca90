//! The page of `sparks watch --html`: a run as far as it is.

use maud::{Markup, PreEscaped, html};
use serde_json::json;

use super::draw::Painter;
use super::page::STYLE;
use super::tables::wide;
use crate::Error;
use crate::live::{LiveCircuit, LiveRun};

/// The page of a run, called `name`: one self-contained file.
///
/// # Errors
/// None that input causes.
pub fn live_page(run: &LiveRun, name: &str) -> Result<String, Error> {
    let of = run.steps.map_or_else(String::new, |steps| format!(" of {steps}"));
    let points = |value: fn(&LiveCircuit) -> Option<f64>| -> Vec<(f64, f64)> {
        run.circuits.iter().filter_map(|c| Some((c.step as f64, value(c)?))).collect()
    };
    let lengths: Vec<(f64, f64)> =
        run.curve.iter().filter_map(|p| Some((p.step as f64, p.length?))).collect();
    let series: Vec<(&str, Vec<(f64, f64)>)> = vec![
        (run.value_name(), run.values()),
        ("length of completions, tokens", lengths),
        ("heads in the circuit", points(|c| Some(c.heads as f64))),
        ("turnover less its noise floor", points(|c| Some(c.turnover? - c.noise_floor.unwrap_or(0.0)))),
        ("share of heads ever born that are in the circuit", points(|c| c.survival)),
    ];
    let drawn = series.iter().filter(|(_, points)| !points.is_empty());
    let data: Vec<_> = drawn.map(|(label, points)| json!({ "label": label, "points": points })).collect();
    let charts = Painter::series(&data)?;
    let page = html! {
        (PreEscaped("<!doctype html>\n"))
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (name) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { (name) } p class="facts" { (run.done) (of) " steps" } }
                main {
                    section { h2 { "Curves" } div class="grid" { @for chart in &charts { figure { (PreEscaped(chart)) } } } }
                    section { h2 { "Heads" } (table(run)) p { (correlation(run)) } }
                }
            }
        }
    };
    Ok(page.into_string() + "\n")
}

/// Turnover and reward in a sentence.
fn correlation(run: &LiveRun) -> String {
    let Some(found) = &run.dynamics else {
        return format!(
            "Too few circuits for the correlation of turnover with the change of the {}.",
            run.value_name()
        );
    };
    let lag = |l: &stats::Lagged| format!("{:.2} at lag {} (n = {})", l.coefficient, l.lag, l.n);
    format!(
        "Rank correlation of turnover, less its noise floor, with the absolute change of reward or loss: {}. \
         p = {:.3} for the largest, by {} circular shifts.",
        found.lags.iter().map(lag).collect::<Vec<_>>().join(", "),
        found.p_value,
        found.shifts
    )
}

fn table(run: &LiveRun) -> Markup {
    let number = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), |x| format!("{x:.2}"));
    let columns =
        ["step", "heads", "born", "died", "turnover", "noise floor", "survival", "change of reward or loss"];
    wide(
        "",
        &columns,
        html! {
            @for c in &run.circuits { tr {
                th scope="row" { (c.step) }
                td { (c.heads) }
                td { (c.born.join(", ")) }
                td { (c.died.join(", ")) }
                @for value in [c.turnover, c.noise_floor, c.survival, c.reward_change] { td { (number(value)) } }
            } }
        },
    )
}
