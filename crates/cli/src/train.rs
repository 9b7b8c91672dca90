//! `sparks sft` and `sparks grpo`: the training loops, with checkpoints, and circuits of the model in training.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use attribution::{Endpoint, Method, Options, Scores, score_pair};
use circuits::{Circuit, ScoreFile};
use common::{Error, write_whole};
use hooks::{Metric, Pairs};
use model_qwen::{Checkpoint, Dtype, Qwen};
use posttrain::{Config, Order, RunFolder};
use posttrain_grpo::Grpo;
use posttrain_sft::{Dataset, Encoder, Sft};
use serde::Serialize;
use serde_json::json;

use crate::input;
use crate::options::{Common, Result};
use crate::output::{print_json, progress};

#[derive(clap::Args, Debug)]
pub(crate) struct SftArgs {
    #[command(flatten)]
    run: RunArgs,
}

#[derive(clap::Args, Debug)]
pub(crate) struct GrpoArgs {
    #[command(flatten)]
    run: RunArgs,
}

#[derive(clap::Args, Debug)]
struct RunArgs {
    /// The run's configuration.
    #[arg(required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Changes to it, such as optimizer.lr=1e-5.
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., action = clap::ArgAction::Append)]
    set: Vec<String>,
    /// A run folder to go on with, from its last whole checkpoint.
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// The last step's numbers as one JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// An open run: configuration, folder, the checkpoint to start from and, in a resumed run, where it was.
struct Open {
    config: Config,
    folder: RunFolder,
    start: Checkpoint,
    resumed: Option<posttrain::Resumed>,
    stop: Arc<AtomicBool>,
}

impl Open {
    fn new(common: &Common, args: &RunArgs) -> Result<Self> {
        let (config, folder, resumed) = match (&args.resume, &args.config) {
            (Some(dir), _) => {
                let config = RunFolder::config(dir)?;
                let (folder, resumed) = RunFolder::resume(dir)?;
                (config, folder, Some(resumed))
            }
            (None, Some(path)) => {
                let mut config = Config::open(path, &args.set)?;
                if let Some(model) = config.model.path.to_str() {
                    config.model.path = crate::model::folder(common, model)?;
                }
                config.check()?;
                let folder = RunFolder::create(&config)?;
                (config, folder, None)
            }
            (None, None) => return Err(Error::input("missing CONFIG.toml or --resume RUN")),
        };
        let from = resumed.as_ref().map_or(&config.model.path, |r| &r.dir);
        let start = Checkpoint::open(from)?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).map_err(Error::internal)?;
        Ok(Self { config, folder, start, resumed, stop })
    }

    fn load(&self, common: &Common) -> Result<Qwen> {
        common.without_adapter("training")?;
        common.load_base(&self.start, Dtype::F32)
    }

    /// Whether a checkpoint is due after step `done`.
    fn checkpoint_due(&self, done: usize, last: bool) -> bool {
        let every = self.config.run.checkpoint_every;
        last || self.interrupted() || (every > 0 && done.is_multiple_of(every))
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Logs a step and says it on stderr.
    fn log(
        &mut self,
        common: &Common,
        step: usize,
        last: bool,
        stats: &impl Serialize,
        text: &str,
    ) -> Result {
        let every = self.config.run.log_every.max(1);
        if step.is_multiple_of(every) || last {
            self.folder.log(stats)?;
            if !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
                common.note(text);
            }
        }
        Ok(())
    }
}

/// Attribution and circuit of the model in training, where `[watch]` asks for it.
struct Watch {
    pairs: Pairs,
    every: usize,
    method: Method,
    top: usize,
}

impl Watch {
    fn new(common: &Common, open: &Open) -> Result<Option<Self>> {
        let Some(watch) = &open.config.watch else { return Ok(None) };
        let steps = watch.steps;
        let method = match watch.method.as_str() {
            "eap" => Method::Eap,
            "eap-ig-inputs" => Method::EapIgInputs { steps, endpoint: Endpoint::Left },
            "eap-ig-activations" => Method::EapIgActivations { steps, endpoint: Endpoint::Right },
            "clean-corrupt" => Method::CleanCorrupt,
            other => {
                return Err(Error::input(format!(
                    "watch.method is {other}, expected eap, eap-ig-inputs, eap-ig-activations or clean-corrupt"
                )));
            }
        };
        let pairs = input::pairs(common, &watch.pairs, &open.start)?;
        Ok(Some(Self { pairs, every: watch.every.max(1), method, top: watch.top }))
    }

    /// Writes `circuits/step-N.json` of the weights as they are.
    fn look(&self, model: &Qwen, folder: &RunFolder, step: usize) -> Result {
        let options = Options { per_pair: true, ..Options::default() };
        let scored = self.pairs.iter().map(|p| score_pair(model, p, Metric::LogitDiff, self.method, options));
        let scores = Scores::collect(scored, options)?;
        let n = self.top.min(scores.mean.values().len());
        let circuit = Circuit::top(&scores.mean, n)?.pruned();
        let meta = json!({
            "method": self.method.to_string(), "settings": self.method, "metric": "logit-diff", "step": step,
            "pairs": scores.pairs, "completeness_error": scores.completeness_error(),
            "heads": circuit.heads().iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        let ids = scores.pairs.iter().map(|p| p.id.clone()).collect();
        let mut file = ScoreFile::new(scores.mean, meta).with_circuit(&circuit)?;
        file.per_pair = scores.per_pair.map(|rows| circuits::PerPair {
            ids,
            values: rows.iter().flat_map(|r| r.values().to_vec()).collect(),
        });
        let path = folder.circuit_path(step)?;
        write_whole(&path, &file.to_bytes(&path)?)
    }
}

pub(crate) fn sft(common: &Common, args: SftArgs) -> Result {
    let mut open = Open::new(common, &args.run)?;
    let encoder = Encoder::of(&open.start)?;
    let data = Dataset::open(&open.config.data, open.config.run.seed, &encoder)?;
    if data.truncated + data.empty > 0 {
        common.note(format!(
            "{} examples cut at max_length, {} left out as untrained",
            data.truncated, data.empty
        ));
    }
    let watch = Watch::new(common, &open)?;
    let model = open.load(common)?;
    let mut sft = match &open.resumed {
        Some(resumed) => Sft::resume(model, &open.config, data.len(), resumed)?,
        None => Sft::new(model, &open.config, data.len())?,
    };
    let bar = progress(common, sft.steps(), "sft");
    bar.set_position(sft.progress().step as u64);
    if let (Some(watch), None) = (&watch, &open.resumed) {
        watch.look(sft.model(), &open.folder, 0)?;
    }
    let mut last_stats = serde_json::Value::Null;
    while !sft.is_done() {
        let examples = data.take(sft.progress().position, sft.batch());
        let stats = sft.step(&examples)?;
        let (done, last) = (stats.step + 1, sft.is_done());
        let text = format!(
            "step {} loss {:.4} lr {:.3e} grad norm {:.3}",
            stats.step, stats.loss, stats.lr, stats.grad_norm
        );
        open.log(common, stats.step, last, &stats, &text)?;
        bar.set_message(format!("loss {:.4}", stats.loss));
        bar.inc(1);
        last_stats = serde_json::to_value(&stats).map_err(Error::internal)?;
        if let Some(watch) = watch.as_ref().filter(|w| done.is_multiple_of(w.every) || last) {
            watch.look(sft.model(), &open.folder, done)?;
        }
        if open.checkpoint_due(done, last) {
            open.folder.checkpoint(sft.model(), sft.optimizer(), sft.progress())?;
        }
        if open.interrupted() {
            common.note(format!(
                "stopped after step {}; go on with --resume {}",
                stats.step,
                open.folder.dir().display()
            ));
            break;
        }
    }
    bar.finish_and_clear();
    finish(common, &args.run, &open, last_stats)
}

/// The prompts and answers that GRPO is run on: JSONL `{"problem" | "prompt", "answer"}`.
#[derive(serde::Deserialize)]
struct Task {
    #[serde(alias = "prompt")]
    problem: String,
    answer: String,
}

pub(crate) fn grpo(common: &Common, args: GrpoArgs) -> Result {
    let mut open = Open::new(common, &args.run)?;
    let text = input::tokenizer(&open.start)?;
    let path = open.config.data.train.clone();
    let mut tasks = Vec::new();
    for (number, line) in
        crate::options::read(&path)?.lines().enumerate().filter(|(_, l)| !l.trim().is_empty())
    {
        let at =
            |e: &dyn std::fmt::Display| Error::input(format!("{}: line {}: {e}", path.display(), number + 1));
        let task: Task = serde_json::from_str(line).map_err(|e| at(&e))?;
        tasks.push((text.encode(&task.problem).map_err(|e| at(&e))?, task.answer));
    }
    if tasks.is_empty() {
        return Err(Error::input(format!(
            "{}: no problems, expected JSONL of {{\"problem\", \"answer\"}}",
            path.display()
        )));
    }
    let watch = Watch::new(common, &open)?;
    let policy = open.load(common)?;
    let stop_ids = open.start.stop_ids.clone();
    let mut grpo = match &open.resumed {
        Some(resumed) => {
            // The reference is the model that the run began from.
            let began = Checkpoint::open(&open.config.model.path)?.load(Dtype::F32, &common.device()?)?;
            Grpo::resume(policy, began, stop_ids, &open.config, tasks.len(), resumed)?
        }
        None => Grpo::new(policy, stop_ids, &open.config, tasks.len())?,
    };
    let order = Order { len: tasks.len(), seed: open.config.data.shuffle.then_some(open.config.run.seed) };
    let bar = progress(common, grpo.steps(), "grpo");
    bar.set_position(grpo.progress().step as u64);
    if let (Some(watch), None) = (&watch, &open.resumed) {
        watch.look(grpo.policy(), &open.folder, 0)?;
    }
    let mut last_stats = serde_json::Value::Null;
    while !grpo.is_done() {
        let at = order.take(grpo.progress().position, grpo.prompts());
        let prompts: Vec<Vec<u32>> = at.iter().map(|&i| tasks[i].0.clone()).collect();
        let rollouts = grpo.sample(&prompts)?;
        let scored = rollouts.score(|rollout| {
            let completion = text.decode(&rollout.ids).unwrap_or_default();
            f32::from(u8::from(math_grade::grade(&tasks[at[rollout.prompt]].1, &completion).correct))
        })?;
        let stats = grpo.step(scored)?;
        let (done, last) = (stats.step + 1, grpo.is_done());
        let text = format!(
            "step {} reward {:.3} loss {:.4} kl {:.4} length {:.1}",
            stats.step, stats.reward, stats.loss, stats.kl, stats.length
        );
        open.log(common, stats.step, last, &stats, &text)?;
        bar.set_message(format!("reward {:.3}", stats.reward));
        bar.inc(1);
        last_stats = serde_json::to_value(&stats).map_err(Error::internal)?;
        if let Some(watch) = watch.as_ref().filter(|w| done.is_multiple_of(w.every) || last) {
            watch.look(grpo.policy(), &open.folder, done)?;
        }
        if open.checkpoint_due(done, last) {
            open.folder.checkpoint(grpo.policy(), grpo.optimizer(), grpo.progress())?;
        }
        if open.interrupted() {
            common.note(format!(
                "stopped after step {}; go on with --resume {}",
                stats.step,
                open.folder.dir().display()
            ));
            break;
        }
    }
    bar.finish_and_clear();
    finish(common, &args.run, &open, last_stats)
}

fn finish(common: &Common, args: &RunArgs, open: &Open, last: serde_json::Value) -> Result {
    if args.json {
        print_json(&json!({ "run": open.folder.dir(), "last": last }));
    } else {
        common.note(format!("{}: done", open.folder.dir().display()));
    }
    Ok(())
}
