//! Findings from heads that were zeroed: whether a training needs its new heads, and those that left its circuit.

use stats::Interval;

use super::kinds::{self, few};
use super::summary::{ALPHA, MATTERS, problems};
use super::tables::described;
use super::verdict::{ClaimVerdict, Finding, Part, difference};
use super::words::{count, p_value, percent, points, range};
use crate::results::{Action, HeadSet, Intervention, Results};

/// The findings about heads zeroed: new ones first, then those that left the circuit, which may be needed all the same.
pub(super) fn findings(results: &Results) -> Vec<Finding> {
    let zeroed = results.interventions.iter().filter(|i| i.action == Action::Zero);
    let (lost, new): (Vec<_>, Vec<_>) = zeroed
        .filter(|i| matches!(i.set, HeadSet::Emergent | HeadSet::New | HeadSet::Lost))
        .partition(|i| i.set == HeadSet::Lost);
    new.into_iter().chain(lost).map(|row| needed(results, row)).collect()
}

/// One-sided: the share of random draws that do at least as much harm, the intervention counted among them.
fn control_p(row: &Intervention) -> f64 {
    let as_bad = row.random.iter().filter(|d| d.accuracy.estimate <= row.accuracy.estimate).count();
    (as_bad + 1) as f64 / (row.random.len() + 1) as f64
}

/// The change of accuracy, and a sentence with it.
fn measured(results: &Results, row: &Intervention) -> (Interval, String) {
    let (change, how) = match row.difference {
        Some(paired) => (paired, "paired by problem"),
        None => (difference(&row.untouched, &row.accuracy), "unpaired"),
    };
    let all = results.benchmarks.iter().find(|b| b.name == row.suite).map_or(row.n, |b| b.n);
    let judged = problems(row.n, row.samples);
    let judged = match judged.split_once(' ') {
        Some((n, rest)) if row.n < all => {
            format!("the first {n} of {all} {rest}{}", kinds::of_first(results, &row.suite, row.n))
        }
        _ => judged,
    };
    let text = format!(
        "{}{}: accuracy {} instead of {} ({judged}), a change of {} points, 95 % interval {} ({how}).",
        described(row),
        few(&row.heads),
        percent(row.accuracy.estimate),
        percent(row.untouched.estimate),
        points(change.estimate),
        range(&change, points)
    );
    (change, text)
}

/// ` The same done to 19 draws of as many random heads of the same layers leaves 0 % to 31 %`, where there are any.
fn beside(row: &Intervention) -> Option<String> {
    let random = || row.random.iter().map(|d| d.accuracy.estimate);
    let (worst, best) = (random().reduce(f64::min)?, random().reduce(f64::max)?);
    Some(format!(
        " The same done to {} of as many random heads of the same layers leaves {} to {}",
        count(row.random.len(), "draw"),
        percent(worst),
        percent(best)
    ))
}

/// `97 % → 2.5 % of 40 problems; random heads 0 % to 31 %`
fn short(row: &Intervention) -> String {
    let random = || row.random.iter().map(|d| d.accuracy.estimate);
    let ends = random().reduce(f64::min).zip(random().reduce(f64::max));
    let beside = ends.map_or(String::new(), |(worst, best)| {
        format!("; random heads {} to {}", percent(worst), percent(best))
    });
    format!(
        "{} → {} of {}{beside}",
        percent(row.untouched.estimate),
        percent(row.accuracy.estimate),
        count(row.n, "problem")
    )
}

/// Whether random heads take more than half of the accuracy on average: then zeroing so many tells none from others.
pub(crate) fn too_coarse(row: &Intervention) -> bool {
    let n = row.random.len() as f64;
    let mean = row.random.iter().map(|d| d.accuracy.estimate).sum::<f64>() / n;
    n > 0.0 && mean < 0.5 * row.untouched.estimate
}

fn needed(results: &Results, row: &Intervention) -> Finding {
    let (drop, text) = measured(results, row);
    let hurts = drop.high < 0.0;
    let worst_draw = row.random.iter().min_by(|a, b| a.accuracy.estimate.total_cmp(&b.accuracy.estimate));
    let beyond = worst_draw.is_some_and(|d| difference(&d.accuracy, &row.accuracy).high < 0.0);
    let verdict = match () {
        () if row.random.is_empty() => ClaimVerdict::Open,
        () if hurts && beyond && control_p(row) <= ALPHA => ClaimVerdict::Holds,
        // No loss, and none that matters left in the interval.
        () if !hurts && drop.low >= -MATTERS => ClaimVerdict::Fails,
        () => ClaimVerdict::Open,
    };
    let control = match beside(row) {
        None => " No random control was run.".to_owned(),
        Some(beside) => format!(
            "{beside}{} (one-sided {}).",
            match verdict {
                ClaimVerdict::Holds => ": no draw does nearly as much harm",
                ClaimVerdict::Fails => "; there is no loss to explain",
                ClaimVerdict::Open if !hurts => "; no loss is seen, and the interval does not rule one out",
                ClaimVerdict::Open
                    if worst_draw.is_some_and(|d| row.accuracy.estimate >= d.accuracy.estimate) =>
                    ": some draw does as much harm, so nothing shows that the loss is these heads’ own",
                ClaimVerdict::Open if !beyond => ": the worst draw is too close to tell apart",
                ClaimVerdict::Open => ": none does as much harm, but so few draws cannot rule chance out",
            },
            p_value(control_p(row))
        ),
    };
    let coarse = match verdict {
        ClaimVerdict::Open if too_coarse(row) => {
            " Random heads take more than half of the accuracy on average: zeroing so many is too coarse to tell."
        }
        _ => "",
    };
    let unused = match row.set {
        HeadSet::Lost if hurts => {
            " Lost says that they left the circuit, not that the model does without them."
        }
        _ => "",
    };
    let set = match row.set {
        HeadSet::New => "new",
        HeadSet::Lost => "lost",
        _ => "emergent",
    };
    Finding {
        part: Part::Work,
        claim: format!("{} needs its {set} heads on {}", row.training, row.suite),
        evidence: text + &control + coarse + unused,
        short: short(row),
        rows: Vec::new(),
        verdict,
    }
}
