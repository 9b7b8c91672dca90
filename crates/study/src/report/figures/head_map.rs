//! Maps over layers and heads: in how many checkpoints a head is in the circuit, and the effect of a run on its
//! importance (Thinking Sparks, Figures 2B and 13).

use hooks::Head;

use super::{Figure, slug};
use crate::report::svg::{Anchor, Canvas, WIDTH};
use crate::report::words::{number, percent};
use crate::results::{ModelFacts, Results, Training};

const LEFT: f64 = 40.0;
const TOP: f64 = 6.0;

/// Where the cells are: layers bottom to top, as the residual stream runs in the circuit drawings.
struct Grid {
    n_layers: usize,
    n_heads: usize,
    cell: (f64, f64),
}

impl Grid {
    fn new(model: &ModelFacts) -> Self {
        let width = ((WIDTH - LEFT - 8.0) / model.n_heads as f64).min(84.0);
        let height = (320.0 / model.n_layers as f64).clamp(11.0, 44.0);
        Self { n_layers: model.n_layers, n_heads: model.n_heads, cell: (width, height) }
    }

    fn bottom(&self) -> f64 {
        TOP + self.cell.1 * self.n_layers as f64
    }

    fn corner(&self, head: Head) -> (f64, f64) {
        (LEFT + self.cell.0 * head.head as f64, self.bottom() - self.cell.1 * (head.layer + 1) as f64)
    }

    fn canvas(&self, label: String) -> Canvas {
        let mut svg = Canvas::new(self.bottom() + 42.0, label);
        for layer in 0..self.n_layers {
            if layer % self.n_layers.div_ceil(14) == 0 {
                let y = self.corner(Head { layer, head: 0 }).1 + self.cell.1 / 2.0 + 4.0;
                svg.text("tick", (LEFT - 10.0, y), Anchor::End, &format!("L{layer}"));
            }
        }
        for head in 0..self.n_heads {
            if head % self.n_heads.div_ceil(14) == 0 {
                let x = LEFT + self.cell.0 * (head as f64 + 0.5);
                svg.text("tick", (x, self.bottom() + 17.0), Anchor::Middle, &format!("H{head}"));
            }
        }
        let middle = LEFT + self.cell.0 * self.n_heads as f64 / 2.0;
        svg.text("muted", (middle, self.bottom() + 36.0), Anchor::Middle, "head (layers upwards)");
        svg
    }

    /// One head's cell: a ground, a colour at some strength, perhaps an outline and a number.
    fn cell(
        &self,
        svg: &mut Canvas,
        head: Head,
        colour: (&str, f64),
        outlined: bool,
        inside: &str,
        tip: &str,
    ) {
        let (x, y) = self.corner(head);
        let pad = if self.cell.1 > 20.0 { 1.5 } else { 0.5 };
        let (corner, size) = ((x + pad, y + pad), (self.cell.0 - 2.0 * pad, self.cell.1 - 2.0 * pad));
        svg.open(&format!("data-head=\"{head}\" tabindex=\"0\""));
        svg.rect("cell", corner, size, "rx=\"3\"", "");
        if colour.1 > 0.0 {
            svg.rect(colour.0, corner, size, &format!("rx=\"3\" fill-opacity=\"{:.2}\"", colour.1), "");
        }
        if outlined {
            svg.rect(
                "outline",
                (corner.0 + 1.0, corner.1 + 1.0),
                (size.0 - 2.0, size.1 - 2.0),
                "rx=\"2\"",
                "",
            );
        }
        if !inside.is_empty() && self.cell.0 > 34.0 && self.cell.1 > 20.0 {
            svg.text("incell", (x + self.cell.0 / 2.0, y + self.cell.1 / 2.0 + 4.0), Anchor::Middle, inside);
        }
        svg.rect("hit", corner, size, "", tip);
        svg.close();
    }
}

/// How often each head was in the circuit; `None` for a run without circuits.
pub(crate) fn cohort_map(run: &Training, results: &Results) -> Option<Figure> {
    let base = &results.base.circuit.as_ref()?.heads;
    let last = run.changes.last()?;
    let n = run.changes.len();
    let grid = Grid::new(&results.model);
    let mut svg = grid.canvas(format!("{}: how often each head was in the circuit", run.name));
    for layer in 0..grid.n_layers {
        for head in (0..grid.n_heads).map(|head| Head { layer, head }) {
            let is_base = base.contains(&head);
            let there = |c: &&crate::results::HeadChange| c.kept.contains(&head) || c.gained.contains(&head);
            let times = run.changes.iter().filter(there).count();
            let active = last.kept.contains(&head) || last.gained.contains(&head);
            let share = times as f64 / n as f64;
            let strength = match (is_base, times) {
                (true, _) => 0.15 + 0.65 * share,
                (false, 0) => 0.0,
                (false, _) => 0.15 + 0.65 * share,
            };
            let kind = match (is_base, times) {
                (true, _) => "in the base's circuit",
                (false, 0) => "never in a circuit",
                (false, _) if last.emergent.as_ref().is_some_and(|heads| heads.contains(&head)) => {
                    "new, and emergent in the last checkpoint"
                }
                (false, _) => "new",
            };
            let tip = format!(
                "{head}: {kind}; in {times} of {n} checkpoints{}",
                if active { ", the last among them" } else { "" }
            );
            let inside = if is_base || times > 0 { format!("{times}/{n}") } else { String::new() };
            grid.cell(&mut svg, head, (if is_base { "cb" } else { "ce" }, strength), active, &inside, &tip);
        }
    }
    Some(Figure {
        name: format!("heads-{}", slug(&run.name)),
        title: format!("{}: heads by number of checkpoints", run.name),
        caption: "Red: in the base's circuit, fading as checkpoints drop it. Blue: new, stronger the more \
                  checkpoints have it. Outlined: in the last checkpoint's circuit."
            .into(),
        svg,
    })
}

/// The effect E on each head; `None` for a run without effects.
pub(crate) fn effect_map(run: &Training, results: &Results) -> Option<Figure> {
    if run.effects.is_empty() {
        return None;
    }
    let grid = Grid::new(&results.model);
    let mut svg = grid.canvas(format!("{}: effect on each head's importance", run.name));
    for layer in 0..grid.n_layers {
        for head in (0..grid.n_heads).map(|head| Head { layer, head }) {
            let Some(found) = run.effects.iter().find(|e| e.head == head) else {
                grid.cell(
                    &mut svg,
                    head,
                    ("ce", 0.0),
                    false,
                    "",
                    &format!("{head}: no edge of it in a circuit"),
                );
                continue;
            };
            let sure = found.interval.as_ref().is_some_and(|i| i.low > 0.0 || i.high < 0.0);
            let interval = found
                .interval
                .as_ref()
                .map_or(String::new(), |i| format!(" [{} to {}]", number(i.low, 2), number(i.high, 2)));
            let tip = format!(
                "{head}: E = {}{interval}; share of importance {} before, {} after",
                number(found.effect, 2),
                percent(found.before),
                percent(found.after)
            );
            let colour = (if found.effect < 0.0 { "cb" } else { "ce" }, 0.8 * found.effect.abs().min(1.0));
            grid.cell(&mut svg, head, colour, sure, &number(found.effect, 2), &tip);
        }
    }
    let outlined = if run.effects.iter().any(|e| e.interval.is_some()) {
        " Outlined: its 95 % interval leaves out 0."
    } else {
        ""
    };
    Some(Figure {
        name: format!("effect-{}", slug(&run.name)),
        title: format!("{}: effect E on each head", run.name),
        caption: format!(
            "E = (after − before) / (after + before) of the head's share of all importance: blue, gained; red, lost.{outlined}"
        ),
        svg,
    })
}
