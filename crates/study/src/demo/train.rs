//! The two post-training runs, in run folders, with a snapshot of the weights at every checkpoint.

use std::path::Path;

use model_qwen::{Qwen, Text};
use posttrain::{RunFolder, TrainerConfig};
use posttrain_grpo::{Grpo, GrpoConfig};
use posttrain_sft::{Encoder, Example, Sft, SftConfig};
use serde::Deserialize;

use super::{Demo, solve};
use crate::Error;
use crate::results::{CurvePoint, TrainingMethod};
use toy::{self, Mix, ProblemStream, Split, ToyProblem};

/// The curve of a run and its checkpoints.
pub(super) struct Run {
    pub(super) curve: Vec<CurvePoint>,
    pub(super) snapshots: Vec<(u64, Qwen)>,
}

/// The part of a run's configuration that is its own, as TOML.
pub(super) fn settings(demo: &Demo, method: TrainingMethod) -> String {
    match method {
        TrainingMethod::Sft => format!(
            "[train]\nsteps = {}\nbatch_size = 64\n[optimizer]\nlr = 1e-3\nmax_grad_norm = 1.0\n\
             [schedule]\nkind = \"cosine\"\nwarmup_steps = 4\nmin_lr_ratio = 0.1\n",
            demo.sft.0
        ),
        TrainingMethod::Grpo => format!(
            "[train]\nsteps = {}\nbatch_size = 128\n[optimizer]\nlr = 4e-4\nmax_grad_norm = 1.0\n\
             [schedule]\nkind = \"constant\"\nwarmup_steps = 3\n\
             [grpo]\nprompts = 16\ngroup_size = 8\nmax_tokens = {}\ntemperature = 1.0\nloss = \"dapo\"\nbeta = 0.0\n",
            demo.grpo.0,
            solve::MAX_TOKENS
        ),
    }
}

/// A run's settings as [`settings`] writes them.
#[derive(Deserialize)]
struct Sections {
    #[serde(flatten)]
    trainer: TrainerConfig,
    #[serde(default)]
    grpo: GrpoConfig,
}

fn sections(demo: &Demo, method: TrainingMethod) -> Result<Sections, Error> {
    let mut sections: Sections = toml::from_str(&settings(demo, method)).map_err(Error::internal)?;
    sections.trainer.seed = demo.seed;
    Ok(sections)
}

/// The run folder of a method, made afresh: an earlier demo's is removed.
fn folder(demo: &Demo, method: TrainingMethod, base: &Path) -> Result<RunFolder, Error> {
    let (name, every) =
        if method == TrainingMethod::Sft { ("sft", demo.sft.1) } else { ("grpo", demo.grpo.1) };
    let dir = demo.out.join("runs").join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
    }
    let path = |p: &Path| toml_string(&p.display().to_string());
    let text = format!(
        "[model]\npath = {}\n[data]\ntrain = \"generated\"\n[run]\ndir = {}\nseed = {}\n\
         checkpoint_every = {every}\nkeep = 100\n{}",
        path(base),
        path(&dir),
        demo.seed,
        settings(demo, method)
    );
    Ok(RunFolder::create(&dir, &text)?.keeping(100).with_tokenizer(base))
}

fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Trains from `base`, whose checkpoint folder is `folder`; `watch` is told the share that is done.
pub(super) fn train(
    demo: &Demo,
    method: TrainingMethod,
    base: &Qwen,
    folder: &Path,
    watch: impl FnMut(f64),
) -> Result<Run, Error> {
    let (folder, sections) = (self::folder(demo, method, folder)?, sections(demo, method)?);
    match method {
        TrainingMethod::Sft => {
            sft(demo, folder, &SftConfig { trainer: sections.trainer, ..SftConfig::default() }, base, watch)
        }
        TrainingMethod::Grpo => {
            let config = GrpoConfig { trainer: sections.trainer, ..sections.grpo };
            grpo(demo, folder, &config, base, watch)
        }
    }
}

fn sft(
    demo: &Demo,
    mut folder: RunFolder,
    config: &SftConfig,
    base: &Qwen,
    mut watch: impl FnMut(f64),
) -> Result<Run, Error> {
    let encoder = Encoder::new(Text::from_bytes(toy::TOKENIZER_JSON.as_bytes())?, None);
    let mut corpus = toy::sft_corpus(demo.seed);
    let mut sft = Sft::new(base.clone(), config, usize::MAX)?;
    let mut run = Run { curve: Vec::new(), snapshots: Vec::new() };
    while !sft.is_done() {
        let batch: Result<Vec<Example>, _> = corpus
            .by_ref()
            .take(sft.batch())
            .map(|line| encoder.completion(line.id, &line.prompt, &line.completion))
            .collect();
        let stats = sft.step(&batch?)?;
        folder.log(&stats)?;
        run.curve.push(CurvePoint {
            step: stats.step as u64,
            loss: Some(stats.loss),
            lr: Some(stats.lr),
            ..CurvePoint::default()
        });
        let done = stats.step + 1;
        if done.is_multiple_of(demo.sft.1) || sft.is_done() {
            folder.checkpoint(sft.model(), sft.optimizer(), sft.progress())?;
            run.snapshots.push((done as u64, sft.model().clone()));
        }
        watch(done as f64 / sft.steps() as f64);
    }
    Ok(run)
}

fn grpo(
    demo: &Demo,
    mut folder: RunFolder,
    config: &GrpoConfig,
    base: &Qwen,
    mut watch: impl FnMut(f64),
) -> Result<Run, Error> {
    let mut problems = ProblemStream::new(Mix::HARD, Split::Train, demo.seed ^ 0x6772_706f);
    let mut grpo = Grpo::new(base.clone(), vec![toy::EOS], config, usize::MAX)?;
    let mut run = Run { curve: Vec::new(), snapshots: Vec::new() };
    while !grpo.is_done() {
        let tasks: Vec<ToyProblem> = problems.by_ref().take(grpo.prompts()).collect();
        let prompts = tasks.iter().map(|p| toy::encode(&p.prompt)).collect::<Result<Vec<_>, _>>()?;
        let rollouts = grpo.sample(&prompts)?;
        let scored = rollouts.score(|r| toy::reward(&tasks[r.prompt], &toy::decode(&r.ids)))?;
        let stats = grpo.step(&scored)?;
        folder.log(&stats)?;
        run.curve.push(CurvePoint {
            step: stats.step as u64,
            reward: Some(stats.reward),
            length: Some(stats.length),
            lr: Some(stats.lr),
            ..CurvePoint::default()
        });
        let done = stats.step + 1;
        if done.is_multiple_of(demo.grpo.1) || grpo.is_done() {
            folder.checkpoint(grpo.policy(), grpo.optimizer(), grpo.progress())?;
            run.snapshots.push((done as u64, grpo.policy().clone()));
        }
        watch(done as f64 / grpo.steps() as f64);
    }
    Ok(run)
}
