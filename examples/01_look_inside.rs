//! Run a model and record activations: what comes next, and where each head attends.

use std::error::Error;

use burn::tensor::Device;
use hooks::{Batch, Heads, HookedModel, Recorder};

fn main() -> Result<(), Box<dyn Error>> {
    // A small Qwen2 that ships with the project. It adds two-digit numbers, one token a character.
    let model = toy::base(&Device::flex())?;
    let prompt = "47+28+36=";
    let batch = Batch::new(&[toy::encode(prompt)?])?;

    // A hook is an argument of one run. A recorder keeps the activations at the sites that it names.
    let layer = 2;
    let mut recorder = Recorder::new([Heads::Pattern(layer).into()]);
    let logits = model.run(&batch, &mut recorder); // [batch, seq, vocab]

    let [_, seq, vocab] = logits.dims();
    let next = logits.slice([0..1, seq - 1..seq, 0..vocab]).argmax(2).into_scalar::<i64>();
    println!("{prompt} goes on with {}", toy::decode(&[next as u32]));

    // Attention probabilities, [batch, n_heads, seq, kv_seq]: the row of the last position of each head.
    let pattern = recorder.heads(Heads::Pattern(layer));
    for head in 0..model.wiring().n_heads {
        let row = pattern.clone().slice([0..1, head..head + 1, seq - 1..seq, 0..seq]);
        let row: Vec<f32> = row.into_data().try_to_vec().expect("f32");
        let shown: Vec<String> =
            prompt.chars().zip(&row).map(|(token, weight)| format!("{token} {weight:.2}")).collect();
        println!("L{layer}H{head} attends to  {}", shown.join("  "));
    }
    Ok(())
}
