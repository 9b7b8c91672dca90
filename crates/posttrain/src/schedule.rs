//! Learning rates over a run, as `transformers` defines them.

use serde::{Deserialize, Serialize};

/// The shape of a schedule after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The full rate.
    Constant,
    /// A straight line to the minimum at the last step.
    #[default]
    Linear,
    /// Half a cosine to the minimum at the last step.
    Cosine,
    /// Warm-up, stable, decay: the full rate, then a straight line over the last part of the run.
    Wsd,
}

/// The learning rate as a function of the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Shape after the warm-up.
    pub kind: Kind,
    /// The full rate.
    pub lr: f64,
    /// Steps of linear warm-up: step k of it has `k / warmup` of the full rate.
    pub warmup: usize,
    /// Steps of the run.
    pub steps: usize,
    /// The rate at the end over the full rate.
    pub min_ratio: f64,
    /// Steps of the decay in [`Kind::Wsd`].
    pub decay: usize,
}

impl Schedule {
    /// The rate of step `k`, counted from 0 (`transformers.optimization`, `get_*_schedule_with_warmup`).
    pub fn rate(&self, k: usize) -> f64 {
        if k < self.warmup {
            return self.lr * k as f64 / self.warmup as f64;
        }
        let done = |start: usize| {
            let whole = self.steps.saturating_sub(start).max(1);
            (k.saturating_sub(start) as f64 / whole as f64).min(1.0)
        };
        let factor = match self.kind {
            Kind::Constant => return self.lr,
            Kind::Linear => 1.0 - done(self.warmup),
            Kind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done(self.warmup)).cos()),
            Kind::Wsd => 1.0 - done(self.steps.saturating_sub(self.decay).max(self.warmup)),
        };
        self.lr * (factor * (1.0 - self.min_ratio) + self.min_ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: Kind) -> Schedule {
        Schedule { kind, lr: 1e-3, warmup: 4, steps: 20, min_ratio: 0.0, decay: 4 }
    }

    #[test]
    fn rates_are_those_of_transformers() {
        let cosine = schedule(Kind::Cosine);
        assert_eq!(cosine.rate(0), 0.0);
        assert_eq!(cosine.rate(3), 0.75e-3);
        assert_eq!(cosine.rate(4), 1e-3);
        assert!((cosine.rate(5) - 0.000_990_392_640_201_615_3).abs() < 1e-18);
        let linear = schedule(Kind::Linear);
        assert_eq!((linear.rate(12), linear.rate(20)), (0.5e-3, 0.0));
        let wsd = schedule(Kind::Wsd);
        assert_eq!((wsd.rate(16), wsd.rate(18), wsd.rate(20)), (1e-3, 0.5e-3, 0.0));
        let floor = Schedule { min_ratio: 0.1, ..linear };
        assert!((floor.rate(20) - 1e-4).abs() < 1e-18 && (floor.rate(4) - 1e-3).abs() < 1e-18);
        assert_eq!(schedule(Kind::Constant).rate(19), 1e-3);
        let no_warmup = Schedule { warmup: 0, ..linear };
        assert_eq!(no_warmup.rate(0), 1e-3);
    }
}
