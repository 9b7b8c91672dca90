//! The words of the report, each in a line: what the summary and the figures take for granted.

use maud::{Markup, html};

use super::words::{count, metric, rate, visible};
use crate::results::{HeadStudy, PairExample, Results, Training, TrainingMethod};

/// The section's markup, below the summary.
pub(super) fn section(results: &Results) -> Markup {
    html! {
        section id="words" {
            h2 { "What the words mean" }
            dl class="terms short" {
                @for (term, text) in terms(results) { div { dt { (term) } dd { (text) } } }
            }
            p class="facts" { "Definitions in full: " a href="#methods" { "Methods" } "." }
        }
    }
}

fn terms(results: &Results) -> Vec<(String, String)> {
    let mut all = benchmarks(results);
    let mut say = |term: &str, text: String| all.push((term.to_owned(), text));
    say(
        "Accuracy",
        "The share of a problem’s samples that are right, mean over problems. Differences of shares are in percentage points, \
         “points”."
            .into(),
    );
    say(
        "Holds, does not hold, cannot tell",
        "Holds: the data show it, and the control does not explain it. Does not hold: the data show the opposite, or leave no \
         room for an effect that matters. Cannot tell: neither; it is no evidence against the claim."
            .into(),
    );
    for run in &results.trainings {
        let said = trained(results, run);
        if !said.is_empty() {
            say(&run.name, said);
        }
    }
    let Some(circuit) = &results.base.circuit else { return all };
    let (name, unit) = metric(&circuit.metric);
    say("Pairs", pairs(results));
    say(
        "Metric",
        format!(
            "What a circuit is to explain. Here {}, {unit}: {}.",
            circuit.metric,
            measured(&circuit.metric, name)
        ),
    );
    say(
        "Circuit",
        "The heads, MLPs and edges between them that carry the metric: edges of large scores, pruned. The score of an edge is \
         by how much the metric would change if the edge alone carried its value on the corrupt prompt."
            .to_owned()
            + &rules(results),
    );
    say(
        "Faithfulness",
        "The share of the metric’s difference between clean and corrupt prompts that is left when every edge outside the \
         circuit carries its value on the corrupt prompt: 1, all of it; 0, none; above 1 more than the whole model, below 0 the \
         opposite. Where the difference is next to nothing it says nothing."
            .into(),
    );
    say(
        "New, lost, kept",
        "Heads of a later circuit that the base’s lacks; of the base’s that the later lacks; of both.".into(),
    );
    say(
        "Random heads",
        "As many heads of the same layers, drawn from those that are not in the set itself where the layer has enough others. Many of them may be in the circuit too, and training may have changed them: no \
         worse than random heads says that these are not special among the heads of their layers, not that they do nothing."
            .into(),
    );
    let found = results
        .false_discovery_rate
        .map_or(String::new(), |r| format!(" (false-discovery rate {})", rate(r)));
    say(
        "Emergent",
        format!("New, and a test finds that the head’s share of all edges’ scores changed{found}."),
    );
    say(
        "Noise floor",
        "How much circuits of one checkpoint differ between draws, with replacement, of the same pairs: no weight changes there."
            .into(),
    );
    all
}

/// What a training did, as far as the settings of its run file tell it.
fn trained(results: &Results, run: &Training) -> String {
    let section = format!("run file of {}", run.name);
    let of = |key: &str| {
        let found = results.settings.iter().find(|s| s.section == section && s.name == key);
        found.map(|s| s.value.as_str())
    };
    let (Some(lr), Some(steps)) = (of("optimizer.lr"), run.checkpoints.last().map(|c| c.step)) else {
        return String::new();
    };
    let number = |key: &str| of(key).and_then(|text| text.parse::<usize>().ok());
    let batch = match run.method {
        Some(TrainingMethod::Grpo) => {
            let group = number("grpo.prompts").zip(number("grpo.group_size"));
            group.map(|(prompts, size)| format!("{}, {size} completions of each", count(prompts, "problem")))
        }
        _ => number("train.batch_size")
            .map(|rows| count(rows * number("train.accumulation").unwrap_or(1), "example")),
    };
    let rank = of("lora.rank").map_or(String::new(), |rank| format!(", LoRA of rank {rank}"));
    format!(
        "{}{}, learning rate {lr}{rank}. All settings: Methods.",
        count(steps as usize, "step"),
        batch.map_or(String::new(), |batch| format!(" of {batch}"))
    )
}

/// The benchmarks by name, with what is in them.
fn benchmarks(results: &Results) -> Vec<(String, String)> {
    if results.benchmarks.is_empty() {
        let asked = results.task.suites.iter().filter(|s| s.n > 0);
        return asked
            .map(|s| (s.name.clone(), format!("{} {}.", s.description, count(s.n, "problem"))))
            .collect();
    }
    let each =
        |samples: usize| if samples > 1 { format!(", {samples} samples of each") } else { String::new() };
    let one = |b: &crate::results::BenchmarkFacts| {
        (b.name.clone(), format!("{} {}{}.", b.description, count(b.n, "problem"), each(b.samples)))
    };
    results.benchmarks.iter().map(one).collect()
}

/// What a metric says of an answer; `name` where there is nothing to add.
fn measured<'a>(metric: &str, name: &'a str) -> &'a str {
    match metric {
        "logit-diff" => "the logit of the right answer less that of the wrong one beside it",
        "prob-diff" => "the probability of the right answer less that of the wrong one beside it",
        "kl" => {
            "how far the distribution of the next token is from that on the clean prompt, a KL divergence"
        }
        "nll" => "the negative logarithm of the right answer’s probability",
        _ => name,
    }
}

/// What each rule takes, where the settings tell it.
fn rules(results: &Results) -> String {
    let mut names: Vec<&str> = results.heads.iter().map(|HeadStudy { rule, .. }| rule.as_str()).collect();
    names.dedup();
    let mut said: Vec<String> = Vec::new();
    for name in names {
        let section = format!("circuit {name}");
        let of = |key: &str| {
            let found = results.settings.iter().find(|s| s.section == section && s.name == key);
            found.map(|s| s.value.as_str())
        };
        let signed = of("signed") == Some("true");
        let scores = if signed { "scores in favour of the answer" } else { "absolute scores" };
        let sources = if of("source_only") == Some("true") { ", heads as sources alone" } else { "" };
        let one = match (of("top"), of("threshold")) {
            (Some(top), _) => format!("{name}, the {top} edges with the largest {scores}{sources}"),
            (None, Some(least)) => format!("{name}, edges with {scores} of at least {least}{sources}"),
            (None, None) => continue,
        };
        if !said.contains(&one) {
            said.push(one);
        }
    }
    if said.is_empty() { String::new() } else { format!(" Rules: {}.", said.join("; ")) }
}

/// The longest prompt of an example that is shown whole, characters.
const SHOWN: usize = 120;

/// ` Its first: “…75+51=126;126+”, corrupt “…”; right “6”, wrong “7”.`
fn shown(example: &PairExample) -> String {
    let end = |text: &str| {
        let n = text.chars().count();
        let tail: String = text.chars().skip(n.saturating_sub(SHOWN)).collect();
        visible(&if n > SHOWN { format!("…{tail}") } else { tail })
    };
    let wrong =
        example.distractor.as_ref().map_or(String::new(), |text| format!(", wrong “{}”", visible(text)));
    format!(
        " Its first: clean “{}”, corrupt “{}”; right “{}”{wrong}.",
        end(&example.clean),
        end(&example.corrupt),
        visible(&example.answer)
    )
}

/// The suites of pairs by name.
fn pairs(results: &Results) -> String {
    let suites = results.task.suites.iter().filter_map(|s| {
        let n = s.pairs.as_ref()?.n;
        let example = s.pairs.as_ref()?.example.as_ref().map_or(String::new(), shown);
        Some(format!(" {} ({}): {}{example}", s.name, count(n, "pair"), s.description))
    });
    "A clean prompt and a corrupt one of equal length, alike but for what decides the answer. ".to_owned()
        + suites.collect::<String>().trim_start()
}
