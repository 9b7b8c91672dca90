//! Pairs as the paper makes them: the same problem, then the opening of a reasoning answer (clean) against the
//! opening of a direct one (corrupt), cut to one length: `amc_pairs MODEL PROBLEMS.jsonl OUT.jsonl [N]`.
//!
//! The answer is what the model itself says next after the clean opening, the distractor what it says after the
//! corrupt one; problems where the two are one token are left out. Shortest problems first.

use std::error::Error;
use std::path::PathBuf;

use burn::tensor::Device;
use model_qwen::{Checkpoint, Dtype, Message, Request, Sampling, generate};

const REASONING: &str = "Okay, so I have this problem here, and I need to think about it step by step.";
const DIRECT: &str = "To solve this problem, we'll use the given values and calculate the answer.";

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, problems, out, rest @ ..] = &args[..] else { return Err("MODEL PROBLEMS OUT [N]".into()) };
    let n: usize = rest.first().map_or(Ok(8), |n| n.parse())?;
    let checkpoint = Checkpoint::open(&PathBuf::from(model))?;
    let (text, chat) = (checkpoint.text()?, checkpoint.chat_template()?);
    let model = checkpoint.load(Dtype::F32, &Device::flex())?;
    let mut problems = bench_math::read_problems(problems)?.list;
    problems.sort_by_key(|p| p.problem.len());
    let (mut clean, mut corrupt) = (text.encode_raw(REASONING)?, text.encode_raw(DIRECT)?);
    let length = clean.len().min(corrupt.len()).min(16);
    clean.truncate(length);
    corrupt.truncate(length);
    let (mut lines, mut kept) = (String::new(), 0);
    for problem in problems {
        let user = Message { role: "user".into(), content: problem.problem };
        let prompt = text.encode_raw(&chat.render(&[user], true, None)?)?;
        let sides = [&clean, &corrupt].map(|opening| [&prompt[..], opening].concat());
        let requests = sides.clone().map(|prompt| Request { prompt, stream: 0, origin: 0 });
        let how = Sampling { max_tokens: 1, ..Sampling::default() };
        let next = generate(&model, &requests, &how, &mut (), |_, _| true)?;
        if kept < n && next[0].ids != next[1].ids {
            let [clean, corrupt] = sides;
            lines += &serde_json::json!({"id": problem.id, "clean_ids": clean, "corrupt_ids": corrupt,
                "answer_ids": next[0].ids, "distractor_ids": next[1].ids})
            .to_string();
            lines.push('\n');
            kept += 1;
        }
        if kept == n {
            break;
        }
    }
    std::fs::write(out, lines)?;
    Ok(())
}
