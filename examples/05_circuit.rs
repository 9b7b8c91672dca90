//! Select circuits of several sizes and measure how much of the model's behaviour each keeps.

use std::error::Error;

use ablation::Baseline;
use attribution::{Endpoint, Method, Options, attribute};
use burn::tensor::Device;
use circuits::{Circuit, Null, faithfulness};
use hooks::{Metric, Task};
use toy::{Mix, Place, ProblemKind};

fn main() -> Result<(), Box<dyn Error>> {
    let model = toy::base(&Device::flex())?;
    // Edges are scored on some pairs, and circuits are measured on others.
    let mix = Mix::only(ProblemKind::Three);
    let (found_on, measured_on) =
        (toy::swap_pairs(mix, Place::FirstStep, 0, 16)?, toy::swap_pairs(mix, Place::FirstStep, 1, 16)?);
    let method = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Midpoint };
    let scores = attribute(&Task::new(&model, &found_on, Metric::LogitDiff), method, Options::default())?;

    // Faithfulness: 1 is the whole model, 0 is the model with every edge corrupted.
    let task = Task::new(&model, &measured_on, Metric::LogitDiff).batch_size(16);
    println!("{:>6} {:>12} {:>18}", "edges", "faithfulness", "random, same size");
    for n in [20, 40, 80, 160] {
        // Pruning removes edges on no path from the input to the logits.
        let circuit = Circuit::top(&scores.mean, n)?.pruned();
        let random = circuit.null(Null::Random, 0).pruned();
        let [found, chance] = [&circuit, &random].map(|c| faithfulness(&task, c, &Baseline::Corrupt));
        println!("{:>6} {:>12.2} {:>18.2}", circuit.n_edges(), found?.faithfulness, chance?.faithfulness);
    }

    let circuit = Circuit::top(&scores.mean, 40)?.pruned();
    let heads: Vec<String> = circuit.heads().iter().map(ToString::to_string).collect();
    println!("heads of the circuit of {} edges: {}", circuit.n_edges(), heads.join(" "));
    Ok(())
}
