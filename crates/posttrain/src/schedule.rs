//! Learning rates over a run, as `transformers` defines them.

use serde::{Deserialize, Serialize};

/// The shape of a schedule after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The full rate.
    Constant,
    /// A straight line to the minimum at the last step.
    #[default]
    Linear,
    /// Half a cosine to the minimum at the last step.
    Cosine,
    /// Half a cosine to the minimum, several times: each cycle begins at the full rate.
    CosineWithRestarts,
    /// Warm-up, stable, decay: the full rate, then down to the minimum over the last part of the run.
    Wsd,
}

/// The way down in [`Kind::Wsd`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Decline {
    /// A straight line.
    #[default]
    #[serde(rename = "linear")]
    Linear,
    /// Half a cosine.
    #[serde(rename = "cosine")]
    Cosine,
    /// One less the square root of the share that is done.
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

/// The learning rate as a function of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Shape after the warm-up.
    pub kind: Kind,
    /// The full rate.
    pub lr: f64,
    /// Steps of linear warm-up: from 0, in [`Kind::Wsd`] from the minimum, to the full rate.
    pub warmup: usize,
    /// Steps of the run.
    pub steps: usize,
    /// The rate at the end over the full rate.
    pub min_ratio: f64,
    /// Steps of the decay in [`Kind::Wsd`].
    pub decay: usize,
    /// The decay's shape in [`Kind::Wsd`].
    pub decline: Decline,
    /// Cycles in [`Kind::CosineWithRestarts`].
    pub cycles: usize,
}

impl Schedule {
    /// The rate of step `k`, counted from 0 (`transformers.optimization.get_scheduler`).
    pub fn rate(&self, k: usize) -> f64 {
        let above_min = |factor: f64| self.lr * (factor * (1.0 - self.min_ratio) + self.min_ratio);
        if k < self.warmup {
            let done = k as f64 / self.warmup as f64;
            return if self.kind == Kind::Wsd { above_min(done) } else { self.lr * done };
        }
        let done = |start: usize| {
            let whole = self.steps.saturating_sub(start).max(1);
            (k.saturating_sub(start) as f64 / whole as f64).min(1.0)
        };
        let cosine = |done: f64| 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
        above_min(match self.kind {
            Kind::Constant => return self.lr,
            Kind::Linear => 1.0 - done(self.warmup),
            Kind::Cosine => cosine(done(self.warmup)),
            Kind::CosineWithRestarts => match done(self.warmup) {
                1.0 => 0.0,
                done => cosine((done * self.cycles as f64).fract()),
            },
            Kind::Wsd => {
                let done = done(self.steps.saturating_sub(self.decay).max(self.warmup));
                match self.decline {
                    Decline::Linear => 1.0 - done,
                    Decline::Cosine => cosine(done),
                    Decline::OneMinusSqrt => 1.0 - done.sqrt(),
                }
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Rates of steps 0 to 20 of `transformers.get_scheduler` (tools/oracles/schedules.py): a name, a tab, numbers.
    #[test]
    fn rates_are_those_of_transformers() {
        let base = Schedule {
            kind: Kind::Constant,
            lr: 1e-3,
            warmup: 4,
            steps: 20,
            min_ratio: 0.0,
            decay: 6,
            decline: Decline::Linear,
            cycles: 3,
        };
        let of = |name: &str| match name {
            "constant" => Schedule { warmup: 0, ..base },
            "constant_with_warmup" => base,
            "linear" => Schedule { kind: Kind::Linear, ..base },
            "linear_without_warmup" => Schedule { kind: Kind::Linear, warmup: 0, ..base },
            "cosine" => Schedule { kind: Kind::Cosine, ..base },
            "cosine_with_min_lr" => Schedule { kind: Kind::Cosine, min_ratio: 0.1, ..base },
            "cosine_with_restarts" => Schedule { kind: Kind::CosineWithRestarts, ..base },
            "wsd_linear" => Schedule { kind: Kind::Wsd, ..base },
            "wsd_cosine" => Schedule { kind: Kind::Wsd, decline: Decline::Cosine, min_ratio: 0.1, ..base },
            "wsd_1-sqrt" => {
                Schedule { kind: Kind::Wsd, decline: Decline::OneMinusSqrt, min_ratio: 0.1, ..base }
            }
            other => panic!("{other}"),
        };
        let mut seen = 0;
        for line in include_str!("../testdata/schedules.tsv").lines() {
            let (name, rates) = line.split_once('\t').unwrap();
            for (k, expected) in rates.split_whitespace().enumerate() {
                let (found, expected) = (of(name).rate(k), expected.parse::<f64>().unwrap());
                // A handful of f64 roundings.
                assert!((found - expected).abs() < 1e-18, "{name} step {k}: {found} {expected}");
                seen += 1;
            }
        }
        assert_eq!(seen, 10 * 21);
    }

    /// `transformers` has no floor for these two.
    #[test]
    fn a_floor_is_the_last_rate() {
        let linear = Schedule {
            kind: Kind::Linear,
            lr: 1e-3,
            warmup: 4,
            steps: 20,
            min_ratio: 0.1,
            decay: 4,
            decline: Decline::Linear,
            cycles: 2,
        };
        assert!((linear.rate(20) - 1e-4).abs() < 1e-18 && (linear.rate(4) - 1e-3).abs() < 1e-18);
        let restarts = Schedule { kind: Kind::CosineWithRestarts, ..linear };
        assert!((restarts.rate(20) - 1e-4).abs() < 1e-18 && (restarts.rate(12) - 1e-3).abs() < 1e-18);
    }
}
