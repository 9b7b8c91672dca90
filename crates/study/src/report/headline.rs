//! The answer at a glance: the main numbers in a table, and in a few paragraphs what changed, how sure that is, and
//! what would change it.

use maud::{Markup, html};

use super::repeated::{Same, same_in_every_seed};
use super::summary::{
    ALPHA, changed, elsewhere, emergent, gain, in_every_seed, is_main, listed, main_benchmark, redrawn,
    scores_tested,
};
use super::tables::wide;
use super::verdict::{ClaimVerdict, Finding};
use super::words::{between, count, metric, number, p_value, percent, points, range};
use super::{by_noise, kinds, seeds, signal};
use crate::results::{
    Accuracy, Action, CheckpointFacts, CircuitFacts, HeadChange, HeadSet, Intervention, Results,
    ThinkCondition, ThinkMode, ThinkStudy, Training,
};

/// The benchmarks, the main one first.
fn benchmarks(results: &Results) -> impl Iterator<Item = &Accuracy> {
    let others = results.base.accuracy.iter().filter(|before| !is_main(results, before));
    main_benchmark(results).into_iter().chain(others)
}

/// Accuracy and circuit of the base and of the end of each training.
pub(super) fn table(results: &Results) -> Markup {
    let base = results.base.label.as_str();
    let ends: Vec<(&Training, &CheckpointFacts)> =
        results.trainings.iter().filter_map(|run| Some((run, run.checkpoints.last()?))).collect();
    let columns: Vec<&str> =
        ["", base].into_iter().chain(ends.iter().map(|(run, _)| run.name.as_str())).collect();
    let share = |a: &Accuracy| {
        html! { (percent(a.interval.estimate)) small { (range(&a.interval, percent)) } }
    };
    html! {
        (wide("numbers glance", &columns, html! {
            @for before in benchmarks(results) {
                tr {
                    th scope="row" { "Accuracy on " (before.suite) }
                    td { (share(before)) }
                    @for (run, end) in &ends {
                        td {
                            @match end.accuracy(&before.suite) { Some(a) => (share(a)), None => "–" }
                            @let others = seeds::others(results, run, before);
                            @if !others.is_empty() {
                                small {
                                    "other seeds "
                                    (others.iter().map(|s| percent(s.after.estimate)).collect::<Vec<_>>().join(", "))
                                }
                            }
                        }
                    }
                }
            }
            @if let Some(circuit) = &results.base.circuit {
                @let name = first_upper(metric(&circuit.metric).0);
                tr {
                    th scope="row" { "Heads of the circuit" }
                    td { (circuit.heads.len()) }
                    @for (run, end) in &ends {
                        td {
                            @match &end.circuit { Some(c) => (c.heads.len()), None => "–" }
                            @if let Some(last) = run.changes.last() {
                                small { (last.gained.len()) " new" (emergent(last)) ", " (last.lost.len()) " lost" }
                            }
                        }
                    }
                }
                (single_rows(results))
                @let circuits: Vec<Option<&CircuitFacts>> =
                    std::iter::once(Some(circuit)).chain(ends.iter().map(|(_, end)| end.circuit.as_ref())).collect();
                tr {
                    th scope="row" { (name) ", clean and corrupt prompts" }
                    @for found in &circuits {
                        td { @match found { Some(c) => { (number(c.clean, 2)) " and " (number(c.corrupt, 2)) }, None => "–" } }
                    }
                }
                tr {
                    th scope="row" { "Faithfulness of the circuit" }
                    @for found in &circuits {
                        td { @match found { Some(c) => (faithfulness(results, c)), None => "–" } }
                    }
                }
            }
        }))
        @if let Some(of) = results.heads.first() {
            p class="facts" {
                "Seed " (results.run.seed) ", last checkpoints"
                @if let Some(of) = results.benchmarks.first() { ", answers at temperature " (of.temperature) }
                "; 95 % intervals over problems. Circuits: pairs " (of.suite) ", rule "
                (of.rule) "; random circuits have as many edges, between the same layers or at the same nodes; faithfulness 1 is that of the whole model."
            }
        }
    }
}

fn first_upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().collect::<String>() + chars.as_str())
}

/// The share that a circuit keeps, where there is a difference to keep, beside random ones.
pub(super) fn faithfulness(results: &Results, circuit: &CircuitFacts) -> Markup {
    html! {
        @if signal::narrow(results, circuit) {
            "–" small { "no difference to explain" }
        } @else {
            (number(circuit.faithfulness, 2))
            @if let Some(null) = signal::nearest(circuit) { small { "nearest random one " (number(null, 2)) } }
        }
    }
}

/// Question and answer, in a few sentences each.
pub(super) fn paragraphs(results: &Results, findings: &[Finding]) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("Accuracy.", accuracy(results)),
        ("Heads.", heads(results)),
        ("Single heads.", single_heads(results)),
        ("Thinking.", thinking(results)),
    ];
    all.push(("How sure.", certainty(results, findings)));
    all.push(("What would change this.", missing(results)));
    all.retain(|(_, text)| !text.is_empty());
    all
}

/// What each training gains and loses, in points.
fn accuracy(results: &Results) -> String {
    let one = |run: &Training| {
        let on = |before: &Accuracy| {
            let (_, change, _) = gain(results, run, before)?;
            let others = seeds::others(results, run, before);
            let again = others.iter().filter(|s| s.rises()).count();
            let mut notes = Vec::new();
            if is_main(results, before) && change.low > 0.0 {
                notes.extend(
                    kinds::alone(&kinds::changes(results, run, &before.suite))
                        .map(|k| format!("on kind {k}")),
                );
                if !others.is_empty() {
                    notes.push(format!("a rise in {again} of {} too", count(others.len(), "other seed")));
                }
            }
            let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
            Some(format!("{} points on {}{notes}", points(change.estimate), before.suite))
        };
        let all: Vec<String> = benchmarks(results).filter_map(on).collect();
        (!all.is_empty()).then(|| format!("{}: {}.", run.name, all.join(", ")))
    };
    results.trainings.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}

/// Whether new and lost heads can be told from the noise of the pairs.
fn heads(results: &Results) -> String {
    let ends: Vec<_> = results.trainings.iter().filter_map(|run| Some((run, run.changes.last()?))).collect();
    if ends.is_empty() {
        return String::new();
    }
    let mut out: Vec<String> = Vec::new();
    let differ = |(run, last): &(&Training, &HeadChange)| {
        format!("{} after {}", count(changed(last), "head"), run.name)
    };
    let pairs = results.heads.first().map_or("the pairs".into(), |s| format!("the pairs {}", s.suite));
    let each = ends.iter().map(differ).collect::<Vec<_>>().join(" and ");
    out.push(match &results.noise {
        None => format!("On {pairs} the circuit differs from the base’s by {each}."),
        Some(floor) => {
            let beyond: Vec<&str> = (ends.iter())
                .filter(|(run, last)| {
                    let study = results.heads.iter().find(|s| s.training == run.name);
                    changed(last) as f64 > study.map_or(floor.changed_heads, signal::floor).high
                })
                .map(|(run, _)| run.name.as_str())
                .collect();
            let told = match beyond.len() {
                0 => format!("On {pairs} no more heads differ than the choice of pairs makes"),
                n if n == ends.len() => format!("On {pairs} the circuit changed beyond the choice of pairs"),
                _ => format!("On {pairs} the circuit changed beyond the choice of pairs by {} alone", beyond.join(" and ")),
            };
            format!(
                "{told}: the circuit differs from the base’s by {each}, and circuits of {} itself, from resampled pairs, by {} to {} in 95 % of \
                 draws.",
                floor.checkpoint,
                number(floor.changed_heads.low, 0),
                number(floor.changed_heads.high, 0)
            )
        }
    });
    let noise = ends.iter().filter_map(|(run, last)| by_noise::difference(results, run, last));
    let noise: Vec<String> = noise.collect();
    if !noise.is_empty() {
        out.push(format!(
            "On the same pairs circuits under noise on the weights as large as the change differ by {}.",
            noise.join("; ")
        ));
    }
    out.extend(signal::weak_base(results));
    out.extend(elsewhere(results, None));
    out.join(" ")
}

/// Which heads are new and lost, how often draws of the pairs have them, and what noise of the same size does.
fn single_rows(results: &Results) -> Markup {
    let ends: Vec<_> = results.trainings.iter().filter_map(|run| Some((run, run.changes.last()?))).collect();
    let redrawn: Vec<_> = ends.iter().map(|(run, _)| redrawn(results, run)).collect();
    let tested: Vec<_> = ends.iter().map(|(run, _)| scores_tested(results, run)).collect();
    let noise: Vec<_> = ends.iter().map(|(run, _)| by_noise::made(results, run)).collect();
    let of = tested.iter().flatten().map(|&(_, n)| n).max().unwrap_or(0);
    html! {
        @if redrawn.iter().any(Option::is_some) {
            tr {
                th scope="row" { "New heads" small { "and the share of draws of the pairs whose circuits have them: the base’s, the last checkpoint’s" } }
                td { "–" }
                @for ((run, last), sets) in ends.iter().zip(&redrawn) {
                    td {
                        (lines(sets.as_ref().map(|sets| &sets.0)))
                        @if let Some(note) = emergent_ones(results, run, last) { small { (note) } }
                    }
                }
            }
            tr {
                th scope="row" { "Lost heads" small { "the same" } }
                td { "–" }
                @for sets in &redrawn { td { (lines(sets.as_ref().map(|sets| &sets.1))) } }
            }
        }
        @if of > 0 {
            tr {
                th scope="row" { "Heads whose share of scores changed, of " (of) }
                td { "–" }
                @for ((run, _), found) in ends.iter().zip(&tested) {
                    td {
                        @match found {
                            Some((found, n)) => {
                                (found)
                                @if let Some((mean, what)) = by_noise::changed(results, run, *n) {
                                    small { "by " (what) ": " (number(mean, 1)) }
                                }
                            },
                            None => "–",
                        }
                    }
                }
            }
        }
        @if noise.iter().any(Option::is_some) {
            tr {
                th scope="row" { "New heads by noise as large as the change" }
                td { "–" }
                @for made in &noise { td { @match made { Some(made) => (made.cell()), None => "–" } } }
            }
        }
    }
}

/// Heads, each on a line of its own; of many their number.
fn lines(heads: Option<&Vec<String>>) -> Markup {
    html! {
        @match heads {
            None => "–",
            Some(heads) if heads.is_empty() || heads.len() > 8 => (listed(heads)),
            Some(heads) => { @for head in heads { span class="line" { (head) } } },
        }
    }
}

/// `emergent: all; emergent in all of 3 seeds: none`.
fn emergent_ones(results: &Results, run: &Training, last: &HeadChange) -> Option<String> {
    let heads = last.emergent.as_ref().filter(|heads| !heads.is_empty())?;
    let all: Vec<String> = heads.iter().map(ToString::to_string).collect();
    let all = if heads.len() == last.gained.len() { "all".into() } else { all.join(", ") };
    let seeds = in_every_seed(results, run).map_or(String::new(), |(same, seeds)| {
        let same = if same == 0 { "none".to_owned() } else { same.to_string() };
        format!("; emergent in all of {}: {same}", count(seeds, "seed"))
    });
    Some(format!("emergent: {all}{seeds}"))
}

/// What noise and other seeds say of the heads that are named in the table.
fn single_heads(results: &Results) -> String {
    let ends = results.trainings.iter().filter_map(|run| Some((run, run.changes.last()?)));
    let mut out: Vec<String> = ends.filter_map(|(run, last)| by_noise::verdict(results, run, last)).collect();
    out.extend(always(results));
    out.join(" ")
}

/// Heads that are new, or lost, in every seed, with how many chance alone would make so.
fn always(results: &Results) -> Option<String> {
    let runs = results.trainings.iter().filter_map(|run| {
        let same = same_in_every_seed(results, run)?;
        // What chance alone gives as a rule is no news.
        let one = |(name, same): (&str, &Same)| {
            let all: Vec<String> = same.heads.iter().map(ToString::to_string).collect();
            let noise = by_noise::loses(results, run, &same.heads).filter(|_| name == "lost").map_or(
                String::new(),
                |(n, trials)| {
                    format!(
                        "; noise as large as {}’s change loses all of them in {n} of {}",
                        run.name,
                        count(trials, "trial")
                    )
                },
            );
            (!all.is_empty() && same.p <= ALPHA).then(|| {
                format!(
                    "{name} {} ({} expected by chance in the same layers, {}{noise})",
                    all.join(", "),
                    number(same.expected, 2),
                    p_value(same.p)
                )
            })
        };
        let all: Vec<String> =
            [("new", &same.new), ("lost", &same.lost)].into_iter().filter_map(one).collect();
        (!all.is_empty()).then(|| format!("{}: {}", run.name, all.join("; ")))
    });
    let all: Vec<String> = runs.collect();
    (!all.is_empty()).then(|| format!("In every seed, and beyond chance: {}.", all.join(". ")))
}

/// The share of a study's completions with thinking off that think all the same, where it is most of them.
pub(crate) fn think_anyway(study: &ThinkStudy) -> Option<f64> {
    study.plain(&study.benchmark, ThinkMode::Off)?.thinks.filter(|&share| share > 0.5)
}

/// What a checkpoint does where it is asked to think and where it is asked not to.
fn thinking(results: &Results) -> String {
    let one = |study: &ThinkStudy| {
        let both = |on: &ThinkCondition| {
            let off = study.plain(&on.benchmark, ThinkMode::Off)?;
            let [on_right, off_right] = [on, off].map(|c| between(&c.measures.pass_at_1, percent));
            let anyway = off.thinks.filter(|&share| share > 0.0).map_or(String::new(), |share| {
                format!(" (with it off {} of the completions think all the same)", percent(share))
            });
            Some(format!("{on_right} and {off_right} right on {}{anyway}", on.benchmark))
        };
        let on = study.conditions.iter().filter(|c| c.mode == ThinkMode::On && c.action.is_none());
        let all: Vec<String> = on.filter_map(both).collect();
        let anyway = think_anyway(study).map_or(String::new(), |_| {
            format!(" So on {} off is an unusual beginning, not a model without thinking.", study.benchmark)
        });
        (!all.is_empty()).then(|| {
            format!("{}, asked anew with thinking on and off: {}.{anyway}", study.checkpoint, all.join(", "))
        })
    };
    results.think.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}

/// How many of the findings hold, and what the intervals are over.
fn certainty(results: &Results, findings: &[Finding]) -> String {
    let of = |verdict| findings.iter().filter(|f| f.verdict == verdict).count();
    let (holds, fails) = (of(ClaimVerdict::Holds), of(ClaimVerdict::Fails));
    let seeds = results.stability.as_ref().map_or(1, |found| found.runs.len());
    format!(
        "Of the {} below {} against {}, {} not hold, and {} cannot be settled by these data. Intervals are over problems and pairs; \
         trainings were run with {}.",
        count(findings.len(), "finding"),
        if holds == 1 { "1 holds".to_owned() } else { format!("{holds} hold") },
        if holds == 1 { "its control" } else { "their controls" },
        if fails == 1 { "1 does".to_owned() } else { format!("{fails} do") },
        findings.len() - holds - fails,
        count(seeds, "seed")
    )
}

/// Seeds below which more of them are asked for.
const SEEDS: usize = 5;
/// Circular shifts below which no correlation can have p = 0.05.
const SHIFTS: usize = 20;

/// The data that would settle what these leave open.
fn missing(results: &Results) -> String {
    let mut out: Vec<String> = Vec::new();
    let seeds = results.stability.as_ref().map_or(1, |found| found.runs.len());
    if seeds < SEEDS && !results.trainings.is_empty() {
        out.push(format!("more than {}", count(seeds, "seed")));
    }
    if signal::weak_base(results).is_some() {
        out.push(
            "pairs that ask for what was learned, on which the base has a circuit to compare with".into(),
        );
    }
    out.extend(sharper(results));
    let shifts = results.heads.iter().filter_map(|s| Some(s.changes.len()).filter(|_| s.dynamics.is_some()));
    if let Some(few) = shifts.min().filter(|&n| n < SHIFTS) {
        out.push(format!(
            "more than {SHIFTS} checkpoints a training instead of {few}, for turnover against reward (p = 0.05 before correction)"
        ));
    }
    if out.is_empty() { String::new() } else { format!("In order of weight: {}.", out.join("; ")) }
}

/// What would tell heads that are needed from others: more random sets where no set does as much harm, and where sets of
/// random heads take most of the accuracy too, a milder change.
fn sharper(results: &Results) -> Vec<String> {
    let zeroed = |i: &&Intervention| {
        i.action == Action::Zero
            && matches!(i.set, HeadSet::Emergent | HeadSet::New | HeadSet::Lost)
            && !i.random.is_empty()
    };
    let rows: Vec<&Intervention> = results.interventions.iter().filter(zeroed).collect();
    let alone = |row: &&&Intervention| row.random.iter().all(|d| d.accuracy.estimate > row.accuracy.estimate);
    let claims = results.hypotheses.iter().filter(|h| h.effect.is_some()).count();
    let untested = results.hypotheses.iter().any(|h| h.effect.is_some() && h.p_value.is_none());
    let mut out = Vec::new();
    if untested && rows.iter().any(|row| alone(&row)) {
        out.push(format!("{} random sets of heads for each claim that heads are needed", 20 * claims - 1));
    }
    let coarse = rows.iter().filter(|row| crate::report::too_coarse(row)).count();
    if coarse > 0 {
        out.push(format!(
            "a milder change of heads than zeroing all of a set: in {coarse} of {} comparisons as many random heads take most of \
             the accuracy too",
            rows.len()
        ));
    }
    out
}
