//! What is measured at the end of a run: one number for each example, from its logits.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};
use serde::{Deserialize, Serialize};

use crate::{Error, Pair};

/// Right and wrong next tokens of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Accepted next tokens.
    pub answers: Vec<u32>,
    /// Tokens set against them.
    pub distractors: Vec<u32>,
}

/// How well a run answers. Larger is better for the first two, worse for the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Mean logit of the answers minus mean logit of the distractors (or alone, where there are none).
    LogitDiff,
    /// Summed probability of the answers minus that of the distractors.
    ProbDiff,
    /// Kullback-Leibler divergence from the clean run's distribution, in nats, summed over the vocabulary.
    Kl,
    /// Negative log of the answers' summed probability, in nats.
    Nll,
}

/// At which positions a metric is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// The last of the prompt.
    #[default]
    Last,
    /// Every position that predicts a token of the answer, the answer being given token by token.
    Answer,
    /// Every position of the clean prompt, each predicting the next token.
    All,
}

impl Metric {
    /// The metric of each pair over all the positions that it is read at: the sum over positions for
    /// [`Metric::Nll`] (so that it is that of a whole answer), the mean for the others.
    ///
    /// # Shapes
    /// `logits` and `clean` `[batch, n, vocab]` with `n` the pairs' number of [targets](Pair::targets), the
    /// last positions of each row; returns `[batch]`, differentiable in `logits`.
    ///
    /// # Panics
    /// As [`values`](Self::values).
    pub fn of_pairs(self, logits: Tensor<3>, pairs: &[&Pair], clean: Option<&Tensor<3>>) -> Tensor<1> {
        let [batch, n, vocab] = logits.dims();
        let at = |x: &Tensor<3>, p: usize| x.clone().slice([0..batch, p..p + 1, 0..vocab]);
        let mut sum: Option<Tensor<1>> = None;
        for p in 0..n {
            let targets: Vec<&Target> = pairs
                .iter()
                .map(|pair| {
                    assert_eq!(pair.n_targets(), n, "pair {}: one row of logits for each target", pair.id);
                    pair.earlier.get(p).unwrap_or(&pair.target)
                })
                .collect();
            let here = self.values(at(&logits, p), &targets, clean.map(|c| at(c, p)).as_ref());
            sum = Some(match sum {
                Some(sum) => sum + here,
                None => here,
            });
        }
        let sum = sum.expect("a pair has a target");
        if self == Metric::Nll || n == 1 { sum } else { sum / n as f64 }
    }

    /// [`of_pairs`](Self::of_pairs) as numbers.
    ///
    /// # Errors
    /// A value that is not finite, which a model with broken weights gives; the message names the pair.
    pub fn read(
        self,
        logits: Tensor<3>,
        pairs: &[&Pair],
        clean: Option<&Tensor<3>>,
    ) -> Result<Vec<f32>, Error> {
        let values = self.of_pairs(logits.inner(), pairs, clean).try_to_vec_as::<f32>();
        let values = values.map_err(|e| Error::input(format!("reading the metric: {e}")))?;
        match values.iter().zip(pairs).find(|(value, _)| !value.is_finite()) {
            None => Ok(values),
            Some((value, pair)) => Err(Error::input(format!(
                "pair {}: the metric {self} is {value}, expected a number; are the weights numbers?",
                pair.id
            ))),
        }
    }

    /// The metric of each example at one position.
    ///
    /// # Shapes
    /// `logits` and `clean` `[batch, 1, vocab]` at the position that predicts the answer (`clean` is read by
    /// [`Metric::Kl`] only); returns `[batch]`, differentiable in `logits`.
    ///
    /// # Panics
    /// If shapes do not match, or a target lacks what the metric needs: see [`check`](Self::check).
    pub fn values(self, logits: Tensor<3>, targets: &[&Target], clean: Option<&Tensor<3>>) -> Tensor<1> {
        let [batch, rows, vocab] = logits.dims();
        assert_eq!((batch, rows), (targets.len(), 1), "one row of logits for each target");
        let per_example = |i: usize| {
            let row = logits.clone().slice([i..i + 1, 0..1, 0..vocab]).reshape([vocab]);
            let pick = |row: &Tensor<1>, ids: &[u32]| {
                let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
                let index =
                    Tensor::<1, Int>::from_data(TensorData::from(&ids[..]), &row.device().without_autodiff());
                row.clone().select(0, index)
            };
            let Target { answers, distractors } = targets[i];
            match self {
                Metric::LogitDiff => {
                    let right = pick(&row, answers).mean();
                    if distractors.is_empty() { right } else { right - pick(&row, distractors).mean() }
                }
                Metric::ProbDiff => {
                    let p = log_softmax(row, 0).exp();
                    let right = pick(&p, answers).sum();
                    if distractors.is_empty() { right } else { right - pick(&p, distractors).sum() }
                }
                Metric::Nll => -pick(&log_softmax(row, 0), answers).exp().sum().log(),
                Metric::Kl => {
                    let clean = clean.expect("KL compares with the clean run's logits").clone();
                    let clean = log_softmax(clean.slice([i..i + 1, 0..1, 0..vocab]).reshape([vocab]), 0);
                    (clean.clone().exp() * (clean - log_softmax(row, 0))).sum()
                }
            }
        };
        Tensor::cat((0..batch).map(per_example).collect(), 0)
    }

    /// Whether every target of `pair` has what this metric reads.
    ///
    /// # Errors
    /// Missing answers.
    pub fn check_pair(self, pair: &Pair) -> Result<(), Error> {
        pair.targets().try_for_each(|target| self.check(&pair.id, target))
    }

    /// Whether `target` has what this metric reads.
    ///
    /// # Errors
    /// Missing answers.
    pub fn check(self, id: &str, target: &Target) -> Result<(), Error> {
        if self != Metric::Kl && target.answers.is_empty() {
            return Err(Error::input(format!("pair {id}: missing `answer`, which the metric {self} needs")));
        }
        Ok(())
    }

    /// The sign that turns the metric into EAP-IG's loss: −1 where larger is better, else 1.
    pub fn loss_sign(self) -> f64 {
        match self {
            Metric::LogitDiff | Metric::ProbDiff => -1.0,
            Metric::Kl | Metric::Nll => 1.0,
        }
    }
}

impl FromStr for Positions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "last" => Ok(Positions::Last),
            "answer" => Ok(Positions::Answer),
            "all" => Ok(Positions::All),
            _ => Err(Error::input(format!("positions `{text}`: expected last, answer or all"))),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::LogitDiff => "logit-diff",
            Metric::ProbDiff => "prob-diff",
            Metric::Kl => "kl",
            Metric::Nll => "nll",
        })
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Metric::LogitDiff, Metric::ProbDiff, Metric::Kl, Metric::Nll]
            .into_iter()
            .find(|m| m.to_string() == text)
            .ok_or_else(|| {
                Error::input(format!("metric `{text}`: expected logit-diff, prob-diff, kl or nll"))
            })
    }
}
