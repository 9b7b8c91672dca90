//! `sparks generate`: complete a prompt, or every row of an input file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use common::Error;
use model_qwen::{Message, Request, Room, Sampling, generate};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::choices::table;
use crate::input::{Input, tokenizer};
use crate::interventions;
use crate::memory::bounded;
use crate::options::{Common, Result, text};
use crate::output::{print_json, put, say};
use crate::prompt::check_switch;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// Prompt.
    #[arg(
        long,
        required_unless_present = "input",
        conflicts_with = "input",
        allow_hyphen_values = true,
        value_name = "TEXT"
    )]
    prompt: Option<String>,
    /// File of token ids or texts, instead of --prompt.
    #[arg(long, value_name = "IN")]
    input: Option<PathBuf>,
    /// Render each text as the user's turn of the model's chat template.
    #[arg(long)]
    chat: bool,
    /// System prompt.
    #[arg(long, requires = "chat", allow_hyphen_values = true, value_name = "TEXT")]
    system: Option<String>,
    /// Reasoning on or off, for chat templates with that switch (enable_thinking).
    #[arg(long, requires = "chat", value_parser = table(&[("on", true), ("off", false)]))]
    think: Option<bool>,
    /// Largest number of new tokens.
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_tokens: usize,
    /// Sampling temperature; 0 is greedy.
    #[arg(long, default_value_t = 0.0, value_name = "T", allow_negative_numbers = true)]
    temperature: f64,
    /// Nucleus sampling: keep the fewest tokens whose probabilities sum to P.
    #[arg(long, default_value_t = 1.0, value_name = "P", allow_negative_numbers = true)]
    top_p: f64,
    /// Keep the K most likely tokens; 0 keeps all.
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// Keep the tokens at least P times as likely as the most likely one.
    #[arg(long, default_value_t = 0.0, value_name = "P", allow_negative_numbers = true)]
    min_p: f64,
    /// Number of completions of each prompt.
    #[arg(long, default_value_t = 1, value_name = "N")]
    samples: usize,
    /// Completions in work at the same time: memory and time, not what is generated.
    #[arg(long, default_value_t = 64, value_name = "N")]
    batch: usize,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    heads: interventions::Heads,
}

/// Largest number of samples.
const MAX_SAMPLES: usize = 65_536;

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if !(1..=MAX_SAMPLES).contains(&args.samples) {
        return Err(Error::input(format!("--samples: {}, expected 1 to {MAX_SAMPLES}", args.samples)));
    }
    if args.batch == 0 {
        return Err(Error::input("--batch: 0, expected at least 1"));
    }
    args.heads.check()?;
    let checkpoint = common.open(&args.model)?;
    if args.think.is_some() {
        check_switch(&checkpoint.chat_template()?)?;
    }
    let prompts = match (&args.prompt, &args.input) {
        (Some(prompt), _) => vec![prompt_ids(&args, prompt, &checkpoint)?],
        (None, Some(path)) if args.chat => {
            let input =
                Input::read_with(common, path, &checkpoint, |text| prompt_ids(&args, text, &checkpoint))?;
            if !input.of_texts {
                return Err(Error::at(path, "token ids; --chat needs texts"));
            }
            input.prompts(checkpoint.config.vocab)?
        }
        (None, Some(path)) => Input::read(common, path, &checkpoint)?.prompts(checkpoint.config.vocab)?,
        (None, None) => return Err(Error::input("missing --prompt or --input")),
    };
    common.warn_not_applied(&checkpoint)?;
    let how = Sampling {
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        top_p: args.top_p,
        top_k: args.top_k,
        min_p: args.min_p,
        seed: common.seed(),
        stop_ids: checkpoint.stop_ids.clone(),
        room: Room::rows(args.batch),
    };
    common.warn_greedy(args.samples, &how)?;
    let budget = prompts.iter().map(Vec::len).max().unwrap_or(0).saturating_add(args.max_tokens);
    common.strict_positions("prompt and --max-tokens", budget, &checkpoint)?;
    let model = common.load(&checkpoint)?;
    let text = text(&checkpoint)?;
    let mut hook = args.heads.hook(common, &model, &checkpoint)?;
    // Random draws depend on the prompt and the number of its sample, not on the other prompts.
    let mut seen: HashMap<&[u32], u64> = HashMap::new();
    let requests =
        prompts.iter().enumerate().flat_map(|(at, prompt)| std::iter::repeat_n((at, prompt), args.samples));
    let requests: Vec<Request> = requests
        .map(|(origin, prompt)| {
            let nth = seen.entry(prompt).or_default();
            *nth += 1;
            Request { prompt: prompt.clone(), stream: stream_of(prompt).wrapping_add(*nth), origin }
        })
        .collect();
    let streaming = !args.json && requests.len() == 1 && text.is_some();
    let mut shown = (Vec::new(), 0);
    let started = Instant::now();
    let completions = generate(&model, &requests, &how, &mut *hook, |_, token| {
        if let (true, Some(text)) = (streaming, &text) {
            shown.0.push(token);
            // A character may need several tokens: print whole characters only.
            if let Ok(all) = text.decode(&shown.0)
                && !all.ends_with('\u{fffd}')
            {
                let more = all.get(shown.1..).unwrap_or_default();
                shown.1 = all.len();
                return put(format_args!("{more}"));
            }
        }
        true
    })?;
    let longest = requests.iter().zip(&completions).map(|(r, c)| r.prompt.len() + c.ids.len()).max();
    common.warn_positions("prompt and completion", longest.unwrap_or(0), &checkpoint)?;
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
        say!("");
    } else {
        for c in &completions {
            match decode(&c.ids)? {
                Some(text) => say!("{text}"),
                None => say!("{:?}", c.ids),
            };
        }
    }
    Ok(())
}

/// The number of a prompt's random stream: a hash of its ids.
fn stream_of(prompt: &[u32]) -> u64 {
    let bytes: Vec<u8> = prompt.iter().flat_map(|id| id.to_le_bytes()).collect();
    u64::from_le_bytes(Sha256::digest(&bytes)[..8].try_into().unwrap_or_default())
}

/// Token ids of a text, rendered by the chat template with `--chat`.
fn prompt_ids(args: &Args, prompt: &str, checkpoint: &model_qwen::Checkpoint) -> Result<Vec<u32>> {
    let text = tokenizer(checkpoint)?;
    if !args.chat {
        return text.encode(prompt);
    }
    let turn = |role: &str, content: &str| Message { role: role.into(), content: content.into() };
    let mut messages: Vec<Message> = args.system.iter().map(|s| turn("system", s)).collect();
    messages.push(turn("user", prompt));
    // The template writes its own special tokens: no second BOS.
    let template = checkpoint.chat_template()?;
    text.encode_raw(&bounded(|| template.render(&messages, true, args.think))?)
}
