//! How it was done: what each number means, every setting, the machine and the time it took.

use std::fmt::Write as _;

use super::html::{duration, escape, grouped};
use crate::results::Results;

/// What was measured and how, for a reader who was not there; trusted markup.
const DEFINITIONS: &[(&str, &str)] = &[
    (
        "Intervals",
        "Wilson’s 95 % score interval over problems for a share; a gain is paired by problem where it says so, else Newcombe’s hybrid score interval.",
    ),
    (
        "Circuit",
        "Edges of the computation graph (embeddings, attention heads with separate query, key and value inputs, MLPs, logits) scored by edge attribution patching with integrated gradients; the strongest by absolute score, then pruned of nodes that lead nowhere.",
    ),
    (
        "Faithfulness",
        "(circuit − corrupt) / (clean − corrupt) of the metric, with every edge outside the circuit carrying its value on the corrupt prompt. Null circuits are random ones of as many edges.",
    ),
    ("Emergent heads", "Heads of a checkpoint’s circuit that are not in the base’s, on the same pairs."),
    (
        "Effect E",
        "(after − before) / (after + before + 10⁻⁶) of a head’s share of importance: the sum of absolute scores of circuit edges that start at the head, over that of all heads; mean over checkpoints.",
    ),
    (
        "Turnover",
        "Heads born or dead since the checkpoint before, over heads in either circuit. Its rank correlation with the change of reward is tested by permuting checkpoints.",
    ),
    (
        "Noise floor",
        "The same comparison between circuits of one checkpoint from resampled pairs: what changes when the weights do not.",
    ),
    (
        "Interventions",
        "A head’s mixed values are zeroed or scaled before the output projection, at every position, in prefill and decode. The control draws as many random heads of the same layers; “against random” is the share of draws with at most that accuracy, the intervention counted among them; k draws cannot give less than 1/(k + 1).",
    ),
];

/// The section's markup.
pub(super) fn methods(results: &Results) -> String {
    let mut out = String::from("<dl class=\"terms\">");
    for (term, text) in DEFINITIONS {
        let _ = write!(out, "<dt>{term}</dt><dd>{text}</dd>");
    }
    out += "</dl>";

    let model = &results.model;
    let _ = write!(
        out,
        "<p>The model: <code>{}</code> ({}), {} parameters, {} layers of {} query heads with {} key/value heads, width {}; \
         {} edges in its graph.</p>",
        escape(&model.name),
        escape(&model.family),
        grouped(model.parameters),
        model.n_layers,
        model.n_heads,
        model.n_kv_heads,
        model.d_model,
        grouped(model.n_edges as u64)
    );

    out +=
        "<details open><summary>Every setting</summary><div class=\"wide\"><table class=\"settings\"><tbody>";
    let mut section = "";
    for setting in &results.settings {
        if setting.section != section {
            section = &setting.section;
            let _ = write!(out, "<tr class=\"section\"><th colspan=\"2\">{}</th></tr>", escape(section));
        }
        let _ = write!(
            out,
            "<tr><td>{}</td><td><code>{}</code></td></tr>",
            escape(&setting.name),
            escape(&setting.value)
        );
    }
    out += "</tbody></table></div></details>";

    let run = &results.run;
    let total: f64 = run.stages.iter().map(|s| s.seconds).sum();
    let _ = write!(
        out,
        "<details><summary>Machine, versions and time ({})</summary><div class=\"wide\"><table class=\"settings\"><tbody>",
        duration(total)
    );
    let threads = run.machine.threads.to_string();
    let rows = [
        ("command", run.command.as_str()),
        ("processor", &run.machine.processor),
        ("threads", &threads),
        ("device", &run.machine.device),
        ("system", &run.machine.system),
    ];
    let versions = run.versions.iter().map(|v| (v.name.as_str(), v.version.as_str()));
    for (name, value) in rows.into_iter().chain(versions) {
        let _ = write!(out, "<tr><td>{}</td><td><code>{}</code></td></tr>", escape(name), escape(value));
    }
    out += "<tr class=\"section\"><th colspan=\"2\">time</th></tr>";
    for stage in &run.stages {
        let _ = write!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(&stage.name), duration(stage.seconds));
    }
    out + "</tbody></table></div></details>"
}
