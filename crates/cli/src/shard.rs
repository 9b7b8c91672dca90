//! Which shard this process is: the part of the rows that one task of an array works on.
//!
//! A shard is given by `--shard I/N`, else by `SPARKS_SHARD=I/N`, else by what the scheduler sets for the tasks of
//! an array. What a scheduler sets is used only where it names the whole array: a single task that was submitted
//! again, or a list with gaps, would otherwise be taken for the whole job or for another shard.

use crate::options::{Common, Result};
use common::{Error, Shard};

/// Index and number of tasks, both in the environment. The index counts from 0.
const FROM_ZERO: [(&str, &str); 4] = [
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    ("SKYPILOT_JOB_RANK", "SKYPILOT_NUM_JOBS"),
    ("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
    ("BATCH_TASK_INDEX", "BATCH_TASK_COUNT"),
];

/// Index alone: the number of tasks must be given.
const INDEX_ONLY: [&str; 3] = ["JOB_COMPLETION_INDEX", "HQ_TASK_ID", "PBS_ARRAY_INDEX"];

/// The shard of this process: `given` is the value of `--shard`. Notes a shard that the environment chose.
///
/// # Errors
/// A text that is not a shard, or an array that does not name one.
pub(crate) fn of_process(common: &Common, given: Option<&str>) -> Result<Option<Shard>> {
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    if let Some(text) = given {
        return parse(text, "--shard").map(Some);
    }
    let Some((shard, source)) = from_environment(get)? else {
        if let Some(name) = INDEX_ONLY.into_iter().find(|name| get(name).is_some()) {
            common.warn(format!(
                "{name} is set, but not the number of tasks: all rows are used; \
                 give --shard ${name}/N, or --shard 0/1 for all rows"
            ))?;
        }
        return Ok(None);
    };
    common.note(format!("--shard {shard}, from {source}"));
    Ok(Some(shard))
}

/// Reads `I/N`, counted from 0 or from 1: shard N is shard 0.
fn parse(text: &str, place: &str) -> Result<Shard> {
    let parts = text
        .split_once('/')
        .and_then(|(i, n)| Some((i.trim().parse::<usize>().ok()?, n.trim().parse::<usize>().ok()?)));
    match parts {
        Some((i, n)) if n > 0 && i <= n => Ok(Shard { index: i % n, count: n }),
        _ => Err(Error::input(format!("{place} {text}: expected I/N with I from 0 to N"))),
    }
}

/// The shard that the environment names, and by which variables.
fn from_environment(get: impl Fn(&str) -> Option<String>) -> Result<Option<(Shard, String)>> {
    if let Some(text) = get("SPARKS_SHARD") {
        return Ok(Some((parse(&text, "SPARKS_SHARD")?, "SPARKS_SHARD".to_owned())));
    }
    let number = |name: &str| -> Result<Option<usize>> {
        let Some(text) = get(name) else { return Ok(None) };
        let parsed = text.trim().parse();
        parsed.map(Some).map_err(|_| refused(&format!("{name} is `{text}`, expected a whole number")))
    };
    let array = |index: usize, count: usize, names: String| {
        if index >= count {
            return Err(refused(&format!(
                "{names} are {index} and {count}, expected an index below the count"
            )));
        }
        Ok(Some((Shard { index, count }, names)))
    };
    if let Some(id) = number("SLURM_ARRAY_TASK_ID")? {
        let count = number("SLURM_ARRAY_TASK_COUNT")?
            .ok_or_else(|| refused("SLURM_ARRAY_TASK_ID is set without SLURM_ARRAY_TASK_COUNT"))?;
        let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
        let last = number("SLURM_ARRAY_TASK_MAX")?.unwrap_or(first + count.saturating_sub(1));
        let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1);
        let ids = Ids { id, first, last, step };
        return array(
            ids.index("the Slurm array", count)?,
            count,
            "SLURM_ARRAY_TASK_ID and _COUNT".to_owned(),
        );
    }
    for (index, count) in FROM_ZERO {
        if let Some(i) = number(index)? {
            let n = number(count)?.ok_or_else(|| refused(&format!("{index} is set without {count}")))?;
            return array(i, n, format!("{index} and {count}"));
        }
    }
    // Grid Engine sets `undefined` in jobs that are not arrays.
    if get("SGE_TASK_ID").is_some_and(|id| id.trim() != "undefined")
        && let Some(id) = number("SGE_TASK_ID")?
    {
        let last =
            number("SGE_TASK_LAST")?.ok_or_else(|| refused("SGE_TASK_ID is set without SGE_TASK_LAST"))?;
        let first = number("SGE_TASK_FIRST")?.unwrap_or(1);
        let step = number("SGE_TASK_STEPSIZE")?.unwrap_or(1);
        let count = last.saturating_sub(first) / step.max(1) + 1;
        let ids = Ids { id, first, last, step };
        return array(ids.index("the Grid Engine array", count)?, count, "SGE_TASK_ID and _LAST".to_owned());
    }
    Ok(None)
}

/// Task ids of an array, as Slurm and Grid Engine number them.
struct Ids {
    id: usize,
    first: usize,
    last: usize,
    step: usize,
}

impl Ids {
    /// The place of the task in an array of `count` tasks that begins at 0 or 1 and has no gap.
    fn index(&self, what: &str, count: usize) -> Result<usize> {
        let &Self { id, first, last, step } = self;
        let whole = step > 0 && last >= first && (last - first) / step + 1 == count;
        let alone = count == 1 && id > 0 && first == last && what.contains("Slurm");
        if !whole || first > 1 || alone || id < first || (id - first) % step != 0 {
            return Err(refused(&format!(
                "task {id} of {what} with ids {first} to {last}, step {step}, and {count} tasks does not name its shard"
            )));
        }
        Ok((id - first) / step)
    }
}

fn refused(what: &str) -> Error {
    Error::input(format!(
        "{what}; give --shard I/N or SPARKS_SHARD=I/N, with I and N of the whole job (0/1 for all rows)"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shard(set: &[(&str, &str)]) -> Result<Option<(usize, usize)>> {
        let get = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        from_environment(get).map(|found| found.map(|(s, _)| (s.index, s.count)))
    }

    /// The variables that Slurm 22.05 sets for a task of `--array=…`.
    fn slurm(id: &str, count: &str, min: &str, max: &str, step: &str) -> Result<Option<(usize, usize)>> {
        let name = |end: &'static str| format!("SLURM_ARRAY_TASK_{end}");
        let names = ["ID", "COUNT", "MIN", "MAX", "STEP"].map(name);
        let values = [id, count, min, max, step];
        shard(&names.iter().map(String::as_str).zip(values).collect::<Vec<_>>())
    }

    #[test]
    fn a_whole_slurm_array_names_its_shards() {
        assert_eq!(slurm("2", "4", "0", "3", "1").unwrap(), Some((2, 4))); // --array=0-3
        assert_eq!(slurm("4", "4", "1", "4", "1").unwrap(), Some((3, 4))); // --array=1-4
        assert_eq!(slurm("4", "3", "0", "4", "2").unwrap(), Some((2, 3))); // --array=0-4:2
        assert_eq!(slurm("0", "1", "0", "0", "1").unwrap(), Some((0, 1))); // --array=0
    }

    #[test]
    fn tasks_submitted_again_are_refused_by_name() {
        for (id, count, min, max) in [
            ("5", "1", "5", "5"), // --array=5: one failed task
            ("1", "1", "1", "1"), // --array=1
            ("2", "2", "0", "2"), // --array=0,2: a list with a gap
            ("2", "2", "2", "3"), // --array=2,3: the end of a larger array
        ] {
            let message = slurm(id, count, min, max, "1").unwrap_err().to_string();
            assert!(
                message.contains("SPARKS_SHARD=I/N") && message.contains(&format!("task {id}")),
                "{message}"
            );
        }
        let again = [("SLURM_ARRAY_TASK_ID", "5"), ("SLURM_ARRAY_TASK_COUNT", "1"), ("SPARKS_SHARD", "5/8")];
        assert_eq!(shard(&again).unwrap(), Some((5, 8)));
    }

    #[test]
    fn other_schedulers() {
        for (index, count) in FROM_ZERO {
            assert_eq!(shard(&[(index, "2"), (count, "3")]).unwrap(), Some((2, 3)));
            assert!(shard(&[(index, "3"), (count, "3")]).unwrap_err().to_string().contains(count));
            assert!(shard(&[(index, "0")]).unwrap_err().to_string().contains(count));
            assert!(shard(&[(index, "a"), (count, "3")]).unwrap_err().to_string().contains("`a`"));
        }
        let grid = |id, last| shard(&[("SGE_TASK_ID", id), ("SGE_TASK_LAST", last), ("SGE_TASK_FIRST", "1")]);
        assert_eq!(grid("3", "3").unwrap(), Some((2, 3)));
        assert_eq!(grid("1", "1").unwrap(), Some((0, 1)));
        assert_eq!(grid("undefined", "undefined").unwrap(), None);
        // An index without a count chooses nothing, nor does the rank of a process.
        assert_eq!(shard(&[("JOB_COMPLETION_INDEX", "1"), ("SLURM_PROCID", "1")]).unwrap(), None);
    }

    #[test]
    fn counted_from_zero_or_from_one() {
        let parse = |text| super::parse(text, "--shard").map(|s| (s.index, s.count));
        assert_eq!(
            [parse("0/3").unwrap(), parse("3/3").unwrap(), parse("2/3").unwrap()],
            [(0, 3), (0, 3), (2, 3)]
        );
        assert!(["4/3", "0/0", "1", "-1/2", ""].iter().all(|text| parse(text).is_err()));
    }
}
