//! Provenance of scores: method, metric, model, pairs. The object `sparks` of a score file.

use hooks::{Metric, Positions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;

/// How scores were made. Every field may be absent: library users write what they know, and older files have
/// fewer fields. Keys that are not listed here are kept in [`other`](Self::other) and written back.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Version of the program that wrote the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The attribution method by name, e.g. `eap-ig-inputs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The method with its settings, as the attribution crate writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// Name of the metric that scores are of; see [`Metric`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// What is scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<ScoreLevel>,
    /// The positions that the metric was read at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positions: Option<Positions>,
    /// Whether edges into heads were set to zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_only: Option<bool>,
    /// The model's dtype in the run, e.g. `f32`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Hash of the model's weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Hash of the pairs file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs_file: Option<String>,
    /// Optimiser steps done, for a checkpoint of a training run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Number of pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_pairs: Option<usize>,
    /// The metric of each pair, in the order of `pair_order`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<Vec<PairMetric>>,
    /// Place of each pair in the pairs file, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pair_order: Option<Vec<u64>>,
    /// Completeness error of integrated gradients over the pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completeness_error: Option<f64>,
    /// Heads of the circuit, where the writer lists them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<Vec<String>>,
    /// Shard `[k, n]`: shard k, from 0, of n.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<(u64, u64)>,
    /// Whether the merged file of all shards keeps per-pair scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_per_pair: Option<bool>,
    /// How the circuit was selected from the scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionRecord>,
    /// Keys of other writers, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What a score file scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreLevel {
    /// Edges.
    Edges,
    /// Nodes; edges have no scores.
    Nodes,
}

/// The metric of one pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairMetric {
    /// The pair's name.
    pub id: String,
    /// The metric of the clean run.
    pub clean: f64,
    /// The metric of the corrupt run.
    pub corrupt: f64,
    /// The sum of the scores of the input's edges: `corrupt − clean` for a complete attribution.
    pub input_sum: f64,
}

/// How a circuit was selected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectionRecord {
    /// The rule and its size, e.g. `Top(200)`.
    pub how: String,
    /// Whether by signed scores in the loss convention.
    pub signed: bool,
    /// Whether dead ends were pruned.
    pub pruned: bool,
    /// Edges removed by pruning.
    pub removed: usize,
}

impl Provenance {
    /// The metric, where the file names one that this build knows.
    pub fn known_metric(&self) -> Option<Metric> {
        self.metric.as_ref()?.parse().ok()
    }

    /// Whether scores of `other` may be averaged with these: same level, method and settings, metric, positions,
    /// model, adapter, pairs, dtype, arithmetic, per-pair scores.
    ///
    /// # Errors
    /// The first field that differs, by its name in the file, with both values.
    pub fn check_same_run(&self, other: &Self) -> Result<(), Error> {
        self.check(
            other,
            &[
                "level",
                "method",
                "settings",
                "metric",
                "model",
                "pairs_file",
                "positions",
                "source_only",
                "dtype",
                "adapter",
                "compute",
                "keep_per_pair",
            ],
        )
    }

    /// Whether circuits of two models may be compared: same metric, positions, method and pairs.
    ///
    /// # Errors
    /// As [`check_same_run`](Self::check_same_run). A field that either file lacks is not compared.
    pub fn check_comparable(&self, other: &Self) -> Result<(), Error> {
        let both = |field: &&str| self.field(field).is_some() && other.field(field).is_some();
        let fields: Vec<&str> =
            ["level", "method", "settings", "metric", "pairs_file", "positions", "source_only"]
                .into_iter()
                .filter(|field| both(field))
                .collect();
        self.check(other, &fields)
    }

    fn field(&self, name: &str) -> Option<Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(mut all)) => all.remove(name),
            _ => None,
        }
    }

    fn check(&self, other: &Self, fields: &[&str]) -> Result<(), Error> {
        let shown = |value: Option<Value>| value.map_or("absent".to_owned(), |v| v.to_string());
        for field in fields {
            let (ours, theirs) = (self.field(field), other.field(field));
            if ours != theirs {
                return Err(Error::input(format!(
                    "`{field}` differs: {} and {}",
                    shown(ours),
                    shown(theirs)
                )));
            }
        }
        Ok(())
    }

    /// Reads the object `sparks` without its graph and per-pair scores; `None` where nothing else is in it.
    ///
    /// # Errors
    /// A known key with a value of another type; the message names the key.
    pub(super) fn from_sparks(sparks: Map<String, Value>) -> Result<Option<Self>, Error> {
        if sparks.is_empty() {
            return Ok(None);
        }
        // One key at a time, so that an error names it.
        for (key, value) in &sparks {
            let one: Map<String, Value> = [(key.clone(), value.clone())].into_iter().collect();
            serde_json::from_value::<Self>(Value::Object(one))
                .map_err(|e| Error::input(format!("`sparks.{key}`: {e}")))?;
        }
        serde_json::from_value(Value::Object(sparks))
            .map(Some)
            .map_err(|e| Error::input(format!("`sparks`: {e}")))
    }

    /// The object `sparks` without its graph and per-pair scores.
    pub(super) fn to_sparks(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(all)) => all,
            _ => Map::new(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn object(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn keys_are_kept_and_types_checked() {
        let text = r#"{"method":"eap","metric":"logit-diff","level":"edges","shard":[0,2],"mine":{"a":1}}"#;
        let read = Provenance::from_sparks(object(text)).unwrap().unwrap();
        assert_eq!((read.shard, read.other.len()), (Some((0, 2)), 1));
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        let bad = Provenance::from_sparks(object(r#"{"method":"eap","level":"rows"}"#)).unwrap_err();
        assert!(bad.to_string().contains("`sparks.level`") && bad.to_string().contains("edges"), "{bad}");
        assert!(Provenance::from_sparks(Map::new()).unwrap().is_none());
    }

    #[test]
    fn the_field_that_differs_is_named() {
        let a = Provenance { model: Some("x".into()), pairs_file: Some("p".into()), ..Default::default() };
        let b = Provenance { model: Some("y".into()), ..a.clone() };
        assert!(a.check_same_run(&b).unwrap_err().to_string().contains("`model` differs: \"x\" and \"y\""));
        a.check_comparable(&b).unwrap();
        let c = Provenance { pairs_file: Some("q".into()), ..a.clone() };
        assert!(a.check_comparable(&c).unwrap_err().to_string().contains("`pairs_file`"));
        a.check_comparable(&Provenance::default()).unwrap();
    }
}
