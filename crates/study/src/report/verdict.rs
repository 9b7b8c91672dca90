//! What can be said: a sentence, how it stands, and the interval of a difference of two shares.

use stats::Interval;

/// How a claim stands after its control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The control does not explain it.
    Holds,
    /// The control explains it, or it goes the other way.
    Fails,
    /// Too few data, or no control was run.
    Open,
}

impl Verdict {
    /// One or two words for a reader.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Holds => "holds",
            Verdict::Fails => "not supported",
            Verdict::Open => "cannot tell",
        }
    }
}

/// A claim as a heading, its evidence as sentences, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The claim.
    pub claim: String,
    /// The numbers for and against it.
    pub evidence: String,
    /// How it stands.
    pub verdict: Verdict,
}

/// `after − before` for two independent shares with intervals: Newcombe's hybrid score interval (1998,
/// method 10), which takes Wilson's ends.
pub(super) fn difference(before: &Interval, after: &Interval) -> Interval {
    let estimate = after.estimate - before.estimate;
    let root = |a: f64, b: f64| (a * a + b * b).sqrt();
    Interval {
        estimate,
        low: estimate - root(after.estimate - after.low, before.high - before.estimate),
        high: estimate + root(after.high - after.estimate, before.estimate - before.low),
    }
}

#[cfg(test)]
mod tests {
    use stats::wilson;

    use super::*;

    /// Newcombe (1998), Table II, example (a): 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    #[test]
    fn newcombe_s_example() {
        let d = difference(&wilson(48, 80, 0.95), &wilson(56, 70, 0.95));
        assert!((d.estimate - 0.2).abs() < 1e-12);
        assert!((d.low - 0.0524).abs() < 1e-4 && (d.high - 0.3339).abs() < 1e-4, "{d:?}");
    }
}
