//! Indirect-object pairs as MIB makes them: `ioi_pairs MODEL OUT.jsonl [N]` (MODEL for its tokenizer alone).
//!
//! Clean: "When Mary and John went to the store, John gave a drink to" (Wang et al. 2023; the names in both
//! orders). Corrupt: the second subject becomes the indirect object (MIB's `s2_io_flip`), so that the right
//! answer flips. Names are single tokens, so that both prompts have one length. No token begins the prompt:
//! after the one that EAP-IG puts there Qwen2.5-Coder-0.5B no longer solves the task.

#![allow(clippy::print_stderr)]

use std::error::Error;
use std::path::PathBuf;

use model_qwen::Checkpoint;

const NAMES: [&str; 16] = [
    "Mary", "John", "Tom", "James", "Anna", "Paul", "Sarah", "Mark", "Laura", "Peter", "Emma", "David",
    "Lisa", "Kevin", "Alice", "Robert",
];
const PLACES: [&str; 4] = ["store", "park", "office", "school"];
const OBJECTS: [&str; 4] = ["drink", "book", "key", "ring"];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, out, rest @ ..] = &args[..] else { return Err("MODEL OUT [N]".into()) };
    let n: usize = rest.first().map_or(Ok(12), |n| n.parse())?;
    let text = Checkpoint::open(&PathBuf::from(model))?.text()?;
    let single = |name: &&str| text.encode_raw(&format!(" {name}")).is_ok_and(|ids| ids.len() == 1);
    let names: Vec<&str> = NAMES.iter().filter(|name| single(name)).copied().collect();
    eprintln!("{} of {} names are single tokens", names.len(), NAMES.len());
    let mut lines = String::new();
    for i in 0..n {
        // Steps prime to the numbers of names keep two neighbours apart.
        let (io, s) = (names[i % names.len()], names[(i + 1 + i / names.len()) % names.len()]);
        let (first, second) = if i % 2 == 0 { (io, s) } else { (s, io) };
        let (place, object) = (PLACES[i % 4], OBJECTS[(i + i / 4) % 4]);
        let prompt = |giver: &str| {
            let story = format!("When {first} and {second} went to the {place}, {giver} gave a {object} to");
            text.encode_raw(&story)
        };
        let (clean, corrupt) = (prompt(s)?, prompt(io)?);
        if clean.len() != corrupt.len() {
            return Err(format!("pair {i}: {} and {} tokens", clean.len(), corrupt.len()).into());
        }
        lines += &serde_json::json!({
            "id": format!("{io}-{s}-{i}"), "clean_ids": clean, "corrupt_ids": corrupt,
            "answer": format!(" {io}"), "distractor": format!(" {s}"),
        })
        .to_string();
        lines.push('\n');
    }
    std::fs::write(out, lines)?;
    Ok(())
}
