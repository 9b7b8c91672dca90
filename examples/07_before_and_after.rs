//! Heads of a circuit before and after some steps of supervised fine-tuning (SFT).

use std::collections::BTreeSet;
use std::error::Error;

use attribution::{Endpoint, Method, Options, attribute};
use burn::tensor::Device;
use circuits::Circuit;
use hooks::{Head, Metric, Task};
use model_qwen::Qwen;
use posttrain_sft::{Example, Sft, SftConfig};
use toy::{Mix, Place, ProblemKind};

/// Heads of the circuit of the 60 edges with the largest scores.
fn heads(model: &Qwen) -> Result<BTreeSet<Head>, Box<dyn Error>> {
    let pairs = toy::swap_pairs(Mix::only(ProblemKind::Three), Place::FirstStep, 0, 8)?;
    let method = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Midpoint };
    let scores = attribute(&Task::new(model, &pairs, Metric::LogitDiff), method, Options::default())?;
    Ok(Circuit::top(&scores.mean, 60)?.pruned().heads())
}

fn main() -> Result<(), Box<dyn Error>> {
    let base = toy::base(&Device::flex())?;
    let before = heads(&base)?;

    // Twenty steps on sixteen worked solutions each. The loop is the caller's: look at the model where you like.
    let mut config = SftConfig::default();
    config.trainer.train.steps = Some(20);
    config.trainer.train.batch_size = 16;
    config.trainer.optimizer.lr = 5e-4;
    let mut sft = Sft::new(base, &config, 1)?;
    let mut corpus = toy::sft_corpus(0);
    while !sft.is_done() {
        let mut examples = Vec::new();
        for line in corpus.by_ref().take(sft.batch()) {
            let prompt = toy::encode(&line.prompt)?;
            let ids = [&prompt[..], &toy::encode(&line.completion)?].concat();
            examples.push(Example::new(line.id, ids, prompt.len())); // trained from the prompt's end
        }
        let stats = sft.step(&examples)?;
        if stats.step % 5 == 0 {
            println!("step {:>2}  loss {:.3}", stats.step, stats.loss);
        }
    }

    let after = heads(sft.model())?;
    let list = |heads: Vec<&Head>| heads.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    println!("kept: {}", list(before.intersection(&after).collect()));
    println!("new:  {}", list(after.difference(&before).collect()));
    println!("lost: {}", list(before.difference(&after).collect()));
    // One set of pairs says nothing about chance: `circuits::Emergence` tests each change (docs/METHODS.md).
    Ok(())
}
