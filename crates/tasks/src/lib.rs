//! Pairs of clean and corrupt prompts for attribution, from templates or from two models' answers.
//!
//! | builder | the pair asks | source |
//! |---|---|---|
//! | [`openings()`] | how the post-trained model goes on, against the base model | Thinking Sparks, section 3 |
//! | [`arithmetic()`] | the first token of another result | Stolfo et al. 2023 |
//! | [`ioi()`] | the name that was not repeated | Wang et al. 2022; MIB |
//! | [`greater_than()`] | a year after the first | Hanna et al. 2023 |
//!
//! Templates need a tokenizer and no model. Whatever a builder proposes is kept only if both prompts have the
//! same number of tokens and every answer is one token after them; what is dropped is counted by its reason.
//! Every draw is a function of the seed. Pairs of the demo's own world are in [`crate::toy`].

mod arithmetic;
mod greater_than;
mod ioi;
mod openings;

use std::collections::BTreeMap;

use hooks::{Pair, Pairs, Target};

pub use arithmetic::{Arithmetic, Operation, arithmetic};
pub use common::Error;
pub use greater_than::{YearDigits, greater_than};
pub use ioi::{Corruption, ioi};
pub use openings::{Opening, openings};

/// Token ids of a text, with whatever the tokenizer puts in front.
pub type Encode<'a> = &'a dyn Fn(&str) -> Result<Vec<u32>, Error>;

/// The text of token ids.
pub type Decode<'a> = &'a dyn Fn(&[u32]) -> Result<String, Error>;

/// What a builder made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Built {
    /// The pairs, in the order that they were drawn.
    pub pairs: Vec<Pair>,
    /// How many candidates were dropped, by reason.
    pub dropped: BTreeMap<String, usize>,
}

impl Built {
    /// The pairs, checked.
    ///
    /// # Errors
    /// No pairs: the message lists why candidates were dropped.
    pub fn checked(self) -> Result<Pairs, Error> {
        if self.pairs.is_empty() {
            return Err(Error::input(format!("pairs: none left ({})", self.summary())));
        }
        Ok(Pairs::new(self.pairs)?)
    }

    /// One line: how many were kept and dropped, and why.
    pub fn summary(&self) -> String {
        let dropped: Vec<String> = self.dropped.iter().map(|(why, n)| format!("{n} {why}")).collect();
        match dropped.len() {
            0 => format!("{} pairs, none dropped", self.pairs.len()),
            _ => format!("{} pairs; dropped: {}", self.pairs.len(), dropped.join(", ")),
        }
    }

    fn drop(&mut self, why: &str) {
        *self.dropped.entry(why.to_owned()).or_default() += 1;
    }

    fn holds(&self, clean: &[u32], corrupt: &[u32]) -> bool {
        self.pairs.iter().any(|pair| pair.clean == clean && pair.corrupt == corrupt)
    }

    /// Keeps a candidate if it is a pair, and counts it by its fault if not.
    fn offer(&mut self, candidate: &Candidate, encode: Encode<'_>) -> Result<(), Error> {
        let (clean, corrupt) = (encode(&candidate.clean)?, encode(&candidate.corrupt)?);
        if clean.len() != corrupt.len() {
            self.drop("of unequal length");
            return Ok(());
        }
        let mut sides = [Vec::new(), Vec::new()];
        for (side, texts) in sides.iter_mut().zip([&candidate.answers, &candidate.distractors]) {
            for text in texts {
                match next_token(&clean, &format!("{}{text}", candidate.clean), candidate.first, encode)? {
                    Some(id) => side.push(id),
                    None => {
                        self.drop("whose answer is not one token after the prompt");
                        return Ok(());
                    }
                }
            }
        }
        let [answers, distractors] = sides;
        if answers.iter().any(|id| distractors.contains(id)) {
            self.drop("with one first token for answer and distractor");
        } else if self.holds(&clean, &corrupt) {
            self.drop("drawn before");
        } else {
            let id = format!("{}-{}", candidate.id, self.pairs.len());
            self.pairs.push(Pair {
                id,
                clean,
                corrupt,
                target: Target { answers, distractors },
                earlier: Vec::new(),
            });
        }
        Ok(())
    }
}

/// A pair as text. Answers follow the clean prompt without a space of their own.
struct Candidate {
    id: &'static str,
    clean: String,
    corrupt: String,
    answers: Vec<String>,
    distractors: Vec<String>,
    /// Whether an answer's first token will do, or the answer must be one token.
    first: bool,
}

/// The token that follows `prompt` in `text`, which begins with the prompt's text; `None` where the
/// tokenizer joins the two, or where one token is asked for and there are more.
fn next_token(prompt: &[u32], text: &str, first: bool, encode: Encode<'_>) -> Result<Option<u32>, Error> {
    let ids = encode(text)?;
    let rest = ids.strip_prefix(prompt);
    Ok(rest.filter(|rest| first || rest.len() == 1).and_then(|rest| rest.first().copied()))
}

/// A pairs file: one JSON object a line, with token ids, and the text of each side under `text`, which no
/// reader takes for input.
///
/// # Errors
/// What `decode` cannot decode.
pub fn to_jsonl(pairs: &Pairs, decode: Decode<'_>) -> Result<String, Error> {
    let mut lines = String::new();
    let each = |ids: &[u32]| ids.iter().map(|&id| decode(&[id])).collect::<Result<Vec<_>, _>>();
    for pair in pairs {
        let Target { answers, distractors } = &pair.target;
        let line = serde_json::json!({
            "id": pair.id, "clean_ids": pair.clean, "corrupt_ids": pair.corrupt,
            "answer_ids": answers, "distractor_ids": distractors,
            "text": {
                "clean": decode(&pair.clean)?, "corrupt": decode(&pair.corrupt)?,
                "answer": each(answers)?, "distractor": each(distractors)?,
            },
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests;
