"""The checkpoints that peers.sh compares on: random weights of the peers' shapes. `cd PEERS && python REPO/tools/peers/models.py OUT`"""
import os
import sys

sys.path.insert(0, os.getcwd())
import torch  # noqa: E402

from common_bench import config  # noqa: E402
from transformers import AutoModelForCausalLM, Qwen2Config  # noqa: E402

q15 = Qwen2Config(
    hidden_size=1536, num_hidden_layers=28, num_attention_heads=12, num_key_value_heads=2, intermediate_size=8960,
    vocab_size=151936, rms_norm_eps=1e-6, tie_word_embeddings=True, max_position_embeddings=4096, bos_token_id=None,
    eos_token_id=None, pad_token_id=0, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})
for name, shape, dtype in [("demo", config("demo"), torch.float32), ("q05", config("qwen05b"), torch.float32),
                           ("q05-bf16", config("qwen05b"), torch.bfloat16), ("q15-bf16", q15, torch.bfloat16)]:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(shape, dtype=dtype).save_pretrained(os.path.join(sys.argv[1], name))
