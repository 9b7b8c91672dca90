//! The sections of a configuration, one struct each; defaults are those of the file format.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::schedule::Kind;

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelConfig {
    /// Checkpoint folder. Required.
    pub path: PathBuf,
    /// `f32`; adapters over `bf16` weights will come with `[lora]`.
    pub dtype: String,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { path: PathBuf::new(), dtype: "f32".to_owned() }
    }
}

/// How examples share rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// One example a row.
    #[default]
    None,
    /// Best fit decreasing: not implemented yet.
    Bfd,
}

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataConfig {
    /// JSONL of examples or problems. Required.
    pub train: PathBuf,
    /// JSONL to evaluate on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval: Option<PathBuf>,
    /// A new order each epoch, from `run.seed`; file order where false.
    pub shuffle: bool,
    /// How examples share rows.
    pub packing: Packing,
    /// Tokens of an example; what is longer loses its end.
    pub max_length: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { train: PathBuf::new(), eval: None, shuffle: true, packing: Packing::None, max_length: 1024 }
    }
}

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunConfig {
    /// The run folder. Required.
    pub dir: PathBuf,
    /// Seed of shuffling and sampling.
    pub seed: u64,
    /// Steps between two lines of metrics.
    pub log_every: usize,
    /// Steps between two checkpoints; 0 writes the last only.
    pub checkpoint_every: usize,
    /// Checkpoints kept; 0 keeps all.
    pub keep: usize,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { dir: PathBuf::new(), seed: 0, log_every: 1, checkpoint_every: 100, keep: 3 }
    }
}

/// `[train]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Optimiser steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Passes over the data, where `steps` is not given; 1 where neither is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Rows of a forward pass.
    pub batch_size: usize,
    /// Forward passes of an optimiser step.
    pub accumulation: usize,
}

impl TrainConfig {
    /// Examples of an optimiser step.
    pub fn examples(&self) -> usize {
        self.batch_size * self.accumulation
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self { steps: None, epochs: None, batch_size: 8, accumulation: 1 }
    }
}

/// Which parameters decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Those of two dimensions, embeddings included.
    #[default]
    Matrices,
    /// Biases and norms too.
    All,
}

/// `[optimizer]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptimizerConfig {
    /// The full learning rate.
    pub lr: f64,
    /// Decays of the two moments.
    pub betas: [f64; 2],
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Which parameters decay.
    pub decay: Decay,
    /// Global norm to clip at; 0 clips nothing.
    pub max_grad_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            lr: 2e-5,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            decay: Decay::Matrices,
            max_grad_norm: 1.0,
        }
    }
}

/// `[schedule]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScheduleConfig {
    /// Shape after the warm-up.
    pub kind: Kind,
    /// Steps of warm-up.
    pub warmup_steps: usize,
    /// Part of the run that is warm-up, where `warmup_steps` is 0; rounded up.
    pub warmup_ratio: f64,
    /// Last rate over full rate.
    pub min_lr_ratio: f64,
    /// Part of the run that decays in `wsd`.
    pub decay_ratio: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { kind: Kind::Linear, warmup_steps: 0, warmup_ratio: 0.0, min_lr_ratio: 0.0, decay_ratio: 0.1 }
    }
}

/// `[lora]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraConfig {
    /// Rank.
    pub rank: usize,
    /// Scale: `alpha / rank`.
    pub alpha: f64,
    /// Dropout before the first factor.
    pub dropout: f64,
    /// Projections that get adapters.
    pub targets: Vec<String>,
    /// Scale `alpha / sqrt(rank)`.
    pub rslora: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        let targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
        let targets = targets.map(str::to_owned).to_vec();
        Self { rank: 16, alpha: 32.0, dropout: 0.0, targets, rslora: false }
    }
}

/// `[watch]`: read here, acted on by the caller's loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchConfig {
    /// JSONL of clean and corrupt prompts.
    pub pairs: PathBuf,
    /// Steps between two looks.
    pub every: usize,
    /// Attribution method.
    pub method: String,
    /// Steps of integrated gradients.
    pub steps: usize,
    /// Edges of a circuit.
    pub top: usize,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { pairs: PathBuf::new(), every: 100, method: "eap-ig-inputs".to_owned(), steps: 5, top: 5000 }
    }
}
