//! Verdicts on claims: correction for the number of tests, direction, and what the study could have seen.

use stats::{Interval, holm};

use crate::results::{Hypothesis, Verdict};

/// Two-sided level of every test, after correction.
pub(super) const LEVEL: f64 = 0.05;
/// Power behind each minimum effect.
pub(super) const POWER: f64 = 0.8;

/// A claim before its test.
pub(super) struct Claim {
    pub(super) id: String,
    pub(super) claim: String,
    pub(super) source: &'static str,
    pub(super) measure: String,
    pub(super) test: &'static str,
    /// The direction that is claimed: 1 or −1.
    pub(super) direction: f64,
    /// The smallest effect that would matter, in its unit.
    pub(super) matters: f64,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tested {
    pub(super) effect: Interval,
    pub(super) p_value: f64,
    pub(super) minimum: f64,
    /// Random sets that the p-value is counted among, where it is.
    pub(super) sets: Option<usize>,
    /// Whether what the measure leaves out is as claimed as well.
    pub(super) rest: bool,
}

impl Tested {
    pub(super) fn new(effect: Interval, p_value: f64, minimum: f64) -> Self {
        Self { effect, p_value, minimum, sets: None, rest: true }
    }
}

/// Holm's correction over the tests that were made, and the verdicts.
pub(super) fn corrected(all: Vec<(Claim, Result<Tested, String>)>) -> Vec<Hypothesis> {
    let p_values: Vec<f64> = all.iter().filter_map(|(_, t)| t.as_ref().ok().map(|t| t.p_value)).collect();
    let tests = p_values.len();
    let mut adjusted = holm(&p_values).into_iter();
    let one = |(claim, tested): (Claim, Result<Tested, String>)| {
        let corrected = tested.as_ref().ok().and_then(|_| adjusted.next());
        let (verdict, reason) = match (&tested, corrected) {
            (Ok(tested), Some(p)) => judge(&claim, tested, (p, tests)),
            (Err(why), _) => (Verdict::CannotTell, why.clone()),
            (Ok(_), None) => (Verdict::CannotTell, "There is no p-value.".into()),
        };
        let Claim { id, claim, source, measure, test, .. } = claim;
        let tested = tested.ok();
        Hypothesis {
            id,
            claim,
            source: source.into(),
            measure,
            test: test.into(),
            effect: tested.map(|t| t.effect),
            p_value: tested.map(|t| t.p_value),
            corrected,
            minimum_effect: tested.map(|t| t.minimum),
            verdict,
            reason,
        }
    };
    all.into_iter().map(one).collect()
}

fn judge(claim: &Claim, tested: &Tested, (corrected, tests): (f64, usize)) -> (Verdict, String) {
    let effect = tested.effect.estimate;
    let claimed = effect * claim.direction > 0.0;
    let matters = claim.matters;
    if corrected <= LEVEL {
        return match claimed {
            true if !tested.rest => (
                Verdict::NotSupported,
                format!(
                    "The difference is as claimed (p = {corrected:.3} after correction), and its parts are not."
                ),
            ),
            true => (
                Verdict::Supported,
                format!("The effect is as claimed; p = {corrected:.3} after correction."),
            ),
            false => (
                Verdict::NotSupported,
                format!("The effect has the other direction; p = {corrected:.3} after correction."),
            ),
        };
    }
    let least = |sets: usize| tests as f64 / (sets + 1) as f64;
    if let Some(sets) = tested.sets.filter(|&sets| least(sets) > LEVEL) {
        let what = format!(
            "{sets} random sets cannot give less than p = {:.3} after correction for {tests} tests, whatever the effect; \
             {} could. Here p = {corrected:.3}.",
            least(sets).min(1.0),
            (tests as f64 / LEVEL).ceil() as usize - 1
        );
        return (Verdict::CannotTell, what);
    }
    if tested.minimum <= matters {
        let what = format!(
            "No effect was found (p = {corrected:.3} after correction), and one of {:.3} would have been; {matters:.3} matters.",
            tested.minimum
        );
        return (Verdict::NotSupported, what);
    }
    let what = format!(
        "No effect was found (p = {corrected:.3} after correction), and only one of {:.3} or more would have been; \
         {matters:.3} matters.",
        tested.minimum
    );
    (Verdict::CannotTell, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hypotheses::of_draws;

    fn claim(direction: f64, matters: f64) -> Claim {
        Claim {
            id: "a".into(),
            claim: "b".into(),
            source: "c",
            measure: "d".into(),
            test: "e",
            direction,
            matters,
        }
    }

    fn verdicts(all: Vec<(Claim, Result<Tested, String>)>) -> Vec<Verdict> {
        corrected(all).into_iter().map(|h| h.verdict).collect()
    }

    #[test]
    fn verdicts_take_direction_power_and_the_number_of_tests_into_account() {
        let draws = |centre: f64, wide: f64| -> Vec<f64> {
            (0..200).map(|k| centre + wide * (f64::from(k) / 199.0 - 0.5)).collect()
        };
        let strong = of_draws(5.0, &draws(5.0, 4.0));
        assert_eq!(strong.as_ref().map(|t| t.p_value), Ok(2.0 / 201.0));
        assert_eq!(verdicts(vec![(claim(1.0, 1.0), strong.clone())]), [Verdict::Supported]);
        assert_eq!(verdicts(vec![(claim(-1.0, 1.0), strong.clone())]), [Verdict::NotSupported]);
        // Standard deviation 4/√12: 3.2 would have been seen.
        let null = || of_draws(0.0, &draws(0.0, 4.0));
        assert_eq!(verdicts(vec![(claim(1.0, 4.0), null())]), [Verdict::NotSupported]);
        assert_eq!(verdicts(vec![(claim(1.0, 1.0), null())]), [Verdict::CannotTell]);
        assert_eq!(verdicts(vec![(claim(1.0, 1.0), Err("no".into()))]), [Verdict::CannotTell]);
        // One in a hundred is nothing among six tests.
        let mut six: Vec<_> = (0..5).map(|_| (claim(1.0, 1.0), null())).collect();
        six.push((claim(1.0, 1.0), strong));
        assert_eq!(verdicts(six)[5], Verdict::CannotTell);
    }

    #[test]
    fn too_few_random_sets_settle_nothing() {
        let effect = Interval { estimate: -0.4, low: -0.5, high: -0.3 };
        let among = |sets: usize| {
            let tested = Tested { sets: Some(sets), ..Tested::new(effect, 1.0 / (sets + 1) as f64, 0.01) };
            let all = corrected(vec![
                (claim(-1.0, 0.05), Ok(tested)),
                (claim(1.0, 1.0), Ok(Tested { p_value: 0.9, ..tested })),
            ]);
            (all[0].verdict, all[0].reason.clone())
        };
        // Two tests: 39 sets can give p = 0.05 after correction, 38 cannot, whatever the effect.
        let (verdict, reason) = among(38);
        assert_eq!(verdict, Verdict::CannotTell);
        assert!(
            reason.starts_with("38 random sets cannot give less than") && reason.contains("39 could"),
            "{reason}"
        );
        assert_eq!(among(39).0, Verdict::Supported);
    }
}
