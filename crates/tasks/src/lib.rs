//! Pairs of clean and corrupt prompts for attribution, from templates or from two models' answers.
//!
//! | builder | what the pair asks for | source |
//! |---|---|---|
//! | [`ioi()`] | the name that was not repeated | Wang et al. 2022; MIB |
//! | [`greater_than()`] | a year after the first one | Hanna et al. 2023 |
//! | [`arithmetic()`] | the first token of the result | Stolfo et al. 2023 |
//! | [`openings()`] | the post-trained model's next token against the base model's | Thinking Sparks, section 3 |
//!
//! Templates need a tokenizer ([`hooks::Encode`]) and no model. A candidate is kept only if both prompts have the same
//! number of tokens and every answer is one token after them; the others are counted by reason ([`Built::dropped`]).
//! Every draw is a function of the seed. Pairs for the embedded demo model are in the crate `toy`.
//!
//! # Example
//! ```
//! use hooks::Encode;
//! use tasks::{Arithmetic, Operation, arithmetic};
//!
//! /// A token for each byte.
//! struct Bytes;
//! impl Encode for Bytes {
//!     fn prompt(&self, text: &str) -> Result<Vec<u32>, hooks::Error> {
//!         Ok(text.bytes().map(u32::from).collect())
//!     }
//!     fn continuation(&self, text: &str) -> Result<Vec<u32>, hooks::Error> {
//!         self.prompt(text)
//!     }
//! }
//!
//! let what = Arithmetic { operation: Operation::Add, digits: 2 };
//! let built = arithmetic(what, 8, 0, &Bytes)?;
//! println!("{}", built.summary());
//! let pairs = built.checked()?;
//! assert_eq!(pairs.len(), 8);
//! # Ok::<(), hooks::Error>(())
//! ```

mod arithmetic;
mod built;
mod greater_than;
mod ioi;
mod openings;

use hooks::{Pairs, Target};

pub use arithmetic::{Arithmetic, Operation, arithmetic};
pub use built::Built;
pub use common::Error;
pub use greater_than::{YearDigits, greater_than};
pub use ioi::{Corruption, ioi};
pub use openings::{Opening, openings};

/// The text of token ids.
pub type Decode<'a> = &'a dyn Fn(&[u32]) -> Result<String, Error>;

/// The text of a pairs file: one JSON object a line with token ids. The key `text` holds the decoded prompts and answers
/// for people; readers ignore it.
///
/// # Errors
/// Ids that `decode` cannot decode.
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
