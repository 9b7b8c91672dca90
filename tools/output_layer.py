"""CPU seconds of a training step in which the output layer is nearly all: one block of width 64, 151,936 tokens, 4 x 128.

Usage: python tools/output_layer.py SPARKS [SPARKS …]   (torch, transformers)

Runs the binaries in turn, three times each; a step's seconds are those of ten steps less those of two, over eight.
"""
import json, os, random, resource, subprocess, sys, tempfile

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

torch.manual_seed(0)
random.seed(0)
with tempfile.TemporaryDirectory() as folder:
    config = Qwen2Config(
        vocab_size=151936, hidden_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=64, tie_word_embeddings=True, max_position_embeddings=512,
    )
    Qwen2ForCausalLM(config).float().save_pretrained(os.path.join(folder, "m"))
    with open(os.path.join(folder, "d.jsonl"), "w") as f:
        for _ in range(16):
            f.write(json.dumps({"input_ids": [random.randrange(150000) for _ in range(128)]}) + "\n")
    count = 0

    def seconds(binary, steps):
        global count
        count += 1
        path = os.path.join(folder, f"{count}.toml")
        with open(path, "w") as f:
            f.write(
                f"model.path = '{folder}/m'\ndata.train = '{folder}/d.jsonl'\nrun.dir = '{folder}/run-{count}'\n"
                f"run.checkpoint_every = 0\ntrain.steps = {steps}\ntrain.batch_size = 4\n"
            )
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([binary, "sft", path, "--quiet"], check=True, env={**os.environ, "MIMALLOC_PURGE_DELAY": "-1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime

    for _ in range(3):
        for binary in sys.argv[1:]:
            short = seconds(binary, 2)
            print(binary, round((seconds(binary, 10) - short) / 8, 3), "CPU seconds a step", flush=True)
