//! `sparks eval`: run a model on a benchmark, sample by sample; an interrupted run resumes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bench_math::{PromptSettings, Protocol, Run, measure};
use common::Error;
use indicatif::ProgressBar;
use model_qwen::{Checkpoint, Room, Sampling, model_hash, tokenizer_hash};
use posttrain::Ranks;
use serde_json::json;
use study::answer::{Asked, Reading, Watcher, answer};

use crate::options::{Common, Result};
use crate::output::{print_json, progress, say, to_json};
use crate::prompt::{PromptArgs, Prompter};
use crate::rows::{Rows, shard_of_job};
use crate::{interventions, served, signals};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id `org/name or org/name@revision`.
    model: String,
    /// Problems: aime24, aime25, amc23, amc83, math500, gsm8k, gpqa, arithmetic, a JSONL file, or
    /// hf://datasets/org/name@revision/FILE.jsonl[#sha256=HEX].
    #[arg(long, value_name = "SUITE")]
    suite: String,
    /// Folder that holds the files of the named suites [default: benchmarks].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Number of samples of each problem.
    #[arg(long, default_value_t = 1, value_name = "N")]
    samples: usize,
    #[command(flatten)]
    prompt: PromptArgs,
    /// A string that ends a completion, beside those of the template; may be given several times.
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT", action = clap::ArgAction::Append)]
    stop: Vec<String>,
    /// Largest number of new tokens.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    max_tokens: usize,
    /// Sampling temperature; 0 is greedy.
    #[arg(long, default_value_t = 0.0, value_name = "T", allow_negative_numbers = true)]
    temperature: f64,
    /// Nucleus sampling: keep the fewest tokens whose probabilities sum to P.
    #[arg(long, default_value_t = 1.0, value_name = "P", allow_negative_numbers = true)]
    top_p: f64,
    /// Number of samples in work at the same time, at each server where there are some: memory and time, not what is
    /// generated.
    #[arg(long, default_value_t = 8, value_name = "N")]
    batch: usize,
    /// Do every N-th problem only, from I. Shards may share the run folder, or have one each, which `sparks merge` joins.
    /// Default: `SPARKS_SHARD`, else the array of the scheduler.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// Run folder; an interrupted run in it is resumed.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Grade the samples of the run again, where the reference answers of the suite were corrected.
    #[arg(long)]
    regrade: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    servers: served::Args,
    #[command(flatten)]
    heads: interventions::Heads,
}

pub(crate) fn run(common: &Common, args: Args, ranks: &Arc<dyn Ranks>) -> Result {
    for (name, n) in [("samples", args.samples), ("batch", args.batch), ("max-tokens", args.max_tokens)] {
        if n == 0 {
            return Err(Error::input(format!("--{name}: 0, expected at least 1")));
        }
    }
    args.heads.check()?;
    // One shard of one is the whole job.
    let shard = shard_of_job(common, args.shard.as_deref(), ranks)?.filter(|shard| shard.count > 1);
    if args.regrade && (shard.is_some() || ranks.count() > 1) {
        return Err(Error::input(
            "--regrade: grades the samples of all shards, expected one process without --shard",
        ));
    }
    let suite = crate::model::suite(common, "--suite", &args.suite, args.data.as_deref())?;
    let unreadable: Vec<&str> = suite
        .list
        .iter()
        .filter(|problem| !posttrain_grpo::reward::is_readable(&problem.answer))
        .map(|problem| &*problem.id)
        .collect();
    if let Some(first) = unreadable.first() {
        common.warn(format!(
            "{}: {} answers cannot be read by the grader, the first of problem {first}: only the same text is right",
            args.suite,
            unreadable.len()
        ))?;
    }
    let checkpoint = common.open(&args.model)?;
    let prompt = PromptSettings { stop: args.stop.clone(), ..args.prompt.settings() };
    let stops = prompt.stops();
    let servers = args.servers.open(common, &args.heads, args.batch)?;
    let prompter = Prompter::new(&checkpoint, prompt.clone())?;
    let protocol = Protocol {
        prompt: prompt.clone(),
        samples: args.samples,
        temperature: args.temperature,
        top_p: args.top_p,
        max_tokens: args.max_tokens,
        seed: common.seed(),
        subject: match &servers {
            Some(servers) => served::subject(common, servers, &checkpoint)?,
            None => subject(common, &checkpoint, &args.heads)?,
        },
    };
    let problems = (suite.list.len(), "problem");
    let whose = if ranks.count() > 1 { " for the first process" } else { "" };
    let rows = Rows::new(shard, ranks, problems)?;
    let open = || {
        let (list, protocol) = (suite.list.clone(), protocol.clone());
        match rows.part() {
            Some(part) => Run::open_shard(&args.out, list, protocol, part),
            None if args.regrade => Run::regrade(&args.out, list, protocol),
            None => Run::open(&args.out, list, protocol),
        }
    };
    let mut run = open()?;
    let (asked, mut all) = (Asked::new(&run, |sample| prompter.ids(&sample.prompt))?, true);
    if !asked.pending.is_empty() {
        common.warn_not_applied(&checkpoint)?;
        let how = Sampling {
            max_tokens: args.max_tokens,
            temperature: args.temperature,
            top_p: args.top_p,
            seed: common.seed(),
            stop_ids: checkpoint.stop_ids.clone(),
            room: Room::rows(args.batch),
            ..Sampling::default()
        };
        common.warn_greedy(args.samples, &how)?;
        for (sample, request) in asked.pending.iter().zip(&asked.requests) {
            let budget = request.prompt.len().saturating_add(args.max_tokens);
            let what = format_args!("problem {} and --max-tokens", sample.id);
            common.strict_positions(what, budget, &checkpoint)?;
        }
        common.note(format!("{}: {} samples to go{whose}", args.out.display(), asked.pending.len()));
        let bar = progress(common, asked.pending.len(), "samples");
        let reading = Reading { text: &prompter.text, stops: &stops, how: &how };
        let mut watcher = Progress {
            common,
            checkpoint: &checkpoint,
            asked: &asked,
            bar,
            stop: signals::polled(),
            longest: 0,
        };
        all = match &servers {
            Some(servers) => served::answer(&asked, &reading, servers, &mut run, &mut watcher)?,
            None => {
                let model = common.load(&checkpoint)?;
                let mut hook = args.heads.hook(common, &model, &checkpoint)?;
                answer(&asked, &reading, (&model, &mut *hook), &mut run, &mut watcher)?
            }
        };
        watcher.bar.finish_and_clear();
    }
    if ranks.any(!all) {
        return Err(Error::internal(format!(
            "{}: interrupted; run the same command to resume",
            args.out.display()
        )));
    }
    if ranks.count() > 1 {
        // The others have closed their files before the first reads them.
        drop(run);
        ranks.any(false);
        if !ranks.is_first() {
            return Ok(());
        }
        run = match shard {
            Some(_) => open()?,
            None => Run::open(&args.out, suite.list.clone(), protocol.clone())?,
        };
    }
    let missing = run.missing()?;
    if missing > 0 {
        let (records, out) = (run.records().len(), args.out.display());
        if args.json {
            let shard = shard.map(|shard| [shard.index, shard.count]);
            print_json(&json!({
                "suite": args.suite, "run": args.out, "shard": shard, "records": records, "missing": missing,
            }));
        } else {
            say!("{out}: {records} samples; {missing} are missing, of other shards: no measures yet");
        }
        return Ok(());
    }
    if shard.is_none() {
        run.put_in_order()?;
    }
    let measures = measure(&run.records(), 0.95)?;
    if args.json {
        let mut out = to_json(&measures)?;
        out["suite"] = args.suite.into();
        out["run"] = json!(args.out);
        print_json(&out);
    } else {
        let p = &measures.pass_at_1;
        say!(
            "pass@1 {:.3} [{:.3}, {:.3}] on {} problems, {} samples; {:.0} tokens; {:.0} % truncated; minimum detectable difference: {:.3}",
            p.estimate,
            p.low,
            p.high,
            measures.problems,
            measures.records,
            measures.tokens.estimate,
            100.0 * measures.truncated.estimate,
            measures.minimum_detectable_effect
        );
    }
    Ok(())
}

/// The bar, signals, and the warning of a row that is longer than the model has positions.
struct Progress<'a> {
    common: &'a Common,
    checkpoint: &'a Checkpoint,
    asked: &'a Asked,
    bar: ProgressBar,
    stop: Arc<AtomicBool>,
    longest: usize,
}

impl Watcher for Progress<'_> {
    fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn done(&mut self, at: usize, tokens: usize) -> Result {
        if tokens > self.longest {
            if self.longest <= self.checkpoint.config.max_positions {
                let name = format_args!("problem {}", self.asked.pending[at].id);
                self.common.warn_positions(name, tokens, self.checkpoint)?;
            }
            self.longest = tokens;
        }
        self.bar.inc(1);
        Ok(())
    }
}

/// The model that is evaluated, by the hashes of its files.
fn subject(
    common: &Common,
    checkpoint: &Checkpoint,
    heads: &interventions::Heads,
) -> Result<BTreeMap<String, String>> {
    let mut subject = BTreeMap::from([
        ("model".to_owned(), model_hash(checkpoint.dir())?),
        ("tokenizer".to_owned(), tokenizer_hash(checkpoint.dir())?),
        ("dtype".to_owned(), format!("{:?}", common.dtype()).to_lowercase()),
    ]);
    if common.compute() != kernels::Compute::F32 {
        subject.insert("compute".to_owned(), common.compute().name().to_owned());
    }
    if let Some(adapter) = common.adapter() {
        subject.insert("adapter".into(), model_hash(adapter)?);
    }
    let interventions = heads.described()?;
    if !interventions.is_empty() {
        subject.insert("interventions".into(), interventions);
    }
    Ok(subject)
}
