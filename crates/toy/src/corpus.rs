//! Training texts of the toy models: a prompt and the completion to learn.
//!
//! The base model is trained on single sums and, for three and four numbers, on *walks*: one to three steps between
//! numbers in view, each of them right, with no goal. What post-training has to add is which numbers a step takes,
//! the result of the step before and a number that was not used yet, and to stop when none is left. A walk does
//! that by chance: 5.6 % of those over three numbers, 0.5 % of those over four.

use rand::seq::{IndexedRandom, index};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::task::{Mix, OPERANDS, ProblemStream, Split};

/// The fields of a line, for a trainer's configuration.
pub const SFT_LINES_FIELDS: [&str; 2] = ["prompt", "completion"];

/// Sums of three numbers end below this; a single sum of pre-training begins below it.
const WIDE: std::ops::RangeInclusive<u32> = 100..=297;

/// Share of a walk's steps, after its first, that go on from an earlier result.
const FROM_A_RESULT: f64 = 0.5;

/// One text: what is given and what is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Kind and numbers: `three-47-28-36`, `walk-47-28-36`.
    pub id: String,
    /// `47+28+36=`
    pub prompt: String,
    /// Ends in `<eos>`.
    pub completion: String,
}

/// What a corpus consists of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Texts {
    Pretraining,
    Worked(Mix),
}

/// Endless training texts; text `i` of a seed is the same however many are drawn.
#[derive(Debug, Clone)]
pub struct Corpus {
    texts: Texts,
    seed: u64,
    index: u64,
}

/// The base model's corpus: 30 % sums of two numbers and 15 % sums of a longer one and another, each answered
/// directly or with one step, half and half; 55 % walks over three or four numbers.
pub fn pretraining_corpus(seed: u64) -> Corpus {
    Corpus { texts: Texts::Pretraining, seed, index: 0 }
}

/// The SFT corpus: the hard kinds, all worked out.
pub fn sft_corpus(seed: u64) -> Corpus {
    Corpus { texts: Texts::Worked(Mix::HARD), seed, index: 0 }
}

impl Corpus {
    /// Text `index`.
    pub fn at(&self, index: u64) -> Line {
        let mut rng = ChaCha8Rng::seed_from_u64(!self.seed);
        rng.set_stream(index);
        match self.texts {
            Texts::Worked(mix) => {
                let problem = ProblemStream::new(mix, Split::Train, self.seed).at(index);
                Line { id: problem.id, prompt: problem.prompt, completion: problem.worked }
            }
            Texts::Pretraining => match rng.random::<f64>() {
                x if x < 0.30 => single(&[OPERANDS, OPERANDS], &mut rng),
                x if x < 0.45 => single(&[WIDE, OPERANDS], &mut rng),
                _ => walk(&mut rng),
            },
        }
    }

    /// The first `n` texts as JSON lines.
    pub fn jsonl(&self, n: usize) -> String {
        let mut text = String::new();
        for index in 0..n as u64 {
            let line = self.at(index);
            text += &serde_json::json!({"prompt": line.prompt, "completion": line.completion}).to_string();
            text.push('\n');
        }
        text
    }
}

impl Iterator for Corpus {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        self.index += 1;
        Some(self.at(self.index - 1))
    }
}

/// Numbers of these ranges, on the training side of the split.
fn numbers(ranges: &[std::ops::RangeInclusive<u32>], rng: &mut impl Rng) -> Vec<u32> {
    loop {
        let numbers: Vec<u32> = ranges.iter().map(|range| rng.random_range(range.clone())).collect();
        if Split::of(&numbers) == Split::Train {
            return numbers;
        }
    }
}

fn join(numbers: &[u32], sign: &str) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(sign)
}

/// `47+28=` with `75<eos>` or `<think>47+28=75</think>75<eos>`.
fn single(ranges: &[std::ops::RangeInclusive<u32>], rng: &mut impl Rng) -> Line {
    let numbers = numbers(ranges, rng);
    let (left, sum) = (join(&numbers, "+"), numbers.iter().sum::<u32>());
    let completion =
        if rng.random() { format!("{sum}<eos>") } else { format!("<think>{left}={sum}</think>{sum}<eos>") };
    Line { id: format!("single-{}", join(&numbers, "-")), prompt: format!("{left}="), completion }
}

/// `47+28+36=` with one to three right steps between numbers in view: `<think>36+47=83;83+36=119</think>119<eos>`.
fn walk(rng: &mut impl Rng) -> Line {
    let numbers = numbers(&vec![OPERANDS; rng.random_range(3..=4)], rng);
    let (mut steps, mut results) = (Vec::new(), Vec::new());
    for _ in 0..rng.random_range(1..=3) {
        let pick = index::sample(rng, numbers.len(), 2);
        let second = numbers[pick.index(1)];
        let first = match results.choose(rng) {
            Some(&result) if rng.random_bool(FROM_A_RESULT) => result,
            _ => numbers[pick.index(0)],
        };
        steps.push(format!("{first}+{second}={}", first + second));
        results.push(first + second);
    }
    let last = results[results.len() - 1];
    Line {
        id: format!("walk-{}", join(&numbers, "-")),
        prompt: format!("{}=", join(&numbers, "+")),
        completion: format!("<think>{}</think>{last}<eos>", steps.join(";")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;

    /// The sums that a text states: `47+28=75` is `([47, 28], 75)`.
    fn stated(text: &str) -> Vec<(Vec<u32>, u32)> {
        let inside = text.split_once("<think>").map_or("", |(_, rest)| rest);
        let inside = inside.split_once("</think>").map_or("", |(steps, _)| steps);
        let numbers = |left: &str| left.split('+').map(|n| n.parse().expect("a number")).collect();
        inside
            .split(';')
            .filter_map(|step| step.split_once('='))
            .map(|(left, sum)| (numbers(left), sum.parse().expect("a sum")))
            .collect()
    }

    #[test]
    fn the_mixture_is_as_said_and_no_total_of_three_numbers_is_in_it() {
        let lines: Vec<Line> = pretraining_corpus(3).take(4000).collect();
        let share = |of: &dyn Fn(&Line) -> bool| {
            lines.iter().filter(|line| of(line)).count() as f64 / lines.len() as f64
        };
        assert!((share(&|l| l.id.starts_with("walk")) - 0.55).abs() < 0.03);
        assert!(
            (share(&|l| l.id.starts_with("single") && l.completion.starts_with('<')) - 0.225).abs() < 0.03
        );
        for line in &lines {
            let asked = line.prompt.trim_end_matches('=');
            let numbers: Vec<u32> = asked.split('+').map(|n| n.parse().expect("a number")).collect();
            assert_eq!(Split::of(&numbers), Split::Train);
            assert_eq!(line.id.starts_with("single"), numbers.len() == 2, "{}", line.prompt);
            let mut seen = numbers;
            for (operands, sum) in stated(&line.completion) {
                assert!(operands.iter().all(|n| seen.contains(n)), "{line:?}");
                assert_eq!(operands.iter().sum::<u32>(), sum, "{line:?}");
                seen.push(sum);
            }
            let text = format!("{}{}", line.prompt, line.completion);
            assert!(encode(&text).expect("known characters").len() <= 56);
        }
    }

    #[test]
    fn sft_shows_hard_problems_worked_out() {
        for line in sft_corpus(3).take(200) {
            let steps = stated(&line.completion);
            assert!(steps.len() >= 2 && steps.windows(2).all(|w| w[1].0[0] == w[0].1), "{line:?}");
        }
    }

    #[test]
    fn lines_are_json_with_two_fields() {
        let text = sft_corpus(0).jsonl(3);
        for line in text.lines() {
            let line: serde_json::Value = serde_json::from_str(line).expect("json");
            assert!(SFT_LINES_FIELDS.iter().all(|field| line[field].is_string()));
        }
        assert_eq!(text.lines().count(), 3);
        assert_eq!(sft_corpus(1).jsonl(5), sft_corpus(1).jsonl(5));
    }
}
