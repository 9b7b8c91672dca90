//! From logits to a token: temperature, top-k, top-p, min-p, as `transformers` applies them.

use burn::tensor::{Int, Tensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// How many completions are in work at the same time: memory and time only, never a draw or a bit.
///
/// The cache holds `slots · positions` keys and values, `slots` at most `rows` and at most as many as `tokens` has
/// room for; `positions` is the longest prompt with its budget of new tokens, and a quarter more where rows follow
/// each other in a slot. A position takes `2 · n_layers · n_kv_heads · d_head` f32 values. Buffers grow as they
/// fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Rows at most.
    pub rows: usize,
    /// Positions of the cache at most, of all rows together.
    pub tokens: usize,
}

impl Default for Room {
    /// All at once.
    fn default() -> Self {
        Self { rows: usize::MAX, tokens: usize::MAX }
    }
}

impl Room {
    /// Rows in work at most.
    pub fn rows(rows: usize) -> Self {
        Self { rows, ..Self::default() }
    }

    /// How many of `requests` rows are in work, and positions of the cache, where a row may have `row` tokens.
    pub(crate) fn slots(self, requests: usize, row: usize) -> Result<(usize, usize), crate::Error> {
        if self.rows == 0 {
            return Err(crate::Error::input("no row may be in work, expected at least 1"));
        }
        if self.tokens < row {
            return Err(crate::Error::input(format!(
                "a budget of {} tokens in work: the longest prompt with its new tokens has {row}, expected at \
                 least as many",
                self.tokens
            )));
        }
        let wide = row.saturating_add(row / 4);
        let slots = self.rows.min(requests).min(self.tokens / wide.max(1)).max(1);
        Ok((slots, if slots == 1 || slots == requests { row } else { wide }))
    }
}

/// How completions are made and their tokens chosen. Temperature 0 is greedy and ignores the filters.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// New tokens at most.
    pub max_tokens: usize,
    /// Logits are divided by it; 0 takes the most likely token.
    pub temperature: f64,
    /// Keep the fewest most likely tokens whose probabilities reach it; 1 keeps all.
    pub top_p: f64,
    /// Keep this many most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep tokens at least this fraction as likely as the most likely; 0 keeps all.
    pub min_p: f64,
    /// Seed of the random numbers; each request has a stream of its own.
    pub seed: u64,
    /// Tokens that end a completion; they are kept as its last token.
    pub stop_ids: Vec<u32>,
    /// How many completions are in work at the same time.
    pub room: Room,
}

impl Default for Sampling {
    /// Greedy, 256 tokens.
    fn default() -> Self {
        Self {
            max_tokens: 256,
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            seed: 0,
            stop_ids: Vec::new(),
            room: Room::default(),
        }
    }
}

impl Sampling {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// The first that does not, with what was expected.
    pub fn check(&self) -> Result<(), crate::Error> {
        let bad = |what: String| Err(crate::Error::input(what));
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return bad(format!("temperature {}: expected a number from 0", self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return bad(format!("top-p {}: expected above 0 and at most 1", self.top_p));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return bad(format!("min-p {}: expected from 0 to 1", self.min_p));
        }
        Ok(())
    }
}

/// Tokens that are ranked at first where top-k does not say how many.
const RANKED: usize = 256;

/// A chosen token and its natural-log probabilities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Choice {
    pub(crate) token: u32,
    /// Under `softmax(logits)`.
    pub(crate) model: f32,
    /// Under the distribution that was sampled from; 0 where greedy.
    pub(crate) sampling: f32,
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    max + values.map(|x| (x - max).exp()).sum::<f64>().ln()
}

/// The first largest logit.
fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, &x) in logits.iter().enumerate() {
        if x > logits[best] {
            best = i;
        }
    }
    best
}

/// A token for each row of `logits` `[rows, vocab]`, with the random numbers of each row.
///
/// On a device other than the CPU greedy choices and draws without filters are made there, and three numbers a row
/// come back; the filters work on the host. A draw there is the CPU's for the same random number, but where the sum of
/// probabilities in f32 falls on another side of it.
pub(crate) fn choose_all(logits: Tensor<2>, how: &Sampling, rngs: Vec<&mut ChaCha8Rng>) -> Vec<Choice> {
    let unfiltered = how.top_k == 0 && how.top_p >= 1.0 && how.min_p == 0.0;
    if !kernels::is_cpu(&logits.device()) && (how.temperature == 0.0 || unfiltered) {
        return choose_on_device(logits, how, rngs);
    }
    let width = logits.dims()[1];
    let logits: Vec<f32> = logits.into_data().try_to_vec().unwrap_or_default();
    let rows = rngs.into_par_iter().zip(logits.par_chunks_exact(width));
    rows.map(|(rng, logits)| choose(logits, how, rng)).collect()
}

/// Tokens that are summed at first in a draw on the device; then the tokens of one such block.
const BLOCK: usize = 512;

/// As [`choose`] without filters, in tensor operations.
fn choose_on_device(logits: Tensor<2>, how: &Sampling, rngs: Vec<&mut ChaCha8Rng>) -> Vec<Choice> {
    let [rows, vocab] = logits.dims();
    let log_z = |x: &Tensor<2>| {
        let most = x.clone().max_dim(1);
        (x.clone() - most.clone()).exp().sum_dim(1).log() + most
    };
    let log_p = logits.clone() - log_z(&logits);
    let (token, sampling) = if how.temperature == 0.0 {
        (logits.argmax(1), log_p.zeros_like())
    } else {
        let scaled = logits / how.temperature;
        let sampling = scaled.clone() - log_z(&scaled);
        let u: Vec<f32> = rngs.into_iter().map(|rng| rng.random::<f64>() as f32).collect();
        let u = Tensor::from_data(TensorData::new(u, [rows, 1]), &sampling.device());
        (draw(sampling.clone().exp(), u), sampling)
    };
    let of_token = |x: Tensor<2>| x.gather(1, token.clone());
    // Ids are below 2^24, so f32 holds them.
    let all = Tensor::cat(vec![token.clone().float(), of_token(log_p), of_token(sampling)], 1);
    let values: Vec<f32> = all.into_data().try_to_vec().unwrap_or_default();
    debug_assert!(vocab < 1 << 24);
    values.chunks_exact(3).map(|v| Choice { token: v[0] as u32, model: v[1], sampling: v[2] }).collect()
}

/// The first token of each row at which the summed probabilities `p` `[rows, vocab]` pass `u` `[rows, 1]`.
fn draw(p: Tensor<2>, u: Tensor<2>) -> Tensor<2, Int> {
    let ([rows, vocab], device) = (p.dims(), p.device());
    let blocks = vocab.div_ceil(BLOCK);
    let padding = Tensor::zeros([rows, blocks * BLOCK - vocab], &device);
    let p = Tensor::cat(vec![p, padding], 1).reshape([rows, blocks, BLOCK]);
    let sums = p.clone().sum_dim(2).reshape([rows, blocks]).cumsum(1);
    // The probabilities sum to 1 up to rounding: `u` is a part of what they sum to, and below it.
    let all = sums.clone().slice([0..rows, blocks - 1..blocks]);
    let u = (u * all.clone()).min_pair(all * (1.0 - 2.0 * f64::from(f32::EPSILON)));
    let passed = |sums: Tensor<2>, u: Tensor<2>| sums.lower_equal(u).int().sum_dim(1);
    let block = passed(sums.clone(), u.clone()).clamp_max(blocks as i64 - 1);
    let before = Tensor::cat(vec![Tensor::zeros([rows, 1], &device), sums], 1).gather(1, block.clone());
    let place = block.clone().reshape([rows, 1, 1]).expand([rows, 1, BLOCK]);
    let inside = p.gather(1, place).reshape([rows, BLOCK]);
    let at = passed(inside.clone().cumsum(1) + before, u);
    // Rounding can pass over the last token that has a probability.
    let places = Tensor::<1, Int>::arange(0..BLOCK as i64, &device).unsqueeze::<2>().expand([rows, BLOCK]);
    let last = (places * inside.greater_elem(0.0).int()).max_dim(1);
    block * BLOCK as i64 + at.min_pair(last)
}

/// Chooses a token from one row of logits.
pub(crate) fn choose(logits: &[f32], how: &Sampling, rng: &mut ChaCha8Rng) -> Choice {
    let log_z = log_sum_exp(logits.iter().map(|&x| f64::from(x)));
    let model = |token: usize| (f64::from(logits[token]) - log_z) as f32;
    if how.temperature == 0.0 {
        let token = argmax(logits);
        return Choice { token: token as u32, model: model(token), sampling: 0.0 };
    }
    let scaled = |token: usize| f64::from(logits[token]) / how.temperature;
    let u: f64 = rng.random();
    if how.top_k == 0 && how.top_p >= 1.0 && how.min_p == 0.0 {
        let log_z = log_sum_exp((0..logits.len()).map(scaled));
        let all = (0..logits.len()).map(|t| (t, (scaled(t) - log_z).exp()));
        let token = pick(all, u);
        return Choice { token: token as u32, model: model(token), sampling: (scaled(token) - log_z) as f32 };
    }
    let kept = kept(logits, how);
    let log_z = log_sum_exp(kept.iter().map(|&t| scaled(t)));
    let token = pick(kept.iter().map(|&t| (t, (scaled(t) - log_z).exp())), u);
    Choice { token: token as u32, model: model(token), sampling: (scaled(token) - log_z) as f32 }
}

/// The `n` most likely tokens, most likely first; equal logits by token id.
fn most_likely(logits: &[f32], n: usize) -> Vec<usize> {
    let order = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    let mut all: Vec<usize> = (0..logits.len()).collect();
    if n < all.len() {
        all.select_nth_unstable_by(n, order);
        all.truncate(n);
    }
    all.sort_unstable_by(order);
    all
}

/// What the filters keep, most likely first: top-k, then top-p of what is left, then min-p.
fn kept(logits: &[f32], how: &Sampling) -> Vec<usize> {
    let scaled = |token: usize| f64::from(logits[token]) / how.temperature;
    let limit = if how.top_k == 0 { logits.len() } else { how.top_k.min(logits.len()) };
    let whole = (how.top_k == 0).then(|| log_sum_exp((0..logits.len()).map(scaled)));
    // Few tokens are kept as a rule: more are ranked only where those are not enough.
    let mut n = limit.min(if how.top_k == 0 { RANKED } else { limit });
    loop {
        let order = most_likely(logits, n);
        let log_z = whole.unwrap_or_else(|| log_sum_exp(order.iter().map(|&t| scaled(t))));
        let floor = how.min_p.ln() + scaled(order[0]);
        let mut before = 0.0;
        let inside = order.iter().take_while(|&&t| {
            let keep = (how.top_p >= 1.0 || before < how.top_p) && scaled(t) >= floor;
            before += (scaled(t) - log_z).exp();
            keep
        });
        let kept: Vec<usize> = inside.copied().collect();
        if kept.len() < n || n == limit {
            return kept;
        }
        n = n.saturating_mul(16).min(limit);
    }
}

/// The token at which the summed probabilities pass `u`.
fn pick(probabilities: impl Iterator<Item = (usize, f64)>, u: f64) -> usize {
    let (mut sum, mut last) = (0.0, 0);
    for (token, p) in probabilities {
        sum += p;
        if p > 0.0 {
            last = token;
        }
        if u < sum {
            return token;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn frequencies(how: &Sampling, logits: &[f32]) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[choose(logits, how, &mut rng).token as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[test]
    fn sampled_frequencies_are_the_stated_probabilities() {
        let logits = [2.0f32, 1.0, 0.0, -1.0];
        for how in [
            Sampling { temperature: 1.0, ..Sampling::default() },
            Sampling { temperature: 0.5, top_k: 3, ..Sampling::default() },
            Sampling { temperature: 1.0, top_p: 0.8, ..Sampling::default() },
            Sampling { temperature: 2.0, min_p: 0.5, ..Sampling::default() },
        ] {
            let mut rng = ChaCha8Rng::seed_from_u64(2);
            let found = frequencies(&how, &logits);
            for _ in 0..50 {
                let choice = choose(&logits, &how, &mut rng);
                let expected = f64::from(choice.sampling).exp();
                // 20,000 draws: three standard deviations are at most 0.011.
                assert!(
                    (found[choice.token as usize] - expected).abs() < 0.011,
                    "{how:?} {choice:?} {found:?}"
                );
            }
        }
    }

    /// Ranking a part keeps what sorting everything keeps.
    #[test]
    fn filters_keep_what_a_full_sort_keeps() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        // Rounded, so that many are equal.
        let logits: Vec<f32> = (0..5000).map(|_| (rng.random::<f32>() * 64.0).round() / 8.0).collect();
        for (top_k, top_p, min_p) in [
            (0, 0.5, 0.0),
            (0, 0.9, 0.0),
            (0, 0.9999, 0.0),
            (0, 1.0, 0.5),
            (0, 1.0, 1e-3),
            (0, 0.7, 0.9),
            (300, 1.0, 0.0),
            (300, 0.6, 0.0),
            (9000, 0.6, 0.01),
        ] {
            let how = Sampling { temperature: 0.8, top_k, top_p, min_p, ..Sampling::default() };
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            order.truncate(if top_k == 0 { logits.len() } else { top_k });
            let weight = |t: usize| (f64::from(logits[t] - logits[order[0]]) / 0.8).exp();
            let total: f64 = order.iter().map(|&t| weight(t)).sum();
            let mut sum = 0.0;
            let mut expected = Vec::new();
            for &t in &order {
                if (top_p < 1.0 && sum >= top_p) || weight(t) < min_p * (1.0 - 1e-12) {
                    break;
                }
                expected.push(t);
                sum += weight(t) / total;
            }
            assert_eq!(kept(&logits, &how), expected, "{how:?}");
        }
    }

    #[test]
    fn a_draw_in_tensors_is_the_draw_of_the_loop() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for (vocab, temperature) in [(3, 1.0), (511, 0.7), (512, 1.0), (513, 1.3), (5000, 1.0), (5000, 0.0)] {
            let how = Sampling { temperature, ..Sampling::default() };
            let mut different = 0;
            for _ in 0..40 {
                let logits: Vec<f32> = (0..2 * vocab).map(|_| rng.random::<f32>() * 12.0 - 6.0).collect();
                let device = burn::tensor::Device::default();
                let tensor = Tensor::from_data(TensorData::new(logits.clone(), [2, vocab]), &device);
                let mut streams = [ChaCha8Rng::seed_from_u64(rng.random()), ChaCha8Rng::seed_from_u64(1)];
                let mut again = streams.clone();
                let found = choose_on_device(tensor, &how, streams.iter_mut().collect());
                for ((found, logits), rng) in found.iter().zip(logits.chunks(vocab)).zip(&mut again) {
                    let expected = choose(logits, &how, rng);
                    different += u32::from(found.token != expected.token);
                    // The sum of 5,000 powers in f32, and differences of logarithms up to 20.
                    let model = |t: u32| {
                        f64::from(logits[t as usize]) - log_sum_exp(logits.iter().map(|&x| f64::from(x)))
                    };
                    assert!((f64::from(found.model) - model(found.token)).abs() < 2e-5);
                    assert!(
                        found.token != expected.token || (found.sampling - expected.sampling).abs() < 2e-5
                    );
                }
            }
            // A sum within 1e-6 of the random number: one draw in some thousands.
            assert!(different <= 1, "{different} of 80 draws over {vocab} tokens");
        }
    }

    #[test]
    fn filters_keep_what_they_should() {
        let logits = [0.0f32, 3.0, 3.0, 1.0];
        let how = |top_k, top_p| Sampling { temperature: 1.0, top_k, top_p, ..Sampling::default() };
        let others = |f: Vec<f64>| f[0] + f[2] + f[3];
        assert_eq!(others(frequencies(&how(1, 1.0), &logits)), 0.0);
        assert_eq!(others(frequencies(&how(0, 0.4), &logits)), 0.0);
        assert_eq!(frequencies(&how(0, 0.6), &logits)[0], 0.0);
        // exp(-2) = 0.135 of the most likely, and exp(-3) = 0.050.
        let min_p = |min_p| Sampling { temperature: 1.0, min_p, ..Sampling::default() };
        assert!(frequencies(&min_p(0.13), &logits)[3] > 0.0);
        assert_eq!(frequencies(&min_p(0.14), &logits)[3], 0.0);
        assert_eq!(frequencies(&min_p(0.06), &logits)[0], 0.0);
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        assert_eq!(choose(&logits, &Sampling::default(), &mut rng).token, 1);
    }
}
