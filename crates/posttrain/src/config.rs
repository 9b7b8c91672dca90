//! Settings that every trainer shares: length and batch, AdamW and clipping, the learning rate, the seed.
//!
//! They name no file: where data, weights and run folder lie is the caller's. Each section is a struct with
//! serde names and defaults of its own, so that a caller can put it into a configuration file.

use glob::Pattern;
use serde::{Deserialize, Serialize};

use crate::{Error, Ranks, Schedule};

pub use crate::schedule::{Decline, Kind};

/// What SFT and GRPO have in common.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainerConfig {
    /// Length of the run and size of a batch.
    pub train: TrainConfig,
    /// AdamW and clipping.
    pub optimizer: OptimizerConfig,
    /// Learning rate over the run.
    pub schedule: ScheduleConfig,
    /// Seed of shuffling and sampling.
    pub seed: u64,
}

impl TrainerConfig {
    /// Optimiser steps of a run whose epochs take `per_epoch` steps: `steps` where it is given, else
    /// `ceil(epochs * per_epoch)` as in `transformers.Trainer`.
    pub fn steps(&self, per_epoch: usize) -> usize {
        match self.train.steps {
            Some(steps) => steps,
            None => (self.train.epochs.unwrap_or(1.0) * per_epoch as f64).ceil() as usize,
        }
    }

    /// The learning-rate schedule of a run of `updates` optimiser updates.
    pub fn schedule(&self, updates: usize) -> Schedule {
        let s = &self.schedule;
        let part = |ratio: f64| (ratio * updates as f64).ceil() as usize;
        let warmup = if s.warmup_steps > 0 { s.warmup_steps } else { part(s.warmup_ratio) };
        Schedule {
            kind: s.kind,
            lr: self.optimizer.lr,
            warmup,
            steps: updates,
            min_ratio: s.min_lr_ratio,
            decay: part(s.decay_ratio.unwrap_or(0.1)),
            decline: s.decay.unwrap_or_default(),
            cycles: s.cycles.unwrap_or(1),
        }
    }

    /// Checks the range of every value.
    ///
    /// # Errors
    /// The first value out of its range, with what was expected.
    pub fn check(&self) -> Result<(), Error> {
        let (t, o, s) = (&self.train, &self.optimizer, &self.schedule);
        if t.steps.is_some() && t.epochs.is_some() {
            return Err(Error::input("train.steps and train.epochs: expected one of the two"));
        }
        if s.warmup_steps > 0 && s.warmup_ratio > 0.0 {
            return Err(Error::input(
                "schedule.warmup_steps and schedule.warmup_ratio: expected one of the two",
            ));
        }
        s.check()?;
        o.groups.iter().try_for_each(|group| group.check(o.lr))?;
        check_ranges(&[
            ("train.steps", t.steps.unwrap_or(1) as f64, 1.0, 1e15, "from 1"),
            ("train.epochs", t.epochs.unwrap_or(1.0), f64::MIN_POSITIVE, 1e9, "above 0"),
            ("train.batch_size", t.batch_size as f64, 1.0, 1e9, "from 1"),
            ("train.accumulation", t.accumulation as f64, 1.0, 1e9, "from 1"),
            ("train.groups", t.groups.unwrap_or(1) as f64, 1.0, 1e6, "from 1"),
            ("optimizer.lr", o.lr, 0.0, f64::MAX, "a number from 0"),
            ("optimizer.betas[0]", o.betas[0], 0.0, 0.999_999_999, "from 0 and below 1"),
            ("optimizer.betas[1]", o.betas[1], 0.0, 0.999_999_999, "from 0 and below 1"),
            ("optimizer.eps", o.eps, f64::MIN_POSITIVE, f64::MAX, "above 0"),
            ("optimizer.weight_decay", o.weight_decay, 0.0, f64::MAX, "a number from 0"),
            ("optimizer.max_grad_norm", o.max_grad_norm, 0.0, f64::MAX, "a number from 0 (0: no clipping)"),
            ("schedule.warmup_ratio", s.warmup_ratio, 0.0, 1.0, "from 0 to 1"),
            ("schedule.min_lr_ratio", s.min_lr_ratio, 0.0, 1.0, "from 0 to 1"),
            ("schedule.decay_ratio", s.decay_ratio.unwrap_or(0.1), 0.0, 1.0, "from 0 to 1"),
            ("schedule.cycles", s.cycles.unwrap_or(1) as f64, 1.0, 1e9, "from 1"),
        ])
    }
}

/// A setting's name, its value, the least and the greatest allowed, and that range in words.
pub type Range<'a> = (&'a str, f64, f64, f64, &'a str);

/// Checks that every value lies in its range.
///
/// # Errors
/// The first value that does not.
pub fn check_ranges(ranges: &[Range<'_>]) -> Result<(), Error> {
    match ranges.iter().find(|(_, value, low, high, _)| !(*low..=*high).contains(value)) {
        Some((name, value, _, _, expected)) => {
            Err(Error::input(format!("{name} is {value}, expected {expected}")))
        }
        None => Ok(()),
    }
}

/// Length of a run and size of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// Optimiser steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Passes over the data, where `steps` is not given; 1 where neither is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Rows of a forward pass.
    pub batch_size: usize,
    /// Forward passes of an optimiser step.
    pub accumulation: usize,
    /// Groups of an optimiser step's forward passes. The gradients of a group are summed, then the groups' sums, each in
    /// order: the bits depend on the groups and not on how many ranks make them. A multiple of the ranks, and their
    /// number where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Keep the residual stream between blocks only, and run each block again in the backward pass: the same bits,
    /// less memory, a third more time.
    pub recompute: bool,
}

impl TrainConfig {
    /// Examples of an optimiser step.
    pub fn examples(&self) -> usize {
        self.batch_size * self.accumulation
    }

    /// The groups of steps of up to `passes` forward passes.
    ///
    /// # Errors
    /// No multiple of the ranks, or more groups than passes: a rank would have nothing to do.
    pub fn groups(&self, ranks: &dyn Ranks, passes: usize) -> Result<usize, Error> {
        let groups = self.groups.unwrap_or(ranks.count());
        if !groups.is_multiple_of(ranks.count()) {
            return Err(Error::input(format!(
                "train.groups is {groups}, expected a multiple of the {} ranks",
                ranks.count()
            )));
        }
        if groups > passes {
            return Err(Error::input(format!(
                "train.groups is {groups} (the number of ranks where it is not given), expected at most the {passes} \
                 forward passes of a step: give more of them, by a larger train.accumulation (sft) or a smaller \
                 train.batch_size (grpo)"
            )));
        }
        Ok(groups)
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self { steps: None, epochs: None, batch_size: 8, accumulation: 1, groups: None, recompute: false }
    }
}

/// Which parameters decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Those of two dimensions, embeddings included.
    #[default]
    Matrices,
    /// Biases and norms too.
    All,
}

/// AdamW (Loshchilov and Hutter 2019) and clipping by the global norm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OptimizerConfig {
    /// The full learning rate.
    pub lr: f64,
    /// Decays of the two moments.
    pub betas: [f64; 2],
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Which parameters decay.
    pub decay: Decay,
    /// Largest global gradient norm; larger gradients are scaled down to it. 0 clips nothing.
    pub max_grad_norm: f64,
    /// Parameters with settings of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

/// Parameters with settings of their own: those whose name fits `pattern` and no earlier group's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// For whole names such as `model.layers.3.mlp.up_proj.weight`: `*` is any text, `?` one character, `[0-3]` one
    /// of several (the crate `glob`).
    pub pattern: String,
    /// Full learning rate, in place of `optimizer.lr`; the schedule's shape is the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Weight decay of all of them, in place of `optimizer.weight_decay` and `optimizer.decay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// They stay as they are, and cost neither gradients nor moments.
    pub frozen: bool,
}

impl Group {
    pub(crate) fn compiled(&self) -> Result<Pattern, Error> {
        let bad = |e| Error::input(format!("optimizer.groups: `{}` is no pattern: {e}", self.pattern));
        Pattern::new(&self.pattern).map_err(bad)
    }

    fn check(&self, lr: f64) -> Result<(), Error> {
        let refuse =
            |what: &str| Err(Error::input(format!("optimizer.groups: the group `{}` {what}", self.pattern)));
        if self.pattern.is_empty() {
            return Err(Error::input(
                "optimizer.groups: a group without pattern, expected names of parameters",
            ));
        }
        self.compiled()?;
        match (self.lr, self.weight_decay, self.frozen) {
            (None, None, false) => {
                return refuse("changes nothing: expected lr, weight_decay or frozen = true");
            }
            (None, None, true) => {}
            (_, _, true) => return refuse("is frozen: its lr and weight_decay have no effect"),
            (Some(_), ..) if lr == 0.0 => {
                return refuse("has an lr where optimizer.lr is 0: freeze the others");
            }
            _ => {}
        }
        check_ranges(&[
            ("optimizer.groups: lr", self.lr.unwrap_or(0.0), 0.0, f64::MAX, "a number from 0"),
            (
                "optimizer.groups: weight_decay",
                self.weight_decay.unwrap_or(0.0),
                0.0,
                f64::MAX,
                "a number from 0",
            ),
        ])
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            lr: 2e-5,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            decay: Decay::Matrices,
            max_grad_norm: 1.0,
            groups: Vec::new(),
        }
    }
}

/// The learning rate over a run: see [`Schedule`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ScheduleConfig {
    /// Shape after the warm-up.
    pub kind: Kind,
    /// Updates of linear warm-up.
    pub warmup_steps: usize,
    /// Share of the run that is warm-up, where `warmup_steps` is 0; rounded up.
    pub warmup_ratio: f64,
    /// Last rate over full rate.
    pub min_lr_ratio: f64,
    /// Share of the run that decays in [`Kind::Wsd`]; 0.1 where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_ratio: Option<f64>,
    /// The way down in [`Kind::Wsd`]; a straight line where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<Decline>,
    /// Cycles in [`Kind::CosineWithRestarts`]; 1 where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<usize>,
}

impl ScheduleConfig {
    /// Refuses settings without an effect on this kind.
    fn check(&self) -> Result<(), Error> {
        let of = |key: &str, kind: &str| {
            Err(Error::input(format!("schedule.{key} has no effect without schedule.kind = \"{kind}\"")))
        };
        match self.kind {
            Kind::Wsd => {}
            _ if self.decay_ratio.is_some() => return of("decay_ratio", "wsd"),
            _ if self.decay.is_some() => return of("decay", "wsd"),
            _ => {}
        }
        if self.cycles.is_some() && self.kind != Kind::CosineWithRestarts {
            return of("cycles", "cosine_with_restarts");
        }
        if self.min_lr_ratio > 0.0 && self.kind == Kind::Constant {
            return Err(Error::input(
                "schedule.min_lr_ratio has no effect with schedule.kind = \"constant\"",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let wrong = |change: fn(&mut TrainerConfig)| {
            let mut config = TrainerConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(wrong(|c| c.train.steps = Some(0)).contains("train.steps is 0, expected from 1"));
        assert!(wrong(|c| c.optimizer.betas[1] = 1.0).contains("betas[1]"));
        assert!(wrong(|c| c.optimizer.lr = f64::NAN).contains("optimizer.lr"));
        assert!(wrong(|c| c.schedule.cycles = Some(2)).contains("schedule.cycles has no effect"));
        let groups = |pattern: &str, lr, frozen| {
            let mut config = TrainerConfig::default();
            let group = Group { pattern: pattern.to_owned(), lr, frozen, ..Group::default() };
            config.optimizer.groups.push(group);
            config.check().unwrap_err().to_string()
        };
        assert!(groups("*.bias", None, false).contains("`*.bias` changes nothing"));
        assert!(groups("*.bias", Some(1e-3), true).contains("`*.bias` is frozen"));
        assert!(groups("*.bias", Some(-1.0), false).contains("optimizer.groups: lr is -1"));
        assert!(groups("[0", None, true).contains("`[0` is no pattern"));
        assert!(wrong(|c| (c.train.steps, c.train.epochs) = (Some(3), Some(1.0))).contains("one of the two"));
    }

    #[test]
    fn epochs_become_steps_as_in_transformers() {
        let mut config = TrainerConfig::default();
        config.train.epochs = Some(0.5);
        assert_eq!(config.steps(3), 2);
        config.schedule.warmup_ratio = 0.1;
        assert_eq!(config.schedule(15).warmup, 2);
        (config.train.epochs, config.train.steps) = (None, Some(7));
        assert_eq!(config.steps(3), 7);
    }
}
