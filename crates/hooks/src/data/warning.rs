//! Warnings: results that are valid numbers but not what their reader may take them for.

use std::fmt;

use serde::Serialize;

/// Something about pairs or scores that a caller should show. Libraries return warnings and print none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Warning {
    /// The clean and the corrupt prompt of these pairs are the same tokens: every score of them is 0.
    EqualPrompts {
        /// Ids of the pairs.
        pairs: Vec<String>,
    },
    /// These pairs list a token both as an answer and as a distractor: it cancels out in part.
    SharedTokens {
        /// Ids of the pairs.
        pairs: Vec<String>,
    },
    /// These pairs have answers but no distractor: a difference is then of the answers alone.
    NoDistractor {
        /// Ids of the pairs.
        pairs: Vec<String>,
    },
    /// These ids are given to more than one pair.
    RepeatedIds {
        /// The ids, each once.
        pairs: Vec<String>,
    },
    /// Every score of these pairs is exactly 0: no edge changes the metric there.
    ZeroScores {
        /// Ids of the pairs.
        pairs: Vec<String>,
    },
    /// The gradient of the metric is 0 by definition at the only point where the method takes it. The scores are
    /// exact zeros, not rounding.
    ZeroGradient {
        /// The attribution method.
        method: String,
        /// The metric.
        metric: String,
    },
}

/// How many ids a message lists.
const LISTED: usize = 5;

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pairs, what) = match self {
            Warning::EqualPrompts { pairs } => {
                (pairs, "clean and corrupt are the same tokens, so every score is 0")
            }
            Warning::SharedTokens { pairs } => (pairs, "a token is both answer and distractor"),
            Warning::NoDistractor { pairs } => {
                (pairs, "no distractor, so differences are of the answer alone")
            }
            Warning::RepeatedIds { pairs } => (pairs, "the id is given to more than one pair"),
            Warning::ZeroScores { pairs } => (
                pairs,
                "every score is exactly 0, so no edge changes the metric; check answer and distractor",
            ),
            Warning::ZeroGradient { method, metric } => {
                return write!(
                    f,
                    "the gradient of {metric} is 0 at the clean run, the only point that {method} uses: every score \
                     is 0; use eap-ig-inputs, clean-corrupt or exact"
                );
            }
        };
        let listed = pairs.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = pairs.len().saturating_sub(LISTED);
        let (noun, rest) = (if pairs.len() == 1 { "pair" } else { "pairs" }, format!(" and {more} more"));
        write!(f, "{noun} {listed}{}: {what}", if more > 0 { &rest } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let pairs = (0..8).map(|i| i.to_string()).collect();
        let text = Warning::SharedTokens { pairs }.to_string();
        assert_eq!(text, "pairs 0, 1, 2, 3, 4 and 3 more: a token is both answer and distractor");
        let one = Warning::EqualPrompts { pairs: vec!["a".into()] };
        assert!(one.to_string().starts_with("pair a: clean and corrupt are the same"));
        assert_eq!(serde_json::to_value(one).unwrap()["kind"], "equal-prompts");
    }
}
