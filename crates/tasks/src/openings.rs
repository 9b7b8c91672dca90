//! The paper's pairs: the openings of two models' answers to the same problem.
//!
//! The clean prompt is the problem and the beginning of the post-trained model's answer, the corrupt prompt the same of
//! the base model, both cut to one length. The answer is the post-trained model's next token, the distractor the base
//! model's. Source: Thinking Sparks (arXiv 2509.25758), section 3 and A.5. The paper states neither lengths nor which
//! token is measured; lengths of 8, 16 and 32 and the next token are our choice.

use hooks::{Pair, Target};
use model_qwen::{Qwen, Request, Sampling, generate};

use super::Built;
use crate::Error;

/// A problem as a prompt, and the beginning of one model's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The problem's name.
    pub id: String,
    /// Token ids of the problem as both models are given it.
    pub prompt: Vec<u32>,
    /// Token ids of the beginning of the answer; a stop token is its last.
    pub answer: Vec<u32>,
}

impl Opening {
    /// Generates the beginning of `model`'s answer to each of `problems` (id and prompt), `batch` at a time. `how` must
    /// allow one token more than the longest cut. Random draws belong to the problem: the batch changes nothing.
    ///
    /// # Errors
    /// What generation refuses: an empty prompt, a token beyond the vocabulary.
    pub fn of(
        model: &Qwen,
        problems: &[(String, Vec<u32>)],
        how: &Sampling,
        batch: usize,
    ) -> Result<Vec<Self>, Error> {
        let mut openings = Vec::with_capacity(problems.len());
        for chunk in problems.chunks(batch.max(1)) {
            let request = |(i, (_, prompt)): (usize, &(String, Vec<u32>))| Request {
                prompt: prompt.clone(),
                stream: (openings.len() + i) as u64,
                origin: openings.len() + i,
            };
            let requests: Vec<Request> = chunk.iter().enumerate().map(request).collect();
            let completions = generate(model, &requests, how, &mut (), |_, _| true)?;
            openings.extend(chunk.iter().zip(completions).map(|((id, prompt), completion)| Self {
                id: id.clone(),
                prompt: prompt.clone(),
                answer: completion.ids,
            }));
        }
        Ok(openings)
    }
}

/// One pair for each problem and each of `lengths`, of the openings of the `post`-trained and the `base`
/// model to the same problems. Dropped: answers that end before the cut, openings that are one text, and
/// openings that both go on with the same token.
///
/// # Errors
/// Openings of different problems, or a length of 0.
pub fn openings(post: &[Opening], base: &[Opening], lengths: &[usize]) -> Result<Built, Error> {
    if lengths.contains(&0) {
        return Err(Error::input("length: 0, expected at least one token of each opening"));
    }
    let same = |(a, b): (&Opening, &Opening)| (&a.id, &a.prompt) == (&b.id, &b.prompt);
    if post.len() != base.len() || !post.iter().zip(base).all(same) {
        return Err(Error::input("openings: of different problems, expected the same for both models"));
    }
    let mut built = Built::default();
    for (post, base) in post.iter().zip(base) {
        for &length in lengths {
            let (Some(next), Some(other)) = (post.answer.get(length), base.answer.get(length)) else {
                built.drop("whose answer ends before the cut");
                continue;
            };
            let side = |opening: &Opening| [&opening.prompt[..], &opening.answer[..length]].concat();
            let (clean, corrupt) = (side(post), side(base));
            if clean == corrupt {
                built.drop("with one opening");
            } else if next == other {
                built.drop("that both go on alike");
            } else {
                let target = Target { answers: vec![*next], distractors: vec![*other] };
                built.pairs.push(Pair::new(format!("{}-{length}", post.id), clean, corrupt, target));
            }
        }
    }
    Ok(built)
}
