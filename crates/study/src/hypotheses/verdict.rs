//! Verdicts on claims: correction for the number of tests, direction, and what the study could have seen.

use stats::{Interval, holm};

use crate::report::{amount, number, p_value};
use crate::results::{Hypothesis, Unit, Verdict};

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
    pub(super) unit: Unit,
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
    /// Parts of the measure that are not as claimed.
    pub(super) against: Option<&'static str>,
}

impl Tested {
    pub(super) fn new(effect: Interval, p_value: f64, minimum: f64) -> Self {
        Self { effect, p_value, minimum, sets: None, against: None }
    }
}

/// The corrected p-value that no effect can fall below among so many claims, where random sets bound it.
fn least(sets: usize, claims: usize) -> f64 {
    claims as f64 / (sets + 1) as f64
}

/// Holm's correction over the tests that could succeed, and the verdicts. A test that its number of random sets keeps
/// above the level, whatever the effect, is not made: leaving it out does not depend on the data (Tarone 1990).
pub(super) fn corrected(all: Vec<(Claim, Result<Tested, String>)>) -> Vec<Hypothesis> {
    let claims = all.iter().filter(|(_, tested)| tested.is_ok()).count();
    let made = |t: &&Tested| t.sets.is_none_or(|sets| least(sets, claims) <= LEVEL);
    let p_values: Vec<f64> =
        all.iter().filter_map(|(_, t)| t.as_ref().ok().filter(made).map(|t| t.p_value)).collect();
    let tests = p_values.len();
    let mut adjusted = holm(&p_values).into_iter();
    let one = |(claim, measured): (Claim, Result<Tested, String>)| {
        let tested = measured.as_ref().ok().filter(made).copied();
        let corrected = tested.and_then(|_| adjusted.next());
        let (verdict, reason) = match (&measured, tested.zip(corrected)) {
            (_, Some((tested, p))) => judge(&claim, &tested, (p, tests)),
            (Ok(measured), None) => (Verdict::CannotTell, hopeless(measured, claims)),
            (Err(why), None) => (Verdict::CannotTell, why.clone()),
        };
        let Claim { id, claim, source, measure, unit, test, .. } = claim;
        Hypothesis {
            id,
            claim,
            source: source.into(),
            measure,
            unit: Some(unit),
            test: test.into(),
            effect: measured.ok().map(|t| t.effect),
            p_value: tested.map(|t| t.p_value),
            corrected,
            minimum_effect: tested.map(|t| t.minimum),
            verdict,
            reason,
        }
    };
    all.into_iter().map(one).collect()
}

/// Why a test with so few random sets was not made.
fn hopeless(measured: &Tested, claims: usize) -> String {
    let sets = measured.sets.unwrap_or(0);
    format!(
        "Could not be tested: {sets} random sets cannot give a p-value below {}, whatever the effect, and the correction for {claims} \
         claims asks {} of the smallest; {} sets could give that.",
        number(least(sets, 1), 3),
        number(LEVEL / claims as f64, 3),
        (claims as f64 / LEVEL).ceil() as usize - 1,
    )
}

fn judge(claim: &Claim, tested: &Tested, (corrected, tests): (f64, usize)) -> (Verdict, String) {
    let claimed = tested.effect.estimate * claim.direction > 0.0;
    let after = format!("{} after correction", p_value(corrected));
    if corrected <= LEVEL {
        return match claimed {
            true => match tested.against {
                Some(part) => {
                    (Verdict::NotSupported, format!("The difference is as claimed ({after}); {part} is not."))
                }
                None => (Verdict::Supported, format!("The effect is as claimed ({after}).")),
            },
            false => (Verdict::NotSupported, format!("The effect has the other direction ({after}).")),
        };
    }
    let sees = tested.minimum <= claim.matters;
    let what = format!(
        "{}{} {}effect of {} or more would have been found with power 0.8; one of {} matters.",
        match tested.against.filter(|_| claimed) {
            Some(part) => format!("The difference has the claimed direction; {part} has not. "),
            None => String::new(),
        },
        not_significant(tested, tests, &after),
        if sees { "An " } else { "Only an " },
        amount(Some(claim.unit), tested.minimum),
        amount(Some(claim.unit), claim.matters)
    );
    (if sees { Verdict::NotSupported } else { Verdict::CannotTell }, what)
}

/// What a test that is not significant after correction says; `after` is its p-value then.
fn not_significant(tested: &Tested, tests: usize, after: &str) -> String {
    let Interval { low, high, .. } = tested.effect;
    let beside_0 = low > 0.0 || high < 0.0;
    let before = p_value(tested.p_value);
    match (tested.p_value <= LEVEL, beside_0) {
        (true, true) => format!(
            "Significant before correction ({before}; the 95 % interval leaves out 0), not for {tests} tests ({after})."
        ),
        (true, false) => {
            format!("Significant before correction ({before}), not for {tests} tests ({after}).")
        }
        (false, true) => format!(
            "Not significant ({before} before correction), although the 95 % interval, which is not of this test, leaves out 0."
        ),
        (false, false) => format!("Not significant ({after}); the 95 % interval includes 0."),
    }
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
            unit: Unit::Heads,
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
    fn what_is_significant_before_correction_alone_is_said_so() {
        let effect = Interval { estimate: 0.11, low: 0.01, high: 0.21 };
        let points = || Claim { unit: Unit::Accuracy, ..claim(1.0, 0.05) };
        let other = Tested::new(Interval { low: -0.1, ..effect }, 0.9, 0.15);
        let all = corrected(vec![
            (points(), Ok(Tested::new(effect, 0.031, 0.15))),
            (points(), Ok(other)),
            (claim(1.0, 1.7), Ok(Tested { minimum: 2.667, ..other })),
            (points(), Err("Not tested: no.".into())),
        ]);
        let p = |p: &str| format!("p\u{202f}=\u{202f}{p}");
        let expected = [
            format!(
                "Significant before correction ({}; the 95 % interval leaves out 0), not for 3 tests ({} after correction). \
                 Only an effect of 15 points or more would have been found with power 0.8; one of 5.0 points matters.",
                p("0.031"),
                p("0.093")
            ),
            format!(
                "Not significant ({} after correction); the 95 % interval includes 0. Only an effect of 15 points or more \
                 would have been found with power 0.8; one of 5.0 points matters.",
                p("1.000")
            ),
        ];
        assert_eq!([&all[0].reason, &all[1].reason], [&expected[0], &expected[1]]);
        assert!(all[2].reason.ends_with(
            "Only an effect of 2.7 heads or more would have been found with power 0.8; one of 1.7 heads matters."
        ));
        assert!(all.iter().all(|h| h.verdict == Verdict::CannotTell));
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
            reason.starts_with("Could not be tested: 38 random sets cannot give a p-value below 0.026")
                && reason.contains("for 2 claims asks 0.025 of the smallest; 39 sets could"),
            "{reason}"
        );
        assert_eq!(among(39).0, Verdict::Supported);
    }
}
