//! Tables of the page: heads kept, gained and lost; interventions with their intervals.

use std::fmt::Write as _;

use hooks::Head;
use stats::Interval;

use super::html::{count, escape, p_value, percent, points};
use super::summary::control_p;
use super::verdict::difference;
use crate::results::{Action, HeadSet, Intervention, Results, Training};

/// An intervention in words: `grpo-60: 3 emergent heads of GRPO zeroed`.
pub(super) fn described(row: &Intervention) -> String {
    let set = match row.set {
        HeadSet::Emergent => "emergent head",
        HeadSet::Kept => "kept head",
        HeadSet::Lost => "lost head",
    };
    let action = match row.action {
        Action::Zero => "zeroed".to_owned(),
        Action::Mean => "set to their mean".to_owned(),
        Action::Scale { factor } => format!("× {factor}"),
    };
    format!("{}: {} of {} {action}", row.checkpoint, count(row.heads.len(), set), row.training)
}

fn chips(heads: &[Head], class: &str) -> String {
    if heads.is_empty() {
        return "<span class=\"none\">none</span>".into();
    }
    let chip =
        |h: &Head| format!("<span class=\"chip {class}\" data-head=\"{h}\" tabindex=\"0\">{h}</span> ");
    format!("<span>{}</span>", heads.iter().map(chip).collect::<String>())
}

/// Heads kept, gained and lost at the end of each run.
pub(super) fn heads(runs: &[Training]) -> String {
    let mut out = String::from(
        "<div class=\"wide\"><table class=\"stack\"><thead><tr><th>Run</th><th>Gained (emergent)</th><th>Kept</th><th>Lost</th></tr></thead><tbody>",
    );
    for run in runs {
        let Some(last) = run.changes.last() else { continue };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}, step {}</th><td data-label=\"Gained\">{}</td><td data-label=\"Kept\">{}</td>\
             <td data-label=\"Lost\">{}</td></tr>",
            escape(&run.name),
            last.step,
            chips(&last.gained, "new"),
            chips(&last.kept, "old"),
            chips(&last.lost, "off")
        );
    }
    out + "</tbody></table></div>"
}

fn cell(i: &Interval) -> String {
    format!("<span>{}</span> <small>{} to {}</small>", percent(i.estimate), percent(i.low), percent(i.high))
}

/// Interventions beside their controls.
pub(super) fn interventions(rows: &[Intervention]) -> String {
    let mut out = String::from(
        "<div class=\"wide\"><table class=\"numbers stack\"><thead><tr><th>Intervention</th><th>Heads</th><th>Solved</th>\
         <th>Change, points</th><th>Random heads</th><th>Against random</th></tr></thead><tbody>",
    );
    for row in rows {
        let d = difference(&row.untouched, &row.accuracy);
        let mut random: Vec<f64> = row.random.iter().map(|r| r.accuracy.estimate).collect();
        random.sort_by(f64::total_cmp);
        let control = match (random.first(), random.last()) {
            (Some(&low), Some(&high)) => {
                let mean = random.iter().sum::<f64>() / random.len() as f64;
                format!(
                    "<span>{}</span> <small>{} to {}, {}</small>",
                    percent(mean),
                    percent(low),
                    percent(high),
                    count(random.len(), "draw")
                )
            }
            _ => "<span class=\"none\">not run</span>".into(),
        };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{} <small>{}, n = {}</small></th><td data-label=\"Heads\">{}</td><td data-label=\"Solved\">{}</td>\
             <td data-label=\"Change, points\"><span>{}</span> <small>{} to {}</small></td><td data-label=\"Random heads\">{control}</td>\
             <td data-label=\"Against random\"><span>{}</span></td></tr>",
            escape(&described(row)),
            escape(&row.suite),
            row.n,
            chips(&row.heads, "new"),
            cell(&row.accuracy),
            points(d.estimate),
            points(d.low),
            points(d.high),
            if row.random.is_empty() { "–".into() } else { p_value(control_p(row)) }
        );
    }
    out + "</tbody></table></div>"
}

/// Accuracy of every checkpoint on every suite.
pub(super) fn checkpoints(results: &Results) -> String {
    let mut out = String::from("<div class=\"wide\"><table class=\"numbers\"><thead><tr><th>Checkpoint</th>");
    for suite in &results.task.suites {
        let _ = write!(out, "<th>{}</th>", escape(&suite.name));
    }
    out += "<th>Thinks first</th><th>Heads</th><th>Faithfulness</th></tr></thead><tbody>";
    let all = std::iter::once(&results.base).chain(results.trainings.iter().flat_map(|run| &run.checkpoints));
    for at in all {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(&at.label));
        for suite in &results.task.suites {
            let text = at
                .accuracy(&suite.name)
                .map_or("–".into(), |a| format!("{} <small>n = {}</small>", cell(&a.interval), a.n));
            let _ = write!(out, "<td>{text}</td>");
        }
        let worked = at.accuracy.first().and_then(|a| a.worked).map_or("–".into(), percent);
        let (heads, faithfulness) = at.circuit.as_ref().map_or(("–".into(), "–".into()), |c| {
            (c.heads.len().to_string(), super::html::number(c.faithfulness, 2))
        });
        let _ = write!(out, "<td>{worked}</td><td>{heads}</td><td>{faithfulness}</td></tr>");
    }
    out + "</tbody></table></div>"
}
