//! Clean and corrupt prompts for attribution, from held-out problems, as token ids of equal length.
//!
//! *Swap* pairs change one number, or exchange two, so that the same computation gives another digit. *Opening* pairs are those of
//! Thinking Sparks (§3, A.5): one question with a reasoning opening and with a direct one.

use hooks::{Pair, Pairs, Target};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::task::{Mix, ProblemStream, Split, ToyProblem, steps};
use super::tokenizer::{EOS, encode};
use crate::Error;

/// The text after which a swap pair is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// `47+28+36=`: the first digit of a direct answer.
    Direct,
    /// `47+28+36=<think>47+28=`: the first digit of the first step's result.
    FirstStep,
    /// `47+28+36=<think>47+28=75;75+36=`: the first digit of the last step's result.
    LastStep,
    /// `47+28+36=<think>47+28=75;75+`: the first digit of the first number that was not used yet. The corrupt
    /// prompt has the first and the third number exchanged, so that both hold the same numbers and differ in which
    /// was used: a model that takes any number in view prefers neither answer.
    NextNumber,
}

/// Which of the two openings is the clean one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Toward {
    /// Clean is the reasoning opening: the circuit of thinking.
    Reasoning,
    /// Clean is the direct opening: the circuit of answering at once.
    Direct,
}

/// The text up to the place, and the number whose first digit comes next.
fn context(problem: &ToyProblem, place: Place) -> (String, u32) {
    let steps = steps(&problem.operands);
    let sum = steps[steps.len() - 1].1;
    match place {
        Place::Direct => (problem.prompt.clone(), sum),
        Place::FirstStep => (format!("{}<think>{}=", problem.prompt, steps[0].0), steps[0].1),
        Place::LastStep => {
            let (last, done) = (&steps[steps.len() - 1].0, &steps[..steps.len() - 1]);
            let done: String = done.iter().map(|(left, sum)| format!("{left}={sum};")).collect();
            (format!("{}<think>{done}{last}=", problem.prompt), sum)
        }
        Place::NextNumber => {
            let (left, sum) = &steps[0];
            (format!("{}<think>{left}={sum};{sum}+", problem.prompt), problem.operands[2])
        }
    }
}

/// The numbers of the held-out problems that differ from `problem` as the place asks.
fn neighbours(problem: &ToyProblem, place: Place) -> Vec<Vec<u32>> {
    let changed = |which: usize, other: u32| {
        let mut operands = problem.operands.clone();
        operands[which] = other;
        operands
    };
    if place == Place::NextNumber {
        let mut operands = problem.operands.clone();
        operands.swap(0, 2);
        return vec![operands];
    }
    // Numbers that the place does not depend on are not changed.
    let n_changed = if place == Place::FirstStep { 2 } else { problem.operands.len() };
    let mut all = Vec::new();
    for which in 0..n_changed {
        let (tens, units) = (problem.operands[which] / 10, problem.operands[which] % 10);
        let others = (1..10).map(|t| 10 * t + units).chain((0..10).map(|u| 10 * tens + u));
        all.extend(others.map(|other| changed(which, other)));
    }
    all.retain(|operands| *operands != problem.operands && Split::of(operands) == Split::HeldOut);
    all
}

fn first_digit(n: u32) -> Result<u32, Error> {
    Ok(encode(&n.to_string())?[0])
}

/// `n` swap pairs on held-out problems of `mix`: one digit of one number differs between clean and corrupt (or the
/// order of two numbers, see [`Place::NextNumber`]), both are held out, have the same number of tokens, and call
/// for different next digits.
///
/// # Errors
/// `n` is 0; sums of two numbers at [`Place::NextNumber`].
pub fn swap_pairs(mix: Mix, place: Place, seed: u64, n: usize) -> Result<Pairs, Error> {
    if place == Place::NextNumber && mix.two > 0.0 {
        return Err(Error::input("mix: sums of two numbers have no second step, expected three or four"));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7377_6170);
    let mut pairs = Vec::with_capacity(n);
    for problem in ProblemStream::new(mix, Split::HeldOut, seed) {
        if pairs.len() == n {
            break;
        }
        if let Some(pair) = swap(&problem, place, pairs.len(), &mut rng)? {
            pairs.push(pair);
        }
    }
    Pairs::new(pairs)
}

/// The pair of a problem and one of its neighbours, if a neighbour fits.
fn swap(problem: &ToyProblem, place: Place, index: usize, rng: &mut impl Rng) -> Result<Option<Pair>, Error> {
    let (clean, number) = context(problem, place);
    let (clean, answer) = (encode(&clean)?, first_digit(number)?);
    let mut fitting = Vec::new();
    for operands in neighbours(problem, place) {
        let (corrupt, number) = context(&ToyProblem::new(&operands)?, place);
        let (corrupt, distractor) = (encode(&corrupt)?, first_digit(number)?);
        if distractor != answer && corrupt.len() == clean.len() {
            fitting.push((corrupt, distractor));
        }
    }
    let Some((corrupt, distractor)) = fitting.choose(rng) else { return Ok(None) };
    let target = Target { answers: vec![answer], distractors: vec![*distractor] };
    Ok(Some(Pair {
        id: format!("swap-{index}-{}", problem.id),
        clean,
        corrupt: corrupt.clone(),
        target,
        earlier: Vec::new(),
    }))
}

/// `n` opening pairs on held-out problems of `mix`: `47+28+36=<think>47` against `47+28+36=111`, cut to the
/// tokens of the direct answer. What follows the reasoning opening is set against `<eos>`, which follows the
/// direct one.
///
/// # Errors
/// `n` is 0.
pub fn opening_pairs(mix: Mix, toward: Toward, seed: u64, n: usize) -> Result<Pairs, Error> {
    let mut pairs = Vec::with_capacity(n);
    for (index, problem) in ProblemStream::new(mix, Split::HeldOut, seed).take(n).enumerate() {
        let prompt = encode(&problem.prompt)?;
        let length = prompt.len() + problem.answer.len();
        let direct = [&prompt[..], &encode(&problem.answer)?].concat();
        let worked = [&prompt[..], &encode(&problem.worked)?].concat();
        let (reasoning, next) = (worked[..length].to_vec(), vec![worked[length]]);
        let stop = vec![EOS];
        let (clean, corrupt, answers, distractors) = match toward {
            Toward::Reasoning => (reasoning, direct, next, stop),
            Toward::Direct => (direct, reasoning, stop, next),
        };
        let target = Target { answers, distractors };
        pairs.push(Pair {
            id: format!("opening-{index}-{}", problem.id),
            clean,
            corrupt,
            target,
            earlier: Vec::new(),
        });
    }
    Pairs::new(pairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ProblemKind, VOCAB, decode};

    fn operands(ids: &[u32]) -> Vec<u32> {
        let text = decode(ids);
        let prompt = text.split('=').next().expect("a prompt");
        prompt.split('+').map(|n| n.parse().expect("a number")).collect()
    }

    #[test]
    fn an_example_of_each() {
        let kind = Mix::only(ProblemKind::Three);
        let pairs = swap_pairs(kind, Place::FirstStep, 0, 3).expect("pairs");
        let text = decode(&pairs.as_slice()[0].clean);
        assert!(text.contains("=<think>") && text.ends_with('=') && text.len() == 22, "{text}");
        let pair = &opening_pairs(kind, Toward::Reasoning, 0, 1).expect("pairs").as_slice()[0].clone();
        let other = &opening_pairs(kind, Toward::Direct, 0, 1).expect("pairs").as_slice()[0].clone();
        assert_eq!((&pair.clean, &pair.corrupt), (&other.corrupt, &other.clean));
        assert_eq!(pair.target.distractors, [EOS]);
        assert!(swap_pairs(kind, Place::Direct, 0, 0).is_err());
        let pairs = swap_pairs(kind, Place::NextNumber, 0, 3).expect("pairs");
        for pair in &pairs {
            let (clean, corrupt) = (operands(&pair.clean), operands(&pair.corrupt));
            assert_eq!([clean[2], clean[1], clean[0]], corrupt[..]);
            assert!(clean[2].to_string().starts_with(&decode(&pair.target.answers)));
            assert!(clean[0].to_string().starts_with(&decode(&pair.target.distractors)));
        }
        assert!(swap_pairs(Mix::EASY, Place::NextNumber, 0, 3).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pairs_are_equal_in_length_held_out_and_ask_for_different_tokens(seed: u64) {
            let all = [Place::Direct, Place::FirstStep, Place::LastStep, Place::NextNumber]
                .map(|place| swap_pairs(Mix::HARD, place, seed, 4).expect("pairs"));
            let openings = opening_pairs(Mix::HARD, Toward::Reasoning, seed, 4).expect("pairs");
            for pairs in all.iter().chain([&openings]) {
                prop_assert!(pairs.check_vocab(VOCAB).is_ok());
                prop_assert_eq!(pairs.len(), 4);
                for pair in pairs {
                    prop_assert_eq!(pair.clean.len(), pair.corrupt.len());
                    prop_assert_ne!(&pair.clean, &pair.corrupt);
                    prop_assert_ne!(&pair.target.answers, &pair.target.distractors);
                    for side in [&pair.clean, &pair.corrupt] {
                        prop_assert_eq!(Split::of(&operands(side)), Split::HeldOut);
                    }
                }
            }
        }

        #[test]
        fn swaps_ask_for_what_the_sum_begins_with(seed: u64) {
            for pair in &swap_pairs(Mix::HARD, Place::Direct, seed, 4).expect("pairs") {
                for (side, digit) in [(&pair.clean, &pair.target.answers), (&pair.corrupt, &pair.target.distractors)] {
                    let sum: u32 = operands(side).iter().sum();
                    prop_assert!(sum.to_string().starts_with(&decode(digit)));
                }
            }
        }
    }
}
