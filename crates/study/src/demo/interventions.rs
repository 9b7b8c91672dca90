//! Interventions: heads ablated or scaled while a model answers, with random heads of the same layers as control.

use ablation::{Ablation, Fill};
use hooks::{Head, HookedModel as _};
use model_qwen::Qwen;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Demo, Suite, solve};
use crate::Error;
use crate::results::{Action, HeadSet, Intervention, RandomDraw, Training};

/// Problems that each intervention is measured on.
const PROBLEMS: usize = 150;

/// Random draws beside an intervention that no claim rests on.
const FEW_DRAWS: usize = 3;

/// The scale factors of the paper.
const FACTORS: [f64; 2] = [0.5, 1.3];

/// One run's interventions.
pub(super) struct Run<'a> {
    pub(super) demo: &'a Demo,
    pub(super) suite: &'a Suite,
    pub(super) training: &'a Training,
    /// The run's last checkpoint.
    pub(super) model: &'a Qwen,
    pub(super) base: &'a Qwen,
}

/// Every intervention on the heads of one run. Each set is zeroed in the trained model; emergent heads are also
/// scaled there and in the base, and so are the new heads where some of them are not emergent.
pub(super) fn all(run: &Run<'_>, mut watch: impl FnMut(f64)) -> Result<Vec<Intervention>, Error> {
    let Some(change) = run.training.changes.last() else { return Ok(Vec::new()) };
    let label = run.training.checkpoints.last().map_or("", |c| c.label.as_str());
    let emergent = change.emergent.clone().unwrap_or_default();
    let mut gained = vec![HeadSet::Emergent];
    if emergent != change.gained {
        gained.push(HeadSet::New);
    }
    let zeroed = gained.iter().copied().chain([HeadSet::Kept, HeadSet::Lost]);
    let mut plan: Vec<(&str, &Qwen, HeadSet, Action)> =
        zeroed.map(|set| (label, run.model, set, Action::Zero)).collect();
    for set in gained {
        for factor in FACTORS {
            plan.push((label, run.model, set, Action::Scale { factor }));
            plan.push(("base", run.base, set, Action::Scale { factor }));
        }
    }
    let mut done = Vec::new();
    let n = plan.len();
    for (at, (checkpoint, model, set, action)) in plan.into_iter().enumerate() {
        watch(at as f64 / n as f64);
        let heads = match set {
            HeadSet::Emergent => &emergent,
            HeadSet::New => &change.gained,
            HeadSet::Kept => &change.kept,
            _ => &change.lost,
        };
        if !heads.is_empty() {
            done.push(one(run, (checkpoint, model), (set, heads), action)?);
        }
    }
    Ok(done)
}

fn one(
    run: &Run<'_>,
    (checkpoint, model): (&str, &Qwen),
    (set, heads): (HeadSet, &[Head]),
    action: Action,
) -> Result<Intervention, Error> {
    let problems = &run.suite.problems[..PROBLEMS.min(run.suite.problems.len())];
    let changed = |heads: &[Head]| -> Result<_, Error> {
        let wiring = model.wiring();
        let heads = heads.iter().copied();
        let mut hook = match action {
            Action::Scale { factor } => Ablation::scale(wiring, heads, factor)?,
            Action::Zero | Action::Mean | Action::Resample => Ablation::heads(wiring, heads, Fill::Zero)?,
        };
        Ok(solve::solve(model, problems, &mut hook)?.interval())
    };
    let mut rng = ChaCha8Rng::seed_from_u64(run.demo.seed ^ 0x7261_6e64);
    // The claim that a run needs its emergent (or new) heads is tested; p = 0.05 takes at least 19 draws.
    let tested = matches!(set, HeadSet::Emergent | HeadSet::New) && action == Action::Zero;
    let draws = if tested { run.demo.draws } else { FEW_DRAWS };
    let random = distinct_draws(heads, run.model.config.n_heads, draws, &mut rng)
        .into_iter()
        .map(|heads| Ok(RandomDraw { accuracy: changed(&heads)?, heads }))
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(Intervention {
        checkpoint: checkpoint.into(),
        training: run.training.name.clone(),
        set,
        action,
        heads: heads.to_vec(),
        suite: run.suite.name.into(),
        n: problems.len(),
        samples: 1,
        difference: None,
        rates: Vec::new(),
        unanswered: None,
        tokens: None,
        p_value: None,
        untouched: solve::solve(model, problems, &mut ())?.interval(),
        accuracy: changed(heads)?,
        random,
    })
}

/// At most `n` different sets of random heads: a small model has few, and a set drawn twice is no second control.
fn distinct_draws(heads: &[Head], n_heads: usize, n: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<Head>> {
    let mut sets: Vec<Vec<Head>> = Vec::new();
    for _ in 0..20 * n {
        let drawn = same_layers(heads, n_heads, rng);
        if sets.len() < n && drawn != heads && !sets.contains(&drawn) {
            sets.push(drawn);
        }
    }
    sets
}

/// As many heads in each layer as `heads` has there: others where the layer has enough, at random.
fn same_layers(heads: &[Head], n_heads: usize, rng: &mut ChaCha8Rng) -> Vec<Head> {
    let mut layers: Vec<usize> = heads.iter().map(|h| h.layer).collect();
    layers.dedup();
    let mut drawn = Vec::new();
    for layer in layers {
        let inside: Vec<usize> = heads.iter().filter(|h| h.layer == layer).map(|h| h.head).collect();
        let mut others: Vec<usize> = (0..n_heads).filter(|h| !inside.contains(h)).collect();
        let mut same = inside.clone();
        others.shuffle(rng);
        same.shuffle(rng);
        others.extend(same);
        drawn.extend(others.into_iter().take(inside.len()).map(|head| Head { layer, head }));
    }
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_set_is_drawn_twice() {
        let heads: Vec<Head> = "L2H0".parse().into_iter().collect();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert_eq!(distinct_draws(&heads, 4, 19, &mut rng).len(), 3);
    }

    #[test]
    fn random_heads_match_layers_and_avoid_the_set_where_they_can() {
        let heads: Vec<Head> =
            ["L0H1", "L2H0", "L2H1", "L2H3"].iter().filter_map(|h| h.parse().ok()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for _ in 0..50 {
            let drawn = same_layers(&heads, 4, &mut rng);
            let layers = |heads: &[Head]| heads.iter().map(|h| h.layer).collect::<Vec<_>>();
            assert_eq!(layers(&drawn), layers(&heads));
            assert!(!drawn.contains(&heads[0]), "layer 0 has three others");
            assert!(drawn.iter().any(|h| h.layer == 2 && h.head == 2), "layer 2 has one other");
        }
    }
}
