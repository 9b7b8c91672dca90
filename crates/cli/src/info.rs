//! `sparks info`: sizes of a checkpoint and the memory that it needs.

use hooks::{KeyValue, Wiring};
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
    let family = format!("{:?}", c.family).to_lowercase();
    if args.json {
        print_json(&json!({
            "family": family, "parameters": params, "n_layers": c.n_layers, "d_model": c.d_model,
            "n_heads": c.n_heads, "n_kv_heads": c.n_kv_heads, "d_head": c.d_head, "d_mlp": c.d_mlp,
            "vocab": c.vocab, "tied": c.tied, "max_positions": c.max_positions, "stop_ids": checkpoint.stop_ids,
            "edges_ungrouped": ungrouped.n_edges(), "edges_grouped": grouped.n_edges(),
            "bytes_load": load, "bytes_attribute_per_token": attribute, "bytes_train": train,
        }));
        return Ok(());
    }
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let rows: [(&str, String); 9] = [
        ("family", family),
        ("parameters", params.to_string()),
        ("layers", format!("{} of width {}", c.n_layers, c.d_model)),
        ("heads", format!("{} queries, {} keys/values, {} wide", c.n_heads, c.n_kv_heads, c.d_head)),
        ("neurons", c.d_mlp.to_string()),
        ("vocabulary", format!("{}{}", c.vocab, if c.tied { ", tied" } else { "" })),
        ("edges", format!("{} ungrouped, {} grouped", ungrouped.n_edges(), grouped.n_edges())),
        ("to load", mb(load)),
        ("to attribute", format!("{} a token beside the weights; to train {}", mb(attribute), mb(train))),
    ];
    for (name, value) in rows {
        say!("{name:<14}{value}");
    }
    Ok(())
}
