//! `sparks pairs`: build clean and corrupt prompts, from text templates or from the answers of two models.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use common::{Error, write_whole};
use model_qwen::{Sampling, Text};
use serde_json::json;
use tasks::{
    Arithmetic, Built, Corruption, Opening, Operation, YearDigits, arithmetic, greater_than, ioi, openings,
    to_jsonl,
};

use crate::input::tokenizer;
use crate::options::{Common, Result};
use crate::output::{print_json, ready};
use crate::prompt::{PromptArgs, Prompter};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Kind,
    /// Output file, JSONL.
    #[arg(long, global = true, value_name = "PAIRS.jsonl")]
    out: Option<PathBuf>,
    /// Print the numbers of kept and dropped pairs as one JSON object.
    #[arg(long, global = true)]
    json: bool,
}

/// Flags of all text templates.
#[derive(clap::Args, Debug)]
struct Of {
    /// Checkpoint folder or hub id, or any folder with a tokenizer.json.
    model: String,
    /// Largest number of pairs.
    #[arg(long, default_value_t = 100, value_name = "N")]
    n: usize,
}

#[derive(Subcommand, Debug)]
enum Kind {
    /// "12+34=" against "12+84=": the results have different first tokens.
    Arithmetic {
        #[command(flatten)]
        of: Of,
        /// Operation on the two numbers.
        #[arg(long, value_enum, default_value_t = Sign::Add)]
        operation: Sign,
        /// Digits of each number.
        #[arg(long, default_value_t = 2, value_name = "N")]
        digits: u32,
    },
    /// Indirect object identification: "When Mary and John went to the store, John gave a drink to".
    Ioi {
        #[command(flatten)]
        of: Of,
        /// Corrupt prompt: the repeated name is replaced by the other name (flip, as in MIB) or by a third (abc).
        #[arg(long, value_enum, default_value_t = Change::Flip)]
        corruption: Change,
    },
    /// Greater-than: "The war lasted from the year 1732 to the year 17"; every later year is an answer.
    GreaterThan {
        #[command(flatten)]
        of: Of,
        /// Digits of a year in one token: 1 for tokenizers that split numbers, such as Qwen's.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=2), value_name = "1|2")]
        digits: u32,
    },
    /// The first tokens of the answers of a post-trained and a base model to the same problems, as in the paper.
    Openings {
        /// Checkpoint of the post-trained model: its answers are the clean prompts. Its tokenizer and chat template
        /// are used for both models.
        post: String,
        /// Checkpoint of the base model.
        base: String,
        /// Problems: aime24, aime25, amc23, amc83, math500, gsm8k, gpqa, arithmetic or a JSONL file.
        #[arg(long, value_name = "SUITE")]
        problems: String,
        /// Folder that holds the files of the named suites [default: benchmarks].
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        #[command(flatten)]
        prompt: PromptArgs,
        /// Number of answer tokens in a prompt; each length makes its own pairs.
        #[arg(long, value_delimiter = ',', default_value = "16", value_name = "8,16,32")]
        length: Vec<usize>,
        /// Largest number of problems, in the order of the file.
        #[arg(long, default_value_t = 100, value_name = "N")]
        n: usize,
        /// Sampling temperature; 0 is greedy.
        #[arg(long, default_value_t = 0.0, value_name = "T", allow_negative_numbers = true)]
        temperature: f64,
        /// Number of problems in one batch.
        #[arg(long, default_value_t = 8, value_name = "N")]
        batch: usize,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sign {
    Add,
    Subtract,
    Multiply,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Change {
    Flip,
    Abc,
}

/// The tokenizer of a folder, which need not hold a whole checkpoint.
fn text_of(common: &Common, model: &str) -> Result<Text> {
    let file = Path::new(model).join("tokenizer.json");
    // A folder that is no checkpoint has the tokenizer alone that is read.
    common.files.keep("MODEL", &file)?;
    if file.with_file_name("config.json").exists() {
        common.files.keep("MODEL", Path::new(model))?;
    }
    if file.exists() { Ok(Text::open(&file)?) } else { tokenizer(&common.open(model)?) }
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    let path = args.out.as_ref().ok_or_else(|| Error::input("missing --out PAIRS.jsonl"))?;
    ready(path)?;
    let (name, built, text) = match args.kind {
        Kind::Arithmetic { of, operation, digits } => {
            let operation = match operation {
                Sign::Add => Operation::Add,
                Sign::Subtract => Operation::Subtract,
                Sign::Multiply => Operation::Multiply,
            };
            let what = Arithmetic { operation, digits };
            from_template(common, "arithmetic", &of, |encode| arithmetic(what, of.n, common.seed(), encode))?
        }
        Kind::Ioi { of, corruption } => {
            let corruption = match corruption {
                Change::Flip => Corruption::Flip,
                Change::Abc => Corruption::Abc,
            };
            from_template(common, "ioi", &of, |encode| ioi(corruption, of.n, common.seed(), encode))?
        }
        Kind::GreaterThan { of, digits } => {
            let digits = if digits == 1 { YearDigits::One } else { YearDigits::Two };
            let made = from_template(common, "greater-than", &of, |encode| {
                greater_than(digits, of.n, common.seed(), encode)
            })?;
            common.note("every later year is an answer: use --metric prob-diff");
            made
        }
        Kind::Openings { post, base, problems, data, prompt, length, n, temperature, batch } => {
            // Of the second model nothing else is read before the first has answered.
            common.files.keep("BASE", &crate::model::folder(common, &base)?)?;
            let suite = crate::model::suite(common, "--problems", &problems, data.as_deref())?;
            let checkpoint = common.open(&post)?;
            let prompter = Prompter::new(&checkpoint, prompt.settings())?;
            let prompts: Vec<(String, Vec<u32>)> = suite
                .list
                .iter()
                .take(n)
                .map(|p| Ok((p.id.clone(), prompter.question(&p.problem)?)))
                .collect::<Result<_>>()?;
            let longest = length.iter().copied().max().unwrap_or(0);
            let tokens = prompts.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0).saturating_add(longest);
            common.warn_positions("the longest problem and --length", tokens, &checkpoint)?;
            // One model at a time in memory.
            let answers = |model: &str| -> Result<Vec<Opening>> {
                let checkpoint = common.open(model)?;
                let how = Sampling {
                    max_tokens: longest + 1,
                    temperature,
                    seed: common.seed(),
                    stop_ids: checkpoint.stop_ids.clone(),
                    ..Sampling::default()
                };
                common.note(format!("{model}: {} problems", prompts.len()));
                Opening::of(&common.load(&checkpoint)?, &prompts, &how, batch)
            };
            let (post, base) = (answers(&post)?, answers(&base)?);
            ("openings", openings(&post, &base, &length)?, prompter.text)
        }
    };
    common.note(format!("{name}: {}", built.summary()));
    let dropped = built.dropped.clone();
    let pairs = built.checked()?;
    let decode = |ids: &[u32]| text.decode(ids);
    write_whole(path, to_jsonl(&pairs, &decode)?.as_bytes())?;
    if args.json {
        print_json(&json!({ "kind": name, "pairs": pairs.len(), "dropped": dropped }));
    }
    Ok(())
}

fn from_template(
    common: &Common,
    name: &'static str,
    of: &Of,
    build: impl FnOnce(&dyn hooks::Encode) -> Result<Built>,
) -> Result<(&'static str, Built, Text)> {
    let text = text_of(common, &of.model)?;
    let built = build(&text).map_err(|e| e.within(&of.model))?;
    if built.pairs.len() < of.n {
        common.note(format!("{name}: {} of {} pairs", built.pairs.len(), of.n));
    }
    Ok((name, built, text))
}
