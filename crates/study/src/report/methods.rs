//! The section on methods: definitions, every setting, machine, versions and times.

use maud::{Markup, html};

use super::tables::wide;
use super::words::{duration, grouped};
use crate::results::{Results, RunFacts, Setting};

/// Settings beyond which they are folded.
const MANY: usize = 80;

/// Definitions of the terms of the report.
const DEFINITIONS: &[(&str, &str)] = &[
    (
        "Intervals",
        "Accuracy: Wilson’s 95 % score interval at an effective number of problems, p(1 − p)/SE² with the standard error of the problems’ means, times (z/t)² (Korn and Graubard 1998); n is the number of problems, and with one sample a problem the two agree nearly. Shares of trials: Wilson’s. A gain is paired by problem where it says so, else Newcombe’s hybrid score interval. Intervals over draws of the pairs need not be centred at the estimate: a draw with replacement has fewer different pairs, and its circuit other heads.",
    ),
    (
        "Circuit",
        "Edges of the computation graph (embeddings, attention heads with separate query, key and value inputs, MLPs, logits) scored by edge attribution patching with integrated gradients; the strongest by absolute score, then pruned of nodes that lead nowhere.",
    ),
    (
        "Faithfulness",
        "(circuit − corrupt) / (clean − corrupt) of the metric, with every edge outside the circuit carrying its value on the corrupt prompt. Random circuits have as many edges between every two layers, or as many at every node.",
    ),
    ("New heads", "Heads of a checkpoint’s circuit that are not in the base’s, on the same pairs."),
    (
        "Emergent heads",
        "New heads whose change is found at the stated false-discovery rate (5 % unless the settings say otherwise). The test is on the head’s share of absolute mean scores over all its outgoing edges; the labels of the two checkpoints are exchanged within pairs, p-values are pooled over heads, and Benjamini and Hochberg’s rule is applied to all heads.",
    ),
    (
        "Effect E",
        "(after − before) / (after + before + 10⁻⁶) of a head’s share of importance: the sum of absolute scores of circuit edges that start at the head, over that of all heads. In the map at the picked checkpoint; in results.json and tables the mean over checkpoints.",
    ),
    (
        "Turnover",
        "Births and deaths of heads since the checkpoint before, over heads in either circuit: 0, the same heads; 1, none in common. Its rank correlation with reward is tested by circular shifts, which keep the autocorrelation of both.",
    ),
    (
        "Noise floor",
        "The same comparison between circuits of one checkpoint from resampled pairs, where the weights do not change.",
    ),
    (
        "Claims",
        "Each claim of the paper has an effect with a 95 % interval, a test, and Holm’s correction for the tests of the list. Supported: the effect has the claimed direction and the corrected p-value is at most the level. Not supported: the effect has the other direction and the corrected p-value is at most the level, or the test had the power to see an effect that matters and did not; the reason says which. Otherwise, an effect of the other direction that is not significant among them: cannot tell. A claim that no effect could have supported, because the random sets are too few for the number of claims, could not be tested, and is not among those corrected for.",
    ),
    (
        "Controls",
        "The same pipeline on checkpoints of which it is known what changed: in one kind a head’s work is done by another head, in another the weights differ by a little noise, in the third by noise as large as a training’s change of each matrix. One-sided p of the last: the share of the trials, the training counted among them, with at least as many emergent heads as the training has, or with as many new and lost heads together. That heads are new or lost in every seed has its p from 9,999 draws by chance.",
    ),
    (
        "Transfers",
        "A head’s mixed values, recorded in one checkpoint on the clean prompts, in place of those of another checkpoint on the same prompts; beside as many random heads of the same layers. p, one-sided: the share of the draws, the heads themselves counted among them, that move the metric at least as far towards the other checkpoint; a test holds where that is at most 0.05 and the change goes there, and counts as less where at most one in 20 of the sets moves no further. A finding of several tests holds where all hold, does not hold where all count as less, and else cannot tell.",
    ),
    (
        "Roles",
        "Attention that goes to keys of one kind, mean over every query position but the first of the clean prompts. A head is named after the kind that gets at least 0.4 of it and twice what equal attention to every visible key would give; of several, after the one that is farthest above equal attention. OV copying is Σ Re λ / Σ |λ| over the eigenvalues of embedding · W_V · W_O · unembedding (Elhage et al. 2021), QK matching the same of embedding · W_Q · W_Kᵀ · embeddingᵀ, without rotation.",
    ),
    (
        "Interventions",
        "A head’s mixed values, its attention-weighted sum of values, are zeroed or scaled before the output projection, at every position, in prefill and decode. The control draws as many random heads of the same layers, none of those changed where the layer has enough others; most of them may be in the circuit themselves. Control-task heads are those of the circuit on the control task of the settings, whichever other sets they are in. “Against random” is the share of draws with at most that accuracy, the intervention counted among them; k draws cannot give less than 1/(k + 1).",
    ),
];

/// The section's markup.
pub(super) fn methods(results: &Results) -> Markup {
    let (model, run) = (&results.model, &results.run);
    let mut sections: Vec<(&str, Vec<&Setting>)> = Vec::new();
    for setting in &results.settings {
        match sections.last_mut() {
            Some((name, rows)) if *name == setting.section => rows.push(setting),
            _ => sections.push((&setting.section, vec![setting])),
        }
    }
    html! {
        dl class="terms" { @for (term, text) in DEFINITIONS { dt { (term) } dd { (text) } } }
        p {
            "The model: " code { (model.name) } " (" (model.family) "), " (grouped(model.parameters)) " parameters, "
            (model.n_layers) " layers of " (model.n_heads) " query heads with " (model.n_kv_heads)
            " key/value heads, width " (model.d_model) "; " (grouped(model.n_edges as u64)) " edges in its graph."
        }
        details open[results.settings.len() < MANY] {
            summary { "Every setting" }
            (wide("settings", &[], html! {
                @for (section, rows) in &sections {
                    tr class="section" { th colspan="2" { (section) } }
                    @for row in rows { tr { td { (row.name) } td { code { (row.value) } } } }
                }
            }))
        }
        details {
            summary {
                "Machine, versions and time"
                @if !run.stages.is_empty() { " (" (duration(run.stages.iter().map(|s| s.seconds).sum())) ")" }
            }
            (wide("settings", &[], machine(run)))
        }
    }
}

fn machine(run: &RunFacts) -> Markup {
    let threads = run.machine.as_ref().map(|machine| machine.threads.to_string()).unwrap_or_default();
    let mut rows = vec![("command", run.command.as_str())];
    if let Some(machine) = &run.machine {
        rows.extend([
            ("processor", machine.processor.as_str()),
            ("threads", &threads),
            ("device", &machine.device),
            ("system", &machine.system),
        ]);
    }
    let versions = run.versions.iter().map(|v| (v.name.as_str(), v.version.as_str()));
    html! {
        @for (name, value) in rows.into_iter().chain(versions) { tr { td { (name) } td { code { (value) } } } }
        tr class="section" { th colspan="2" { "time" } }
        @for stage in &run.stages { tr { td { (stage.name) } td { (duration(stage.seconds)) } } }
    }
}
