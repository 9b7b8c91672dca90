//! `sparks grade`: compare predicted answers with reference answers.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use bench_math::Row;
use common::{Error, write_whole};
use math_grade::{GradeOptions, grade_with};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::options::{Common, Result};
use crate::output::{print_json, ready};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Cases, JSONL: {"gold", "pred", "id"? (or "unique_id"), "options"?}.
    #[arg(long = "in", value_name = "CASES.jsonl", requires = "out", conflicts_with_all = ["gold", "pred"])]
    input: Option<PathBuf>,
    /// Output file: one verdict for each case, JSONL.
    // clap does not require what conflicts with another flag that is given.
    #[arg(long, value_name = "VERDICTS.jsonl", requires = "input", conflicts_with_all = ["gold", "pred"])]
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
    /// Print one JSON object: of --in the numbers of verdicts, of --gold the verdict, as without it.
    #[arg(long)]
    json: bool,
}

/// The verdict of one row of `--in`. A row that cannot be read has the verdict false, with the reason and its line.
fn judge(line: Result<String>, number: usize, unread: &mut BTreeSet<String>) -> (Value, bool) {
    let mut id = Value::Null;
    let judged = line.and_then(|line| {
        let row = Row::parse(&line)?;
        id = row.fields.get(row.id_field()).cloned().unwrap_or_default();
        let read = ["id", row.id_field(), "gold", "pred", "options"];
        unread.extend(row.fields.keys().filter(|name| !read.contains(&name.as_str())).cloned());
        let options = match row.fields.get("options") {
            None | Some(Value::Null) => GradeOptions::default(),
            Some(given) => GradeOptions::deserialize(given)
                .map_err(|e| Error::input(format!("field \"options\": {e}")))?,
        };
        Ok(verdict(id.clone(), &row.text("gold")?, &row.text("pred")?, &options))
    });
    match judged {
        Ok(verdict) => (verdict, true),
        Err(e) => {
            let reason = format!("line {number}: {e}");
            let verdict = json!({
                "id": id, "correct": false, "gold_parsed": null, "pred_parsed": null, "reason": reason,
            });
            (verdict, false)
        }
    }
}

fn verdict(id: Value, gold: &str, pred: &str, options: &GradeOptions) -> Value {
    let v = grade_with(gold, pred, options);
    json!({
        "id": id, "correct": v.correct, "gold_parsed": v.gold_parsed, "pred_parsed": v.pred_parsed, "reason": v.reason,
    })
}

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if let (Some(gold), Some(pred)) = (&args.gold, &args.pred) {
        print_json(&verdict(Value::Null, gold, pred, &GradeOptions::default()));
        return Ok(());
    }
    let (Some(input), Some(out)) = (args.input, args.out) else {
        return Err(Error::input("missing --in and --out, or --gold and --pred"));
    };
    ready(&out)?;
    let (mut lines, mut right, mut n) = (String::new(), 0, 0);
    let (mut bad, mut unread) = (Vec::new(), BTreeSet::new());
    let lines_in = common::read_lines(&input)?;
    let blank = |line: &Result<String>| line.as_ref().is_ok_and(|line| line.trim().is_empty());
    // One line for one line: a blank one is malformed, but at the end of the file.
    let end = lines_in.iter().rposition(|line| !blank(line)).map_or(0, |last| last + 1);
    for (number, line) in lines_in.into_iter().take(end).enumerate() {
        let (verdict, read) = judge(line, number + 1, &mut unread);
        right += usize::from(verdict["correct"] == true);
        n += 1;
        if !read {
            bad.push(verdict["reason"].as_str().unwrap_or_default().to_owned());
        }
        let _ = writeln!(lines, "{verdict}");
    }
    common.warn_unread(&input, &unread.into_iter().collect::<Vec<_>>())?;
    if let [first, more @ ..] = &bad[..] {
        let more = if more.is_empty() { String::new() } else { format!(" (and {} other rows)", more.len()) };
        common.warn(format!("{}: {first}{more}: judged wrong", input.display()))?;
    }
    write_whole(&out, lines.as_bytes())?;
    if args.json {
        print_json(&json!({ "out": out, "rows": n, "correct": right, "malformed": bad.len() }));
    } else {
        common.note(format!("{}: {right} of {n} right", out.display()));
    }
    Ok(())
}
