//! What is measured at the end of a run: one number for each pair, from its logits.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Pair, Target};

/// How well a run answers. Larger is better for logit-diff, prob-diff and custom metrics, worse for the others.
///
/// The names in files and on the command line are `logit-diff`, `prob-diff`, `kl` and `nll`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metric {
    /// Mean logit of the answers minus mean logit of the distractors (or alone, where there are none).
    LogitDiff,
    /// Summed probability of the answers minus that of the distractors.
    ProbDiff,
    /// Kullback-Leibler divergence from the clean run's distribution, in nats, summed over the vocabulary.
    Kl,
    /// Negative log of the answers' summed probability, in nats.
    Nll,
    /// A metric of the caller's own: see [`Metric::custom`].
    Custom(CustomMetric),
}

/// A metric made from a closure. Made by [`Metric::custom`].
#[derive(Clone)]
pub struct CustomMetric {
    name: Arc<str>,
    value: Arc<Closure>,
}

type Closure = dyn Fn(Tensor<2>, &Pair) -> Tensor<1> + Send + Sync;

/// The metrics that have a name in files.
const NAMED: [(&str, Metric); 4] = [
    ("logit-diff", Metric::LogitDiff),
    ("prob-diff", Metric::ProbDiff),
    ("kl", Metric::Kl),
    ("nll", Metric::Nll),
];

impl Metric {
    /// A metric of one's own: `value` gets the logits `[n, vocab]` of one pair, at the positions that the pair is
    /// read at (`n` is [`Pair::n_targets`], 1 unless positions were asked for), and returns one number as a tensor
    /// `[1]`. It must be made of differentiable tensor operations on the logits; larger must be better.
    ///
    /// A custom metric is code: its name is written to files, and cannot be read back from them.
    ///
    /// # Panics
    /// If `name` is one of the names of the other metrics.
    ///
    /// ```
    /// use hooks::Metric;
    ///
    /// // The answer's logit above the mean of all logits.
    /// let margin = Metric::custom("margin", |logits, pair| {
    ///     let answer = logits.clone().narrow(1, pair.target.answers[0] as usize, 1);
    ///     answer.mean() - logits.mean()
    /// });
    /// assert_eq!(margin.to_string(), "margin");
    /// ```
    pub fn custom(
        name: impl Into<Arc<str>>,
        value: impl Fn(Tensor<2>, &Pair) -> Tensor<1> + Send + Sync + 'static,
    ) -> Self {
        let name = name.into();
        assert!(NAMED.iter().all(|(taken, _)| **taken != *name), "{name} is the name of another metric");
        Metric::Custom(CustomMetric { name, value: Arc::new(value) })
    }

    /// The metric of each pair over all the positions that it is read at: the sum over positions for
    /// [`Metric::Nll`] (so that it is that of a whole answer), the mean for the other named ones.
    ///
    /// # Shapes
    /// `logits` and `clean` `[batch, n, vocab]` with `n` the pairs' number of [targets](Pair::targets), the
    /// last positions of each row; returns `[batch]`, differentiable in `logits`.
    ///
    /// # Panics
    /// If shapes do not match, or a pair lacks what the metric needs: see [`check_pair`](Self::check_pair).
    pub fn of_pairs(&self, logits: Tensor<3>, pairs: &[&Pair], clean: Option<&Tensor<3>>) -> Tensor<1> {
        let [batch, n, vocab] = logits.dims();
        assert_eq!(batch, pairs.len(), "one row of logits for each pair");
        for pair in pairs {
            assert_eq!(pair.n_targets(), n, "pair {}: one position of logits for each target", pair.id);
        }
        if let Metric::Custom(custom) = self {
            let value = |(i, pair): (usize, &&Pair)| {
                let rows = logits.clone().slice([i..i + 1, 0..n, 0..vocab]).reshape([n, vocab]);
                (custom.value)(rows, pair).reshape([1])
            };
            return Tensor::cat(pairs.iter().enumerate().map(value).collect(), 0);
        }
        let at = |x: &Tensor<3>, p: usize| x.clone().slice([0..batch, p..p + 1, 0..vocab]);
        let mut sum: Option<Tensor<1>> = None;
        for p in 0..n {
            let targets: Vec<&Target> =
                pairs.iter().map(|pair| pair.earlier.get(p).unwrap_or(&pair.target)).collect();
            let here = self.values(at(&logits, p), &targets, clean.map(|c| at(c, p)).as_ref());
            sum = Some(match sum {
                Some(sum) => sum + here,
                None => here,
            });
        }
        let sum = sum.expect("a pair has a target");
        if *self == Metric::Nll || n == 1 { sum } else { sum / n as f64 }
    }

    /// [`of_pairs`](Self::of_pairs) as numbers.
    ///
    /// # Errors
    /// A value that is NaN or infinite; the message names the pair.
    pub fn read(
        &self,
        logits: Tensor<3>,
        pairs: &[&Pair],
        clean: Option<&Tensor<3>>,
    ) -> Result<Vec<f32>, Error> {
        let values = self.of_pairs(logits.inner(), pairs, clean).try_to_vec_as::<f32>();
        let values = values.map_err(|e| Error::input(format!("reading the metric: {e}")))?;
        match values.iter().zip(pairs).find(|(value, _)| !value.is_finite()) {
            None => Ok(values),
            Some((value, pair)) => Err(Error::input(format!(
                "pair {}: the metric {self} is {value}, expected a finite number; check the model's weights",
                pair.id
            ))),
        }
    }

    /// A named metric of each example at one position.
    ///
    /// # Shapes
    /// `logits` and `clean` `[batch, 1, vocab]` at the position that predicts the answer (`clean` is read by
    /// [`Metric::Kl`] only); returns `[batch]`, differentiable in `logits`.
    ///
    /// # Panics
    /// If shapes do not match, a target lacks what the metric needs (see [`check`](Self::check)), or the metric is
    /// a custom one, which reads whole pairs ([`of_pairs`](Self::of_pairs)).
    pub fn values(&self, logits: Tensor<3>, targets: &[&Target], clean: Option<&Tensor<3>>) -> Tensor<1> {
        let [batch, rows, vocab] = logits.dims();
        assert_eq!((batch, rows), (targets.len(), 1), "one row of logits for each target");
        let row = |x: &Tensor<3>, i: usize| x.clone().slice([i..i + 1, 0..1, 0..vocab]).reshape([vocab]);
        let per_example = |i: usize| {
            let (row_i, Target { answers, distractors }) = (row(&logits, i), targets[i]);
            match self {
                Metric::LogitDiff => {
                    let right = pick(&row_i, answers).mean();
                    if distractors.is_empty() { right } else { right - pick(&row_i, distractors).mean() }
                }
                Metric::ProbDiff => {
                    let p = log_softmax(row_i, 0).exp();
                    let right = pick(&p, answers).sum();
                    if distractors.is_empty() { right } else { right - pick(&p, distractors).sum() }
                }
                Metric::Nll => -pick(&log_softmax(row_i, 0), answers).exp().sum().log(),
                Metric::Kl => {
                    let clean = clean.expect("KL compares with the clean run's logits");
                    let clean = log_softmax(row(clean, i), 0);
                    (clean.clone().exp() * (clean - log_softmax(row_i, 0))).sum()
                }
                Metric::Custom(custom) => panic!("{} reads whole pairs", custom.name),
            }
        };
        Tensor::cat((0..batch).map(per_example).collect(), 0)
    }

    /// Whether `pair` has what this metric reads at every position, and can tell one model from another.
    ///
    /// # Errors
    /// Missing answers; for logit-diff and prob-diff, answers and distractors that are the same tokens at every
    /// position, so that the metric is 0 whatever the model does.
    pub fn check_pair(&self, pair: &Pair) -> Result<(), Error> {
        pair.targets().try_for_each(|target| self.check(&pair.id, target))?;
        let of_difference = matches!(self, Metric::LogitDiff | Metric::ProbDiff);
        if of_difference && pair.targets().all(Target::is_void) {
            let ids: Vec<String> = pair.target.answers.iter().map(u32::to_string).collect();
            let (what, advice) = if pair.earlier.is_empty() {
                let advice = "give answers whose first tokens differ, or measure whole answers that differ later \
                              (--positions answer)";
                (format!("begin with the same token ({})", ids.join(", ")), advice)
            } else {
                ("are the same tokens at every position that is read".to_owned(), "give two that differ")
            };
            return Err(Error::input(format!(
                "pair {}: `answer` and `distractor` {what}, so {self} is 0 for every model; {advice}",
                pair.id
            )));
        }
        Ok(())
    }

    /// Whether `target` has what this metric reads. `id` names the pair in the message.
    ///
    /// # Errors
    /// Missing answers.
    pub fn check(&self, id: &str, target: &Target) -> Result<(), Error> {
        match self {
            Metric::Kl | Metric::Custom(_) => Ok(()),
            _ if !target.answers.is_empty() => Ok(()),
            _ => Err(Error::input(format!("pair {id}: missing `answer`, which the metric {self} needs"))),
        }
    }

    /// Whether distractors are part of it; a custom metric may read them.
    pub fn reads_distractors(&self) -> bool {
        !matches!(self, Metric::Kl | Metric::Nll)
    }

    /// The sign that turns the metric into EAP-IG's loss: −1 where larger is better, else 1.
    pub fn loss_sign(&self) -> f64 {
        match self {
            Metric::LogitDiff | Metric::ProbDiff | Metric::Custom(_) => -1.0,
            Metric::Kl | Metric::Nll => 1.0,
        }
    }
}

/// The entries `ids` of a row `[vocab]`.
fn pick(row: &Tensor<1>, ids: &[u32]) -> Tensor<1> {
    let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::from(&ids[..]), &row.device().without_autodiff());
    row.clone().select(0, index)
}

impl fmt::Debug for CustomMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomMetric").field(&self.name).finish()
    }
}

/// Two are equal if they are clones of one.
impl PartialEq for CustomMetric {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value)
    }
}

impl Eq for CustomMetric {}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::LogitDiff => "logit-diff",
            Metric::ProbDiff => "prob-diff",
            Metric::Kl => "kl",
            Metric::Nll => "nll",
            Metric::Custom(custom) => &custom.name,
        })
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = NAMED.into_iter().find(|(name, _)| *name == text).map(|(_, metric)| metric);
        found.ok_or_else(|| {
            Error::input(format!("metric `{text}`: expected logit-diff, prob-diff, kl or nll"))
        })
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn pair(answers: &[u32], distractors: &[u32]) -> Pair {
        let target = Target { answers: answers.into(), distractors: distractors.into() };
        Pair::new("p", [0, 1], [0, 2], target)
    }

    #[test]
    fn custom_metrics_read_the_logits_of_a_pair() {
        let metric = Metric::custom("first", |logits, pair| {
            logits.narrow(1, pair.target.answers[0] as usize, 1).sum() * 2.0
        });
        let logits = Tensor::<3>::from_data([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]], &Device::default());
        let (a, b) = (pair(&[2], &[]), pair(&[0], &[]));
        assert_eq!(metric.read(logits, &[&a, &b], None).unwrap(), [6.0, 8.0]);
        assert!(metric.check_pair(&pair(&[], &[])).is_ok());
        assert_eq!(metric, metric.clone());
        assert_ne!(metric, Metric::custom("first", |logits, _| logits.sum()));
    }

    #[test]
    fn names_are_read_back_and_custom_ones_are_not() {
        for (name, metric) in NAMED {
            assert_eq!(
                (metric.to_string(), name.parse::<Metric>().unwrap()),
                (name.to_owned(), metric.clone())
            );
            assert_eq!(serde_json::to_string(&metric).unwrap(), format!("\"{name}\""));
        }
        let custom = Metric::custom("mine", |logits, _| logits.sum());
        let text = serde_json::to_string(&custom).unwrap();
        let error = serde_json::from_str::<Metric>(&text).unwrap_err().to_string();
        assert!(error.contains("metric `mine`: expected logit-diff"), "{error}");
    }

    #[test]
    fn differences_of_the_same_tokens_are_errors() {
        let same = pair(&[5, 3], &[3, 5]);
        for metric in [Metric::LogitDiff, Metric::ProbDiff] {
            let error = metric.check_pair(&same).unwrap_err().to_string();
            assert!(
                error.starts_with("pair p: `answer` and `distractor` begin with the same token (5, 3)"),
                "{error}"
            );
            assert!(error.contains("--positions answer"));
        }
        assert!(Metric::Nll.check_pair(&same).is_ok() && Metric::Kl.check_pair(&same).is_ok());
        // Where whole answers are read, that advice would lead nowhere.
        let earlier = vec![Target { answers: vec![1], distractors: vec![1] }];
        let error = Metric::LogitDiff.check_pair(&Pair { earlier, ..same.clone() }).unwrap_err().to_string();
        assert!(error.contains("same tokens at every position") && !error.contains("--positions"), "{error}");
        // One position that differs is enough.
        let earlier = vec![Target { answers: vec![1], distractors: vec![2] }];
        assert!(Metric::LogitDiff.check_pair(&Pair { earlier, ..same }).is_ok());
    }
}
