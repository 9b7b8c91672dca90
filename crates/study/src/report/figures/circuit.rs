//! The drawing of a circuit: the embeddings at the bottom, layers upwards, the logits on top. The one drawing of
//! the project: figures of the report and `sparks circuit --svg`.

use std::fmt::Write as _;

use circuits::Circuit;
use hooks::{Edge, EdgeMap, Head, KeyValue, Metric, Port, Reader, Wiring, Writer};

use super::{Figure, slug};
use crate::report::svg::{Anchor, Canvas, WIDTH, at};
use crate::report::words::{count, number};
use crate::results::{CheckpointFacts, ModelFacts, Results, ScoredEdge};

/// Edges drawn at most in the report, the strongest.
const MOST: usize = 160;
const LEFT: f64 = 30.0;
const TOP: f64 = 20.0;

struct Layout {
    model: Wiring,
    row: f64,
    column: f64,
    radius: f64,
}

impl Layout {
    fn new(model: Wiring) -> Self {
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

/// What is drawn: edges, strongest first, and the class and description of each head.
struct Drawing<'a> {
    model: Wiring,
    edges: &'a [ScoredEdge],
    /// Whether the metric falls when the model gets better: `kl`, `nll`.
    is_loss: bool,
    /// `None` for a head that is not drawn.
    head: &'a dyn Fn(Head) -> Option<(&'static str, &'static str)>,
}

impl Drawing<'_> {
    fn draw(&self, label: String, most: usize) -> Canvas {
        let layout = Layout::new(self.model);
        let mut svg = Canvas::new(layout.bottom() + layout.radius + 8.0, label);
        for layer in 0..self.model.n_layers {
            svg.text("tick", (0.0, layout.layer(layer) + 4.0), Anchor::Start, &format!("L{layer}"));
        }
        self.wires(&mut svg, &layout, most);
        self.nodes(&mut svg, &layout);
        svg
    }
}

/// A circuit as an SVG file: heads (circles) and MLPs (boxes) layer by layer. Blue edges raise the metric (for
/// `kl` and `nll` lower it), red dashed edges the opposite; width is the square root of the share of the largest
/// absolute score. Without `scores` all edges are alike.
pub fn circuit_svg(circuit: &Circuit, scores: Option<&EdgeMap<f32>>, metric: Option<Metric>) -> String {
    let mut edges: Vec<ScoredEdge> = circuit
        .edges()
        .map(|edge| ScoredEdge {
            edge,
            score: scores.and_then(|s| s.get(edge)).map_or(-1.0, |&s| f64::from(s)),
        })
        .collect();
    edges.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()).then(a.edge.cmp(&b.edge)));
    let heads = circuit.heads();
    let drawing = Drawing {
        model: circuit.wiring(),
        edges: &edges,
        is_loss: metric.is_some_and(|m| scores.is_some() && is_loss(&m.to_string())),
        head: &|head| heads.contains(&head).then_some(("node", "in the circuit")),
    };
    drawing
        .draw(format!("A circuit of {} heads and {} edges", heads.len(), edges.len()), edges.len())
        .standalone()
}

/// The figure; `None` for a checkpoint without circuit.
pub(crate) fn circuit(results: &Results, checkpoint: &CheckpointFacts) -> Option<Figure> {
    let found = checkpoint.circuit.as_ref()?;
    let base = results.base.circuit.as_ref().map(|c| &c.heads);
    let change = results
        .trainings
        .iter()
        .find(|run| run.checkpoints.iter().any(|c| c.label == checkpoint.label))
        .and_then(|run| run.changes.iter().find(|c| c.step == checkpoint.step));
    let emergent = change.and_then(|c| c.emergent.as_ref());
    let drawing = Drawing {
        model: wiring(&results.model),
        edges: &found.edges,
        is_loss: is_loss(&found.metric),
        head: &|head| {
            let is_base = base.is_some_and(|b| b.contains(&head));
            Some(match (found.heads.contains(&head), is_base) {
                (true, false) if emergent.is_some_and(|e| e.contains(&head)) => ("node new", "emergent"),
                (true, false) => ("node new", "new"),
                (true, true) => ("node old", "in the base's circuit too"),
                (false, true) => ("node off", "in the base's circuit, not in this one"),
                (false, false) => ("node off", "not in the circuit"),
            })
        },
    };
    let label = format!(
        "The circuit of {}: {} heads, {} edges",
        checkpoint.label,
        found.heads.len(),
        found.edges.len()
    );
    let hidden = match found.edges.len().saturating_sub(MOST) {
        0 => String::new(),
        hidden => format!(" The {MOST} strongest edges are drawn, {hidden} are not."),
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
        svg: drawing.draw(label, MOST),
    })
}

fn wiring(model: &ModelFacts) -> Wiring {
    Wiring {
        n_layers: model.n_layers,
        n_heads: model.n_heads,
        n_kv_heads: model.n_kv_heads,
        d_model: model.d_model,
        key_value: model.key_value,
    }
}

/// Whether a smaller value of the metric is better.
fn is_loss(metric: &str) -> bool {
    matches!(metric, "kl" | "nll")
}

impl Drawing<'_> {
    /// A score is (corrupt − clean) · gradient of the metric: it is negative where corrupting the edge lowers the
    /// metric, that is where the edge raises it.
    fn wires(&self, svg: &mut Canvas, layout: &Layout, most: usize) {
        let strongest = self.edges.iter().map(|e| e.score.abs()).fold(f64::MIN_POSITIVE, f64::max);
        // Weakest first, so that the strongest lie on top.
        for scored in self.edges.iter().take(most).rev() {
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
            let class = if (scored.score < 0.0) != self.is_loss { "wire" } else { "wire neg" };
            svg.element("path", class, &attributes, &format!("{from} → {to}: {}", number(scored.score, 3)));
        }
    }

    fn nodes(&self, svg: &mut Canvas, layout: &Layout) {
        let degree = |node: &str| {
            let outgoing = self.edges.iter().filter(|e| e.edge.from.to_string() == node).count();
            let incoming = self.edges.iter().filter(|e| reader_node(e.edge.to) == node).count();
            (incoming, outgoing)
        };
        let r = layout.radius;
        for layer in 0..self.model.n_layers {
            for head in (0..self.model.n_heads).map(|head| Head { layer, head }) {
                let node = Writer::Head(head).to_string();
                let (incoming, outgoing) = degree(&node);
                let Some((class, kind)) = (self.head)(head) else { continue };
                let (x, y) = layout.head(head);
                svg.open(&format!("data-node=\"{node}\" data-head=\"{head}\" tabindex=\"0\""));
                svg.circle(class, (x, y), r, &format!("{head}: {kind}; {incoming} edges in, {outgoing} out"));
                if r >= 9.0 {
                    let class = if class == "node off" { "value offtext" } else { "value" };
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
}

/// Opens the group of a node and draws its box.
fn boxed(svg: &mut Canvas, class: &str, node: &str, centre: (f64, f64), half: (f64, f64), tip: &str) {
    svg.open(&format!("data-node=\"{node}\" tabindex=\"0\""));
    svg.rect(class, (centre.0 - half.0, centre.1 - half.1), (2.0 * half.0, 2.0 * half.1), "rx=\"5\"", tip);
}
