//! Arithmetic on head sets: heads kept, new, emergent and lost against the base; births, deaths and turnover
//! between checkpoints. Pure functions of sets; the test behind "emergent" is [`circuits::Emergence`].

use std::collections::BTreeSet;

use hooks::Head;

use crate::results::{Cohort, HeadChange, HeadFrequency};

/// The heads found at one checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadsAt {
    /// Optimiser steps done.
    pub step: u64,
    /// Heads of the circuit.
    pub heads: Vec<Head>,
    /// Heads, in the circuit or not, whose change since the base is found at the false-discovery rate; `None`
    /// where no test was made.
    pub changed: Option<Vec<Head>>,
    /// Mean reward (or loss) around this step.
    pub reward: Option<f64>,
}

fn minus(a: &BTreeSet<Head>, b: &BTreeSet<Head>) -> Vec<Head> {
    a.difference(b).copied().collect()
}

/// Heads in one set and not the other, over heads in either; 0 for two empty sets. One minus Jaccard's index.
pub fn turnover(a: &[Head], b: &[Head]) -> f64 {
    let (a, b): (BTreeSet<Head>, BTreeSet<Head>) = (a.iter().copied().collect(), b.iter().copied().collect());
    let either = a.union(&b).count();
    if either == 0 { 0.0 } else { a.symmetric_difference(&b).count() as f64 / either as f64 }
}

/// The change of the head set at each checkpoint, against the base and against the checkpoint before (Thinking
/// Sparks, Figures 2 and 3). The base is the checkpoint before the first. A head in a checkpoint's circuit and
/// not in the base's is new (`gained`); a new head in [`HeadsAt::changed`] is emergent.
pub fn changes(base: &HeadsAt, checkpoints: &[HeadsAt]) -> Vec<HeadChange> {
    let base_heads: BTreeSet<Head> = base.heads.iter().copied().collect();
    let mut before = base;
    let mut all = Vec::with_capacity(checkpoints.len());
    for now in checkpoints {
        let previous: BTreeSet<Head> = before.heads.iter().copied().collect();
        let current: BTreeSet<Head> = now.heads.iter().copied().collect();
        all.push(HeadChange {
            step: now.step,
            kept: base_heads.intersection(&current).copied().collect(),
            gained: minus(&current, &base_heads),
            emergent: now.changed.as_ref().map(|changed| {
                minus(&current, &base_heads).into_iter().filter(|head| changed.contains(head)).collect()
            }),
            lost: minus(&base_heads, &current),
            births: minus(&current, &previous),
            deaths: minus(&previous, &current),
            turnover: turnover(&before.heads, &now.heads),
            reward_change: now.reward.zip(before.reward).map(|(now, before)| now - before),
        });
        before = now;
    }
    all
}

/// New heads by the checkpoint at which each was first in a circuit, with how many of them are in the circuit of each
/// checkpoint from that one on (Thinking Sparks, Figures 2A and 3A). Checkpoints without a first head are left out.
pub fn cohorts(base: &HeadsAt, checkpoints: &[HeadsAt]) -> Vec<Cohort> {
    let mut seen: BTreeSet<Head> = base.heads.iter().copied().collect();
    let mut all = Vec::new();
    for (at, now) in checkpoints.iter().enumerate() {
        let heads: Vec<Head> = now.heads.iter().copied().filter(|head| seen.insert(*head)).collect();
        let alive = |later: &HeadsAt| heads.iter().filter(|head| later.heads.contains(head)).count();
        let alive = checkpoints[at..].iter().map(alive).collect();
        if !heads.is_empty() {
            all.push(Cohort { step: now.step, heads, alive });
        }
    }
    all
}

/// How often each head was in a circuit, over checkpoints; the base is not one of them (Thinking Sparks, Figures 2B
/// and 3C). Heads that are in no circuit are left out.
pub fn frequency(base: &HeadsAt, checkpoints: &[HeadsAt]) -> Vec<HeadFrequency> {
    let every = checkpoints.iter().chain([base]).flat_map(|at| at.heads.iter().copied());
    let heads: BTreeSet<Head> = every.collect();
    let row = |head: Head| {
        let times = checkpoints.iter().filter(|at| at.heads.contains(&head)).count();
        HeadFrequency {
            head,
            share: times as f64 / checkpoints.len().max(1) as f64,
            base: base.heads.contains(&head),
            last: checkpoints.last().is_some_and(|at| at.heads.contains(&head)),
        }
    };
    heads.into_iter().map(row).collect()
}

/// Effect of post-training on a head (Thinking Sparks, A.6): `(post − pre) / (post + pre + 10⁻⁶)` of the head's
/// shares of importance, from −1 (only before) to 1 (only after).
pub fn effect(pre: f64, post: f64) -> f64 {
    (post - pre) / (post + pre + 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64, heads: &[&str], reward: f64) -> HeadsAt {
        let heads = heads.iter().map(|h| h.parse().expect("a head")).collect();
        HeadsAt { step, heads, changed: Some(vec!["L2H2".parse().expect("a head")]), reward: Some(reward) }
    }

    fn names(heads: &[Head]) -> Vec<String> {
        heads.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn heads_come_and_go() {
        let base = at(0, &["L0H0", "L1H1"], 0.2);
        let all = changes(&base, &[at(10, &["L0H0", "L2H2"], 0.5), at(20, &["L0H0", "L1H1"], 0.4)]);
        assert_eq!(names(&all[0].gained), ["L2H2"]);
        assert_eq!(all[0].emergent, Some(all[0].gained.clone()));
        assert_eq!(all[1].emergent, Some(vec![]), "changed, but not new");
        assert_eq!((names(&all[0].lost), names(&all[0].births)), (vec!["L1H1".into()], vec!["L2H2".into()]));
        assert!((all[0].turnover - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(
            (names(&all[1].births), names(&all[1].deaths)),
            (vec!["L1H1".into()], vec!["L2H2".into()])
        );
        assert!(all[1].gained.is_empty() && all[1].kept.len() == 2);
        assert!((all[1].reward_change.expect("known") + 0.1).abs() < 1e-12);
        assert_eq!(turnover(&[], &[]), 0.0);
    }

    #[test]
    fn cohorts_and_frequencies_are_those_counted_by_hand() {
        // By hand: L2H2 comes at 10, goes at 20, is back at 30; L1H3 comes at 30; L0H0 stays; L1H1 goes at 10.
        let base = at(0, &["L0H0", "L1H1"], 0.2);
        let run = [
            at(10, &["L0H0", "L2H2"], 0.5),
            at(20, &["L0H0", "L1H1"], 0.4),
            at(30, &["L0H0", "L2H2", "L1H3"], 0.6),
        ];
        let found = cohorts(&base, &run);
        assert_eq!(
            found.iter().map(|c| (c.step, names(&c.heads), c.alive.clone())).collect::<Vec<_>>(),
            [(10, vec!["L2H2".to_owned()], vec![1, 0, 1]), (30, vec!["L1H3".to_owned()], vec![1]),]
        );
        let rows: Vec<(String, f64, bool, bool)> = frequency(&base, &run)
            .into_iter()
            .map(|f| (f.head.to_string(), 3.0 * f.share, f.base, f.last))
            .collect();
        assert_eq!(
            rows,
            [
                ("L0H0".into(), 3.0, true, true),
                ("L1H1".into(), 1.0, true, false),
                ("L1H3".into(), 1.0, false, true),
                ("L2H2".into(), 2.0, false, true),
            ]
        );
    }

    #[test]
    fn effects_are_bounded() {
        assert!(effect(0.0, 0.3) > 0.99 && effect(0.3, 0.0) < -0.99);
        assert_eq!(effect(0.1, 0.1), 0.0);
        assert_eq!(effect(0.0, 0.0), 0.0);
    }
}
