"""Twenty steps of torch's AdamW with parameter groups over the rows of tests/fixtures/sft-trace.

Usage: python tools/oracles/sft_groups.py tests/fixtures   (torch, transformers 5.24)

Writes sft-groups/steps.json (loss and gradient norm of each step, before clipping) and end.safetensors, the weights
after the last. Batches of 4 in file order, the loss over all trained tokens of a batch, clipping at 1. The embedding is
frozen, MLPs have learning rate 3e-3 and decay 0.1, biases 1e-4 and 0.01, all else 1e-3 and 0.
"""
import os, sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

import sft_rows

torch.set_num_threads(1)
root = sys.argv[1]
rows = sft_rows.read(root)
model = AutoModelForCausalLM.from_pretrained(os.path.join(root, "sft-trace/untied"), dtype=torch.float32)
groups = {"mlp": [], "bias": [], "rest": []}
for name, p in model.named_parameters():
    if name == "model.embed_tokens.weight":
        p.requires_grad = False
    else:
        groups["mlp" if ".mlp." in name else "bias" if name.endswith(".bias") else "rest"].append(p)
optimizer = torch.optim.AdamW(
    [
        {"params": groups["mlp"], "lr": 3e-3, "weight_decay": 0.1},
        {"params": groups["bias"], "lr": 1e-4, "weight_decay": 0.01},
        {"params": groups["rest"]},
    ],
    lr=1e-3, weight_decay=0.0,
)
trained = [p for p in model.parameters() if p.requires_grad]
steps = []
for step in range(20):
    loss = sft_rows.loss(model, rows, step)
    optimizer.zero_grad()
    loss.backward()
    steps.append(sft_rows.clip_and_step(loss, trained, optimizer))
out = os.path.join(root, "sft-groups")
sft_rows.write(os.path.join(out, "steps.json"), steps)
save_file({k: v.detach().contiguous() for k, v in model.named_parameters()}, os.path.join(out, "end.safetensors"))
