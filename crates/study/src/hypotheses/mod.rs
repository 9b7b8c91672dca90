//! Claims of the paper as hypotheses: each with its effect, interval, test, correction for the number of tests, the
//! smallest effect that the study could have seen, and a verdict. Definitions: `docs/METHODS.md`.

use std::collections::BTreeSet;

use hooks::Head;
use stats::{Interval, detectable, normal_p};

use self::verdict::{Claim, LEVEL, POWER, Tested, corrected};
use crate::report::{few, number, percent, points, problems, range, think_anyway};
use crate::results::{
    Action, HeadSet, HeadStudy, Hypothesis, Intervention, Level, Results, Training, TrainingMethod, Unit,
};
use crate::stages::DrawnHeads;

mod verdict;

/// Circuits of draws of the pairs: of the base, and of each checkpoint of each training, on the first suite and rule.
pub(crate) struct Drawn<'a> {
    pub(crate) base: &'a [DrawnHeads],
    pub(crate) trainings: Vec<(&'a str, Vec<&'a [DrawnHeads]>)>,
    /// For each study of thinking: heads without thinking less heads with it, draw by draw.
    pub(crate) think: Vec<Vec<f64>>,
}

/// The hypotheses that `results` speak to, corrected together.
pub(crate) fn hypotheses(results: &Results, drawn: &Drawn<'_>) -> Vec<Hypothesis> {
    let mut all: Vec<(Claim, Result<Tested, String>)> = Vec::new();
    let of = |method| results.trainings.iter().filter(move |t: &&Training| t.method == Some(method));
    for training in of(TrainingMethod::Sft) {
        all.push(accumulates(training, drawn));
    }
    for training in of(TrainingMethod::Grpo) {
        all.push(follows_reward(results, training));
    }
    for (sft, grpo) in of(TrainingMethod::Sft).flat_map(|s| of(TrainingMethod::Grpo).map(move |g| (s, g))) {
        all.push(fewer(sft, grpo, drawn));
        all.push(more_complex(sft, grpo, drawn));
    }
    for (think, differences) in results.think.iter().zip(&drawn.think) {
        let n = think.off.heads.len() as f64 - think.on.heads.len() as f64;
        let claim = Claim {
            id: format!("off-recruits-more-{}", think.checkpoint),
            claim: format!("Without thinking {} uses more heads than with it.", think.checkpoint),
            source: "Thinking Sparks, Figure 17 and Table 2",
            measure: format!(
                "heads of the circuit without thinking less heads of that with it (faithfulness {} and {})",
                number(think.off.faithfulness, 2),
                number(think.on.faithfulness, 2)
            ),
            unit: Unit::Heads,
            test: DRAWS,
            direction: 1.0,
            matters: share_of(think.on.heads.len()),
        };
        let tested = match think_anyway(think) {
            Some(share) => Err(format!(
                "Not tested: with thinking off {} of the completions on {} think all the same, so that the two circuits do not \
                 differ by thinking.",
                percent(share),
                think.benchmark
            )),
            None => of_draws(n, differences),
        };
        all.push((claim, tested));
    }
    for training in &results.trainings {
        all.extend(needed(results, training));
        all.extend(trade_off(results, training));
    }
    corrected(all)
}

const DRAWS: &str = "Draws of the pairs with replacement, the same for all checkpoints; two-sided share of draws on the other \
                     side of 0.";

/// A tenth of so many heads, and at least one.
fn share_of(heads: usize) -> f64 {
    (heads as f64 / 10.0).max(1.0)
}

/// The effect with the interval, p-value and minimum that draws of it give.
fn of_draws(estimate: f64, draws: &[f64]) -> Result<Tested, String> {
    let n = draws.len() as f64;
    if n < 20.0 {
        return Err("Not tested: there are fewer than 20 draws of the pairs.".into());
    }
    let side =
        |test: &dyn Fn(f64) -> bool| (draws.iter().filter(|&&x| test(x)).count() as f64 + 1.0) / (n + 1.0);
    let (_, sd) = spread(draws);
    let p_value = (2.0 * side(&|x| x <= 0.0).min(side(&|x| x >= 0.0))).min(1.0);
    Ok(Tested::new(Interval::percentile(estimate, draws, 0.95), p_value, detectable(sd, LEVEL, POWER)))
}

fn of_training<'a>(drawn: &Drawn<'a>, name: &str) -> Vec<&'a [DrawnHeads]> {
    drawn.trainings.iter().find(|(n, _)| *n == name).map_or_else(Vec::new, |(_, all)| all.clone())
}

/// New heads in draw `k` of a checkpoint.
fn new_heads(drawn: &Drawn<'_>, at: &[DrawnHeads], k: usize) -> Vec<(Head, usize)> {
    at[k].iter().filter(|(head, _)| !drawn.base[k].contains_key(head)).map(|(head, n)| (*head, *n)).collect()
}

fn accumulates(training: &Training, drawn: &Drawn<'_>) -> (Claim, Result<Tested, String>) {
    let name = &training.name;
    let claim = Claim {
        id: format!("accumulates-{name}"),
        claim: format!("SFT accumulates new heads ({name})."),
        source: "Thinking Sparks, Figures 2 and 6",
        measure: "new heads at the last checkpoint less new heads at the first".into(),
        unit: Unit::Heads,
        test: DRAWS,
        direction: 1.0,
        matters: share_of(training.changes.first().map_or(0, |c| c.kept.len() + c.lost.len())),
    };
    let all = of_training(drawn, name);
    let (Some(first), Some(last), true) = (training.changes.first(), training.changes.last(), all.len() > 1)
    else {
        return (claim, Err("Not tested: there are fewer than two checkpoints.".into()));
    };
    let count = |at: &[DrawnHeads], k| new_heads(drawn, at, k).len() as f64;
    let draws: Vec<f64> =
        (0..drawn.base.len()).map(|k| count(all[all.len() - 1], k) - count(all[0], k)).collect();
    let n = last.gained.len() as f64 - first.gained.len() as f64;
    (claim, of_draws(n, &draws))
}

/// The fewest checkpoints with which a circular shift can give the level.
const SHIFTS: usize = 20;

fn follows_reward(results: &Results, training: &Training) -> (Claim, Result<Tested, String>) {
    let name = &training.name;
    let claim = Claim {
        id: format!("follows-reward-{name}"),
        claim: format!("GRPO searches: heads come and go as reward changes ({name})."),
        source: "Thinking Sparks, Figures 3 and 7 to 9",
        measure: "rank correlation, at lag 0, of turnover less its noise floor with the size of the change of reward"
            .into(),
        unit: Unit::Correlation,
        test: "Circular shifts of one series against the other, which keep the autocorrelation of both.",
        direction: 1.0,
        matters: 0.5,
    };
    let study: Option<&HeadStudy> = results.heads.iter().find(|h| h.training == *name);
    let found = study.and_then(|h| h.dynamics.as_ref());
    let at = found.and_then(|d| d.lags.iter().find(|lag| lag.lag == 0).map(|lag| (d, lag)));
    let Some((dynamics, lag)) = at else {
        return (claim, Err("Not tested: there are too few checkpoints, or no reward.".into()));
    };
    if dynamics.shifts < SHIFTS {
        let n = dynamics.shifts;
        return (
            claim,
            Err(format!(
                "Could not be tested: r = {} over the {} checkpoints that have a change of reward. {n} circular shifts cannot \
                 give a p-value below {:.2}, whatever the effect; {SHIFTS} are needed for 0.05 before correction.",
                number(lag.coefficient, 2),
                lag.n,
                1.0 / n as f64
            )),
        );
    }
    // Fisher's transformation: its standard error is 1/√(n − 3).
    let (z, se) = (lag.coefficient.clamp(-0.999_999, 0.999_999).atanh(), 1.0 / (lag.n as f64 - 3.0).sqrt());
    let effect =
        Interval { estimate: lag.coefficient, low: (z - 1.96 * se).tanh(), high: (z + 1.96 * se).tanh() };
    (claim, Ok(Tested::new(effect, lag.p_value, detectable(se, LEVEL, POWER).tanh())))
}

fn fewer(sft: &Training, grpo: &Training, drawn: &Drawn<'_>) -> (Claim, Result<Tested, String>) {
    let claim = Claim {
        id: format!("fewer-{}-{}", grpo.name, sft.name),
        claim: format!("GRPO adds fewer heads than SFT ({} against {}).", grpo.name, sft.name),
        source: "Thinking Sparks, Figures 3 and 7 to 9",
        measure: "new heads at the last checkpoint of GRPO less those of SFT".into(),
        unit: Unit::Heads,
        test: DRAWS,
        direction: -1.0,
        matters: share_of(sft.changes.first().map_or(0, |c| c.kept.len() + c.lost.len())),
    };
    let (Some(a), Some(b)) = (grpo.changes.last(), sft.changes.last()) else {
        return (claim, Err("Not tested: there is no checkpoint.".into()));
    };
    let n = a.gained.len() as f64 - b.gained.len() as f64;
    let draws = between(sft, grpo, drawn, |a, b| Some(a.len() as f64 - b.len() as f64));
    (claim, of_draws(n, &draws))
}

fn more_complex(sft: &Training, grpo: &Training, drawn: &Drawn<'_>) -> (Claim, Result<Tested, String>) {
    let claim = Claim {
        id: format!("more-complex-{}-{}", grpo.name, sft.name),
        claim: format!("GRPO's new heads are more complex than SFT's ({} against {}).", grpo.name, sft.name),
        source: "Thinking Sparks, Table 3, Figures 16 and 18",
        measure: "mean number of circuit edges at a new head, GRPO less SFT, last checkpoints".into(),
        unit: Unit::EdgesPerHead,
        test: DRAWS,
        direction: 1.0,
        matters: 1.0,
    };
    let mean = |heads: &[(Head, usize)]| {
        (!heads.is_empty()).then(|| heads.iter().map(|(_, n)| *n as f64).sum::<f64>() / heads.len() as f64)
    };
    let draws = between(sft, grpo, drawn, |a, b| Some(mean(a)? - mean(b)?));
    let degree = |training: &Training| {
        let (new, circuit) =
            (&training.changes.last()?.gained, training.checkpoints.last()?.circuit.as_ref()?);
        let wanted: BTreeSet<Head> = new.iter().copied().collect();
        let ends = |edge: hooks::Edge| {
            let from = matches!(edge.from, hooks::Writer::Head(h) if wanted.contains(&h));
            let to = matches!(edge.to, hooks::Reader::Head(h, _) if wanted.contains(&h));
            usize::from(from) + usize::from(to)
        };
        let n: usize = circuit.edges.iter().map(|e| ends(e.edge)).sum();
        (!new.is_empty()).then(|| n as f64 / new.len() as f64)
    };
    let estimate = degree(grpo).zip(degree(sft)).map(|(a, b)| a - b);
    let tested = match estimate {
        Some(estimate) if 2 * draws.len() >= drawn.base.len() => of_draws(estimate, &draws),
        _ => Err("Not tested: one of the two has no new head, or none in half of the draws.".into()),
    };
    (claim, tested)
}

/// A number of the new heads of both last checkpoints, GRPO's first, in every draw that has it.
fn between(
    sft: &Training,
    grpo: &Training,
    drawn: &Drawn<'_>,
    number: impl Fn(&[(Head, usize)], &[(Head, usize)]) -> Option<f64>,
) -> Vec<f64> {
    let (a, b) = (of_training(drawn, &grpo.name), of_training(drawn, &sft.name));
    let (Some(a), Some(b)) = (a.last(), b.last()) else { return Vec::new() };
    let one = |k: usize| number(&new_heads(drawn, a, k), &new_heads(drawn, b, k));
    (0..drawn.base.len()).filter_map(one).collect()
}

/// The emergent heads of a training, or its new ones where none is emergent.
fn zeroed<'a>(results: &'a Results, training: &Training) -> Vec<&'a Intervention> {
    let last = training.checkpoints.last().map(|c| c.label.as_str()).unwrap_or_default();
    let of = |set: HeadSet| {
        let mine = results.interventions.iter().filter(move |i| i.training == training.name && i.set == set);
        mine.filter(|i| i.action == Action::Zero && i.checkpoint == last).collect::<Vec<_>>()
    };
    let emergent = of(HeadSet::Emergent);
    if emergent.is_empty() { of(HeadSet::New) } else { emergent }
}

/// Mean and standard deviation.
fn spread(draws: &[f64]) -> (f64, f64) {
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    (mean, (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

/// An estimate with the 95 % interval of a normal distribution.
fn normal(estimate: f64, se: f64) -> Interval {
    Interval { estimate, low: estimate - 1.96 * se, high: estimate + 1.96 * se }
}

fn standard_error(interval: &Interval) -> f64 {
    (interval.high - interval.low) / (2.0 * 1.96)
}

fn needed(results: &Results, training: &Training) -> Vec<(Claim, Result<Tested, String>)> {
    let rows = zeroed(results, training);
    let one = |row: &&Intervention| {
        let claim = Claim {
            id: format!("needed-{}-{}", training.name, row.suite),
            claim: format!("{} needs its {} heads on {}.", row.checkpoint, word(row.set), row.suite),
            source: "Thinking Sparks, Tables 1 and 4",
            measure: format!(
                "accuracy with them zeroed{} less accuracy with as many random heads of the same layers zeroed, {}; \
                 the interval has the spread of single random sets",
                few(&row.heads),
                problems(row.n, row.samples)
            ),
            unit: Unit::Accuracy,
            test: "Share of the random sets, the heads among them, that move accuracy at least as far from that with all \
                   heads.",
            direction: -1.0,
            matters: 0.05,
        };
        let draws: Vec<f64> = row.random.iter().map(|d| d.accuracy.estimate).collect();
        let (Some(difference), Some(p_value)) = (row.difference, row.p_value) else {
            return (
                claim,
                Err(format!("Not tested: {} random sets; 19 are needed for a p-value of 0.05.", draws.len())),
            );
        };
        let (mean, sd) = spread(&draws);
        let se = (standard_error(&difference).powi(2) + sd.powi(2)).sqrt();
        let effect = normal(row.accuracy.estimate - mean, se);
        let tested = Tested::new(effect, p_value, detectable(se, LEVEL, POWER));
        (claim, Ok(Tested { sets: Some(draws.len()), ..tested }))
    };
    rows.iter().map(one).collect()
}

fn word(set: HeadSet) -> &'static str {
    if set == HeadSet::Emergent { "emergent" } else { "new" }
}

/// Heads strengthened in the base: the change on the hard benchmark less that on the easy one.
fn trade_off(results: &Results, training: &Training) -> Vec<(Claim, Result<Tested, String>)> {
    let level = |name: &str| results.benchmarks.iter().find(|b| b.name == name).and_then(|b| b.level);
    let scaled = |i: &&Intervention| {
        i.training == training.name
            && i.checkpoint == results.base.label
            && matches!(i.action, Action::Scale { factor } if factor > 1.0)
    };
    let rows: Vec<&Intervention> = results.interventions.iter().filter(scaled).collect();
    let set = if rows.iter().any(|i| i.set == HeadSet::Emergent) { HeadSet::Emergent } else { HeadSet::New };
    let rows: Vec<&Intervention> = rows.into_iter().filter(|i| i.set == set).collect();
    let mut all = Vec::new();
    for hard in rows.iter().filter(|i| level(&i.suite) == Some(Level::Hard)) {
        let easy = rows.iter().find(|i| level(&i.suite) == Some(Level::Easy) && i.action == hard.action);
        let Some(easy) = easy else { continue };
        let Action::Scale { factor } = hard.action else { continue };
        let claim = Claim {
            id: format!("trade-off-{}-x{factor}", training.name),
            claim: format!(
                "The {} heads of {} strengthened (× {factor}) in the base help with {} and hurt with {}.",
                word(set),
                training.name,
                hard.suite,
                easy.suite
            ),
            source: "Thinking Sparks, section 5 (in words; at × 1.3 its Table 5 has AIME lower and MATH higher)",
            measure: match (hard.difference, easy.difference) {
                (Some(a), Some(b)) => format!(
                    "change of accuracy on {} ({} points {} from {}, {}) less that on {} ({} points {} from {}){}, beside no \
                     random heads",
                    hard.suite,
                    points(a.estimate),
                    range(&a, points),
                    percent(hard.untouched.estimate),
                    problems(hard.n, hard.samples),
                    easy.suite,
                    points(b.estimate),
                    range(&b, points),
                    percent(easy.untouched.estimate),
                    few(&hard.heads)
                ),
                _ => "change of accuracy on the hard problems less that on the easy ones".into(),
            },
            unit: Unit::Accuracy,
            test: "Normal approximation from the paired bootstraps of both benchmarks.",
            direction: 1.0,
            matters: 0.05,
        };
        let tested = match (hard.difference, easy.difference) {
            (Some(a), Some(b)) => {
                let se = (standard_error(&a).powi(2) + standard_error(&b).powi(2)).sqrt();
                let estimate = a.estimate - b.estimate;
                let effect = normal(estimate, se);
                if se > 0.0 {
                    let p_value = normal_p(estimate / se);
                    let tested = Tested::new(effect, p_value, detectable(se, LEVEL, POWER));
                    let against = match (a.estimate > 0.0, b.estimate < 0.0) {
                        (true, true) => None,
                        (false, true) => Some("the change on the hard problems"),
                        (true, false) => Some("the change on the easy problems"),
                        (false, false) => Some("neither of its parts"),
                    };
                    Ok(Tested { against, ..tested })
                } else {
                    Err("Not tested: no answer changed on either benchmark.".into())
                }
            }
            _ => Err("Not tested: one of the two was not measured.".into()),
        };
        all.push((claim, tested));
    }
    all
}
