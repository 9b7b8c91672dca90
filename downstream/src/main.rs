//! Finds a circuit in a model that this project has never heard of, and says how faithful it is.

mod model;

use ablation::{Ablation, Baseline, Fill};
use attribution::{Endpoint, Method, Options, attribute};
use burn::tensor::Device;
use circuits::{Circuit, Null, faithfulness};
use hooks::{Batch, HookedModel, Metric, Pair, Pairs, Target, Task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = model::Gpt2::random(24, &Device::flex());
    // Two prompts that differ in their third token; answer and distractor as good as any for random weights.
    let pair = |i: u32| Pair {
        earlier: vec![],
        id: i.to_string(),
        clean: vec![i, 7, 3, 11, 2],
        corrupt: vec![i, 7, 19, 11, 2],
        target: Target { answers: vec![5], distractors: vec![9] },
    };
    let pairs = Pairs::new((0..8).map(pair).collect())?;

    let method = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Midpoint };
    let scores = attribute(&Task::new(&model, &pairs, Metric::LogitDiff), method, Options::default())?;
    let circuit = Circuit::top(&scores.mean, 40)?.pruned();
    let judge =
        |circuit: &Circuit| faithfulness(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(8), circuit, &Baseline::Corrupt);
    let (found, full) = (judge(&circuit)?, judge(&Circuit::full(model.wiring()))?);
    let by_chance = judge(&circuit.null(Null::Random, 0).pruned())?;
    println!("{} of {} edges: {:?}", circuit.n_edges(), model.wiring().n_edges(), circuit.heads());
    println!("completeness error of the integral {:.3}", scores.completeness_error());
    println!("faithfulness {:.3}; whole model {:.3}", found.faithfulness, full.faithfulness);
    println!("a random circuit of that size: {:.3}", by_chance.faithfulness);

    let batch = Batch::new(&[pairs.as_slice()[0].clean.clone()])?;
    for head in circuit.heads() {
        let mut without = Ablation::heads(model.wiring(), [head], Fill::Zero)?;
        let gap = model.run(&batch, &mut without) - model.run(&batch, &mut ());
        println!("without {head} logits move by up to {:.3}", gap.abs().max().into_scalar::<f32>());
    }
    if (full.faithfulness - 1.0).abs() > 1e-4 {
        return Err("the whole graph is not the model: a site is in the wrong place".into());
    }
    Ok(())
}
