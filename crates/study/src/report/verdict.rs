//! A finding: claim, evidence and verdict; and the interval of a difference of two shares.

use stats::Interval;

/// Whether a claim holds against its control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// Shown: the control does not explain it.
    Holds,
    /// Refuted: the data show the opposite, or leave no room for an effect that matters.
    Fails,
    /// Undecided: too few data, or no control was run.
    Open,
}

impl ClaimVerdict {
    /// One or two words for a reader.
    pub fn words(self) -> &'static str {
        match self {
            ClaimVerdict::Holds => "holds",
            ClaimVerdict::Fails => "does not hold",
            ClaimVerdict::Open => "cannot tell",
        }
    }
}

/// What a finding is about; the summary groups its findings so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Accuracy before and after.
    Accuracy,
    /// Heads of the circuits.
    Heads,
    /// What heads do: zeroed, or put into another checkpoint.
    Work,
    /// Whether circuits are faithful.
    Circuits,
}

impl Part {
    /// All, in the summary's order.
    pub(super) const ALL: [Self; 4] = [Self::Accuracy, Self::Heads, Self::Work, Self::Circuits];

    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Accuracy => "Accuracy",
            Self::Heads => "Which heads the circuits have",
            Self::Work => "What these heads do",
            Self::Circuits => "Whether the circuits explain their models",
        }
    }
}

/// A claim as a heading, its evidence as sentences, and the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub part: Part,
    /// The claim.
    pub claim: String,
    /// The numbers for and against it.
    pub evidence: String,
    /// The main numbers in a few words, where the evidence is folded away.
    pub short: String,
    /// The single measurements, where there are several.
    pub rows: Vec<String>,
    /// The verdict.
    pub verdict: ClaimVerdict,
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
