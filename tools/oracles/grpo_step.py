#!/usr/bin/env python3
"""Makes crates/posttrain-grpo/testdata/step.{json,safetensors}: whole steps of TRL 1.16's GRPOTrainer on the model of
tests/fixtures/qwen2-tied, with completions and rewards given. Runs as generate.py does (datasets as well).

    python tools/oracles/grpo_step.py [--out DIR]

The trainer is TRL's own, from its data loader to its AdamW; `_generate_single_turn` alone is replaced, to return the completions.
step.json: prompts, completions, rewards and, for each case, its options and the trainer's own log. step.safetensors: every
EVERY-th weight after the case's updates, tensor by tensor (`CASE/NAME`).
"""
import argparse
import json
import pathlib
import random
import tempfile

import generate  # noqa: F401  (threads, offline)
import torch
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer
from trl.trainer import grpo_trainer

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/fixtures/qwen2-tied"
GROUP, EOS, PAD, BUDGET, EVERY = 4, 60, 59, 7, 7
CASES = {
    "default": {},
    "grpo, KL": {"loss_type": "grpo", "beta": 0.3, "temperature": 0.7},
    "bnpo, KL without ratio, 3 iterations": {"loss_type": "bnpo", "beta": 0.3, "use_bias_correction_kl": False, "num_iterations": 3, "epsilon": 0.02},
    "dr_grpo, unscaled, truncated masked": {"loss_type": "dr_grpo", "scale_rewards": "none", "mask_truncated_completions": True},
    "gspo, 2 iterations": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.003, "epsilon_high": 0.004, "num_iterations": 2},
    "cispo, batch, 2 iterations": {"loss_type": "cispo", "epsilon_high": 1.02, "scale_rewards": "batch", "num_iterations": 2},
    "sapo, 2 iterations": {"loss_type": "sapo", "num_iterations": 2},
    "top entropy": {"top_entropy_quantile": 0.4},
    "entropy bonus": {"entropy_coef": 0.5, "top_entropy_quantile": 0.7},
    "off-policy mask, 3 iterations": {"off_policy_mask_threshold": 0.01, "num_iterations": 3},
    "adaptive entropy, 4 steps": {"use_adaptive_entropy": True, "entropy_coef": 0.3, "entropy_coef_delta": 0.1, "entropy_coef_max": 0.45, "entropy_target": 10.0},
    "adaptive entropy above its target, 3 steps, 2 iterations": {"use_adaptive_entropy": True, "entropy_coef": 0.3, "entropy_coef_delta": 0.2, "entropy_coef_min": 0.05, "entropy_target": 0.1, "top_entropy_quantile": 0.8, "num_iterations": 2},
    "synchronised reference, 5 steps": {"loss_type": "grpo", "beta": 0.3, "sync_ref_model": True, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 0.6, "learning_rate": 1e-3},
    "2 minibatches": {"steps_per_generation": 2},
    "grpo, KL, 4 minibatches, 2 iterations": {"loss_type": "grpo", "beta": 0.3, "steps_per_generation": 4, "num_iterations": 2, "epsilon": 0.002, "learning_rate": 1e-3},
    "bnpo, top entropy, entropy bonus, 2 minibatches": {"loss_type": "bnpo", "top_entropy_quantile": 0.6, "entropy_coef": 0.5, "steps_per_generation": 2},
    "gspo, off-policy mask, 2 minibatches": {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 0.0003, "off_policy_mask_threshold": 0.001, "steps_per_generation": 2, "learning_rate": 1e-3},
    "synchronised reference, 3 steps, 2 minibatches": {"beta": 0.3, "sync_ref_model": True, "ref_model_sync_steps": 3, "steps_per_generation": 2, "learning_rate": 3e-4},
    "nothing to learn in the second, 3 steps": {"weight_decay": 0.1, "learning_rate": 1e-3},
    "a group without variance, 2 iterations": {"loss_type": "grpo", "num_iterations": 2, "epsilon": 0.003, "learning_rate": 1e-3},
    "gspo, a group without variance, truncated masked, 2 iterations": {"loss_type": "grpo", "importance_sampling_level": "sequence", "mask_truncated_completions": True, "num_iterations": 2, "epsilon": 0.0003, "learning_rate": 1e-3},
}
STEPS = {name: int(name.split(", ")[1].split()[0]) for name in CASES if " steps" in name}


shuffle = grpo_trainer.shuffle_sequence_dict


class Given(GRPOTrainer):
    completions = {}

    def _generate_single_turn(self, prompt_ids, *a, **k):
        seen, out = {}, []
        for ids in prompt_ids:
            at = seen.get(tuple(ids), 0)
            seen[tuple(ids)] = at + 1
            out.append(self.completions[tuple(ids)][at])
        return out, None


def task():
    """Prompts, completions and rewards."""
    r = random.Random(3)
    prompts = [[r.randrange(1, 50) for _ in range(n)] for n in (3, 6)]
    completions, rewards = [], []
    for at in range(len(prompts) * GROUP):
        n = r.randrange(1, BUDGET + 1)
        ids = [r.randrange(1, 50) for _ in range(n)]
        completions.append(ids if n == BUDGET else ids + [EOS])
        rewards.append(r.choice([0.0, 1.0, 0.5]))
    return prompts, completions, rewards


def train(options, given, trainer_class=Given, before=lambda trainer: None, steps=1):
    """The log and every EVERY-th weight after the updates of `steps` generations."""
    prompts, completions, rewards = given
    rewards = iter(rewards if isinstance(rewards[0], list) else [rewards] * steps)
    words = Tokenizer(models.WordLevel({f"w{i}": i for i in range(61)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=f"w{EOS}", pad_token=f"w{PAD}", unk_token="w0", padding_side="left")
    trainer_class.completions = {tuple(p): completions[i * GROUP:(i + 1) * GROUP] for i, p in enumerate(prompts)}

    def score(completion_ids, **_):
        by_ids = {tuple(c): x for c, x in zip(completions, next(rewards))}
        return [by_ids[tuple(ids)] for ids in completion_ids]

    minibatches = options.get("steps_per_generation", 1)
    # TRL shuffles the completions of a generation before it divides them; here the parts keep their order.
    grpo_trainer.shuffle_sequence_dict = shuffle if minibatches == 1 else lambda batch: batch
    updates = options.get("num_iterations", 1) * minibatches
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False, gradient_checkpointing=False, per_device_train_batch_size=len(completions) // minibatches,
        num_generations=GROUP, gradient_accumulation_steps=1, max_completion_length=BUDGET, max_steps=updates * steps,
        shuffle_dataset=False, lr_scheduler_type="constant", logging_steps=1, save_strategy="no", report_to="none",
        disable_tqdm=True, **({"learning_rate": 1e-4, "steps_per_generation": 1} | options))
    trainer = trainer_class(model=AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32), reward_funcs=score, args=config,
                            train_dataset=Dataset.from_dict({"prompt": [" ".join(f"w{i}" for i in p) for p in prompts]}), processing_class=tokenizer)
    before(trainer)
    trainer.train()
    log = [{k: v for k, v in line.items() if k not in ("epoch", "step", "step_time")} for line in trainer.state.log_history if "entropy" in line]
    weights = {n: w.flatten()[::EVERY].clone() for n, w in trainer.model.state_dict().items() if n != "lm_head.weight"}
    return log, weights


def write(out, stem, given, cases, weights):
    prompts, completions, rewards = given
    given = {"prompts": prompts, "group": GROUP, "completions": completions, "rewards": rewards, "eos": EOS, "max_tokens": BUDGET, "lr": 1e-4, "every": EVERY}
    (out / f"{stem}.json").write_text(json.dumps(given | {"cases": cases}, indent=None, separators=(",", ":")) + "\n")
    save_file(weights, out / f"{stem}.safetensors")
    print(*(f"{f.name}: {f.stat().st_size / 1000:.0f} kB" for f in out.glob(f"{stem}.*")))
    for case in cases:
        print(case["name"], case["log"][0])


def arguments(doc):
    a = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--out", type=pathlib.Path, default=ROOT / "crates/posttrain-grpo/testdata")
    return a.parse_args()


def main():
    a, given = arguments(__doc__), task()
    cases, weights = [], {}
    for name, options in CASES.items():
        steps = STEPS.get(name, 1)
        rewards = given[2]
        own = {}
        if name.startswith("nothing"):
            own = {"rewards": [rewards, [0.0] * len(rewards), rewards]}
        elif "without variance" in name:
            own = {"rewards": [rewards[:GROUP] + [1.0] * GROUP]}
        log, after = train(options, given[:2] + (own.get("rewards", rewards),), steps=steps)
        cases.append({"name": name, "steps": steps, "options": options, "log": log} | own)
        weights |= {f"{name}/{parameter}": value for parameter, value in after.items()}
    write(a.out, "step", given, cases, weights)


if __name__ == "__main__":
    main()
