//! Our own cases, by group.
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;

#[derive(serde::Deserialize)]
struct Cases {
    groups: BTreeMap<String, Vec<(String, String, bool)>>,
}

#[test]
fn own_cases_agree() {
    let cases: Cases = toml::from_str(include_str!("../testdata/cases.toml")).expect("TOML");
    let mut wrong = Vec::new();
    for (group, cases) in &cases.groups {
        for (gold, pred, expected) in cases {
            let verdict = math_grade::grade(gold, pred);
            if verdict.correct != *expected {
                wrong.push(format!("{group}: {gold} | {pred}: {verdict:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
