//! Sections of the run file that are the command's own, each with its defaults.

use std::path::{Path, PathBuf};

use bench_math::{PromptSettings, Template};
use common::Error;
use model_qwen::{Dtype, LoraConfig, Targets};
use posttrain::config::check_ranges;
use posttrain_sft::{DataConfig, Packing, Truncation, Turns};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::Kind;

/// How weights are held: trained ones in f32, or in bf16 with an f32 copy in the optimiser; those under an adapter
/// also in f16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TrainDtype {
    #[default]
    F32,
    Bf16,
    F16,
}

impl From<TrainDtype> for Dtype {
    fn from(dtype: TrainDtype) -> Self {
        match dtype {
            TrainDtype::F32 => Self::F32,
            TrainDtype::Bf16 => Self::Bf16,
            TrainDtype::F16 => Self::F16,
        }
    }
}

/// Training of a low-rank adapter beside frozen weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LoraSection {
    pub(super) rank: usize,
    /// The scale is `alpha / rank`, or `alpha / sqrt(rank)` with `rslora`.
    pub(super) alpha: f64,
    /// Dropout before the first factor, in SFT.
    pub(super) dropout: f64,
    pub(super) targets: LoraTargets,
    pub(super) rslora: bool,
    /// Modules that the adapter trains and holds whole, by the ends of their paths: `lm_head`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) modules_to_save: Vec<String>,
}

/// Projections that get an adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum LoraTargets {
    /// By name: `q_proj`.
    Names(Vec<String>),
    /// `all-linear`, or a regular expression for whole paths, as in PEFT.
    Pattern(String),
}

impl Default for LoraSection {
    fn default() -> Self {
        let targets = LoraTargets::Pattern("all-linear".to_owned());
        Self { rank: 16, alpha: 32.0, dropout: 0.0, targets, rslora: false, modules_to_save: Vec::new() }
    }
}

impl LoraSection {
    /// The adapter's own configuration, for the model at `base`.
    pub(super) fn config(&self, base: &Path) -> LoraConfig {
        let targets = match &self.targets {
            LoraTargets::Names(names) => Targets::Names(names.clone()),
            LoraTargets::Pattern(all) if all == "all-linear" => Targets::AllLinear,
            LoraTargets::Pattern(pattern) => Targets::Pattern(pattern.clone()),
        };
        let base = Some(base.display().to_string());
        LoraConfig {
            rslora: self.rslora,
            dropout: self.dropout,
            whole: self.modules_to_save.clone(),
            targets,
            base,
            ..LoraConfig::new(self.rank, self.alpha, &[])
        }
    }

    pub(super) fn check(&self, kind: Kind) -> Result<(), Error> {
        if kind == Kind::Grpo && self.dropout != 0.0 {
            return Err(Error::input(
                "lora.dropout: expected 0 in sparks grpo, where the ratio of fresh completions is 1",
            ));
        }
        if matches!(&self.targets, LoraTargets::Names(names) if names.is_empty()) {
            return Err(Error::input("lora.targets is an empty list, expected names, or \"all-linear\""));
        }
        check_ranges(&[
            ("lora.dropout", self.dropout, 0.0, 0.999_999_999, "from 0 and below 1"),
            ("lora.rank", self.rank as f64, 1.0, 65536.0, "from 1 to 65536"),
            ("lora.alpha", self.alpha, f64::MIN_POSITIVE, f64::MAX, "above 0"),
        ])
    }
}

/// A list, or one.
pub(super) fn one_or_more<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let all = match toml::Value::deserialize(from)? {
        toml::Value::Array(all) => all,
        one => vec![one],
    };
    all.into_iter().map(|one| one.try_into().map_err(serde::de::Error::custom)).collect()
}

/// The model that a run starts from.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ModelSection {
    /// Checkpoint folder or hub id; required.
    pub(super) path: PathBuf,
    pub(super) dtype: TrainDtype,
}

/// What it is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DataSection {
    /// Examples or problems, a file or a pattern such as `data/train-*.parquet`; required.
    pub(super) train: PathBuf,
    /// Examples whose loss is taken every `run.eval_every` steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eval: Option<PathBuf>,
    pub(super) shuffle: bool,
    pub(super) packing: Packing,
    /// Tokens of an example or of a packed row (1024 where not given) or of a prompt (any number where not given).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_length: Option<usize>,
    /// What happens to longer ones: `keep_start` in SFT and `error` in GRPO, where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) truncation: Option<Truncation>,
    pub(super) turns: Turns,
    #[serde(skip_serializing_if = "DataColumns::is_empty")]
    pub(super) columns: DataColumns,
}

impl Default for DataSection {
    fn default() -> Self {
        let DataConfig { shuffle, packing, turns, .. } = DataConfig::default();
        let (max_length, truncation, columns) = (None, None, DataColumns::default());
        Self { train: PathBuf::new(), eval: None, shuffle, packing, max_length, truncation, turns, columns }
    }
}

/// Names of columns, where they are not the common ones.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DataColumns {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completion: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) messages: Option<String>,
    /// Alpaca's, with `completion` for its output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instruction: Option<String>,
    /// With dots, a nested field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<String>,
}

impl DataColumns {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Switch {
    On,
    Off,
}

/// How GRPO writes problems for the model, and where completions end. The keys are the flags of `sparks eval`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PromptSection {
    /// Template of problems that are texts. Those that are messages are written by the model's chat template.
    pub(super) template: Template,
    /// System prompt, in place of the template's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system: Option<String>,
    /// Reasoning on or off, for chat templates with that switch (`enable_thinking`); a row's own
    /// `chat_template_kwargs` go before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) think: Option<Switch>,
    /// Strings that end a completion, beside those of the template.
    pub(super) stop: Vec<String>,
}

impl Default for PromptSection {
    fn default() -> Self {
        Self { template: Template::Plain, system: None, think: None, stop: Vec::new() }
    }
}

impl PromptSection {
    /// As evaluation takes them.
    pub(super) fn settings(&self) -> PromptSettings {
        PromptSettings {
            template: self.template,
            system: self.system.clone(),
            thinking: self.think.map(|think| think == Switch::On),
            stop: self.stop.clone(),
        }
    }
}

/// Folder, seed and rhythm of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RunSection {
    /// The run folder; required.
    pub(super) dir: PathBuf,
    pub(super) seed: u64,
    /// Steps between two lines of metrics.
    pub(super) log_every: usize,
    /// Steps between two checkpoints; 0 writes the last only.
    pub(super) checkpoint_every: usize,
    /// Steps between two evaluations on `data.eval`; 100 where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eval_every: Option<usize>,
    /// GRPO: completions of a held-out problem, sampled as in training; one greedy completion where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eval_samples: Option<usize>,
    /// Checkpoints kept; 0 keeps all.
    pub(super) keep: usize,
    /// The evaluation's number by which the best checkpoint is written and kept beside the last ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) best: Option<BestMetric>,
    /// Evaluations without a better `best` after which the run ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) patience: Option<usize>,
    /// How much better counts as better to `patience`; 0 where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_delta: Option<f64>,
}

/// Numbers of an evaluation that a checkpoint can be best by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BestMetric {
    /// SFT: mean loss of a trained token.
    EvalLoss,
    /// GRPO: share of held-out completions that are right.
    EvalAccuracy,
}

impl BestMetric {
    /// Its field in `metrics.jsonl`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EvalLoss => "eval_loss",
            Self::EvalAccuracy => "eval_accuracy",
        }
    }

    /// Whether less is better.
    pub(super) fn falls(self) -> bool {
        self == Self::EvalLoss
    }

    fn kind(self) -> Kind {
        match self {
            Self::EvalLoss => Kind::Sft,
            Self::EvalAccuracy => Kind::Grpo,
        }
    }
}

impl RunSection {
    /// Checks ranges, and that nothing is set without what it acts on; `eval` says whether there is `data.eval`.
    pub(super) fn check(&self, kind: Kind, eval: bool) -> Result<(), Error> {
        check_ranges(&[
            ("run.log_every", self.log_every as f64, 1.0, f64::MAX, "from 1"),
            ("run.eval_every", self.eval_every.unwrap_or(1) as f64, 1.0, f64::MAX, "from 1"),
            ("run.eval_samples", self.eval_samples.unwrap_or(1) as f64, 1.0, 1e6, "from 1"),
            ("run.patience", self.patience.unwrap_or(1) as f64, 1.0, f64::MAX, "from 1"),
            ("run.min_delta", self.min_delta.unwrap_or(0.0), 0.0, f64::MAX, "a number from 0"),
        ])?;
        let needs = [
            ("run.eval_every", self.eval_every.is_some(), "data.eval", eval),
            ("run.eval_samples", self.eval_samples.is_some(), "data.eval", eval),
            ("run.best", self.best.is_some(), "data.eval", eval),
            ("run.patience", self.patience.is_some(), "run.best", self.best.is_some()),
            ("run.min_delta", self.min_delta.is_some(), "run.patience", self.patience.is_some()),
        ];
        if let Some((key, _, needed, _)) = needs.iter().find(|(_, set, _, met)| *set && !met) {
            return Err(Error::input(format!("{key} has no effect without {needed}")));
        }
        match self.best {
            Some(best) if best.kind() != kind => Err(Error::input(format!(
                "run.best is {}, which {} does not measure",
                best.name(),
                kind.command()
            ))),
            _ => Ok(()),
        }
    }
}

impl Default for RunSection {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            seed: 0,
            log_every: 1,
            checkpoint_every: 100,
            eval_every: None,
            eval_samples: None,
            keep: 3,
            best: None,
            patience: None,
            min_delta: None,
        }
    }
}

/// Attribution methods that are fast enough to watch with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WatchMethod {
    Eap,
    #[default]
    EapIgInputs,
    EapIgActivations,
    CleanCorrupt,
}

impl WatchMethod {
    /// Whether it integrates over `watch.steps` points.
    pub(super) fn integrates(self) -> bool {
        matches!(self, Self::EapIgInputs | Self::EapIgActivations)
    }
}

/// Attribution and circuit of the model in training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WatchSection {
    /// JSONL of clean and corrupt prompts; required.
    pub(super) pairs: PathBuf,
    /// Training steps between two circuits.
    pub(super) every: usize,
    pub(super) method: WatchMethod,
    /// Sample points of an integrating method; 5 where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) steps: Option<usize>,
    /// Edges of a circuit.
    pub(super) top: usize,
}

impl Default for WatchSection {
    fn default() -> Self {
        Self { pairs: PathBuf::new(), every: 100, method: WatchMethod::default(), steps: None, top: 5000 }
    }
}
