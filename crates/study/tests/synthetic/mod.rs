//! SYNTHETIC results: invented numbers of a plausible shape, to draw and test the report with. No model was run.

use hooks::{Head, KeyValue, Reader, Wiring, Writer};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stats::wilson;
use study::dynamics::{HeadsAt, changes, effect};
use study::results::*;

const N: usize = 400;

fn accuracy(suite: &str, share: f64, worked: f64) -> Accuracy {
    let solved = (share.clamp(0.0, 1.0) * N as f64) as usize;
    Accuracy { suite: suite.into(), n: N, interval: wilson(solved, N, 0.95), worked: Some(worked) }
}

fn circuit(wiring: &Wiring, heads: &[Head], rng: &mut ChaCha8Rng) -> CircuitFacts {
    let writers = |w: &Writer| !matches!(w, Writer::Head(h) if !heads.contains(h));
    let readers: Vec<Reader> =
        wiring.readers().filter(|r| !matches!(r, Reader::Head(h, _) if !heads.contains(h))).collect();
    let mut edges = Vec::new();
    for from in wiring.writers().filter(writers) {
        for &to in &readers {
            let edge = hooks::Edge { from, to };
            if wiring.edge_index(edge).is_some() && rng.random::<f64>() < 0.45 {
                let score =
                    -(rng.random::<f64>().powi(4)) * if rng.random::<f64>() < 0.2 { -0.5 } else { 1.0 };
                edges.push(ScoredEdge { edge, score });
            }
        }
    }
    edges.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()));
    edges.truncate(180);
    let faithfulness = 0.78 + 0.2 * rng.random::<f64>();
    CircuitFacts {
        n_nodes: heads.len() + 6,
        heads: heads.to_vec(),
        edges,
        n_edges: None,
        metric: "logit-diff".into(),
        clean: 6.2,
        corrupt: -5.8,
        circuit: -5.8 + 12.0 * faithfulness,
        faithfulness,
        nulls: (0..10).map(|_| 0.35 * rng.random::<f64>()).collect(),
        degree_nulls: Vec::new(),
    }
}

/// Made-up results of a 4 × 4 model; `effect_size` 0 is a study in which nothing happened.
pub(crate) fn results(seed: u64, effect_size: f64) -> Results {
    let wiring =
        Wiring { n_layers: 4, n_heads: 4, n_kv_heads: 2, d_model: 128, key_value: KeyValue::Ungrouped };
    results_of(wiring, seed, effect_size)
}

/// Made-up results of a model of any size.
pub(crate) fn results_of(wiring: Wiring, seed: u64, effect_size: f64) -> Results {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let all: Vec<Head> = wiring.heads().collect();
    let base_heads: Vec<Head> = all
        .iter()
        .copied()
        .filter(|_| rng.random::<f64>() < 7.2 / (wiring.n_layers * wiring.n_heads) as f64)
        .collect();
    let suites = ["three and four numbers", "two numbers"];
    let scores = |share: f64, worked: f64| {
        vec![accuracy(suites[0], share, worked), accuracy(suites[1], (share + 0.35).min(0.99), worked)]
    };
    let base = CheckpointFacts {
        label: "base".into(),
        step: 0,
        accuracy: scores(0.31, 0.02),
        circuit: Some(circuit(&wiring, &base_heads, &mut rng)),
    };
    let mut train = |name: &str, method: TrainingMethod, steps: u64, every: u64, flips: f64, top: f64| {
        let at = |step: f64| 0.31 + effect_size * (top - 0.31) * (1.0 - (-4.0 * step / steps as f64).exp());
        let noise = |rng: &mut ChaCha8Rng| 0.09 * (rng.random::<f64>() - 0.5);
        let curve: Vec<CurvePoint> = (0..steps)
            .map(|step| CurvePoint {
                step,
                loss: (method == TrainingMethod::Sft)
                    .then(|| 0.24 + 1.4 * (-6.0 * step as f64 / steps as f64).exp() + noise(&mut rng)),
                reward: (method == TrainingMethod::Grpo)
                    .then(|| (at(step as f64) + 3.0 * noise(&mut rng)).clamp(0.0, 1.0)),
                length: (method == TrainingMethod::Grpo).then_some(4.0 + 18.0 * step as f64 / steps as f64),
                lr: Some(1e-3),
            })
            .collect();
        let mut heads = base_heads.clone();
        let mut found = Vec::new();
        let mut checkpoints = Vec::new();
        for step in (every..=steps).step_by(every as usize) {
            for &head in &all {
                if rng.random::<f64>() < flips * effect_size {
                    match heads.iter().position(|h| *h == head) {
                        Some(i) if method == TrainingMethod::Grpo => drop(heads.remove(i)),
                        Some(_) => {}
                        None => heads.push(head),
                    }
                }
            }
            heads.sort();
            found.push(HeadsAt {
                step,
                heads: heads.clone(),
                // Every second head passes the test.
                changed: Some(heads.iter().copied().step_by(2).collect()),
                reward: Some(at(step as f64) + noise(&mut rng)),
            });
            checkpoints.push(CheckpointFacts {
                label: format!("{}-{step}", name.to_lowercase()),
                step,
                accuracy: scores(at(step as f64), effect_size * (at(step as f64) - 0.31) * 1.6),
                circuit: Some(circuit(&wiring, &heads, &mut rng)),
            });
        }
        let start = HeadsAt { step: 0, heads: base_heads.clone(), changed: None, reward: Some(0.31) };
        let changes = changes(&start, &found);
        let effects = all
            .iter()
            .map(|&head| {
                let (before, after) = (rng.random::<f64>().powi(3), rng.random::<f64>().powi(3));
                let e = effect(before, after);
                let wide = 0.1 + 0.4 * rng.random::<f64>();
                let interval =
                    stats::Interval { estimate: e, low: (e - wide).max(-1.0), high: (e + wide).min(1.0) };
                TrainingEffect {
                    head,
                    before: before / 4.0,
                    after: after / 4.0,
                    effect: e,
                    interval: Some(interval),
                }
            })
            .collect();
        Training { name: name.into(), method: Some(method), curve, checkpoints, gain: None, changes, effects }
    };
    let trainings = vec![
        train("SFT", TrainingMethod::Sft, 120, 20, 0.09, 0.93),
        train("GRPO", TrainingMethod::Grpo, 96, 8, 0.12, 0.78),
    ];
    let mut interventions = Vec::new();
    for run in &trainings {
        let Some(emergent) = run.changes.last().and_then(|c| c.emergent.clone()).filter(|g| !g.is_empty())
        else {
            continue;
        };
        let Some(last) = run.checkpoints.last() else { continue };
        let whole = last.accuracy[0].interval;
        for (checkpoint, action, factor) in [
            (
                last.label.as_str(),
                Action::Zero,
                if run.method == Some(TrainingMethod::Sft) { 0.2 } else { 0.7 },
            ),
            (last.label.as_str(), Action::Scale { factor: 0.5 }, 0.8),
            ("base", Action::Scale { factor: 1.3 }, 1.0),
        ] {
            let untouched = if checkpoint == "base" { base.accuracy[0].interval } else { whole };
            let of = |share: f64| wilson((share.clamp(0.0, 1.0) * N as f64) as usize, N, 0.95);
            interventions.push(Intervention {
                checkpoint: checkpoint.into(),
                training: run.name.clone(),
                set: HeadSet::Emergent,
                action,
                heads: emergent.clone(),
                suite: suites[0].into(),
                n: N,
                samples: 1,
                untouched,
                accuracy: of(untouched.estimate * factor),
                difference: None,
                rates: Vec::new(),
                unanswered: None,
                tokens: None,
                p_value: None,
                random: (0..20)
                    .map(|i| {
                        let kept = 0.55 + 0.45 * rng.random::<f64>().sqrt();
                        RandomDraw {
                            heads: vec![all[i % 16], all[(i + 5) % 16]],
                            accuracy: of(untouched.estimate * kept),
                        }
                    })
                    .collect(),
            });
        }
    }
    let interval = |low, estimate, high| stats::Interval { estimate, low, high };
    let setting = |section: &str, name: &str, value: &str| Setting {
        section: section.into(),
        name: name.into(),
        value: value.into(),
    };
    let mut results = Results {
        schema: SCHEMA.into(),
        version: VERSION,
        title: "What post-training did to the heads of a small adder".into(),
        notice: Some(
            "Synthetic: these numbers were invented to draw the report with. No model was run.".into(),
        ),
        run: RunFacts {
            command: "sparks demo --seed 0".into(),
            seed,
            started: None,
            machine: Some(Machine {
                processor: "a made-up processor".into(),
                threads: 2,
                device: "cpu (flex)".into(),
                system: "linux x86_64".into(),
            }),
            versions: vec![Version { name: "burn".into(), version: "0.22.1".into() }],
            stages: [
                ("base accuracy", 4.1),
                ("SFT", 61.0),
                ("GRPO", 140.2),
                ("attribution", 58.9),
                ("interventions", 41.5),
            ]
            .map(|(name, seconds)| StageTime { name: name.into(), seconds })
            .to_vec(),
        },
        model: ModelFacts {
            name: "toy-base".into(),
            family: "qwen2".into(),
            parameters: 798_000,
            n_layers: wiring.n_layers,
            n_heads: wiring.n_heads,
            n_kv_heads: wiring.n_kv_heads,
            d_model: wiring.d_model,
            key_value: wiring.key_value,
            n_edges: wiring.n_edges(),
        },
        task: TaskFacts {
            description: "A small model adds two-digit numbers, and was post-trained to work the sum out."
                .into(),
            suites: suites
                .map(|name| SuiteFacts {
                    name: name.into(),
                    description: format!("Held-out sums of {name}."),
                    n: N,
                    pairs: None,
                })
                .to_vec(),
            examples: vec![TaskExample {
                prompt: "47+28+36=".into(),
                answer: "111".into(),
                completions: [
                    ("base", "101<eos>", false),
                    ("sft-120", "<think>47+28=75;75+36=111</think>111<eos>", true),
                ]
                .map(|(checkpoint, text, correct)| Said {
                    checkpoint: checkpoint.into(),
                    text: text.into(),
                    correct,
                })
                .to_vec(),
            }],
        },
        base,
        trainings,
        false_discovery_rate: Some(0.05),
        noise: Some(NoiseFloor {
            checkpoint: "base".into(),
            repeats: 20,
            turnover: interval(0.0, 0.11, 0.26),
            changed_heads: interval(0.0, 1.2, 3.0),
        }),
        heads: Vec::new(),
        checkpoints: Vec::new(),
        benchmarks: Vec::new(),
        answers: Vec::new(),
        interventions,
        think: Vec::new(),
        cases: Vec::new(),
        transfers: Vec::new(),
        roles: Vec::new(),
        hypotheses: Vec::new(),
        controls: None,
        stability: None,
        warnings: vec![],
        settings: vec![
            setting("attribution", "method", "eap-ig-inputs"),
            setting("attribution", "steps", "5"),
            setting("attribution", "pairs", "64 swap pairs, first step"),
            setting("circuit", "top", "180"),
            setting("train.sft", "lr", "1e-3"),
            setting("train.grpo", "group size", "8"),
            setting("train.grpo", "temperature", "1.0"),
        ],
    };
    results.warnings = study::caveats(&results);
    results
}
