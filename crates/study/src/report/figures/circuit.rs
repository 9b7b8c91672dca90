//! A circuit drawn: the embeddings at the bottom, layers upwards, the logits on top.

use std::fmt::Write as _;

use hooks::{Edge, Head, KeyValue, Port, Reader, Writer};

use super::{Figure, slug};
use crate::report::html::{count, number};
use crate::report::svg::{Anchor, Canvas, WIDTH, at};
use crate::results::{Checkpoint, CircuitFacts, ModelFacts, Results};

/// Edges drawn at most, the strongest.
const MOST: usize = 160;
const LEFT: f64 = 30.0;
const TOP: f64 = 20.0;

struct Layout<'a> {
    model: &'a ModelFacts,
    row: f64,
    column: f64,
    radius: f64,
}

impl<'a> Layout<'a> {
    fn new(model: &'a ModelFacts) -> Self {
        let row = (640.0 / (model.n_layers + 1) as f64).clamp(34.0, 104.0);
        let column = (WIDTH - LEFT) / (model.n_heads + 1) as f64;
        Self { model, row, column, radius: (0.38 * column).min(15.0).min(0.2 * row) }
    }

    fn bottom(&self) -> f64 {
        TOP + self.row * (self.model.n_layers + 1) as f64
    }

    /// Centre of the heads' row of a layer.
    fn layer(&self, layer: usize) -> f64 {
        self.bottom() - self.row * (layer as f64 + 0.62)
    }

    fn head(&self, head: Head) -> (f64, f64) {
        (LEFT + self.column * (head.head as f64 + 0.5), self.layer(head.layer))
    }

    /// An MLP reads its layer's heads, so it sits a little higher.
    fn mlp(&self, layer: usize) -> (f64, f64) {
        (LEFT + self.column * (self.model.n_heads as f64 + 0.5), self.layer(layer) - 0.36 * self.row)
    }

    fn middle(&self) -> f64 {
        f64::midpoint(LEFT, WIDTH)
    }

    fn writer(&self, writer: Writer) -> (f64, f64) {
        let (x, y) = match writer {
            Writer::Input => (self.middle(), self.bottom()),
            Writer::Head(head) => self.head(head),
            Writer::Mlp(layer) => self.mlp(layer),
        };
        (x, y - self.radius)
    }

    fn reader(&self, reader: Reader) -> (f64, f64) {
        let (x, y) = match reader {
            Reader::Head(head, port) => {
                let shift = [-0.5, 0.0, 0.5][port as usize] * self.radius;
                let (x, y) = if port != Port::Q && self.model.key_value == KeyValue::Grouped {
                    // A shared key/value head is in the middle of the query heads that it serves.
                    let group = (self.model.n_heads / self.model.n_kv_heads.max(1)).max(1) as f64;
                    let x = LEFT + self.column * group * (head.head as f64 + 0.5);
                    (x, self.layer(head.layer))
                } else {
                    self.head(head)
                };
                (x + shift, y)
            }
            Reader::Mlp(layer) => self.mlp(layer),
            Reader::Logits => (self.middle(), TOP),
        };
        (x, y + self.radius)
    }
}

/// The node that an edge end belongs to, as nodes are named in attributes.
fn reader_node(reader: Reader) -> String {
    match reader {
        Reader::Head(head, _) => Writer::Head(head).to_string(),
        other => other.to_string(),
    }
}

/// The figure; `None` for a checkpoint without circuit.
pub(crate) fn circuit(results: &Results, checkpoint: &Checkpoint) -> Option<Figure> {
    let found = checkpoint.circuit.as_ref()?;
    let layout = Layout::new(&results.model);
    let mut svg = Canvas::new(
        layout.bottom() + layout.radius + 8.0,
        format!(
            "The circuit of {}: {} heads, {} edges",
            checkpoint.label,
            found.heads.len(),
            found.edges.len()
        ),
    );
    for layer in 0..results.model.n_layers {
        svg.text("tick", (0.0, layout.layer(layer) + 4.0), Anchor::Start, &format!("L{layer}"));
    }
    wires(&mut svg, &layout, found);
    nodes(&mut svg, &layout, found, results);
    let hidden = found.edges.len().saturating_sub(MOST);
    let hidden = if hidden > 0 {
        format!(" The {MOST} strongest edges are drawn, {hidden} are not.")
    } else {
        String::new()
    };
    Some(Figure {
        name: format!("circuit-{}", slug(&checkpoint.label)),
        title: if checkpoint.step == 0 { "Base".into() } else { format!("Step {}", checkpoint.step) },
        caption: format!(
            "{}, {}, {}; faithfulness {}.{hidden}",
            count(found.heads.len(), "head"),
            count(found.n_nodes, "node"),
            count(found.edges.len(), "edge"),
            number(found.faithfulness, 2)
        ),
        svg,
    })
}

/// Whether an edge serves the right answer. A score is (corrupt − clean) · gradient of the metric: negative where
/// corrupting the edge lowers the metric, which is bad for all metrics but divergence and loss.
fn helps(score: f64, metric: &str) -> bool {
    (score < 0.0) != matches!(metric, "kl" | "nll")
}

fn wires(svg: &mut Canvas, layout: &Layout<'_>, found: &CircuitFacts) {
    let strongest = found.edges.iter().map(|e| e.score.abs()).fold(f64::MIN_POSITIVE, f64::max);
    // Weakest first, so that the strongest lie on top.
    for scored in found.edges.iter().take(MOST).rev() {
        let Edge { from, to } = scored.edge;
        let (a, b) = (layout.writer(from), layout.reader(to));
        let strength = (scored.score.abs() / strongest).sqrt();
        let bend = 0.45 * (a.1 - b.1).max(0.5 * layout.row);
        let mut attributes = format!(
            "d=\"M{},{}C{},{} {},{} {},{}\"",
            at(a.0),
            at(a.1),
            at(a.0),
            at(a.1 - bend),
            at(b.0),
            at(b.1 + bend),
            at(b.0),
            at(b.1)
        );
        let _ = write!(
            attributes,
            " stroke-width=\"{:.1}\" opacity=\"{:.2}\" data-a=\"{from}\" data-b=\"{}\"",
            0.6 + 3.4 * strength,
            0.2 + 0.65 * strength,
            reader_node(to)
        );
        let class = if helps(scored.score, &found.metric) { "wire" } else { "wire neg" };
        svg.element("path", class, &attributes, &format!("{from} → {to}: {}", number(scored.score, 3)));
    }
}

fn nodes(svg: &mut Canvas, layout: &Layout<'_>, found: &CircuitFacts, results: &Results) {
    let base = results.base.circuit.as_ref().map(|c| &c.heads);
    let degree = |node: &str| {
        let outgoing = found.edges.iter().filter(|e| e.edge.from.to_string() == node).count();
        let incoming = found.edges.iter().filter(|e| reader_node(e.edge.to) == node).count();
        (incoming, outgoing)
    };
    let r = layout.radius;
    for layer in 0..results.model.n_layers {
        for head in (0..results.model.n_heads).map(|head| Head { layer, head }) {
            let node = Writer::Head(head).to_string();
            let (incoming, outgoing) = degree(&node);
            let is_base = base.is_some_and(|b| b.contains(&head));
            let (class, kind) = match (found.heads.contains(&head), is_base) {
                (true, false) => ("node new", "emergent"),
                (true, true) => ("node old", "in the base's circuit too"),
                (false, true) => ("node off", "in the base's circuit, not in this one"),
                (false, false) => ("node off", "not in the circuit"),
            };
            let (x, y) = layout.head(head);
            svg.open(&format!("data-node=\"{node}\" data-head=\"{head}\" tabindex=\"0\""));
            svg.circle(class, (x, y), r, &format!("{head}: {kind}; {incoming} edges in, {outgoing} out"));
            if r >= 9.0 {
                let class = if found.heads.contains(&head) { "value" } else { "value offtext" };
                svg.text(class, (x, y + 4.0), Anchor::Middle, &format!("H{}", head.head));
            }
            svg.close();
        }
        let (x, y) = layout.mlp(layer);
        let node = Writer::Mlp(layer).to_string();
        let (incoming, outgoing) = degree(&node);
        let class = if incoming + outgoing > 0 { "node" } else { "node off" };
        boxed(
            svg,
            class,
            &node,
            (x, y),
            (r, r),
            &format!("MLP of layer {layer}: {incoming} edges in, {outgoing} out"),
        );
        if r >= 9.0 {
            let class = if incoming + outgoing > 0 { "value" } else { "value offtext" };
            svg.text(class, (x, y + 4.0), Anchor::Middle, "M");
        }
        svg.close();
    }
    for (node, y, tip) in
        [("input", layout.bottom(), "token embeddings"), ("logits", TOP, "logits of the next token")]
    {
        let r = r.max(10.0);
        boxed(svg, "node", node, (layout.middle(), y), (34.0, r), tip);
        svg.text("value", (layout.middle(), y + 4.0), Anchor::Middle, node);
        svg.close();
    }
}

/// Opens the group of a node and draws its box.
fn boxed(svg: &mut Canvas, class: &str, node: &str, centre: (f64, f64), half: (f64, f64), tip: &str) {
    svg.open(&format!("data-node=\"{node}\" tabindex=\"0\""));
    svg.rect(class, (centre.0 - half.0, centre.1 - half.1), (2.0 * half.0, 2.0 * half.1), "rx=\"5\"", tip);
}
