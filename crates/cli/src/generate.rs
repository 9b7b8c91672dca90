//! `sparks generate`: completions of a prompt or of rows of token ids.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use model_qwen::{Message, Request, Sampling, generate};
use serde_json::json;

use crate::common::{Common, Failure, Result, text};
use crate::heads;
use crate::input::{Input, tokenizer};
use crate::memory::bounded;
use crate::output::print_json;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder.
    model: String,
    /// The prompt.
    #[arg(long, required_unless_present = "input", conflicts_with = "input", value_name = "TEXT")]
    prompt: Option<String>,
    /// Token ids or texts instead of a prompt.
    #[arg(long, value_name = "IN")]
    input: Option<PathBuf>,
    /// Put the prompt through the model's chat template, as the user's turn.
    #[arg(long, requires = "prompt")]
    chat: bool,
    /// The system's turn before it.
    #[arg(long, requires = "chat", value_name = "TEXT")]
    system: Option<String>,
    /// Reasoning on or off, where the template has the switch.
    #[arg(long, requires = "chat", value_name = "on|off")]
    think: Option<String>,
    /// New tokens at most.
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_tokens: usize,
    /// 0 is greedy.
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    temperature: f64,
    /// Keep the fewest tokens whose probabilities reach P.
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    top_p: f64,
    /// Keep the K most likely tokens; 0 keeps all.
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// Keep tokens at least P times as likely as the most likely.
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    min_p: f64,
    /// Completions of each prompt.
    #[arg(long, default_value_t = 1, value_name = "N")]
    samples: usize,
    /// One JSON object on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    heads: heads::Heads,
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if args.samples == 0 {
        return Err(Failure::input("--samples: 0, expected at least 1"));
    }
    let checkpoint = common.open(&args.model)?;
    let prompts = match (&args.prompt, &args.input) {
        (Some(prompt), _) => vec![prompt_ids(&args, prompt, &checkpoint)?],
        (None, Some(path)) => Input::read(path, &checkpoint)?.prompts()?,
        (None, None) => return Err(Failure::input("missing --prompt or --input")),
    };
    let model = common.load(&checkpoint)?;
    let text = text(&checkpoint)?;
    let how = Sampling {
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        top_p: args.top_p,
        top_k: args.top_k,
        min_p: args.min_p,
        seed: common.seed,
        stop_ids: checkpoint.stop_ids.clone(),
    };
    let mut hook = args.heads.hook(&model, &checkpoint)?;
    let requests: Vec<Request> = prompts
        .iter()
        .flat_map(|prompt| std::iter::repeat_n(prompt, args.samples))
        .enumerate()
        .map(|(stream, prompt)| Request { prompt: prompt.clone(), stream: stream as u64 })
        .collect();
    let streaming = !args.json && requests.len() == 1 && text.is_some();
    let mut shown = (Vec::new(), 0);
    let started = Instant::now();
    let completions = generate(&model, &requests, &how, &mut *hook, |_, token| {
        if let (true, Some(text)) = (streaming, &text) {
            shown.0.push(token);
            // A character may need several tokens: print what is whole.
            if let Ok(all) = text.decode(&shown.0)
                && !all.ends_with('\u{fffd}')
            {
                print!("{}", all.get(shown.1..).unwrap_or_default());
                let _ = std::io::stdout().flush();
                shown.1 = all.len();
            }
        }
        true
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let n_tokens: usize = completions.iter().map(|c| c.ids.len()).sum();
    let decode = |ids: &[u32]| text.as_ref().map(|t| t.decode(ids)).transpose();
    if args.json {
        let mut items = Vec::new();
        for (request, c) in requests.iter().zip(&completions) {
            let mut item = json!({
                "prompt_ids": request.prompt, "ids": c.ids, "finish": c.finish, "logprobs": c.logprobs,
            });
            if how.temperature > 0.0 {
                item["sampling_logprobs"] = json!(c.sampling_logprobs);
            }
            if let Some(text) = decode(&c.ids)? {
                item["text"] = text.into();
            }
            items.push(item);
        }
        print_json(&json!({ "completions": items, "tokens_per_second": n_tokens as f64 / seconds }));
    } else if streaming {
        println!();
    } else {
        for c in &completions {
            match decode(&c.ids)? {
                Some(text) => println!("{text}"),
                None => println!("{:?}", c.ids),
            }
        }
    }
    Ok(())
}

fn prompt_ids(args: &Args, prompt: &str, checkpoint: &model_qwen::Checkpoint) -> Result<Vec<u32>> {
    let text = tokenizer(checkpoint)?;
    if !args.chat {
        return Ok(text.encode(prompt)?);
    }
    let thinking = match args.think.as_deref() {
        None => None,
        Some("on") => Some(true),
        Some("off") => Some(false),
        Some(other) => return Err(Failure::input(format!("--think {other}: expected on or off"))),
    };
    let turn = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
    let mut messages: Vec<Message> = args.system.iter().map(|s| turn("system", s)).collect();
    messages.push(turn("user", prompt));
    // The template writes its own special tokens: no second BOS.
    let template = checkpoint.chat_template()?;
    Ok(text.encode_raw(&bounded(|| template.render(&messages, true, thinking))?)?)
}
