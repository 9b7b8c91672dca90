//! Ablate each head in turn, measure the effect, and generate without the head that has the largest.

use std::error::Error;

use ablation::{Ablation, Fill, sweep_heads};
use burn::tensor::Device;
use hooks::{HookedModel, Metric, Task};
use model_qwen::{Request, Sampling, generate};
use toy::{EOS, Mix, Place, ProblemKind};

fn main() -> Result<(), Box<dyn Error>> {
    let model = toy::base(&Device::flex())?;
    // Sums, each beside another sum with one digit changed. The metric is the logit of the right first digit of the
    // result minus that of the other sum's.
    let pairs = toy::swap_pairs(Mix::only(ProblemKind::Three), Place::FirstStep, 0, 16)?;
    let task = Task::new(&model, &pairs, Metric::LogitDiff).batch_size(16);

    // A head is ablated by replacing what it passes to the output projection: here by zero.
    let effects = sweep_heads(&task, &Fill::Zero)?;
    let mut heads: Vec<_> = effects.iter().map(|(head, effect)| (head, effect.change())).collect();
    heads.sort_by(|a, b| a.1.total_cmp(&b.1));
    for (head, change) in heads.iter().take(4) {
        println!("without {head} the logit difference changes by {change:+.2}");
    }

    // The same hook serves generation: the head is missing in every step.
    let prompt = "47+28+36=<think>";
    let request = Request { prompt: toy::encode(prompt)?, stream: 0, origin: 0 };
    let greedy = Sampling { max_tokens: 32, stop_ids: vec![EOS], ..Sampling::default() };
    let mut without = Ablation::heads(model.wiring(), [heads[0].0], Fill::Zero)?;
    let whole = generate(&model, std::slice::from_ref(&request), &greedy, &mut (), |_, _| true)?;
    let ablated = generate(&model, &[request], &greedy, &mut without, |_, _| true)?;
    println!("whole model:  {prompt}{}", toy::decode(&whole[0].ids));
    println!("without {}: {prompt}{}", heads[0].0, toy::decode(&ablated[0].ids));
    Ok(())
}
