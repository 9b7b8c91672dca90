//! Greater-than (Hanna et al. 2023): "The war lasted from the year 1732 to the year 17" is answered by every
//! year after 32; the years up to it are set against them. In the corrupt prompt the war begins in 01.
//!
//! That needs a token for every two digits. A tokenizer that splits digits (Qwen's) is asked for the tens
//! digit instead, of wars that begin in a year that ends in 9: after 1739 the tens digits from 4 are right
//! and those up to 3 wrong, without exception. Its corrupt prompt begins in 09.
//! The metric that sums over answers is the probability difference.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Built, Candidate, Encode, next_token};
use crate::Error;

/// How many digits of the second year are one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YearDigits {
    /// The tens digit: for tokenizers that split numbers.
    One,
    /// Tens and units, as in the paper.
    Two,
}

/// Things that last, of Hanna et al.'s list.
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

/// Up to `n` pairs of the 17th to 19th century; drawing ends after 100 candidates for each.
///
/// # Errors
/// A tokenizer that has no token for the digits asked for; the message says what to use instead.
pub fn greater_than(digits: YearDigits, n: usize, seed: u64, encode: Encode<'_>) -> Result<Built, Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x6774_7965);
    let text = |noun: &str, century: u32, start: u32| {
        format!("The {noun} lasted from the year {century}{start:02} to the year {century}")
    };
    let (probe, shown) = (text("war", 17, 32), if digits == YearDigits::Two { "33" } else { "4" });
    if next_token(&encode(&probe)?, &format!("{probe}{shown}"), false, encode)?.is_none() {
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
    let mut built = Built::default();
    for _ in 0..100 * n {
        if built.pairs.len() == n {
            break;
        }
        let Some(noun) = NOUNS.choose(&mut rng) else { break };
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
        let candidate = Candidate {
            id: "greater-than",
            clean: text(noun, century, start),
            corrupt: text(noun, century, least),
            answers: right,
            distractors: wrong,
            first: false,
        };
        built.offer(&candidate, encode)?;
    }
    Ok(built)
}
