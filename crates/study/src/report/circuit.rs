//! The drawing of a circuit of a file: `sparks circuit --svg`.

use circuits::Circuit;
use hooks::{EdgeMap, Metric};

use super::draw::{CircuitFile, Painter};
use crate::Error;
use crate::results::ScoredEdge;

/// A circuit as an SVG file: heads (circles) and other nodes (boxes) layer by layer. Blue edges work for the answer: with
/// their value from the corrupt prompt the metric would be worse; red dashed edges the opposite; width is the square root
/// of the share of the largest absolute score. Without `scores` all edges are alike.
///
/// # Errors
/// None that input causes.
pub fn circuit_svg(
    circuit: &Circuit,
    scores: Option<&EdgeMap<f32>>,
    metric: Option<Metric>,
) -> Result<String, Error> {
    let score = |edge| scores.and_then(|s| s.get(edge)).map_or(-1.0, |&s| f64::from(s));
    let mut edges: Vec<ScoredEdge> =
        circuit.edges().map(|edge| ScoredEdge { edge, score: score(edge) }).collect();
    edges.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()).then(a.edge.cmp(&b.edge)));
    let heads = circuit.heads();
    let metric = metric.filter(|_| scores.is_some()).map(|m| m.to_string());
    let file = CircuitFile {
        title: format!("A circuit of {} heads and {} edges", heads.len(), edges.len()),
        model: circuit.wiring(),
        edges,
        metric: metric.as_deref().unwrap_or("logit-diff"),
        heads: heads.iter().map(ToString::to_string).collect(),
    };
    Ok(Painter::circuit(&file)?.svg)
}
