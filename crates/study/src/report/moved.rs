//! Findings from activations put into another checkpoint: whether a training's heads take its behaviour along.

use super::kinds::few;
use super::summary::ALPHA;
use super::verdict::{ClaimVerdict, Finding, Part};
use super::words::{count, metric, number, p_value, points, range};
use crate::results::{HeadSet, Results, Training, Transfer};

/// Random draws below which nothing is tested.
const DRAWS: usize = 19;

/// For each training its emergent heads, or its new ones where none is emergent, and those that left its circuit.
pub(super) fn findings(results: &Results) -> Vec<Finding> {
    let mut all = Vec::new();
    for run in &results.trainings {
        let mine = |set| -> Vec<&Transfer> {
            let of = |label: &str| run.checkpoints.iter().any(|c| c.label == label);
            results.transfers.iter().filter(|t| t.set == set && (of(&t.from) || of(&t.into))).collect()
        };
        let emergent = mine(HeadSet::Emergent);
        let new = if emergent.is_empty() { mine(HeadSet::New) } else { Vec::new() };
        for (name, rows) in [("emergent", emergent), ("new", new), ("lost", mine(HeadSet::Lost))] {
            all.extend((!rows.is_empty()).then(|| finding(run, name, &rows)));
        }
    }
    all
}

/// One-sided, toward the other checkpoint: the share of random sets, the heads among them, that move at least as far, and
/// that move at most as far. `None` with too few draws.
fn shares(row: &Transfer) -> Option<(f64, f64)> {
    let toward = (row.source - row.before).signum();
    let mine = row.change.estimate * toward;
    let n = row.random.len();
    let share = |test: &dyn Fn(f64) -> bool| {
        (row.random.iter().filter(|draw| test(draw.change * toward)).count() + 1) as f64 / (n + 1) as f64
    };
    (n >= DRAWS).then(|| (share(&|x| x >= mine), share(&|x| x <= mine)))
}

/// What the heads move toward the other checkpoint, beside as many random heads.
fn verdict(row: &Transfer) -> ClaimVerdict {
    match shares(row) {
        // Against the other checkpoint nothing is taken along, however far random heads go.
        Some((far, _)) if far <= ALPHA && row.change.estimate * (row.source - row.before) > 0.0 => {
            ClaimVerdict::Holds
        }
        Some((_, little)) if little <= ALPHA => ClaimVerdict::Fails,
        _ => ClaimVerdict::Open,
    }
}

fn finding(run: &Training, set: &str, rows: &[&Transfer]) -> Finding {
    let tested: Vec<ClaimVerdict> =
        rows.iter().filter(|row| shares(row).is_some()).map(|row| verdict(row)).collect();
    let of = |wanted| tested.iter().filter(|&&found| found == wanted).count();
    let (holds, fails) = (of(ClaimVerdict::Holds), of(ClaimVerdict::Fails));
    let untested = match rows.len() - tested.len() {
        0 => String::new(),
        n => format!(" {n} more could not be tested: there are too few sets of as many heads."),
    };
    let found = match tested.len() {
        0 => "None could be tested: there are too few sets of as many heads.".into(),
        n => format!(
            "In {holds} of {} they take more along than as many random heads of the same layers, in {fails} the random heads take \
             more.{untested}",
            count(n, "test")
        ),
    };
    let mut suites: Vec<&str> =
        rows.iter().filter(|r| shares(r).is_some()).map(|r| r.suite.as_str()).collect();
    suites.dedup();
    let on = match (suites.as_slice(), rows.iter().all(|r| shares(r).is_some())) {
        ([one], false) => format!(", on {one} alone"),
        _ => String::new(),
    };
    Finding {
        part: Part::Work,
        claim: format!("The {set} heads of {} take more of its behaviour along than random heads", run.name),
        evidence: format!(
            "Their activations in one checkpoint take the place of those in another; measured is how far they move the metric \
             of the latter towards the former. Each line has the heads of the circuits on its own pairs, other ones than those \
             that are zeroed. {found}"
        ),
        short: match tested.len() {
            0 => String::new(),
            n => format!("more in {holds} of {}, less in {fails}{on}", count(n, "test")),
        },
        rows: rows.iter().map(|row| one(row)).collect(),
        verdict: match tested.len() {
            0 => ClaimVerdict::Open,
            n if holds == n => ClaimVerdict::Holds,
            n if fails == n => ClaimVerdict::Fails,
            _ => ClaimVerdict::Open,
        },
    }
}

/// One measurement: `hard, SFT-96 into base (L0H5): +0.42 logits [+0.31 to +0.54] of +11.68, +3.6 % of it; …`.
fn one(row: &Transfer) -> String {
    let changes = || row.random.iter().map(|draw| draw.change);
    let two = |x: f64| if x > 0.0 { format!("+{}", number(x, 2)) } else { number(x, 2) };
    let test = match row.random.is_empty() {
        true => "no random heads were tried".into(),
        false => format!(
            "{} of random heads {} to {}, {}",
            count(row.random.len(), "draw"),
            two(changes().fold(f64::INFINITY, f64::min)),
            two(changes().fold(f64::NEG_INFINITY, f64::max)),
            shares(row).map_or("too few for a test".into(), |(far, little)| {
                format!("one-sided {} for more, {} for less", p_value(far), p_value(little))
            })
        ),
    };
    format!(
        "{}, {} into {}{}: {} {} {} of {}{}; {test}.",
        row.suite,
        row.from,
        row.into,
        few(&row.heads),
        two(row.change.estimate),
        metric(&row.metric).1,
        range(&row.change, two),
        two(row.source - row.before),
        row.share.map_or(String::new(), |share| format!(", {}\u{202f}% of it", points(share)))
    )
}
