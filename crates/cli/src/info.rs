//! `sparks info`: sizes of a checkpoint and the memory that it needs.

use hooks::{KeyValue, Wiring};
use model_qwen::{Dtype, LoraConfig, Targets};
use posttrain::{Memory, PassSize, Trained};
use serde_json::json;

use crate::options::{Common, Result};
use crate::output::{print_json, say};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Checkpoint folder or hub id org/name or org/name@revision.
    model: String,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// The row of tokens and the adapter of the training step that is told of.
const TOKENS: usize = 1024;
const RANK: usize = 16;

pub(crate) fn run(common: &Common, args: Args) -> Result {
    common.without_adapter("info")?;
    let checkpoint = common.open(&args.model)?;
    let c = &checkpoint.config;
    let wiring = |key_value| Wiring {
        n_layers: c.n_layers,
        n_heads: c.n_heads,
        n_kv_heads: c.n_kv_heads,
        d_model: c.d_model,
        key_value,
    };
    let (ungrouped, grouped) = (wiring(KeyValue::Ungrouped), wiring(KeyValue::Grouped));
    let params = c.n_params();
    let load = params * common.dtype().bytes();
    // Attribution: differences and gradients in f32, and the activations of one run for the backward pass.
    let kept = c.n_layers * (8 * c.d_model + 4 * c.n_heads * c.d_head + 4 * c.d_mlp);
    let attribute = 4 * ((ungrouped.n_writers() + ungrouped.n_readers()) * c.d_model + kept) as u64;
    // Training: f32 weights, gradients and two moments.
    let train = 16 * params;
    let rank = LoraConfig { targets: Targets::AllLinear, ..LoraConfig::new(RANK, 2.0 * RANK as f64, &[]) };
    let seq = TOKENS.min(c.max_positions);
    let all = Trained { dtype: Dtype::F32, numbers: params, adapter: false };
    let lora = Trained { dtype: common.dtype(), numbers: rank.n_params(c)?, adapter: true };
    let step = |trained, recompute| Memory::new(c, trained, PassSize { rows: 1, seq, recompute });
    let token = |recompute| step(all, recompute).activations / seq as u64;
    let peaks = [(all, false), (all, true), (lora, false), (lora, true)].map(|(t, r)| step(t, r).peak());
    let family = format!("{:?}", c.family).to_lowercase();
    if args.json {
        print_json(&json!({
            "family": family, "parameters": params, "n_layers": c.n_layers, "d_model": c.d_model,
            "n_heads": c.n_heads, "n_kv_heads": c.n_kv_heads, "d_head": c.d_head, "d_mlp": c.d_mlp,
            "vocab": c.vocab, "tied": c.tied, "max_positions": c.max_positions, "stop_ids": checkpoint.stop_ids,
            "edges_ungrouped": ungrouped.n_edges(), "edges_grouped": grouped.n_edges(),
            "bytes_load": load, "bytes_attribute_per_token": attribute, "bytes_train": train,
            "train": {
                "tokens": seq, "lora_rank": RANK,
                "bytes_activations_per_token": token(false),
                "bytes_activations_per_token_recomputed": token(true),
                "bytes_peak": peaks[0], "bytes_peak_recomputed": peaks[1],
                "bytes_peak_lora": peaks[2], "bytes_peak_lora_recomputed": peaks[3],
            },
        }));
        return Ok(());
    }
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let [whole, lora] = [&peaks[..2], &peaks[2..]].map(|p| format!("{} or {}", mb(p[0]), mb(p[1])));
    let rows: [(&str, String); 10] = [
        ("family", family),
        ("parameters", params.to_string()),
        ("layers", format!("{} of width {}", c.n_layers, c.d_model)),
        ("heads", format!("{} queries, {} keys/values, {} wide", c.n_heads, c.n_kv_heads, c.d_head)),
        ("neurons", c.d_mlp.to_string()),
        ("vocabulary", format!("{}{}", c.vocab, if c.tied { ", tied" } else { "" })),
        ("edges", format!("{} ungrouped, {} grouped", ungrouped.n_edges(), grouped.n_edges())),
        ("to load", mb(load)),
        (
            "a step",
            format!(
                "of one row of {seq} tokens, stored or recomputed: {whole}, a LoRA of rank {RANK} {lora}; a token {} \
                 or {}",
                mb(token(false)),
                mb(token(true))
            ),
        ),
        ("to attribute", format!("{} a token beside the weights; to train {}", mb(attribute), mb(train))),
    ];
    for (name, value) in rows {
        say!("{name:<14}{value}");
    }
    Ok(())
}
