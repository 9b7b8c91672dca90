//! Properties of the grader on random expressions: reflexive, symmetric, blind to equal rewritings and not to
//! unequal ones.
#![allow(clippy::expect_used)]

use math_grade::grade;
use proptest::prelude::*;

/// A random expression in LaTeX, with variables `x` and `y`.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (1..60_i32).prop_map(|n| n.to_string()),
        Just("x".to_string()),
        Just("y".to_string()),
        Just("\\pi".to_string()),
        (2..30_i32).prop_map(|n| format!("\\sqrt{{{n}}}")),
        (1..9_i32, 2..9_i32).prop_map(|(a, b)| format!("\\frac{{{a}}}{{{b}}}")),
    ];
    leaf.prop_recursive(3, 16, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} - {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} \\cdot {b}")),
            (inner.clone(), 2..4_u32).prop_map(|(a, n)| format!("\\left({a}\\right)^{n}")),
            inner.clone().prop_map(|a| format!("\\sin({a})")),
            inner.prop_map(|a| format!("e^{{{a}}}")),
        ]
    })
}

/// Ways to write an equal expression.
fn equal_rewriting(e: &str, how: u8) -> String {
    match how % 9 {
        0 => format!("\\left( {e} \\right)"),
        1 => format!("-(-({e}))"),
        2 => format!("\\frac{{2({e})}}{{2}}"),
        3 => format!("({e}) + 7 - 7"),
        4 => format!("(({e}) - 3) + 3"),
        5 => format!("\\dfrac{{3}}{{3}} \\cdot ({e})"),
        6 => e.replace("\\frac", "\\dfrac").replace(" \\cdot ", " \\times "),
        7 => format!("\\frac{{({e}) \\cdot \\sqrt{{3}}}}{{\\sqrt{{3}}}}"),
        _ => format!("({e})(\\sin^2(3) + \\cos^2(3))"),
    }
}

/// Ways to write an expression that differs from it everywhere or almost everywhere.
fn unequal_rewriting(e: &str, how: u8) -> String {
    match how % 6 {
        0 => format!("({e}) + 1"),
        1 => format!("({e}) - \\frac{{1}}{{1000}}"),
        2 => format!("({e}) + \\sqrt{{2}}"),
        3 => format!("({e}) + 10^{{-40}}"),
        4 => format!("({e}) + x^2 + 1"),
        _ => format!("({e}) + \\pi^{{-30}}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reflexive_and_invariant(e in expression(), how in any::<u8>()) {
        let boxed = format!("\\boxed{{{e}}}");
        prop_assert!(grade(&boxed, &boxed).correct, "{}", e);
        let other = format!("\\boxed{{{}}}", equal_rewriting(&e, how));
        let verdict = grade(&boxed, &other);
        // The one honest way out is work beyond the budget or a value beyond the range.
        prop_assert!(verdict.correct || verdict.reason.contains("evaluated") || verdict.reason.contains("budget"), "{} | {}: {:?}", e, other, verdict);
    }

    #[test]
    fn unequal_is_rejected_both_ways(e in expression(), how in any::<u8>()) {
        let (a, b) = (format!("\\boxed{{{e}}}"), format!("\\boxed{{{}}}", unequal_rewriting(&e, how)));
        prop_assert!(!grade(&a, &b).correct, "{} | {}", a, b);
        prop_assert!(!grade(&b, &a).correct, "{} | {}", b, a);
    }

    #[test]
    fn symmetric_for_values(a in expression(), b in expression()) {
        let (a, b) = (format!("\\boxed{{{a}}}"), format!("\\boxed{{{b}}}"));
        let (there, back) = (grade(&a, &b), grade(&b, &a));
        // Variables of the prediction's own are the one asymmetry.
        let own = there.reason.contains("variables") || back.reason.contains("variables");
        prop_assert!(there.correct == back.correct || own, "{} | {}", a, b);
    }

    #[test]
    fn sets_ignore_order_and_tuples_do_not(mut xs in proptest::collection::vec(-50..50_i32, 3..6), seed in any::<u64>()) {
        xs.sort_unstable();
        xs.dedup();
        prop_assume!(xs.len() > 2);
        let list = |xs: &[i32]| xs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut other = xs.clone();
        other.rotate_left(1 + (seed as usize) % (xs.len() - 1));
        let set = |s: String| format!("\\boxed{{\\{{{s}\\}}}}");
        let tuple = |s: String| format!("\\boxed{{({s})}}");
        prop_assert!(grade(&set(list(&xs)), &set(list(&other))).correct);
        prop_assert!(!grade(&tuple(list(&xs)), &tuple(list(&other))).correct);
        prop_assert!(!grade(&set(list(&xs)), &set(list(&xs[1..]))).correct);
    }

    #[test]
    fn any_text_is_graded(a in "\\PC{0,60}", b in "[\\\\${}()\\[\\]a-z0-9^_+=, .!|-]{0,60}") {
        let (x, y) = (grade(&a, &b), grade(&b, &a));
        prop_assert!(!x.reason.is_empty() && !y.reason.is_empty());
    }
}

/// Beyond the range of evaluation, and itself all the same.
#[test]
fn an_expression_whose_value_is_out_of_reach_is_itself() {
    let boxed = r"\boxed{\sin(e^{\left(9\right)^3})}";
    assert!(grade(boxed, boxed).correct);
    assert!(!grade(boxed, r"\boxed{\sin(e^{9^3}) + 1}").correct);
}
