//! From logits to a token: temperature, top-k, top-p, min-p, as `transformers` applies them.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How a token is chosen. Temperature 0 is greedy and ignores the rest.
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
    // Most likely first; equal logits by token id.
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_unstable_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    if how.top_k > 0 {
        order.truncate(how.top_k);
    }
    let log_z = log_sum_exp(order.iter().map(|&t| scaled(t)));
    let mut before = 0.0;
    let kept = order.iter().take_while(|&&t| {
        let keep = before < how.top_p;
        before += (scaled(t) - log_z).exp();
        keep
    });
    let mut kept: Vec<usize> = kept.copied().collect();
    let floor = how.min_p.ln() + scaled(kept[0]);
    kept.retain(|&t| scaled(t) >= floor);
    let log_z = log_sum_exp(kept.iter().map(|&t| scaled(t)));
    let token = pick(kept.iter().map(|&t| (t, (scaled(t) - log_z).exp())), u);
    Choice { token: token as u32, model: model(token), sampling: (scaled(token) - log_z) as f32 }
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
