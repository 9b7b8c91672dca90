//! Score every edge of the residual stream by edge attribution patching with integrated gradients (EAP-IG).

use std::error::Error;

use attribution::{Endpoint, Method, Options, attribute};
use burn::tensor::Device;
use hooks::{Metric, Task};
use toy::{Mix, Place, ProblemKind};

fn main() -> Result<(), Box<dyn Error>> {
    let model = toy::base(&Device::flex())?;
    let pairs = toy::swap_pairs(Mix::only(ProblemKind::Three), Place::FirstStep, 0, 8)?;
    let task = Task::new(&model, &pairs, Metric::LogitDiff);

    // Gradients at five points between the corrupt and the clean input (Hanna et al. 2024, equation 5).
    let method = Method::EapIgInputs { steps: 5, endpoint: Endpoint::Midpoint };
    let scores = attribute(&task, method, Options::default())?;

    // A score estimates the change of the metric when this edge alone carries its corrupt value.
    let mut edges: Vec<_> = scores.mean.iter().collect();
    edges.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    println!("{} edges; the ten with the largest scores:", edges.len());
    for (edge, score) in edges.iter().take(10) {
        println!("{:20} {score:+.3}", edge.to_string());
    }

    // An integral that is exact has error 0: the scores from the input add up to the change of the metric.
    println!("completeness error {:.3}", scores.completeness_error());
    Ok(())
}
