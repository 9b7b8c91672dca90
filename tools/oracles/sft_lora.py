"""Twenty steps of PEFT's LoRA with torch's AdamW over the rows of tests/fixtures/sft-trace.

Usage: python tools/oracles/sft_lora.py tests/fixtures   (torch, transformers 5.24, peft)

Writes sft-lora/{name}/{start,end}: the adapter before and after, and sft-lora/{name}.json: loss and gradient norm of
each step. Batches of 4 in file order, the loss over all trained tokens of a batch, clipping at 1, learning rate 1e-2
(`modules`: 1e-3, `dropout`: 3e-3). `dropout` drops what crates/kernels/src/dropout.rs drops with seed 9, its hash written again in numpy.

Names after the folder choose cases; all without.
"""
import os, sys

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

import sft_rows

torch.set_num_threads(1)
root = sys.argv[1]
rows = sft_rows.read(root)
CASES = {
    "plain": dict(model="tied", r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"]),
    "all-linear": dict(model="untied", r=2, lora_alpha=4, use_rslora=True, target_modules="all-linear"),
    "dropout": dict(model="tied", r=4, lora_alpha=8, lora_dropout=0.25, target_modules=["q_proj", "v_proj", "down_proj"]),
    "modules": dict(
        model="untied", r=2, lora_alpha=4, target_modules="all-linear",
        modules_to_save=["lm_head", "embed_tokens", "layers.1.mlp", "norm"],
    ),
}
RATES = {"modules": 1e-3, "dropout": 3e-3}
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def splitmix(numbers):
    state, mask = 0, (1 << 64) - 1
    for number in numbers:
        z = (state + number + 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        state = z ^ (z >> 31)
    return state


def lowbias32(x):
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


class Dropped(torch.nn.Module):
    """Dropout by the hash of seed, step, row, module and place."""

    step = 0

    def __init__(self, p, module):
        super().__init__()
        self.p, self.module = p, module

    def forward(self, x):
        rows, length, width = x.shape
        at = np.arange(length * width, dtype=np.uint32)
        masks = []
        for row in range(rows):
            key = splitmix([9, Dropped.step, row, self.module])
            low, high = np.uint32(key & 0xFFFFFFFF), np.uint32(key >> 32)
            masks.append(lowbias32(lowbias32(at ^ low) + high) >= np.uint32(int(self.p * 2**32)))
        return x * torch.from_numpy(np.stack(masks).reshape(x.shape)) / (1 - self.p)


wanted = sys.argv[2:] or list(CASES)
for name, options in CASES.items():
    if name not in wanted:
        continue
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_pretrained(os.path.join(root, "sft-trace", options.pop("model")), dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **{"lora_dropout": 0.0, **options}))
    for path, module in model.named_modules():
        if options.get("lora_dropout") and hasattr(module, "lora_dropout"):
            parts = path.split(".")
            number = int(parts[parts.index("layers") + 1]) * 7 + PROJECTIONS.index(parts[-1])
            module.lora_dropout["default"] = Dropped(options["lora_dropout"], number)
    out = os.path.join(root, "sft-lora", name)
    model.peft_config["default"].base_model_name_or_path = None
    model.save_pretrained(os.path.join(out, "start"))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATES.get(name, 1e-2), betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    steps = []
    for step in range(20):
        Dropped.step = step
        loss = sft_rows.loss(model, rows, step)
        optimizer.zero_grad()
        loss.backward()
        steps.append(sft_rows.clip_and_step(loss, trained, optimizer))
    model.save_pretrained(os.path.join(out, "end"))
    print(name)
    sft_rows.write(out + ".json", steps)
    for part in ["start", "end"]:
        readme = os.path.join(out, part, "README.md")
        if os.path.exists(readme):
            os.remove(readme)
