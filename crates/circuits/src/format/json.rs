//! EAP-IG's graph JSON, current and older: `cfg`, `nodes`, `edges` — and one object more, `sparks`.
//!
//! Edges are written in that package's own order: for each layer, for each source, for each head its query,
//! key and value; then the sources into the MLP; at the end those into the logits. The older form has a
//! plain boolean for a node, and may have `null` for a score.

use std::fmt::Write as _;

use hooks::{Edge, EdgeMap, Head, KeyValue, NodeMap, Port, Reader, Wiring, Writer};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{PerPair, ScoreFile, check_sizes, wiring_of};
use crate::{Circuit, Error};

#[derive(Deserialize)]
struct File {
    cfg: Config,
    #[serde(default)]
    nodes: Nodes,
    edges: Edges,
    sparks: Option<serde_json::Map<String, Value>>,
}

#[derive(Deserialize)]
struct Config {
    n_layers: usize,
    n_heads: usize,
    #[serde(default)]
    parallel_attn_mlp: bool,
    #[serde(default)]
    d_model: usize,
}

#[derive(Deserialize)]
struct Record {
    score: Option<f64>,
    #[serde(default)]
    in_graph: bool,
}

/// Node names with their scores, where they have one; whether a node is in follows from the edges.
#[derive(Default)]
struct Nodes(Vec<(String, Option<f64>)>);

/// Edge records in the order of the file.
struct Edges(Vec<(String, Record)>);

struct Entries<T>(std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
    type Value = Vec<(String, T)>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = map.next_entry()? {
            all.push(entry);
        }
        Ok(all)
    }
}

impl<'de> Deserialize<'de> for Edges {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Entries(std::marker::PhantomData)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // The older form has a boolean for a node, the current one an object.
        let all: Vec<(String, Value)> = from.deserialize_map(Entries(std::marker::PhantomData))?;
        Ok(Self(all.into_iter().map(|(name, v)| (name, v.get("score").and_then(Value::as_f64))).collect()))
    }
}

impl ScoreFile {
    /// Reads EAP-IG's JSON.
    ///
    /// # Errors
    /// Text that is not such a file, sizes that do not match its edges, an unknown node, a missing edge, or a
    /// score that is not a finite number; the message names the edge.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|e| Error::input(format!("not text: {e}")))?;
        let text = without_nan(text)?;
        let mut file: File = serde_json::from_str(&text).map_err(|e| Error::input(e.to_string()))?;
        if file.cfg.parallel_attn_mlp {
            return Err(Error::input("`cfg.parallel_attn_mlp`: true, expected false (attention, then MLP)"));
        }
        let (n_layers, n_heads, d_model) = (file.cfg.n_layers, file.cfg.n_heads, file.cfg.d_model);
        let mut wiring =
            Wiring { n_layers, n_heads, n_kv_heads: n_heads, d_model, key_value: KeyValue::Ungrouped };
        wiring = check_sizes(wiring)?;
        let mut meta = Value::Null;
        let mut per_pair = None;
        if let Some(mut sparks) = file.sparks.take() {
            if let Some(value) = sparks.remove("wiring") {
                wiring = wiring_of(value)?;
            }
            if (wiring.n_layers, wiring.n_heads) != (n_layers, n_heads) {
                return Err(Error::input("`cfg` and `sparks.wiring` have different sizes"));
            }
            per_pair = sparks.remove("per_pair").map(pairs_of).transpose()?;
            meta = Value::Object(sparks);
        }
        let mut node_scores: Vec<Option<f32>> = vec![None; wiring.n_writers()];
        for (name, score) in &file.nodes.0 {
            let unknown = || {
                Error::input(format!("node {name}: not in a graph of {n_layers} layers of {n_heads} heads"))
            };
            if name == "logits" {
                continue;
            }
            let node: Writer = name.parse().map_err(|_| unknown())?;
            let index = wiring.writer_index(node);
            if index >= wiring.n_writers() || wiring.writer(index) != node {
                return Err(unknown());
            }
            node_scores[index] = score.map(|s| s as f32);
        }
        let nodes = scored(wiring, &node_scores)?;
        let (mut scores, mut in_graph) = (EdgeMap::filled(wiring, 0.0f32), EdgeMap::filled(wiring, false));
        let mut seen = vec![false; wiring.n_edges()];
        for (name, record) in file.edges.0 {
            let unknown = || {
                Error::input(format!("edge {name}: not in a graph of {n_layers} layers of {n_heads} heads"))
            };
            let edge: Edge = name.parse().map_err(|_| unknown())?;
            let index = wiring.edge_index(edge).ok_or_else(unknown)?;
            let score = record.score.unwrap_or(0.0) as f32;
            if !score.is_finite() {
                return Err(Error::input(format!("edge {name}: score is {score}, expected a finite number")));
            }
            if std::mem::replace(&mut seen[index], true) {
                return Err(Error::input(format!("edge {name}: given twice")));
            }
            (scores.values_mut()[index], in_graph.values_mut()[index]) = (score, record.in_graph);
        }
        if let Some((edge, _)) = wiring.edges().zip(&seen).find(|(_, seen)| !**seen) {
            let found = seen.iter().filter(|&&s| s).count();
            return Err(Error::input(format!(
                "edge {edge}: missing ({found} edges, expected {} for {n_layers} layers of {n_heads} heads)",
                wiring.n_edges()
            )));
        }
        let mut file = Self { wiring, scores, in_graph, nodes, per_pair: None, meta };
        if let Some((mut per_pair, in_file_order)) = per_pair {
            per_pair.check(file.n_scores())?;
            if in_file_order {
                let order = file.pair_order();
                for row in per_pair.values.chunks_mut(order.len()) {
                    let given = row.to_vec();
                    order.iter().zip(given).for_each(|(&i, score)| row[i] = score);
                }
            }
            file.per_pair = Some(per_pair);
        }
        Ok(file)
    }

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

    /// Where each score of a pair in the file stands in its row here.
    fn pair_order(&self) -> Vec<usize> {
        match &self.nodes {
            Some(nodes) => (0..nodes.values().len()).collect(),
            None => {
                let edges = package_order(self.wiring).into_iter();
                edges.filter_map(|edge| self.wiring.edge_index(edge)).collect()
            }
        }
    }
}

/// Scores of all nodes, or of none.
pub(super) fn scored(wiring: Wiring, scores: &[Option<f32>]) -> Result<Option<NodeMap<f32>>, Error> {
    if scores.iter().all(Option::is_none) {
        return Ok(None);
    }
    let value = |(node, score): (Writer, &Option<f32>)| match score {
        Some(score) if score.is_finite() => Ok(*score),
        _ => {
            Err(Error::input(format!("node {node}: no score, expected a number for every node or for none")))
        }
    };
    let values = wiring.writers().zip(scores).map(value).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(NodeMap::from_values(wiring, values)))
}

/// All edges in the order of EAP-IG's dictionary.
pub(super) fn package_order(w: Wiring) -> Vec<Edge> {
    let mut edges = Vec::with_capacity(w.n_edges());
    for layer in 0..w.n_layers {
        for from in w.writers().take(w.n_writers_before(Reader::Head(Head { layer, head: 0 }, Port::Q))) {
            for head in 0..w.n_heads {
                let ports = [(Port::Q, w.n_heads), (Port::K, w.n_kv_ports()), (Port::V, w.n_kv_ports())];
                let ports = ports.into_iter().filter(|(_, n)| head < *n);
                edges.extend(
                    ports.map(|(port, _)| Edge { from, to: Reader::Head(Head { layer, head }, port) }),
                );
            }
        }
        let mlp = Reader::Mlp(layer);
        edges.extend(w.writers().take(w.n_writers_before(mlp)).map(|from| Edge { from, to: mlp }));
    }
    edges.extend(w.writers().map(|from| Edge { from, to: Reader::Logits }));
    edges
}

/// Scores of pairs, and whether they are in the order of the file; files before 0.1 have them in that of
/// [`Wiring::edges`].
fn pairs_of(value: Value) -> Result<(PerPair, bool), Error> {
    #[derive(Deserialize)]
    struct Rows {
        ids: Vec<String>,
        order: Option<String>,
        scores: Vec<Vec<f32>>,
    }
    let rows: Rows =
        serde_json::from_value(value).map_err(|e| Error::input(format!("`sparks.per_pair`: {e}")))?;
    Ok((PerPair { ids: rows.ids, values: rows.scores.concat() }, rows.order.is_some()))
}

/// Python writes NaN and Infinity where JSON has none. Among the nodes NaN means "not scored" and becomes
/// null; among the edges it is an error.
fn without_nan(text: &str) -> Result<std::borrow::Cow<'_, str>, Error> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Ok(text.into());
    }
    let edges = text.find("\"edges\"").unwrap_or(text.len());
    let (nodes, rest) = text.split_at(edges);
    for bad in ["NaN", "Infinity"] {
        let Some(at) = rest.find(bad) else { continue };
        let before = &rest[..at];
        let Some(arrow) = before.rfind("->") else { continue };
        let start = before[..arrow].rfind('"').map_or(0, |i| i + 1);
        let end = before[arrow..].find('"').map_or(at, |i| arrow + i);
        return Err(Error::input(format!(
            "edge {}: score is {bad}, expected a finite number",
            &before[start..end]
        )));
    }
    let nodes = nodes.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null");
    Ok(format!("{nodes}{rest}").into())
}
