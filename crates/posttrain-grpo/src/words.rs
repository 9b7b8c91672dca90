//! A completion as 32-bit words, on its way between ranks.

use model_qwen::{Completion, Finish};

const ENDS: [Finish; 3] = [Finish::Eos, Finish::Length, Finish::Stop];

/// Steps done by the weights that sampled it, why it ended, its tokens, and the bits of their log-probabilities.
pub(crate) fn of(completion: &Completion, step: usize) -> Vec<u32> {
    let end = ENDS.iter().position(|end| *end == completion.finish).unwrap_or_default() as u32;
    let bits = completion.sampling_logprobs.iter().map(|x| x.to_bits());
    [step as u32, end].into_iter().chain(completion.ids.iter().copied()).chain(bits).collect()
}

/// What [`of`] made words of.
pub(crate) fn read(words: &[u32]) -> (usize, Completion) {
    let (ids, bits) = words[2..].split_at((words.len() - 2) / 2);
    let logprobs: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
    let (ids, finish) = (ids.to_vec(), ENDS[words[1] as usize]);
    (words[0] as usize, Completion { ids, sampling_logprobs: logprobs.clone(), logprobs, finish })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for (n, finish) in [(0, Finish::Stop), (1, Finish::Eos), (5, Finish::Length)] {
            let ids: Vec<u32> = (0..n).collect();
            let logprobs: Vec<f32> = ids.iter().map(|&i| -0.1 * i as f32).collect();
            let completion =
                Completion { ids, logprobs: logprobs.clone(), sampling_logprobs: logprobs, finish };
            assert_eq!(read(&of(&completion, 7)), (7, completion));
        }
    }
}
