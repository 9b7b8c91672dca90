//! Candidates become pairs if they can be measured; the others are counted by reason.

use std::collections::BTreeMap;

use hooks::{Encode, Pair, Pairs, Target};

use crate::Error;

/// The pairs that a builder made, and what it dropped.
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
        Pairs::new(self.pairs)
    }

    /// One line: how many were kept and dropped, and why.
    pub fn summary(&self) -> String {
        let dropped: Vec<String> = self.dropped.iter().map(|(why, n)| format!("{n} {why}")).collect();
        match dropped.len() {
            0 => format!("{} pairs, none dropped", self.pairs.len()),
            _ => format!("{} pairs; dropped: {}", self.pairs.len(), dropped.join(", ")),
        }
    }

    /// Draws candidates until `n` are kept: at most 100 for each pair. `candidate` may count a draw that makes none.
    pub(crate) fn draw(
        n: usize,
        encode: &dyn Encode,
        mut candidate: impl FnMut(&mut Self) -> Option<Candidate>,
    ) -> Result<Self, Error> {
        let mut built = Self::default();
        for _ in 0..100 * n {
            if built.pairs.len() == n {
                break;
            }
            if let Some(candidate) = candidate(&mut built) {
                built.offer(&candidate, encode)?;
            }
        }
        Ok(built)
    }

    pub(crate) fn drop(&mut self, why: &str) {
        *self.dropped.entry(why.to_owned()).or_default() += 1;
    }

    fn holds(&self, clean: &[u32], corrupt: &[u32]) -> bool {
        self.pairs.iter().any(|pair| pair.clean == clean && pair.corrupt == corrupt)
    }

    /// Keeps a candidate that makes a valid pair; counts another one by the reason why it does not.
    fn offer(&mut self, candidate: &Candidate, encode: &dyn Encode) -> Result<(), Error> {
        let (clean, corrupt) = (encode.prompt(&candidate.clean)?, encode.prompt(&candidate.corrupt)?);
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
            self.pairs.push(Pair::new(id, clean, corrupt, Target { answers, distractors }));
        }
        Ok(())
    }
}

/// A pair as text. An answer is appended to the clean prompt as it is, its leading space included.
pub(crate) struct Candidate {
    pub(crate) id: &'static str,
    pub(crate) clean: String,
    pub(crate) corrupt: String,
    pub(crate) answers: Vec<String>,
    pub(crate) distractors: Vec<String>,
    /// Whether the answer's first token is enough; otherwise the answer must be one token.
    pub(crate) first: bool,
}

/// The token that follows `prompt` in `text`, which begins with the prompt's text; `None` where the
/// tokenizer joins the two, or where one token is asked for and there are more.
pub(crate) fn next_token(
    prompt: &[u32],
    text: &str,
    first: bool,
    encode: &dyn Encode,
) -> Result<Option<u32>, Error> {
    let ids = encode.prompt(text)?;
    let rest = ids.strip_prefix(prompt);
    Ok(rest.filter(|rest| first || rest.len() == 1).and_then(|rest| rest.first().copied()))
}
