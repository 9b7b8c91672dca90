//! A hook and a metric of one's own.

use std::error::Error;

use attribution::{Endpoint, Method, Options, attribute};
use burn::tensor::{Device, Tensor};
use hooks::{Heads, HookedModel, Metric, Task};
use toy::{Mix, Place, ProblemKind};

fn main() -> Result<(), Box<dyn Error>> {
    let model = toy::base(&Device::flex())?;
    let pairs = toy::swap_pairs(Mix::only(ProblemKind::Three), Place::FirstStep, 0, 8)?;

    // A metric is a differentiable function of one pair's logits, `[1, vocab]`: here the answer's logit above the
    // mean of all logits.
    let margin = Metric::custom("margin", |logits, pair| {
        let answer = logits.clone().narrow(1, pair.target.answers[0] as usize, 1);
        answer.mean() - logits.mean()
    });
    let task = Task::new(&model, &pairs, margin.clone()).batch_size(8);

    // A hook is a function of the activation at a site: here head 1 of layer 2, twice as strong.
    let louder = |z: Tensor<4>| {
        let [batch, n_heads, seq, d_head] = z.dims();
        let head = [0..batch, 1..2, 0..seq, 0..d_head];
        let twice = z.clone().slice(head.clone()) * 2.0;
        assert!(n_heads > 1);
        z.slice_assign(head, twice)
    };
    for (places, members) in task.batches() {
        let prompts: Vec<Vec<u32>> = members.iter().map(|pair| pair.clean.clone()).collect();
        let batch = hooks::Batch::new(&prompts)?.rows(hooks::Rows::Last);
        let plain = margin.of_pairs(model.run(&batch, &mut ()), &members, None);
        let changed = model.run(&batch, &mut hooks::at(Heads::Z(2), louder));
        let changed = margin.of_pairs(changed, &members, None);
        let gap: f32 = (changed - plain).mean().into_scalar();
        println!("{} pairs: L2H1 doubled changes the margin by {gap:+.2}", places.len());
    }

    // Every analysis takes the task, and so the metric.
    let method = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Midpoint };
    let scores = attribute(&task, method, Options::default())?;
    let largest = scores.mean.iter().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    let (edge, score) = largest.ok_or("no edges")?;
    println!("the edge with the largest effect on the margin: {edge} ({score:+.2})");
    Ok(())
}
