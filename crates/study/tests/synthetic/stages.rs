//! SYNTHETIC results of the later stages, beside those of `mod.rs`: circuits on two suites with tests of heads,
//! thinking on and off, cases, transfers, claims, controls.

use bench_math::{AtK, Failure, Measures};
use circuits::{Attended, Fate, Relation, TokenScores};
use hooks::Head;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stats::{Interval, Mcnemar, wilson};
use study::dynamics::{HeadsAt, changes, cohorts, frequency};
use study::results::*;

fn around(x: f64, wide: f64) -> Interval {
    Interval { estimate: x, low: x - wide, high: x + wide }
}

fn share(x: f64) -> Interval {
    wilson((x.clamp(0.0, 1.0) * 400.0) as usize, 400, 0.95)
}

/// Adds every stage to results of `mod.rs`.
pub(crate) fn complete(mut results: Results) -> Results {
    let mut rng = ChaCha8Rng::seed_from_u64(results.run.seed + 100);
    let suites = [results.task.suites[0].name.clone(), results.task.suites[1].name.clone()];
    for suite in &suites {
        for at in 0..results.trainings.len() {
            let study = head_study(&results, at, suite, &mut rng);
            results.heads.push(study);
        }
    }
    for set in [HeadSet::Lost, HeadSet::Control, HeadSet::Joint] {
        let mut row = results.interventions[0].clone();
        row.set = set;
        row.accuracy = share(row.untouched.estimate * (0.5 + 0.5 * rng.random::<f64>()));
        row.difference = Some(around(row.accuracy.estimate - row.untouched.estimate, 0.04));
        row.p_value = Some(0.05 + 0.9 * rng.random::<f64>());
        results.interventions.push(row);
    }
    results.think = vec![think(&results)];
    let last = results.trainings[0].checkpoints.last().expect("checkpoints").label.clone();
    results.cases = vec![cases(&last, &suites[0])];
    results.transfers = vec![transfer(&results, &last, &mut rng)];
    let labels = std::iter::once("base".to_owned())
        .chain(results.trainings.iter().flat_map(|t| t.checkpoints.iter().map(|c| c.label.clone())));
    results.roles = labels.map(|label| roles(&results, &label, &suites[0], &mut rng)).collect();
    results.hypotheses = hypotheses();
    let as_large = |of: &Training| MatchedNoise {
        training: of.name.clone(),
        change: 0.147,
        command: "sparks study controls".into(),
        trials: control(false).trials,
    };
    results.controls = Some(Controls {
        positive: Some(control(true)),
        negative: Some(control(false)),
        matched: results.trainings.iter().map(as_large).collect(),
    });
    results
}

fn head_study(results: &Results, at: usize, suite: &str, rng: &mut ChaCha8Rng) -> HeadStudy {
    let run = &results.trainings[at];
    let base = results.base.circuit.clone().expect("a circuit");
    let facts = |c: &CheckpointFacts| c.circuit.clone().expect("a circuit");
    let noise = |label: &str| NoiseFloor {
        checkpoint: label.into(),
        ..results.noise.clone().expect("a noise floor")
    };
    let of = |step: u64, heads: &[Head]| HeadsAt {
        step,
        heads: heads.to_vec(),
        changed: Some(heads.iter().copied().step_by(2).collect()),
        reward: None,
    };
    let first = of(0, &base.heads);
    let after: Vec<HeadsAt> = run.checkpoints.iter().map(|c| of(c.step, &facts(c).heads)).collect();
    let changed = changes(&first, &after);
    let mut tests = |i: usize| -> Vec<TestedHead> {
        let (change, heads) = (&changed[i], &after[i].heads);
        let mut all: Vec<Head> = heads.iter().chain(&base.heads).copied().collect();
        all.sort();
        all.dedup();
        let emergent = change.emergent.clone().unwrap_or_default();
        let tested = |head: Head| {
            let fate = match (heads.contains(&head), base.heads.contains(&head)) {
                (true, true) => Fate::Retained,
                (false, _) => Fate::Lost,
                (true, false) if emergent.contains(&head) => Fate::Emergent,
                (true, false) => Fate::New,
            };
            let found = fate == Fate::Emergent;
            let effect = around(if found { 0.7 } else { 0.4 * rng.random::<f64>() - 0.2 }, 0.25);
            let p_value = if found { 0.002 } else { 0.2 + 0.7 * rng.random::<f64>() };
            TestedHead {
                head,
                fate,
                before: 0.1,
                after: 0.2,
                effect,
                base_frequency: 0.5,
                frequency: 0.9,
                p_value,
                found,
            }
        };
        all.into_iter().map(tested).collect()
    };
    let checkpoints = run.checkpoints.iter().enumerate().map(|(i, c)| CheckpointHeads {
        label: c.label.clone(),
        step: c.step,
        circuit: facts(c),
        noise: noise(&c.label),
        tests: tests(i),
    });
    HeadStudy {
        training: run.name.clone(),
        suite: suite.into(),
        rule: "top180".into(),
        checkpoints: checkpoints.collect(),
        cohorts: cohorts(&first, &after),
        frequency: frequency(&first, &after),
        effects: run.effects.clone(),
        base_noise: noise("base"),
        dynamics: stats::lagged_spearman(&[0.1, 0.3, 0.2, 0.5, 0.4, 0.1], &[0.2, 0.1, 0.4, 0.3, 0.6, 0.2], 1),
        changes: changed,
        base,
    }
}

fn measures(at_1: f64) -> Measures {
    let at = |k: usize, x: f64| AtK { k, value: share(1.0 - (1.0 - x).powi(k as i32)) };
    Measures {
        problems: 400,
        samples: 8,
        records: 3200,
        pass_at_1: share(at_1),
        pass_at_k: [1, 2, 4, 8].map(|k| at(k, at_1)).to_vec(),
        success_at_k: [1, 2, 4, 8].map(|k| at(k, at_1 * 0.95)).to_vec(),
        maj_at_k: [1, 2, 4, 8].map(|k| at(k, at_1 * 0.9)).to_vec(),
        tokens: around(120.0, 9.0),
        truncated: share(0.02),
        looping: share(0.01),
        unanswered: share(0.03),
        minimum_detectable_effect: 0.09,
    }
}

fn think(results: &Results) -> ThinkStudy {
    let last = results.trainings[1].checkpoints.last().expect("checkpoints");
    let (on, off) = (results.base.circuit.clone().expect("one"), last.circuit.clone().expect("one"));
    let only = |a: &CircuitFacts, b: &CircuitFacts| -> Vec<Head> {
        a.heads.iter().copied().filter(|h| !b.heads.contains(h)).collect()
    };
    let condition = |mode, action, at| ThinkCondition {
        benchmark: results.task.suites[0].name.clone(),
        mode,
        action,
        heads: if action.is_some() { only(&off, &on) } else { Vec::new() },
        measures: measures(at),
        thinks: Some(if mode == ThinkMode::On { 1.0 } else { 0.0 }),
        rates: Vec::new(),
        difference: None,
    };
    ThinkStudy {
        checkpoint: last.label.clone(),
        benchmark: results.task.suites[0].name.clone(),
        rule: "top180".into(),
        pairs: 32,
        on_only: only(&on, &off),
        off_only: only(&off, &on),
        tests: Vec::new(),
        noise: results.noise.clone().expect("one"),
        conditions: vec![
            condition(ThinkMode::On, None, 0.6),
            condition(ThinkMode::Off, None, 0.3),
            condition(ThinkMode::Off, Some(Action::Zero), 0.34),
            condition(ThinkMode::Off, Some(Action::Scale { factor: 0.5 }), 0.25),
        ],
        on,
        off,
    }
}

fn cases(label: &str, benchmark: &str) -> Cases {
    let sample = |text: &str, answer: Option<&str>, correct, failures: &[Failure]| CaseSample {
        text: text.into(),
        answer: answer.map(str::to_owned),
        correct,
        failures: failures.to_vec(),
    };
    Cases {
        checkpoint: label.into(),
        against: "base".into(),
        benchmark: benchmark.into(),
        newly_solved: (0..40).map(|i| format!("hard-{i}")).collect(),
        newly_missed: vec!["hard-91".into(), "hard-92".into()],
        mcnemar: Mcnemar { only_before: 2, only_after: 40, p_value: 1e-9 },
        failures: vec![
            FailureCount { kind: Failure::Truncated, before: 30, after: 2 },
            FailureCount { kind: Failure::ArithmeticSlip, before: 5, after: 19 },
            FailureCount { kind: Failure::LeftOut, before: 41, after: 0 },
        ],
        examples: vec![Case {
            id: "hard-0".into(),
            problem: "47+28+36=".into(),
            answer: "111".into(),
            newly_solved: true,
            before: sample("101", Some("101"), false, &[Failure::WrongAnswer]),
            after: sample("<think>47+28=75;75+36=111</think>111", Some("111"), true, &[]),
        }],
    }
}

fn transfer(results: &Results, from: &str, rng: &mut ChaCha8Rng) -> Transfer {
    let heads = results.trainings[0].changes.last().expect("one").gained.clone();
    Transfer {
        from: from.into(),
        into: "base".into(),
        suite: results.task.suites[0].name.clone(),
        set: HeadSet::New,
        metric: "logit-diff".into(),
        before: 0.4,
        after: 1.9,
        source: 4.0,
        change: around(1.5, 0.5),
        share: Some(1.5 / 3.6),
        random: (0..19)
            .map(|_| TransferDraw { heads: heads.clone(), change: rng.random::<f64>() - 0.3 })
            .collect(),
        p_value: Some(0.05),
        heads,
    }
}

fn roles(results: &Results, label: &str, suite: &str, rng: &mut ChaCha8Rng) -> HeadRoles {
    let model = &results.model;
    let all: Vec<Head> = (0..model.n_layers)
        .flat_map(|layer| (0..model.n_heads).map(move |head| Head { layer, head }))
        .collect();
    let one = |(i, &head): (usize, &Head)| {
        let share = |at: usize| if at == i % 11 { 0.7 } else { 0.05 };
        let attended: Vec<Attended> = (Relation::ALL.into_iter().enumerate())
            .map(|(at, relation)| Attended { relation, share: share(at), equal: 0.2 })
            .collect();
        let scores = TokenScores { copying: 0.3, matching: -0.2 };
        HeadRole { head, role: circuits::role(&attended), attended, scores }
    };
    let tokens: Vec<String> = ["47", "+", "28", "+", "36", "="].map(str::to_owned).to_vec();
    let mut row = |q: usize| {
        let weights: Vec<f64> = (0..=q).map(|_| rng.random()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|w| (1000.0 * w / sum).round() as u16).collect()
    };
    let heads = all
        .iter()
        .take(16)
        .map(|&head| HeadAttention { head, rows: (0..6).map(&mut row).collect() })
        .collect();
    HeadRoles {
        checkpoint: label.into(),
        suite: suite.into(),
        heads: all.iter().enumerate().map(one).collect(),
        example: Some(AttentionExample { pair: "0".into(), tokens, heads }),
    }
}

fn hypotheses() -> Vec<Hypothesis> {
    let one =
        |id: &str, claim: &str, (effect, unit): (Option<Interval>, Unit), verdict: Verdict| Hypothesis {
            id: id.into(),
            claim: claim.into(),
            source: "section 4".into(),
            measure: "a number that was invented".into(),
            unit: Some(unit),
            effect,
            test: "permutation test over heads".into(),
            p_value: effect.map(|_| 0.004),
            corrected: effect.map(|_| 0.02),
            minimum_effect: effect.map(|_| 0.21),
            verdict,
            reason: "Invented for a test.".into(),
        };
    vec![
        one(
            "sft-accumulates",
            "SFT accumulates heads",
            (Some(around(4.0, 2.0)), Unit::Heads),
            Verdict::Supported,
        ),
        one(
            "grpo-prunes",
            "GRPO searches and prunes with reward",
            (Some(around(0.05, 0.3)), Unit::Correlation),
            Verdict::CannotTell,
        ),
        one("off-recruits", "Off-mode recruits more heads", (None, Unit::Heads), Verdict::CannotTell),
        one(
            "hard-easy",
            "Strengthened heads help hard and hurt easy problems",
            (Some(around(-0.2, 0.1)), Unit::Accuracy),
            Verdict::NotSupported,
        ),
    ]
}

fn control(planted: bool) -> Control {
    let head: Head = "L2H1".parse().expect("a head");
    let trial = |seed: u64| ControlTrial {
        seed,
        planted: if planted { vec![head] } else { Vec::new() },
        new: vec![head],
        emergent: if planted { vec![head] } else { Vec::new() },
        lost: Vec::new(),
        tested: 32,
        changed: 1,
        found: planted && seed != 3,
    };
    let n = 20;
    let trials: Vec<ControlTrial> = (0..n).map(trial).collect();
    let found = trials.iter().filter(|t| t.found).count();
    Control {
        planted: if planted {
            "one head does what another did".into()
        } else {
            "noise on every weight".into()
        },
        command: "sparks study controls".into(),
        rate: wilson(found, trials.len(), 0.95),
        trials,
        head_rate: (!planted).then(|| wilson(1, 300, 0.95)),
        level: 0.05,
    }
}
