"""Tiny models with every bias that the families have, and their logits in transformers, for crates/model-qwen/testdata/biases.

Not run by the Rust code: `python tools/oracles/biases.py` (torch, transformers 5.24) writes the folder again.
"""
import json

import torch
import transformers
from safetensors.torch import load_file, save_file

from rope import OUT as ROPE, base, logits, read

OUT = ROPE.parent / "biases"
BIASES = {
    "llama": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-attention": ("llama", {"attention_bias": True}),
    "llama-mlp": ("llama", {"mlp_bias": True}),
    "qwen3": ("qwen3", {"attention_bias": True, "mlp_bias": True}),
    "qwen2": ("qwen2", {"attention_bias": False}),
}


def main():
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    for seed, (name, (kind, extra)) in enumerate(BIASES.items()):
        torch.manual_seed(seed)
        config = base(kind, 6, 64, extra)
        model = transformers.AutoModelForCausalLM.from_config(read(config))
        weights = {k: torch.randn(p.shape) * 0.3 + ("norm" in k) for k, p in model.named_parameters()}
        save_file(weights, OUT / f"{name}.safetensors", {"format": "pt"})
        ids = torch.randint(23, (12,)).tolist()
        row = {"config": config, "ids": ids, "logits": logits(config, load_file(OUT / f"{name}.safetensors"), ids).tolist()}
        (OUT / f"{name}.json").write_text(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
