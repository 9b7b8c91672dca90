//! What a comparison with the base rests on: its circuit, the noise of the pairs, and weights moved by noise; and
//! whether circuits are faithful.

use stats::Interval;

use super::verdict::{ClaimVerdict, Finding, Part};
use super::words::{count, metric, number};
use crate::results::{CheckpointFacts, CircuitFacts, HeadStudy, Results};

/// How far from 1 the faithfulness of a circuit may be that is taken to explain its model. One above 1 keeps too much.
const FAR: f64 = 0.5;
/// Below this share of the widest difference between clean and corrupt prompts a checkpoint has next to none.
pub(crate) const NARROW: f64 = 0.1;

/// The base and every checkpoint.
fn checkpoints(results: &Results) -> impl Iterator<Item = &CheckpointFacts> {
    std::iter::once(&results.base).chain(results.trainings.iter().flat_map(|run| &run.checkpoints))
}

/// How far the mean metric differs between clean and corrupt prompts.
pub(crate) fn gap(circuit: &CircuitFacts) -> f64 {
    (circuit.clean - circuit.corrupt).abs()
}

/// How far a faithfulness is from that of the whole model.
fn off(faithfulness: f64) -> f64 {
    (1.0 - faithfulness).abs()
}

/// Whether a circuit of this faithfulness is taken to explain its model.
pub(crate) fn explains(faithfulness: f64) -> bool {
    off(faithfulness) <= FAR
}

/// Faithfulness of the random circuits beside a circuit: as many edges between the same layers, or at the same nodes.
fn random(circuit: &CircuitFacts) -> impl Iterator<Item = f64> {
    circuit.nulls.iter().chain(&circuit.degree_nulls).copied()
}

/// That of the random circuits which is nearest to 1.
pub(super) fn nearest(circuit: &CircuitFacts) -> Option<f64> {
    random(circuit).min_by(|a, b| off(*a).total_cmp(&off(*b)))
}

/// The widest difference between clean and corrupt prompts of any checkpoint.
pub(crate) fn widest(results: &Results) -> f64 {
    checkpoints(results).filter_map(|c| c.circuit.as_ref()).map(gap).fold(0.0, f64::max)
}

/// Whether the metric differs so little between clean and corrupt prompts that there is next to nothing to explain.
pub(crate) fn narrow(results: &Results, circuit: &CircuitFacts) -> bool {
    gap(circuit) < NARROW * widest(results)
}

/// Why new and lost heads say little where the base's own circuit does not explain the base; `None` where it does.
pub(super) fn weak_base(results: &Results) -> Option<String> {
    let of = results.base.circuit.as_ref()?;
    let narrow = narrow(results, of);
    let random = nearest(of);
    if !narrow && explains(of.faithfulness) && !random_is_nearer(of) {
        return None;
    }
    let pairs = results.heads.first().map_or(String::new(), |study| format!(" on the pairs {}", study.suite));
    let [clean, corrupt, kept] = [of.clean, of.corrupt, of.faithfulness].map(|x| number(x, 2));
    let name = metric(&of.metric).0;
    Some(format!(
        "New and lost are relative to the circuit of {}, a weak one{pairs}: {}.",
        results.base.label,
        match (narrow, random) {
            (true, _) => format!(
                "the mean {name} hardly differs between clean ({clean}) and corrupt prompts ({corrupt})"
            ),
            (false, None) => format!("of its difference in the mean {name} it keeps {kept}"),
            (false, Some(null)) => format!(
                "of its difference in the mean {name} it keeps {kept}, and of {} the nearest to 1 {}",
                count(self::random(of).count(), "random circuit"),
                number(null, 2)
            ),
        }
    ))
}

/// Whether a random circuit comes as near to 1.
pub(super) fn random_is_nearer(circuit: &CircuitFacts) -> bool {
    nearest(circuit).is_some_and(|null| off(null) <= off(circuit.faithfulness))
}

/// Whether the base's circuit on these pairs, by this rule, explains it and is nearer to 1 than all random ones.
pub(super) fn strong_base(results: &Results, study: &HeadStudy) -> bool {
    let of = &study.base;
    !of.heads.is_empty()
        && !narrow_in(results, study, of)
        && explains(of.faithfulness)
        && !random_is_nearer(of)
}

/// [`narrow`] beside the circuits of all trainings on the same pairs by the same rule.
pub(super) fn narrow_in(results: &Results, study: &HeadStudy, circuit: &CircuitFacts) -> bool {
    let same = results.heads.iter().filter(|s| (&s.suite, &s.rule) == (&study.suite, &study.rule));
    let all = same.flat_map(|s| std::iter::once(&s.base).chain(s.checkpoints.iter().map(|c| &c.circuit)));
    gap(circuit) < NARROW * all.map(gap).fold(0.0, f64::max)
}

/// How many heads a training's last circuit has to differ from the base's by, beyond the noise of the pairs: the wider of
/// both circuits' noise floors.
pub(super) fn floor(study: &HeadStudy) -> Interval {
    let base = study.base_noise.changed_heads;
    let last = study.checkpoints.last().map_or(base, |c| c.noise.changed_heads);
    if last.high > base.high { last } else { base }
}

/// Whether the circuits of the base and of each training are faithful to their models.
pub(super) fn faithful(results: &Results) -> Vec<Finding> {
    let base = (&results.base.label, vec![&results.base]);
    let runs = results.trainings.iter().map(|run| (&run.name, run.checkpoints.iter().collect()));
    std::iter::once(base).chain(runs).filter_map(|(name, of)| one(results, name, &of)).collect()
}

fn one(results: &Results, name: &str, of: &[&CheckpointFacts]) -> Option<Finding> {
    let all: Vec<&CircuitFacts> = of.iter().filter_map(|c| c.circuit.as_ref()).collect();
    let many = all.len() > 1;
    let circuits: Vec<&CircuitFacts> = all.iter().filter(|c| !narrow(results, c)).copied().collect();
    let left_out = match all.len() - circuits.len() {
        0 => String::new(),
        n => format!(
            " {} left out: the metric hardly differs between clean and corrupt prompts, so that there is nothing to explain.",
            match (many, n) {
                (false, _) => "It is".to_owned(),
                (true, 1) => format!("1 of {} circuits is", all.len()),
                (true, n) => format!("{n} of {} circuits are", all.len()),
            }
        ),
    };
    let on = results.heads.first().map_or(String::new(), |s| format!(" on {} ({})", s.suite, s.rule));
    let finding = |short: String, evidence: String, verdict| Finding {
        part: Part::Circuits,
        short,
        rows: Vec::new(),
        claim: match many {
            true => format!("The circuits of {name}{on} are faithful to their models"),
            false => format!("The circuit of {name}{on} is faithful to its model"),
        },
        evidence: (evidence + &left_out).trim_start().to_owned(),
        verdict,
    };
    let kept = circuits.iter().map(|c| c.faithfulness);
    let Some((least, most)) = kept.clone().reduce(f64::min).zip(kept.reduce(f64::max)) else {
        let short = "nothing to explain".to_owned();
        return (!all.is_empty()).then(|| finding(short, String::new(), ClaimVerdict::Open));
    };
    let closest = circuits.iter().filter_map(|c| Some((nearest(c)?, c.faithfulness)));
    let near = closest.min_by(|a, b| off(a.0).total_cmp(&off(b.0)));
    let beaten = circuits.iter().filter(|c| !random_is_nearer(c)).count();
    let (control, verdict) = match near {
        None => ("No random circuits were run beside them.".to_owned(), ClaimVerdict::Open),
        Some((null, beside)) => (
            format!(
                "Of {}{}, with as many edges between the same layers or at the same nodes, the nearest to 1 keeps {}{}; {}. All on \
                 the pairs that the circuits were found on; taken to hold within {FAR} of 1 and nearer than all random ones.",
                count(circuits.iter().map(|c| random(c).count()).max().unwrap_or(0), "random circuit"),
                if many { " beside each" } else { "" },
                number(null, 2),
                if many {
                    format!(", beside a circuit that keeps {}", number(beside, 2))
                } else {
                    String::new()
                },
                match (many, beaten) {
                    (true, n) => format!("{n} of {} circuits are nearer than all of theirs", circuits.len()),
                    (false, 1) => "it is nearer than all of them".into(),
                    (false, _) => "it is not nearer than all of them".into(),
                }
            ),
            match () {
                () if beaten < circuits.len() => ClaimVerdict::Fails,
                () if circuits.iter().all(|c| explains(c.faithfulness)) => ClaimVerdict::Holds,
                () => ClaimVerdict::Open,
            },
        ),
    };
    let range = match least < most {
        true => format!("{} to {}", number(least, 2), number(most, 2)),
        false => number(least, 2),
    };
    let beside = near.map_or(String::new(), |(null, _)| match many {
        true => format!("; {beaten} of {} nearer to 1 than all their random ones", circuits.len()),
        false => format!("; nearest random one {}", number(null, 2)),
    });
    let evidence = format!(
        "Faithfulness: with every other edge corrupted {} {range} of the difference between clean and corrupt prompts; 1 is all of \
         it. {control}",
        match (many, circuits.len()) {
            (false, _) => "it keeps".to_owned(),
            (true, 1) => "1 circuit keeps".to_owned(),
            (true, n) => format!("{n} circuits keep"),
        },
    );
    Some(finding(range + &beside, evidence, verdict))
}
