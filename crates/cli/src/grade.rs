//! `sparks grade`: compare predicted answers with reference answers.

use std::fmt::Write as _;
use std::path::PathBuf;

use common::{Error, write_whole};
use math_grade::{Options, grade_with};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::options::{Common, Result, read};
use crate::output::{print_json, ready};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Cases, JSONL: {"gold", "pred", "id"?, "options"?}.
    #[arg(long = "in", value_name = "CASES.jsonl", requires = "out", conflicts_with_all = ["gold", "pred"])]
    input: Option<PathBuf>,
    /// Output file: one verdict for each case, JSONL.
    #[arg(long, value_name = "VERDICTS.jsonl", requires = "input")]
    out: Option<PathBuf>,
    /// Reference answer.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "pred",
        required_unless_present = "input",
        allow_hyphen_values = true
    )]
    gold: Option<String>,
    /// Text to grade.
    #[arg(long, value_name = "TEXT", requires = "gold", allow_hyphen_values = true)]
    pred: Option<String>,
}

#[derive(Deserialize)]
struct Case {
    gold: String,
    pred: String,
    #[serde(default)]
    id: Value,
    /// Of this case alone.
    #[serde(default)]
    options: Option<Options>,
}

fn verdict(id: Value, gold: &str, pred: &str, options: &Options) -> Value {
    let v = grade_with(gold, pred, options);
    json!({
        "id": id, "correct": v.correct, "gold_parsed": v.gold_parsed, "pred_parsed": v.pred_parsed, "reason": v.reason,
    })
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if let (Some(gold), Some(pred)) = (&args.gold, &args.pred) {
        print_json(&verdict(Value::Null, gold, pred, &Options::default()));
        return Ok(());
    }
    let (Some(input), Some(out)) = (args.input, args.out) else {
        return Err(Error::input("missing --in and --out, or --gold and --pred"));
    };
    ready(&out, &[&input])?;
    let (mut lines, mut right, mut n) = (String::new(), 0, 0);
    for (number, line) in read(&input)?.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let case: Case = serde_json::from_str(line)
            .map_err(|e| Error::input(format!("{}: line {}: {e}", input.display(), number + 1)))?;
        let verdict = verdict(case.id, &case.gold, &case.pred, &case.options.unwrap_or_default());
        right += usize::from(verdict["correct"] == true);
        n += 1;
        let _ = writeln!(lines, "{verdict}");
    }
    write_whole(&out, lines.as_bytes())?;
    common.note(format!("{}: {right} of {n} right", out.display()));
    Ok(())
}
