//! `[rollouts]`: GRPO's completions from servers, which are given the policy after each step.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::Error;
use model_qwen::{Adapter, LoraConfig, Qwen, StopStrings, Text};
use posttrain::config::check_ranges;
use posttrain_grpo::{Correction, CorrectionKind, Grpo, GrpoStats, Made, RolloutConfig, Rollouts};
use serde::{Deserialize, Serialize};
use server::{Job, Running, Servers, Settings, Version};

use super::open::Open;
use super::sections;
use crate::options::{Common, Result};
use crate::served::Told;

/// Servers that sample, and how their completions are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RolloutsSection {
    /// Addresses of vLLM or SGLang servers of the model, one or a list; required.
    #[serde(deserialize_with = "sections::one_or_more")]
    pub(super) server: Vec<String>,
    /// Folder that versions of the policy are written to, and that the servers see at the same path; `rollouts` in the
    /// run folder where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) adapters: Option<PathBuf>,
    /// Steps that the weights which sampled a completion may lie behind. As many generations are sampled while the
    /// policy is trained; 0 samples each with the current weights.
    pub(super) staleness: usize,
    /// Correction of the mismatch between the server's log-probabilities and the trainer's.
    pub(super) correction: CorrectionKind,
    /// Lower bound of its ratios; 0 is none.
    pub(super) clip_min: f64,
    /// Upper bound; `inf` is none.
    pub(super) clip_max: f64,
    /// Requests in flight at each server.
    pub(super) concurrency: usize,
    /// Seconds that a request may take.
    pub(super) timeout: f64,
    /// Seconds for which servers that do not answer are tried again; then the run writes a checkpoint and ends.
    pub(super) patience: f64,
}

impl Default for RolloutsSection {
    fn default() -> Self {
        let Correction { kind: correction, clip_min, clip_max } = Correction::default();
        let Settings { concurrency, timeout, patience, .. } = Settings::new([""; 0]);
        let (timeout, patience) = (timeout.as_secs_f64(), patience.as_secs_f64());
        let (server, adapters, staleness) = (Vec::new(), None, 0);
        Self { server, adapters, staleness, correction, clip_min, clip_max, concurrency, timeout, patience }
    }
}

impl RolloutsSection {
    /// What the trainer looks at.
    pub(super) fn config(&self) -> RolloutConfig {
        let Self { staleness, correction: kind, clip_min, clip_max, .. } = *self;
        RolloutConfig { staleness, correction: Correction { kind, clip_min, clip_max } }
    }

    pub(super) fn check(&self) -> Result {
        if self.server.is_empty() {
            return Err(Error::input("missing `rollouts.server`"));
        }
        let start = Correction::default();
        let bounds = (self.clip_min, self.clip_max) != (start.clip_min, start.clip_max);
        if self.correction == CorrectionKind::None && bounds {
            return Err(Error::input(
                "rollouts.clip_min and rollouts.clip_max have no effect with rollouts.correction = \"none\"",
            ));
        }
        check_ranges(&[
            ("rollouts.staleness", self.staleness as f64, 0.0, 1e4, "from 0 to 10000"),
            ("rollouts.concurrency", self.concurrency as f64, 1.0, 1e4, "from 1 to 10000"),
            ("rollouts.timeout", self.timeout, 0.001, 1e9, "from 0.001 seconds"),
            ("rollouts.patience", self.patience, 0.0, 1e9, "from 0 seconds"),
        ])
    }

    fn settings(&self) -> Settings {
        let (timeout, patience) =
            (Duration::from_secs_f64(self.timeout), Duration::from_secs_f64(self.patience));
        Settings { urls: self.server.clone(), concurrency: self.concurrency, timeout, patience }
    }
}

/// Servers that sample for a run.
pub(super) struct Elsewhere<'a> {
    servers: Servers,
    staleness: usize,
    patience: f64,
    /// Where versions of the policy go, each in a folder of its own that no other run has.
    folder: PathBuf,
    /// Whether that is a folder of the run alone.
    is_own: bool,
    token: String,
    /// The adapter that is trained; without one whole models go over.
    lora: Option<LoraConfig>,
    /// Steps done by the version that the servers are given.
    current: Option<usize>,
    /// Generations that are being sampled, in the order of the prompts.
    ahead: VecDeque<Generation>,
    stops: Vec<String>,
    stop: Arc<AtomicBool>,
    common: &'a Common,
    /// Whether it was said that the servers' log-probabilities are of another policy.
    warned: bool,
}

/// The mean difference of fresh log-probabilities in nats from which they are hardly of the same policy: types of 16 bits
/// make some hundredths.
const OTHER_POLICY: f64 = 0.05;

/// One generation in flight.
struct Generation {
    position: u64,
    running: Running,
    /// The numbers of its requests.
    mine: Vec<usize>,
}

impl<'a> Elsewhere<'a> {
    /// The servers of `[rollouts]`, where a run has it. `longest` is the number of tokens of the longest prompt.
    pub(super) fn open(open: &Open<'a>, stops: &[&str], longest: usize) -> Result<Option<Self>> {
        let Some(section) = &open.file.rollouts else { return Ok(None) };
        if open.dry_run {
            open.common.note("the policy samples in a dry run: rollouts.server is not asked");
            return Ok(None);
        }
        if open.ranks.count() > 1 {
            return Err(Error::input(
                "[rollouts]: servers sample for a run of one process, expected no launcher or no [rollouts]",
            ));
        }
        if let Some(folder) = &section.adapters {
            common::make_folder(folder).map_err(|e| e.within("rollouts.adapters"))?;
        }
        let stop = crate::signals::polled();
        let told = Told::new(open.common, section.patience);
        let opened = Servers::open(section.settings(), &|| {
            told.away(&[]);
            stop.load(Ordering::SeqCst)
        });
        if stop.load(Ordering::SeqCst) {
            return Err(Error::internal("interrupted before the servers sampled"));
        }
        let servers = opened.map_err(|e| e.within("rollouts.server"))?;
        let (budget, most) = (open.file.grpo().max_tokens, servers.max_len());
        if longest.saturating_add(budget) > most {
            return Err(Error::input(format!(
                "grpo.max_tokens is {budget} and the longest prompt has {longest} tokens: the servers take {most} \
                 together (--max-model-len)"
            )));
        }
        let temperature = open.file.grpo().temperature;
        match servers.logprobs_at_temperature() {
            Some(true) => {}
            _ if temperature == 1.0 => {}
            Some(false) => {
                return Err(Error::input(format!(
                    "grpo.temperature is {temperature} and a server gives log-probabilities before temperature: expected \
                     vllm serve --logprobs-mode processed_logprobs"
                )));
            }
            None => open.common.warn(
                "rollouts.server: a server does not say whether its log-probabilities are after temperature: with vLLM \
                 --logprobs-mode processed_logprobs",
            )?,
        }
        let models: Vec<&str> = servers.models().collect();
        open.common.note(format!("sampling on {} ({})", section.server.join(", "), models.join(", ")));
        let model = &open.file.model.path;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Some(Self {
            servers,
            staleness: section.staleness,
            patience: section.patience,
            folder: section.adapters.clone().unwrap_or_else(|| open.file.run.dir.join("rollouts")),
            is_own: section.adapters.is_none(),
            token: format!("{:x}", since.as_nanos()),
            lora: open.file.lora.as_ref().map(|lora| lora.config(model)),
            current: None,
            ahead: VecDeque::new(),
            stops: stops.iter().map(|&stop| stop.to_owned()).collect(),
            stop,
            common: open.common,
            warned: false,
        }))
    }

    /// Warns, once, where a step's fresh completions can hardly be of the policy that was trained.
    pub(super) fn check(&mut self, stats: &GrpoStats) -> Result {
        let fresh = stats.sampler.is_some_and(|sampler| sampler.staleness_max == 0);
        if !fresh || stats.sampler_gap_mean < OTHER_POLICY || std::mem::replace(&mut self.warned, true) {
            return Ok(());
        }
        self.common.warn(format!(
            "step {}: the servers' log-probabilities differ from the policy's by {:.2} a token on average: do they serve \
             the model of model.path, and take new weights?",
            stats.step, stats.sampler_gap_mean
        ))
    }

    /// The next generation. `prompts` gives those at a position in the run's order.
    pub(super) fn sample(
        &mut self,
        grpo: &mut Grpo,
        prompts: &dyn Fn(u64) -> Vec<Vec<u32>>,
        text: &Text,
    ) -> Result<Rollouts> {
        let (step, position) = (grpo.progress().step, grpo.progress().position);
        if self.current != Some(step) {
            self.publish(grpo.policy(), step)?;
        }
        let mut now = match self.ahead.pop_front() {
            Some(generation) if generation.position == position => generation,
            _ => {
                self.ahead.clear();
                self.begin(grpo, position, &prompts(position))?
            }
        };
        let stops: Vec<&str> = self.stops.iter().map(String::as_str).collect();
        let told = Told::new(self.common, self.patience);
        let stopped = || {
            let away = self.servers.away();
            if !away.is_empty() {
                told.away(&away);
            }
            self.stop.load(Ordering::SeqCst)
        };
        let mut made = Vec::new();
        while let Some((at, answer)) = now.running.next(&stopped)? {
            let mut completion = answer.completion;
            StopStrings::trim(text, &stops, &mut completion)?;
            made.push(Made { at: now.mine[at], completion, step: answer.step.unwrap_or(step) });
        }
        if !now.running.is_done() {
            return Err(Error::internal("interrupted while the servers sampled"));
        }
        let rollouts = grpo.rollouts(&prompts(position), made)?;
        // What is trained on later is sampled while this is trained on.
        let left = grpo.steps() - step - 1;
        while self.ahead.len() < self.staleness.min(left) {
            let next = grpo.progress().position + (self.ahead.len() * grpo.prompts()) as u64;
            let generation = self.begin(grpo, next, &prompts(next))?;
            self.ahead.push_back(generation);
        }
        Ok(rollouts)
    }

    fn begin(&self, grpo: &Grpo, position: u64, prompts: &[Vec<u32>]) -> Result<Generation> {
        let (mine, requests) = grpo.requests(prompts, position)?;
        let job = Job { requests, how: grpo.sampling(), stops: self.stops.clone() };
        Ok(Generation { position, running: self.servers.start(job)?, mine })
    }

    /// Writes the policy for the servers.
    fn publish(&mut self, policy: &Qwen, step: usize) -> Result {
        if self.is_own && self.current.is_none() && self.folder.exists() {
            // What a killed run left.
            std::fs::remove_dir_all(&self.folder).map_err(|e| Error::io(&self.folder, e))?;
        }
        common::make_folder(&self.folder)?;
        let dir = self.folder.join(format!("step-{step}-{}", self.token));
        let version = match &self.lora {
            Some(lora) => {
                Adapter::of(lora.clone(), policy).save(&dir)?;
                Version::adapter(&dir, step)?
            }
            None => {
                model_qwen::save_as_held(policy, &dir, None)?;
                Version::weights(&dir, step)?
            }
        };
        self.servers.publish(version);
        self.current = Some(step);
        Ok(())
    }

    /// Removes the versions that the servers were given, and the run's folder of them.
    pub(super) fn close(self) {
        drop((self.ahead, self.servers));
        if self.is_own {
            // It stays where somebody put something into it.
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}
