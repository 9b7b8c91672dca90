//! A circuit in Graphviz DOT. The SVG drawing is in the `study` crate's report, which also colours it.

use std::fmt::Write;

use hooks::{EdgeMap, Port, Reader, Writer};

use crate::Circuit;
use crate::circuit::owners;

/// The colour of an edge by its reader, from the palette for the colour-blind of Okabe and Ito (2008).
fn colour(to: Reader) -> &'static str {
    match to {
        Reader::Head(_, Port::Q) => "#0072b2",
        Reader::Head(_, Port::K) => "#e69f00",
        Reader::Head(_, Port::V) => "#009e73",
        Reader::Mlp(_) => "#cc79a7",
        Reader::Logits => "#555555",
    }
}

/// The circuit in Graphviz' language, input at the bottom. Colour is the kind of reader (query blue, key orange,
/// value green, MLP pink, logits grey); width is the share of the largest absolute score; edges of negative score
/// are dashed.
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
