//! Jobs: pieces of a study's work, kept in folders and done once for the same inputs.
//!
//! A job's folder is `stages/STAGE/NAME/`. `inputs.json` is written before the work begins, `done.json` after
//! it ends: with the inputs, the result and the SHA-256 of the files that the work wrote. A job whose inputs are
//! those of `done.json` is not done again, on whatever machine it was done. A job that was killed is begun
//! again; it finds the files that it had written, if its inputs are the same.

use std::fs;
use std::path::{Path, PathBuf};

use common::{Error, Shard, file_hash, hash_of, write_whole};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Stage;

/// The jobs of a study's folder.
#[derive(Debug)]
pub struct Jobs {
    dir: PathBuf,
    shard: Option<Shard>,
    /// Stages whose jobs may be done here; others are only read.
    stages: Vec<Stage>,
    /// Nothing is done here.
    pub(crate) idle: bool,
    /// Jobs seen so far of each stage.
    seen: [usize; Stage::ALL.len()],
    states: Vec<JobState>,
}

/// A job that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobState {
    /// `stage/name`.
    pub name: String,
    /// Whether its result is there.
    pub done: bool,
    /// Whether it is of the stages and the shard that are done here.
    #[serde(skip)]
    pub mine: bool,
}

/// A job: its stage, its name in it, and everything that its result depends on.
#[derive(Debug)]
pub struct Job<'a> {
    /// The stage.
    pub stage: Stage,
    /// Unique in the stage; a relative path of folders.
    pub name: &'a str,
    /// Settings and hashes of inputs.
    pub inputs: Value,
    /// The files that the work writes into its folder.
    pub files: &'a [&'a str],
    /// Whether what it works on is there: a checkpoint that is not trained yet is not.
    pub ready: bool,
}

/// The result of a job, and where its files are.
#[derive(Debug, Clone, PartialEq)]
pub struct Done<T> {
    /// The result.
    pub result: T,
    /// The job's folder.
    pub dir: PathBuf,
    /// A hash of result and files: the input of jobs that use them.
    pub hash: String,
}

#[derive(Serialize, Deserialize)]
struct Record<T> {
    inputs: Value,
    result: T,
    files: Vec<(String, String)>,
}

impl Jobs {
    /// Jobs in `dir`, done here where they belong to one of `stages` and to `shard`.
    pub fn new(dir: &Path, stages: Vec<Stage>, shard: Option<Shard>) -> Self {
        let seen = [0; Stage::ALL.len()];
        Self { dir: dir.to_owned(), shard, stages, idle: false, seen, states: Vec::new() }
    }

    /// The result of `job`: that of `done.json`, or of `work`, which is given the job's folder. `None` where the job
    /// is another shard's, or of a stage that is not to be done, or not ready, and is not done.
    ///
    /// # Errors
    /// Those of `work`; a folder that cannot be written.
    pub fn run<T, W>(&mut self, job: &Job<'_>, work: W) -> Result<Option<Done<T>>, Error>
    where
        T: Serialize + DeserializeOwned,
        W: FnOnce(&Path) -> Result<T, Error>,
    {
        let mine = self.is_next_mine(job.stage);
        let dir = self.dir.join("stages").join(job.stage.name()).join(job.name);
        let state = |done| JobState { name: format!("{}/{}", job.stage.name(), job.name), done, mine };
        if let Some(done) = read::<T>(&dir, &job.inputs)? {
            self.states.push(state(true));
            return Ok(Some(done));
        }
        if !job.ready || !mine || self.idle {
            self.states.push(state(false));
            return Ok(None);
        }
        begin(&dir, &job.inputs)?;
        let result = work(&dir)?;
        let files = job.files.iter().map(|name| Ok(((*name).to_owned(), file_hash(dir.join(name))?)));
        let record =
            Record { inputs: job.inputs.clone(), result, files: files.collect::<Result<_, Error>>()? };
        write_whole(dir.join("done.json"), &json(&record)?)?;
        // Read back, so that a resumed study and an unbroken one go on with the same values.
        self.states.push(state(true));
        match read::<T>(&dir, &job.inputs)? {
            Some(done) => Ok(Some(done)),
            None => Err(Error::at(dir.join("done.json"), "the result is not read back as it was written")),
        }
    }

    /// Notes a job that cannot be done yet: a job whose result it needs is not done.
    pub fn wait(&mut self, stage: Stage, name: &str) {
        let mine = self.is_next_mine(stage);
        self.states.push(JobState { name: format!("{}/{name}", stage.name()), done: false, mine });
    }

    /// Whether the next job of `stage` is to be done here: its place among all of the stage says whose it is.
    fn is_next_mine(&mut self, stage: Stage) -> bool {
        let at = self.seen[stage as usize];
        self.seen[stage as usize] += 1;
        self.stages.contains(&stage) && self.shard.is_none_or(|shard| shard.has(at))
    }

    /// Forgets which jobs were asked for.
    pub(crate) fn forget(&mut self) {
        self.seen = [0; Stage::ALL.len()];
        self.states.clear();
    }

    /// The jobs that were asked for, in order.
    pub fn states(&self) -> &[JobState] {
        &self.states
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut text = serde_json::to_vec_pretty(value).map_err(Error::internal)?;
    text.push(b'\n');
    Ok(text)
}

/// Makes the folder ready for work on `inputs`: files that were begun for other inputs are removed.
fn begin(dir: &Path, inputs: &Value) -> Result<(), Error> {
    let (path, text) = (dir.join("inputs.json"), json(inputs)?);
    let same = fs::read(&path).is_ok_and(|begun| begun == text);
    if dir.exists() && (!same || dir.join("done.json").exists()) {
        fs::remove_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    }
    common::make_folder(dir)?;
    write_whole(&path, &text)
}

/// The result in `dir`, if it is of these inputs and its files are as they were written.
fn read<T: DeserializeOwned + Serialize>(dir: &Path, inputs: &Value) -> Result<Option<Done<T>>, Error> {
    let path = dir.join("done.json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(&path, e)),
    };
    // A file of an earlier version, or a damaged one: the job is done again.
    let Ok(record) = serde_json::from_slice::<Record<T>>(&text) else { return Ok(None) };
    let whole = |(name, hash): &(String, String)| file_hash(dir.join(name)).is_ok_and(|now| now == *hash);
    if record.inputs != *inputs || !record.files.iter().all(whole) {
        return Ok(None);
    }
    let hash = hash_of(&json(&(&record.result, &record.files))?);
    Ok(Some(Done { result: record.result, dir: dir.to_owned(), hash }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(inputs: Value) -> Job<'static> {
        Job { stage: Stage::Attribution, name: "base/sums", inputs, files: &["x.txt"], ready: true }
    }

    #[test]
    fn a_job_is_done_once_for_the_same_inputs() {
        let dir = tempfile::tempdir().unwrap();
        let mut jobs = Jobs::new(dir.path(), Stage::ALL.to_vec(), None);
        let write = |dir: &Path| -> Result<u32, Error> {
            fs::write(dir.join("x.txt"), "x").map_err(|e| Error::io(dir, e))?;
            Ok(7)
        };
        let never = |_: &Path| -> Result<u32, Error> { Err(Error::internal("done again")) };
        let first = jobs.run(&job(json!({"a": 1})), write).unwrap().unwrap();
        assert_eq!(jobs.run(&job(json!({"a": 1})), never).unwrap().unwrap(), first);
        assert!(jobs.run(&job(json!({"a": 2})), never).unwrap_err().to_string().contains("done again"));
        // Begun with other inputs, so the earlier result is gone; a file that changed is noticed too.
        jobs.run(&job(json!({"a": 2})), write).unwrap();
        fs::write(first.dir.join("x.txt"), "y").unwrap();
        assert!(jobs.run(&job(json!({"a": 2})), never).is_err());
    }

    #[test]
    fn killed_work_finds_its_files_where_inputs_are_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut jobs = Jobs::new(dir.path(), Stage::ALL.to_vec(), None);
        let killed = |dir: &Path| -> Result<u32, Error> {
            fs::write(dir.join("x.txt"), "half").unwrap();
            Err(Error::internal("killed"))
        };
        let found = |dir: &Path| Ok::<_, Error>(fs::read_to_string(dir.join("x.txt")).unwrap_or_default());
        for inputs in [json!(1), json!(2)] {
            assert!(jobs.run(&job(inputs), killed).is_err());
        }
        assert_eq!(jobs.run(&job(json!(2)), found).unwrap().unwrap().result, "half");
        assert!(jobs.run(&job(json!(1)), |dir: &Path| Ok(dir.join("x.txt").exists())).is_err(), "no file");
    }

    #[test]
    fn shards_do_their_own_jobs_and_name_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["a", "b", "c"];
        let work = |shard: Option<Shard>| {
            let mut jobs = Jobs::new(dir.path(), vec![Stage::Attribution], shard);
            for name in names {
                let job =
                    Job { stage: Stage::Attribution, name, inputs: json!(name), files: &[], ready: true };
                jobs.run(&job, |_| Ok(0u8)).unwrap();
            }
            jobs.states().iter().filter(|job| !job.done).map(|job| job.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(work(Some(Shard { index: 0, count: 2 })), ["attribution/b"]);
        assert_eq!(work(Some(Shard { index: 1, count: 2 })), [""; 0]);
        assert_eq!(work(None), [""; 0]);
    }
}
