//! Reading EAP-IG's JSON.
//!
//! Read as the package's `Graph.from_json` does: an edge that is not listed is not in the graph and has score 0.
//! The older form has a boolean for a node, and may have `null` for a score. What a file has that is not
//! supported here (neurons, a parallel block, keys of other programs) is refused by name.

use hooks::{Edge, EdgeMap, KeyValue, Wiring, Writer};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::lenient::quoted;
use super::scored;
use crate::format::{PerPair, Provenance, ScoreFile, check_sizes, unread_of_cfg, wiring_of};
use crate::{Circuit, Error};

#[derive(Deserialize)]
struct File {
    cfg: Config,
    #[serde(default)]
    nodes: Entries<Value>,
    edges: Entries<Record>,
    sparks: Option<Map<String, Value>>,
    neurons: Option<Value>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Sizes. Other settings of a model may stand beside them, which a graph does not depend on.
#[derive(Deserialize)]
struct Config {
    n_layers: usize,
    n_heads: usize,
    #[serde(default)]
    parallel_attn_mlp: bool,
    d_model: Option<usize>,
    n_key_value_heads: Option<usize>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default)]
    score: Score,
    #[serde(default)]
    in_graph: bool,
}

/// A score, none, or Python's name of what is no number.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Score {
    Number(f64),
    Name(String),
    #[default]
    None,
}

/// An object as the list of its entries, in the order of the file.
struct Entries<T>(Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Collect<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Collect<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Entries(all))
            }
        }
        from.deserialize_map(Collect(std::marker::PhantomData))
    }
}

impl ScoreFile {
    /// Reads EAP-IG's JSON. [`notes`](Self::notes) names edges that are not listed or have no score.
    ///
    /// # Errors
    /// Text that is not such a file, sizes that do not match its edges, an unknown node, edge or key, neurons
    /// that are out of the graph or have scores, or a score that is not a finite number; the message names it.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|e| Error::input(format!("not text: {e}")))?;
        let file: File = serde_json::from_str(&quoted(text)).map_err(|e| Error::input(e.to_string()))?;
        if let Some((key, _)) = file.other.iter().next() {
            return Err(Error::input(format!(
                "`{key}`: unknown key, expected `cfg`, `nodes`, `edges` and `sparks`"
            )));
        }
        if file.neurons.is_some() {
            return Err(neurons("`neurons`"));
        }
        if file.cfg.parallel_attn_mlp {
            return Err(Error::input("`cfg.parallel_attn_mlp`: true, expected false (attention, then MLP)"));
        }
        let (wiring, provenance, per_pair) = described(&file.cfg, file.sparks.unwrap_or_default())?;
        let nodes = scored(wiring, &node_scores(wiring, &file.nodes.0)?)?;
        let (scores, in_graph, notes) = edges(wiring, file.edges.0)?;
        let unread = unread_of_cfg(file.cfg.other.keys().map(String::as_str));
        let mut file = Self { wiring, scores, in_graph, nodes, per_pair: None, provenance, notes, unread };
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
}

fn neurons(place: &str) -> Error {
    Error::input(format!(
        "{place}: neurons are not supported, expected a graph of edges or nodes (all `d_model` neurons in, none scored)"
    ))
}

type Described = (Wiring, Option<Provenance>, Option<(PerPair, bool)>);

/// The graph of a file, its provenance and its per-pair scores.
fn described(cfg: &Config, mut sparks: Map<String, Value>) -> Result<Described, Error> {
    let (n_layers, n_heads) = (cfg.n_layers, cfg.n_heads);
    let mut wiring = check_sizes(Wiring {
        n_layers,
        n_heads,
        n_kv_heads: cfg.n_key_value_heads.unwrap_or(n_heads),
        d_model: cfg.d_model.unwrap_or(0),
        key_value: KeyValue::Ungrouped,
    })?;
    if let Some(value) = sparks.shift_remove("wiring") {
        wiring = wiring_of(value)?;
    }
    let same = |size: Option<usize>, found: usize| size.is_none_or(|size| size == 0 || size == found);
    if (wiring.n_layers, wiring.n_heads) != (n_layers, n_heads)
        || !same(cfg.d_model, wiring.d_model)
        || !same(cfg.n_key_value_heads, wiring.n_kv_heads)
    {
        return Err(Error::input("`cfg` and `sparks.wiring` have different sizes"));
    }
    let per_pair = sparks.shift_remove("per_pair").map(pairs_of).transpose()?;
    Ok((wiring, Provenance::from_sparks(sparks)?, per_pair))
}

/// The score of each writer, where it has one.
fn node_scores(wiring: Wiring, nodes: &[(String, Value)]) -> Result<Vec<Option<f32>>, Error> {
    let mut scores: Vec<Option<f32>> = vec![None; wiring.n_writers()];
    let mut unknown_key = None;
    for (name, value) in nodes {
        let unknown = || {
            let (layers, heads) = (wiring.n_layers, wiring.n_heads);
            Error::input(format!("node {name}: not in a graph of {layers} layers of {heads} heads"))
        };
        let index = match name.parse::<Writer>() {
            // The logits write nothing and have no score.
            _ if name == "logits" => None,
            Ok(node) => {
                Some(wiring.writer_index(node)).filter(|&i| i < scores.len() && wiring.writer(i) == node)
            }
            Err(_) => return Err(unknown()),
        };
        if index.is_none() && name != "logits" {
            return Err(unknown());
        }
        // The older form has a boolean for a node.
        for (key, value) in value.as_object().into_iter().flatten() {
            match (key.as_str(), index) {
                ("in_graph", _) => {}
                ("score", Some(index)) => scores[index] = value.as_f64().map(|s| s as f32),
                ("neurons", Some(_)) if list(wiring, value, |v| *v == Value::Bool(true)) => {}
                ("neurons_scores", Some(_)) if list(wiring, value, |v| v.is_null() || *v == "NaN") => {}
                ("neurons" | "neurons_scores", _) => return Err(neurons(&format!("node {name}: `{key}`"))),
                _ => unknown_key = unknown_key.or(Some((name, key.clone()))),
            }
        }
    }
    match unknown_key {
        // A file of node scores in which one is missing has a better message.
        Some((name, key)) if scored(wiring, &scores).is_ok() => {
            Err(Error::input(format!("node {name}: unknown key `{key}`, expected `in_graph` and `score`")))
        }
        _ => Ok(scores),
    }
}

/// Whether `value` is a list with an entry for each neuron of a node, all of them `fine`.
fn list(wiring: Wiring, value: &Value, fine: impl Fn(&Value) -> bool) -> bool {
    let of_length = |n: usize| if wiring.d_model == 0 { n > 0 } else { n == wiring.d_model };
    value.as_array().is_some_and(|all| of_length(all.len()) && all.iter().all(fine))
}

type Edges = (EdgeMap<f32>, EdgeMap<bool>, Vec<String>);

/// Scores and selection of the edges, and notes of those without.
fn edges(wiring: Wiring, records: Vec<(String, Record)>) -> Result<Edges, Error> {
    let (mut scores, mut kept) = (EdgeMap::filled(wiring, 0.0f32), Circuit::empty(wiring).edges);
    let mut seen = vec![false; wiring.n_edges()];
    let mut n_null = 0;
    for (name, record) in records {
        let unknown = || {
            let (layers, heads) = (wiring.n_layers, wiring.n_heads);
            Error::input(format!("edge {name}: not in a graph of {layers} layers of {heads} heads"))
        };
        let edge: Edge = name.parse().map_err(|_| unknown())?;
        let index = wiring.edge_index(edge).ok_or_else(unknown)?;
        let bad =
            |score: &str| Error::input(format!("edge {name}: score is {score}, expected a finite number"));
        let score = match record.score {
            Score::Number(score) if (score as f32).is_finite() => score as f32,
            Score::Number(score) => return Err(bad(&(score as f32).to_string())),
            Score::Name(text) => return Err(bad(&text)),
            Score::None => {
                n_null += 1;
                0.0
            }
        };
        if std::mem::replace(&mut seen[index], true) {
            return Err(Error::input(format!("edge {name}: given twice")));
        }
        (scores.values_mut()[index], kept.values_mut()[index]) = (score, record.in_graph);
    }
    let (found, all) = (seen.iter().filter(|&&s| s).count(), seen.len());
    let mut notes = Vec::new();
    if found < all {
        notes
            .push(format!("{found} of {all} edges are listed: the others have score 0 and are not selected"));
    }
    if n_null > 0 {
        notes.push(format!("{n_null} edges have no score (null): read as 0"));
    }
    Ok((scores, kept, notes))
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
