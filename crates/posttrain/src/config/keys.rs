//! The keys that a configuration may have.

use toml::{Table, Value};

use crate::Error;

const KNOWN: [(&str, &[&str]); 9] = [
    ("model", &["path", "dtype"]),
    ("data", &["train", "eval", "shuffle", "packing", "max_length"]),
    ("run", &["dir", "seed", "log_every", "checkpoint_every", "keep"]),
    ("train", &["steps", "epochs", "batch_size", "accumulation"]),
    ("optimizer", &["lr", "betas", "eps", "weight_decay", "decay", "max_grad_norm"]),
    ("schedule", &["kind", "warmup_steps", "warmup_ratio", "min_lr_ratio", "decay_ratio"]),
    ("lora", &["rank", "alpha", "dropout", "targets", "rslora"]),
    ("watch", &["pairs", "every", "method", "steps", "top"]),
    (
        "grpo",
        &[
            "group_size",
            "prompts",
            "max_tokens",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "loss",
            "ratio",
            "advantage",
            "epsilon",
            "epsilon_high",
            "delta",
            "beta",
            "kl_ratio",
            "updates",
            "mask_truncated",
            "rollout_batch",
        ],
    ),
];

/// Whether every section and key of `table` is known.
pub(super) fn check(table: &Table) -> Result<(), Error> {
    for (section, value) in table {
        let Some((_, known)) = KNOWN.iter().find(|(name, _)| name == section) else {
            let names: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
            // A key above all sections: say where it belongs.
            let home = KNOWN.iter().find(|(_, keys)| !value.is_table() && keys.contains(&section.as_str()));
            let near = home.map_or_else(
                || format!("[{}]", nearest(section, &names)),
                |(home, _)| format!("{home}.{section}"),
            );
            return Err(Error::input(format!("unknown section `{section}`, the nearest known is {near}")));
        };
        let Value::Table(keys) = value else {
            return Err(Error::input(format!("`{section}` is not a section, expected [{section}]")));
        };
        if let Some(key) = keys.keys().find(|key| !known.contains(&key.as_str())) {
            let near = nearest(key, known);
            return Err(Error::input(format!(
                "unknown key `{section}.{key}`, the nearest known is `{section}.{near}`"
            )));
        }
    }
    Ok(())
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> &'a str {
    known.iter().min_by_key(|candidate| distance(word, candidate)).copied().unwrap_or_default()
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let best = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}
