//! Tables as CSV (RFC 4180): a header line, one row a line, empty cells where there is no number.

use common::Error;
use hooks::Head;
use serde::Serialize;
use stats::Interval;

use crate::Results;

/// A table.
pub(super) struct Table {
    pub(super) name: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(name: &'static str, columns: &[&str]) -> Self {
        Self { name, columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows: Vec::new() }
    }

    /// The file's text.
    pub(super) fn text(&self) -> String {
        let line = |cells: &Vec<String>| cells.iter().map(|c| cell(c)).collect::<Vec<_>>().join(",") + "\r\n";
        std::iter::once(&self.columns).chain(&self.rows).map(line).collect()
    }
}

/// A cell, in quotes where it needs them. A text that a spreadsheet would take for a formula begins with a quote.
fn cell(text: &str) -> String {
    let number = text.parse::<f64>().is_ok();
    let formula = !number && text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn of(interval: Option<&Interval>) -> [String; 3] {
    interval.map_or_else(Default::default, |i| [i.estimate, i.low, i.high].map(|x| x.to_string()))
}

fn number(x: Option<f64>) -> String {
    x.map_or_else(String::new, |x| x.to_string())
}

fn heads(list: &[Head]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// An enum as the results file writes it.
fn word(value: &impl Serialize) -> Result<String, Error> {
    let value = serde_json::to_value(value).map_err(Error::internal)?;
    let kind = value.get("kind").unwrap_or(&value).as_str().unwrap_or_default().to_owned();
    Ok(match value.get("factor") {
        Some(factor) => format!("{kind} {factor}"),
        None => kind,
    })
}

/// Every table of a study.
pub(super) fn tables(results: &Results) -> Result<Vec<Table>, Error> {
    Ok(vec![
        checkpoints(results),
        changes(results),
        tests(results)?,
        answers(results),
        interventions(results)?,
        transfers(results)?,
        hypotheses(results)?,
    ])
}

fn checkpoints(results: &Results) -> Table {
    let columns = [
        "training",
        "suite",
        "rule",
        "checkpoint",
        "step",
        "edges",
        "heads",
        "clean",
        "corrupt",
        "circuit",
        "faithfulness",
        "null_mean",
        "noise_turnover",
    ];
    let mut table = Table::new("circuits", &columns);
    for study in &results.heads {
        let base = std::iter::once((&results.base.label, 0, &study.base, &study.base_noise));
        let later = study.checkpoints.iter().map(|c| (&c.label, c.step, &c.circuit, &c.noise));
        for (label, step, circuit, noise) in base.chain(later) {
            let null = circuit.nulls.iter().sum::<f64>() / circuit.nulls.len().max(1) as f64;
            table.rows.push(vec![
                study.training.clone(),
                study.suite.clone(),
                study.rule.clone(),
                label.clone(),
                step.to_string(),
                circuit.edges.len().to_string(),
                heads(&circuit.heads),
                circuit.clean.to_string(),
                circuit.corrupt.to_string(),
                circuit.circuit.to_string(),
                circuit.faithfulness.to_string(),
                null.to_string(),
                noise.turnover.estimate.to_string(),
            ]);
        }
    }
    table
}

fn changes(results: &Results) -> Table {
    let columns = [
        "training",
        "suite",
        "rule",
        "step",
        "kept",
        "new",
        "emergent",
        "lost",
        "births",
        "deaths",
        "turnover",
        "reward_change",
    ];
    let mut table = Table::new("heads", &columns);
    for study in &results.heads {
        for change in &study.changes {
            table.rows.push(vec![
                study.training.clone(),
                study.suite.clone(),
                study.rule.clone(),
                change.step.to_string(),
                heads(&change.kept),
                heads(&change.gained),
                change.emergent.as_deref().map_or_else(String::new, heads),
                heads(&change.lost),
                heads(&change.births),
                heads(&change.deaths),
                change.turnover.to_string(),
                number(change.reward_change),
            ]);
        }
    }
    table
}

fn tests(results: &Results) -> Result<Table, Error> {
    let columns = [
        "training",
        "suite",
        "rule",
        "checkpoint",
        "head",
        "fate",
        "effect",
        "low",
        "high",
        "base_frequency",
        "frequency",
        "p_value",
        "found",
    ];
    let mut table = Table::new("tests", &columns);
    for study in &results.heads {
        for checkpoint in &study.checkpoints {
            for test in &checkpoint.tests {
                let mut row = vec![study.training.clone(), study.suite.clone(), study.rule.clone()];
                row.extend([checkpoint.label.clone(), test.head.to_string(), word(&test.fate)?]);
                row.extend(of(Some(&test.effect)));
                row.extend([test.base_frequency, test.frequency, test.p_value].map(|x| x.to_string()));
                row.push(test.found.to_string());
                table.rows.push(row);
            }
        }
    }
    Ok(table)
}

fn answers(results: &Results) -> Table {
    let columns = [
        "checkpoint",
        "benchmark",
        "problems",
        "samples",
        "pass_at_1",
        "low",
        "high",
        "gain",
        "gain_low",
        "gain_high",
        "tokens",
        "truncated",
        "unanswered",
        "looping",
    ];
    let mut table = Table::new("answers", &columns);
    for a in &results.answers {
        let m = &a.measures;
        let mut row =
            vec![a.checkpoint.clone(), a.benchmark.clone(), m.problems.to_string(), m.samples.to_string()];
        row.extend(of(Some(&m.pass_at_1)));
        row.extend(of(a.gain.as_ref()));
        row.extend([&m.tokens, &m.truncated, &m.unanswered, &m.looping].map(|i| i.estimate.to_string()));
        table.rows.push(row);
    }
    table
}

fn interventions(results: &Results) -> Result<Table, Error> {
    let columns = [
        "training",
        "checkpoint",
        "benchmark",
        "set",
        "action",
        "heads",
        "problems",
        "samples",
        "untouched",
        "accuracy",
        "low",
        "high",
        "difference",
        "difference_low",
        "difference_high",
        "random_sets",
        "random_mean",
        "p_value",
    ];
    let mut table = Table::new("interventions", &columns);
    for i in &results.interventions {
        let random = i.random.iter().map(|d| d.accuracy.estimate).sum::<f64>();
        let mean = (!i.random.is_empty()).then(|| random / i.random.len() as f64);
        let mut row =
            vec![i.training.clone(), i.checkpoint.clone(), i.suite.clone(), word(&i.set)?, word(&i.action)?];
        row.extend([
            heads(&i.heads),
            i.n.to_string(),
            i.samples.to_string(),
            i.untouched.estimate.to_string(),
        ]);
        row.extend(of(Some(&i.accuracy)));
        row.extend(of(i.difference.as_ref()));
        row.extend([i.random.len().to_string(), number(mean), number(i.p_value)]);
        table.rows.push(row);
    }
    Ok(table)
}

fn transfers(results: &Results) -> Result<Table, Error> {
    let columns = [
        "from",
        "into",
        "suite",
        "set",
        "heads",
        "before",
        "after",
        "source",
        "change",
        "low",
        "high",
        "share",
        "random_sets",
        "p_value",
    ];
    let mut table = Table::new("transfers", &columns);
    for t in &results.transfers {
        let mut row = vec![t.from.clone(), t.into.clone(), t.suite.clone(), word(&t.set)?, heads(&t.heads)];
        row.extend([t.before, t.after, t.source].map(|x| x.to_string()));
        row.extend(of(Some(&t.change)));
        row.extend([number(t.share), t.random.len().to_string(), number(t.p_value)]);
        table.rows.push(row);
    }
    Ok(table)
}

fn hypotheses(results: &Results) -> Result<Table, Error> {
    let columns = [
        "id",
        "claim",
        "measure",
        "unit",
        "effect",
        "low",
        "high",
        "p_value",
        "corrected",
        "minimum_effect",
        "verdict",
        "reason",
    ];
    let mut table = Table::new("hypotheses", &columns);
    for h in &results.hypotheses {
        let unit = h.unit.as_ref().map(word).transpose()?.unwrap_or_default();
        let mut row = vec![h.id.clone(), h.claim.clone(), h.measure.clone(), unit];
        row.extend(of(h.effect.as_ref()));
        row.extend([number(h.p_value), number(h.corrected), number(h.minimum_effect)]);
        row.extend([word(&h.verdict)?, h.reason.clone()]);
        table.rows.push(row);
    }
    Ok(table)
}

#[cfg(test)]
mod tests_of_cells {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formula() {
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("say \"x\""), "\"say \"\"x\"\"\"");
        assert_eq!((cell("-0.5"), cell("=1+1"), cell("-x")), ("-0.5".into(), "'=1+1".into(), "'-x".into()));
        let table = Table {
            name: "t",
            columns: vec!["a".into(), "b".into()],
            rows: vec![vec!["1".into(), String::new()]],
        };
        assert_eq!(table.text(), "a,b\r\n1,\r\n");
    }
}
