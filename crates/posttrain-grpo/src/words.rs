//! A completion as 32-bit words, on its way between ranks.

use model_qwen::{Completion, Finish};

const ENDS: [Finish; 3] = [Finish::Eos, Finish::Length, Finish::Stop];

/// Why it ended, its tokens, and the bits of their log-probabilities.
pub(crate) fn of(completion: &Completion) -> Vec<u32> {
    let end = ENDS.iter().position(|end| *end == completion.finish).unwrap_or_default() as u32;
    let bits = completion.sampling_logprobs.iter().map(|x| x.to_bits());
    std::iter::once(end).chain(completion.ids.iter().copied()).chain(bits).collect()
}

/// The end, the tokens and the log-probabilities of [`of`].
pub(crate) fn read(words: &[u32]) -> (Finish, Vec<u32>, Vec<f32>) {
    let (ids, bits) = words[1..].split_at(words.len() / 2);
    (ENDS[words[0] as usize], ids.to_vec(), bits.iter().map(|&bits| f32::from_bits(bits)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for (n, finish) in [(0, Finish::Stop), (1, Finish::Eos), (5, Finish::Length)] {
            let ids: Vec<u32> = (0..n).collect();
            let logprobs: Vec<f32> = ids.iter().map(|&i| -0.1 * i as f32).collect();
            let completion = Completion {
                ids: ids.clone(),
                logprobs: logprobs.clone(),
                sampling_logprobs: logprobs.clone(),
                finish,
            };
            assert_eq!(read(&of(&completion)), (finish, ids, logprobs));
        }
    }
}
