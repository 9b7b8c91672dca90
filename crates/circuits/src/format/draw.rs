//! Pictures of a circuit: Graphviz DOT, and an SVG that needs nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;

use hooks::{EdgeMap, Head, Port, Reader, Writer};

use crate::Circuit;
use crate::circuit::owners;

/// Colours of edges by what reads them, as the legend says; a palette for the colour-blind (Okabe and Ito).
const COLOURS: [(&str, &str); 5] = [
    ("query", "#0072b2"),
    ("key", "#e69f00"),
    ("value", "#009e73"),
    ("mlp", "#cc79a7"),
    ("logits", "#555555"),
];

fn colour(to: Reader) -> &'static str {
    let kind = match to {
        Reader::Head(_, Port::Q) => 0,
        Reader::Head(_, Port::K) => 1,
        Reader::Head(_, Port::V) => 2,
        Reader::Mlp(_) => 3,
        Reader::Logits => 4,
    };
    COLOURS[kind].1
}

/// The circuit in Graphviz' language, from the bottom up. Thickness is the share of the largest absolute
/// score; dashed edges have negative scores.
pub fn dot(circuit: &Circuit, scores: Option<&EdgeMap<f32>>) -> String {
    let mut out = String::from("digraph circuit {\n  rankdir=BT;\n  node [fontname=\"Helvetica\"];\n");
    let strength = Strength::new(circuit, scores);
    for node in circuit.nodes() {
        let shape = if matches!(node, Writer::Head(_)) { "circle" } else { "box" };
        let _ = writeln!(out, "  \"{node}\" [shape={shape}];");
    }
    out.push_str("  \"logits\" [shape=box];\n");
    for edge in circuit.edges() {
        let (share, negative) = strength.of(edge);
        let style = if negative { "dashed" } else { "solid" };
        for end in ends(circuit, edge.to) {
            let _ = writeln!(
                out,
                "  \"{}\" -> \"{end}\" [color=\"{}\", penwidth={:.2}, style={style}];",
                edge.from,
                colour(edge.to),
                0.5 + 3.5 * share
            );
        }
    }
    out.push_str("}\n");
    out
}

/// The nodes that a reader stands for.
fn ends(circuit: &Circuit, to: Reader) -> Vec<String> {
    let nodes = owners(circuit.wiring(), to);
    if nodes.is_empty() { vec!["logits".into()] } else { nodes.iter().map(Writer::to_string).collect() }
}

struct Strength<'a> {
    scores: Option<&'a EdgeMap<f32>>,
    largest: f32,
}

impl<'a> Strength<'a> {
    fn new(circuit: &Circuit, scores: Option<&'a EdgeMap<f32>>) -> Self {
        let of = |scores: &EdgeMap<f32>| {
            circuit.edges().filter_map(|e| scores.get(e).map(|s| s.abs())).fold(f32::MIN_POSITIVE, f32::max)
        };
        Self { scores, largest: scores.map_or(1.0, of) }
    }

    /// The edge's share of the largest absolute score, and whether its score is negative.
    fn of(&self, edge: hooks::Edge) -> (f32, bool) {
        let score = self.scores.and_then(|scores| scores.get(edge)).copied();
        score.map_or((0.3, false), |s| (s.abs() / self.largest, s < 0.0))
    }
}

/// `text` fit to stand in XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Horizontal and vertical distance of nodes, and the margins, in pixels.
const GAP: (f32, f32) = (52.0, 58.0);
const MARGIN: (f32, f32) = (64.0, 56.0);

/// The circuit as an SVG picture: the input at the bottom, then a row of heads (circles, in the order of
/// their numbers) and an MLP (square) for each layer that has any, the logits on top. Colour is what reads
/// an edge, thickness the share of the largest absolute score, dashes a negative score. When there are many
/// edges the strongest are drawn over the others, which fade.
pub fn svg(circuit: &Circuit, scores: Option<&EdgeMap<f32>>) -> String {
    let nodes = circuit.nodes();
    let mut rows: Vec<Vec<Writer>> = vec![vec![Writer::Input]];
    for layer in 0..circuit.wiring().n_layers {
        let of = |node: &&Writer| matches!(node, Writer::Head(Head { layer: l, .. }) if *l == layer);
        let heads: Vec<Writer> = nodes.iter().filter(of).copied().collect();
        let mlp = nodes.get(&Writer::Mlp(layer)).map(|&m| vec![m]);
        rows.extend((!heads.is_empty()).then_some(heads).into_iter().chain(mlp));
    }
    let widest = rows.iter().map(Vec::len).max().unwrap_or(1).max(9) as f32;
    let (width, height) = (2.0 * MARGIN.0 + GAP.0 * widest, 2.0 * MARGIN.1 + GAP.1 * rows.len() as f32);
    let mut places: BTreeMap<String, (f32, f32)> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        let start = (width - GAP.0 * (row.len() - 1) as f32) / 2.0;
        for (j, node) in row.iter().enumerate() {
            places.insert(node.to_string(), (start + GAP.0 * j as f32, height - MARGIN.1 - GAP.1 * i as f32));
        }
    }
    places.insert("logits".into(), (width / 2.0, height - MARGIN.1 - GAP.1 * rows.len() as f32));

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"Helvetica, Arial, sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let strength = Strength::new(circuit, scores);
    let mut edges: Vec<_> = circuit.edges().map(|edge| (edge, strength.of(edge))).collect();
    edges.sort_by(|a, b| a.1.0.total_cmp(&b.1.0));
    let faint = (60.0 / edges.len().max(1) as f32).clamp(0.08, 0.6);
    for (edge, (share, negative)) in edges {
        let dashes = if negative { " stroke-dasharray=\"5 3\"" } else { "" };
        for end in ends(circuit, edge.to) {
            let (Some(&(x, y)), Some(&(to_x, to_y))) = (places.get(&edge.from.to_string()), places.get(&end))
            else {
                continue;
            };
            // Long edges bow outwards, so that those along one column do not lie on each other.
            let bow = (y - to_y - GAP.1).max(0.0) * 0.25 * if to_x + x < width { -1.0 } else { 1.0 };
            let middle = (y + to_y) / 2.0;
            let _ = writeln!(
                out,
                "<path d=\"M{x:.1} {y:.1} C{:.1} {middle:.1} {:.1} {middle:.1} {to_x:.1} {to_y:.1}\" fill=\"none\" \
                 stroke=\"{}\" stroke-width=\"{:.2}\" stroke-opacity=\"{:.2}\"{dashes}><title>{}</title></path>",
                x + bow,
                to_x + bow,
                colour(edge.to),
                0.6 + 3.4 * share,
                faint + (0.95 - faint) * share,
                escaped(&edge.to_string())
            );
        }
    }
    for (name, (x, y)) in &places {
        let label = match name.parse() {
            Ok(Writer::Head(head)) => head.to_string(),
            _ => name.clone(),
        };
        let _ = match name.starts_with('a') {
            true => writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"20\" fill=\"#eef4fb\" stroke=\"#334\"/>"
            ),
            false => writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"48\" height=\"28\" rx=\"3\" fill=\"#fdf3e4\" stroke=\"#334\"/>",
                x - 24.0,
                y - 14.0
            ),
        };
        let _ =
            writeln!(out, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", y + 4.0);
    }
    for (i, (name, colour)) in COLOURS.iter().enumerate() {
        let x = 12.0 + 84.0 * i as f32;
        let _ = writeln!(
            out,
            "<path d=\"M{x} 16h18\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{}\" y=\"20\">{name}</text>",
            x + 23.0
        );
    }
    out.push_str("</svg>\n");
    out
}
