"""Twenty steps of torch's AdamW on f32 master weights of a model that computes with their bfloat16 roundings.

Usage: python tools/oracles/sft_bf16.py tests/fixtures   (torch, transformers 5.24)

Writes sft-bf16/steps.json (loss and gradient norm of each step, before clipping) and end.safetensors, the master weights
after the last. Rows of sft-trace, batches of 4 in file order, the loss over all trained tokens of a batch, clipping at 1,
learning rate 1e-3, decay 0.01 on all. Before each step every matrix is the bfloat16 rounding of its master, and the first master that of
the file's matrix; vectors, activations and gradients are f32.
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
model = AutoModelForCausalLM.from_pretrained(os.path.join(root, "sft-trace/tied"), dtype=torch.float32)
params = dict(model.named_parameters())


def rounded(p):
    return p.bfloat16().float() if p.dim() == 2 else p


masters = {name: torch.nn.Parameter(rounded(p.detach()).clone()) for name, p in params.items()}
optimizer = torch.optim.AdamW(masters.values(), lr=1e-3, weight_decay=0.01)
steps = []
for step in range(20):
    with torch.no_grad():
        for name, p in params.items():
            p.copy_(rounded(masters[name]))
    loss = sft_rows.loss(model, rows, step)
    model.zero_grad()
    loss.backward()
    for name, p in params.items():
        masters[name].grad = p.grad.clone()
    steps.append(sft_rows.clip_and_step(loss, masters.values(), optimizer))
out = os.path.join(root, "sft-bf16")
sft_rows.write(os.path.join(out, "steps.json"), steps)
save_file({k: v.detach().contiguous() for k, v in masters.items()}, os.path.join(out, "end.safetensors"))
