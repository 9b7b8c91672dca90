//! Problems, their two manners of answer, and the reward. Training and held-out problems are disjoint: a hash of
//! the operands, in any order, decides the split.

use std::collections::HashSet;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Error;

/// How many numbers are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProblemKind {
    /// `47+28=`
    Two,
    /// `47+28+36=`
    Three,
    /// `47+28+36+51=`
    Four,
}

impl ProblemKind {
    /// Every kind, easiest first.
    pub const ALL: [ProblemKind; 3] = [ProblemKind::Two, ProblemKind::Three, ProblemKind::Four];

    /// How many numbers are added.
    pub fn operands(self) -> usize {
        self as usize + 2
    }

    /// Tokens of a prompt: two for each number and one for each sign.
    pub fn prompt_tokens(self) -> usize {
        3 * self.operands()
    }

    /// How many different problems there are, numbers in any order counted once.
    fn distinct(self) -> usize {
        let (n, k) = (OPERANDS.end() - OPERANDS.start() + 1, self.operands() as u32);
        (0..k).fold(1, |product, i| product * (n + i) as usize / (i as usize + 1))
    }

    fn name(self) -> &'static str {
        ["two", "three", "four"][self as usize]
    }
}

pub(super) const OPERANDS: std::ops::RangeInclusive<u32> = 10..=99;

/// The split: one problem in eight is held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Pre-training, SFT and GRPO.
    Train,
    /// Accuracy and circuits.
    HeldOut,
}

impl Split {
    /// The side of these operands, whatever their order.
    pub fn of(operands: &[u32]) -> Self {
        let mut sorted = operands.to_vec();
        sorted.sort_unstable();
        // SplitMix64's finaliser over the operands (Steele, Lea & Flood 2014).
        let hash = sorted.iter().fold(0x9e37_79b9_7f4a_7c15_u64, |state, &n| {
            let mut z = state.wrapping_add(u64::from(n)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        if hash % 8 == 0 { Split::HeldOut } else { Split::Train }
    }
}

/// One addition with its answers. All texts are in the toy tokenizer's characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToyProblem {
    /// `three-47-28-36`
    pub id: String,
    /// How many numbers are added.
    pub kind: ProblemKind,
    /// The numbers, each of two digits.
    pub operands: Vec<u32>,
    /// `47+28+36=`
    pub prompt: String,
    /// `111`
    pub answer: String,
    /// `<think>47+28=75;75+36=111</think>111<eos>`
    pub worked: String,
    /// `111<eos>`
    pub direct: String,
}

impl ToyProblem {
    /// The sum of `operands`, left to right.
    ///
    /// # Errors
    /// Not two to four numbers, or one that has not two digits.
    pub fn new(operands: &[u32]) -> Result<Self, Error> {
        let kind = match operands.len() {
            2 => ProblemKind::Two,
            3 => ProblemKind::Three,
            4 => ProblemKind::Four,
            n => return Err(Error::input(format!("operands: {n} numbers, expected two to four"))),
        };
        if let Some(bad) = operands.iter().find(|n| !OPERANDS.contains(n)) {
            return Err(Error::input(format!("operands: {bad}, expected numbers from 10 to 99")));
        }
        let join = |sign: &str| operands.iter().map(u32::to_string).collect::<Vec<_>>().join(sign);
        let answer = operands.iter().sum::<u32>().to_string();
        let steps = steps(operands).into_iter().map(|(left, sum)| format!("{left}={sum}"));
        Ok(Self {
            id: format!("{}-{}", kind.name(), join("-")),
            kind,
            operands: operands.to_vec(),
            prompt: format!("{}=", join("+")),
            worked: format!("<think>{}</think>{answer}<eos>", steps.collect::<Vec<_>>().join(";")),
            direct: format!("{answer}<eos>"),
            answer,
        })
    }

    /// On which side of the split the problem is.
    pub fn split(&self) -> Split {
        Split::of(&self.operands)
    }

    /// The problem as `bench-math` keeps problems.
    pub fn to_bench(&self) -> bench_math::Problem {
        bench_math::Problem {
            id: self.id.clone(),
            problem: self.prompt.clone(),
            answer: self.answer.clone(),
            source: Some("toy additions".into()),
            subject: Some("arithmetic".into()),
            level: Some((self.kind as u8 + 1).to_string()),
        }
    }
}

/// The steps of a left-to-right sum: `("47+28", 75)`, `("75+36", 111)`.
pub(super) fn steps(operands: &[u32]) -> Vec<(String, u32)> {
    let mut sum = operands[0];
    let step = |&n: &u32| {
        let left = format!("{sum}+{n}");
        sum += n;
        (left, sum)
    };
    operands[1..].iter().map(step).collect()
}

/// The manner of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Manner {
    /// An answer and nothing else.
    Direct,
    /// Steps between `<think>` and `</think>`, then an answer.
    Worked,
    /// Anything else: cut short, several answers, tags out of place.
    Malformed,
}

/// The manner of a completion, and its answer as written (digits; none where malformed).
fn read(completion: &str) -> (Manner, Option<&str>) {
    let (manner, answer) = match completion.strip_prefix("<think>") {
        Some(rest) => match rest.split_once("</think>") {
            Some((steps, after)) if !steps.contains("<think>") && !steps.contains("<eos>") => {
                (Manner::Worked, after)
            }
            _ => return (Manner::Malformed, None),
        },
        None => (Manner::Direct, completion),
    };
    match answer.strip_suffix("<eos>") {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            (manner, Some(digits))
        }
        _ => (Manner::Malformed, None),
    }
}

/// The manner of a completion, given with its special tokens as [`decode`](super::decode) writes them.
pub fn manner(completion: &str) -> Manner {
    read(completion).0
}

/// 1 for a completion that ends in `<eos>` and whose one answer, after `</think>` where it thinks, is the
/// right integer in plain digits; 0 for everything else. The steps are not judged.
pub fn reward(problem: &ToyProblem, completion: &str) -> f32 {
    if read(completion).1 == Some(problem.answer.as_str()) { 1.0 } else { 0.0 }
}

/// How often each kind is drawn, relative to the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Weight of [`ProblemKind::Two`].
    pub two: f64,
    /// Weight of [`ProblemKind::Three`].
    pub three: f64,
    /// Weight of [`ProblemKind::Four`].
    pub four: f64,
}

impl Mix {
    /// Sums of two numbers: what the base model was trained on.
    pub const EASY: Mix = Mix { two: 1.0, three: 0.0, four: 0.0 };
    /// Sums of three and four numbers: what post-training is for.
    pub const HARD: Mix = Mix { two: 0.0, three: 0.5, four: 0.5 };

    /// One kind alone.
    pub fn only(kind: ProblemKind) -> Self {
        let weight = |k| f64::from(u8::from(k == kind));
        Self {
            two: weight(ProblemKind::Two),
            three: weight(ProblemKind::Three),
            four: weight(ProblemKind::Four),
        }
    }

    fn weights(self) -> [f64; 3] {
        [self.two, self.three, self.four]
    }

    fn draw(self, rng: &mut impl Rng) -> ProblemKind {
        let weights = self.weights();
        let mut x = rng.random::<f64>() * weights.iter().sum::<f64>();
        for (kind, weight) in ProblemKind::ALL.into_iter().zip(weights) {
            if x < weight {
                return kind;
            }
            x -= weight;
        }
        ProblemKind::Four
    }
}

/// Endless problems of one split, with repetitions. Problem `i` of a seed is the same however many are drawn.
#[derive(Debug, Clone)]
pub struct ProblemStream {
    mix: Mix,
    split: Split,
    seed: u64,
    index: u64,
}

impl ProblemStream {
    /// The stream of `seed`.
    pub fn new(mix: Mix, split: Split, seed: u64) -> Self {
        Self { mix, split, seed, index: 0 }
    }

    /// Problem `index`.
    pub fn at(&self, index: u64) -> ToyProblem {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        let kind = self.mix.draw(&mut rng);
        loop {
            let operands: Vec<u32> = (0..kind.operands()).map(|_| rng.random_range(OPERANDS)).collect();
            if let (true, Ok(problem)) = (Split::of(&operands) == self.split, ToyProblem::new(&operands)) {
                return problem;
            }
        }
    }
}

impl Iterator for ProblemStream {
    type Item = ToyProblem;

    fn next(&mut self) -> Option<ToyProblem> {
        self.index += 1;
        Some(self.at(self.index - 1))
    }
}

/// The first `n` problems of a stream that differ in more than the order of their numbers.
///
/// # Errors
/// More problems than four fifths of those that the mix has on this side.
pub fn distinct(mix: Mix, split: Split, seed: u64, n: usize) -> Result<Vec<ToyProblem>, Error> {
    let share = if split == Split::HeldOut { 8 } else { 2 };
    let total: f64 = mix.weights().iter().sum();
    for (kind, weight) in ProblemKind::ALL.into_iter().zip(mix.weights()) {
        let (wanted, most) = (n as f64 * weight / total, kind.distinct() / share * 4 / 5);
        if wanted > most as f64 {
            return Err(Error::input(format!(
                "problems: {n} asked for, expected at most {most} of kind {kind:?}"
            )));
        }
    }
    let mut seen = HashSet::new();
    let fresh = |problem: &ToyProblem| {
        let mut sorted = problem.operands.clone();
        sorted.sort_unstable();
        seen.insert(sorted)
    };
    Ok(ProblemStream::new(mix, split, seed).filter(fresh).take(n).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encode;

    #[test]
    fn junk_earns_nothing() {
        let problem = ToyProblem::new(&[47, 28, 36]).expect("valid");
        for good in ["111<eos>", "<think></think>111<eos>", "<think>47+28=9;;</think>111<eos>"] {
            assert_eq!(reward(&problem, good), 1.0, "{good}");
        }
        for bad in [
            "",
            "<eos>",
            "111",
            "0111<eos>",
            "112<eos>",
            "111 <eos>",
            "111;111<eos>",
            "111<eos><eos>",
            "111<pad><eos>",
            "<think>47+28=75",
            "<think>111<eos>",
            "<think></think><eos>",
            "</think>111<eos>",
            "111</think>111<eos>",
            "<think></think>110;111<eos>",
            "<think></think></think>111<eos>",
            "<think><think></think>111<eos>",
            "<think></think>111<think></think>111<eos>",
            "<think>1<eos></think>111<eos>",
            "1<think></think>111<eos>",
            "<unk>111<eos>",
        ] {
            assert_eq!(reward(&problem, bad), 0.0, "{bad}");
        }
        assert_eq!(manner("5<eos>"), Manner::Direct);
        assert_eq!(manner("<think>2+3=5</think>5<eos>"), Manner::Worked);
        assert_eq!(manner("<think>2+3=5"), Manner::Malformed);
    }

    #[test]
    fn distinct_problems_are_distinct_and_their_number_is_checked() {
        let problems = distinct(Mix::HARD, Split::HeldOut, 5, 400).expect("there are enough");
        let sorted: HashSet<Vec<u32>> = problems
            .iter()
            .map(|p| {
                let mut operands = p.operands.clone();
                operands.sort_unstable();
                operands
            })
            .collect();
        assert_eq!(sorted.len(), 400);
        assert_eq!(distinct(Mix::HARD, Split::HeldOut, 5, 7).expect("enough"), problems[..7]);
        assert_eq!(ProblemKind::Two.distinct(), 90 * 91 / 2);
        assert!(distinct(Mix::only(ProblemKind::Two), Split::HeldOut, 0, 2000).is_err());
        assert!(ToyProblem::new(&[9, 10]).is_err() && ToyProblem::new(&[10]).is_err());
    }

    #[test]
    fn one_problem_in_eight_is_held_out() {
        let all = (10..=99u32).flat_map(|a| (a..=99).map(move |b| [a, b]));
        let held = all.filter(|pair| Split::of(pair) == Split::HeldOut).count() as f64;
        assert!((held / 4095.0 - 0.125).abs() < 0.02, "{held}");
    }

    proptest! {
        #[test]
        fn the_splits_are_disjoint_whatever_the_order(seed: u64, index in 0u64..1 << 40) {
            for split in [Split::Train, Split::HeldOut] {
                let problem = ProblemStream::new(Mix { two: 1.0, ..Mix::HARD }, split, seed).at(index);
                prop_assert_eq!(problem.split(), split);
                let mut turned = problem.operands.clone();
                turned.reverse();
                prop_assert_eq!(Split::of(&turned), split);
            }
        }

        #[test]
        fn both_answers_are_right_and_prompts_have_their_kind_s_length(seed: u64, index in 0u64..1 << 40) {
            let problem = ProblemStream::new(Mix { two: 1.0, ..Mix::HARD }, Split::Train, seed).at(index);
            prop_assert_eq!(reward(&problem, &problem.direct), 1.0);
            prop_assert_eq!(reward(&problem, &problem.worked), 1.0);
            prop_assert_eq!(encode(&problem.prompt).expect("known").len(), problem.kind.prompt_tokens());
            let longest = encode(&problem.prompt).expect("known").len() + encode(&problem.worked).expect("known").len();
            prop_assert!(longest <= 56);
            let answer: u32 = problem.answer.parse().expect("a number");
            prop_assert_eq!(problem.operands.iter().sum::<u32>(), answer);
        }
    }
}
