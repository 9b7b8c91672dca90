//! Stage `cases`: problems that a checkpoint solves and the base does not, the other way round, and how samples fail
//! (Thinking Sparks, section 5).

use bench_math::{Failure, Problem, Record, failures, measure};
use common::Error;
use serde_json::json;

use super::Subject;
use super::answers::{Benchmark, Found, LEVEL, SAMPLES};
use crate::jobs::Job;
use crate::results::{Case, CaseSample, Cases, FailureCount};
use crate::{Stage, Study};

/// Problems whose texts are kept, of the newly solved and of the newly missed.
const EXAMPLES: usize = 4;

/// The cases of `subject` against the base on `benchmark`, from the samples of the stage `answers`; `None` where they are
/// not done here.
pub(crate) fn cases(
    study: &mut Study<'_>,
    (base, subject): (&Subject, &Subject),
    benchmark: &Benchmark,
    found: [Option<&Found>; 2],
) -> Result<Option<Cases>, Error> {
    let name = format!("{}/{}", subject.label, benchmark.config.name);
    let inputs = json!({
        "benchmark": benchmark.inputs(), "models": [base.hash, subject.hash], "found": found, "kinds": Failure::ALL,
    });
    let ready = found.iter().all(Option::is_some);
    let job = Job { stage: Stage::Cases, name: &name, inputs, files: &[], ready };
    let dir = study.config.study.dir.join("stages").join(Stage::Answers.name());
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |_| {
        work.say(format!("cases: {} on {}", subject.label, benchmark.config.name));
        let records = |of: &Subject| {
            benchmark.records(of, &dir.join(&of.label).join(&benchmark.config.name).join(SAMPLES))
        };
        compare((base, subject), benchmark, (&records(base)?, &records(subject)?))
    })?;
    Ok(done.map(|done| done.result))
}

fn compare(
    (base, subject): (&Subject, &Subject),
    benchmark: &Benchmark,
    (before, after): (&[Record], &[Record]),
) -> Result<Cases, Error> {
    let [was, is] = [before, after].map(|records| records.iter().collect::<Vec<&Record>>());
    let changed = measure::compare(&was, &is, LEVEL)?;
    let gold = |id: &str| benchmark.problems.iter().find(|p| p.id == id);
    let ways = |record: &Record| gold(&record.id).map_or_else(Vec::new, |problem| failures(problem, record));
    let mains =
        [before, after].map(|records| records.iter().filter_map(|r| ways(r).first().copied()).collect());
    let [was, is]: [Vec<Failure>; 2] = mains;
    let count = |mains: &[Failure], kind| mains.iter().filter(|main| **main == kind).count();
    let rows =
        Failure::ALL.map(|kind| FailureCount { kind, before: count(&was, kind), after: count(&is, kind) });
    let sample = |records: &[Record], id: &str, right: bool| -> Option<CaseSample> {
        let record = records.iter().find(|r| r.id == id && r.verdict.correct == right)?;
        Some(CaseSample {
            text: record.completion.clone(),
            answer: record.answer.clone(),
            correct: record.verdict.correct,
            failures: ways(record),
        })
    };
    let case = |id: &String, newly_solved: bool| -> Option<Case> {
        let Problem { id, problem, answer, .. } = gold(id)?.clone();
        let (before, after) = (sample(before, &id, !newly_solved)?, sample(after, &id, newly_solved)?);
        Some(Case { id, problem, answer, newly_solved, before, after })
    };
    let solved = changed.newly_solved.iter().take(EXAMPLES).filter_map(|id| case(id, true));
    let missed = changed.newly_missed.iter().take(EXAMPLES).filter_map(|id| case(id, false));
    Ok(Cases {
        checkpoint: subject.label.clone(),
        against: base.label.clone(),
        benchmark: benchmark.config.name.clone(),
        mcnemar: changed.mcnemar,
        failures: rows.to_vec(),
        examples: solved.chain(missed).collect(),
        newly_solved: changed.newly_solved,
        newly_missed: changed.newly_missed,
    })
}
