//! Completions with their rewards and advantages, of one generation or several.

use crate::advantage::{is_still, of_table};
use crate::reward::RewardTable;
use crate::{Advantage, Aggregation, Error, GrpoConfig, Rollout, ZeroVariance};

/// How rewards become advantages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Baseline {
    group: usize,
    kind: Advantage,
    aggregation: Aggregation,
    zero_variance: ZeroVariance,
    /// Groups of a step.
    groups: usize,
    /// Further generations that may be asked for.
    resample: usize,
}

impl From<&GrpoConfig> for Baseline {
    fn from(config: &GrpoConfig) -> Self {
        Self {
            group: config.group_size,
            kind: config.advantage,
            aggregation: config.aggregation,
            zero_variance: config.zero_variance,
            groups: config.prompts,
            resample: config.resample,
        }
    }
}

/// Completions with their rewards.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    pub(crate) all: Vec<Rollout>,
    pub(crate) table: RewardTable,
    /// The weighted sums.
    pub(crate) totals: Vec<f32>,
    pub(crate) advantages: Vec<f32>,
    /// By group: whether a step trains on it.
    pub(crate) used: Vec<bool>,
    pub(crate) generations: usize,
    how: Baseline,
}

impl Scored {
    /// # Errors
    /// A reward that is infinite, naming it, the prompt and the completion.
    pub(crate) fn new(all: Vec<Rollout>, table: RewardTable, how: Baseline) -> Result<Self, Error> {
        for (at, name) in table.names().iter().enumerate() {
            if let Some((i, r)) = table.values(at).iter().enumerate().find(|(_, r)| r.is_infinite()) {
                return Err(Error::input(format!(
                    "reward `{name}` of completion {} of prompt {} is {r}, expected a finite number, or NaN for what cannot be judged",
                    i % how.group,
                    all[i].prompt,
                )));
            }
        }
        let (totals, advantages, used) = (Vec::new(), Vec::new(), Vec::new());
        let mut scored = Self { all, table, totals, advantages, used, generations: 1, how };
        scored.compare();
        Ok(scored)
    }

    /// Whether another generation should be sampled and [appended](Self::append): fewer than `grpo.prompts` groups have
    /// rewards that differ, and `grpo.resample` allows one more (dynamic sampling, Yu et al. 2025).
    pub fn wants_more(&self) -> bool {
        let differ = self.used.iter().filter(|used| **used).count();
        differ < self.how.groups && self.generations <= self.how.resample
    }

    /// Adds another generation. A step trains on the first `grpo.prompts` groups whose rewards differ; the reward in
    /// metrics is that of all.
    pub fn append(&mut self, other: Self) {
        let groups = self.used.len();
        self.all.extend(other.all.into_iter().map(|r| Rollout { prompt: r.prompt + groups, ..r }));
        self.table.append(other.table);
        self.generations += other.generations;
        self.compare();
    }

    /// Totals, which groups are used, and advantages among those.
    fn compare(&mut self) {
        self.totals = self.table.totals();
        let groups = self.totals.chunks(self.how.group);
        let drop = self.how.zero_variance == ZeroVariance::Drop;
        let mut room = self.how.groups.max(if drop { 0 } else { groups.len() });
        self.used = groups
            .map(|rewards| {
                let used = room > 0 && !(drop && is_still(rewards));
                room -= usize::from(used);
                used
            })
            .collect();
        let kept: Vec<usize> = (0..self.all.len()).filter(|at| self.used[at / self.how.group]).collect();
        let among = of_table(&self.table.rows(&kept), self.how.group, self.how.kind, self.how.aggregation);
        self.advantages = vec![0.0; self.all.len()];
        kept.into_iter().zip(among).for_each(|(at, advantage)| self.advantages[at] = advantage);
    }

    /// Each completion with its reward and its advantage.
    pub fn iter(&self) -> impl Iterator<Item = (&Rollout, f32, f32)> {
        self.all.iter().zip(&self.totals).zip(&self.advantages).map(|((r, &reward), &a)| (r, reward, a))
    }

    /// Completions that a step trains on, with their advantages.
    pub(crate) fn used(&self) -> impl Iterator<Item = (&Rollout, f32)> {
        let used = |at: usize| self.used[at / self.how.group];
        let each = self.all.iter().zip(&self.advantages).enumerate();
        each.filter(move |(at, _)| used(*at)).map(|(_, (rollout, &advantage))| (rollout, advantage))
    }

    /// The total rewards, group after group.
    pub fn rewards(&self) -> &[f32] {
        &self.totals
    }

    /// Every reward by itself.
    pub fn table(&self) -> &RewardTable {
        &self.table
    }

    /// Completions of a prompt.
    pub fn group_size(&self) -> usize {
        self.how.group
    }
}
