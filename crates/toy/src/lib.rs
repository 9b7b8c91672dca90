//! The task of the demo: additions of two to four two-digit numbers, answered directly or with steps, with their
//! tokenizer and the small Qwen2 model that was trained on them.
//!
//! ```
//! use toy::{self, ProblemKind, ToyProblem};
//!
//! let problem = ToyProblem::new(&[47, 28, 36])?;
//! assert_eq!(problem.prompt, "47+28+36=");
//! assert_eq!(problem.direct, "111<eos>");
//! assert_eq!(problem.worked, "<think>47+28=75;75+36=111</think>111<eos>");
//! assert_eq!(toy::reward(&problem, &problem.worked), 1.0);
//! assert_eq!(toy::encode(&problem.prompt)?.len(), ProblemKind::Three.prompt_tokens());
//! # Ok::<(), toy::Error>(())
//! ```

mod controls;
mod corpus;
mod model;
mod pairs;
mod task;
mod tokenizer;

pub use common::Error;
pub use controls::{Moved, changes, moved_head, noisy, noisy_by};
pub use corpus::{Corpus, Line, SFT_LINES_FIELDS, pretraining_corpus, sft_corpus};
pub use model::{
    CONFIG_JSON, GENERATION_CONFIG_JSON, TOKENIZER_JSON, WEIGHTS, base, config, write_model_files,
};
pub use pairs::{Place, Toward, opening_pairs, swap_pairs};
pub use task::{Manner, Mix, ProblemKind, ProblemStream, Split, ToyProblem, distinct, manner, reward};
pub use tokenizer::{EOS, PAD, THINK, THINK_END, UNK, VOCAB, decode, encode, tokenizer_json};
