//! The page's parts between its head and its methods, each a function from results to markup.

use std::fmt::Write as _;

use super::figures::{self, Figure};
use super::html::{count, duration, escape};
use super::summary::{findings, headline};
use super::tables;
use super::verdict::Verdict;
use crate::results::Results;

fn figure(figure: &Figure) -> String {
    format!(
        "<figure id=\"fig-{}\"><h4>{}</h4>{}<figcaption>{}</figcaption></figure>",
        figure.name,
        escape(&figure.title),
        figure.svg.inline(),
        escape(&figure.caption)
    )
}

fn grid(figures: impl IntoIterator<Item = Figure>) -> String {
    let all: String = figures.into_iter().map(|f| figure(&f)).collect();
    if all.is_empty() { String::new() } else { format!("<div class=\"grid\">{all}</div>") }
}

/// What changed and how sure that is.
pub(super) fn summary(results: &Results) -> String {
    let all = findings(results);
    let (holds, fails) = (of(&all, Verdict::Holds), of(&all, Verdict::Fails));
    let total: f64 = results.run.stages.iter().map(|s| s.seconds).sum();
    let mut out = format!(
        "<section id=\"summary\"><h2>What changed, and how sure</h2><p class=\"lead\">{} {}</p><p>Of {}, {} against {}, \
         {} not supported, and {} cannot be settled by these data. The study took {} on {}.</p><ol class=\"findings\">",
        escape(&results.task.description),
        escape(&headline(results)),
        count(all.len(), "claim"),
        match holds {
            1 => "1 holds".to_owned(),
            n => format!("{n} hold"),
        },
        if holds == 1 { "its control" } else { "their controls" },
        match fails {
            1 => "1 is".to_owned(),
            n => format!("{n} are"),
        },
        all.len() - holds - fails,
        duration(total),
        count(results.run.machine.threads, "thread")
    );
    for finding in &all {
        let class = match finding.verdict {
            Verdict::Holds => "holds",
            Verdict::Fails => "fails",
            Verdict::Open => "open",
        };
        let _ = write!(
            out,
            "<li><p class=\"verdict {class}\">{}</p><div><h3>{}</h3><p>{}</p></div></li>",
            finding.verdict.words(),
            escape(&finding.claim),
            escape(&finding.evidence)
        );
    }
    out += "</ol></section>";
    out + &warnings(results)
}

fn of(all: &[super::Finding], verdict: Verdict) -> usize {
    all.iter().filter(|f| f.verdict == verdict).count()
}

fn warnings(results: &Results) -> String {
    if results.warnings.is_empty() {
        return String::new();
    }
    let mut out =
        String::from("<section id=\"warnings\"><h2>Where this might be wrong</h2><ul class=\"warnings\">");
    for w in &results.warnings {
        let _ = write!(
            out,
            "<li><strong>{}</strong> Control: {} <em>{}</em></li>",
            escape(&w.claim),
            escape(&w.control),
            escape(&w.finding)
        );
    }
    out + "</ul></section>"
}

/// Accuracy before and after, with examples.
pub(super) fn accuracy(results: &Results) -> String {
    let suites = results.task.suites.iter().filter_map(|s| figures::accuracy(results, s));
    let mut out = format!("<section id=\"accuracy\"><h2>Accuracy before and after</h2>{}", grid(suites));
    if !results.task.examples.is_empty() {
        out += "<details><summary>What the models say</summary><div class=\"wide\"><table class=\"examples\"><tbody>";
        for example in &results.task.examples {
            let _ = write!(
                out,
                "<tr class=\"section\"><th colspan=\"3\"><code>{}</code> (right: {})</th></tr>",
                escape(&example.prompt),
                escape(&example.answer)
            );
            for said in &example.completions {
                let _ = write!(
                    out,
                    "<tr><td>{}</td><td><code>{}</code></td><td class=\"{}\">{}</td></tr>",
                    escape(&said.checkpoint),
                    escape(&said.text),
                    if said.correct { "right" } else { "wrong" },
                    if said.correct { "right" } else { "wrong" }
                );
            }
        }
        out += "</tbody></table></div></details>";
    }
    let _ = write!(
        out,
        "<details><summary>Every checkpoint</summary>{}</details></section>",
        tables::checkpoints(results)
    );
    out
}

/// Curves, cohorts and maps, two a row: one column a run.
pub(super) fn runs(results: &Results) -> String {
    let runs = &results.trainings;
    if runs.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "<section id=\"training\"><h2>What happened during training</h2>{}",
        grid(runs.iter().filter_map(|run| figures::training(run, results)))
    );
    let cohorts = grid(runs.iter().filter_map(figures::cohort));
    if !cohorts.is_empty() {
        let _ = write!(
            out,
            "</section><section id=\"heads\"><h2>Which heads came and went</h2>{}{cohorts}{}{}",
            tables::heads(runs),
            grid(runs.iter().filter_map(|run| figures::cohort_map(run, results))),
            grid(runs.iter().filter_map(|run| figures::effect_map(run, results)))
        );
    }
    out + "</section>"
}

/// Circuit drawings: the base beside each run, whose checkpoints are under a slider.
pub(super) fn circuits(results: &Results) -> String {
    let base = figures::circuit(results, &results.base);
    let mut groups: Vec<(&str, Vec<Figure>)> = Vec::new();
    for run in &results.trainings {
        let found = run.checkpoints.iter().filter_map(|at| figures::circuit(results, at));
        groups.push((&run.name, base.clone().into_iter().chain(found).collect()));
    }
    if groups.is_empty() {
        groups.push(("Base", base.into_iter().collect()));
    }
    groups.retain(|(_, frames)| !frames.is_empty());
    if groups.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "<section id=\"circuits\"><h2>The circuits</h2><p>Move a slider from the base through the checkpoints; point at a node to see its edges alone. Blue edges help the right \
         answer, red dashed ones work against it; width is the size of the score. Nodes with a blue ring are emergent heads, \
         with a red ring heads of the base’s circuit.</p><div class=\"grid\">",
    );
    for (group, frames) in groups {
        let last = frames.len() - 1;
        let _ = write!(out, "<div class=\"frames\"><h3>{}</h3>", escape(group));
        if last > 0 {
            let _ = write!(
                out,
                "<label class=\"slider\"><span>checkpoint</span><input type=\"range\" min=\"0\" max=\"{last}\" value=\"{last}\" step=\"1\" \
                 aria-label=\"checkpoint of {}\"></label>",
                escape(group)
            );
        }
        for (i, frame) in frames.iter().enumerate() {
            let _ = write!(
                out,
                "<div class=\"frame{}\">{}</div>",
                if i == last { " shown" } else { "" },
                figure(frame)
            );
        }
        out += "</div>";
    }
    out + "</div></section>"
}

/// Interventions, drawn and in figures.
pub(super) fn interventions(results: &Results) -> String {
    if results.interventions.is_empty() {
        return String::new();
    }
    let drawn = results.trainings.iter().filter_map(|run| figures::ablation(results, run));
    format!(
        "<section id=\"interventions\"><h2>Taking heads away</h2>{}{}</section>",
        grid(drawn),
        tables::interventions(&results.interventions)
    )
}
