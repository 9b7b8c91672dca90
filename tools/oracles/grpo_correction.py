#!/usr/bin/env python3
"""Makes crates/posttrain-grpo/testdata/correction.{json,safetensors}: steps of TRL 1.16's GRPOTrainer on completions of another
sampler, with its correction by importance sampling. Runs as grpo_step.py does, whose files' form these have.

    python tools/oracles/grpo_correction.py [--out DIR]

The trainer is TRL's own; `_generate_single_turn` alone is replaced, to return completions and the sampler's log-probabilities,
and `use_vllm` is set once the trainer is made, so that no server is asked for. The log-probabilities are the model's plus noise,
one of them NaN. `sampler` has them, completion after completion; null is NaN.
"""
import math

import torch
from transformers import AutoModelForCausalLM

from grpo_step import GROUP, MODEL, Given, arguments, task, train, write

CASES = {
    "default": {},
    "sequence mask, lower bound": {"vllm_importance_sampling_clip_max": 1.5, "vllm_importance_sampling_clip_min": 0.7},
    "sequence truncate": {"vllm_importance_sampling_mode": "sequence_truncate", "vllm_importance_sampling_clip_max": 1.2},
    "token mask": {"vllm_importance_sampling_mode": "token_mask", "vllm_importance_sampling_clip_max": 1.1},
    "token truncate, KL": {"vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": 1.05,
                           "vllm_importance_sampling_clip_min": 0.9, "beta": 0.3, "loss_type": "grpo"},
    "token truncate, vespo": {"vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": 1.1, "loss_type": "vespo"},
    "token mask, vespo, 2 iterations": {"vllm_importance_sampling_mode": "token_mask", "vllm_importance_sampling_clip_max": 1.1,
                                        "loss_type": "vespo", "num_iterations": 2},
    "off-policy mask": {"off_policy_mask_threshold": 0.02},
    "off-policy mask without correction, 2 iterations": {"off_policy_mask_threshold": 0.02, "num_iterations": 2,
                                                         "vllm_importance_sampling_correction": False},
    "gspo, 2 iterations": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.003, "epsilon_high": 0.004, "num_iterations": 2},
}


class Elsewhere(Given):
    sampler = {}

    def _generate_single_turn(self, prompt_ids, *a, **k):
        ids, _ = super()._generate_single_turn(prompt_ids, *a, **k)
        return ids, [self.sampler[tuple(p)][i % GROUP] for i, p in enumerate(prompt_ids)]


def sampler_log_probs(prompts, completions):
    """The model's log-probabilities plus noise."""
    model, g = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32), torch.Generator().manual_seed(11)
    out = []
    for at, ids in enumerate(completions):
        prompt = prompts[at // GROUP]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1:-1].log_softmax(-1)
        logp = logits.gather(1, torch.tensor(ids)[:, None])[:, 0]
        out.append((logp + 0.12 * torch.randn(len(ids), generator=g)).tolist())
    out[1][0] = math.nan
    return out


def vllm(trainer):
    trainer.use_vllm = True


def main():
    a, given = arguments(__doc__), task()
    prompts, completions, _ = given
    sampler = sampler_log_probs(prompts, completions)
    Elsewhere.sampler = {tuple(p): sampler[i * GROUP:(i + 1) * GROUP] for i, p in enumerate(prompts)}
    cases, weights = [], {}
    for name, options in CASES.items():
        log, after = train(options, given, Elsewhere, vllm)
        cases.append({"name": name, "options": options, "log": log})
        weights |= {f"{name}/{parameter}": value for parameter, value in after.items()}
    for case in cases:
        case["sampler"] = [[None if math.isnan(x) else x for x in row] for row in sampler]
    write(a.out, "correction", given, cases, weights)


if __name__ == "__main__":
    main()
