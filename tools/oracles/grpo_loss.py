#!/usr/bin/env python3
"""Makes crates/posttrain-grpo/testdata/loss.json: TRL 1.16's own GRPOTrainer._compute_loss on random log-probabilities and
random options, every loss type among them; loss, gradients in log-probabilities and entropies, metrics. Runs as generate.py does.

    python tools/oracles/grpo_loss.py [--cases N] [--out FILE]
"""
import argparse
import json
import pathlib
import random

import numpy
import torch

from generate import grpo_run

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/posttrain-grpo/testdata/loss.json"
LOSSES = ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]


def inputs(seed, b, n):
    """Completions of 1 to n tokens; some log-ratios are large, one advantage is 0, and two tokens are the old policy's."""
    g = torch.Generator().manual_seed(seed)
    logp = -0.05 - 2 * torch.rand(b, n, generator=g)
    t = {"logp": logp, "old_logp": logp + 0.4 * torch.randn(b, n, generator=g), "ref_logp": logp + 0.3 * torch.randn(b, n, generator=g),
         "entropy": 3 * torch.rand(b, n, generator=g), "advantages": torch.randn(b, generator=g)}
    t["advantages"][0] = 0.0
    t["old_logp"][1, 0] = logp[1, 0]
    t["old_logp"][2, :1] -= 2.0
    lengths = torch.randint(1, n + 1, (b,), generator=g).tolist()
    t["mask"] = torch.tensor([[int(j < k) for j in range(n)] for k in lengths])
    return {k: v.tolist() for k, v in t.items()} | {"max_completion_length": 16}


def case(kind, r):
    clips = kind not in ("cispo", "sapo", "vespo")
    accum = r.choice([1.0, 1.0, 2.0, 4.0])
    return {
        "loss_type": kind, "level": r.choice(["token", "sequence"]), "epsilon": r.choice([0.05, 0.2, 0.35]),
        "epsilon_high": r.choice([0.5, 1.5, 5.0]) if kind == "cispo" else r.choice([None, 0.1, 0.28, 0.6]) if clips else None,
        "delta": r.choice([None, 1.1, 2.0, 3.0]) if clips else None,
        "beta": r.choice([0.0, 0.04, 0.5]), "bias_kl": r.choice([True, False]),
        "top_entropy": r.choice([1.0, 1.0, 0.2, 0.5, 0.8]), "entropy_coef": r.choice([0.0, 0.01, 0.3]),
        "off_policy": r.choice([None, None, 0.0, 0.1]), "accum": accum, "steps_per_generation": r.choice([accum, 1.0, 8.0]),
        "items": r.choice([None, 17, 60]), "old": r.choice([True, True, True, False]), "entropy_grad": True,
    }


def short(x):
    """float32 by the fewest digits that give it again."""
    if isinstance(x, float):
        return float(repr(numpy.float32(x).item()) if numpy.float32(x) == 0 else numpy.format_float_scientific(numpy.float32(x)))
    if isinstance(x, dict):
        return {k: short(v) for k, v in x.items()}
    return [short(v) for v in x] if isinstance(x, list) else x


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--cases", type=int, default=30, help="of each loss type")
    a.add_argument("--out", type=pathlib.Path, default=OUT)
    a = a.parse_args()
    r = random.Random(5)
    sets = [inputs(seed, 3 + seed % 4, 3 + seed % 3) for seed in range(12)]
    cases = []
    for kind in LOSSES:
        for _ in range(a.cases):
            chosen, at = case(kind, r), r.randrange(len(sets))
            cases.append(chosen | {"inputs": at} | short(grpo_run(chosen, short(sets[at]))))
    a.out.parent.mkdir(exist_ok=True)
    a.out.write_text(json.dumps({"inputs": short(sets), "cases": cases}, separators=(",", ":")) + "\n")
    print(f"{a.out.name}: {len(cases)} cases, {a.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
