//! What the figures are given: the results, with the head studies that older files lack; and the list of all figures.

use std::borrow::Cow;

use super::draw::{Figure, Painter, Pick, Sheet};
use crate::Error;
use crate::dynamics::{HeadsAt, cohorts, frequency};
use crate::results::{CheckpointHeads, HeadStudy, NoiseFloor, Results, Training};
use stats::Interval;

/// Edges of each circuit that the page carries where the whole file would be larger than this, bytes.
const LARGE: usize = 6_000_000;
/// How many then.
const EDGES: usize = 400;

/// The results with a head study for each training: a file of `trainings` alone gets those of its first suite.
pub(super) fn with_heads(results: &Results) -> Cow<'_, Results> {
    if !results.heads.is_empty() {
        return Cow::Borrowed(results);
    }
    let mut all = results.clone();
    all.heads = results.trainings.iter().filter_map(|run| head_study(results, run)).collect();
    Cow::Owned(all)
}

fn head_study(results: &Results, run: &Training) -> Option<HeadStudy> {
    let base = results.base.circuit.clone()?;
    let noise = |label: &str| match &results.noise {
        Some(found) => found.clone(),
        None => {
            let none = Interval { estimate: 0.0, low: 0.0, high: 0.0 };
            NoiseFloor { checkpoint: label.into(), repeats: 0, turnover: none, changed_heads: none }
        }
    };
    let at = |step: u64, heads: &[hooks::Head]| HeadsAt {
        step,
        heads: heads.to_vec(),
        changed: None,
        reward: None,
    };
    let found: Vec<_> = run.checkpoints.iter().filter_map(|c| Some((c, c.circuit.clone()?))).collect();
    if found.is_empty() || found.len() != run.changes.len() {
        return None;
    }
    let (first, after): (HeadsAt, Vec<HeadsAt>) =
        (at(0, &base.heads), found.iter().map(|(c, circuit)| at(c.step, &circuit.heads)).collect());
    let checkpoint =
        |(c, circuit): &(&crate::results::CheckpointFacts, crate::results::CircuitFacts)| CheckpointHeads {
            label: c.label.clone(),
            step: c.step,
            circuit: circuit.clone(),
            noise: noise(&c.label),
            tests: Vec::new(),
        };
    Some(HeadStudy {
        training: run.name.clone(),
        suite: "pairs".into(),
        rule: "top".into(),
        checkpoints: found.iter().map(checkpoint).collect(),
        changes: run.changes.clone(),
        cohorts: cohorts(&first, &after),
        frequency: frequency(&first, &after),
        effects: run.effects.clone(),
        base_noise: noise("base"),
        dynamics: None,
        base,
    })
}

/// What the page carries: all of the results, or where that is large the strongest edges of each circuit alone; and
/// how many of each then.
pub(super) fn carried(results: &Results, size: usize) -> (Cow<'_, Results>, Option<usize>) {
    let all = with_heads(results);
    if size <= LARGE {
        return (all, None);
    }
    let mut less = all.into_owned();
    let of_heads = less
        .heads
        .iter_mut()
        .flat_map(|s| std::iter::once(&mut s.base).chain(s.checkpoints.iter_mut().map(|c| &mut c.circuit)));
    let of_trainings = std::iter::once(&mut less.base)
        .chain(less.trainings.iter_mut().flat_map(|t| t.checkpoints.iter_mut()))
        .filter_map(|c| c.circuit.as_mut());
    for circuit in of_heads.chain(of_trainings).filter(|circuit| circuit.edges.len() > EDGES) {
        circuit.n_edges = Some(circuit.edges.len());
        circuit.edges.truncate(EDGES);
    }
    (Cow::Owned(less), Some(EDGES))
}

/// Every figure of a study as a file: its name and drawing. Figures that the results do not have are left out.
pub(super) fn sheets(results: &Results) -> Result<Vec<(String, Sheet)>, Error> {
    use Figure::{
        Accuracy, Circuit, Cohorts, Complexity, Curve, Effect, Frequency, Interventions, Methods, Overlap,
        Roles, Scores, Similarity, Think, Transfers, Turnover,
    };
    let all = with_heads(results);
    let painter = Painter::new(results)?;
    let mut asked: Vec<(String, Figure, Pick)> = Vec::new();
    for accuracy in &results.base.accuracy {
        let pick = Pick { benchmark: Some(accuracy.suite.clone()), ..Pick::default() };
        asked.push((format!("accuracy-{}", slug(&accuracy.suite)), Accuracy, pick));
    }
    for run in &results.trainings {
        for (name, figure) in [("curve", Curve), ("scores", Scores), ("interventions", Interventions)] {
            asked.push((format!("{name}-{}", slug(&run.name)), figure, Pick::training(&run.name)));
        }
    }
    for study in &all.heads {
        let pick = Pick {
            suite: Some(study.suite.clone()),
            rule: Some(study.rule.clone()),
            ..Pick::training(&study.training)
        };
        let of = [&study.training, &study.suite, &study.rule].map(|text| slug(text)).join("-");
        for (name, figure) in [
            ("cohorts", Cohorts),
            ("heads", Frequency),
            ("effect", Effect),
            ("turnover", Turnover),
            ("roles", Roles),
            ("similarity", Similarity),
        ] {
            asked.push((format!("{name}-{of}"), figure, pick.clone()));
        }
        let base = Pick { at: Some(-1), ..pick.clone() };
        asked.push((format!("circuit-base-{}-{}", slug(&study.suite), slug(&study.rule)), Circuit, base));
        asked.push((format!("circuit-{of}"), Circuit, pick));
    }
    let whole = [
        ("methods", Methods),
        ("complexity", Complexity),
        ("overlap", Overlap),
        ("think", Think),
        ("transfers", Transfers),
    ];
    asked.extend(whole.map(|(name, figure)| (name.to_owned(), figure, Pick::default())));
    let mut seen: Vec<(String, Figure, Pick)> = Vec::new();
    let mut drawn: Vec<(String, Sheet)> = Vec::new();
    for (name, figure, pick) in asked {
        // The base's circuit is asked for once a training.
        let base = |pick: &Pick| (pick.at == Some(-1)).then(|| (pick.suite.clone(), pick.rule.clone()));
        let again =
            |(_, f, p): &(String, Figure, Pick)| *f == figure && base(p).is_some() && base(p) == base(&pick);
        if seen.iter().any(again) {
            continue;
        }
        // Names that differ in other characters alone are numbered.
        let same = seen.iter().filter(|(other, ..)| *other == name).count();
        seen.push((name.clone(), figure, pick.clone()));
        let sheet = painter.sheet(&results.title, &[(figure, pick)])?;
        if sheet.panels.iter().all(|panel| panel.missing.is_none()) {
            let file = if same == 0 { name } else { format!("{name}-{}", same + 1) };
            drawn.push((file, sheet));
        }
    }
    Ok(drawn)
}

/// Characters of a name that a file name keeps.
const LONGEST: usize = 40;

/// A name that is safe in a file name.
fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => out.push(c.to_ascii_lowercase()),
            _ if !out.ends_with('-') => out.push('-'),
            _ => {}
        }
    }
    out.truncate(LONGEST);
    out.trim_matches('-').to_owned()
}
