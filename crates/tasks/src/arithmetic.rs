//! Arithmetic: `12+34=` against `12+84=`. One operand differs, and so does the first token of the result.
//!
//! With a tokenizer that has a token for every number the answer is the whole result; with one that splits digits
//! (Qwen's) it is the result's first digit. Pairs whose results begin with the same token are dropped.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use hooks::Encode;

use crate::Error;
use crate::built::{Built, Candidate};

/// The operation on two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `a+b`.
    Add,
    /// `a-b`, not below 0.
    Subtract,
    /// `a*b`.
    Multiply,
}

impl Operation {
    fn of(self, a: u64, b: u64) -> u64 {
        match self {
            Operation::Add => a + b,
            Operation::Subtract => a - b,
            Operation::Multiply => a * b,
        }
    }

    fn sign(self) -> char {
        match self {
            Operation::Add => '+',
            Operation::Subtract => '-',
            Operation::Multiply => '*',
        }
    }
}

/// Which problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    /// The operation.
    pub operation: Operation,
    /// Digits of each operand, 1 to 6.
    pub digits: u32,
}

/// Up to `n` pairs, drawn from `seed`.
///
/// # Errors
/// Digits outside 1 to 6, or what the tokenizer refuses.
pub fn arithmetic(what: Arithmetic, n: usize, seed: u64, encode: &dyn Encode) -> Result<Built, Error> {
    if !(1..=6).contains(&what.digits) {
        return Err(Error::input(format!("digits: {}, expected 1 to 6", what.digits)));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6172_6974);
    let low = if what.digits == 1 { 0 } else { 10u64.pow(what.digits - 1) };
    let mut number = move || rng.random_range(low..10u64.pow(what.digits));
    Built::draw(n, encode, |built| {
        let (mut a, mut b, mut other) = (number(), number(), number());
        if what.operation == Operation::Subtract {
            // Subtract from the largest, so that neither result is negative.
            let mut sorted = [a, b, other];
            sorted.sort_unstable();
            [b, other, a] = sorted;
        }
        let [right, wrong] = [b, other].map(|b| what.operation.of(a, b));
        if right == wrong {
            built.drop("with one result");
            return None;
        }
        let sign = what.operation.sign();
        Some(Candidate {
            id: "arithmetic",
            clean: format!("{a}{sign}{b}="),
            corrupt: format!("{a}{sign}{other}="),
            answers: vec![right.to_string()],
            distractors: vec![wrong.to_string()],
            first: true,
        })
    })
}
