//! The file that a shard of `faithfulness`, `patch` or `sweep` writes: settings, and what was found on its rows.
//! `sparks merge` makes of all of them the result of one run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Error, Shard, file_hash, write_whole};
use model_qwen::{Checkpoint, model_hash};
use posttrain::Ranks;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::options::{Common, Result};
use crate::output::{print_json, ready, to_json};
use crate::result::write_result;
use crate::rows::{Rows, shard_of_job};
use crate::{faithfulness, patch, sweep};

/// The flags of output of these commands.
#[derive(clap::Args, Debug)]
pub(crate) struct Output {
    /// Do part I of N only, for `sparks merge`: every N-th pair of patch, set of heads of sweep, batch of faithfulness.
    /// Default: `SPARKS_SHARD`, else the array of the scheduler.
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// Write the result to a file: JSON, or NumPy's .npz by the extension.
    #[arg(long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// The settings of a command that has shards, with which its rows become its result.
pub(crate) trait Settings: Serialize + DeserializeOwned {
    const COMMAND: Name;
    /// What is found on one row.
    type Row: Serialize + DeserializeOwned;
    /// The result of the whole job.
    fn result(&self, rows: &[Self::Row]) -> Result<Value>;
}

/// The commands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Name {
    Faithfulness,
    Patch,
    Sweep,
}

/// Hashes of a model and files, by name, and the arithmetic.
pub(crate) type Made = BTreeMap<String, String>;

/// What a shard is made of; empty where there are no shards, since a model takes time to hash.
pub(crate) fn made(
    common: &Common,
    shard: Option<Shard>,
    checkpoint: &Checkpoint,
    files: &[(&str, Option<&Path>)],
) -> Result<Made> {
    let mut made = Made::new();
    if shard.is_none() {
        return Ok(made);
    }
    made.insert("model".into(), model_hash(checkpoint.dir())?);
    made.insert("dtype".into(), format!("{:?}", common.dtype()).to_lowercase());
    made.insert("compute".into(), common.compute().name().into());
    if let Some(adapter) = common.adapter() {
        made.insert("adapter".into(), model_hash(adapter)?);
    }
    for (name, path) in files {
        if let Some(path) = path {
            made.insert((*name).to_owned(), file_hash(path)?);
        }
    }
    Ok(made)
}

/// The file of one shard.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    command: Name,
    version: String,
    /// `[k, n]`: shard k, from 0, of n.
    shard: (usize, usize),
    /// Rows of the whole job.
    n_rows: usize,
    settings: Map<String, Value>,
    /// What was found on rows k, k + n, k + 2 n, …
    rows: Vec<Value>,
}

impl Output {
    /// The shard of the job. Checks that `--out` can be written.
    pub(crate) fn shard(&self, common: &Common, ranks: &Arc<dyn Ranks>) -> Result<Option<Shard>> {
        if let Some(out) = &self.out {
            ready(out)?;
        }
        // One shard of one is the whole job.
        let shard = shard_of_job(common, self.shard.as_deref(), ranks)?.filter(|shard| shard.count > 1);
        match (shard, &self.out) {
            (Some(shard), None) => Err(Error::input(format!(
                "--shard {shard}: missing --out, the file that `sparks merge` joins (--shard 0/1 for all rows)"
            ))),
            (Some(shard), Some(out)) if out.extension().is_some_and(|e| e == "npz") => {
                Err(Error::at(out, format!("--shard {shard}: expected a .json; `sparks merge` writes .npz")))
            }
            _ => Ok(shard),
        }
    }

    /// Writes and prints the result, or the file of the shard. Returns the result where it is to be printed as text.
    /// Collective.
    pub(crate) fn give<S: Settings>(
        &self,
        common: &Common,
        settings: &S,
        rows: Rows<'_>,
        mine: Vec<S::Row>,
    ) -> Result<Option<Value>> {
        let Some(found) = rows.gather(mine)? else { return Ok(None) };
        if let (Some(shard), Some(out)) = (rows.shard(), &self.out) {
            let part = Part {
                command: S::COMMAND,
                version: env!("CARGO_PKG_VERSION").into(),
                shard: (shard.index, shard.count),
                n_rows: rows.n(),
                settings: object(to_json(settings)?)?,
                rows: found.iter().map(to_json).collect::<Result<_>>()?,
            };
            let text = serde_json::to_string(&part).map_err(Error::internal)?;
            write_whole(out, format!("{text}\n").as_bytes())?;
            let n = part.rows.len();
            if self.json {
                print_json(&json!({ "shard": part.shard, "rows": n, "n_rows": part.n_rows, "out": out }));
            } else {
                common.note(format!("{}: {n} of {} rows, shard {shard}", out.display(), part.n_rows));
            }
            return Ok(None);
        }
        let result = settings.result(&found)?;
        if let Some(out) = &self.out {
            write_result(out, &result)?;
        }
        if self.json {
            print_json(&result);
        }
        Ok((!self.json && self.out.is_none()).then_some(result))
    }
}

fn object(value: Value) -> Result<Map<String, Value>> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(Error::internal("settings are an object")),
    }
}

impl Part {
    /// Whether the text is of such a file, by its first field.
    pub(crate) fn is(text: &str) -> bool {
        #[derive(Deserialize)]
        struct Probe {
            #[serde(rename = "command")]
            _command: String,
        }
        serde_json::from_str::<Probe>(text).is_ok()
    }

    /// Reads the text of such a file.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<(String, Self)> {
        let part: Self = serde_json::from_str(text).map_err(|e| Error::line(path, e.line(), e))?;
        let (index, count) = part.shard;
        if index >= count {
            return Err(Error::at(
                path,
                format!("`shard` is [{index}, {count}], expected [k, n] with k below n"),
            ));
        }
        Ok((path.display().to_string(), part))
    }
}

/// The result of one run, of the files of all its shards with their names.
///
/// # Errors
/// Shards of other settings, models or files, by name; a missing or repeated shard; a file without some of its rows.
pub(crate) fn join(parts: Vec<(String, Part)>) -> Result<Value> {
    match parts.first().map(|(_, first)| first.command) {
        Some(Name::Faithfulness) => join_of::<faithfulness::Settings>(parts),
        Some(Name::Patch) => join_of::<patch::Settings>(parts),
        Some(Name::Sweep) => join_of::<sweep::Settings>(parts),
        None => Err(Error::input("no files given")),
    }
}

fn join_of<S: Settings>(parts: Vec<(String, Part)>) -> Result<Value> {
    let (first_name, first) = &parts[0];
    for (name, part) in &parts[1..] {
        check_same(first, part).map_err(|e| e.within(format_args!("{first_name} and {name}")))?;
    }
    let shard_of = |part: &Part| Shard { index: part.shard.0, count: part.shard.1 };
    let shards: Vec<_> = parts.iter().map(|(name, part)| (shard_of(part), name.clone())).collect();
    Shard::check_all(&shards)?;
    let settings: S = serde_json::from_value(Value::Object(first.settings.clone()))
        .map_err(|e| Error::input(format!("`settings`: {e}")).within(first_name))?;
    let n_rows = first.n_rows;
    let mut found: Vec<(usize, S::Row)> = Vec::new();
    for (name, part) in parts {
        let places = shard_of(&part).rows(n_rows);
        if places.len() != part.rows.len() {
            let what = format!("{} rows, expected the {} of its shard", part.rows.len(), places.len());
            return Err(Error::input(what).within(name));
        }
        for (place, row) in places.zip(part.rows) {
            let row = serde_json::from_value(row)
                .map_err(|e| Error::input(format!("`rows`: row {place}: {e}")).within(&name))?;
            found.push((place, row));
        }
    }
    found.sort_by_key(|(place, _)| *place);
    settings.result(&found.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
}

/// Checks that two shards are of one job.
fn check_same(first: &Part, other: &Part) -> Result {
    let differ = |name: &str, a: &Value, b: &Value| {
        Err(Error::input(format!("`{name}` differs: {a} and {b}; expected shards of one job")))
    };
    let head = |part: &Part| [("command", json!(part.command)), ("version", json!(part.version))];
    for ((name, a), (_, b)) in head(first).iter().zip(&head(other)) {
        if a != b {
            return differ(name, a, b);
        }
    }
    let names = first.settings.keys().chain(other.settings.keys());
    for name in names {
        let [a, b] = [first, other].map(|part| part.settings.get(name).unwrap_or(&Value::Null));
        if a != b {
            return differ(name, a, b);
        }
    }
    if first.n_rows != other.n_rows {
        return differ("n_rows", &json!(first.n_rows), &json!(other.n_rows));
    }
    Ok(())
}
