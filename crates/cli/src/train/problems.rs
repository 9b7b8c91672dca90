//! Problems that GRPO is run on: rows with a prompt, as a text or as messages, and an answer.

use std::collections::BTreeSet;
use std::path::Path;

use common::Error;
use posttrain::chat::{Conversation, Seen};
use posttrain::rows::{Fields, read_rows};
use posttrain_grpo::reward::is_readable;
use posttrain_sft::Truncation;
use serde_json::Value;

use super::sections::DataSection;
use crate::options::Result;
use crate::prompt::Prompter;

/// A prompt and the answer that completions are graded against.
#[derive(Debug)]
pub(super) struct Problem {
    /// Token ids.
    pub(super) prompt: Vec<u32>,
    /// Absent where no reward asks for it and the row has none.
    pub(super) answer: Option<String>,
    /// Whether the grader can read the answer. Where it cannot, completions are not judged.
    pub(super) readable: bool,
    /// The row's other columns.
    pub(super) fields: Fields,
}

/// What [`read`] made of a file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    pub(super) all: Vec<Problem>,
    /// Prompts cut to `data.max_length`.
    pub(super) cut: usize,
    /// Prompts left out as longer than that.
    pub(super) dropped: usize,
    /// Fields of messages that the chat template does not write.
    unwritten: BTreeSet<String>,
}

impl Problems {
    /// Columns and fields that nothing reads.
    pub(super) fn unused(&self) -> BTreeSet<&str> {
        let columns = self.all.iter().flat_map(|problem| &problem.fields);
        let columns = columns.filter(|(name, value)| *name != "id" && !value.is_null());
        columns.map(|(name, _)| name.as_str()).chain(self.unwritten.iter().map(String::as_str)).collect()
    }
}

/// Common names of the two columns.
const PROMPTS: [&str; 3] = ["prompt", "problem", "question"];
const ANSWERS: [&str; 3] = ["answer", "ground_truth", "solution"];

/// Reads a file of problems, each with an answer where `answers`.
pub(super) fn read(path: &Path, data: &DataSection, prompter: &Prompter, answers: bool) -> Result<Problems> {
    let (mut problems, mut seen) = (Problems::default(), Seen::default());
    for row in read_rows(path)? {
        let mut fields = row.fields;
        let mut one = || -> Result<Option<Problem>> {
            let prompt = take(&mut fields, &data.columns.prompt, &PROMPTS, "prompt")?;
            let given = take(&mut fields, &data.columns.answer, &ANSWERS, "answer");
            let answer = match given {
                Err(_) if !answers && data.columns.answer.is_none() => None,
                given => Some(answer(&given?)?),
            };
            let ids = match prompt {
                Value::String(question) => prompter.question(&question)?,
                messages => Conversation::new(&messages)
                    .and_then(|chat| prompter.conversation(chat.with_fields(&mut fields)?, &mut seen))
                    .map_err(|e| e.within("prompt"))?,
            };
            if ids.is_empty() {
                return Err(Error::input("the prompt is empty"));
            }
            let Some(prompt) = fit(ids, data, &mut problems)? else { return Ok(None) };
            let readable = answer.as_deref().is_some_and(is_readable);
            Ok(Some(Problem { prompt, answer, readable, fields: std::mem::take(&mut fields) }))
        };
        let made = one().map_err(|e| e.within(&row.place).within(path.display()))?;
        problems.all.extend(made);
    }
    problems.unwritten.append(&mut seen.unused);
    if problems.all.is_empty() {
        return Err(Error::at(path, "every prompt is longer than data.max_length"));
    }
    Ok(problems)
}

/// Takes a column, or a field of nested ones: `reward_model.ground_truth`. Objects that become empty go with it.
fn remove(fields: &mut Fields, name: &str) -> Option<Value> {
    if let Some(value) = fields.remove(name) {
        return Some(value);
    }
    let (column, rest) = name.split_once('.')?;
    let inner = fields.get_mut(column)?.as_object_mut()?;
    let value = remove(inner, rest);
    if inner.is_empty() {
        fields.remove(column);
    }
    value
}

/// Takes a column: the named one, or the one of the common names that the row has. Two that differ are refused.
fn take(fields: &mut Fields, named: &Option<String>, common: &[&str], what: &str) -> Result<Value> {
    if let Some(name) = named {
        let missing = || Error::input(format!("has no column `{name}`, which data.columns.{what} names"));
        return remove(fields, name).filter(|v| !v.is_null()).ok_or_else(missing);
    }
    let here = common.iter().copied().filter(|name| fields.get(*name).is_some_and(|v| !v.is_null()));
    // A solution beside an answer is its derivation.
    let here: Vec<&str> = here.take(if what == "answer" { 1 } else { common.len() }).collect();
    let Some(&first) = here.first() else {
        let expected = common[0];
        return Err(Error::input(format!(
            "has no {what}: expected a column `{expected}`, or data.columns.{what}"
        )));
    };
    if let Some(other) = here.iter().find(|name| fields.get(**name) != fields.get(first)) {
        return Err(Error::input(format!("`{first}` and `{other}` differ: choose by data.columns.{what}")));
    }
    let value = fields.get(first).cloned().unwrap_or_default();
    here.iter().for_each(|name| drop(fields.remove(*name)));
    Ok(value)
}

/// An answer as a text; numbers are written as in JSON.
fn answer(value: &Value) -> Result<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => {
            Err(Error::input("the answer is empty, so that nothing could be judged"))
        }
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(Error::input(format!("the answer is {other}, expected a text or a number"))),
    }
}

/// A prompt of at most `data.max_length` tokens, cut or left out as `data.truncation` says; an error where that
/// is not given.
fn fit(mut ids: Vec<u32>, data: &DataSection, problems: &mut Problems) -> Result<Option<Vec<u32>>> {
    let n = ids.len();
    let Some(max) = data.max_length.filter(|&max| n > max) else { return Ok(Some(ids)) };
    match data.truncation.unwrap_or(Truncation::Error) {
        Truncation::KeepStart => ids.truncate(max),
        Truncation::KeepEnd => drop(ids.drain(..n - max)),
        Truncation::Drop => {
            problems.dropped += 1;
            return Ok(None);
        }
        Truncation::Error => {
            return Err(Error::input(format!(
                "the prompt has {n} tokens, expected at most data.max_length = {max}, or data.truncation"
            )));
        }
    }
    problems.cut += 1;
    Ok(Some(ids))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bench_math::{PromptSettings, Protocol, Run, Template, suite};
    use model_qwen::Checkpoint;
    use serde_json::json;

    use super::super::sections::{DataColumns, PromptSection, Switch};
    use super::*;

    fn prompter(settings: PromptSettings) -> Result<Prompter> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/sft-forms");
        Prompter::new(&Checkpoint::open(&folder).unwrap(), settings)
    }

    fn problems(dir: &Path, row: &Value, prompt: &PromptSection) -> Result<Problems> {
        let train = dir.join("d.jsonl");
        std::fs::write(&train, format!("{row}\n")).unwrap();
        read(&train, &DataSection::default(), &prompter(prompt.settings())?, true)
    }

    #[test]
    fn evaluation_and_training_give_the_model_the_same_ids() {
        let dir = tempfile::tempdir().unwrap();
        let row = json!({ "id": "a", "problem": " What is 12 + 34?\n", "answer": 46 });
        let mut all = BTreeSet::new();
        for template in Template::ALL {
            for system in [None, Some("Be brief.")] {
                if system.is_some() && !template.is_chat() {
                    continue;
                }
                let system = system.map(str::to_owned);
                let prompt = PromptSection { template, system, think: None, stop: Vec::new() };
                let trained = problems(dir.path(), &row, &prompt).unwrap();
                // As `sparks eval` makes its requests.
                let file = dir.path().join("d.jsonl");
                let list = suite::load(file.to_str().unwrap(), dir.path(), 0).unwrap().list;
                let (subject, samples) = (std::collections::BTreeMap::new(), 1);
                let (prompt, temperature, top_p) = (prompt.settings(), 0.0, 1.0);
                let protocol =
                    Protocol { prompt, samples, temperature, top_p, max_tokens: 1, seed: 0, subject };
                let prompter = prompter(protocol.prompt.clone()).unwrap();
                let run = Run::open(dir.path().join(format!("run{}", all.len())), list, protocol).unwrap();
                let evaluated = prompter.ids(&run.pending()[0].prompt).unwrap();
                assert_eq!(trained.all[0].prompt, evaluated, "{template}");
                all.insert(evaluated);
            }
        }
        // `chat` with a system prompt differs from the others' own.
        assert!(all.len() > Template::ALL.len(), "{}", all.len());
        let prompt =
            PromptSection { template: Template::Chat, think: Some(Switch::Off), ..PromptSection::default() };
        let message = problems(dir.path(), &row, &prompt).unwrap_err().to_string();
        assert!(message.contains("no switch `enable_thinking`"), "{message}");
    }

    #[test]
    fn a_dotted_name_is_a_nested_field() {
        let dir = tempfile::tempdir().unwrap();
        let train = dir.path().join("d.jsonl");
        let read_with = |row: Value, answer: &str| {
            std::fs::write(&train, format!("{row}\n")).unwrap();
            let columns = DataColumns { answer: Some(answer.to_owned()), ..DataColumns::default() };
            let data = DataSection { columns, ..DataSection::default() };
            read(&train, &data, &prompter(PromptSection::default().settings()).unwrap(), true)
        };
        // As verl's files have it.
        let row = json!({ "prompt": "12+34=", "reward_model": { "style": "rule", "ground_truth": "46" } });
        let found = read_with(row.clone(), "reward_model.ground_truth").unwrap();
        assert_eq!(found.all[0].answer.as_deref(), Some("46"));
        assert_eq!(found.all[0].fields["reward_model"], json!({ "style": "rule" }));
        let message = read_with(row, "reward_model.answer").unwrap_err().to_string();
        assert!(message.contains("`reward_model.answer`, which data.columns.answer names"), "{message}");
        // A column of that very name comes first.
        let row = json!({ "prompt": "12+34=", "a.b": "46", "a": { "b": "47" } });
        assert_eq!(read_with(row, "a.b").unwrap().all[0].answer.as_deref(), Some("46"));
    }

    #[test]
    fn messages_are_written_as_the_question_is() {
        let dir = tempfile::tempdir().unwrap();
        let question = json!({ "problem": "12+34?", "answer": "46" });
        let turn = json!({ "role": "user", "content": "12+34?" });
        let messages = json!({ "prompt": [turn], "answer": "46", "difficulty": 3 });
        for template in [Template::Chat, Template::QwenMath, Template::OpenR1, Template::LightR1] {
            let prompt = PromptSection { template, ..PromptSection::default() };
            let written = problems(dir.path(), &messages, &prompt).unwrap();
            assert_eq!(
                written.all[0].prompt,
                problems(dir.path(), &question, &prompt).unwrap().all[0].prompt
            );
            assert_eq!(written.all[0].fields["difficulty"], 3);
            assert_eq!(written.unused(), BTreeSet::from(["difficulty"]));
        }
        // Without a setting the chat template writes them too, and the question is plain text.
        let plain = problems(dir.path(), &messages, &PromptSection::default()).unwrap();
        let chat = PromptSection { template: Template::Chat, ..PromptSection::default() };
        assert_eq!(plain.all[0].prompt, problems(dir.path(), &messages, &chat).unwrap().all[0].prompt);
        let two = json!({ "prompt": [{ "role": "system", "content": "s" }, turn], "answer": "46" });
        let r1 = PromptSection { template: Template::R1, ..PromptSection::default() };
        let open_r1 = PromptSection { template: Template::OpenR1, ..PromptSection::default() };
        for (row, prompt, name) in [(&messages, &r1, "template r1"), (&two, &open_r1, "has a system message")]
        {
            let message = problems(dir.path(), row, prompt).unwrap_err().to_string();
            assert!(message.contains("line 1") && message.contains(name), "{message}");
        }
    }
}
