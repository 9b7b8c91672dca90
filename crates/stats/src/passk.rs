//! pass@k, success@k and the majority answer of one problem's samples.
//!
//! They are here and not in `bench-math` because they are estimators over counts and labels: a monitor of
//! training or another benchmark needs them without suites, prompts or records. Averages over problems are
//! `bench-math`'s measures.

/// The unbiased estimate of the chance that at least one of `k` samples is right, from `c` right among `n`:
/// `1 - C(n-c, k) / C(n, k)` (Chen et al. 2021, eq. 1), computed as a product. `None` if `k > n` or `k = 0`.
///
/// # Panics
/// `c > n`.
pub fn pass_at_k(n: usize, c: usize, k: usize) -> Option<f64> {
    assert!(c <= n, "c: expected at most n = {n}, got {c}");
    if k == 0 || k > n {
        return None;
    }
    if n - c < k {
        return Some(1.0);
    }
    Some(1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>())
}

/// Whether any of the first `k` samples, in the order in which they were drawn, is right (the paper's Figure 5;
/// unlike [`pass_at_k`] it depends on that order). `None` if there are fewer than `k` samples or `k = 0`.
pub fn success_at_k(correct: &[bool], k: usize) -> Option<bool> {
    (k > 0 && k <= correct.len()).then(|| correct[..k].iter().any(|&c| c))
}

/// The index of the answer class that most samples give: `classes[i]` is the class of sample `i`, `None` if it
/// gave no answer (such samples do not vote). Ties go to the class seen first. `None` without votes.
pub fn majority(classes: &[Option<usize>]) -> Option<usize> {
    let mut counts: Vec<(usize, usize)> = Vec::new();
    for &class in classes.iter().flatten() {
        match counts.iter_mut().find(|(c, _)| *c == class) {
            Some((_, n)) => *n += 1,
            None => counts.push((class, 1)),
        }
    }
    let most = counts.iter().map(|&(_, n)| n).max()?;
    counts.iter().find(|&&(_, n)| n == most).map(|&(class, _)| class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pass_at_k_equals_the_ratio_of_binomials() {
        let choose = |n: usize, k: usize| (0..k).map(|i| (n - i) as f64 / (k - i) as f64).product::<f64>();
        assert!((pass_at_k(16, 3, 8).expect("k <= n") - 0.9).abs() < 1e-12);
        for n in 1..12 {
            for c in 0..=n {
                for k in 1..=n {
                    let none = if n - c < k { 0.0 } else { choose(n - c, k) / choose(n, k) };
                    assert!(
                        (pass_at_k(n, c, k).expect("k <= n") - (1.0 - none)).abs() < 1e-12,
                        "{n} {c} {k}"
                    );
                }
            }
        }
        assert_eq!(pass_at_k(4, 2, 5), None);
    }

    #[test]
    fn majority_breaks_ties_by_first_seen() {
        assert_eq!(majority(&[None, Some(2), Some(1), Some(1), Some(2)]), Some(2));
        assert_eq!(majority(&[None]), None);
    }
}
