//! Correctness, and rewards that depend on it.

use math_grade::{extract, grade};
use model_qwen::Finish;

use super::calculation::gains_nothing;
use super::{Reward, Sample};
use crate::Error;

/// Whether the grader finds an answer equal to itself: one that it cannot read judges nothing.
pub fn is_readable(answer: &str) -> bool {
    [&format!("\\boxed{{{answer}}}"), answer].into_iter().any(|pred| grade(answer, pred).correct)
}

/// Whether a completion is right; `None` without an answer that can be read. Where the answer is a plain number, a
/// calculation is none: "12+34=" has the value of its own question. A completion that was cut off at the budget gives an
/// answer only where it says so: the last number of an unfinished text is whatever the budget left.
///
/// With `after_think` only what follows the last `</think>` counts, and without one nothing is right.
pub fn is_right(sample: &Sample<'_>, after_think: bool) -> Option<bool> {
    let completion = match sample.completion.rsplit_once("</think>").filter(|_| after_think) {
        Some((_, after)) => after,
        None if after_think => return Some(false),
        None => sample.completion,
    };
    let reference = sample.answer.filter(|answer| is_readable(answer))?;
    let found = extract(completion);
    let unfinished = sample.finish == Finish::Length && !found.announced;
    let unpaid = |found: String| gains_nothing(reference, sample.prompt_text, &found);
    Some(!unfinished && grade(reference, completion).correct && !found.answer.is_some_and(unpaid))
}

/// 1 for the right answer and 0 for any other.
pub(super) struct Correct {
    /// Only what follows the last `</think>` counts, and without one nothing.
    pub(super) after_think: bool,
}

impl Reward for Correct {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        let one =
            |sample| is_right(sample, self.after_think).map_or(f32::NAN, |right| f32::from(u8::from(right)));
        Ok(samples.iter().map(one).collect())
    }
}

/// A reward of length that is one number for right and another for wrong completions (Yeo et al. 2025, appendix C.1).
pub(super) struct Cosine {
    pub(super) max_tokens: usize,
    /// Values at no length and at `max_tokens`: of wrong completions, then of right ones.
    pub(super) wrong: [f64; 2],
    pub(super) right: [f64; 2],
}

impl Reward for Cosine {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        let one = |sample: &Sample<'_>| {
            let Some(right) = is_right(sample, false) else { return f32::NAN };
            let [short, long] = if right { self.right } else { self.wrong };
            let progress = (sample.ids.len() as f64 / self.max_tokens as f64).min(1.0);
            let cosine = (progress * std::f64::consts::PI).cos();
            (long + 0.5 * (short - long) * (1.0 + cosine)) as f32
        };
        Ok(samples.iter().map(one).collect())
    }
}

/// Shorter is better among the completions of a prompt; wrong ones gain nothing by it (Kimi k1.5, section 2.3.3).
pub(super) struct Length;

impl Reward for Length {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        let mut all = Vec::with_capacity(samples.len());
        for group in samples.chunk_by(|a, b| a.prompt == b.prompt) {
            let lengths = group.iter().map(|s| s.ids.len());
            let (min, max) = (lengths.clone().min().unwrap_or(0), lengths.max().unwrap_or(0));
            all.extend(group.iter().map(|sample| match is_right(sample, false) {
                None => f32::NAN,
                Some(_) if min == max => 0.0,
                Some(right) => {
                    let place = 0.5 - (sample.ids.len() - min) as f64 / (max - min) as f64;
                    (if right { place } else { place.min(0.0) }) as f32
                }
            }));
        }
        Ok(all)
    }
}
