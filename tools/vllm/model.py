#!/usr/bin/env python3
"""Makes the tiny model that tools/vllm runs: Qwen2 of two layers with the embedded model's tokenizer, random weights. vLLM on a CPU
asks for heads of 32 numbers or more. tests/fixtures/vllm/model is this one. Needs torch.

    python tools/vllm/model.py DIR
"""
import json
import pathlib
import shutil
import sys

import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
H, L, F, V, HEADS, KV, D = 64, 2, 64, 64, 2, 1, 32


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    g = torch.Generator().manual_seed(0)

    def normal(std, *shape):
        return torch.randn(*shape, generator=g) * std

    w = {"model.embed_tokens.weight": normal(0.25, V, H), "model.norm.weight": torch.ones(H)}
    for i in range(L):
        p = f"model.layers.{i}."
        for name, rows, columns in (("q_proj", HEADS * D, H), ("k_proj", KV * D, H), ("v_proj", KV * D, H), ("o_proj", H, HEADS * D)):
            w[f"{p}self_attn.{name}.weight"] = normal(0.1, rows, columns)
            if name != "o_proj":
                w[f"{p}self_attn.{name}.bias"] = normal(0.1, rows)
        for name, rows, columns in (("gate_proj", F, H), ("up_proj", F, H), ("down_proj", H, F)):
            w[f"{p}mlp.{name}.weight"] = normal(0.1, rows, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            w[f"{p}{name}.weight"] = torch.ones(H)
    save_file(w, out / "model.safetensors", metadata={"format": "pt"})
    config = dict(
        architectures=["Qwen2ForCausalLM"], model_type="qwen2", vocab_size=V, hidden_size=H, num_hidden_layers=L, num_attention_heads=HEADS,
        num_key_value_heads=KV, intermediate_size=F, hidden_act="silu", max_position_embeddings=128, rms_norm_eps=1e-6, rope_theta=10000.0,
        tie_word_embeddings=True, use_sliding_window=False, attention_dropout=0.0, bos_token_id=None, eos_token_id=1, pad_token_id=0,
        torch_dtype="float32")
    texts = {"config.json": config, "generation_config.json": {"eos_token_id": 1, "pad_token_id": 0, "repetition_penalty": 1.3},
             "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>"}}
    for name, value in texts.items():
        (out / name).write_text(json.dumps(value, indent=1) + "\n")
    shutil.copy(ROOT / "crates/toy/assets/tokenizer.json", out)


if __name__ == "__main__":
    main()
