//! Stage `pairs`: the pairs of each suite, from a file or from the openings of two checkpoints' answers.

use std::path::{Path, PathBuf};

use bench_math::{PromptSettings, suite};
use common::{Error, file_hash, write_whole};
use hooks::Pairs;
use model_qwen::{Checkpoint, Sampling};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tasks::{Built, Opening, openings, to_jsonl};

use super::Subject;
use crate::config::{OpeningsConfig, SuiteConfig};
use crate::jobs::Job;
use crate::results::{PairExample, PairsFacts, PairsSource};
use crate::study::Work;
use crate::{Stage, Study};

/// The pairs with the openings of the post-trained checkpoint as the clean side, and the other way round.
const FILES: [&str; 2] = ["pairs.jsonl", "reversed.jsonl"];

/// A suite with its pairs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) description: String,
    /// `None` where they are not made yet.
    pub(crate) pairs: Option<SuitePairs>,
}

/// The pairs files of a suite.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SuitePairs {
    path: PathBuf,
    hash: String,
    /// For the base, where its circuit is found on other pairs.
    base: Option<(PathBuf, String)>,
    facts: PairsFacts,
}

impl Suite {
    /// The pairs file of a checkpoint, and its hash.
    pub(crate) fn file(&self, is_base: bool) -> Option<(&Path, &str)> {
        let pairs = self.pairs.as_ref()?;
        let (path, hash) = match &pairs.base {
            Some(base) if is_base => base,
            _ => return Some((&pairs.path, &pairs.hash)),
        };
        Some((path, hash))
    }

    /// The pairs of `subject`.
    pub(crate) fn of(&self, subject: &Subject, is_base: bool) -> Result<Pairs, Error> {
        let (path, _) = self.file(is_base).ok_or_else(|| Error::internal("pairs that are not made"))?;
        subject.pairs(path)
    }

    /// For the results file.
    pub(crate) fn facts(&self) -> Option<PairsFacts> {
        self.pairs.as_ref().map(|pairs| pairs.facts.clone())
    }
}

/// What a job of openings finds.
#[derive(Serialize, Deserialize)]
struct Made {
    n: usize,
    longest: usize,
    dropped: std::collections::BTreeMap<String, usize>,
}

/// The suites of the study.
pub(crate) fn suites(study: &mut Study<'_>, subjects: &[Subject]) -> Result<Vec<Suite>, Error> {
    let all = study.config.suite.clone();
    all.iter().map(|config| one(study, config, subjects)).collect()
}

fn one(study: &mut Study<'_>, config: &SuiteConfig, subjects: &[Subject]) -> Result<Suite, Error> {
    let pairs = match (&config.pairs, &config.openings) {
        (Some(path), _) => {
            let read = subjects[0].pairs(path)?;
            let metric = &study.config.attribution.metric;
            read.iter()
                .try_for_each(|pair| metric.check_pair(pair))
                .map_err(|e| e.within(path.display()).within(format_args!("suite {}", config.name)))?;
            let longest = read.iter().map(|pair| pair.clean.len()).max().unwrap_or(0);
            let example = example(&subjects[0], &read)?;
            let facts = PairsFacts { n: read.len(), longest, source: PairsSource::File, example };
            Some(SuitePairs { path: path.clone(), hash: file_hash(path)?, base: None, facts })
        }
        (None, Some(how)) => made(study, config, how, subjects)?,
        (None, None) => return Err(Error::internal("a suite has pairs or openings")),
    };
    Ok(Suite { name: config.name.clone(), description: config.description.clone(), pairs })
}

/// The last checkpoint of this name, or of the training of this name.
pub(crate) fn named<'a>(subjects: &'a [Subject], name: &str) -> Result<&'a Subject, Error> {
    let found = subjects.iter().rev().find(|s| s.group == name || s.label == name);
    found.ok_or_else(|| Error::input(format!("no checkpoint `{name}`")))
}

fn made(
    study: &mut Study<'_>,
    config: &SuiteConfig,
    how: &OpeningsConfig,
    subjects: &[Subject],
) -> Result<Option<SuitePairs>, Error> {
    let post = named(subjects, &how.post)?;
    let base = match &how.base {
        Some(name) => named(subjects, name)?,
        None => &subjects[0],
    };
    let seed = study.config.study.seed;
    let mut problems = suite::load(&how.problems, &how.data, seed)?.list;
    problems.truncate(how.limit.unwrap_or(usize::MAX));
    let settings = json!({
        "lengths": how.lengths, "template": how.template, "system": how.system, "temperature": how.temperature,
    });
    let inputs = json!({
        "post": post.hash, "base": base.hash, "problems": problems, "settings": settings, "seed": seed,
    });
    let ready = post.ready && base.ready;
    let job = Job { stage: Stage::Pairs, name: &config.name, inputs, files: &FILES, ready };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |dir| {
        work.say(format!("pairs: {}, openings of {} and {}", config.name, post.label, base.label));
        let prompt = PromptSettings { system: how.system.clone(), ..how.template.into() };
        let questions: Vec<String> = problems.iter().map(|p| p.problem.clone()).collect();
        let ids = work.host.prompts(&post.dir, &prompt, &questions)?;
        let prompts: Vec<(String, Vec<u32>)> = problems.iter().map(|p| p.id.clone()).zip(ids).collect();
        let one = |work: &mut Work<'_>, subject: &Subject| opened(work, subject, &prompts, (how, seed));
        let (post_side, base_side) = (one(work, post)?, one(work, base)?);
        let built = openings(&post_side, &base_side, &how.lengths)?;
        let dropped = built.dropped.clone();
        let (n, longest) = (built.pairs.len(), built.pairs.iter().map(|p| p.clean.len()).max().unwrap_or(0));
        write(&dir.join(FILES[0]), built, post)?;
        write(&dir.join(FILES[1]), openings(&base_side, &post_side, &how.lengths)?, post)?;
        Ok(Made { n, longest, dropped })
    })?;
    let Some(done) = done else { return Ok(None) };
    let Made { n, longest, dropped } = done.result;
    let file = |name: &str| -> Result<(PathBuf, String), Error> {
        let path = done.dir.join(name);
        let hash = file_hash(&path)?;
        Ok((path, hash))
    };
    let (path, hash) = file(FILES[0])?;
    let reversed = how.reversed_for_base.then(|| file(FILES[1])).transpose()?;
    let source = PairsSource::Openings {
        post: post.label.clone(),
        base: base.label.clone(),
        lengths: how.lengths.clone(),
        reversed_for_base: how.reversed_for_base,
        dropped,
    };
    let example = example(post, &post.pairs(&path)?)?;
    Ok(Some(SuitePairs { path, hash, base: reversed, facts: PairsFacts { n, longest, source, example } }))
}

/// The first pair as text.
fn example(subject: &Subject, pairs: &Pairs) -> Result<Option<PairExample>, Error> {
    let Some((pair, text)) = pairs.iter().next().zip(subject.text()?) else { return Ok(None) };
    let first = |ids: &[u32]| ids.first().map(|&id| text.decode_all(&[id])).transpose();
    Ok(Some(PairExample {
        clean: text.decode_all(&pair.clean)?,
        corrupt: text.decode_all(&pair.corrupt)?,
        answer: first(&pair.target.answers)?.unwrap_or_default(),
        distractor: first(&pair.target.distractors)?,
    }))
}

/// The beginnings of a checkpoint's answers.
fn opened(
    work: &mut Work<'_>,
    subject: &Subject,
    prompts: &[(String, Vec<u32>)],
    (how, seed): (&OpeningsConfig, u64),
) -> Result<Vec<Opening>, Error> {
    let sampling = Sampling {
        max_tokens: how.lengths.iter().copied().max().unwrap_or(0) + 1,
        temperature: how.temperature,
        seed,
        stop_ids: Checkpoint::open(&subject.dir)?.stop_ids,
        ..Sampling::default()
    };
    Opening::of(work.model(subject)?, prompts, &sampling, 8)
}

/// Writes a pairs file, with the texts beside the token ids.
pub(crate) fn write(path: &Path, built: Built, subject: &Subject) -> Result<(), Error> {
    let pairs = built.checked()?;
    let text = Checkpoint::open(&subject.dir)?.text()?;
    write_whole(path, to_jsonl(&pairs, &|ids| text.decode(ids))?.as_bytes())
}
