//! The findings: each a claim, its evidence and a verdict that can go either way. Every sentence is computed from
//! the results.

use circuits::Fate;
use hooks::Head;
use stats::{Interval, wilson};

use super::repeated::{CHANCE, Same, chance, same_in_every_seed};
use super::verdict::{ClaimVerdict, Finding, Part, difference};
use super::words::{count, number, p_value, percent, points, range, rate};
use super::{ablated, by_noise, kinds, moved, seeds, signal};
use crate::results::{
    Accuracy, HeadChange, HeadStudy, Results, SeedRun, SeedTraining, Training, TrainingMethod,
};

/// Significance level of the tests.
pub(super) const ALPHA: f64 = 0.05;

/// The smallest loss of accuracy that matters.
pub(super) const MATTERS: f64 = 0.05;

/// The findings of a study, most important first.
pub fn findings(results: &Results) -> Vec<Finding> {
    let runs = || results.trainings.iter();
    let (main, others): (Vec<&Accuracy>, Vec<_>) =
        results.base.accuracy.iter().partition(|before| is_main(results, before));
    let measured = main.into_iter().chain(others);
    let mut all: Vec<Finding> =
        measured.flat_map(|before| runs().filter_map(move |run| accuracy(results, run, before))).collect();
    all.extend(runs().filter_map(|run| emergence(results, run)));
    all.extend(runs().filter_map(|run| repeated(results, run)));
    all.extend(retention(results));
    all.extend(ablated::findings(results));
    all.extend(moved::findings(results));
    all.extend(signal::faithful(results));
    all
}

/// The study's first benchmark.
pub(super) fn main_benchmark(results: &Results) -> Option<&Accuracy> {
    results.task.suites.iter().find_map(|suite| results.base.accuracy(&suite.name))
}

/// Whether it is of the study's first benchmark.
pub(super) fn is_main(results: &Results, accuracy: &Accuracy) -> bool {
    main_benchmark(results).is_some_and(|main| main.suite == accuracy.suite)
}

/// Heads that are in one of the two circuits only.
pub(super) fn changed(change: &HeadChange) -> usize {
    change.gained.len() + change.lost.len()
}

/// `100 problems × 4 samples`, or the problems alone where it is one sample or nobody said.
fn judged(results: &Results, benchmark: &str, n: usize) -> String {
    let samples = results.benchmarks.iter().find(|b| b.name == benchmark).map_or(1, |b| b.samples);
    problems(n, samples)
}

pub(crate) fn problems(n: usize, samples: usize) -> String {
    let each = if samples > 1 { format!(" × {samples} samples") } else { String::new() };
    count(n, "problem") + &each
}

/// How many of the new heads are emergent, in parentheses; nothing where they were not tested.
pub(super) fn emergent(change: &HeadChange) -> String {
    change.emergent.as_ref().map_or(String::new(), |heads| format!(" ({} emergent)", heads.len()))
}

/// The accuracy at the end of a run, the change from `before`, and whether it is paired by problem.
pub(super) fn gain<'a>(
    results: &Results,
    run: &'a Training,
    before: &Accuracy,
) -> Option<(&'a Accuracy, Interval, &'static str)> {
    let last = run.checkpoints.last()?;
    let after = last.accuracy(&before.suite)?;
    let answers = results.answers.iter().find(|a| a.checkpoint == last.label && a.benchmark == before.suite);
    let paired = answers.and_then(|a| a.gain).or(run.gain.filter(|_| is_main(results, before)));
    Some(match paired {
        Some(gain) => (after, gain, "paired by problem"),
        None => (after, difference(&before.interval, &after.interval), "unpaired"),
    })
}

/// What a run gained or lost on one benchmark: on the main one the claim is a gain, on the others a loss.
fn accuracy(results: &Results, run: &Training, before: &Accuracy) -> Option<Finding> {
    let (after, gain, how) = gain(results, run, before)?;
    let main = is_main(results, before);
    let seeds = seeds::others(results, run, before);
    let again = seeds.iter().filter(|s| s.rises()).count();
    let verdict = match () {
        () if main && gain.low > 0.0 && again == seeds.len() => ClaimVerdict::Holds,
        () if main && gain.high < 0.0 => ClaimVerdict::Fails,
        () if !main && gain.high < 0.0 => ClaimVerdict::Holds,
        // None, or none that matters.
        () if !main && gain.low >= -MATTERS => ClaimVerdict::Fails,
        () => ClaimVerdict::Open,
    };
    let thinks = after.worked.zip(before.worked).filter(|_| main).map_or(String::new(), |(after, before)| {
        format!(
            " It thinks before it answers in {} of its completions; the base does in {}.",
            percent(after),
            percent(before)
        )
    });
    let changes = kinds::changes(results, run, &before.suite);
    let alone = kinds::alone(&changes).filter(|_| main && verdict == ClaimVerdict::Holds);
    let missing = match seeds.len() - again {
        1 => "1 does".to_owned(),
        n => format!("{n} do"),
    };
    let once = match verdict {
        ClaimVerdict::Open if main && gain.low > 0.0 => {
            format!(" It rises in this seed; of {} {missing} not show it.", count(seeds.len(), "other seed"))
        }
        _ => String::new(),
    };
    Some(Finding {
        part: Part::Accuracy,
        claim: match main {
            true => format!(
                "{} raises accuracy on {}{}",
                run.name,
                before.suite,
                alone.map_or(String::new(), |kinds| format!(": on kind {kinds}"))
            ),
            false => format!("{} costs accuracy on {}", run.name, before.suite),
        },
        evidence: format!(
            "Accuracy {} after {}, {} before ({}): a change of {} points, 95 % interval {} ({how}).{}{}{once}{thinks}",
            percent(after.interval.estimate),
            run.name,
            percent(before.interval.estimate),
            judged(results, &before.suite, after.n),
            points(gain.estimate),
            range(&gain, points),
            kinds::sentence(&changes),
            seeds::sentence(&seeds),
        ),
        short: String::new(),
        rows: Vec::new(),
        verdict,
    })
}

fn emergence(results: &Results, run: &Training) -> Option<Finding> {
    let last = run.changes.last()?;
    let changed = changed(last);
    let evidence = format!(
        "The last circuit{} has {}{}, lacks {} of the base’s, and keeps {}.{}",
        results.heads.first().map_or(String::new(), |s| format!(" (pairs {}, rule {})", s.suite, s.rule)),
        count(last.gained.len(), "new head"),
        emergent(last),
        last.lost.len(),
        last.kept.len(),
        redrawn(results, run).map_or(String::new(), |(new, lost)| format!(
            " Of circuits from other draws of the pairs these shares of the base’s and of the last checkpoint’s have a head: new {}; \
             lost {}.",
            listed(&new),
            listed(&lost)
        ))
    );
    let study = results.heads.iter().find(|s| s.training == run.name).filter(|_| results.noise.is_some());
    let (control, within) = match study.map(signal::floor) {
        None => (
            " No noise floor was measured.".to_owned(),
            if changed == 0 { ClaimVerdict::Fails } else { ClaimVerdict::Open },
        ),
        Some(range) => {
            let verdict = match () {
                () if changed == 0 => ClaimVerdict::Fails,
                () if changed as f64 > range.high => ClaimVerdict::Holds,
                () => ClaimVerdict::Open,
            };
            let others = elsewhere(results, Some(run)).map_or(String::new(), |text| format!(" {text}"));
            let reading = match verdict {
                ClaimVerdict::Holds => "beyond the noise floor",
                ClaimVerdict::Fails => "none, beside a noise floor",
                ClaimVerdict::Open => "within the noise floor",
            };
            let control = format!(
                " The difference of {} is {reading} of {} to {}, the wider of the base’s and the last circuit’s, which decides the \
                 verdict: the pairs are a sample.",
                count(changed, "head"),
                number(range.low, 0),
                number(range.high, 0)
            );
            (control + &turned(results, run) + &scores_changed(results, run, last) + &others, verdict)
        }
    };
    let verdict = match within {
        ClaimVerdict::Holds if signal::weak_base(results).is_some() => ClaimVerdict::Open,
        verdict => verdict,
    };
    Some(Finding {
        part: Part::Heads,
        claim: format!("{} changed which heads the circuit uses", run.name),
        evidence: evidence
            + &control
            + &by_noise::beside(results, run, last)
            + &by_noise::new(results, run, last)
            + &by_noise::lost(results, run, last),
        short: String::new(),
        rows: Vec::new(),
        verdict,
    })
}

/// The new and the lost heads at a run's last checkpoint with the shares of draws of the pairs whose circuits have each, the
/// base's and the checkpoint's: `L0H0 (100 %, 0 %)`.
pub(super) fn redrawn(results: &Results, run: &Training) -> Option<(Vec<String>, Vec<String>)> {
    let tests = &results.heads.iter().find(|s| s.training == run.name)?.checkpoints.last()?.tests;
    let of = |fates: &[Fate]| -> Vec<String> {
        let all = tests.iter().filter(|t| fates.contains(&t.fate));
        all.map(|t| format!("{} ({}, {})", t.head, percent(t.base_frequency), percent(t.frequency))).collect()
    };
    let (new, lost) = (of(&[Fate::New, Fate::Emergent]), of(&[Fate::Lost]));
    (!tests.is_empty() && new.len() + lost.len() > 0).then_some((new, lost))
}

/// A few by name, of many their number.
pub(super) fn listed(heads: &[String]) -> String {
    match heads.len() {
        0 => "none".into(),
        n if n > 8 => count(n, "head"),
        _ => heads.join(", "),
    }
}

/// What the test of scores says of the new and the lost heads: it is another question than which heads a cut lets in.
fn scores_changed(results: &Results, run: &Training, last: &HeadChange) -> String {
    let Some(emergent) = last.emergent.as_ref().filter(|_| changed(last) > 0) else { return String::new() };
    let lost = lost_and_found(results, run).map_or(String::new(), |found| {
        format!(" and {} of the {}", found.len(), count(last.lost.len(), "lost head"))
    });
    let all = match scores_tested(results, run) {
        None => String::new(),
        Some((found, n)) => {
            let beside = by_noise::changed(results, run, n).map_or(String::new(), |(mean, what)| {
                format!(", and {} on average where {what} moved the weights", number(mean, 1))
            });
            format!(" Of all {n} heads it finds {found} changed{}.", beside)
        }
    };
    format!(
        " Another test, at a false-discovery rate of {}, asks whether a head’s share of all edges’ scores changed: it finds {} of the \
         {}{}{lost}.{all}",
        results.false_discovery_rate.map_or_else(|| "the study’s level".to_owned(), rate),
        emergent.len(),
        count(last.gained.len(), "new head"),
        if emergent.is_empty() { "" } else { " (the emergent ones)" }
    )
}

/// Heads of which a run's last checkpoint has a change of scores found, of all.
pub(super) fn scores_tested(results: &Results, run: &Training) -> Option<(usize, usize)> {
    let tests = &results.heads.iter().find(|s| s.training == run.name)?.checkpoints.last()?.tests;
    (!tests.is_empty()).then(|| (tests.iter().filter(|t| t.found).count(), tests.len()))
}

/// The emergent heads of a run that are emergent in every seed, and the number of seeds, where there are several.
pub(super) fn in_every_seed(results: &Results, run: &Training) -> Option<(usize, usize)> {
    let heads = run.changes.last()?.emergent.as_ref()?;
    let seeds = &results.stability.as_ref().filter(|found| found.runs.len() > 1)?.runs;
    let ends: Vec<_> = seeds.iter().filter_map(|s| s.trainings.iter().find(|t| t.name == run.name)).collect();
    let always = |head: &&Head| ends.iter().all(|t| t.emergent.contains(head));
    Some((heads.iter().filter(always).count(), ends.len()))
}

/// Checkpoints whose turnover is beyond the noise floors of both ends.
fn turned(results: &Results, run: &Training) -> String {
    let Some(study) = results.heads.iter().find(|s| s.training == run.name) else { return String::new() };
    let floors = std::iter::once(&study.base_noise).chain(study.checkpoints.iter().map(|c| &c.noise));
    let beyond: Vec<String> = (study.changes.iter().zip(&study.checkpoints).zip(floors))
        .filter(|((change, at), before)| change.turnover > at.noise.turnover.high.max(before.turnover.high))
        .map(|((change, at), _)| format!("{} ({})", at.label, percent(change.turnover)))
        .collect();
    match beyond.is_empty() {
        true => String::new(),
        false => format!(
            " From checkpoint to checkpoint turnover is beyond the noise floors of both at {}.",
            beyond.join(", ")
        ),
    }
}

/// Other pairs, on which the base has a circuit, of one training or of all: what goes beyond the noise floor there.
pub(super) fn elsewhere(results: &Results, run: Option<&Training>) -> Option<String> {
    let first = results.heads.first()?;
    let strong: Vec<&HeadStudy> = (results.heads.iter())
        .filter(|s| s.suite != first.suite && run.is_none_or(|run| run.name == s.training))
        .filter(|s| signal::strong_base(results, s))
        .collect();
    let mut suites: Vec<&str> = Vec::new();
    strong.iter().for_each(|s| {
        if !suites.contains(&s.suite.as_str()) {
            suites.push(&s.suite)
        }
    });
    let one = |study: &&HeadStudy| {
        let (last, floor) = (study.changes.last()?, signal::floor(study));
        (changed(last) as f64 > floor.high).then(|| {
            format!(
                "{} on {} by {} ({}, floor {} to {})",
                study.training,
                study.suite,
                study.rule,
                count(changed(last), "head"),
                number(floor.low, 0),
                number(floor.high, 0)
            )
        })
    };
    let beyond: Vec<String> = strong.iter().filter_map(one).collect();
    (!strong.is_empty()).then(|| {
        format!(
            "On {}, where the base has a circuit, {} of {} (pairs, rules{}; not corrected for so many looks) differ by more than the \
             wider noise floor of both circuits{}{}.",
            suites.join(" and "),
            beyond.len(),
            count(strong.len(), "last circuit"),
            if run.is_none() { ", trainings" } else { "" },
            if beyond.is_empty() { "" } else { ": " },
            beyond.join(", ")
        )
    })
}

/// The lost heads at a run's last checkpoint of which a change of scores is found; nothing where none was tested.
pub(super) fn lost_and_found(results: &Results, run: &Training) -> Option<Vec<Head>> {
    let study = results.heads.iter().find(|study| study.training == run.name)?;
    let tests = &study.checkpoints.last()?.tests;
    let lost = tests.iter().filter(|t| t.fate == Fate::Lost && t.found).map(|t| t.head);
    (!tests.is_empty()).then(|| lost.collect())
}

/// Whether other seeds find the emergent heads of a run as well.
fn repeated(results: &Results, run: &Training) -> Option<Finding> {
    let heads = run.changes.last()?.emergent.as_ref().filter(|heads| !heads.is_empty())?;
    let stability = results.stability.as_ref().filter(|found| found.runs.len() > 1)?;
    let ends: Vec<(&SeedRun, &SeedTraining)> = (stability.runs.iter())
        .filter_map(|s| Some((s, s.trainings.iter().find(|t| t.name == run.name)?)))
        .collect();
    let others: Vec<&(&SeedRun, &SeedTraining)> =
        ends.iter().filter(|(run, _)| run.seed != results.run.seed).collect();
    let one = |(other, t): &&(&SeedRun, &SeedTraining)| {
        let same: Vec<Head> = heads.iter().filter(|head| t.emergent.contains(head)).copied().collect();
        let expected: f64 = heads.iter().map(|&head| chance(results, other, &t.emergent, head)).sum();
        let had = heads.iter().filter(|head| other.base_heads.contains(head)).count();
        let had = match had {
            0 => String::new(),
            n => format!(", and its base’s circuit has {n} of them already"),
        };
        format!(
            "seed {} finds {} of the {}{} ({} expected{had})",
            other.seed,
            same.len(),
            heads.len(),
            kinds::few(&same),
            number(expected, 1)
        )
    };
    let again = |t: &SeedTraining| heads.iter().filter(|head| t.emergent.contains(head)).count();
    let same = same_in_every_seed(results, run);
    let each = |name: &str, found: Option<&Same>| {
        found.filter(|same| !same.heads.is_empty()).map_or(String::new(), |same| {
            format!(
                " {name} in every seed{} ({} expected, at least as many by chance with {}).",
                kinds::few(&same.heads),
                number(same.expected, 2),
                p_value(same.p)
            )
        })
    };
    Some(Finding {
        part: Part::Heads,
        short: String::new(),
        rows: Vec::new(),
        claim: format!("Other seeds of {} find the same emergent heads", run.name),
        evidence: format!(
            "Of the emergent heads {}.{}{} Expected {CHANCE}.{}",
            others.iter().map(one).collect::<Vec<_>>().join(", "),
            each("New", same.as_ref().map(|same| &same.new)),
            each("Lost", same.as_ref().map(|same| &same.lost)),
            stability.differ.as_ref().map_or(String::new(), |text| format!(" {text}"))
        ),
        verdict: match () {
            () if others.iter().all(|(_, t)| again(t) == heads.len()) => ClaimVerdict::Holds,
            () if others.iter().all(|(_, t)| again(t) == 0) => ClaimVerdict::Fails,
            () => ClaimVerdict::Open,
        },
    })
}

/// How many of a run's heads that were ever new are in its last circuit, of how many.
fn survivors(run: &Training) -> Option<(usize, usize)> {
    let last = run.changes.last()?;
    let ever: std::collections::BTreeSet<_> = run.changes.iter().flat_map(|c| c.gained.iter()).collect();
    Some((last.gained.len(), ever.len()))
}

fn retention(results: &Results) -> Option<Finding> {
    let of = |method| results.trainings.iter().find(|run: &&Training| run.method == Some(method));
    let (sft, grpo) = (of(TrainingMethod::Sft)?, of(TrainingMethod::Grpo)?);
    let ((a, n), (b, m)) = (survivors(sft)?, survivors(grpo)?);
    let d = difference(&wilson(b, m, 0.95), &wilson(a, n, 0.95));
    let verdict = match () {
        () if n == 0 || m == 0 => ClaimVerdict::Open,
        () if d.low > 0.0 => ClaimVerdict::Holds,
        () if d.high < 0.0 => ClaimVerdict::Fails,
        () => ClaimVerdict::Open,
    };
    let reading = match verdict {
        _ if n == 0 || m == 0 => " One of them never had a new head, so there is nothing to compare.".into(),
        ClaimVerdict::Open => {
            format!(
                " The difference of the two shares is {} points, 95 % interval {}: too few heads to tell.",
                points(d.estimate),
                range(&d, points)
            )
        }
        _ => format!(" The difference of the two shares has the 95 % interval {} points.", range(&d, points)),
    };
    Some(Finding {
        part: Part::Heads,
        short: String::new(),
        rows: Vec::new(),
        claim: "SFT accumulates heads, GRPO tries and prunes them".into(),
        evidence: format!(
            "Of {} ever new during {}, {a} {} in its last circuit; of {} during {}, {b}.{reading}",
            count(n, "head"),
            sft.name,
            if a == 1 { "is" } else { "are" },
            count(m, "head"),
            grpo.name
        ),
        verdict,
    })
}
