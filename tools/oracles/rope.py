"""Rotary settings as transformers reads them: frequencies, attention factors and logits, for crates/model-qwen/testdata/rope.

Not run by the Rust code: `python tools/oracles/rope.py` (torch, transformers 5.24) writes the folder again.
frequencies.json: settings of published models and of every kind, with the inverse frequencies at several lengths.
logits.json + model.safetensors: a tiny Llama under every kind and every place of the settings, with the logits of the
last position after 20, 64, 65 and 900 tokens (max_position_embeddings is 64).
"""
import json
import pathlib
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates" / "model-qwen" / "testdata" / "rope"

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LONG = {"rope_type": "longrope", "original_max_position_embeddings": 16, "short_factor": [1.0, 1.1, 1.2, 1.3],
        "long_factor": [1.0, 1.7, 2.9, 4.4]}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LINEAR = {"type": "linear", "factor": 4.0}

# Name, and the fields of config.json that say something about rotary positions.
SETTINGS = [
    ("default", {}),
    ("theta at top level", {"rope_theta": 500.0}),
    ("theta in rope_scaling", {"rope_scaling": {"rope_type": "default", "rope_theta": 500.0}}),
    ("theta in rope_scaling and at top level", {"rope_theta": 77.0, "rope_scaling": {"rope_type": "default", "rope_theta": 500.0}}),
    ("theta in rope_parameters and at top level", {"rope_theta": 77.0, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    ("rope_scaling before rope_parameters", {"rope_scaling": LINEAR, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    ("empty rope_scaling", {"rope_scaling": {}, "rope_parameters": LINEAR | {"rope_theta": 500.0}}),
    ("empty rope_parameters", {"rope_theta": 500.0, "rope_scaling": LINEAR, "rope_parameters": {}}),
    ("null rope_scaling", {"rope_theta": 500.0, "rope_scaling": None}),
    ("both empty", {"rope_theta": 500.0, "rope_scaling": {}, "rope_parameters": {}}),
    ("type and rope_type", {"rope_scaling": {"type": "dynamic", "rope_type": "linear", "factor": 2.0}}),
    ("linear", {"rope_scaling": LINEAR}),
    ("dynamic", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    ("dynamic, theta inside", {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 500.0}}),
    ("llama3", {"rope_theta": 500.0, "rope_scaling": LLAMA3 | {"original_max_position_embeddings": 16}}),
    ("llama3 without original", {"rope_theta": 500.0, "rope_scaling": LLAMA3}),
    ("llama3, original at top level", {"original_max_position_embeddings": 32, "rope_parameters":
                                       LLAMA3 | {"rope_theta": 500.0, "original_max_position_embeddings": 16}}),
    ("yarn", {"rope_scaling": YARN}),
    ("yarn without original", {"rope_scaling": {"type": "yarn", "factor": 4.0}}),
    ("yarn without factor", {"rope_scaling": YARN | {"factor": None}}),
    ("yarn, attn_factor has no effect", {"rope_scaling": YARN | {"attn_factor": 0.8782488562869419}}),
    ("yarn, attention_factor", {"rope_scaling": YARN | {"attention_factor": 0.7}}),
    ("yarn, mscale", {"rope_scaling": YARN | {"mscale": 0.707, "mscale_all_dim": 1.2}}),
    ("yarn, one mscale", {"rope_scaling": YARN | {"mscale": 0.707}}),
    ("yarn, betas", {"rope_scaling": YARN | {"beta_fast": 4, "beta_slow": 0.5}}),
    ("yarn, not truncated", {"rope_scaling": YARN | {"beta_fast": 4, "truncate": False, "rope_theta": 500.0}}),
    ("yarn, factor 1", {"rope_scaling": YARN | {"factor": 1.0}}),
    ("longrope", {"rope_scaling": LONG}),
    ("longrope, factor", {"rope_scaling": LONG | {"factor": 9.0}}),
    ("longrope, attention_factor", {"rope_scaling": LONG | {"attention_factor": 1.3}}),
]

# Model type, head dimension, positions, settings: as published, or as their model cards ask for.
PUBLISHED = {
    "Qwen2.5-7B-Instruct": ("qwen2", 128, 32768, {"rope_theta": 1e6}),
    "Qwen2.5-7B-Instruct, 128k": ("qwen2", 128, 32768, {"rope_theta": 1e6, "rope_scaling": {
        "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}),
    "Qwen3-8B, 128k": ("qwen3", 128, 131072, {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}),
    "DeepSeek-R1-0528-Qwen3-8B": ("qwen3", 128, 131072, {"rope_theta": 1e6, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768, "attn_factor": 0.8782488562869419}}),
    "Llama-3.1-8B": ("llama", 128, 131072, {"rope_theta": 5e5, "rope_scaling": LLAMA3 | {"original_max_position_embeddings": 8192}}),
    "Llama-3.2-1B": ("llama", 64, 131072, {"rope_theta": 5e5, "rope_scaling": LLAMA3 | {
        "factor": 32.0, "original_max_position_embeddings": 8192}}),
    "SmolLM-135M": ("llama", 64, 2048, {"rope_theta": 1e4}),
    "Llama-2, dynamic": ("llama", 128, 4096, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}),
    "Llama-2, linear": ("llama", 128, 4096, {"rope_scaling": {"type": "linear", "factor": 2.5}}),
    "yarn with mscale of DeepSeek-V3": ("llama", 64, 163840, {"rope_scaling": {
        "type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "mscale": 1.0, "mscale_all_dim": 1.0,
        "beta_fast": 32, "beta_slow": 1}}),
}


def base(model_type, d_head, positions, rope):
    heads, kv = (4, 2)
    names = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
    c = {"architectures": [names[model_type]], "model_type": model_type, "num_hidden_layers": 2, "hidden_size": heads * d_head,
         "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": d_head, "intermediate_size": 24, "vocab_size": 23,
         "tie_word_embeddings": True, "rms_norm_eps": 1e-6, "max_position_embeddings": positions, "hidden_act": "silu"}
    return c | rope


def read(config):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
        return transformers.AutoConfig.from_pretrained(folder)


def frequencies(config, length):
    """Inverse frequencies and attention factor of a run that reaches `length` positions, in a model that has run nothing before."""
    c = read(config)
    kind = c.rope_parameters["rope_type"]
    if kind == "default":
        module = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding
        return module.compute_default_rope_parameters(c)
    by_length = kind == "dynamic" and length > c.max_position_embeddings or kind == "longrope"
    return ROPE_INIT_FUNCTIONS[kind](c, None, **({"seq_len": torch.tensor(length)} if by_length else {}))


@torch.no_grad()
def logits(config, weights, ids):
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(config))
        save_file(weights, pathlib.Path(folder) / "model.safetensors", {"format": "pt"})
        m = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return m(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]


def main():
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    rows = []
    for name, (kind, d_head, positions, rope) in PUBLISHED.items():
        config = base(kind, d_head, positions, rope)
        for length in (10, positions, 3 * positions):
            f, factor = frequencies(config, length)
            rows.append({"name": name, "config": config, "length": length, "attention_factor": float(factor), "frequencies": f.tolist()})
            if "dynamic" not in json.dumps(rope):
                break
    for name, rope in SETTINGS:
        config = base("llama", 8, 64, rope)
        for length in (16, 17, 64, 65, 900):
            f, factor = frequencies(config, length)
            rows.append({"name": name, "config": config, "length": length, "attention_factor": float(factor), "frequencies": f.tolist()})
            if not any(kind in json.dumps(rope) for kind in ("dynamic", "longrope")):
                break
    (OUT / "frequencies.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")

    torch.manual_seed(5)
    m = transformers.LlamaForCausalLM(read(base("llama", 8, 64, {})))
    weights = {k: torch.randn(p.shape) * (0.35 if p.dim() == 2 else 0.1) + (p.dim() == 1) for k, p in m.named_parameters()}
    save_file(weights, OUT / "model.safetensors", {"format": "pt"})
    weights = load_file(OUT / "model.safetensors")
    ids = torch.randint(23, (900,)).tolist()
    cases = []
    for name, rope in SETTINGS:
        config = base("llama", 8, 64, rope)
        cases.append({"name": name, "config": config, "logits": {str(n): logits(config, weights, ids[:n]).tolist() for n in (20, 64, 65, 900)}})
    (OUT / "logits.json").write_text(json.dumps({"ids": ids})[:-1] + ', "cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
