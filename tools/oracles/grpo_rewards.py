#!/usr/bin/env python3
"""Makes crates/posttrain-grpo/testdata/rewards.json: rewards of TRL 1.16 and open-r1 on texts and token ids, and advantages.

    python tools/oracles/grpo_rewards.py OPEN_R1 [--out FILE]     # OPEN_R1: src/open_r1/rewards.py of huggingface/open-r1

open-r1's functions are taken out of its file one by one, since the module imports clients of code sandboxes; they and TRL's
run as they are, but for the grader of answers: `verify` is replaced by equality of texts, which is all that these cases need.
Advantages are TRL's own lines of GRPOTrainer._generate_and_score_completions, cut out by their first and last line.
"""
import argparse
import ast
import inspect
import json
import math
import pathlib
import random
import re
import textwrap

import torch
from trl import GRPOTrainer
from trl.rewards import accuracy_rewards, get_cosine_scaled_reward, get_repetition_penalty_reward, get_soft_overlong_punishment, think_format_reward
from trl.trainer import grpo_trainer

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/posttrain-grpo/testdata/rewards.json"


def open_r1(path):
    names = {"format_reward", "tag_count_reward", "len_reward", "get_repetition_penalty_reward"}
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef) and node.name in names]
    space = {"re": re, "math": math, "Dict": dict, "parse": lambda text, **_: [text.strip()], "verify": lambda a, b: a == b,
             "LatexExtractionConfig": lambda **_: None, "NormalizationConfig": lambda **_: None}
    exec(compile(ast.Module(functions, []), str(path), "exec"), space)
    return space


def texts(r):
    pieces = ["<think>", "<think>\n", "</think>", "\n</think>\n", "<answer>\n", "\n<answer>\n", "\n</answer>", "</answer>", "\n", "46", "so", " ", "a b"]
    fixed = ["", "<think>\na\n</think>\n<answer>\n46\n</answer>", "<think>\n\n</think>\n<answer>\n\n</answer>", "<think>\na\n</think>\n<answer>\n46\n</answer>\n",
             "<think>\na\n</think>\n<answer>\n46\n</answer>\nmore", "<think>\na\n</think>\n<answer>\n46\n</answer> more", " <think>\na\n</think>\n<answer>\n46\n</answer>",
             "x\n<think>\na\n</think>\n<answer>\n4\n</answer>", "<think>\na\n</think>\n<answer>\n4\n</answer>b\n</answer>", "<think>a</think>46", "<think>a<think></think>46",
             "<think>\na\n</think>\n\n<answer>\n4\n</answer>", "<think>\na\n</think>\n</think>\n<answer>\n4\n</answer>"]
    return fixed + ["".join(r.choice(pieces) for _ in range(r.randrange(1, 9))) for _ in range(60)]


def trl_advantages(rewards, weights, group, scale, aggregation):
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    first, last = "unscorable_mask = torch.isnan", "advantages = torch.nan_to_num(advantages, nan=0.0)"
    lines = source[source.index("        " + first):source.index(last) + len(last)]
    from types import SimpleNamespace
    space = dict(vars(grpo_trainer), device="cpu", num_generations=group, rewards_per_func=torch.tensor(rewards).T.contiguous(),
                 self=SimpleNamespace(multi_objective_aggregation=aggregation, scale_rewards=scale, reward_weights=torch.tensor(weights),
                                      reward_funcs=weights))
    exec(textwrap.dedent(lines), space)
    return space["advantages"].tolist()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("open_r1", type=pathlib.Path)
    a.add_argument("--out", type=pathlib.Path, default=OUT)
    a = a.parse_args()
    r, theirs = random.Random(9), open_r1(a.open_r1)
    chats = lambda all: [[{"content": text}] for text in all]  # noqa: E731
    cases = []
    add = lambda config, values, **given: cases.append({"reward": config, "values": values} | given)  # noqa: E731

    all = texts(r)
    add({"kind": "format"}, theirs["format_reward"](chats(all)), texts=all)
    add({"kind": "format", "style": "think"}, think_format_reward(chats(all)), texts=all)
    add({"kind": "tag_count"}, theirs["tag_count_reward"](chats(all)), texts=all)
    words = [" ".join(r.choice("A a b c\n".split(" ")) for _ in range(r.randrange(0, 12))) for _ in range(40)]
    for n, penalty in [(1, -1.0), (2, -0.5), (3, -1.0)]:
        add({"kind": "repetition", "n": n, "max_penalty": penalty, "unit": "words"},
            theirs["get_repetition_penalty_reward"](n, penalty)(chats(words)), texts=words)
    ids = [[r.randrange(4) for _ in range(r.randrange(0, 24))] for _ in range(40)] + [[1, 2, 3, 4], [5] * 5]
    for n, penalty in [(1, -1.0), (2, -1.0), (3, -0.25)]:
        add({"kind": "repetition", "n": n, "max_penalty": penalty}, get_repetition_penalty_reward(n, penalty)(completion_ids=ids), ids=ids)
    for longest, cache in [(20, 5), (12, 12), (10, 0)]:
        add({"kind": "overlong", "max_tokens": longest, "cache": cache}, get_soft_overlong_punishment(longest, cache)(completion_ids=ids), ids=ids)

    # One character is one token; the answer is 46, and what is right is exactly that text with blanks.
    answers = [[r.choice(["46", "47"]) + " " * r.randrange(0, 9) for _ in range(5)] for _ in range(12)] + [["46"] * 3]
    add({"kind": "length"}, sum([theirs["len_reward"](chats(group), ["46"] * len(group)) for group in answers], []), groups=answers)
    flat = sum(answers, [])
    accuracy_rewards.accuracy_reward = lambda completions, solution: [float(c[0]["content"].strip() == s) for c, s in zip(completions, solution)]
    for options in [{}, {"wrong": [-0.5, 0.0], "correct": [2.0, 1.0]}]:
        wrong, right = options.get("wrong", [-1.0, -0.5]), options.get("correct", [1.0, 0.5])
        reward = get_cosine_scaled_reward(8, wrong[0], wrong[1], right[1], right[0])
        add({"kind": "cosine", "max_tokens": 8} | options, reward(chats(flat), ["46"] * len(flat), [[1] * len(t) for t in flat]), groups=answers)

    advantages = []
    for at in range(60):
        group, groups, functions = r.choice([2, 3, 4, 8]), r.choice([1, 2, 4]), r.choice([1, 1, 2, 3])
        some = lambda: r.choice([0.0, 1.0, 1.0, r.random(), r.random() if at % 2 else math.nan])  # noqa: E731
        rewards = [[some() for _ in range(group * groups)] for _ in range(functions)]
        if at % 5 == 0:
            rewards = [[0.7] * group + row[group:] for row in rewards]
        weights = [r.choice([1.0, 0.5, 2.0, -1.0]) for _ in range(functions)]
        scale, how = r.choice(["group", "batch", "none"]), r.choice(["sum_then_normalize", "sum_then_normalize", "normalize_then_sum"])
        found = trl_advantages(rewards, weights, group, scale, how)
        rewards = [[None if math.isnan(x) else x for x in row] for row in rewards]
        advantages.append({"group": group, "rewards": rewards, "weights": weights, "scale": scale, "aggregation": how, "advantages": found})
    a.out.write_text(json.dumps({"rewards": cases, "advantages": advantages}, separators=(",", ":")) + "\n")
    print(f"{a.out.name}: {len(cases)} rewards, {len(advantages)} advantages, {a.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
