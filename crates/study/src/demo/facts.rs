//! What the demo's results say of the model, the machine and the settings.

use model_qwen::Qwen;

use super::{Demo, find, train};
use crate::results::{Machine, ModelFacts, RunFacts, Setting, StageTime, TrainingMethod, Version};

pub(super) fn model_facts(model: &Qwen) -> ModelFacts {
    use hooks::HookedModel as _;
    let (c, wiring) = (&model.config, model.wiring());
    ModelFacts {
        name: "embedded adding model".into(),
        family: format!("{:?}", c.family).to_lowercase(),
        parameters: c.n_params(),
        n_layers: c.n_layers,
        n_heads: c.n_heads,
        n_kv_heads: c.n_kv_heads,
        d_model: c.d_model,
        key_value: wiring.key_value,
        n_edges: wiring.n_edges(),
    }
}

pub(super) fn facts(demo: &Demo, stages: Vec<StageTime>) -> RunFacts {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpu
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'))
        .map(|(_, n)| n.trim().to_owned());
    RunFacts {
        command: demo.command.clone(),
        seed: demo.seed,
        started: None,
        machine: Some(Machine {
            processor: name.unwrap_or_else(|| "unknown".into()),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            device: "cpu (burn flex, f32)".into(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }),
        versions: vec![
            Version { name: "thinking-sparks".into(), version: env!("CARGO_PKG_VERSION").into() },
            Version { name: "burn".into(), version: "0.22.1".into() },
        ],
        stages,
    }
}

pub(super) fn settings(demo: &Demo) -> Vec<Setting> {
    let row = |section: &str, name: &str, value: String| Setting {
        section: section.into(),
        name: name.into(),
        value,
    };
    let mut rows = vec![
        row("problems", "held-out problems", demo.problems.to_string()),
        row(
            "circuits",
            "pairs",
            format!(
                "{} held-out sums up to the number that their second step adds; corrupt: first and third number exchanged",
                demo.pairs
            ),
        ),
        row(
            "circuits",
            "method",
            "EAP-IG inputs, 5 steps, left rule; logit difference at the last position".into(),
        ),
        row("circuits", "selection", format!("top {} edges by absolute score, pruned", demo.edges)),
        row(
            "circuits",
            "emergence",
            format!(
                "{} exchanges of labels within pairs, false-discovery rate {} over all heads",
                find::RESAMPLES,
                find::RATE
            ),
        ),
        row(
            "interventions",
            "random draws",
            format!("{} beside zeroed emergent and new heads, 3 elsewhere", demo.draws),
        ),
    ];
    for method in [TrainingMethod::Sft, TrainingMethod::Grpo] {
        let name = if method == TrainingMethod::Sft { "train.sft" } else { "train.grpo" };
        for line in train::settings(demo, method).lines() {
            if let Some((key, value)) = line.split_once(" = ") {
                rows.push(row(name, key, value.to_owned()));
            }
        }
    }
    rows
}
