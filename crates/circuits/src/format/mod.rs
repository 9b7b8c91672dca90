//! Scores and circuits as files: EAP-IG's JSON and `.pt`, safetensors; DOT and SVG to look at.
//!
//! Nothing here is specific to a model. Files are read whole; writing is the caller's matter of paths, and
//! every writer makes bytes first, so that a file is whole or absent.

mod dot;
mod json;
mod pickle;
mod pt;
mod safetensors;

use std::path::Path;

use hooks::{EdgeMap, Metric, NodeMap, Positions, Wiring};
use serde_json::Value;

use crate::{Circuit, Error};

pub use dot::dot;

/// Scores of each pair on its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PerPair {
    /// The pairs' names.
    pub ids: Vec<String>,
    /// Scores, pair after pair, each in the order of [`Wiring::edges`], or of [`Wiring::writers`] in a file of
    /// node scores.
    pub values: Vec<f32>,
}

impl PerPair {
    /// One row of scores for each pair.
    ///
    /// # Errors
    /// Fewer than two pairs, or a number of scores that is not pairs × edges.
    pub fn rows(&self, wiring: Wiring) -> Result<Vec<&[f32]>, Error> {
        if self.ids.len() < 2 {
            return Err(Error::input(format!(
                "per-pair scores: {} pairs, expected at least two",
                self.ids.len()
            )));
        }
        self.check(wiring.n_edges())?;
        Ok(self.values.chunks(wiring.n_edges()).collect())
    }

    /// Whether there are `width` scores for each pair.
    fn check(&self, width: usize) -> Result<(), Error> {
        let (found, expected) = (self.values.len(), self.ids.len() * width);
        if found != expected {
            return Err(Error::input(format!(
                "per-pair scores: {found} numbers, expected {expected} ({} pairs × {width})",
                self.ids.len()
            )));
        }
        Ok(())
    }
}

/// What a score or circuit file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreFile {
    /// The graph.
    pub wiring: Wiring,
    /// A score for each edge. In files written here, of the metric itself; in EAP-IG's own, of its loss.
    pub scores: EdgeMap<f32>,
    /// Which edges are selected; none in a file of scores alone.
    pub in_graph: EdgeMap<bool>,
    /// A score for each node, in a file of node scores; its edges then have none (all 0).
    pub nodes: Option<NodeMap<f32>>,
    /// Scores of each pair, if kept.
    pub per_pair: Option<PerPair>,
    /// How the scores were made: the `sparks` object without what the other fields hold. `Null` in files of
    /// EAP-IG.
    pub meta: Value,
}

impl ScoreFile {
    /// Scores with nothing selected.
    pub fn new(scores: EdgeMap<f32>, meta: Value) -> Self {
        let wiring = scores.wiring();
        Self { wiring, scores, in_graph: EdgeMap::filled(wiring, false), nodes: None, per_pair: None, meta }
    }

    /// Scores of nodes alone.
    pub fn of_nodes(nodes: NodeMap<f32>, meta: Value) -> Self {
        let mut file = Self::new(EdgeMap::filled(nodes.wiring(), 0.0), meta);
        file.nodes = Some(nodes);
        file
    }

    /// The same with `circuit` selected.
    ///
    /// # Errors
    /// A circuit over another graph.
    pub fn with_circuit(mut self, circuit: &Circuit) -> Result<Self, Error> {
        self.in_graph = circuit.on(self.wiring)?.edges;
        Ok(self)
    }

    /// The selected edges.
    pub fn circuit(&self) -> Circuit {
        Circuit::new(self.in_graph.clone())
    }

    /// How many scores there are: one for each edge, or in a file of node scores for each writer.
    pub fn n_scores(&self) -> usize {
        self.nodes.as_ref().map_or(self.wiring.n_edges(), |nodes| nodes.values().len())
    }

    /// The metric that the scores are of, where the file says so.
    pub fn metric(&self) -> Option<Metric> {
        self.meta.get("metric")?.as_str()?.parse().ok()
    }

    /// The positions that the metric was read at, where the file says so.
    pub fn positions(&self) -> Option<Positions> {
        self.meta.get("positions")?.as_str()?.parse().ok()
    }

    /// Scores in EAP-IG's convention: of the loss. A file without `sparks` already has them.
    pub fn loss_scores(&self) -> EdgeMap<f32> {
        match self.metric() {
            Some(metric) => crate::loss_scores(&self.scores, metric),
            None => self.scores.clone(),
        }
    }

    /// The same values over the graph of `model`; see [`Circuit::on`].
    ///
    /// # Errors
    /// Other sizes.
    pub fn on(&self, model: Wiring) -> Result<Self, Error> {
        let wiring = crate::circuit::fit(self.wiring, model)?;
        let scores = EdgeMap::from_values(wiring, self.scores.values().to_vec());
        let in_graph = EdgeMap::from_values(wiring, self.in_graph.values().to_vec());
        let nodes = self.nodes.as_ref().map(|n| NodeMap::from_values(wiring, n.values().to_vec()));
        let (per_pair, meta) = (self.per_pair.clone(), self.meta.clone());
        Ok(Self { wiring, scores, in_graph, nodes, per_pair, meta })
    }

    /// Reads `.json`, `.pt` or `.safetensors`.
    ///
    /// # Errors
    /// An unreadable or inconsistent file; the message names the file and the edge or field.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let place = |what: &dyn std::fmt::Display| Error::input(format!("{}: {what}", path.display()));
        let bytes = std::fs::read(path).map_err(|e| place(&e))?;
        let parse = match extension(path) {
            "pt" => Self::from_pt,
            "safetensors" => Self::from_safetensors,
            _ => Self::from_json,
        };
        parse(&bytes).map_err(|e| place(&e))
    }

    /// Whether a file named `path` could be written: its extension is `json`, `pt` or `safetensors`.
    ///
    /// # Errors
    /// Another extension.
    pub fn check_path(path: &Path) -> Result<(), Error> {
        match extension(path) {
            "json" | "pt" | "safetensors" => Ok(()),
            other => Err(Error::input(format!(
                "{}: extension `{other}`, expected json, pt or safetensors",
                path.display()
            ))),
        }
    }

    /// The bytes of a file named `path`: `.json`, `.pt` or `.safetensors` by its extension.
    ///
    /// # Errors
    /// Another extension, or a score that is not a finite number.
    pub fn to_bytes(&self, path: &Path) -> Result<Vec<u8>, Error> {
        if let Some((edge, score)) = self.scores.iter().find(|(_, s)| !s.is_finite()) {
            return Err(Error::input(format!("edge {edge}: score is {score}, expected a finite number")));
        }
        let bad = self.nodes.iter().flat_map(NodeMap::iter).find(|(_, s)| !s.is_finite());
        if let Some((node, score)) = bad {
            return Err(Error::input(format!("node {node}: score is {score}, expected a finite number")));
        }
        if let Some(per_pair) = &self.per_pair {
            per_pair.check(self.n_scores())?;
        }
        match extension(path) {
            "json" => self.to_json(),
            "pt" => self.to_pt(),
            "safetensors" => self.to_safetensors(),
            _ => Self::check_path(path).map(|()| Vec::new()),
        }
    }

    /// Writes the file under a temporary name, then renames it.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes), or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        use std::io::Write;
        let bytes = self.to_bytes(path)?;
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|e| Error::input(format!("{}: {e}", path.display())))
    }

    /// The `sparks` object, with the graph in it.
    fn sparks(&self) -> serde_json::Map<String, Value> {
        let mut sparks = self.meta.as_object().cloned().unwrap_or_default();
        let wiring = serde_json::to_value(self.wiring).unwrap_or(Value::Null);
        sparks.insert("wiring".into(), wiring);
        sparks
    }
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or("")
}

/// The graph of a `sparks` object, checked to be one that can be.
fn wiring_of(value: Value) -> Result<Wiring, Error> {
    let wiring: Wiring =
        serde_json::from_value(value).map_err(|e| Error::input(format!("`sparks.wiring`: {e}")))?;
    check_sizes(wiring)
}

/// Sizes that a graph can have, and that do not overflow a count of edges.
fn check_sizes(w: Wiring) -> Result<Wiring, Error> {
    let fine = |n: usize| (1..=4096).contains(&n);
    if fine(w.n_layers) && fine(w.n_heads) && fine(w.n_kv_heads) && w.n_heads.is_multiple_of(w.n_kv_heads) {
        return Ok(w);
    }
    Err(Error::input(format!(
        "`cfg`: {} layers, {} heads, {} key/value heads: expected 1 to 4096 of each, the last dividing the heads",
        w.n_layers, w.n_heads, w.n_kv_heads
    )))
}
