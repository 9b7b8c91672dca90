//! Warnings: claims that fail their control, and limits that no control of the study covers. Computed from the
//! numbers of a results file; text for [`Results::warnings`](crate::Results::warnings).

use std::collections::BTreeSet;

use crate::report::{
    ClaimVerdict, NARROW, count, explains, findings, gap, narrow, number, percent, think_anyway, widest,
};
use crate::results::{Caveat, CheckpointFacts, HeadStudy, Results, ThinkStudy, Topic, Training};

/// The control of a claim that the report's summary names.
pub(crate) const NAMED: &str = "the one named in the summary.";

fn warning(claim: impl Into<String>, control: impl Into<String>, finding: impl Into<String>) -> Caveat {
    Caveat { claim: claim.into(), control: control.into(), finding: finding.into(), about: None }
}

fn about(topic: Topic, caveat: Caveat) -> Caveat {
    Caveat { about: Some(topic), ..caveat }
}

/// The warnings that follow from the numbers, most serious first.
pub fn caveats(results: &Results) -> Vec<Caveat> {
    let mut all: Vec<Caveat> = findings(results)
        .into_iter()
        .filter(|f| f.verdict == ClaimVerdict::Fails)
        .map(|f| warning(format!("{}.", f.claim), NAMED, format!("Not so: {}", f.evidence)))
        .collect();
    let checkpoints =
        || std::iter::once(&results.base).chain(results.trainings.iter().flat_map(|run| &run.checkpoints));
    let faithless = |c: &&CheckpointFacts| {
        c.circuit.as_ref().is_some_and(|c| !narrow(results, c) && !explains(c.faithfulness))
    };
    let labels: Vec<&str> = checkpoints().filter(faithless).map(|c| c.label.as_str()).collect();
    if !labels.is_empty() {
        all.push(about(
            Topic::Circuits,
            warning(
                "A head that is in a circuit matters to the model.",
                "faithfulness of its circuit of 0.5 to 1.5.",
                format!(
                    "Not in {}: heads that entered or left these circuits are weak evidence.",
                    labels.join(", ")
                ),
            ),
        ));
    }
    // A ratio whose divisor is next to nothing beside that of another checkpoint.
    let differs = |c: &CheckpointFacts| c.circuit.as_ref().map_or(0.0, gap);
    let most = checkpoints().filter(|c| c.circuit.is_some()).max_by(|a, b| differs(a).total_cmp(&differs(b)));
    if let Some(widest) = most {
        let hardly = |c: &&CheckpointFacts| c.circuit.as_ref().is_some_and(|c| narrow(results, c));
        let shown = |c: &CheckpointFacts| {
            let circuit = c.circuit.as_ref()?;
            let [clean, corrupt] = [circuit.clean, circuit.corrupt].map(|x| number(x, 2));
            Some(format!("{} ({clean} and {corrupt})", c.label))
        };
        let labels: Vec<String> = checkpoints().filter(hardly).filter_map(shown).collect();
        if !labels.is_empty() {
            all.push(about(
                Topic::Circuits,
                warning(
                    "A circuit shows how the model prefers the right answer.",
                    format!(
                        "the mean {} on clean and on corrupt prompts, {}.",
                        widest.circuit.as_ref().map_or("metric", |c| c.metric.as_str()),
                        shown(widest).unwrap_or_default()
                    ),
                    format!(
                        "They hardly differ, by less than a tenth of that, in {}: faithfulness divides by that difference, and heads that are new or lost \
                         beside such a circuit say little.",
                        labels.join(", ")
                    ),
                ),
            ));
        }
    }
    all.extend(empty_base(results));
    all.extend(results.trainings.iter().filter_map(|run| other_question(results, run)));
    let at_edge = |c: &&CheckpointFacts| {
        c.circuit.as_ref().is_some_and(|c| c.heads.len() == results.model.n_layers * results.model.n_heads)
    };
    let full: Vec<&str> = checkpoints().filter(at_edge).map(|c| c.label.as_str()).collect();
    if !full.is_empty() {
        all.push(about(
            Topic::Heads,
            warning(
                "Heads that stay are kept on purpose.",
                "the number of heads of the model.",
                format!(
                    "Every head is in the circuit of {}: with so many edges no head can be new.",
                    full.join(", ")
                ),
            ),
        ));
    }
    // Actions beside which no random heads were changed claim nothing.
    let drawn = results.interventions.iter().map(|i| i.random.len()).filter(|&n| n > 0).min();
    let fewest = if results.interventions.is_empty() { None } else { drawn.or(Some(0)) };
    if let Some(n) = fewest.filter(|&n| n < 19) {
        all.push(about(
            Topic::Interventions,
            warning(
                "New heads, emergent or not, matter more than others.",
                format!("random heads of the same layers, at least {n} draws."),
                format!(
                    "{n} draws cannot give a p-value below {:.2}; 19 are needed for 0.05.",
                    1.0 / (n + 1) as f64
                ),
            ),
        ));
    }
    all.extend(results.think.iter().filter_map(thinks_anyway));
    all.extend(results.think.iter().filter_map(unfaithful));
    if results.noise.is_none() && results.trainings.iter().any(|run| !run.changes.is_empty()) {
        all.push(about(
            Topic::Heads,
            warning(
                "Heads differ between checkpoints because the weights do.",
                "circuits of one checkpoint from resampled pairs.",
                "Not measured: part of the turnover may come from the choice of pairs.",
            ),
        ));
    }
    let one_seed = results.stability.as_ref().is_none_or(|found| found.runs.len() < 2);
    if one_seed && results.trainings.iter().any(|run| !run.checkpoints.is_empty()) {
        all.push(about(
            Topic::Heads,
            warning(
                "Another run would show the same heads.",
                "other training seeds.",
                format!(
                    "This is one run of seed {}: intervals are over problems and pairs, not over runs.",
                    results.run.seed
                ),
            ),
        ));
    }
    all
}

/// A warning where a rule leaves the base no head, so that every later head is new.
fn empty_base(results: &Results) -> Option<Caveat> {
    let empty = |s: &&HeadStudy| s.base.heads.is_empty() && s.changes.iter().any(|c| !c.gained.is_empty());
    // Every training has a study of the same pairs and rule.
    let on: BTreeSet<String> =
        results.heads.iter().filter(empty).map(|s| format!("{} on {}", s.rule, s.suite)).collect();
    let on: Vec<String> = on.into_iter().collect();
    let caveat = || {
        warning(
            "A head that the base’s circuit lacks is one that training brought in.",
            "heads of the base’s circuit.",
            format!("It has none by the rule {}: every head of a later circuit is new there.", on.join(", ")),
        )
    };
    (!on.is_empty()).then(|| about(Topic::Heads, caveat()))
}

/// A warning where a training gains accuracy on the main benchmark and not on the pairs of the same name: they ask
/// something else than what was learned.
fn other_question(results: &Results, run: &Training) -> Option<Caveat> {
    let study = results.heads.iter().find(|s| s.training == run.name)?;
    let before = results.base.accuracy(&study.suite)?;
    let last = run.checkpoints.last()?;
    let after = last.accuracy(&study.suite)?;
    let (old, new) = (results.base.circuit.as_ref()?, last.circuit.as_ref()?);
    if run.gain?.low <= 0.0 || gap(new) - gap(old) >= NARROW * widest(results) {
        return None;
    }
    let caveat = warning(
        format!("The circuits of {} on the pairs {} are those of what it learned.", run.name, study.suite),
        "the metric rises where accuracy does.",
        format!(
            "Accuracy on {} goes from {} to {}, the mean {} on clean prompts from {} to {} and on corrupt ones from {} to {}: the \
             pairs ask something else than what was learned, and the heads of the gain need not be in these circuits.",
            study.suite,
            percent(before.interval.estimate),
            percent(after.interval.estimate),
            new.metric,
            number(old.clean, 2),
            number(new.clean, 2),
            number(old.corrupt, 2),
            number(new.corrupt, 2)
        ),
    );
    Some(about(Topic::Heads, caveat))
}

/// A warning where a checkpoint thinks although it is asked not to.
fn thinks_anyway(think: &ThinkStudy) -> Option<Caveat> {
    let share = think_anyway(think)?;
    let caveat = warning(
        format!("{} with thinking off does not think.", think.checkpoint),
        "completions with thinking off that end a thinking all the same.",
        format!(
            "They are {} on {}: accuracy, circuit and heads with thinking off are those of an unusual beginning.",
            percent(share),
            think.benchmark
        ),
    );
    Some(about(Topic::Think, caveat))
}

/// A warning where a circuit with thinking on or off does not explain its model.
fn unfaithful(think: &ThinkStudy) -> Option<Caveat> {
    let both = [("on", &think.on), ("off", &think.off)];
    let low: Vec<String> = both
        .iter()
        .filter(|(_, circuit)| !explains(circuit.faithfulness))
        .map(|(mode, circuit)| format!("{} with thinking {mode}", number(circuit.faithfulness, 2)))
        .collect();
    let caveat = || {
        warning(
            format!("The circuits of {} differ between thinking on and off.", think.checkpoint),
            "faithfulness of both of 0.5 to 1.5.",
            format!(
                "It is {}, on {} of its openings in both modes on {}: heads of one mode only are weak evidence.",
                low.join(" and "),
                count(think.pairs, "pair"),
                think.benchmark
            ),
        )
    };
    (!low.is_empty()).then(|| about(Topic::Think, caveat()))
}
