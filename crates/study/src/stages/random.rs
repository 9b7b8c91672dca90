//! Random sets of heads, as many in each layer as a given set: the controls of interventions and transfers.

use hooks::Head;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The fewest draws with which a p-value of 0.05 can be had.
pub(crate) const ENOUGH: usize = 19;

/// At most `n` different sets of random heads of the same layers: a small model has few, and a set drawn twice is no
/// second control.
pub(crate) fn draws(heads: &[Head], n_heads: usize, n: usize, seed: u64) -> Vec<Vec<Head>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7261_6e64);
    let mut sets: Vec<Vec<Head>> = Vec::new();
    for _ in 0..20 * n {
        let drawn = same_layers(heads, n_heads, &mut rng);
        if sets.len() < n && drawn != heads && !sets.contains(&drawn) {
            sets.push(drawn);
        }
    }
    sets
}

/// The share of values, the observed one counted among them, that are at least as large; `None` with too few draws.
pub(crate) fn p_value(observed: f64, drawn: &[f64]) -> Option<f64> {
    let as_large = drawn.iter().filter(|&&x| x >= observed - 1e-12).count();
    (drawn.len() >= ENOUGH).then(|| (as_large + 1) as f64 / (drawn.len() + 1) as f64)
}

/// As many heads in each layer as `heads` has there: others where the layer has enough, at random.
fn same_layers(heads: &[Head], n_heads: usize, rng: &mut ChaCha8Rng) -> Vec<Head> {
    let mut layers: Vec<usize> = heads.iter().map(|h| h.layer).collect();
    layers.sort_unstable();
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
        assert_eq!(draws(&heads, 4, 19, 0).len(), 3);
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
            assert_ne!(drawn[0], heads[0], "the layer has three others");
            assert!(drawn[1..].contains(&"L2H2".parse().expect("a head")), "the only other one");
        }
    }

    #[test]
    fn p_values_count_the_observed_one_and_need_enough_draws() {
        assert_eq!(p_value(5.0, &[1.0; 19]), Some(0.05));
        assert_eq!(p_value(1.0, &[1.0; 19]), Some(1.0));
        assert_eq!(p_value(5.0, &[1.0; 18]), None);
    }
}
