//! Kinds of answers that were found to fail in the field, with our own values.
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;

#[derive(serde::Deserialize)]
struct Cases {
    groups: BTreeMap<String, Vec<(String, String, bool)>>,
}

#[test]
fn kinds_found_in_the_field() {
    agree(include_str!("../testdata/field.toml"));
}

#[test]
fn the_same_kinds_written_afresh() {
    agree(include_str!("../testdata/fresh.toml"));
}

fn agree(text: &str) {
    let cases: Cases = toml::from_str(text).expect("TOML");
    let mut wrong = Vec::new();
    for (group, cases) in &cases.groups {
        for (gold, pred, expected) in cases {
            let verdict = math_grade::grade(gold, pred);
            if verdict.correct != *expected {
                wrong.push(format!("{group} {expected}: {gold} | {pred}: {verdict:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}
