//! Writing EAP-IG's JSON.

use std::fmt::Write as _;

use serde_json::Value;

use super::package_order;
use crate::format::ScoreFile;
use crate::{Circuit, Error};

impl ScoreFile {
    /// Writes EAP-IG's JSON, with the object `sparks` at the end.
    ///
    /// # Errors
    /// Metadata that is not JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let w = self.wiring;
        let nodes = Circuit::new(self.in_graph.clone()).nodes();
        let mut out = String::with_capacity(80 * w.n_edges());
        let _ = write!(
            out,
            "{{\"cfg\": {{\"n_layers\": {}, \"n_heads\": {}, \"parallel_attn_mlp\": false, \"d_model\": {}}}, \"nodes\": {{",
            w.n_layers, w.n_heads, w.d_model
        );
        for node in w.writers() {
            let _ = write!(out, "\"{node}\": {{\"in_graph\": {}", nodes.contains(&node));
            if let Some(scores) = &self.nodes {
                let _ = write!(out, ", \"score\": {:?}", f64::from(*scores.get(node)));
            }
            out.push_str("}, ");
        }
        out.push_str("\"logits\": {\"in_graph\": true}}, \"edges\": {");
        for (i, edge) in package_order(w).into_iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            let (score, kept) = (self.scores.get(edge).copied(), self.in_graph.get(edge).copied());
            let (score, kept) = (f64::from(score.unwrap_or_default()), kept.unwrap_or_default());
            let _ = write!(out, "{comma}\"{edge}\": {{\"score\": {score:?}, \"in_graph\": {kept}}}");
        }
        out.push('}');
        let mut sparks = self.sparks();
        if let Some(per_pair) = &self.per_pair {
            // In the order of `edges` above, so that the two can be read side by side.
            let order = self.pair_order();
            let row = |row: &[f32]| order.iter().map(|&i| row[i]).collect::<Vec<f32>>().into();
            let rows: Vec<Value> = per_pair.values.chunks(self.n_scores()).map(row).collect();
            let of = if self.nodes.is_some() { "nodes" } else { "edges" };
            let per_pair = serde_json::json!({ "ids": per_pair.ids, "order": of, "scores": rows });
            sparks.insert("per_pair".into(), per_pair);
        }
        let sparks = serde_json::to_string(&sparks).map_err(|e| Error::input(format!("`sparks`: {e}")))?;
        let _ = write!(out, ", \"sparks\": {sparks}}}");
        Ok(out.into_bytes())
    }
}
