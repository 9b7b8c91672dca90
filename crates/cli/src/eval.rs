//! `sparks eval`: run a model on a benchmark, sample by sample; an interrupted run resumes.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bench_math::prompt::Prompt;
use bench_math::record::Finish;
use bench_math::{Protocol, Run, Sample, Template, measure, suite};
use common::Error;
use model_qwen::{ChatTemplate, Message, Request, Sampling, Text, generate};
use serde_json::json;

use crate::choices::{TEMPLATES, named};
use crate::input::tokenizer;
use crate::interventions;
use crate::memory::bounded;
use crate::options::{Common, Result};
use crate::output::{print_json, progress, say, to_json};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id `org/name[@revision]`.
    model: String,
    /// Problems: aime24, aime25, amc23, amc83, math500, gsm8k, gpqa, arithmetic, a JSONL file, or
    /// hf://datasets/org/name@revision/FILE.jsonl[#sha256=HEX].
    #[arg(long, value_name = "SUITE")]
    suite: String,
    /// Folder that holds the files of the named suites.
    #[arg(long, default_value = "benchmarks", value_name = "DIR")]
    data: PathBuf,
    /// Number of samples of each problem.
    #[arg(long, default_value_t = 1, value_name = "N")]
    samples: usize,
    /// Prompt template.
    #[arg(long, default_value = "qwen-math", value_parser = named::<Template>(&TEMPLATES))]
    template: Template,
    /// Largest number of new tokens.
    #[arg(long, default_value_t = 1024, value_name = "N")]
    max_tokens: usize,
    /// Sampling temperature; 0 is greedy.
    #[arg(long, default_value_t = 0.0, value_name = "T", allow_negative_numbers = true)]
    temperature: f64,
    /// Nucleus sampling: keep the fewest tokens whose probabilities sum to P.
    #[arg(long, default_value_t = 1.0, value_name = "P", allow_negative_numbers = true)]
    top_p: f64,
    /// Number of samples in one batch.
    #[arg(long, default_value_t = 8, value_name = "N")]
    batch: usize,
    /// Run folder; an interrupted run in it is resumed.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    heads: interventions::Heads,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    for (name, n) in [("samples", args.samples), ("batch", args.batch), ("max-tokens", args.max_tokens)] {
        if n == 0 {
            return Err(Error::input(format!("--{name}: 0, expected at least 1")));
        }
    }
    let template = args.template;
    let problems = suite::load(&crate::model::suite(common, &args.suite)?, &args.data, common.seed())?;
    let checkpoint = common.open(&args.model)?;
    let dir = std::fs::canonicalize(checkpoint.dir()).map_err(|e| Error::io(checkpoint.dir(), e))?;
    let protocol = Protocol {
        template,
        samples: args.samples,
        temperature: args.temperature as f32,
        top_p: args.top_p as f32,
        max_tokens: args.max_tokens,
        seed: common.seed(),
        subject: Some(format!("{}{}", dir.display(), args.heads.described())),
    };
    let text = tokenizer(&checkpoint)?;
    let chat = checkpoint.chat_template().ok();
    let mut run = Run::open(&args.out, problems, protocol)?;
    let pending = run.pending();
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst)).map_err(Error::internal)?;
    if !pending.is_empty() {
        common.warn_not_applied(&checkpoint)?;
        let model = common.load(&checkpoint)?;
        let mut hook = args.heads.hook(&model, &checkpoint)?;
        common.note(format!("{}: {} samples to go", args.out.display(), pending.len()));
        let bar = progress(common, pending.len(), "samples");
        for requests in pending.chunks(args.batch) {
            let how = Sampling {
                max_tokens: args.max_tokens,
                temperature: args.temperature,
                top_p: args.top_p,
                seed: common.seed(),
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
                return Err(Error::internal(format!(
                    "{}: interrupted; run the same command to resume",
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

/// Token ids of a prompt.
pub(crate) fn prompt_ids(prompt: &Prompt, text: &Text, chat: Option<&ChatTemplate>) -> Result<Vec<u32>> {
    match prompt {
        Prompt::Text(plain) => Ok(text.encode(plain)?),
        Prompt::Chat(messages) => {
            let chat = chat.ok_or_else(|| {
                Error::input("--template: the checkpoint has no chat template; use plain, r1 or few-shot")
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
