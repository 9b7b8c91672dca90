//! The findings: each a claim, its evidence and a verdict that can go either way. Every sentence is computed from
//! the results.

use circuits::Fate;
use hooks::Head;
use stats::wilson;

use super::verdict::{ClaimVerdict, Finding, difference};
use super::words::{count, metric, number, p_value, percent, points, range, rate};
use super::{ablated, kinds, signal};
use crate::results::{
    Accuracy, HeadChange, HeadSet, Results, SeedTraining, Training, TrainingMethod, Transfer,
};

/// Significance level of the tests.
pub(super) const ALPHA: f64 = 0.05;

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
    let emergent = results.transfers.iter().filter(|t| t.set == HeadSet::Emergent);
    all.extend(emergent.map(|row| transferred(results, row)));
    all.extend(ablated::findings(results));
    all.extend(signal::faithful(results));
    all
}

/// The study's first benchmark.
fn main_benchmark(results: &Results) -> Option<&Accuracy> {
    results.task.suites.iter().find_map(|suite| results.base.accuracy(&suite.name))
}

/// Whether it is of the study's first benchmark.
fn is_main(results: &Results, accuracy: &Accuracy) -> bool {
    main_benchmark(results).is_some_and(|main| main.suite == accuracy.suite)
}

/// Accuracy before and after on the main benchmark and then on the others, with what other seeds reach, and which kinds
/// of problems alone rise.
fn accuracies(results: &Results) -> String {
    let main = main_benchmark(results);
    let others = results.base.accuracy.iter().filter(|before| !is_main(results, before));
    let one = |base: &Accuracy| {
        let mut out = format!("Accuracy on {}: base {}", base.suite, percent(base.interval.estimate));
        let mut narrow = String::new();
        for run in &results.trainings {
            let Some(after) = run.checkpoints.last().and_then(|c| c.accuracy(&base.suite)) else { continue };
            let seeds = kinds::other_seeds(results, run, &base.suite);
            let seeds = seeds.map_or(String::new(), |all| format!(" (other seeds {all})"));
            out += &format!(", after {} {}{seeds}", run.name, percent(after.interval.estimate));
            let changes = kinds::changes(results, run, &base.suite);
            let rises = after.interval.estimate > base.interval.estimate;
            if let Some(alone) = kinds::alone(&changes).filter(|_| rises) {
                narrow += &format!(" With {} it rises on problems of kind {alone}.", run.name);
            }
        }
        format!("{out}.{narrow}")
    };
    main.into_iter().chain(others).map(one).collect::<Vec<_>>().join(" ")
}

/// The main numbers in a few sentences.
pub(super) fn headline(results: &Results) -> String {
    let mut out = accuracies(results);
    let ends = results.trainings.iter().filter_map(|run| Some((run, run.changes.last()?)));
    for (i, (run, last)) in ends.enumerate() {
        let (gained, lost) = (last.gained.len(), last.lost.len());
        out += &match i {
            0 => format!(
                " The last circuit of {} has {}{} and lacks {lost} of the base’s",
                run.name,
                count(gained, "new head"),
                emergent(last)
            ),
            _ => format!("; that of {} has {gained} new{} and lacks {lost}", run.name, emergent(last)),
        };
    }
    if results.trainings.iter().any(|run| !run.changes.is_empty()) {
        out.push('.');
        if let Some(floor) = &results.noise {
            let last = || results.trainings.iter().filter_map(|run| Some((run, run.changes.last()?)));
            let any_emergent =
                last().any(|(_, c)| c.emergent.as_ref().is_some_and(|heads| !heads.is_empty()));
            let within: Vec<String> = last()
                .map(|(run, change)| (run, changed(change)))
                .filter(|&(_, n)| n > 0 && n as f64 <= floor.changed_heads.high)
                .map(|(run, n)| format!("{} ({n})", run.name))
                .collect();
            out += &format!(
                " Circuits of {} itself, from resampled pairs, differ by up to {} heads",
                floor.checkpoint,
                number(floor.changed_heads.high, 0)
            );
            out += &match within.is_empty() {
                true => ".".to_owned(),
                false => format!(
                    ", and {} by no more: which heads are new or lost there cannot be told from the choice of pairs.{}",
                    within.join(" and "),
                    if any_emergent { " Emergent heads passed a test of their own." } else { "" }
                ),
            };
        }
        out += &signal::weak_base(results).map_or(String::new(), |why| format!(" {why}"));
    }
    out
}

/// Heads that are in one of the two circuits only.
fn changed(change: &HeadChange) -> usize {
    change.gained.len() + change.lost.len()
}

/// `100 problems × 4 samples`, or the problems alone where it is one sample or nobody said.
fn judged(results: &Results, benchmark: &str, n: usize) -> String {
    let samples = results.benchmarks.iter().find(|b| b.name == benchmark).map_or(1, |b| b.samples);
    problems(n, samples)
}

pub(super) fn problems(n: usize, samples: usize) -> String {
    let each = if samples > 1 { format!(" × {samples} samples") } else { String::new() };
    count(n, "problem") + &each
}

/// How many of the new heads are emergent, in parentheses; nothing where they were not tested.
fn emergent(change: &HeadChange) -> String {
    change.emergent.as_ref().map_or(String::new(), |heads| format!(" ({} emergent)", heads.len()))
}

/// What a run gained or lost on one benchmark: on the main one the claim is a gain, on the others that nothing is lost.
fn accuracy(results: &Results, run: &Training, before: &Accuracy) -> Option<Finding> {
    let last = run.checkpoints.last()?;
    let after = last.accuracy(&before.suite)?;
    let main = is_main(results, before);
    let answers = results.answers.iter().find(|a| a.checkpoint == last.label && a.benchmark == before.suite);
    let paired = answers.and_then(|a| a.gain).or(run.gain.filter(|_| main));
    let (gain, how) = match paired {
        Some(gain) => (gain, "paired by problem"),
        None => (difference(&before.interval, &after.interval), "unpaired"),
    };
    let verdict = match () {
        () if gain.high < 0.0 => ClaimVerdict::Fails,
        () if main && gain.low > 0.0 => ClaimVerdict::Holds,
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
    let alone = kinds::alone(&changes).filter(|_| verdict == ClaimVerdict::Holds);
    let seeds = kinds::other_seeds(results, run, &before.suite);
    let seeds = seeds.map_or(String::new(), |all| format!(" Other seeds end at {all}."));
    Some(Finding {
        claim: match main {
            true => format!(
                "{} raises accuracy on {}{}",
                run.name,
                before.suite,
                alone.map_or(String::new(), |kinds| format!(": on kind {kinds}"))
            ),
            false => format!("{} loses no accuracy on {}", run.name, before.suite),
        },
        evidence: format!(
            "Accuracy {} after {}, {} before ({}): a change of {} points, 95 % interval {} ({how}).{}{seeds}{thinks}",
            percent(after.interval.estimate),
            run.name,
            percent(before.interval.estimate),
            judged(results, &before.suite, after.n),
            points(gain.estimate),
            range(&gain, points),
            kinds::sentence(&changes)
        ),
        verdict,
    })
}

fn emergence(results: &Results, run: &Training) -> Option<Finding> {
    let last = run.changes.last()?;
    let changed = changed(last);
    let weak = signal::weak_base(results);
    let evidence = format!(
        "The last circuit has {}{}, lacks {} of the base’s, and keeps {}.",
        count(last.gained.len(), "new head"),
        emergent(last),
        last.lost.len(),
        last.kept.len()
    );
    let (control, within) = match &results.noise {
        None => (
            " No noise floor was measured.".to_owned(),
            if changed == 0 { ClaimVerdict::Fails } else { ClaimVerdict::Open },
        ),
        Some(floor) => {
            let range = &floor.changed_heads;
            let verdict = match () {
                () if changed == 0 => ClaimVerdict::Fails,
                () if changed as f64 > range.high => ClaimVerdict::Holds,
                () => ClaimVerdict::Open,
            };
            let control = format!(
                " Circuits of one checkpoint ({}) from resampled pairs differ by {} heads on average, {} to {} in \
                 95 % of draws: the difference of {changed} is {}.",
                floor.checkpoint,
                number(range.estimate, 1),
                number(range.low, 0),
                number(range.high, 0),
                match verdict {
                    ClaimVerdict::Holds => "beyond that",
                    ClaimVerdict::Fails => "none",
                    ClaimVerdict::Open =>
                        "within that, so that neither new nor lost heads can be told from the choice of pairs",
                }
            ) + &scores_changed(results, run, last);
            (control, verdict)
        }
    };
    let verdict = match within {
        ClaimVerdict::Holds if weak.is_some() => ClaimVerdict::Open,
        verdict => verdict,
    };
    let noise = signal::lost_as_by_noise(results, last);
    let weak = weak.map_or(String::new(), |why| format!(" {why}"));
    Some(Finding {
        claim: format!("{} changed which heads the circuit uses", run.name),
        evidence: evidence + &control + &noise + &weak,
        verdict,
    })
}

/// What the test of scores says of the new and the lost heads: it is another question than which heads a cut lets in.
fn scores_changed(results: &Results, run: &Training, last: &HeadChange) -> String {
    let Some(emergent) = last.emergent.as_ref().filter(|_| changed(last) > 0) else { return String::new() };
    let lost = lost_and_found(results, run).map_or(String::new(), |found| {
        format!(" and in {} of the {}", found.len(), count(last.lost.len(), "lost head"))
    });
    format!(
        " Another test, at a false-discovery rate of {}, asks whether the scores of a head’s edges changed: it finds a change \
         in {} of the {} (the emergent ones){lost}.",
        results.false_discovery_rate.map_or_else(|| "the study’s level".to_owned(), rate),
        emergent.len(),
        count(last.gained.len(), "new head")
    )
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
    let seeds = &results.stability.as_ref().filter(|found| found.runs.len() > 1)?.runs;
    let ends: Vec<_> = seeds.iter().filter_map(|s| s.trainings.iter().find(|t| t.name == run.name)).collect();
    let one = |head: &Head| {
        let of = |sets: &dyn Fn(&SeedTraining) -> bool| ends.iter().filter(|t| sets(t)).count();
        (of(&|t| t.emergent.contains(head)), of(&|t| t.new.contains(head)))
    };
    let found: Vec<(usize, usize)> = heads.iter().map(one).collect();
    let always = found.iter().filter(|(emergent, _)| *emergent == ends.len()).count();
    let each: Vec<String> = heads
        .iter()
        .zip(&found)
        .map(|(head, (e, n))| format!("{head} emergent in {e} and new in {n}"))
        .collect();
    Some(Finding {
        claim: format!("Other seeds of {} find the same heads", run.name),
        evidence: format!(
            "Of {} seeds: {}. Intervals elsewhere are over problems and pairs, not over seeds.",
            ends.len(),
            each.join("; ")
        ),
        verdict: match () {
            () if always == heads.len() => ClaimVerdict::Holds,
            () if always == 0 => ClaimVerdict::Fails,
            () => ClaimVerdict::Open,
        },
    })
}

/// Whether activations of emergent heads, put into another checkpoint, take more of the difference along than random ones.
fn transferred(results: &Results, row: &Transfer) -> Finding {
    let changes = || row.random.iter().map(|draw| draw.change);
    let (least, most) =
        (changes().fold(f64::INFINITY, f64::min), changes().fold(f64::NEG_INFINITY, f64::max));
    let toward = (row.source - row.before).signum();
    let mine = row.change.estimate * toward;
    let n = row.random.len();
    let less = changes().filter(|change| change * toward < mine).count();
    let as_little = changes().filter(|change| change * toward <= mine).count();
    let two = |x: f64| if x > 0.0 { format!("+{}", number(x, 2)) } else { number(x, 2) };
    let (metric, unit) = metric(&row.metric);
    let test = row.p_value.map_or("; they are too few for a test".into(), |p| format!(" ({})", p_value(p)));
    let of = results
        .trainings
        .iter()
        .find(|run| run.checkpoints.iter().any(|c| c.label == row.from || c.label == row.into));
    Finding {
        claim: format!(
            "The emergent heads{} take the behaviour of {} into {} ({})",
            of.map_or(String::new(), |run| format!(" of {}", run.name)),
            row.from,
            row.into,
            row.suite
        ),
        evidence: format!(
            "Their activations{} in {} move the mean {metric} of {} by {} {unit}, 95 % interval {}, of the {} by which the two \
             checkpoints differ. {} of as many random heads of the same layers move it by {} to {}, {} less far in that \
             direction{test}.",
            kinds::few(&row.heads),
            row.from,
            row.into,
            two(row.change.estimate),
            range(&row.change, two),
            two(row.source - row.before),
            count(n, "draw"),
            two(least),
            two(most),
            match less {
                0 => "none of them".into(),
                _ if less == n => "all of them".into(),
                _ => format!("{less} of them"),
            }
        ),
        verdict: match () {
            () if row.p_value.is_some_and(|p| p <= ALPHA) && mine > 0.0 => ClaimVerdict::Holds,
            // The same share on the other side: random heads take more along.
            () if n >= 19 && (as_little + 1) as f64 / (n + 1) as f64 <= ALPHA => ClaimVerdict::Fails,
            () => ClaimVerdict::Open,
        },
    }
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
                " With so few heads the difference of the two shares could be anything in {} points.",
                range(&d, points)
            )
        }
        _ => format!(" The difference of the two shares has the 95 % interval {} points.", range(&d, points)),
    };
    Some(Finding {
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
