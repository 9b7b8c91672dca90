//! Greater-than (Hanna et al. 2023): "The war lasted from the year 1732 to the year 17".
//!
//! Every year after 32 is an answer, every year up to 32 a distractor. In the corrupt prompt the war begins in 01.
//! This needs one token for two digits. With a tokenizer that splits digits (Qwen's), the pair asks for the tens digit
//! of wars that begin in a year that ends in 9: after 1739 the tens digits from 4 are right and those up to 3 wrong,
//! without exception; the corrupt war begins in 09. Measure with the probability difference, which sums over answers.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use hooks::Encode;

use crate::Error;
use crate::built::{Built, Candidate, next_token};

/// How many digits of the second year are one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YearDigits {
    /// The tens digit: for tokenizers that split numbers.
    One,
    /// Tens and units, as in the paper.
    Two,
}

/// Events that last, from Hanna et al.'s list.
const NOUNS: [&str; 24] = [
    "war",
    "siege",
    "voyage",
    "reign",
    "campaign",
    "conflict",
    "expedition",
    "famine",
    "journey",
    "plague",
    "rebellion",
    "project",
    "pilgrimage",
    "drought",
    "dynasty",
    "alliance",
    "marriage",
    "truce",
    "friendship",
    "investigation",
    "construction",
    "trial",
    "revolution",
    "tour",
];

/// Up to `n` pairs with years of the 17th to 19th century, drawn from `seed`.
///
/// # Errors
/// A tokenizer that has no token for the digits asked for; the message says what to use instead.
pub fn greater_than(digits: YearDigits, n: usize, seed: u64, encode: &dyn Encode) -> Result<Built, Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6774_7965);
    let text = |noun: &str, century: u32, start: u32| {
        format!("The {noun} lasted from the year {century}{start:02} to the year {century}")
    };
    let (probe, shown) = (text("war", 17, 32), if digits == YearDigits::Two { "33" } else { "4" });
    if next_token(&encode.prompt(&probe)?, &format!("{probe}{shown}"), false, encode)?.is_none() {
        return Err(Error::input(match digits {
            YearDigits::Two => {
                "greater-than: after `the year 17` this tokenizer has no one token for `33`: it splits \
                 numbers into digits; use --digits 1, which asks for the tens digit"
            }
            YearDigits::One => {
                "greater-than: after `the year 17` this tokenizer has no one token for `4`: it reads \
                 numbers in longer pieces; use --digits 2"
            }
        }));
    }
    Built::draw(n, encode, |_| {
        let noun = NOUNS.choose(&mut rng)?;
        let century = rng.random_range(16..19);
        let (start, least, right, wrong): (u32, u32, Vec<String>, Vec<String>) = match digits {
            YearDigits::Two => {
                let start = rng.random_range(2..99u32);
                let year = |y: u32| format!("{y:02}");
                (start, 1, (start + 1..100).map(year).collect(), (0..=start).map(year).collect())
            }
            YearDigits::One => {
                let tens = rng.random_range(1..9u32);
                let digit = |d: u32| d.to_string();
                (10 * tens + 9, 9, (tens + 1..10).map(digit).collect(), (0..=tens).map(digit).collect())
            }
        };
        Some(Candidate {
            id: "greater-than",
            clean: text(noun, century, start),
            corrupt: text(noun, century, least),
            answers: right,
            distractors: wrong,
            first: false,
        })
    })
}
