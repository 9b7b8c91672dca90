//! Coverage of the intervals: between 93 and 97 % of simulated runs have an interval that holds the true value,
//! for a nominal 95 %.
#![allow(clippy::expect_used)]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stats::{
    bootstrap_mean, clustered, mcnemar, minimum_detectable_effect, paired_bootstrap, unpaired_sd, wilson,
};

/// Share of `runs` in which `holds`.
fn coverage(runs: u64, mut holds: impl FnMut(&mut ChaCha8Rng) -> bool) -> f64 {
    let covered = (0..runs).filter(|i| holds(&mut ChaCha8Rng::seed_from_u64(*i))).count();
    covered as f64 / runs as f64
}

/// A problem's own accuracy, uniform on `[m - w, m + w]`.
fn accuracy(rng: &mut ChaCha8Rng, m: f64, w: f64) -> f64 {
    m + w * (2.0 * rng.random::<f64>() - 1.0)
}

#[test]
fn wilson_covers() {
    for n in [30, 83, 500] {
        let c = coverage(4000, |rng| {
            let p = 0.1 + 0.8 * rng.random::<f64>();
            let x = (0..n).filter(|_| rng.random::<f64>() < p).count();
            let w = wilson(x, n, 0.95);
            (w.low..=w.high).contains(&p)
        });
        assert!((0.93..=0.97).contains(&c), "n = {n}: {c}");
    }
}

#[test]
fn clustered_covers_with_correlated_samples() {
    // Problems differ much (w = ½), a little, or not at all; the truth is the mean over the population of problems.
    for (problems, samples, mean, width) in [
        (30, 64, 0.5, 0.5),
        (30, 4, 0.3, 0.3),
        (83, 8, 0.6, 0.4),
        (40, 1, 0.5, 0.5),
        (200, 4, 0.2, 0.2),
        (30, 16, 0.5, 0.0),
    ] {
        let c = coverage(3000, |rng| {
            let rates: Vec<f64> = (0..problems)
                .map(|_| {
                    let p = accuracy(rng, mean, width);
                    (0..samples).filter(|_| rng.random::<f64>() < p).count() as f64 / samples as f64
                })
                .collect();
            let i = clustered(&rates, 0.95);
            (i.low..=i.high).contains(&mean)
        });
        assert!((0.93..=0.97).contains(&c), "{problems} problems, {samples} samples, {mean} ± {width}: {c}");
    }
}

#[test]
fn bootstraps_cover() {
    let lengths = coverage(2000, |rng| {
        let xs: Vec<f64> =
            (0..60).map(|_| 100.0 + 50.0 * rng.random::<f64>() + 50.0 * rng.random::<f64>()).collect();
        let i = bootstrap_mean(&xs, 0.95, 600, 1);
        (i.low..=i.high).contains(&150.0)
    });
    assert!((0.93..=0.97).contains(&lengths), "{lengths}");
    let differences = coverage(2000, |rng| {
        let (mut before, mut after) = (vec![], vec![]);
        for _ in 0..83 {
            let p = accuracy(rng, 0.5, 0.4);
            before.push(f64::from(u8::from(rng.random::<f64>() < p)));
            after.push(f64::from(u8::from(rng.random::<f64>() < p + 0.1)));
        }
        let d = paired_bootstrap(&before, &after, 0.95, 600, 1).difference;
        (d.low..=d.high).contains(&0.1)
    });
    assert!((0.93..=0.97).contains(&differences), "{differences}");
}

#[test]
fn tests_keep_their_level_and_the_effect_is_detected_as_promised() {
    let null = |rng: &mut ChaCha8Rng, shift: f64| -> (Vec<bool>, Vec<bool>) {
        (0..83).map(|_| (rng.random::<f64>() < 0.5, rng.random::<f64>() < 0.5 + shift)).unzip()
    };
    let rejected = coverage(3000, |rng| {
        let (a, b) = null(rng, 0.0);
        mcnemar(&a, &b).p_value < 0.05
    });
    assert!(rejected <= 0.05, "{rejected}");
    // Two independent runs of 200 problems: the minimum detectable effect is found in about 80 % of trials.
    let effect = minimum_detectable_effect(200, unpaired_sd(1, 0.5, 0.25), 0.05, 0.8);
    let power = coverage(3000, |rng| {
        let mean = |rng: &mut ChaCha8Rng, p: f64| {
            (0..200).filter(|_| rng.random::<f64>() < p).count() as f64 / 200.0
        };
        let (a, b) = (mean(rng, 0.5 - effect / 2.0), mean(rng, 0.5 + effect / 2.0));
        let se = ((a * (1.0 - a) + b * (1.0 - b)) / 200.0).sqrt();
        (b - a).abs() > 1.96 * se
    });
    assert!((0.76..=0.86).contains(&power), "{power}");
}
