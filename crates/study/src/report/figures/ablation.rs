//! Interventions: accuracy with some heads changed, and with random heads of the same layers changed.

use super::{Figure, names, slug};
use crate::report::svg::{Anchor, Canvas, Scale, WIDTH};
use crate::report::tables::described;
use crate::report::words::percent;
use crate::results::{Results, Training};
use stats::Interval;

const ROW: f64 = 62.0;
const LEFT: f64 = 8.0;

fn words(i: &Interval) -> String {
    format!("{} [{} to {}]", percent(i.estimate), percent(i.low), percent(i.high))
}

/// The figure of a run's heads; `None` where nothing was done to them.
pub(crate) fn ablation(results: &Results, run: &Training) -> Option<Figure> {
    let rows: Vec<_> = results.interventions.iter().filter(|i| i.training == run.name).collect();
    if rows.is_empty() {
        return None;
    }
    let bottom = 8.0 + ROW * rows.len() as f64;
    let mut svg = Canvas::new(
        bottom + 42.0,
        "Accuracy with heads changed, and with random heads of the same layers changed",
    );
    let x = Scale::new((0.0, 1.0), (LEFT, WIDTH - 8.0));
    for value in x.ticks(4) {
        svg.line("grid", (x.at(value), 4.0), (x.at(value), bottom));
    }
    svg.x_axis(&x, 4, |v| format!("{:.0}", 100.0 * v), bottom, "problems solved, %");
    for (i, row) in rows.into_iter().enumerate() {
        let top = 8.0 + ROW * i as f64;
        let y = top + 34.0;
        svg.text("", (LEFT, top + 15.0), Anchor::Start, &described(row));
        let untouched = x.at(row.untouched.estimate);
        svg.line("bar-m", (x.at(row.untouched.low), y), (x.at(row.untouched.high), y));
        svg.circle(
            "dot-m",
            (untouched, y),
            5.0,
            &format!("all heads as they are: {}", words(&row.untouched)),
        );
        svg.line("bar-e", (x.at(row.accuracy.low), y), (x.at(row.accuracy.high), y));
        let tip = format!("{}: {}", names(&row.heads), words(&row.accuracy));
        svg.circle("dot-e", (x.at(row.accuracy.estimate), y), 6.0, &tip);
        for draw in &row.random {
            let place = x.at(draw.accuracy.estimate);
            let tip = format!("random heads {}: {}", names(&draw.heads), words(&draw.accuracy));
            svg.line("bar", (place, y + 10.0), (place, y + 18.0));
            svg.rect("hit", (place - 4.0, y + 8.0), (8.0, 12.0), "", &tip);
        }
    }
    Some(Figure {
        name: format!("interventions-{}", slug(&run.name)),
        title: format!("The heads of {} against random heads", run.name),
        caption: "Blue dot: the heads named. Ring: all heads as they are. Ticks beneath: as many random heads of the \
                  same layers, one tick a draw. Bars are 95 % intervals. The loss is specific to these heads only \
                  where the blue dot lies left of all ticks."
            .into(),
        svg,
    })
}
