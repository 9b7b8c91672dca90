//! `docs/results.schema.json` is the schema of the types, and results files are valid by it.
#![allow(clippy::unwrap_used)]

mod synthetic;

use std::path::{Path, PathBuf};

use serde_json::Value;

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results.schema.json")
}

/// `SPARKS_BLESS=1 cargo test -p sparks-study --test schema` writes it anew.
#[test]
fn the_committed_schema_is_that_of_the_types() {
    let made = study::results::schema().unwrap();
    if std::env::var_os("SPARKS_BLESS").is_some() {
        std::fs::write(committed(), &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(committed()).unwrap(), made);
}

/// Whether `value` is valid by `schema`, for the keywords that the file uses. The validators of the registry bring features
/// for which everything below burn is built twice.
fn valid(root: &Value, schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema.as_bool().unwrap() };
    let all = |of: &Value| of.as_array().unwrap().clone();
    schema.iter().all(|(keyword, of)| match keyword.as_str() {
        "$ref" => valid(root, root.pointer(&of.as_str().unwrap()[1..]).unwrap(), value),
        "type" => {
            let is = |name: &Value| match name.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "null" => value.is_null(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                other => panic!("type {other}"),
            };
            of.as_array().map_or_else(|| is(of), |names| names.iter().any(is))
        }
        "properties" => of
            .as_object()
            .unwrap()
            .iter()
            .all(|(name, schema)| value.get(name).is_none_or(|inner| valid(root, schema, inner))),
        "additionalProperties" => {
            let known = schema.get("properties").and_then(Value::as_object);
            let other = |name: &String| known.is_none_or(|known| !known.contains_key(name));
            value
                .as_object()
                .is_none_or(|map| map.iter().filter(|(n, _)| other(n)).all(|(_, v)| valid(root, of, v)))
        }
        "required" => all(of).iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| valid(root, of, item))),
        "anyOf" => all(of).iter().any(|schema| valid(root, schema, value)),
        "oneOf" => all(of).iter().filter(|schema| valid(root, schema, value)).count() == 1,
        "enum" => all(of).contains(value),
        "const" => of == value,
        "minimum" => value.as_f64().is_none_or(|x| x >= of.as_f64().unwrap()),
        "$schema" | "$defs" | "title" | "description" | "format" | "default" => true,
        other => panic!("keyword {other}"),
    })
}

#[test]
fn results_are_valid_by_it() {
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(committed()).unwrap()).unwrap();
    let mut value: Value = serde_json::from_str(&synthetic::results(1, 1.0).to_json().unwrap()).unwrap();
    let is_valid = |value: &Value| valid(&schema, &schema, value);
    assert!(is_valid(&value));
    value["interventions"][0]["set"] = "emerging".into();
    assert!(!is_valid(&value));
    value["interventions"][0]["set"] = "emergent".into();
    value["base"].as_object_mut().unwrap().remove("label");
    assert!(!is_valid(&value));
}
