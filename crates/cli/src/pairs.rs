//! `sparks pairs`: clean and corrupt prompts for attribution, from templates or from two models' answers.

use std::path::{Path, PathBuf};

use bench_math::{Template, suite};
use clap::{Subcommand, ValueEnum};
use model_qwen::{Sampling, Text};
use serde_json::json;
use tasks::{
    Arithmetic, Built, Corruption, Opening, Operation, YearDigits, arithmetic, greater_than, ioi, openings,
    to_jsonl,
};

use crate::eval::prompt_ids;
use crate::input::tokenizer;
use crate::options::{Common, Failure, Result};
use crate::output::{print_json, write_whole};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Kind,
    /// The pairs file, JSONL.
    #[arg(long, global = true, value_name = "PAIRS.jsonl")]
    out: Option<PathBuf>,
    /// One JSON object on stdout: how many pairs were kept, and how many dropped for what.
    #[arg(long, global = true)]
    json: bool,
}

/// What templates need.
#[derive(clap::Args, Debug)]
struct Of {
    /// Checkpoint folder, or any folder with a tokenizer.json.
    model: String,
    /// Pairs at most.
    #[arg(long, default_value_t = 100, value_name = "N")]
    n: usize,
}

#[derive(Subcommand, Debug)]
enum Kind {
    /// `12+34=` against `12+84=`: another first token of the result.
    Arithmetic {
        #[command(flatten)]
        of: Of,
        /// What is done with the two numbers.
        #[arg(long, value_enum, default_value_t = Sign::Add)]
        operation: Sign,
        /// Digits of each number.
        #[arg(long, default_value_t = 2, value_name = "N")]
        digits: u32,
    },
    /// Indirect object: "When Mary and John went to the store, John gave a drink to", half ABBA, half BABA.
    Ioi {
        #[command(flatten)]
        of: Of,
        /// The repeated name becomes the other one (as in MIB) or a third one (ABC).
        #[arg(long, value_enum, default_value_t = Change::Flip)]
        corruption: Change,
    },
    /// Years: "The war lasted from the year 1732 to the year 17", every later year an answer.
    GreaterThan {
        #[command(flatten)]
        of: Of,
        /// Digits of the second year that one token holds: 1 for tokenizers that split numbers, as Qwen's.
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=2), value_name = "1|2")]
        digits: u32,
    },
    /// The paper's: openings of a post-trained and a base model's answers to the same problems.
    Openings {
        /// Checkpoint folder of the post-trained model, whose openings are the clean side. Its tokenizer and
        /// chat template put the problems to both.
        post: String,
        /// Checkpoint folder of the base model.
        base: String,
        /// The problems.
        #[arg(long, value_name = "aime24|aime25|amc23|amc83|math500|gsm8k|gpqa|arithmetic|FILE.jsonl")]
        problems: String,
        /// Folder that the named suites' files are in.
        #[arg(long, default_value = "benchmarks", value_name = "DIR")]
        data: PathBuf,
        /// How a problem is put.
        #[arg(
            long,
            default_value = "qwen-math",
            value_name = "qwen-math|r1|plain|open-r1|light-r1|few-shot"
        )]
        template: String,
        /// Tokens of each opening; each length makes its own pairs.
        #[arg(long, value_delimiter = ',', default_value = "16", value_name = "8,16,32")]
        length: Vec<usize>,
        /// Problems at most, in the order of the file.
        #[arg(long, default_value_t = 100, value_name = "N")]
        n: usize,
        /// 0 is greedy.
        #[arg(long, default_value_t = 0.0, value_name = "T", allow_negative_numbers = true)]
        temperature: f64,
        /// Problems answered together.
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

/// A tokenizer alone, which is all that templates need of a checkpoint.
fn text_of(common: &Common, model: &str) -> Result<Text> {
    let file = Path::new(model).join("tokenizer.json");
    if file.exists() { Ok(Text::open(&file)?) } else { tokenizer(&common.open(model)?) }
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    let path = args.out.as_ref().ok_or_else(|| Failure::input("missing --out PAIRS.jsonl"))?;
    let (name, built, text) = match args.kind {
        Kind::Arithmetic { of, operation, digits } => {
            let operation = match operation {
                Sign::Add => Operation::Add,
                Sign::Subtract => Operation::Subtract,
                Sign::Multiply => Operation::Multiply,
            };
            let what = Arithmetic { operation, digits };
            from_template(common, "arithmetic", &of, |encode| arithmetic(what, of.n, common.seed, encode))?
        }
        Kind::Ioi { of, corruption } => {
            let corruption = match corruption {
                Change::Flip => Corruption::Flip,
                Change::Abc => Corruption::Abc,
            };
            from_template(common, "ioi", &of, |encode| ioi(corruption, of.n, common.seed, encode))?
        }
        Kind::GreaterThan { of, digits } => {
            let digits = if digits == 1 { YearDigits::One } else { YearDigits::Two };
            let made = from_template(common, "greater-than", &of, |encode| {
                greater_than(digits, of.n, common.seed, encode)
            })?;
            common.note("every later year is an answer: measure with --metric prob-diff");
            made
        }
        Kind::Openings { post, base, problems, data, template, length, n, temperature, batch } => {
            let template: Template =
                template.parse().map_err(|e| Failure::input(format!("--template: {e}")))?;
            let checkpoint = common.open(&post)?;
            let (text, chat) = (tokenizer(&checkpoint)?, checkpoint.chat_template().ok());
            let problems = suite::load(&problems, &data, common.seed)?;
            let prompts: Vec<(String, Vec<u32>)> = problems
                .iter()
                .take(n)
                .map(|p| Ok((p.id.clone(), prompt_ids(&template.render(&p.problem), &text, chat.as_ref())?)))
                .collect::<Result<_>>()?;
            let longest = length.iter().copied().max().unwrap_or(0);
            // One model at a time in memory.
            let answers = |model: &str| -> Result<Vec<Opening>> {
                let checkpoint = common.open(model)?;
                let how = Sampling {
                    max_tokens: longest + 1,
                    temperature,
                    seed: common.seed,
                    stop_ids: checkpoint.stop_ids.clone(),
                    ..Sampling::default()
                };
                common.note(format!("{model}: {} problems", prompts.len()));
                Ok(Opening::of(&common.load(&checkpoint)?, &prompts, &how, batch)?)
            };
            let (post, base) = (answers(&post)?, answers(&base)?);
            ("openings", openings(&post, &base, &length)?, text)
        }
    };
    common.note(format!("{name}: {}", built.summary()));
    let dropped = built.dropped.clone();
    let pairs = built.checked()?;
    let decode = |ids: &[u32]| Ok(text.decode(ids)?);
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
    build: impl FnOnce(tasks::Encode<'_>) -> std::result::Result<Built, study::Error>,
) -> Result<(&'static str, Built, Text)> {
    let text = text_of(common, &of.model)?;
    let built =
        build(&|s: &str| Ok(text.encode(s)?)).map_err(|e| Failure::input(format!("{}: {e}", of.model)))?;
    if built.pairs.len() < of.n {
        common.note(format!("{name}: {} of {} pairs", built.pairs.len(), of.n));
    }
    Ok((name, built, text))
}
