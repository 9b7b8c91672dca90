"""Learning rates of transformers' schedulers over 20 steps.

Usage: python tools/oracles/schedules.py crates/posttrain/testdata/schedules.tsv   (torch, transformers 5.24)
"""
import os, sys

import torch
from transformers import get_scheduler

WARMUP, STEPS, DECAY = 4, 20, 6
WSD = {"num_stable_steps": STEPS - WARMUP - DECAY, "num_decay_steps": DECAY}
CASES = {
    "constant": ("constant", 0, {}),
    "constant_with_warmup": ("constant_with_warmup", WARMUP, {}),
    "linear": ("linear", WARMUP, {}),
    "linear_without_warmup": ("linear", 0, {}),
    "cosine": ("cosine", WARMUP, {}),
    "cosine_with_min_lr": ("cosine_with_min_lr", WARMUP, {"min_lr_rate": 0.1}),
    "cosine_with_restarts": ("cosine_with_restarts", WARMUP, {"num_cycles": 3}),
    "wsd_linear": ("warmup_stable_decay", WARMUP, {**WSD, "decay_type": "linear"}),
    "wsd_cosine": ("warmup_stable_decay", WARMUP, {**WSD, "decay_type": "cosine", "min_lr_ratio": 0.1}),
    "wsd_1-sqrt": ("warmup_stable_decay", WARMUP, {**WSD, "decay_type": "1-sqrt", "min_lr_ratio": 0.1}),
}
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
with open(sys.argv[1], "w") as f:
    for name, (kind, warmup, options) in CASES.items():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
        schedule = get_scheduler(kind, optimizer, warmup, STEPS, scheduler_specific_kwargs=options)
        rates = []
        for _ in range(STEPS + 1):
            rates.append(repr(schedule.get_last_lr()[0]))
            optimizer.step()
            schedule.step()
        f.write(name + "\t" + " ".join(rates) + "\n")
