//! Measurements of one checkpoint: accuracy, circuit, faithfulness.

use hooks::{Edge, Head};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stats::Interval;

use super::as_text::{text, texts};

/// A checkpoint with its accuracy and circuit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointFacts {
    /// Unique: `base`, `sft-40`.
    pub label: String,
    /// Optimiser steps since the base.
    pub step: u64,
    /// Accuracy on some or all suites.
    pub accuracy: Vec<Accuracy>,
    /// The circuit found in it.
    pub circuit: Option<CircuitFacts>,
}

/// Accuracy on one suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accuracy {
    /// Name of the suite.
    pub suite: String,
    /// Problems judged (each once, or several samples averaged).
    pub n: usize,
    /// Mean over problems of the share of samples that are right, with its 95 % interval over problems.
    pub interval: Interval,
    /// Share of completions that think before they answer.
    pub worked: Option<f64>,
}

/// A circuit and its faithfulness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CircuitFacts {
    /// Nodes left after pruning.
    pub n_nodes: usize,
    /// Heads in it, layer by layer.
    #[serde(with = "texts")]
    #[schemars(with = "Vec<String>")]
    pub heads: Vec<Head>,
    /// Its edges after pruning, strongest first.
    pub edges: Vec<ScoredEdge>,
    /// How many edges it has, where `edges` are the strongest of them alone: in the page of a large study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_edges: Option<usize>,
    /// Name of the metric below.
    pub metric: String,
    /// Mean metric of the whole model on clean prompts.
    pub clean: f64,
    /// Mean metric of the whole model on corrupt prompts.
    pub corrupt: f64,
    /// Mean metric with every edge outside the circuit corrupted.
    pub circuit: f64,
    /// `(circuit − corrupt) / (clean − corrupt)`.
    pub faithfulness: f64,
    /// Faithfulness of random circuits with as many edges between every two layers.
    pub nulls: Vec<f64>,
    /// Faithfulness of random circuits with as many edges at every node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degree_nulls: Vec<f64>,
}

/// An edge and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScoredEdge {
    /// Which edge.
    #[serde(with = "text")]
    #[schemars(with = "String")]
    pub edge: Edge,
    /// Mean score over pairs, in units of the metric.
    pub score: f64,
}

impl CheckpointFacts {
    /// Accuracy on the suite of this name.
    pub fn accuracy(&self, suite: &str) -> Option<&Accuracy> {
        self.accuracy.iter().find(|a| a.suite == suite)
    }
}
