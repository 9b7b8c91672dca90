//! Scores as safetensors: `scores` f32 `[edges]` and `in_graph` u8 `[edges]` in the order of
//! [`hooks::Wiring::edges`] (by reader, then by writer); `node_scores` f32 `[writers]` where nodes are scored;
//! `per_pair` f32 `[pairs, edges]`, or `[pairs, writers]` of nodes. The header's metadata holds `sparks` and the
//! pairs' names as JSON. The smallest form, and the one for per-pair scores of a large graph.

use std::collections::HashMap;

use hooks::{EdgeMap, NodeMap};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

use super::{PerPair, Provenance, ScoreFile, wiring_of};
use crate::Error;

impl ScoreFile {
    /// Reads the safetensors form.
    ///
    /// # Errors
    /// Bytes that are not such a file, tensors that do not match the graph in it, or a score that is not a
    /// finite number; the message names the tensor or the edge.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, Error> {
        let bad = |e: safetensors::SafeTensorError| Error::input(e.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(bad)?;
        let text = |key: &str| {
            let found = header.metadata().as_ref().and_then(|m| m.get(key));
            found.ok_or_else(|| Error::input(format!("header: missing metadata `{key}`")))
        };
        let mut sparks: serde_json::Map<String, Value> =
            serde_json::from_str(text("sparks")?).map_err(|e| Error::input(format!("`sparks`: {e}")))?;
        let wiring = wiring_of(sparks.shift_remove("wiring").unwrap_or(Value::Null))?;
        let file = SafeTensors::deserialize(bytes).map_err(bad)?;
        let tensor = |name: &str, dtype: Dtype, shape: &[usize]| {
            let view = file.tensor(name).map_err(bad)?;
            if (view.dtype(), view.shape()) != (dtype, shape) {
                return Err(Error::input(format!(
                    "tensor `{name}`: {:?} {:?}, expected {dtype:?} {shape:?}",
                    view.dtype(),
                    view.shape()
                )));
            }
            Ok(view.data().to_vec())
        };
        let n = wiring.n_edges();
        let scores = EdgeMap::from_values(wiring, floats(&tensor("scores", Dtype::F32, &[n])?));
        if let Some((edge, score)) = scores.iter().find(|(_, s)| !s.is_finite()) {
            return Err(Error::input(format!("edge {edge}: score is {score}, expected a finite number")));
        }
        let kept = tensor("in_graph", Dtype::U8, &[n])?.into_iter().map(|b| b != 0).collect();
        let nodes = match file.names().contains(&"node_scores") {
            true => {
                let values = floats(&tensor("node_scores", Dtype::F32, &[wiring.n_writers()])?);
                Some(NodeMap::from_values(wiring, values))
            }
            false => None,
        };
        let width = nodes.as_ref().map_or(n, |nodes: &NodeMap<f32>| nodes.values().len());
        let per_pair = match file.names().contains(&"per_pair") {
            true => {
                let ids: Vec<String> =
                    serde_json::from_str(text("ids")?).map_err(|e| Error::input(format!("`ids`: {e}")))?;
                let values = floats(&tensor("per_pair", Dtype::F32, &[ids.len(), width])?);
                Some(PerPair { ids, values })
            }
            false => None,
        };
        Ok(Self {
            wiring,
            scores,
            nodes,
            in_graph: EdgeMap::from_values(wiring, kept),
            per_pair,
            provenance: Provenance::from_sparks(sparks)?,
            notes: Vec::new(),
            unread: Vec::new(),
        })
    }

    /// Writes the safetensors form.
    ///
    /// # Errors
    /// Metadata that is not JSON.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, Error> {
        let json = |e: serde_json::Error| Error::input(format!("`sparks`: {e}"));
        let bad = |e: safetensors::SafeTensorError| Error::input(e.to_string());
        let n = self.wiring.n_edges();
        let bytes = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|v| v.to_le_bytes()).collect() };
        let scores = bytes(self.scores.values());
        let kept: Vec<u8> = self.in_graph.values().iter().map(|&k| u8::from(k)).collect();
        let mut metadata =
            HashMap::from([("sparks".to_string(), serde_json::to_string(&self.sparks()).map_err(json)?)]);
        let mut tensors = vec![
            ("scores", TensorView::new(Dtype::F32, vec![n], &scores).map_err(bad)?),
            ("in_graph", TensorView::new(Dtype::U8, vec![n], &kept).map_err(bad)?),
        ];
        let (rows, nodes);
        if let Some(scores) = &self.nodes {
            nodes = bytes(scores.values());
            let shape = vec![self.wiring.n_writers()];
            tensors.push(("node_scores", TensorView::new(Dtype::F32, shape, &nodes).map_err(bad)?));
        }
        if let Some(per_pair) = &self.per_pair {
            metadata.insert("ids".into(), serde_json::to_string(&per_pair.ids).map_err(json)?);
            rows = bytes(&per_pair.values);
            let shape = vec![per_pair.ids.len(), self.n_scores()];
            tensors.push(("per_pair", TensorView::new(Dtype::F32, shape, &rows).map_err(bad)?));
        }
        safetensors::serialize(tensors, Some(metadata)).map_err(bad)
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}
