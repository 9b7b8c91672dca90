//! `sparks compare`: heads and edges kept, new and lost between a base and other checkpoints, and the test of
//! which new ones are emergent.

use std::path::PathBuf;

use circuits::{Emergence, Fate, ScoreFile, Selection, compare};
use clap::ValueEnum;
use common::Error;
use serde_json::{Value, json};

use crate::circuit::{note_empty, read_scores};
use crate::options::{Common, Result};
use crate::output::{print_json, say, to_json};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Circuit file of the base, or the folder of a study.
    base: PathBuf,
    /// Circuit files of other checkpoints, on the same pairs; or the folder of another study.
    #[arg(required = true)]
    others: Vec<PathBuf>,
    /// List and test heads, or heads and edges.
    #[arg(long, value_enum, default_value_t = By::Heads)]
    by: By,
    /// Number of draws of the bootstrap and of the permutation test.
    #[arg(long, default_value_t = 200, value_name = "N")]
    draws: usize,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Heads,
    Edges,
}

/// Reads a file of a circuit, with a note where it is empty.
fn read(common: &Common, path: &std::path::Path) -> Result<ScoreFile> {
    let file = read_scores(common, path)?;
    note_empty(common, path, &file);
    Ok(file)
}

/// Compares the results of two studies.
fn studies(args: &Args) -> Result {
    let [other] = args.others.as_slice() else {
        return Err(Error::input("a study is compared with one other: expected two folders"));
    };
    let read = |dir: &std::path::Path| study::Results::read(&dir.join("results.json"));
    let found = study::compare(&read(&args.base)?, &read(other)?)?;
    if args.json {
        print_json(&to_json(&found)?);
        return Ok(());
    }
    for h in &found.heads {
        say!("{} on {} by {}", h.training, h.suite, h.rule);
        for (word, [both, first, second]) in [("new", &h.new), ("emergent", &h.emergent), ("lost", &h.lost)] {
            say!("  {word}: both {}; first {}; second {}", both.join(" "), first.join(" "), second.join(" "));
        }
    }
    for a in &found.answers {
        let [first, second] = a.accuracy;
        let paired =
            a.difference.map_or_else(String::new, |d| format!(", difference [{:.3}, {:.3}]", d.low, d.high));
        say!("{} on {}: {first:.3}, {second:.3}{paired}", a.checkpoint, a.benchmark);
    }
    for h in found.hypotheses.iter().filter(|h| h.verdicts[0] != h.verdicts[1]) {
        say!("{}: {:?}, {:?}", h.id, h.verdicts[0], h.verdicts[1]);
    }
    for [section, name, first, second] in &found.settings {
        say!("{section}.{name}: {first} | {second}");
    }
    for what in &found.unmatched {
        say!("{what}");
    }
    Ok(())
}

/// More draws than any interval needs.
const MAX_DRAWS: usize = 1_000_000;

pub(crate) fn run(common: &Common, args: Args) -> Result {
    if !(1..=MAX_DRAWS).contains(&args.draws) {
        return Err(Error::input(format!("--draws: {}, expected 1 to {MAX_DRAWS}", args.draws)));
    }
    if args.base.is_dir() {
        return studies(&args);
    }
    let base = read(common, &args.base)?;
    let base_circuit = base.circuit();
    let mut out = Vec::new();
    for path in &args.others {
        let other = read(common, path)?;
        let at = |e: Error| e.within(path.display());
        if let (Some(ours), Some(theirs)) = (&base.provenance, &other.provenance)
            && let Err(e) = ours.check_comparable(theirs)
        {
            common.warn(format!("{} and {}: {e}", args.base.display(), path.display()))?;
        }
        let found = compare((&base_circuit, &base.scores), (&other.circuit(), &other.scores)).map_err(at)?;
        let names = |heads: &std::collections::BTreeSet<hooks::Head>| -> Vec<String> {
            heads.iter().map(ToString::to_string).collect()
        };
        // Effects and tests are about scores of edges; circuits of nodes have none.
        let of_edges = base.nodes.is_none() && other.nodes.is_none();
        if !of_edges {
            common.note(format!("{}: scores of nodes: no effects and no tests", path.display()));
        }
        let mut item = json!({
            "base": args.base, "other": path,
            "heads": { "kept": names(&found.heads_kept), "gained": names(&found.heads_gained), "lost": names(&found.heads_lost) },
            "n_edges": { "kept": found.edges_kept.len(), "gained": found.edges_gained.len(), "lost": found.edges_lost.len() },
            "effects": found.effects.iter().filter(|_| of_edges).map(|e| json!({
                "head": e.head.to_string(), "base": e.base, "other": e.other, "effect": e.effect,
            })).collect::<Vec<_>>(),
        });
        if args.by == By::Edges {
            let edges = |edges: &[hooks::Edge]| edges.iter().map(ToString::to_string).collect::<Vec<_>>();
            item["edges"] = json!({
                "kept": edges(&found.edges_kept), "gained": edges(&found.edges_gained), "lost": edges(&found.edges_lost),
            });
        }
        // Circuits of resampled pairs have the size of the base's, so that there is no test beside an empty one.
        let tested = of_edges && base_circuit.n_edges() > 0;
        if let (true, Some(before), Some(after)) = (tested, &base.per_pair, &other.per_pair) {
            // Circuits of resampled pairs are selected by the number of edges that the base's circuit has.
            let mut how = Emergence::new(Selection::Top(base_circuit.n_edges()));
            how.draws = args.draws;
            how.seed = common.seed();
            let heads = how.test(base.wiring, before, after).map_err(at)?;
            item["emergence"] = to_json(&heads)?;
            if args.by == By::Edges {
                // Edges in either circuit: the test is over all of them.
                let all = how.test_edges(base.wiring, before, after).map_err(at)?;
                let rows = all.iter().filter(|row| row.fate != Fate::Outside || row.significant);
                item["edge_emergence"] = rows
                    .map(|row| {
                        json!({ "edge": row.edge.to_string(), "fate": row.fate, "base": row.base,
                            "post": row.post, "p_value": row.p_value, "significant": row.significant })
                    })
                    .collect();
            }
            item["noise_floor"] = to_json(&how.noise_floor(base.wiring, before).map_err(at)?)?;
        }
        out.push(item);
    }
    if args.json {
        print_json(&if out.len() == 1 { out.remove(0) } else { json!({ "comparisons": out }) });
        return Ok(());
    }
    for item in &out {
        let list = |v: &Value| {
            v.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        };
        say!("{} -> {}", args.base.display(), item["other"].as_str().unwrap_or_default());
        for (word, kind) in [("kept", "kept"), ("new", "gained"), ("lost", "lost")] {
            say!(
                "  {word:<7}{:>4} heads, {:>6} edges: {}",
                item["heads"][kind].as_array().map_or(0, Vec::len),
                item["n_edges"][kind],
                list(&item["heads"][kind])
            );
        }
        let tested = item["emergence"].as_array();
        match tested {
            Some(rows) => {
                let emergent = rows.iter().filter(|row| row["fate"] == "emergent");
                let names: Vec<&str> = emergent.filter_map(|row| row["head"].as_str()).collect();
                say!(
                    "  emergent: {} of the new heads (false-discovery rate 5 %): {}",
                    names.len(),
                    names.join(" ")
                );
            }
            None if base_circuit.n_edges() == 0 => common.note(
                "the base's circuit is empty: no test and no noise floor, which are of circuits of its size",
            ),
            None => {
                common.note("no per-pair scores: no test and no noise floor (sparks attribute --per-pair)")
            }
        }
        if let Some(floor) = item.get("noise_floor") {
            let number = |key: &str| floor[key].as_f64().unwrap_or(f64::NAN);
            say!(
                "  noise floor (random halves of the base's pairs): {:.1} heads gained, Jaccard index {:.2} of heads \
                 and {:.2} of edges, |E| below {:.2} in 95 %",
                number("heads_gained"),
                number("heads_jaccard"),
                number("edges_jaccard"),
                number("effect_95")
            );
        }
        for effect in item["effects"].as_array().into_iter().flatten().take(10) {
            say!(
                "  {:<7} E = {:+.3}",
                effect["head"].as_str().unwrap_or_default(),
                effect["effect"].as_f64().unwrap_or(0.0)
            );
        }
        if args.by == By::Edges {
            for (word, kind) in [("new", "gained"), ("lost", "lost")] {
                say!("  edges {word}: {}", list(&item["edges"][kind]));
            }
        }
    }
    Ok(())
}
