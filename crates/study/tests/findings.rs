//! The findings and warnings of synthetic results: each verdict can go either way.
#![allow(clippy::unwrap_used)]

#[path = "synthetic/page.rs"]
mod page;
#[path = "synthetic/stages.rs"]
mod stages;
mod synthetic;

use hooks::Head;
use stats::Interval;
use study::report::{ClaimVerdict, findings};
use study::results::{
    Accuracy, Action, Answers, BenchmarkFacts, CheckpointFacts, ControlTrial, HeadSet, Intervention,
    MatchedNoise, Results, SeedRun, SeedTraining, Stability, ThinkMode,
};

use self::page::{section, written};

#[test]
fn lost_heads_within_the_noise_are_no_more_certain_than_new_ones() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    floor(&mut results, 16.0);
    let (page, _dir) = written(&results);
    assert!(section(&page, "summary").contains(
        "no more heads differ than the choice of pairs makes: the circuit differs from the base’s by "
    ));
    assert_eq!(finding(&results, "SFT changed which heads").1, ClaimVerdict::Open);
    assert!(section(&page, "heads").contains(" to 16 in 95 % of draws, new and lost heads together"));
    floor(&mut results, 0.0);
    assert!(!section(&written(&results).0, "summary").contains("than the choice of pairs makes"));
}

/// Sets the upper end of the base's noise floor, and of all others to 0.
fn floor(results: &mut Results, high: f64) {
    results.noise.as_mut().unwrap().changed_heads.high = high;
    for study in &mut results.heads {
        study.base_noise.changed_heads.high = high;
        study.checkpoints.iter_mut().for_each(|c| c.noise.changed_heads.high = 0.0);
    }
}

/// The evidence and verdict of the finding whose claim begins so.
fn finding(results: &Results, claim: &str) -> (String, ClaimVerdict) {
    let all = findings(results);
    let one = all.iter().find(|f| f.claim.starts_with(claim));
    one.map(|f| (format!("{}. {}", f.claim, f.evidence), f.verdict)).expect(claim)
}

#[test]
fn a_rise_on_one_kind_of_problem_alone_is_said_so() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let (suite, last) = (results.task.suites[0].name.clone(), &results.trainings[0].checkpoints);
    let last = last.last().unwrap().label.clone();
    let (hard, sound) = ([0.0, 0.5, 0.0, 0.5], [1.0, 1.0, 0.0, 0.0]);
    results.benchmarks.push(BenchmarkFacts {
        name: suite.clone(),
        description: String::new(),
        level: None,
        n: 4,
        samples: 2,
        template: "plain".into(),
        temperature: 0.7,
        max_tokens: 44,
        problems: ["three-1", "three-2", "four-1", "four-2"].map(String::from).to_vec(),
    });
    for (label, rates) in [("base", hard), (last.as_str(), sound)] {
        results.answers.push(Answers {
            checkpoint: label.into(),
            benchmark: suite.clone(),
            measures: results.think[0].conditions[0].measures.clone(),
            rates: rates.to_vec(),
            gain: None,
        });
    }
    let (said, verdict) = finding(&results, "SFT raises accuracy");
    assert_eq!(verdict, ClaimVerdict::Holds);
    assert!(said.contains(": on kind three, not four. "), "{said}");
    assert!(said.contains("three 25\u{202f}% before, 100\u{202f}% after (n = 2); four 25\u{202f}% before, 0\u{202f}% after (n = 2)"), "{said}");
    let (page, _dir) = written(&results);
    assert!(section(&page, "summary").contains(" (on kind three, not four), "));
    assert!(section(&page, "accuracy").contains("By kind of problem"));
    // Ids without kinds say nothing.
    results.benchmarks.iter_mut().for_each(|b| b.problems = vec!["train-1".into(), "train-2".into()]);
    assert!(!finding(&results, "SFT raises accuracy").0.contains("By kind"));
}

#[test]
fn a_base_circuit_that_explains_nothing_makes_new_and_lost_heads_uncertain() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    floor(&mut results, 0.0);
    let strong = results.base.circuit.as_mut().unwrap();
    (strong.clean, strong.corrupt, strong.faithfulness, strong.nulls) = (6.0, -6.0, 0.9, vec![0.1]);
    let changed = |results: &Results| finding(results, "SFT changed which heads").1;
    let faithful = |results: &Results| finding(results, "The circuit of base");
    assert_eq!((changed(&results), faithful(&results).1), (ClaimVerdict::Holds, ClaimVerdict::Holds));
    // Random circuits of either kind that come nearer to 1; one that is farther above it does not count.
    let with = |results: &mut Results, nulls: &[f64], degree: &[f64]| {
        let weak = results.base.circuit.as_mut().unwrap();
        (weak.nulls, weak.degree_nulls) = (nulls.to_vec(), degree.to_vec());
    };
    with(&mut results, &[0.1, 1.2], &[]);
    assert_eq!((changed(&results), faithful(&results).1), (ClaimVerdict::Holds, ClaimVerdict::Holds));
    with(&mut results, &[0.1], &[1.05]);
    assert_eq!((changed(&results), faithful(&results).1), (ClaimVerdict::Open, ClaimVerdict::Fails));
    let said = section(&written(&results).0, "summary")
        .contains("it keeps 0.90, and of 2 random circuits the nearest to 1 1.05.");
    assert!(said);
    // One that keeps much more than the whole model does not explain it.
    with(&mut results, &[0.1], &[]);
    results.base.circuit.as_mut().unwrap().faithfulness = 1.6;
    assert_eq!((changed(&results), faithful(&results).1), (ClaimVerdict::Open, ClaimVerdict::Open));
    // Where there is nothing to explain neither can be told.
    let weak = results.base.circuit.as_mut().unwrap();
    (weak.clean, weak.corrupt, weak.faithfulness) = (0.1, 0.0, 0.9);
    assert_eq!((changed(&results), faithful(&results).1), (ClaimVerdict::Open, ClaimVerdict::Open));
    let page = written(&results).0;
    for id in ["summary", "heads"] {
        assert!(
            section(&page, id).contains("hardly differs between clean (0.10) and corrupt prompts (0.00)"),
            "{id}"
        );
    }
    assert!(section(&page, "summary").contains("no difference to explain"));
}

#[test]
fn a_lost_head_is_needed_where_random_heads_do_less_harm() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let lost = |i: &&mut Intervention| i.set == HeadSet::Lost && i.action == Action::Zero;
    let at = |estimate: f64| Interval { estimate, low: estimate - 0.04, high: estimate + 0.04 };
    let mut verdict = |change: f64, random: f64| {
        for row in results.interventions.iter_mut().filter(lost) {
            row.difference = Some(at(change));
            row.accuracy = at(0.9 + change);
            let mut draw = row.random.first().cloned().unwrap();
            draw.accuracy = at(random);
            row.random = vec![draw; 19];
        }
        let all = findings(&results);
        all.iter().find(|f| f.claim.contains("needs its lost heads")).unwrap().verdict
    };
    assert_eq!(
        [verdict(-0.5, 0.9), verdict(-0.5, 0.4), verdict(0.0, 0.9), verdict(-0.03, 0.9)],
        [ClaimVerdict::Holds, ClaimVerdict::Open, ClaimVerdict::Fails, ClaimVerdict::Open]
    );
}

#[test]
fn emergent_heads_of_other_seeds_are_counted_beside_chance() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let heads = results.trainings[0].changes.last().unwrap().emergent.clone().unwrap();
    assert!(heads.len() > 1);
    let mut same = |theirs: &[Head]| {
        let runs = [results.run.seed, results.run.seed + 1].map(|seed| {
            let mut run = other_seed(&results, 0.1, 0.5);
            run.seed = seed;
            run.trainings[0].emergent =
                if seed == results.run.seed { heads.clone() } else { theirs.to_vec() };
            run
        });
        results.stability = Some(Stability { command: "a".into(), differ: None, runs: runs.to_vec() });
        finding(&results, "Other seeds of SFT")
    };
    let one = &heads[..1];
    assert_eq!(
        [same(&heads).1, same(one).1, same(&[]).1],
        [ClaimVerdict::Holds, ClaimVerdict::Open, ClaimVerdict::Fails]
    );
    let (said, _) = same(one);
    assert!(said.contains(&format!("seed 2 finds 1 of the {} ({}) (", heads.len(), heads[0])), "{said}");
}

#[test]
fn chance_draws_from_the_heads_of_the_layer_that_the_base_leaves() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let head = |text: &str| -> Head { text.parse().unwrap() };
    // Of the four heads of layer 1 the base has two: the other seed's one new head is one of the other two.
    results.trainings[0].changes.last_mut().unwrap().emergent = Some(vec![head("L1H0"), head("L2H0")]);
    let mut other = other_seed(&results, 0.1, 0.5);
    other.base_heads = vec![head("L1H2"), head("L1H3"), head("L2H0")];
    (other.trainings[0].emergent, other.trainings[0].new) = (vec![head("L1H1")], vec![head("L1H1")]);
    let mut mine = other.clone();
    mine.seed = results.run.seed;
    results.stability = Some(Stability { command: "a".into(), differ: None, runs: vec![mine, other] });
    let (said, _) = finding(&results, "Other seeds of SFT");
    assert!(
        said.contains("seed 2 finds 0 of the 2 (0.5 expected, and its base’s circuit has 1 of them already)"),
        "{said}"
    );
    // L1H0 and L1H1, each in both with (1/2)²; one of them with 1/2, of which 9,999 draws have a standard error of 0.005.
    let (_, told) = said
        .split_once(
            "New in every seed (L1H1) (0.50 expected, at least as many by chance with p\u{202f}=\u{202f}",
        )
        .expect(&said);
    let p: f64 = told[..5].parse().unwrap();
    assert!((p - 0.5).abs() < 0.02, "{said}");
}

#[test]
fn thinking_that_is_not_off_is_warned_of() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let mut warned = |share: f64| {
        let off = results.think[0].conditions.iter_mut().filter(|c| c.mode == ThinkMode::Off);
        off.for_each(|c| c.thinks = Some(share));
        study::caveats(&results).iter().filter(|w| w.finding.contains("of an unusual beginning")).count()
    };
    assert_eq!((warned(0.1), warned(0.99)), (0, 1));
}

#[test]
fn a_test_of_heads_counts_all_heads_beside_noise() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let last = results.heads[0].checkpoints.last_mut().unwrap();
    let (found, n) = (last.tests.iter().filter(|t| t.found).count(), last.tests.len());
    let controls = results.controls.as_mut().unwrap();
    controls.matched.clear();
    let noise = controls.negative.as_mut().unwrap();
    noise.trials.iter_mut().for_each(|trial| trial.changed = trial.tested / 2);
    let (said, _) = finding(&results, "SFT changed which heads");
    let half = n as f64 / 2.0;
    assert!(
        said.contains(&format!(
            "Of all {n} heads it finds {found} changed, and {half:.1} on average where noise alone"
        )),
        "{said}"
    );
}

/// Noise as large as a training's change: heads, p-value and lost heads by hand.
#[test]
fn a_training_stands_beside_noise_as_large_as_its_change() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let last = results.trainings[0].changes.last_mut().unwrap();
    let head = |layer, head| Head { layer, head };
    last.gained = vec![head(0, 0), head(0, 1), head(1, 0)];
    last.emergent = Some(vec![head(0, 0), head(0, 1)]);
    last.lost = vec![head(2, 0), head(2, 1)];
    let controls = results.controls.as_mut().unwrap();
    let trial = |seed: u64, emergent: Vec<Head>, lost: Vec<Head>| ControlTrial {
        seed,
        planted: Vec::new(),
        new: [&emergent[..], &[head(3, 3)]].concat(),
        found: !emergent.is_empty(),
        emergent,
        lost,
        tested: 32,
        changed: 4 + 2 * seed as usize,
    };
    controls.matched = vec![MatchedNoise {
        training: "SFT".into(),
        change: 0.147,
        command: "sparks study".into(),
        trials: vec![
            trial(0, vec![], vec![head(2, 1)]),
            trial(1, vec![head(0, 0)], vec![head(2, 1), head(2, 0), head(3, 0)]),
            trial(2, vec![head(0, 0), head(0, 2)], vec![head(2, 1)]),
            trial(3, vec![], vec![]),
        ],
    }];
    let (said, _) = finding(&results, "SFT changed which heads");
    // Changed: 7 of 32 on average, so 2.8 of the study's 13. New: 1, 2, 3, 1; emergent: 0, 1, 2, 0, of which one trial has the two of SFT: p = 2 of 5.
    for words in [
        "Noise as large as SFT’s change of the weights makes 1.8 heads new and 0.8 emergent on average, never more than 3 and 2 \
         (4 trials); in 1 of 4 trials as many are emergent as after SFT (one-sided p\u{202f}=\u{202f}0.400).",
        "changed, and 2.8 on average where noise as large as SFT’s change moved the weights.",
        "Of the lost heads, noise as large as SFT’s change loses L2H1 in 3, L2H0 in 1 of 4 trials.",
        "Of the new heads, noise as large as SFT’s change makes L0H0 in 2 of 4 trials.",
        // Together 2, 5, 4, 1 heads, of which one trial has the five of SFT.
        "differ from the base’s, new and lost heads together, by 3.0 on average, and by as many as after SFT in 1 of 4 trials \
         (one-sided p\u{202f}=\u{202f}0.400).",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    // Without such trials the noise of the negative control is named.
    results.controls.as_mut().unwrap().matched.clear();
    let (said, _) = finding(&results, "SFT changed which heads");
    assert!(!said.contains("as large as") && said.contains("on average where noise alone"), "{said}");
}

/// Another seed's study, in which SFT goes from `before` to `after` on the main benchmark.
fn other_seed(results: &Results, before: f64, after: f64) -> SeedRun {
    let at = |estimate: f64| Accuracy {
        interval: Interval { estimate, low: estimate - 0.04, high: estimate + 0.04 },
        ..results.base.accuracy[0].clone()
    };
    SeedRun {
        seed: results.run.seed + 1,
        base: vec![at(before)],
        base_heads: Vec::new(),
        trainings: vec![SeedTraining {
            name: "SFT".into(),
            accuracy: vec![at(after)],
            new: Vec::new(),
            emergent: Vec::new(),
            lost: Vec::new(),
        }],
        verdicts: Vec::new(),
    }
}

#[test]
fn a_gain_that_another_seed_does_not_have_is_not_called_shown() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let mut raises = |after: f64| {
        let run = other_seed(&results, 0.05, after);
        results.stability = Some(Stability { command: "a".into(), differ: None, runs: vec![run] });
        finding(&results, "SFT raises accuracy")
    };
    assert_eq!(raises(0.5).1, ClaimVerdict::Holds);
    let (said, verdict) = raises(0.06);
    assert_eq!(verdict, ClaimVerdict::Open);
    assert!(
        said.contains(" Other seeds: 5.0\u{202f}% before, 6.0\u{202f}% after (+1.0 points [−4.7 to +6.7]). It rises in this seed; of 1 other seed 1 does not show it."),
        "{said}"
    );
}

#[test]
fn a_loss_that_matters_and_one_that_is_ruled_out_are_told_apart() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let suite = results.base.accuracy[1].suite.clone();
    let last = results.trainings[0].checkpoints.last().unwrap().label.clone();
    let at = |estimate: f64| Interval { estimate, low: estimate - 0.04, high: estimate + 0.04 };
    results.answers.push(Answers {
        checkpoint: last,
        benchmark: suite,
        measures: results.think[0].conditions[0].measures.clone(),
        rates: Vec::new(),
        gain: None,
    });
    let mut costs = |change: f64| {
        results.answers.last_mut().unwrap().gain = Some(at(change));
        finding(&results, "SFT costs accuracy").1
    };
    assert_eq!(
        [costs(-0.5), costs(0.0), costs(-0.03)],
        [ClaimVerdict::Holds, ClaimVerdict::Fails, ClaimVerdict::Open]
    );
}

#[test]
fn pairs_that_ask_something_else_than_what_was_learned_are_warned_of() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let suite = results.heads[0].suite.clone();
    let (old, new) = (results.task.suites[0].name.clone(), suite.clone());
    results.task.suites[0].name = suite;
    let all = std::iter::once(&mut results.base)
        .chain(results.trainings.iter_mut().flat_map(|t| &mut t.checkpoints));
    all.flat_map(|c| &mut c.accuracy).filter(|a| a.suite == old).for_each(|a| a.suite.clone_from(&new));
    let gap = |c: &mut CheckpointFacts, clean: f64| {
        let circuit = c.circuit.as_mut().unwrap();
        (circuit.clean, circuit.corrupt) = (clean, -clean);
    };
    gap(&mut results.base, 0.1);
    results.trainings[0].gain = Some(Interval { estimate: 0.5, low: 0.4, high: 0.6 });
    let mut warned = |after: f64| {
        results.trainings[0].checkpoints.iter_mut().for_each(|c| gap(c, after));
        gap(results.trainings[1].checkpoints.last_mut().unwrap(), 6.0);
        study::caveats(&results)
            .iter()
            .filter(|w| w.claim.contains("SFT") && w.claim.contains("what it learned"))
            .count()
    };
    assert_eq!((warned(0.05), warned(5.0)), (1, 0));
}

#[test]
fn a_rule_that_leaves_the_base_no_head_is_warned_of() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    let warned = |results: &Results| {
        study::caveats(results)
            .iter()
            .filter(|w| w.finding.contains("every head of a later circuit is new"))
            .count()
    };
    assert_eq!(warned(&results), 0);
    results.heads[0].base.heads.clear();
    assert_eq!(warned(&results), 1);
}

#[test]
fn transfers_are_judged_by_direction_alone() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    // The two checkpoints differ by +3.6.
    let mut judged = |change: f64, random: f64, two: f64| {
        let row = &mut results.transfers[0];
        row.change.estimate = change;
        row.random.iter_mut().for_each(|draw| draw.change = random);
        row.random[..2].iter_mut().for_each(|draw| draw.change = two);
        let all = findings(&results);
        all.iter().find(|f| f.claim.contains("take more of its behaviour along")).unwrap().verdict
    };
    assert_eq!(judged(1.5, 0.5, 0.5), ClaimVerdict::Holds);
    // Two sets go further, the other way.
    assert_eq!(judged(1.5, 0.5, -2.0), ClaimVerdict::Holds);
    assert_eq!(judged(1.5, 0.5, 2.0), ClaimVerdict::Open);
    assert_eq!(judged(0.1, 0.5, 0.5), ClaimVerdict::Fails);
    // Less far the other way than all others is nothing taken along.
    assert_eq!(judged(-0.1, -0.5, -0.5), ClaimVerdict::Open);
}

#[test]
fn heads_change_beyond_the_noise_of_both_circuits() {
    let mut results = stages::complete(synthetic::results(1, 1.0));
    floor(&mut results, 0.0);
    assert_eq!(finding(&results, "SFT changed which heads").1, ClaimVerdict::Holds);
    results.heads[0].checkpoints.last_mut().unwrap().noise.changed_heads.high = 16.0;
    let (said, verdict) = finding(&results, "SFT changed which heads");
    assert_eq!(verdict, ClaimVerdict::Open);
    assert!(said.contains(" to 16, the wider of"), "{said}");
}
