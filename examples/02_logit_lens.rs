//! The logit lens: read each residual stream out as if it were the last one.

use std::error::Error;

use attribution::logit_lens;
use burn::tensor::Device;
use burn::tensor::activation::softmax;
use hooks::{Batch, Rows, Site};

fn main() -> Result<(), Box<dyn Error>> {
    let model = toy::base(&Device::flex())?;
    let prompt = "47+28+36=";
    let batch = Batch::new(&[toy::encode(prompt)?])?.rows(Rows::Last);

    // The closure gets each stream in the order of the computation, with its logits `[batch, 1, vocab]`.
    println!("{prompt}");
    logit_lens(&model, &batch, true, |stream, logits| -> Result<(), attribution::Error> {
        let probabilities: Vec<f32> = softmax(logits, 2).into_data().try_to_vec().expect("f32");
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let top =
            order.iter().take(3).map(|&id| format!("{} {:.2}", toy::decode(&[id as u32]), probabilities[id]));
        println!("{:28} {}", Site::from(stream).to_string(), top.collect::<Vec<_>>().join("   "));
        Ok(())
    })?;
    Ok(())
}
