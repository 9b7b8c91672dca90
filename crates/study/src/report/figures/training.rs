//! A training run over its steps: reward or loss, held-out accuracy, births and deaths of heads.

use super::{Figure, names, slug};
use crate::report::svg::{Anchor, Canvas, Scale, WIDTH, range};
use crate::report::words::percent;
use crate::results::{CurvePoint, HeadChange, Results, Training, TrainingMethod};

const LEFT: f64 = 44.0;
/// Upper and lower ends of the three panels.
const CURVE: (f64, f64) = (22.0, 132.0);
const SOLVED: (f64, f64) = (168.0, 248.0);
const HEADS: (f64, f64) = (284.0, 364.0);

/// The figure; `None` for a run without a curve.
pub(crate) fn training(run: &Training, results: &Results) -> Option<Figure> {
    let value = |p: &CurvePoint| match run.method {
        Some(TrainingMethod::Sft) => p.loss,
        Some(TrainingMethod::Grpo) => p.reward,
        None => None,
    };
    let points: Vec<(f64, f64)> = run.curve.iter().filter_map(|p| Some((p.step as f64, value(p)?))).collect();
    let end = run.checkpoints.last().map_or(0.0, |c| c.step as f64);
    let x = Scale::new((0.0, range(points.iter().map(|p| p.0).chain([end]))?.1), (LEFT, WIDTH - 8.0));
    let (_, top) = range(points.iter().map(|p| p.1))?;
    let mut svg = Canvas::new(
        HEADS.1 + 42.0,
        format!("{}: training curve, held-out accuracy, head births and deaths", run.name),
    );

    let (label, most) = match run.method {
        Some(TrainingMethod::Sft) | None => ("loss, nats a token", top * 1.04),
        Some(TrainingMethod::Grpo) => ("mean reward of the step's samples", f64::max(1.0, top)),
    };
    let y = Scale::new((0.0, most), (CURVE.1, CURVE.0));
    svg.text("muted", (0.0, CURVE.0 - 12.0), Anchor::Start, label);
    svg.y_axis(&y, &y.ticks(3), tick, (LEFT, WIDTH - 8.0));
    let drawn = |points: &[(f64, f64)]| points.iter().map(|p| (x.at(p.0), y.at(p.1))).collect::<Vec<_>>();
    svg.polyline("faint", &drawn(&points));
    svg.polyline("line", &drawn(&smoothed(&points)));
    let stride = points.len().div_ceil(60).max(1);
    let width = (x.at(1.0) - x.at(0.0)) * stride as f64;
    for p in points.iter().step_by(stride) {
        let tip = format!("step {}: {:.3}", p.0, p.1);
        svg.rect("hit", (x.at(p.0) - width / 2.0, CURVE.0), (width, CURVE.1 - CURVE.0), "", &tip);
    }

    solved(&mut svg, run, results, &x);
    births_and_deaths(&mut svg, &run.changes, &x);
    svg.x_axis(&x, 5, |v| format!("{v:.0}"), HEADS.1, "optimiser steps");
    Some(Figure {
        name: format!("training-{}", slug(&run.name)),
        title: format!("{} over its steps", run.name),
        caption: "Thin line: each step; bold: mean of the steps around it. Bars: heads that entered the circuit since \
                  the checkpoint before (blue, up) or left it (red, down)."
            .into(),
        svg,
    })
}

pub(in crate::report) fn tick(v: f64) -> String {
    let text = format!("{v:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A centred moving mean over a tenth of the steps.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = (points.len() / 20).max(1);
    let mean = |i: usize| {
        let window = &points[i.saturating_sub(half)..(i + half + 1).min(points.len())];
        window.iter().map(|p| p.1).sum::<f64>() / window.len() as f64
    };
    (0..points.len()).map(|i| (points[i].0, mean(i))).collect()
}

fn solved(svg: &mut Canvas, run: &Training, results: &Results, x: &Scale) {
    let Some(suite) = results.task.suites.first() else { return };
    let y = Scale::new((0.0, 1.0), (SOLVED.1, SOLVED.0));
    svg.text(
        "muted",
        (0.0, SOLVED.0 - 12.0),
        Anchor::Start,
        &format!("held-out problems solved, % ({})", suite.name),
    );
    svg.y_axis(&y, &[0.0, 0.5, 1.0], |v| format!("{:.0}", 100.0 * v), (LEFT, WIDTH - 8.0));
    let all = std::iter::once(&results.base).chain(&run.checkpoints);
    let seen: Vec<_> = all.filter_map(|c| Some((c, c.accuracy(&suite.name)?))).collect();
    let line: Vec<_> = seen.iter().map(|(c, a)| (x.at(c.step as f64), y.at(a.interval.estimate))).collect();
    svg.polyline("line", &line);
    for (checkpoint, accuracy) in seen {
        let (i, x) = (&accuracy.interval, x.at(checkpoint.step as f64));
        svg.line("bar-m", (x, y.at(i.low)), (x, y.at(i.high)));
        let tip = format!(
            "step {}: {} [{} to {}], n = {}",
            checkpoint.step,
            percent(i.estimate),
            percent(i.low),
            percent(i.high),
            accuracy.n
        );
        svg.circle("dot", (x, y.at(i.estimate)), 4.5, &tip);
    }
}

fn births_and_deaths(svg: &mut Canvas, changes: &[HeadChange], x: &Scale) {
    let most = changes.iter().map(|c| c.births.len().max(c.deaths.len())).max().unwrap_or(0).max(1) as f64;
    let y = Scale::new((-most, most), (HEADS.1, HEADS.0));
    svg.text(
        "muted",
        (0.0, HEADS.0 - 12.0),
        Anchor::Start,
        "births and deaths of heads since the checkpoint before",
    );
    svg.y_axis(&y, &[-most, 0.0, most], |v| format!("{:.0}", v.abs()), (LEFT, WIDTH - 8.0));
    svg.line("axis", (LEFT, y.at(0.0)), (WIDTH - 8.0, y.at(0.0)));
    let gap =
        changes.windows(2).map(|w| x.at(w[1].step as f64) - x.at(w[0].step as f64)).fold(40.0, f64::min);
    let width = (gap * 0.5).clamp(3.0, 16.0);
    for change in changes {
        let left = x.at(change.step as f64) - width / 2.0;
        let (up, down) = (y.at(change.births.len() as f64), y.at(-(change.deaths.len() as f64)));
        svg.rect("e", (left, up), (width, y.at(0.0) - up), "rx=\"1.5\"", "");
        svg.rect("b", (left, y.at(0.0)), (width, down - y.at(0.0)), "rx=\"1.5\"", "");
        let tip = format!(
            "step {}: born {}; dead {}; turnover {}",
            change.step,
            names(&change.births),
            names(&change.deaths),
            percent(change.turnover)
        );
        svg.rect("hit", (left - 4.0, HEADS.0), (width + 8.0, HEADS.1 - HEADS.0), "tabindex=\"0\"", &tip);
    }
}
