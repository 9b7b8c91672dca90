//! `12+34=` against `12+84=`: one operand is another, and so is the result's first token.
//!
//! A tokenizer with a token for every number gives the whole result as the answer, one that splits digits
//! (Qwen's) the result's first digit; pairs whose results begin alike are dropped.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Built, Candidate, Encode};
use crate::Error;

/// What is done with two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `a+b`.
    Add,
    /// `a-b`, not below 0.
    Subtract,
    /// `a*b`.
    Multiply,
}

/// Which sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    /// What is done.
    pub operation: Operation,
    /// Digits of each operand, 1 to 6.
    pub digits: u32,
}

/// Up to `n` pairs; drawing ends after 100 candidates for each.
///
/// # Errors
/// Digits outside 1 to 6, or what the tokenizer refuses.
pub fn arithmetic(what: Arithmetic, n: usize, seed: u64, encode: Encode<'_>) -> Result<Built, Error> {
    if !(1..=6).contains(&what.digits) {
        return Err(Error::input(format!("digits: {}, expected 1 to 6", what.digits)));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6172_6974);
    let low = if what.digits == 1 { 0 } else { 10u64.pow(what.digits - 1) };
    let mut number = move || rng.random_range(low..10u64.pow(what.digits));
    let mut built = Built::default();
    for _ in 0..100 * n {
        if built.pairs.len() == n {
            break;
        }
        let (mut a, mut b, mut other) = (number(), number(), number());
        if what.operation == Operation::Subtract {
            // The largest is diminished, so that neither result is negative.
            let mut sorted = [a, b, other];
            sorted.sort_unstable();
            [b, other, a] = sorted;
        }
        let [right, wrong] = [b, other].map(|b| match what.operation {
            Operation::Add => a + b,
            Operation::Subtract => a - b,
            Operation::Multiply => a * b,
        });
        let sign = match what.operation {
            Operation::Add => '+',
            Operation::Subtract => '-',
            Operation::Multiply => '*',
        };
        if right == wrong {
            built.drop("with one result");
            continue;
        }
        let candidate = Candidate {
            id: "arithmetic",
            clean: format!("{a}{sign}{b}="),
            corrupt: format!("{a}{sign}{other}="),
            answers: vec![right.to_string()],
            distractors: vec![wrong.to_string()],
            first: true,
        };
        built.offer(&candidate, encode)?;
    }
    Ok(built)
}
