//! The cohort plot (Thinking Sparks, Figure 2A): new heads at each checkpoint, stacked by the checkpoint at which
//! each first appeared, beside the base's heads that are kept.

use std::collections::BTreeMap;

use hooks::Head;

use super::{Figure, names, slug};
use crate::report::svg::{Anchor, Canvas, Scale, WIDTH};
use crate::results::Training;

const LEFT: f64 = 44.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 210.0;

/// The figure; `None` for a run without circuits.
pub(crate) fn cohort(run: &Training) -> Option<Figure> {
    let changes = &run.changes;
    let most = changes.iter().map(|c| c.gained.len().max(c.kept.len())).max()?.max(1) as f64;
    let y = Scale::new((0.0, most * 1.05), (BOTTOM, TOP));
    let slot = (WIDTH - 8.0 - LEFT) / changes.len() as f64;
    let x = |i: usize| LEFT + slot * (i as f64 + 0.5);
    let width = (slot * 0.62).min(44.0);
    let mut svg = Canvas::new(
        BOTTOM + 42.0,
        format!("{}: new heads by the checkpoint they first appeared at", run.name),
    );
    svg.text("muted", (0.0, TOP - 18.0), Anchor::Start, "heads in the circuit");
    svg.y_axis(&y, &y.whole_ticks(5), |v| format!("{v:.0}"), (LEFT, WIDTH - 8.0));

    let mut first: BTreeMap<Head, usize> = BTreeMap::new();
    for (i, change) in changes.iter().enumerate() {
        for &head in &change.gained {
            first.entry(head).or_insert(i);
        }
        let mut stacked = 0;
        for born in 0..=i {
            let members: Vec<Head> = change.gained.iter().copied().filter(|h| first[h] == born).collect();
            if members.is_empty() {
                continue;
            }
            let (low, high) = (y.at(stacked as f64), y.at((stacked + members.len()) as f64));
            stacked += members.len();
            let opacity = 0.95 - 0.65 * born as f64 / (changes.len().max(2) - 1) as f64;
            let tip = format!(
                "step {}: first seen at step {}: {}",
                change.step,
                changes[born].step,
                names(&members)
            );
            let extra = format!("fill-opacity=\"{opacity:.2}\" rx=\"1.5\" tabindex=\"0\"");
            svg.rect("e", (x(i) - width / 2.0, high + 0.75), (width, low - high - 1.5), &extra, &tip);
        }
        let every = changes.len().div_ceil(9);
        if i % every == 0 || i + 1 == changes.len() {
            svg.text("tick", (x(i), BOTTOM + 17.0), Anchor::Middle, &change.step.to_string());
        }
    }
    let kept: Vec<_> = changes.iter().enumerate().map(|(i, c)| (x(i), y.at(c.kept.len() as f64))).collect();
    svg.polyline("line-b", &kept);
    for (i, change) in changes.iter().enumerate() {
        let tip = format!(
            "step {}: {} of the base's heads kept: {}",
            change.step,
            change.kept.len(),
            names(&change.kept)
        );
        svg.circle("b", kept[i], 3.5, &tip);
    }
    svg.line("axis", (LEFT, BOTTOM), (WIDTH - 8.0, BOTTOM));
    svg.text("muted", (f64::midpoint(LEFT, WIDTH), BOTTOM + 36.0), Anchor::Middle, "optimiser steps");
    Some(Figure {
        name: format!("cohorts-{}", slug(&run.name)),
        title: format!("{}: cohorts of new heads", run.name),
        caption: "Blue: new heads (not in the base's circuit), darkest those that appeared first. Red, dashed: the \
                  base's heads that are kept."
            .into(),
        svg,
    })
}
