//! Which tokens a prompt's continuation is judged by, and at which positions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Right and wrong next tokens at one position.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Accepted next tokens, each once.
    pub answers: Vec<u32>,
    /// Tokens set against them, each once.
    pub distractors: Vec<u32>,
}

impl Target {
    /// The tokens that are both answers and distractors.
    pub fn shared(&self) -> impl Iterator<Item = u32> + '_ {
        self.answers.iter().copied().filter(|id| self.distractors.contains(id))
    }

    /// Whether answers and distractors are the same tokens, so that their difference is 0 for every model.
    pub fn is_void(&self) -> bool {
        !self.answers.is_empty()
            && self.answers.len() == self.distractors.len()
            && self.shared().count() == self.answers.len()
    }

    /// The first token that is listed twice among the answers or among the distractors, with its field.
    pub(crate) fn repeated(&self) -> Option<(&'static str, u32)> {
        let first = |ids: &[u32]| ids.iter().enumerate().find(|(i, id)| ids[..*i].contains(id)).map(|x| *x.1);
        let distractor = || Some(("distractor", first(&self.distractors)?));
        first(&self.answers).map(|id| ("answer", id)).or_else(distractor)
    }
}

/// At which positions a metric is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// The last position of the prompt, which predicts the answer's first token.
    #[default]
    Last,
    /// Every position that predicts a token of the answer; the answer is fed token by token.
    Answer,
    /// Every position of the clean prompt; each predicts the next token.
    All,
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Positions::Last => "last",
            Positions::Answer => "answer",
            Positions::All => "all",
        })
    }
}

impl FromStr for Positions {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "last" => Ok(Positions::Last),
            "answer" => Ok(Positions::Answer),
            "all" => Ok(Positions::All),
            _ => Err(Error::input(format!("positions `{text}`: expected last, answer or all"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_and_repeated_tokens_are_found() {
        let target = |a: &[u32], d: &[u32]| Target { answers: a.into(), distractors: d.into() };
        assert_eq!(target(&[4, 5], &[5, 6]).shared().collect::<Vec<_>>(), [5]);
        assert!(target(&[4, 5], &[5, 4]).is_void());
        assert!(!target(&[4, 5], &[5]).is_void() && !target(&[], &[]).is_void());
        assert_eq!(target(&[4, 5, 4], &[]).repeated(), Some(("answer", 4)));
        assert_eq!(target(&[4], &[6, 7, 7]).repeated(), Some(("distractor", 7)));
        assert_eq!(target(&[4], &[4]).repeated(), None);
    }
}
