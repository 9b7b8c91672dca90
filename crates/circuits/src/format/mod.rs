//! Scores and circuits as files: EAP-IG's JSON and `.pt`, safetensors, and Graphviz DOT.
//!
//! Nothing here is specific to a model. Every writer makes bytes first, so that a file is whole or absent.

mod dot;
mod json;
mod pickle;
mod provenance;
mod pt;
mod safetensors;

use std::path::Path;

use hooks::{EdgeMap, Metric, NodeMap, Positions, Wiring};
use serde_json::{Map, Value};

use crate::{Circuit, Error};

pub use dot::dot;
pub use provenance::{PairMetric, Provenance, ScoreLevel, SelectionRecord};

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
    /// How the scores were made; `None` in files of EAP-IG.
    pub provenance: Option<Provenance>,
    /// What a reader should know of the file: edges that it does not list, scores that it leaves out. Empty for
    /// files written here.
    pub notes: Vec<String>,
    /// Keys of the file that are not read: settings of a model that a graph does not depend on.
    pub unread: Vec<String>,
}

impl ScoreFile {
    /// Scores with nothing selected. Without provenance they are taken as the peer's: scores of a loss.
    pub fn new(scores: EdgeMap<f32>, provenance: Option<Provenance>) -> Self {
        let wiring = scores.wiring();
        let in_graph = EdgeMap::filled(wiring, false);
        Self {
            wiring,
            scores,
            in_graph,
            nodes: None,
            per_pair: None,
            provenance,
            notes: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Scores of nodes alone.
    pub fn of_nodes(nodes: NodeMap<f32>, provenance: Option<Provenance>) -> Self {
        let mut file = Self::new(EdgeMap::filled(nodes.wiring(), 0.0), provenance);
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

    /// The metric that the scores are of, where the file names one that this build knows.
    pub fn metric(&self) -> Option<Metric> {
        self.provenance.as_ref()?.known_metric()
    }

    /// The positions that the metric was read at, where the file names them.
    pub fn positions(&self) -> Option<Positions> {
        self.provenance.as_ref()?.positions
    }

    /// Scores in EAP-IG's convention: of the loss. A file that names no metric already has them.
    ///
    /// # Errors
    /// A metric that this build does not know, whose loss convention is unknown.
    pub fn loss_scores(&self) -> Result<EdgeMap<f32>, Error> {
        let sign = self.loss_sign()?;
        Ok(self.scores.map(|s| sign * s))
    }

    /// What takes scores of the file to scores of the loss: −1 for metrics of which larger is better.
    ///
    /// # Errors
    /// As [`loss_scores`](Self::loss_scores).
    pub fn loss_sign(&self) -> Result<f32, Error> {
        let name = self.provenance.as_ref().and_then(|p| p.metric.as_ref());
        match (name, self.metric()) {
            (_, Some(metric)) => Ok(metric.loss_sign() as f32),
            (None, None) => Ok(1.0),
            (Some(name), None) => Err(Error::input(format!(
                "`sparks.metric`: {name} is not known, so that there is no loss convention for its scores"
            ))),
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
        Ok(Self { wiring, scores, in_graph, nodes, ..self.clone() })
    }

    /// Reads `.json`, `.pt` or `.safetensors`.
    ///
    /// # Errors
    /// An unreadable or inconsistent file; the message names the file and the edge or field.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let parsed = match extension(path) {
            "pt" => Self::from_pt(&bytes),
            "safetensors" => Self::from_safetensors(&bytes),
            _ => Self::from_json(common::text_of(path, bytes)?.as_bytes()),
        };
        parsed.map_err(|e| e.within(path.display()))
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

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes), or the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        common::write_whole(path, &self.to_bytes(path)?)
    }

    /// The `sparks` object, with the graph in it.
    fn sparks(&self) -> Map<String, Value> {
        let mut sparks = self.provenance.as_ref().map_or_else(Map::new, Provenance::to_sparks);
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

/// Keys of `cfg` that are not read.
fn unread_of_cfg<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    const READ: [&str; 5] = ["n_layers", "n_heads", "parallel_attn_mlp", "d_model", "n_key_value_heads"];
    keys.into_iter().filter(|key| !READ.contains(key)).map(|key| format!("cfg.{key}")).collect()
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
