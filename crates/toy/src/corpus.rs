//! Training corpora of the toy models, as lines of `{"prompt","completion"}`. The same lines serve pre-training
//! (loss on prompt and completion) and SFT (loss on the completion alone).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::task::{Mix, ProblemStream, Split, ToyProblem};

/// The fields of a line, for a trainer's configuration.
pub const SFT_LINES_FIELDS: [&str; 2] = ["prompt", "completion"];

/// Endless training examples: a problem and the manner it is answered in.
#[derive(Debug, Clone)]
pub struct Corpus {
    problems: ProblemStream,
    seed: u64,
    worked: f64,
    index: u64,
}

/// The base model's corpus: every kind, 70 % answered directly and 30 % worked out. A model trained on it mostly
/// answers directly, and often wrongly where the problem is hard; once it has begun with steps it goes on with
/// them.
pub fn pretraining_corpus(seed: u64) -> Corpus {
    Corpus { problems: ProblemStream::new(Mix::PRETRAINING, Split::Train, seed), seed, worked: 0.3, index: 0 }
}

/// The SFT corpus: the hard kinds, all worked out.
pub fn sft_corpus(seed: u64) -> Corpus {
    Corpus { problems: ProblemStream::new(Mix::HARD, Split::Train, seed), seed, worked: 1.0, index: 0 }
}

impl Corpus {
    /// The same corpus with a share `worked` (0 to 1) of worked answers.
    #[must_use]
    pub fn with_worked(mut self, worked: f64) -> Self {
        self.worked = worked;
        self
    }

    /// The same corpus over other kinds.
    #[must_use]
    pub fn with_mix(mut self, mix: Mix) -> Self {
        self.problems = ProblemStream::new(mix, Split::Train, self.seed);
        self
    }

    /// Example `index`: a problem and the completion to learn, which ends in `<eos>`.
    pub fn at(&self, index: u64) -> (ToyProblem, String) {
        let problem = self.problems.at(index);
        let mut rng = ChaCha8Rng::seed_from_u64(!self.seed);
        rng.set_stream(index);
        let worked = rng.random::<f64>() < self.worked;
        let completion = if worked { problem.worked.clone() } else { problem.direct.clone() };
        (problem, completion)
    }

    /// The first `n` examples as JSON lines.
    pub fn jsonl(&self, n: usize) -> String {
        let mut text = String::new();
        for index in 0..n as u64 {
            let (problem, completion) = self.at(index);
            text += &serde_json::json!({"prompt": problem.prompt, "completion": completion}).to_string();
            text.push('\n');
        }
        text
    }
}

impl Iterator for Corpus {
    type Item = (ToyProblem, String);

    fn next(&mut self) -> Option<Self::Item> {
        self.index += 1;
        Some(self.at(self.index - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Manner, ProblemKind, manner, reward};

    #[test]
    fn the_mixture_is_as_said_and_every_line_is_right() {
        let examples: Vec<_> = pretraining_corpus(3).take(4000).collect();
        assert!(examples.iter().all(|(p, c)| reward(p, c) == 1.0 && p.split() == Split::Train));
        let share = |of: &dyn Fn(&(ToyProblem, String)) -> bool| {
            examples.iter().filter(|e| of(e)).count() as f64 / 4000.0
        };
        assert!((share(&|(_, c)| manner(c) == Manner::Worked) - 0.3).abs() < 0.02);
        assert!((share(&|(p, _)| p.kind == ProblemKind::Two) - 0.25).abs() < 0.03);
        assert!(sft_corpus(3).take(200).all(|(p, c)| c == p.worked && p.kind != ProblemKind::Two));
    }

    #[test]
    fn lines_are_json_with_two_fields() {
        let text = sft_corpus(0).with_worked(0.0).with_mix(Mix::only(ProblemKind::Four)).jsonl(3);
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("json");
            assert!(SFT_LINES_FIELDS.iter().all(|field| line[field].is_string()));
        }
        assert_eq!(text.lines().count(), 3);
        assert_eq!(sft_corpus(1).jsonl(5), sft_corpus(1).jsonl(5));
    }
}
