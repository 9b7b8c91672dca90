//! Keys of the run file: `--set`, unknown ones, ones without an effect, ones that a resumed run may change.

use common::Error;
use toml::{Table, Value};

use super::Kind;
use super::config::RunFile;

/// Keys without an effect on a kind of run, and why.
fn without_effect(kind: Kind) -> &'static [(&'static str, &'static str)] {
    const GRADED: &str = "problems are not tokenised examples";
    const LORA: (&str, &str) = ("lora", "training of adapters is not implemented yet");
    const ROLLOUTS: (&str, &str) = ("rollouts", "sampling on a server is not implemented yet");
    match kind {
        Kind::Sft => &[LORA, ROLLOUTS, ("grpo", "it belongs to sparks grpo")],
        Kind::Grpo => &[
            LORA,
            ROLLOUTS,
            ("data.eval", "evaluation during GRPO is not implemented yet, run sparks eval on a checkpoint"),
            ("data.max_length", GRADED),
            ("data.packing", GRADED),
            ("run.eval_every", "evaluation during GRPO is not implemented yet"),
            (
                "train.accumulation",
                "all completions of a step are taken together, in passes of train.batch_size rows",
            ),
        ],
    }
}

/// Keys that a resumed run may change: they alter no update that was made.
const MAY_CHANGE: [&str; 10] = [
    "train.steps",
    "train.epochs",
    "run.keep",
    "run.log_every",
    "run.checkpoint_every",
    "run.eval_every",
    "data.eval",
    "watch",
    "grpo.rollout_batch",
    // Where the folder lies is said by --resume.
    "run.dir",
];

pub(super) fn table(text: &str) -> Result<Table, Error> {
    text.parse().map_err(|e: toml::de::Error| Error::input(e))
}

/// Applies `section.key=value`; the value is TOML, or a string where it is none. `train.steps` and
/// `train.epochs` replace each other.
pub(super) fn apply(table: &mut Table, change: &str) -> Result<(), Error> {
    let bad = || Error::input(format!("--set {change}: expected section.key=value"));
    let (key, value) = change.split_once('=').ok_or_else(bad)?;
    let (section, key) = key.trim().split_once('.').ok_or_else(bad)?;
    let text = value.trim();
    let value = format!("x = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("x"));
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let entry = entry.as_table_mut().ok_or_else(bad)?;
    match (section, key) {
        ("train", "steps") => entry.remove("epochs"),
        ("train", "epochs") => entry.remove("steps"),
        _ => None,
    };
    entry.insert(key.to_owned(), value);
    Ok(())
}

/// Refuses keys that have no effect on this kind of run.
pub(super) fn check_effect(kind: Kind, table: &Table) -> Result<(), Error> {
    let given = without_effect(kind).iter().find(|(key, _)| find(table, key).is_some());
    given.map_or(Ok(()), |(key, why)| {
        Err(Error::input(format!("`{key}` has no effect in {}: {why}; leave it out", kind.command())))
    })
}

/// Removes keys that have no effect on this kind of run.
pub(super) fn remove_without_effect(kind: Kind, table: &mut Table) {
    for (key, _) in without_effect(kind) {
        match key.split_once('.') {
            Some((section, key)) => {
                table.get_mut(section).and_then(Value::as_table_mut).and_then(|t| t.remove(key))
            }
            None => table.remove(*key),
        };
    }
}

/// The value of `section.key`, or of a section.
pub(super) fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, key)) => table.get(section)?.as_table()?.get(key),
        None => table.get(key),
    }
}

/// `section.key` of every value.
fn leaves(table: &Table) -> Vec<String> {
    let of = |(section, value): (&String, &Value)| match value {
        Value::Table(keys) => keys.keys().map(|key| format!("{section}.{key}")).collect(),
        _ => vec![section.clone()],
    };
    table.iter().flat_map(of).collect()
}

/// The error for a key that is not known: it names the nearest one that is.
pub(super) fn unknown(key: &str) -> Error {
    let known = leaves(&every_key());
    let mut sections: Vec<&str> = known.iter().filter_map(|k| k.split_once('.').map(|(s, _)| s)).collect();
    sections.dedup();
    let nearest = |word: &str, of: Vec<String>| {
        of.into_iter()
            .min_by_key(|candidate| strsim::damerau_levenshtein(word, candidate))
            .unwrap_or_default()
    };
    match key.split_once('.') {
        Some((section, _)) if sections.contains(&section) => {
            let keys = known.iter().filter(|k| k.split('.').next() == Some(section)).cloned().collect();
            Error::input(format!("unknown key `{key}`, the nearest known is `{}`", nearest(key, keys)))
        }
        Some((section, _)) => {
            let near = nearest(section, sections.iter().map(|s| (*s).to_owned()).collect());
            Error::input(format!("unknown section [{section}], the nearest known is [{near}]"))
        }
        None => {
            // A key outside its section, or a section's name in an empty table.
            let near = known.iter().find(|k| k.split('.').nth(1) == Some(key)).map(|k| format!("`{k}`"));
            let near = near.unwrap_or_else(|| {
                format!("[{}]", nearest(key, sections.iter().map(|s| (*s).to_owned()).collect()))
            });
            Error::input(format!("unknown section `{key}`, the nearest known is {near}"))
        }
    }
}

/// A run file with every key, optional ones included.
pub(super) fn every_key() -> Table {
    let mut file = RunFile::default();
    (file.train.steps, file.train.epochs) = (Some(1), Some(1.0));
    (file.data.eval, file.run.eval_every) = (Some("eval.jsonl".into()), Some(1));
    let mut watch = super::config::WatchSection::default();
    watch.steps = Some(5);
    let mut grpo = posttrain_grpo::GrpoConfig::default();
    (grpo.epsilon_high, grpo.delta) = (Some(0.2), Some(2.0));
    (file.watch, file.grpo) = (Some(watch), Some(grpo));
    Table::try_from(&file).unwrap_or_default()
}

/// Refuses a difference that a resumed run may not have from how it began.
pub(super) fn check_changes(began: &Table, wanted: &Table) -> Result<(), Error> {
    let mut keys = leaves(began);
    keys.extend(leaves(wanted));
    let may = |key: &str| MAY_CHANGE.iter().any(|m| *m == key || key.split('.').next() == Some(*m));
    match keys.iter().find(|key| find(began, key) != find(wanted, key) && !may(key)) {
        None => Ok(()),
        Some(key) => {
            let say = |t: &Table| find(t, key).map_or("not set".to_owned(), ToString::to_string);
            Err(Error::input(format!(
                "`{key}` is {} in this run and cannot become {}: a resumed run may change {}",
                say(began),
                say(wanted),
                MAY_CHANGE[..9].join(", ")
            )))
        }
    }
}
