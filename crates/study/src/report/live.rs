//! The page of `sparks watch --html`: a run as far as it is.

use maud::{Markup, PreEscaped, html};

use super::figures::tick;
use super::page::STYLE;
use super::svg::{Anchor, Canvas, Scale, THEME, WIDTH, range};
use crate::live::{LiveCircuit, LiveRun};

/// Left end of the axes.
const LEFT: f64 = 44.0;

/// The page of a run, called `name`: one self-contained file.
pub fn live_page(run: &LiveRun, name: &str) -> String {
    let of = run.steps.map_or_else(String::new, |steps| format!(" of {steps}"));
    let points = |value: fn(&LiveCircuit) -> Option<f64>| -> Vec<(f64, f64)> {
        run.circuits.iter().filter_map(|c| Some((c.step as f64, value(c)?))).collect()
    };
    let lengths: Vec<(f64, f64)> =
        run.curve.iter().filter_map(|p| Some((p.step as f64, p.length?))).collect();
    let charts = [
        chart(run.value_name(), &run.values()),
        chart("length of completions, tokens", &lengths),
        chart("heads in the circuit", &points(|c| Some(c.heads as f64))),
        chart("turnover less its noise floor", &points(|c| Some(c.turnover? - c.noise_floor.unwrap_or(0.0)))),
        chart("share of heads ever born that are in the circuit", &points(|c| c.survival)),
    ];
    let page = html! {
        (PreEscaped("<!doctype html>\n"))
        html lang="en" class="sparks" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (name) }
                link rel="icon" href="data:,";
                style { (PreEscaped(THEME)) (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { (name) } p class="facts" { (run.done) (of) " steps" } }
                main {
                    section { h2 { "Curves" } div class="grid" { @for chart in charts.iter().flatten() { (chart) } } }
                    section { h2 { "Heads" } (table(run)) p { (correlation(run)) } }
                }
            }
        }
    };
    page.into_string() + "\n"
}

/// Turnover and reward in a sentence.
fn correlation(run: &LiveRun) -> String {
    let Some(found) = &run.dynamics else {
        return "Too few circuits for the correlation of turnover with the change of reward.".into();
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

fn chart(name: &str, points: &[(f64, f64)]) -> Option<Markup> {
    let x = Scale::new(range(points.iter().map(|p| p.0))?, (LEFT, WIDTH - 8.0));
    let y = Scale::new(range(points.iter().map(|p| p.1).chain([0.0]))?, (130.0, 22.0));
    let mut svg = Canvas::new(172.0, format!("{name} over steps"));
    svg.text("muted", (0.0, 10.0), Anchor::Start, name);
    svg.y_axis(&y, &y.ticks(3), tick, (LEFT, WIDTH - 8.0));
    svg.polyline("line", &points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect::<Vec<_>>());
    svg.x_axis(&x, 5, |v| format!("{v:.0}"), 130.0, "optimiser steps");
    Some(html! { figure { (svg.inline()) } })
}

fn table(run: &LiveRun) -> Markup {
    let number = |x: Option<f64>| x.map_or_else(|| "–".to_owned(), |x| format!("{x:.2}"));
    html! {
        div class="wide" { table {
            thead { tr {
                @for name in ["step", "heads", "born", "died", "turnover", "noise floor", "survival", "change of reward or loss"] {
                    th scope="col" { (name) }
                }
            } }
            tbody { @for c in &run.circuits { tr {
                th scope="row" { (c.step) }
                td { (c.heads) }
                td { (c.born.join(", ")) }
                td { (c.died.join(", ")) }
                @for value in [c.turnover, c.noise_floor, c.survival, c.reward_change] { td { (number(value)) } }
            } } }
        } }
    }
}
