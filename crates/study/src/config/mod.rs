//! The configuration of a study: checkpoints, suites, and how circuits are found and compared. Read from TOML;
//! relative paths are relative to the working folder.

use std::collections::BTreeSet;
use std::path::PathBuf;

use attribution::{Endpoint, Method};
use circuits::{Rank, Selection};
use hooks::Metric;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::results::HeadSet;

mod work;

pub use work::{
    ActionConfig, BenchmarkConfig, InterventionsConfig, OpeningsConfig, Replacement, ThinkConfig,
    ThinkPrefixes, TrainConfig, TransfersConfig,
};

/// A study's configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudyConfig {
    /// Folder, title, seed.
    pub study: StudySection,
    /// The checkpoints; the first is the base, which every other is compared with.
    pub checkpoint: Vec<CheckpointConfig>,
    /// Trainings that the study makes, after the checkpoints in the order of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub train: Vec<TrainConfig>,
    /// The sets of pairs that circuits are found on; the first is the main one.
    pub suite: Vec<SuiteConfig>,
    /// How edges are scored.
    #[serde(default)]
    pub attribution: AttributionConfig,
    /// How circuits are selected; the first is the main one. Where none is given, the paper's top 5000.
    #[serde(default = "CircuitConfig::default_list")]
    pub circuit: Vec<CircuitConfig>,
    /// Tests, noise floors and random circuits.
    #[serde(default)]
    pub controls: ControlsConfig,
    /// The problems that checkpoints answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benchmark: Vec<BenchmarkConfig>,
    /// Heads changed while checkpoints answer the benchmarks; not done where the section is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interventions: Option<InterventionsConfig>,
    /// Thinking on and off; not done where the section is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think: Option<ThinkConfig>,
    /// Activations of one checkpoint put into another; not done where the section is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfers: Option<TransfersConfig>,
}

/// Folder, title and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudySection {
    /// Everything that the study writes is in this folder.
    pub dir: PathBuf,
    /// A heading for the report.
    #[serde(default)]
    pub title: String,
    /// One or two sentences on what is studied.
    #[serde(default)]
    pub description: String,
    /// Seed of every random number.
    #[serde(default)]
    pub seed: u64,
    /// A file of controls and of other seeds' results, made by `tools/demo_evidence.sh`, to be shown beside this study's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<PathBuf>,
}

/// A checkpoint, or the checkpoints of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Unique; checkpoints of a run are called `NAME-STEP`.
    pub name: String,
    /// Checkpoint folder, hub id `org/name[@revision]`, or run folder of `sparks sft` or `sparks grpo`.
    pub path: String,
    /// LoRA adapter in PEFT's format on top of `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<PathBuf>,
    /// Of a run folder: the steps to study; all that the run kept, where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<u64>>,
}

/// A set of pairs: a file, or the openings of two checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteConfig {
    /// Unique.
    pub name: String,
    /// Pairs file (JSON lines, as `sparks attribute --pairs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<PathBuf>,
    /// Pairs made of the openings of two checkpoints' answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openings: Option<OpeningsConfig>,
    /// What is in it, in a sentence.
    #[serde(default)]
    pub description: String,
}

/// Attribution methods of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodName {
    /// Edge attribution patching.
    Eap,
    /// Integrated gradients along the inputs (the paper's).
    EapIgInputs,
    /// Integrated gradients along each site's activations.
    EapIgActivations,
    /// Mean of the gradients at the clean and the corrupt run.
    CleanCorrupt,
    /// Every edge patched.
    Exact,
}

/// How edges are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttributionConfig {
    /// The method.
    pub method: MethodName,
    /// Points of integrated gradients.
    pub steps: usize,
    /// Which end of each interval the points are at.
    pub endpoint: Endpoint,
    /// The metric whose gradient is taken.
    #[serde(with = "metric_name")]
    pub metric: Metric,
    /// Parts that the pairs of a suite are scored in: jobs for the shards of an array.
    pub parts: usize,
    /// Recompute blocks in the backward pass.
    pub recompute: bool,
}

mod metric_name {
    use hooks::Metric;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(metric: &Metric, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(metric)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Metric, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Default for AttributionConfig {
    fn default() -> Self {
        Self {
            method: MethodName::EapIgInputs,
            steps: 5,
            endpoint: Endpoint::Right,
            metric: Metric::LogitDiff,
            parts: 1,
            recompute: false,
        }
    }
}

impl AttributionConfig {
    /// The method with its settings.
    pub fn method(&self) -> Method {
        let &Self { steps, endpoint, .. } = self;
        match self.method {
            MethodName::Eap => Method::Eap,
            MethodName::EapIgInputs => Method::EapIgInputs { steps, endpoint },
            MethodName::EapIgActivations => Method::EapIgActivations { steps, endpoint },
            MethodName::CleanCorrupt => Method::CleanCorrupt,
            MethodName::Exact => Method::Exact,
        }
    }
}

/// A rule that selects a circuit from scores: exactly one of `top` and `threshold`. The result is pruned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitConfig {
    /// Unique.
    pub name: String,
    /// The edges of largest score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
    /// Edges of at least this score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// Signed scores in the convention of a loss (positive: corrupting the edge hurts), not absolute scores.
    #[serde(default)]
    pub signed: bool,
    /// Heads are sources of edges only: the scores of all edges into heads are 0.
    #[serde(default)]
    pub source_only: bool,
    /// A `top` that nobody gave takes all edges of a smaller graph.
    #[serde(skip)]
    pub at_most: bool,
}

impl CircuitConfig {
    fn default_list() -> Vec<Self> {
        vec![Self {
            name: "top5000".into(),
            top: Some(5000),
            threshold: None,
            signed: false,
            source_only: false,
            at_most: true,
        }]
    }

    /// Refuses a given `top` beyond the edges of the graph.
    ///
    /// # Errors
    /// Both numbers.
    pub fn check(&self, n_edges: usize) -> Result<(), Error> {
        match self.top {
            Some(n) if n > n_edges && !self.at_most => {
                let what = format!("circuit {}: top is {n}, and the graph has {n_edges} edges", self.name);
                Err(Error::input(what))
            }
            _ => Ok(()),
        }
    }

    /// The selection, in a graph of `n_edges` edges: a `top` beyond it takes all.
    pub fn selection(&self, n_edges: usize) -> Selection {
        match (self.top, self.threshold) {
            (Some(n), _) => Selection::Top(n.min(n_edges)),
            (None, t) => Selection::Threshold(t.unwrap_or(0.0)),
        }
    }

    /// The order of edges.
    pub fn rank(&self) -> Rank {
        if self.signed { Rank::Signed } else { Rank::Absolute }
    }
}

/// Tests, noise floors and random circuits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ControlsConfig {
    /// Bootstrap draws of the pairs, and exchanges of labels, behind each interval and test.
    pub draws: usize,
    /// False-discovery rate of the test for emergent heads.
    pub rate: f64,
    /// Random circuits of each kind (layer-matched, degree-matched) beside each faithfulness.
    pub nulls: usize,
    /// Pairs in one run of a faithfulness measurement.
    pub batch: usize,
    /// Trials of a planted change, and of noise, on the base and the first suite, one a seed; 0 makes none.
    pub trials: usize,
    /// Standard deviation of the noise, relative to each matrix's root mean square.
    pub noise: f64,
}

impl Default for ControlsConfig {
    fn default() -> Self {
        Self { draws: 200, rate: 0.05, nulls: 5, batch: 16, trials: 0, noise: 0.01 }
    }
}

impl StudyConfig {
    /// Reads a configuration file's text.
    ///
    /// # Errors
    /// Text that is not TOML, an unknown key, a value out of its range: with the key and what was expected.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let config: Self = toml::from_str(text).map_err(Error::input)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Error> {
        let given = self.checkpoint.len() + self.train.len();
        if given < 2 && self.checkpoint.iter().all(|c| c.steps.is_none()) {
            return Err(Error::input(
                "[[checkpoint]]: expected the base and at least one more, or [[train]]",
            ));
        }
        if self.checkpoint.is_empty() {
            return Err(Error::input("[[checkpoint]]: expected at least one"));
        }
        unique(
            "checkpoint",
            self.checkpoint.iter().map(|c| &c.name).chain(self.train.iter().map(|t| &t.name)),
        )?;
        unique("suite", self.suite.iter().map(|s| &s.name))?;
        unique("circuit", self.circuit.iter().map(|c| &c.name))?;
        if !self.benchmark.is_empty() {
            unique("benchmark", self.benchmark.iter().map(|b| &b.name))?;
        }
        for circuit in &self.circuit {
            if circuit.top.is_some() == circuit.threshold.is_some() {
                let what = format!("circuit {}: expected one of `top` and `threshold`", circuit.name);
                return Err(Error::input(what));
            }
        }
        for suite in &self.suite {
            if suite.pairs.is_some() == suite.openings.is_some() {
                let what = format!("suite {}: expected one of `pairs` and `openings`", suite.name);
                return Err(Error::input(what));
            }
        }
        self.check_names()?;
        let of = |e: Error| Error::input(format!("attribution.{e}"));
        self.attribution.method().check().map_err(of)?;
        posttrain::config::check_ranges(&[
            ("attribution.parts", self.attribution.parts as f64, 1.0, 1e6, "from 1"),
            ("controls.draws", self.controls.draws as f64, 20.0, 1e6, "from 20"),
            ("controls.rate", self.controls.rate, 0.0, 1.0, "from 0 to 1"),
            ("controls.nulls", self.controls.nulls as f64, 1.0, 1e4, "from 1"),
            ("controls.batch", self.controls.batch as f64, 1.0, 1e6, "from 1"),
            ("controls.noise", self.controls.noise, 0.0, 10.0, "from 0 to 10"),
        ])?;
        for benchmark in &self.benchmark {
            let BenchmarkConfig { name, samples, temperature, top_p, max_tokens, batch, .. } = benchmark;
            posttrain::config::check_ranges(&[
                ("samples", *samples as f64, 1.0, 1e6, "from 1"),
                ("temperature", *temperature, 0.0, 1e3, "from 0"),
                ("top_p", *top_p, f64::MIN_POSITIVE, 1.0, "above 0, to 1"),
                ("max_tokens", *max_tokens as f64, 1.0, 1e9, "from 1"),
                ("batch", *batch as f64, 1.0, 1e6, "from 1"),
                ("limit", benchmark.limit.unwrap_or(1) as f64, 1.0, 1e9, "from 1"),
            ])
            .and_then(|()| benchmark.prompt().check())
            .map_err(|e| e.within(format_args!("benchmark {name}")))?;
        }
        Ok(())
    }

    /// Names in one section that mean an entry of another.
    fn check_names(&self) -> Result<(), Error> {
        let of = |at: &str, kind: &str, name: Option<&String>, known: Vec<&str>| match name {
            Some(name) if !known.contains(&name.as_str()) => Err(Error::input(format!(
                "{at}: `{name}` is no {kind}, expected one of {}",
                known.join(", ")
            ))),
            _ => Ok(()),
        };
        let suites = || self.suite.iter().map(|s| s.name.as_str()).collect::<Vec<_>>();
        let benchmarks = || self.benchmark.iter().map(|b| b.name.as_str()).collect::<Vec<_>>();
        let models = |n: usize| {
            let given = self.checkpoint.iter().map(|c| c.name.as_str());
            given.chain(self.train.iter().take(n).map(|t| t.name.as_str())).collect::<Vec<_>>()
        };
        let all = self.train.len();
        for (i, train) in self.train.iter().enumerate() {
            of(
                &format!("train {}: parent", train.name),
                "checkpoint before it",
                train.parent.as_ref(),
                models(i),
            )?;
        }
        for suite in &self.suite {
            let Some(openings) = &suite.openings else { continue };
            let at = |key: &str| format!("suite {}: openings.{key}", suite.name);
            of(&at("post"), "checkpoint", Some(&openings.post), models(all))?;
            of(&at("base"), "checkpoint", openings.base.as_ref(), models(all))?;
            if openings.lengths.is_empty() || openings.lengths.contains(&0) {
                return Err(Error::input(format!("{}: expected numbers of tokens from 1", at("lengths"))));
            }
        }
        if let Some(section) = &self.interventions {
            of("interventions.suite", "suite", section.suite.as_ref(), suites())?;
            of("interventions.control", "suite", section.control.as_ref(), suites())?;
            let rules = self.circuit.iter().map(|c| c.name.as_str()).collect();
            of("interventions.rule", "circuit", section.rule.as_ref(), rules)?;
            for name in section.benchmarks.iter().flatten() {
                of("interventions.benchmarks", "benchmark", Some(name), benchmarks())?;
            }
            if let Some(set) = section.sets.iter().find(|s| matches!(s, HeadSet::Control | HeadSet::OffOnly))
            {
                let what = format!(
                    "interventions.sets: {set:?} is no set of a training; see interventions.control and [think]"
                );
                return Err(Error::input(what));
            }
            if self.benchmark.is_empty() {
                return Err(Error::input("[interventions] has no effect without a [[benchmark]]"));
            }
        }
        if let Some(section) = &self.think {
            for name in &section.checkpoints {
                of("think.checkpoints", "checkpoint", Some(name), models(all))?;
            }
            of("think.benchmark", "benchmark", section.benchmark.as_ref(), benchmarks())?;
            if self.benchmark.is_empty() {
                return Err(Error::input("[think] has no effect without a [[benchmark]]"));
            }
        }
        for name in self.transfers.iter().flat_map(|t| t.suites.iter().flatten()) {
            of("transfers.suites", "suite", Some(name), suites())?;
        }
        Ok(())
    }
}

/// Names are unique, and fit for folders.
fn unique<'a>(kind: &str, names: impl Iterator<Item = &'a String>) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for name in names {
        let fit = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(fit) {
            return Err(Error::input(format!(
                "{kind} name `{name}`: expected letters, digits, `-`, `_` and `.` (it becomes a folder)"
            )));
        }
        if !seen.insert(name) {
            return Err(Error::input(format!("{kind} name `{name}` is given twice")));
        }
    }
    if seen.is_empty() {
        return Err(Error::input(format!("[[{kind}]]: expected at least one")));
    }
    Ok(())
}
