//! `sparks eval`: a model on a benchmark, sample by sample, continued where it was stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bench_math::prompt::Prompt;
use bench_math::record::Finish;
use bench_math::{Protocol, Run, Sample, Template, measure, suite};
use model_qwen::{ChatTemplate, Message, Request, Sampling, Text, generate};
use serde_json::json;

use crate::input::tokenizer;
use crate::interventions;
use crate::memory::bounded;
use crate::options::{Common, Failure, Result};
use crate::output::{print_json, progress, say};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id `org/name[@revision]`.
    model: String,
    /// The problems: a name, a file, or hf://datasets/org/name@revision/FILE.jsonl[#sha256=HEX].
    #[arg(long, value_name = "aime24|aime25|amc23|amc83|math500|gsm8k|gpqa|arithmetic|FILE.jsonl")]
    suite: String,
    /// Folder that the named suites' files are in.
    #[arg(long, default_value = "benchmarks", value_name = "DIR")]
    data: PathBuf,
    /// Samples of each problem.
    #[arg(long, default_value_t = 1, value_name = "N")]
    samples: usize,
    /// How a problem is put.
    #[arg(long, default_value = "qwen-math", value_name = "qwen-math|r1|plain|open-r1|light-r1|few-shot")]
    template: String,
    /// New tokens at most.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    max_tokens: usize,
    /// 0 is greedy.
    #[arg(long, default_value_t = 0.0, value_name = "T", allow_negative_numbers = true)]
    temperature: f64,
    /// Keep the fewest tokens whose probabilities reach P.
    #[arg(long, default_value_t = 1.0, value_name = "P", allow_negative_numbers = true)]
    top_p: f64,
    /// Samples generated together.
    #[arg(long, default_value_t = 8, value_name = "N")]
    batch: usize,
    /// Folder of the run; a stopped run in it goes on.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    heads: interventions::Heads,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    for (name, n) in [("samples", args.samples), ("batch", args.batch), ("max-tokens", args.max_tokens)] {
        if n == 0 {
            return Err(Failure::input(format!("--{name}: 0, expected at least 1")));
        }
    }
    let template: Template = args.template.parse().map_err(|e| Failure::input(format!("--template: {e}")))?;
    let problems = suite::load(&crate::model::suite(common, &args.suite)?, &args.data, common.seed)?;
    let checkpoint = common.open(&args.model)?;
    let dir = std::fs::canonicalize(checkpoint.dir())
        .map_err(|e| Failure::input(format!("{}: {e}", args.model)))?;
    let protocol = Protocol {
        template,
        samples: args.samples,
        temperature: args.temperature as f32,
        top_p: args.top_p as f32,
        max_tokens: args.max_tokens,
        seed: common.seed,
        subject: Some(format!("{}{}", dir.display(), args.heads.described())),
    };
    let text = tokenizer(&checkpoint)?;
    let chat = checkpoint.chat_template().ok();
    let mut run = Run::open(&args.out, problems, protocol)?;
    let pending = run.pending();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).map_err(Failure::other)?;
    if !pending.is_empty() {
        common.note_not_applied(&checkpoint);
        let model = common.load(&checkpoint)?;
        let mut hook = args.heads.hook(&model, &checkpoint)?;
        common.note(format!("{}: {} samples to go", args.out.display(), pending.len()));
        let bar = progress(common, pending.len(), "samples");
        for requests in pending.chunks(args.batch) {
            let how = Sampling {
                max_tokens: args.max_tokens,
                temperature: args.temperature,
                top_p: args.top_p,
                seed: common.seed,
                stop_ids: checkpoint.stop_ids.clone(),
                ..Sampling::default()
            };
            let prompts = requests.iter().map(|r| {
                let prompt = prompt_ids(&r.prompt, &text, chat.as_ref())?;
                Ok(Request { prompt, stream: r.seed, origin: r.problem })
            });
            let prompts: Vec<Request> = prompts.collect::<Result<_>>()?;
            let completions =
                generate(&model, &prompts, &how, &mut *hook, |_, _| !stop.load(Ordering::SeqCst))?;
            if stop.load(Ordering::SeqCst) {
                bar.finish_and_clear();
                return Err(Failure::other(format!(
                    "{}: interrupted; the same command goes on where this one was",
                    args.out.display()
                )));
            }
            for (request, completion) in requests.iter().zip(completions) {
                let mut sample = Sample {
                    completion: text.decode(&completion.ids)?,
                    ids: completion.ids,
                    finish: match completion.finish {
                        model_qwen::Finish::Eos => Finish::Eos,
                        model_qwen::Finish::Length => Finish::Length,
                    },
                };
                let stop =
                    template.stops().iter().filter_map(|s| Some(sample.completion.find(s)? + s.len())).min();
                if let Some(end) = stop {
                    sample.completion.truncate(end);
                    sample.finish = Finish::Stop;
                }
                run.append(request, sample)?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
    }
    let measures = measure(&run.records(), 0.95)?;
    if args.json {
        let mut out = serde_json::to_value(&measures).map_err(Failure::other)?;
        out["suite"] = args.suite.into();
        out["run"] = json!(args.out);
        print_json(&out);
    } else {
        let p = &measures.pass_at_1;
        say!(
            "pass@1 {:.3} [{:.3}, {:.3}] on {} problems, {} samples; {:.0} tokens; {:.0} % truncated; differences below {:.3} would not be seen",
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

/// Token ids of a problem as it is put.
pub(crate) fn prompt_ids(prompt: &Prompt, text: &Text, chat: Option<&ChatTemplate>) -> Result<Vec<u32>> {
    match prompt {
        Prompt::Text(plain) => Ok(text.encode(plain)?),
        Prompt::Chat(messages) => {
            let chat = chat.ok_or_else(|| {
                Failure::input("--template: the checkpoint has no chat template; use plain, r1 or few-shot")
            })?;
            let turn = |m: &bench_math::prompt::Message| Message {
                role: m.role.clone(),
                content: m.content.clone(),
            };
            let messages: Vec<Message> = messages.iter().map(turn).collect();
            Ok(text.encode_raw(&bounded(|| chat.render(&messages, true, None))?)?)
        }
    }
}
