//! Accuracy before and after: one row a model, a dot with its 95 % interval.

use super::{Figure, last, slug};
use crate::report::svg::{Anchor, Canvas, Scale, WIDTH};
use crate::report::words::percent;
use crate::results::{Accuracy, Results, SuiteFacts};

const ROW: f64 = 34.0;
const LEFT: f64 = 64.0;

/// The figure of one suite; `None` where no model was measured on it.
pub(crate) fn accuracy(results: &Results, suite: &SuiteFacts) -> Option<Figure> {
    let finals = results.trainings.iter().filter_map(|run| Some((run.name.as_str(), last(run)?)));
    let rows: Vec<(&str, &Accuracy)> = std::iter::once(("Base", &results.base))
        .chain(finals)
        .filter_map(|(name, at)| Some((name, at.accuracy(&suite.name)?)))
        .collect();
    let base = results.base.accuracy(&suite.name);
    let bottom = 8.0 + ROW * rows.len() as f64;
    let mut svg =
        Canvas::new(bottom + 42.0, format!("Accuracy on {} before and after post-training", suite.name));
    let x = Scale::new((0.0, 1.0), (LEFT, WIDTH - 56.0));
    for value in x.ticks(4) {
        svg.line("grid", (x.at(value), 4.0), (x.at(value), bottom));
    }
    svg.x_axis(&x, 4, |v| format!("{:.0}", 100.0 * v), bottom, "problems solved, % (95 % interval)");
    if let Some(base) = base {
        svg.line("line-b", (x.at(base.interval.estimate), 4.0), (x.at(base.interval.estimate), bottom));
    }
    for (i, (name, accuracy)) in rows.iter().enumerate() {
        let y = 8.0 + ROW * (i as f64 + 0.5);
        let interval = &accuracy.interval;
        let is_base = *name == "Base";
        svg.text("strong", (LEFT - 12.0, y + 4.0), Anchor::End, name);
        svg.line(if is_base { "bar-m" } else { "bar" }, (x.at(interval.low), y), (x.at(interval.high), y));
        let worked = accuracy.worked.map_or(String::new(), |w| format!("; thinks first in {}", percent(w)));
        let tip = format!(
            "{name}: {} [{} to {}], n = {}{worked}",
            percent(interval.estimate),
            percent(interval.low),
            percent(interval.high),
            accuracy.n
        );
        svg.circle(if is_base { "dot-m" } else { "dot" }, (x.at(interval.estimate), y), 5.5, "");
        svg.text("value", (WIDTH, y + 4.0), Anchor::End, &percent(interval.estimate));
        svg.rect("hit", (0.0, y - ROW / 2.0), (WIDTH, ROW), "tabindex=\"0\"", &tip);
    }
    let n = rows.iter().map(|(_, a)| a.n).max()?;
    Some(Figure {
        name: format!("accuracy-{}", slug(&suite.name)),
        title: format!("{}, n = {n}", suite.name),
        caption: format!("{} Dashed: where the base stands.", suite.description),
        svg,
    })
}
